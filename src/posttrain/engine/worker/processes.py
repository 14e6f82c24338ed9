"""Processes as the system shows them: who descends from whom, what they use, and signals to all of them.

Linux is read from /proc. Elsewhere `ps` is asked, which knows no file traffic.
"""

import contextlib
import ctypes
import os
import platform
import signal
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
LINUX = platform.system() == "Linux"
_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_DEATH_SIGNAL, _SUBREAPER = 1, 36
"""Options of prctl(2)."""


@dataclass(frozen=True)
class Process:
    """One process as it was a moment ago."""

    pid: int
    parent: int
    group: int
    alive: bool
    """False: it has ended and nobody has asked how."""
    cpu_s: float
    """Its own and, where /proc tells, that of its children that have ended."""
    memory: int
    """Resident bytes; what it shares with others counts whole."""


Table = Mapping[int, Process]
"""All processes by id."""


def table() -> Table:
    """All processes of this machine now."""
    return _from_proc() if LINUX else from_ps()


def again(pids: Iterable[int]) -> list[Process]:
    """A few processes as they are now; those that are gone are left out."""
    if LINUX:
        return [process for pid in pids if (process := _read(pid))]
    all_of_them = from_ps()
    return [all_of_them[pid] for pid in pids if pid in all_of_them]


def _from_proc() -> Table:
    found: dict[int, Process] = {}
    for name in os.listdir(PROC):  # noqa: PTH208 - a third of the time of Path.iterdir
        if name.isdigit() and (process := _read(int(name))):
            found[process.pid] = process
    return found


def _read(pid: int) -> Process | None:
    try:
        text = (PROC / str(pid) / "stat").read_bytes()
    except OSError:
        return None
    rest = text[text.rfind(b")") + 2 :].split()
    cpu = sum(int(ticks) for ticks in rest[11:15]) / _TICK
    return Process(pid, int(rest[1]), int(rest[2]), rest[0] not in (b"Z", b"X"), cpu, int(rest[21]) * _PAGE)


def from_ps() -> Table:
    """All processes as `ps` tells them."""
    asked = ["ps", "-A", "-o", "pid=,ppid=,pgid=,stat=,rss=,time="]
    told = subprocess.run(asked, capture_output=True, text=True, check=False).stdout  # noqa: S603
    found: dict[int, Process] = {}
    for line in told.splitlines():
        pid, parent, group, state, kib, time = line.split()
        found[int(pid)] = Process(int(pid), int(parent), int(group), "Z" not in state, _seconds(time), int(kib) * 1024)
    return found


def _seconds(time: str) -> float:
    """`1-02:03:04` or `3:04.56` in seconds."""
    days, _, clock = time.rpartition("-")
    total = 0.0
    for part in clock.split(":"):
        total = total * 60 + float(part)
    return total + 86400 * int(days or 0)


def below(pid: int, among: Table) -> list[Process]:
    """Every descendant of a process, parents before children; dead ones too, until somebody collects them."""
    children: dict[int, list[Process]] = {}
    for process in among.values():
        children.setdefault(process.parent, []).append(process)
    found: list[Process] = []
    ahead = [pid]
    while ahead:
        next_ones = children.get(ahead.pop(), [])
        found += next_ones
        ahead += [process.pid for process in next_ones]
    return found


def written(processes: Iterable[Process]) -> int | None:
    """Bytes that processes have written to anything so far; None where the system does not tell."""
    total = None
    for process in processes:
        with contextlib.suppress(OSError, ValueError):
            wrote = (PROC / str(process.pid) / "io").read_text().partition("wchar: ")[2]
            total = (total or 0) + int(wrote.partition("\n")[0])
    return total


def shares(processes: Iterable[Process]) -> int:
    """Resident bytes of processes, a page that several hold counted in shares: what they really take."""
    total = 0
    for process in processes:
        try:
            rest = (PROC / str(process.pid) / "smaps_rollup").read_text().partition("\nPss:")[2]
            total += int(rest.split()[0]) * 1024
        except (OSError, IndexError):
            total += process.memory
    return total


def command(pid: int) -> str:
    """The command line of a process; empty where it is gone."""
    if LINUX:
        try:
            raw = (PROC / str(pid) / "cmdline").read_bytes()
        except OSError:
            return ""
        return " ".join(word.decode(errors="replace") for word in raw.rstrip(b"\0").split(b"\0"))
    asked = ["ps", "-p", str(pid), "-o", "args="]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()  # noqa: S603


def send(pid: int, number: int) -> None:
    """Signal one process; nothing where it is gone."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def send_group(pid: int, number: int) -> None:
    """Signal the group that a process leads; nothing where it is gone."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def send_tree(pid: int, number: int) -> None:
    """Signal a process's group and every descendant that has left the group."""
    send_group(pid, number)
    for process in below(pid, table()):
        if process.group != pid and process.alive:
            send(process.pid, number)


def end_strays(known: Iterable[int]) -> bool:
    """Kill and collect children of ours that we did not start, and all below them; whether none is left.

    Orphans of a dead node become children of the worker, a subreaper; without Linux there are none to find.
    """
    if not LINUX:
        return True
    ours, spared = os.getpid(), set(known)
    processes = table()
    strays = [process for process in processes.values() if process.parent == ours and process.pid not in spared]
    for stray in strays:
        for process in (stray, *below(stray.pid, processes)):
            send(process.pid, signal.SIGKILL)
    for stray in strays:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(stray.pid, os.WNOHANG)
    return not strays


def adopt_orphans() -> None:
    """Let orphaned descendants become our children, not those of the system's first process. Linux only."""
    if LINUX:
        ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)


def follow_parent(parent: int, number: int) -> None:
    """Be sent a signal when the parent dies (Linux only); end at once where it is dead already."""
    if LINUX:
        ctypes.CDLL(None).prctl(_DEATH_SIGNAL, number, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)
