"""What a forked child does: become a node's process, work, and say through a pipe what became of it."""

import contextlib
import faulthandler
import importlib
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, cast

from posttrain.engine.worker import processes, shortage
from posttrain.spec.errors import Stop, refused_by_system

LONGEST = 2000
"""Characters of each part of an error that cross the process boundary: a pipe holds them all."""


@dataclass(frozen=True)
class Order:
    """What a child is to do."""

    task: str
    work: str
    """The callable, `module:name`."""
    args: tuple[str, ...]
    options: Mapping[str, object]
    log: str
    attempt: int
    memory: int | None
    inside: bool
    """Whether the limit on memory is set inside the process too."""


def work(order: Order, pipe: int, parent: int) -> None:
    """Do it; never returns. `parent`: the worker, which this process does not outlive."""
    with _Telling(pipe, order.memory) as telling:
        _become_node(order, parent)
        module, _, name = order.work.partition(":")
        called = cast("Callable[..., object]", getattr(importlib.import_module(module), name))
        if order.memory is not None and order.inside:
            shortage.cap(order.memory)
        telling.value = called(*order.args, **order.options)


class _Telling:
    """Ends the child: an error that escapes is told through the pipe, and the log has more of it."""

    def __init__(self, pipe: int, limit: int | None) -> None:
        """Tell through the write end `pipe`; `limit` is the memory it may hold."""
        self._pipe, self._limit = pipe, limit
        self.value: object = None
        """What the child's work returned."""

    def __enter__(self) -> "_Telling":
        """Begin the child's work."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Tell how it ended, and end the process."""
        shortage.lift()
        told: dict[str, Any] = {"code": 0, "value": self.value}
        if error is not None:
            told = _said(error, self._limit)
        os.write(self._pipe, json.dumps(told).encode())
        with contextlib.suppress(OSError):
            if isinstance(error, Stop):
                sys.stderr.write(f"{error.paragraph()}\n")
            elif error is not None:
                traceback.print_exception(kind, error, trace)
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(told["code"])


def _said(error: BaseException, limit: int | None) -> dict[str, Any]:
    stop: BaseException | None = error
    if not isinstance(error, Stop) and shortage.refused(error):
        stop = shortage.of_error(error, limit)
    elif not isinstance(error, Stop):
        stop = refused_by_system(error)
    if isinstance(stop, Stop):
        return plain(stop)
    line = traceback.format_exception_only(error)[-1].strip()
    return {"code": Stop.code, "what": line[:LONGEST], "where": "", "remedy": "The traceback stands in the log."}


def plain(stop: Stop) -> dict[str, Any]:
    """An error as it crosses a process boundary."""
    texts = {"what": stop.what, "where": stop.where, "remedy": stop.remedy}
    return {"code": stop.code, **{key: text[:LONGEST] for key, text in texts.items()}}


def _become_node(order: Order, parent: int) -> None:
    """A group of its own that keeps its orphans, dead when the worker is, talking into the log."""
    os.setpgid(0, 0)
    processes.adopt_orphans()
    processes.follow_parent(parent, signal.SIGKILL)
    for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    file = os.open(order.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (file, 1), (file, 2)):
        os.dup2(source, target)
    os.close(file)
    os.close(nothing)
    stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
    os.write(2, f"== {order.task}, attempt {order.attempt}, process {os.getpid()}, {stamp} UTC ==\n".encode())
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1)
