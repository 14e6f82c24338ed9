"""Watches one node from outside: heartbeats, quiet, its deadline and its memory, and ends it when it must end."""

import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from posttrain.engine.worker import processes, shortage, stack
from posttrain.engine.worker.processes import Process, Table
from posttrain.spec.errors import Stop, TimedOut

ANSWER = 0.5
"""Seconds that a process has to say where it stands."""
GLANCE = 0.05
"""Seconds between two looks for its answer."""
WEIGH, COUNT = 0.25 if processes.LINUX else 1.0, 2.0
"""Seconds between two looks at the memory of a node that has a limit, and at which processes are its own."""
IDLE = 0.01
"""Share of a core below which a node counts as quiet."""
LONGEST = 100
"""Characters of a command line that an error shows."""
SHOWN = 3
"""Children that an error names."""

NEVER = float("inf")
Event = tuple[str, Mapping[str, object]]
"""The name and the fields of a ledger record about the node."""


@dataclass(frozen=True)
class Terms:
    """What a node is held to."""

    timeout: float | None
    memory: int | None
    """Bytes that its processes together may reside in."""
    grace: float
    """Seconds between TERM and KILL."""
    beat: float
    """Seconds between two heartbeats."""
    hang: float
    """Seconds of quiet after which it is reported."""


@dataclass
class _Question:
    """It was asked where it stands."""

    about: Literal["hang", "timeout", "memory"]
    offset: int
    """Where in its log the answer begins."""
    until: float
    held: int
    """Bytes it resided in."""
    size: int = -1
    """Of the log at the last look."""


@dataclass
class _Seen:
    """What the last heartbeat found."""

    at: float
    active: float
    """When it was last seen at work."""
    cpu_s: float = 0.0
    written: int | None = None
    reported: bool = False
    """Its quiet is on record."""


class Watch:
    """What is known of one running node; times are those of the monotonic clock."""

    def __init__(self, pid: int, log: Path, terms: Terms, now: float) -> None:
        """It began now."""
        self.error: Stop | None = None
        """Why it was ended, once it is."""
        self.held: int | None = None
        """Bytes it resided in when last seen."""
        self._pid, self._log, self._terms = pid, log, terms
        self._deadline = now + terms.timeout if terms.timeout else NEVER
        self._beat, self._weigh = self._next_beat(now), now if terms.memory else NEVER
        self._count, self._kill, self._glance = NEVER, NEVER, NEVER
        self._question: _Question | None = None
        self._family: tuple[int, ...] = (pid,)
        self._seen = _Seen(at=now, active=now)

    @property
    def due(self) -> float:
        """When to look next."""
        if self.error is not None:
            return self._kill
        if self._question is not None:
            return min(self._glance, self._beat)
        return min(self._deadline, self._weigh, self._beat)

    def look(self, now: float, table: Callable[[], Table]) -> list[Event]:
        """Do what is due; the events to tell. `table` gives all processes as they are now."""
        events: list[Event] = []
        if self._question is not None and now >= self._glance:
            events += self._listen(self._question, now, table)
        if now >= self._kill:
            processes.send_tree(self._pid, signal.SIGKILL)
            self._kill = now + 1
        if self.error is None and self._question is None:
            self._hold(now, table)
        if self.error is None and now >= self._beat:
            self._beat = self._next_beat(now)
            events.append(self._heartbeat(now, self._all(table())))
        return events

    def _next_beat(self, now: float) -> float:
        """The same moment for all nodes: one look at the processes serves them all."""
        return (now // self._terms.beat + 1) * self._terms.beat

    def _hold(self, now: float, table: Callable[[], Table]) -> None:
        """Ask where it stands, if its time is up or its memory is above the limit: what ends it."""
        if now >= self._deadline:
            self._deadline = NEVER
            self._ask("timeout", now)
        elif self._terms.memory is not None and now >= self._weigh:
            self._weigh = now + WEIGH
            if now >= self._count or self._count == NEVER:
                self._count = now + COUNT
                self._family = tuple(process.pid for process in self._all(table()))
            members = processes.again(self._family)
            self.held = sum(process.memory for process in members)
            if self.held > self._terms.memory and (held := processes.shares(members)) > self._terms.memory:
                self._ask("memory", now, held)

    def _heartbeat(self, now: float, family: list[Process]) -> Event:
        cpu, wrote = sum(process.cpu_s for process in family), processes.written(family)
        if cpu - self._seen.cpu_s >= IDLE * (now - self._seen.at) or wrote != self._seen.written:
            self._seen.active, self._seen.reported = now, False
        self._seen.at, self._seen.cpu_s, self._seen.written = now, cpu, wrote
        quiet = now - self._seen.active
        if quiet >= self._terms.hang and not self._seen.reported and self._question is None:
            self._seen.reported = True
            self._ask("hang", now)
        self.held = sum(process.memory for process in family)
        told = {"pid": self._pid, "cpu_s": round(cpu, 2), "memory": self.held, "quiet_s": round(quiet, 1)}
        return "heartbeat", told

    def _ask(self, about: Literal["hang", "timeout", "memory"], now: float, held: int = 0) -> None:
        """Make faulthandler write the stacks of its threads into its log."""
        self._question = _Question(about, _size(self._log), now + ANSWER, held)
        self._glance = now + GLANCE
        processes.send(self._pid, signal.SIGUSR1)

    def _listen(self, question: _Question, now: float, table: Callable[[], Table]) -> list[Event]:
        """Wait until the answer is whole, or late; then report it, or end the node with it."""
        size = _size(self._log)
        whole = question.size == size > question.offset
        if not whole and now < question.until:
            question.size, self._glance = size, now + GLANCE
            return []
        self._question, self._glance = None, NEVER
        standing = stack.of_dump(_from(self._log, question.offset))
        now_there = table()
        children = self._children(now_there)
        if question.about == "hang":
            self._seen.written = processes.written(self._all(now_there))  # the answer is no sign of work
            return [("note", {"kind": "hang", "text": self._hangs(now, standing, children), "count": 1})]
        if question.about == "timeout":
            self._time_out(now, standing, children)
        else:
            how = "its processes together resided in more than its limit"
            self._end(shortage.told(how, question.held, self._terms.memory, standing), now + 1, signal.SIGKILL)
        return []

    def _hangs(self, now: float, standing: str, children: str) -> str:
        quiet = f"hangs? Quiet for {now - self._seen.active:.0f} s (nothing written, no processor used)"
        said = f": it stands in {standing}" if standing else ": it does not say where it stands"
        return f"{quiet}{said}{f'; it has the {children}' if children else ''}"

    def _time_out(self, now: float, standing: str, children: str) -> None:
        parts = [f"It stood in {standing}"] if standing else []
        parts += [f"{'its' if parts else 'Its'} {children} alive"] if children else []
        where = f" {'; '.join(parts)}." if parts else ""
        what = f"it ran past its timeout of {self._terms.timeout:g} s.{where}"
        remedy = "Raise `timeout`; the same command goes on from its last checkpoint."
        self._end(TimedOut(what, remedy=remedy), now + self._terms.grace, signal.SIGTERM)

    def _end(self, error: Stop, kill: float, number: int) -> None:
        self.error, self._kill = error, kill
        processes.send_tree(self._pid, number)

    def _all(self, table: Table) -> list[Process]:
        """The node and all below it."""
        own = table.get(self._pid)
        return [*([own] if own else []), *processes.below(self._pid, table)]

    def _children(self, table: Table) -> str:
        """Its living descendants as an error names them: `child 4242 (sleep 1000)`."""
        living = [process.pid for process in processes.below(self._pid, table) if process.alive]
        own = processes.command(self._pid)
        named = [f"{pid} ({_called(processes.command(pid), own)})" for pid in living[:SHOWN]]
        more = [f"{len(living) - SHOWN} more"] if len(living) > SHOWN else []
        return f"{'child' if len(living) == 1 else 'children'} {', '.join([*named, *more])}" if living else ""


def _called(command: str, own: str) -> str:
    if command in ("", own):
        return "a fork of it" if command else "its name is not known"
    return command if len(command) <= LONGEST else command[: LONGEST - 1] + "…"


def _from(path: Path, offset: int) -> str:
    """What a log says from somewhere on; nothing where it is gone."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(1 << 20).decode(errors="replace")
    except OSError:
        return ""


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
