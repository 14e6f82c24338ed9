"""A process with everything below it: who belongs to it, how all of it is ended at once, what is left of it."""

import os
import signal
import subprocess
import time
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import NamedTuple

PATIENCE = 10.0
"""Seconds that a killed process may take to be gone."""


class Process(NamedTuple):
    """One running process."""

    pid: int
    parent: int
    session: int
    """The session it belongs to: a driver and a worker each begin one. Its group where the system tells no session."""


def running() -> tuple[Process, ...]:
    """Every process of this machine that has not ended."""
    return tuple(from_proc() if Path("/proc/self/stat").exists() else from_ps())


def family(root: int) -> dict[int, Process]:
    """A process and everything below it, by pid; empty where it has ended."""
    everyone = running()
    found = {one.pid: one for one in everyone if one.pid == root}
    while more := {one.pid: one for one in everyone if one.parent in found and one.pid not in found}:
        found |= more
    return found


def apart(root: int) -> dict[int, int]:
    """The sessions below a process that neither it nor a child of its own began, and who began each of them."""
    below = family(root)
    usual = {one.session for one in below.values() if root in (one.pid, one.parent)}
    return {pid: one.parent for pid, one in below.items() if pid == one.session and pid not in usual}


def end(root: int, *, known: Iterable[int] = (), spared: Collection[int] = ()) -> frozenset[int]:
    """Kill a process and everything below it as if at one moment; the sessions they were in.

    All of them are stopped first, so that none acts on the end of another or forks meanwhile; those `known` to be
    below it at once, before the others are looked for. What is in the `spared` sessions is left to end by itself.
    """
    kept = set(survivors(spared)) if spared else set[int]()
    for pid in known:
        if pid not in kept:
            _signal(pid, signal.SIGSTOP)
    seen: dict[int, Process] = {}
    while fresh := {pid: one for pid, one in family(root).items() if pid not in seen and one.session not in spared}:
        for pid in fresh:
            _signal(pid, signal.SIGSTOP)
        seen |= fresh
    for pid in seen:
        _signal(pid, signal.SIGKILL)
    until = time.monotonic() + PATIENCE
    while seen.keys() & {one.pid for one in running() if one.pid != root} and time.monotonic() < until:
        time.sleep(0.001)
    return frozenset(one.session for one in seen.values())


def outlived(sessions: Iterable[int]) -> tuple[int, ...]:
    """The pids of what still runs in these sessions when it has had time to end; it is killed."""
    until = time.monotonic() + PATIENCE
    while (left := survivors(sessions)) and time.monotonic() < until:
        time.sleep(0.01)
    for pid in left:
        _signal(pid, signal.SIGKILL)
    return left


def survivors(sessions: Iterable[int]) -> tuple[int, ...]:
    """The pids of whatever still runs in these sessions."""
    wanted = frozenset(sessions)
    return tuple(sorted(one.pid for one in running() if one.session in wanted))


def from_proc() -> list[Process]:
    """Every process, as Linux tells it."""
    found: list[Process] = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            state, parent, _, session = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
        except (OSError, ValueError):
            continue
        if state not in "ZX":
            found.append(Process(int(entry.name), int(parent), int(session)))
    return found


def from_ps() -> list[Process]:
    """Every process, as `ps` tells it; a group stands for the session."""
    told = subprocess.run(["/bin/ps", "-A", "-o", "pid=,ppid=,pgid=,stat="], capture_output=True, text=True, check=True)
    rows = [line.split() for line in told.stdout.splitlines()]
    return [Process(int(row[0]), int(row[1]), int(row[2])) for row in rows if not row[3].startswith("Z")]


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
