"""Which level of confinement works here, found by live programs through the real path, watched from outside."""

import functools
import os
import platform
import socket
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from posttrain.graders.sandbox.job import Job, Limits, Ran
from posttrain.graders.sandbox.pool import Pool
from posttrain.graders.sandbox.server import Refused
from posttrain.spec.errors import MissingNeed
from posttrain.spec.knobs import permit

LEVELS = ("L3", "L2", "L1")
"""Best first. L3: namespaces and L2. L2: system-call filter, Landlock, limits. L1: L2 without Landlock, and no file can
be opened."""


@dataclass(frozen=True)
class Check:
    """One live check and whether it held."""

    name: str
    held: bool
    saw: str = ""


@dataclass(frozen=True)
class Trial:
    """A level tried on this machine."""

    level: str
    works: bool
    lacks: str = ""
    """What is missing; empty where it works."""
    checks: tuple[Check, ...] = ()


def find(required: str = "L2") -> str:
    """The best level that works here. MissingNeed, naming what is lacking, where none is as good as `required`.

    UsageError where `required` is below L2 and the environment does not permit it.
    """
    permit(required, os.environ)
    enough = LEVELS[: LEVELS.index(required) + 1]
    tried: list[Trial] = []
    for level in enough:
        tried.append(trial(level))
        if tried[-1].works:
            return level
    lacking = "; ".join(f"{item.level} lacks {item.lacks}" for item in tried)
    raise MissingNeed(
        f"no program can be run safely here: sandbox level {required} is required, and {lacking}",
        remedy=(
            "Run on Linux 5.13 or newer, x86-64, with Landlock and seccomp; or name a machine that can, by "
            'resources.sandbox = "http://HOST:PORT" (there: posttrain sandbox serve); or add --profile nojail, which '
            "keeps to expression tasks and runs no program."
        ),
    )


@functools.cache
def trial(level: str) -> Trial:
    """Try a level once per process."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return Trial(level, works=False, lacks=f"support for {sys.platform} on {platform.machine()}")
    try:
        with Pool(level) as pool, tempfile.TemporaryDirectory() as folder:
            checks = tuple(_checked(pool, name, Path(folder)) for name in _CHECKS)
    except Refused as error:
        return Trial(level, works=False, lacks=error.what)
    failed = [check for check in checks if not check.held]
    lacks = "; ".join(f"the check {check.name!r} ({check.saw})" for check in failed)
    return Trial(level, works=not failed, lacks=lacks, checks=checks)


def describe() -> dict[str, object]:
    """What `doctor` shows: the level in force, and every level with its live checks."""
    trials = [trial(level) for level in LEVELS]
    best = next((item.level for item in trials if item.works), None)
    return {
        "level": best,
        "user": os.getuid() if hasattr(os, "getuid") else None,
        "levels": {
            item.level: {
                "works": item.works,
                "lacks": item.lacks,
                "checks": {check.name: check.held for check in item.checks},
            }
            for item in trials
        },
    }


_TRY = """
try:
    {body}
except (OSError, MemoryError) as error:
    print('refused', type(error).__name__)
else:
    print('done')
"""


def _refused(body: str) -> tuple[str, Callable[[Ran, Path], bool]]:
    return _TRY.format(body=body), lambda ran, folder: ran.stdout.startswith(b"refused")


_CHECKS: dict[str, tuple[str, Callable[[Ran, Path], bool]]] = {
    "computes": ("print(6 * 7)", lambda ran, folder: ran.stdout == b"42\n"),
    "imports": ("import wave; print(wave.__name__)", lambda ran, folder: ran.stdout == b"wave\n"),
    "starts a thread": (
        "import threading; t = threading.Thread(target=print, args=(1,)); t.start(); t.join()",
        lambda ran, folder: ran.stdout == b"1\n",
    ),
    "reads no file": _refused("print(open('{folder}/secret').read())"),
    "writes no file": (
        _TRY.format(body="open('{folder}/made', 'w').write('x')"),
        lambda ran, folder: not (folder / "made").exists(),
    ),
    "learns nothing of a file": _refused("import os; print(os.stat('{folder}/secret').st_size)"),
    "opens no socket": _refused("import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM)"),
    "reaches no listener": _refused("import socket; socket.create_connection(('127.0.0.1', {port}), 1)"),
    "starts no process": _refused("import os; os.fork() or os._exit(0)"),
    "executes nothing": _refused("import os; os.execv('/bin/true', ['true'])"),
    "signals nobody": _refused("import os; os.kill(os.getppid(), 0)"),
    "makes no file in memory": _refused("import os; os.memfd_create('x')"),
    "has no environment": ("import os; print(len(os.environ))", lambda ran, folder: ran.stdout == b"0\n"),
    "is ended in time": ("while True: pass", lambda ran, folder: ran.outcome == "timeout"),
    "is held to its memory": ("x = bytearray(2 << 30)", lambda ran, folder: b"MemoryError" in repr(ran.lines).encode()),
    "is held to its output": ("print('x' * (1 << 17))", lambda ran, folder: ran.outcome == "output_limit"),
}


def _checked(pool: Pool, name: str, folder: Path) -> Check:
    source, holds = _CHECKS[name]
    (folder / "secret").write_text("secret", encoding="ascii")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        filled = source.replace("{folder}", str(folder)).replace("{port}", str(listener.getsockname()[1]))
        wall = 0.3 if "ended in time" in name else 5.0
        ran = pool.submit(Job({"mode": "stdio", "source": filled}, limits=Limits(wall=wall))).result()
    return Check(name, holds(ran, folder), f"{ran.outcome}, {ran.stdout[:80]!r}")
