"""An executor on hard work, for tests: begin a task, wait for what it tells, see who lives."""

import sys
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from posttrain.engine.local import LocalExecutor, Patience
from posttrain.engine.run import Ended, Task
from posttrain.spec.knobs import Resources

linux = pytest.mark.skipif(sys.platform != "linux", reason="subreapers and limits are Linux's")
QUICK = Patience(grace=0.3, beat=0.2, hang=0.8)


@dataclass
class Hands:
    """An executor on hard work, and what it told."""

    folder: Path
    executor: LocalExecutor
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def begin(self, timeout: float | None = None, *, memory: int | None = None, node: str = "node") -> None:
        resources = Resources(memory=memory)
        task = Task(node, self.folder / "node.log", timeout, (str(self.folder),), resources=resources, tell=self.hear)
        self.executor.start(task)

    def hear(self, event: str, **fields: Any) -> None:
        self.events.append((event, fields))

    def end(self, seconds: float = 60.0) -> Ended:
        until = time.monotonic() + seconds
        while not (ended := self.executor.wait(0.1)):
            assert time.monotonic() < until, "it did not end"
        return ended[0]

    def wait_for(self, true: Callable[[], bool], seconds: float = 60.0) -> None:
        until = time.monotonic() + seconds
        while not true():
            assert not self.executor.wait(0.05), "it ended"
            assert time.monotonic() < until, "it did not happen"

    @property
    def grandchild(self) -> int:
        return int((self.folder / "grandchild").read_text())

    @property
    def log(self) -> str:
        return (self.folder / "node.log").read_text()


Make = Callable[..., Hands]


def hiring(folder: Path) -> Generator[Make]:
    """A way to make hands; all are let go in the end."""
    made: list[Hands] = []

    def make(work: str, *, patience: Patience = QUICK, warm: tuple[str, ...] = ()) -> Hands:
        made.append(Hands(folder, LocalExecutor(f"engine.hard_work:{work}", warm=warm, patience=patience)))
        return made[-1]

    yield make
    for one in made:
        one.executor.close()


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def gone(pid: int, seconds: float = 20.0) -> bool:
    until = time.monotonic() + seconds
    while alive(pid) and time.monotonic() < until:
        time.sleep(0.01)
    return not alive(pid)
