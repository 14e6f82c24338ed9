"""Work that misbehaves, for the executor to be tried on: `engine.hard_work:NAME`, each called with a folder."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from posttrain.engine.worker import processes

GRANDCHILD = """
import os, pathlib, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if "setsid" in sys.argv:
    os.setsid()
if "orphan" in sys.argv and os.fork():
    os._exit(0)
path = pathlib.Path(sys.argv[1])
path.with_suffix(".new").write_text(str(os.getpid()))
path.with_suffix(".new").rename(path)
time.sleep(600)
"""


def grandchild(folder: str, *words: str) -> subprocess.Popen[bytes]:
    """A process that ignores TERM and says its id in the file `grandchild`; returns once it has."""
    place = Path(folder) / "grandchild"
    process = subprocess.Popen([sys.executable, "-c", GRANDCHILD, str(place), *words])
    while not place.exists():
        time.sleep(0.01)
    return process


def sleeps_over_child(folder: str, **options: Any) -> None:
    """Wait for a grandchild that never ends."""
    grandchild(folder).wait()


def sleeps_over_escaped_child(folder: str, **options: Any) -> None:
    """Sleep beside a grandchild with a session of its own."""
    grandchild(folder, "setsid")
    time.sleep(600)


def sleeps_over_orphan(folder: str, **options: Any) -> None:
    """Sleep beside a grandchild with a session of its own whose parent has ended."""
    grandchild(folder, "setsid", "orphan")
    time.sleep(600)


def leaves_orphan(folder: str, **options: Any) -> None:
    """End well, and leave somebody behind."""
    grandchild(folder, "setsid", "orphan")


def dies_over_orphan(folder: str, **options: Any) -> None:
    """Be killed, and leave somebody behind."""
    grandchild(folder, "setsid", "orphan")
    os.kill(os.getpid(), signal.SIGKILL)


def ignores_term(folder: str, **options: Any) -> None:
    """Not end when asked to."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    grandchild(folder).wait()


def stops_worker(folder: str, **options: Any) -> None:
    """Make the process above deaf."""
    grandchild(folder, "setsid", "orphan")
    os.kill(os.getppid(), signal.SIGSTOP)
    time.sleep(600)


def kills_worker(folder: str, **options: Any) -> None:
    """Kill the process above."""
    grandchild(folder, "setsid", "orphan")
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(600)


def kills_guard(folder: str, **options: Any) -> None:
    """Kill the process above the worker."""
    grandchild(folder, "setsid", "orphan")
    stat = Path(f"/proc/{os.getppid()}/stat").read_text()
    os.kill(int(stat.rsplit(")", 1)[1].split()[1]), signal.SIGKILL)
    time.sleep(600)


def allocates(folder: str, **options: Any) -> int:
    """Hold ever more memory, in small pieces."""
    pieces: list[bytearray] = []
    while True:
        pieces.append(bytearray(8 << 20))


def allocates_tensor(folder: str, **options: Any) -> int:
    """Ask torch for more than there may be."""
    import torch

    return int(torch.ones(1 << 30).sum())


def wraps_the_refusal(folder: str, **options: Any) -> int:
    """Raise another error from a refused allocation."""
    try:
        return len(bytearray(1 << 40))
    except MemoryError as error:
        raise ValueError("the table cannot be built") from error


CHILD_THAT_ALLOCATES = """
import resource, time
resource.setrlimit(resource.RLIMIT_DATA, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
pieces = []
for _ in range(64):
    pieces.append(bytearray(b"x") * (8 << 20))
    time.sleep(0.02)
time.sleep(600)
"""


def child_allocates(folder: str, **options: Any) -> None:
    """Let a child hold the memory."""
    subprocess.run([sys.executable, "-c", CHILD_THAT_ALLOCATES], check=True)


def fits(folder: str, **options: Any) -> int:
    """Hold less than the limit, in threads of torch too."""
    import torch

    held = torch.ones(16 << 20)
    return int((held @ held).item() > 0)


def aborts(folder: str, **options: Any) -> None:
    """End as a C++ library does that cannot allocate."""
    os.write(2, b"terminate called after throwing an instance of 'std::bad_alloc'\n")
    os.abort()


def quiet(folder: str, **options: Any) -> None:
    """Wait for a child, writing nothing."""
    subprocess.run(["sleep", "600"], check=True)


def busy(folder: str, **options: Any) -> None:
    """Use the processor for a while, writing nothing."""
    end = time.monotonic() + 1.5
    while time.monotonic() < end:
        sum(range(1000))


def threads(folder: str, **options: Any) -> dict[str, Any]:
    """How many threads torch would use, and what libraries are told."""
    import torch

    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return {"torch": torch.get_num_threads(), **{name: os.environ.get(name) for name in names}}


def grades(folder: str, program: str) -> Iterator[list[str]]:
    """Open a sandbox, say the id of its server in the file `grandchild`, and grade a program again and again."""
    from posttrain.data.records import Problem
    from posttrain.graders.registry import Grading

    answer = json.dumps({"entry": "f", "tests": "assert f(1) == 1"})
    problem = Problem(id="p", domain="code", prompt="the same", answer=answer, answer_type="code")
    with Grading() as grading:
        assert grading.grade_all([problem], ["def f(a): return a"])[0].correct
        children = processes.below(os.getpid(), processes.table())
        server = next(child.pid for child in children if child.parent == os.getpid())
        place = Path(folder) / "grandchild"
        place.with_suffix(".new").write_text(str(server))
        place.with_suffix(".new").rename(place)
        while True:
            yield [grade.outcome for grade in grading.grade_all([problem] * 2, [program, f"{program}\nx = 1"])]


def runs_endless_programs(folder: str, **options: Any) -> None:
    """Have programs run that never end, again and again."""
    for _ in grades(folder, "def f(a):\n    while True: pass"):
        continue


def runs_large_programs(folder: str, **options: Any) -> list[str]:
    """Have programs run that hold half a gigabyte for a while, until one had no room for it."""
    held = "def f(a):\n    x = bytearray(b'x') * (1 << 29)\n    import time\n    time.sleep(2)\n    return a"
    end = time.monotonic() + 30
    return next(told for told in grades(folder, held) if "memory" in told or time.monotonic() > end)
