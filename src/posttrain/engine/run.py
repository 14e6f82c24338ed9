"""Does what the plan says: nodes in order of what they need, several at a time, gates judged as stages are done."""

import functools
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from posttrain.engine.budget import Purse
from posttrain.engine.capacity import Capacity
from posttrain.engine.expand import Node
from posttrain.engine.judge import SILENT, Bench, Reading, exit_code, parents
from posttrain.engine.plan import Decision, Outlook, Plan
from posttrain.engine.views import Views
from posttrain.engine.work import tidy
from posttrain.spec.errors import INCONCLUSIVE, Interrupted, Mismatch, StageFailed, Stop, TimedOut
from posttrain.spec.gate import Metrics, Verdict
from posttrain.spec.knobs import Resources
from posttrain.store import artifact
from posttrain.store.artifact import Manifest
from posttrain.store.ledger import Ledger

Fate = Literal["ran", "kept", "failed", "blocked"]
"""What became of a node."""

Options = Mapping[str, str | bool | float | None]
"""What a node's work is told beside the run and the node: JSON."""

BREATH = 0.2
"""Seconds between two looks at the clock while nothing ends."""
SHORTEST_WAIT, LONGEST_WAIT = 1.0, 60.0
"""Seconds before the second attempt at a node, doubled before each further one, and the most that they become."""


def rest(attempt: int) -> float:
    """Seconds between the failure of an attempt and the next one."""
    return min(LONGEST_WAIT, SHORTEST_WAIT * 2.0 ** min(attempt - 1, 30))


def _unheard(event: str, **fields: object) -> None:
    """Hears of what happens to a task, and keeps it to itself."""


@dataclass(frozen=True)
class Task:
    """One attempt at a node, as an executor is asked for it."""

    node: str
    log: Path
    timeout: float | None
    args: tuple[str, ...]
    """What the work callable gets: the run's folder and the node."""
    options: Options = field(default_factory=dict[str, "str | bool | float | None"])
    resources: Resources = field(default_factory=Resources)
    """What it claims, and is held to."""
    attempt: int = 1
    tell: Callable[..., None] = _unheard
    """Takes the name and the fields of a ledger record on the node: heartbeats, notes."""


@dataclass(frozen=True)
class Ended:
    """How an attempt ended."""

    node: str
    error: Stop | None
    value: object = None


class Executor(Protocol):
    """Runs tasks somewhere."""

    def prepare(self) -> None:
        """Something will be started soon."""
        ...

    def start(self, task: Task) -> None:
        """Begin a task."""
        ...

    def wait(self, seconds: float) -> tuple[Ended, ...]:
        """What ended within so many seconds."""
        ...

    def close(self) -> None:
        """End whatever still runs."""
        ...


@dataclass(frozen=True)
class Failure:
    """A node that failed: why, and where its log lies."""

    node: str
    error: Stop
    log: Path


@dataclass(frozen=True)
class Finished:
    """How a run ended."""

    folder: Path
    code: int
    fates: Mapping[str, Fate]
    decisions: Mapping[str, Decision]
    """The last decision on each node, with its reasons."""
    verdicts: tuple[Verdict, ...]
    failures: tuple[Failure, ...]
    resume: str
    """The command that goes on from here."""
    wall_s: float


class Drive:
    """Drives one run to its end."""

    def __init__(
        self,
        outlook: Outlook,
        bench: Bench,
        plan: Plan,
        *,
        views: Views,
        executor: Executor,
        ledger: Ledger,
        capacity: Capacity,
    ) -> None:
        """Begin where the plan ends: what it keeps is settled and judged."""
        self._outlook, self._bench, self._views = outlook, bench, views
        self._executor, self._ledger, self._capacity = executor, ledger, capacity
        self._run = outlook.run
        self._nodes = {id: outlook.graph.nodes[id] for id in plan.decisions}
        self._decisions = dict(plan.decisions)
        self._reached = {id for id, decision in plan.decisions.items() if decision.action == "keep"}
        self._fates: dict[str, Fate] = {}
        self._failures: dict[str, Failure] = {}
        self._running: set[str] = set()
        self._attempts: dict[str, int] = {}
        self._not_before: dict[str, float] = {}
        self._purse = Purse(self._run)

    def go(self, options: Options, tick: Callable[[], None], *, purse: Purse | None = None) -> Finished:
        """Run until nothing is left; `options` reach every node's work, `tick` is called several times a second.

        `purse` holds the run's caps: when one is reached, what runs ends and nothing more is started.
        """
        started = time.monotonic()
        self._purse = purse or self._purse
        if any(decision.action == "run" for decision in self._decisions.values()):
            self._executor.prepare()
        interrupted = False
        try:
            while self._advance(options):
                for ended in self._executor.wait(BREATH):
                    self._end(ended)
                tick()
        except KeyboardInterrupt:
            interrupted = True
        finally:
            self._executor.close()
        if interrupted:
            self._interrupt()
        finished = self._finished(time.monotonic() - started)
        tick()
        return finished

    def _advance(self, options: Options) -> bool:
        """Settle and start whatever can be; whether anything runs or waits for its next attempt."""
        for id, node in self._nodes.items():
            if id not in self._fates and id not in self._running:
                self._look(node, options)
        pending = self._nodes.keys() - self._fates.keys()
        assert self._running or self._not_before or not pending, f"nothing runs and {pending} wait"
        return bool(pending)

    def _look(self, node: Node, options: Options) -> None:
        """Keep, start or block a node, if what it depends on is done."""
        above = [self._fates.get(id) for id in parents(node)]
        if "failed" in above or "blocked" in above:
            fallen = next(id for id in parents(node) if self._fates.get(id) in ("failed", "blocked"))
            self._block(node, f"{fallen} {'failed' if self._fates[fallen] == 'failed' else 'is blocked'}")
        elif None not in above:
            self._reach(node, options)

    def _reach(self, node: Node, options: Options) -> None:
        if node.id not in self._reached:
            self._reached.add(node.id)
            self._decisions[node.id] = self._outlook.decide(node)
        decision = self._decisions[node.id]
        if decision.action == "keep":
            self._keep(node, decision)
        elif decision.action == "blocked":
            self._damaged(node, decision)
        else:
            refusal = self._bench.may_run(node)
            if refusal == "":
                refusal = self._purse.refusal()
            if refusal:
                self._block(node, refusal)
            elif refusal == "" and self._fits(node):
                self._start(node, decision, options)

    def _fits(self, node: Node) -> bool:
        rested = self._not_before.get(node.id, 0) <= time.monotonic()
        return rested and self._capacity.fits(node, (self._nodes[id] for id in self._running))

    def _start(self, node: Node, decision: Decision, options: Options) -> None:
        self._not_before.pop(node.id, None)
        if over := self._purse.over(node, decision.fingerprint):
            self._fail(node, over)
            return
        self._attempts[node.id] = attempt = self._attempts.get(node.id, 0) + 1
        log = self._run.log(node.id)
        self._ledger.write(
            "node_started",
            node=node.id,
            fingerprint=decision.fingerprint,
            reasons=decision.reasons,
            attempt=attempt,
            log=str(log),
        )
        again = node.id in self._outlook.again
        task = Task(
            node.id,
            log,
            self._purse.timeout(node, decision.fingerprint),
            (str(self._run.folder), node.id),
            {**options, "again": again, "until": self._purse.until},
            resources=node.resources,
            attempt=attempt,
            tell=functools.partial(self._ledger.write, node=node.id),
        )
        self._executor.start(task)
        self._running.add(node.id)

    def _end(self, ended: Ended) -> None:
        self._running.remove(ended.node)
        node, error = self._nodes[ended.node], ended.error
        made: Manifest | None = None
        if error is None:
            made = artifact.manifest(self._run.pointer(node.id))
            error = StageFailed("it ended without an artifact.") if made is None else None
        if made is not None:
            self._finish(node, made)
        elif error is not None:
            self._fail(node, self._purse.judged(node, error))

    def _finish(self, node: Node, made: Manifest) -> None:
        self._outlook.settle(node.id, made)
        self._fates[node.id] = "ran"
        self._ledger.write(
            "node_finished",
            node=node.id,
            fingerprint=made.fingerprint,
            digest=made.digest,
            metrics={name: asdict(metric) for name, metric in made.metrics.items()},
            measured=made.measured,
        )
        self._judge_made(node, made)

    def _fail(self, node: Node, error: Stop) -> None:
        attempt = self._attempts.get(node.id, 1)
        again = error.code in (StageFailed.code, TimedOut.code) and attempt <= node.retries
        log = self._run.log(node.id)
        self._ledger.write(
            "node_failed",
            node=node.id,
            code=error.code,
            what=error.what,
            where=error.where,
            remedy=error.remedy,
            log=str(log),
            attempt=attempt,
            again=again,
        )
        if again:
            self._not_before[node.id] = time.monotonic() + rest(attempt)
            return
        self._fates[node.id] = "failed"
        self._failures[node.id] = Failure(node.id, error, log)
        self._judge(node, f"{node.id} failed")

    def _keep(self, node: Node, decision: Decision) -> None:
        made = self._outlook.made[node.id]
        self._run.point(node.id, made.fingerprint)
        tidy(self._run, made.fingerprint)
        self._fates[node.id] = "kept"
        self._ledger.write("node_kept", node=node.id, fingerprint=made.fingerprint, reasons=decision.reasons)
        self._judge_made(node, made)

    def _damaged(self, node: Node, decision: Decision) -> None:
        self._fail(node, Mismatch("; ".join(decision.reasons), where=node.id, remedy=decision.remedy))

    def _block(self, node: Node, why: str) -> None:
        self._fates[node.id] = "blocked"
        self._decisions[node.id] = Decision(node.id, node.stage, node.kind.name, "blocked", (why,))
        self._ledger.write("node_blocked", node=node.id, reasons=[why])
        self._judge(node, f"{node.id} was not run: {why}")

    def _judge_made(self, node: Node, made: Manifest) -> None:
        """Write a node's views and judge it beside them; one that cannot be written leaves the artifact as it is."""
        for error in self._views.write(node.id, made, self._ledger):
            self._failures[f"{node.id} {error.where}"] = Failure(f"a view of {node.id}", error, self._run.ledger)
        try:
            reading = self._views.read(node, made, self._bench.gates(node))
        except Mismatch as mismatch:
            self._fail(node, mismatch)
        else:
            for remark in reading.remarks:
                self._ledger.write("note", node=node.id, kind="view", text=remark, count=1)
            self._judge(node, made.metrics, reading)

    def _judge(self, node: Node, metrics: Metrics | str, reading: Reading = SILENT) -> None:
        for verdict in self._bench.judge(node, metrics, reading):
            self._ledger.write("verdict", **asdict(verdict))

    def _interrupt(self) -> None:
        """Whatever ran is stopped; whatever waited is left as it is."""
        for id in sorted(self._running):
            error = Interrupted("it was interrupted.", where=id)
            self._fates[id] = "failed"
            self._failures[id] = Failure(id, error, self._run.log(id))
            told = {"what": error.what, "where": id, "remedy": "", "log": str(self._run.log(id))}
            self._ledger.write("node_failed", node=id, code=error.code, attempt=self._attempts[id], again=False, **told)
        self._failures.setdefault("", Failure("", Interrupted("the run was interrupted."), self._run.ledger))

    def _finished(self, wall_s: float) -> Finished:
        undone = [id for id in self._nodes if self._fates.get(id) not in ("ran", "kept")]
        self._purse.again = tuple(id for id in undone if id in self._outlook.again)
        if stopped := self._purse.end(undone, len(self._nodes)):
            self._failures.setdefault("", Failure("", stopped, self._run.ledger))
        failures = tuple(self._failures.values())
        codes = [failure.error.code for failure in failures]
        codes += [INCONCLUSIVE for fate in self._fates.values() if fate == "blocked"]
        code = exit_code(self._bench.verdicts, codes)
        self._ledger.write("run_finished", code=code, wall_s=round(wall_s, 3))
        return Finished(
            folder=self._run.folder,
            code=code,
            fates=self._fates,
            decisions=self._decisions,
            verdicts=self._bench.verdicts,
            failures=failures,
            resume=self._purse.resume(),
            wall_s=wall_s,
        )
