"""A small process above the worker: when the worker or the run above it dies, nothing of theirs goes on living."""

import os
import resource
import select
import signal
import time

from posttrain.engine.worker import processes

PATIENCE = 3.0
"""Seconds that the worker has to end its nodes once nobody is there any more, and that what it left has to die."""


def split(channel: int) -> None:
    """Fork: the child, which becomes the worker, returns; the parent guards it, and ends as the worker ends.

    `channel` is the socket to the run: its other end closes when the run is gone.
    """
    processes.adopt_orphans()
    bell, ring = os.pipe()
    for end in (bell, ring):
        os.set_blocking(end, False)
    guard = os.getpid()
    worker = os.fork()
    if worker == 0:
        processes.follow_parent(guard, signal.SIGTERM)
        os.close(bell)
        os.close(ring)
        return
    signal.set_wakeup_fd(ring)
    asked = list[int]()
    signal.signal(signal.SIGCHLD, only_wake)
    signal.signal(signal.SIGTERM, lambda number, frame: asked.append(number))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _end_like(_outlive(worker, channel, bell, asked))


def _outlive(worker: int, channel: int, bell: int, asked: list[int]) -> int:
    """Wait for the worker's end, its wait status; hurry it where the run is gone or we are asked to end."""
    watched = select.poll()
    watched.register(channel, 0)
    watched.register(bell, select.POLLIN)
    patience: float | None = None
    while True:
        left = None if patience is None else max(0.0, patience - time.monotonic()) * 1000
        ready = dict(watched.poll(left))
        if bell in ready:
            os.read(bell, 4096)
        ended, status = os.waitpid(worker, os.WNOHANG)
        if ended:
            return status
        if patience is None and (channel in ready or asked):
            patience = time.monotonic() + PATIENCE
            watched.unregister(channel)
            processes.send(worker, signal.SIGTERM)
        elif patience is not None and time.monotonic() >= patience:
            processes.send(worker, signal.SIGKILL)
            patience += 1


def sweep(known: tuple[int, ...] = (), patience: float = PATIENCE) -> None:
    """Kill and collect what dead nodes left behind; a process that the system does not let die is left to it."""
    until = time.monotonic() + patience
    while not processes.end_strays(known) and time.monotonic() < until:
        time.sleep(0.01)


def _end_like(status: int) -> None:
    sweep()
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code if code >= 0 else 1)


def only_wake(number: int, frame: object) -> None:
    """A handler there must be, so that the signal rings the bell."""
