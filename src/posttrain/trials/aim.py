"""Where the next kill goes and when: seen from outside, in the ledger and the scratch folders of a run."""

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Literal

from posttrain.store.ledger import Tail
from posttrain.store.run import MANIFEST, Run
from posttrain.trials import processes

Moment = Literal["planning", "beginning", "work", "saving", "programs", "commit"]

MOMENTS: Mapping[Moment, int] = {"beginning": 2, "work": 4, "saving": 3, "programs": 2, "commit": 2}
"""How often each is aimed at. `planning` has no node: the driver plans, the worker imports.

`programs`: the node has something run apart from it, in a sandbox; that is not killed, for it has to end by itself.
"""

PLANNING = 0.08
"""Share of the kills that are aimed at the driver before any node works."""

LAST = 0.9
"""Share of a node's time after which no kill is aimed: it may be quicker than it was."""

LESS = 0.6
"""How much of a node's time is taken to be left after each kill."""

_PROCESS = re.compile(r"^== .*, process (\d+), .* ==$", re.MULTILINE)
"""The line with which each attempt begins in the log of its node."""


@dataclass(frozen=True)
class Aim:
    """One kill as it is meant."""

    node: str
    moment: Moment
    share: float
    """How much of the node's own time goes by before it."""


@dataclass
class Targets:
    """What can be hit: the nodes in the order of the plan, their kinds, and how long each took undisturbed."""

    kinds: Mapping[str, str]
    """Node → kind."""
    seconds: Mapping[str, float]
    """Node → the time of its own work in the calm run."""
    begins: float
    """Seconds from the start of the command to the first node's work."""
    programs: frozenset[str] = frozenset()
    """The nodes that ran something apart from themselves."""
    together: int = 1
    """Kills of one kind in a row, before another kind's turn."""
    hits: dict[str, int] = field(default_factory=dict[str, int])
    """Kind → kills that landed while it worked."""
    running: set[str] = field(default_factory=set[str])
    """Kinds that were hit while they ran something apart."""

    def hit(self, nodes: tuple[str, ...], programs: tuple[str, ...]) -> None:
        """Count a kill; `programs`: those of the nodes that ran something apart."""
        for kind in {self.kinds[node] for node in nodes}:
            self.hits[kind] = self.hits.get(kind, 0) + 1
        self.running |= {self.kinds[node] for node in programs}

    def next(self, done: frozenset[str], hit: Sequence[str], draw: Random) -> Aim | None:
        """The first open node of the kind that was hit least; None where such kinds have nothing left to do here.

        A kind that runs programs is first hit while it does. `hit` names the nodes that this run was hit at: each time
        less of their work is left.
        """
        turn = {kind: self.hits.get(kind, 0) // self.together for kind in self.kinds.values()}
        least = min(turn.values())
        fit = [node for node, kind in self.kinds.items() if node not in done and turn[kind] == least]
        if not fit:
            return None
        running = [node for node in fit if node in self.programs]
        fresh = [node for node in running if self.kinds[node] not in self.running]
        (drawn,) = draw.choices(list(MOMENTS), weights=list(MOMENTS.values()))
        moment: Moment = "programs" if fresh else "planning" if draw.random() < PLANNING else drawn
        node = [*fresh, *running, *fit][0] if moment == "programs" else fit[0]
        return Aim(node, moment, LAST * draw.random() * LESS ** hit.count(node))


class Watch:
    """A run seen from outside, while one command is at it."""

    def __init__(self, run: Run) -> None:
        """Read the ledger from its start."""
        self.run, self._tail = run, Tail(run.ledger)
        self._began, self._root = 0.0, 0
        self._since = 0.0
        """Files that were changed since are this command's work; by the clock of the file system."""
        self.pids: frozenset[int] = frozenset()
        """The processes of the command, as they were when the newest node began."""
        self._seen: dict[str, float] = {}
        self._pids: dict[str, int] = {}
        """The process of each node that was seen at work."""
        self.marks: dict[str, str] = {}
        """Node → fingerprint, of the nodes that were started and have not ended."""
        self.done: frozenset[str] = frozenset()
        """Nodes that need no more work."""

    def begin(self, root: int, since: float) -> None:
        """A command was started, as the process `root`; `since`: when, by the clock of the file system."""
        self._began, self._since, self._root = time.monotonic(), since, root
        self._seen, self.marks, self.pids = {}, {}, frozenset()

    def look(self) -> None:
        """Read what is new."""
        for record in self._tail.new():
            node = str(record.get("node"))
            if record["event"] == "node_started":
                self.marks[node] = str(record["fingerprint"])
            elif record["event"] in ("node_finished", "node_kept", "node_blocked", "node_failed"):
                self.marks.pop(node, None)
                self.done |= {node}
        now = time.monotonic()
        for node in self.at_work():
            if node not in self._seen:
                self._seen[node] = now
                self._pids[node] = self._process(node)
                self.pids = frozenset(processes.family(self._root))

    def at_work(self) -> tuple[str, ...]:
        """The nodes whose stage runs, or whose artifact is being committed."""
        return tuple(node for node, mark in self.marks.items() if self._works(mark))

    def due(self, aim: Aim, targets: Targets) -> bool:
        """Whether it is time."""
        if aim.moment == "planning" and not self._seen:
            return time.monotonic() - self._began >= aim.share * targets.begins
        if aim.node not in self._seen or aim.node not in self.marks:
            return False
        whole, gone = targets.seconds[aim.node], time.monotonic() - self._seen[aim.node]
        mark = self.marks[aim.node]
        if aim.moment == "commit":
            return self._commits(mark)
        if aim.moment == "programs":
            late = gone >= (2.0 if aim.node in targets.programs else 0.8) * whole
            return gone >= aim.share * whole and (late or aim.node in self.programs().values())
        if aim.moment == "saving":
            return gone >= aim.share * whole and (self._saves(mark) or gone >= 0.8 * whole)
        return gone >= (0.1 if aim.moment == "beginning" else 1.0) * aim.share * whole

    def programs(self) -> dict[int, str]:
        """The sessions of what nodes run apart from themselves, and the node of each; an empty name for none known."""
        nodes = {pid: node for node, pid in self._pids.items() if node in self.marks}
        return {session: nodes.get(parent, "") for session, parent in processes.apart(self._root).items()}

    def keeps(self, mark: str) -> bool:
        """Whether an unfinished node left something to go on from."""
        return any(path.is_file() for path in _below(self.run.store.work(mark)))

    def made(self, mark: str) -> bool:
        """Whether an artifact is there."""
        return (self.run.store.artifact(mark) / MANIFEST).exists()

    def _process(self, node: str) -> int:
        """The process of a node, as its log tells it; 0 where it does not."""
        try:
            told = _PROCESS.findall(self.run.log(node).read_text(encoding="utf-8", errors="replace"))
        except OSError:
            return 0
        return int(told[-1]) if told else 0

    def _works(self, mark: str) -> bool:
        return _changed(self.run.store.out(mark)) >= self._since or self._commits(mark)

    def _commits(self, mark: str) -> bool:
        made = self.run.store.artifact(mark)
        written = max(_changed(self.run.store.out(mark) / MANIFEST), _changed(made / MANIFEST))
        return written >= self._since

    def _saves(self, mark: str) -> bool:
        scratch = self.run.store.scratch(mark)
        return any(path.name.startswith(".") or path.suffix in (".part", ".new") for path in _below(scratch))


def _changed(path: Path) -> float:
    """When a file or folder was made or changed; 0 where there is none."""
    try:
        return path.stat().st_ctime
    except OSError:
        return 0.0


def _below(folder: Path) -> Iterator[Path]:
    """Everything below a folder that others are writing in."""
    try:
        for path in folder.iterdir():
            yield path
            if path.is_dir():
                yield from _below(path)
    except OSError:
        return
