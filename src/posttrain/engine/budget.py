"""The caps of a run as its driver holds them: what may still start, how long it may take, what is told at the end.

Nodes stop by themselves at their next step. One that does not is given a grace beyond its hours, then TERM and KILL
like a node past its timeout; what it kept is there when the run goes on.
"""

import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from posttrain.engine.expand import Node
from posttrain.engine.work.clock import seconds_before
from posttrain.engine.work.limits import HOUR, Side, time_is_up
from posttrain.spec.errors import BudgetReached, Stop, TimedOut
from posttrain.spec.knobs import UNLIMITED, Budget
from posttrain.spec.stage import Estimate
from posttrain.store.account import Account, Spent
from posttrain.store.run import Run

SHORTEST_GRACE, LONGEST_GRACE = 1.0, 60.0
"""Seconds that a node may work on past its hours, to stop by itself: a twentieth of them, between these."""


@dataclass
class Purse:
    """The caps of one invocation."""

    run: Run
    caps: Budget = UNLIMITED
    again: tuple[str, ...] = ()
    """Nodes that were asked for once more and are not made yet: the command that goes on names them."""
    _start: float = field(default_factory=time.monotonic)
    _holds: dict[str, Side] = field(default_factory=dict[str, Side])
    """Running nodes whose time ends with hours, not with their timeout: whose hours they are."""
    _stopped: BudgetReached | None = None

    @property
    def left_s(self) -> float | None:
        """Seconds that are left of the run's hours; None: no end."""
        return None if self.until is None else self.until - time.monotonic()

    @property
    def until(self) -> float | None:
        """When the run's hours are over, by the clock that all processes of this machine share and that never jumps."""
        return None if self.caps.hours is None else self._start + self.caps.hours * HOUR

    def refusal(self) -> str:
        """Why nothing more is started; empty while something may be."""
        left = self.left_s
        if self._stopped is None and left is not None and left <= 0:
            self._stopped = time_is_up(self._ours())
        if self._stopped is None or self._stopped.where.startswith("stage."):
            return ""
        return f"{self._stopped.where}: {self._stopped.what.rstrip('.')}"

    def over(self, node: Node, mark: str | None) -> BudgetReached | None:
        """The hours of a node, where its earlier attempts used them up."""
        side = self._theirs(node, mark)
        return self._note(time_is_up(side)) if side.seconds is not None and side.seconds <= 0 else None

    def timeout(self, node: Node, mark: str | None) -> float | None:
        """Seconds that a node may run, its own timeout and the hours that hold for it considered."""
        self._holds.pop(node.id, None)
        shortest = node.timeout
        for side in (self._theirs(node, mark), self._ours()):
            if side.seconds is None or side.caps.hours is None:
                continue
            most = side.seconds + min(LONGEST_GRACE, max(SHORTEST_GRACE, side.caps.hours * HOUR / 20))
            if shortest is None or most < shortest:
                shortest, self._holds[node.id] = most, side
        return shortest

    def judged(self, node: Node, error: Stop) -> Stop:
        """How an attempt ended: a node that its hours ended did not time out."""
        if isinstance(error, TimedOut) and node.id in self._holds:
            error = time_is_up(self._holds[node.id])
        return self._note(error) if isinstance(error, BudgetReached) else error

    def end(self, undone: Sequence[str], count: int) -> BudgetReached | None:
        """What a cap that stopped the run leaves to do; None where none did. `count`: the nodes of the run."""
        if self._stopped is None or not undone:
            return None
        spent, hours = Account(self.run.account).spent(), (time.monotonic() - self._start) / HOUR
        told = f"{hours:.3g} hours" + "".join(f", {one}" for one in _amounts(spent))
        names = ", ".join(undone[:8]) + (", …" if len(undone) > 8 else "")
        left = f"{len(undone)} of {count} nodes are left: {names}."
        what = f"{self._stopped.what.rstrip('.')}. The run used {told}; {left}"
        return BudgetReached(what, where=self._stopped.where, remedy=f"It goes on with: {self.resume()}")

    def resume(self) -> str:
        """The command that goes on from here, past the cap that stopped the run."""
        words = [str(self.run.recipe), *(word for id in self.again for word in ("--again", id))]
        command = f"posttrain run {shlex.join(words)}"
        if self._stopped is None or self._stopped.where == "budget.hours":
            return command
        key = self._stopped.where
        own, cap = key.startswith("stage."), key.rpartition(".")[2]
        return f"{command} --set {key}=N" if own else f"{command} --max-{cap} N"

    def _note(self, error: BudgetReached) -> BudgetReached:
        """Remember the cap that stops the run: the run's own rather than a stage's, else the first."""
        known = self._stopped.where if self._stopped else ""
        whose = error.where.partition(".")[0]
        if (whose == "budget" and not known.startswith("budget.")) or (whose == "stage" and not known):
            self._stopped = error
        return error

    def _ours(self) -> Side:
        return Side(Account(self.run.account), self.caps, self.left_s)

    def _theirs(self, node: Node, mark: str | None) -> Side:
        caps, store = node.budget, self.run.store
        used = seconds_before(store.time(mark)) if mark and caps.hours is not None else 0.0
        left = None if caps.hours is None else caps.hours * HOUR - used
        return Side(Account(store.account(mark or "")), caps, left, stage=node.stage)


def warnings(caps: Budget, run: Run, total: Estimate, nodes: Mapping[str, tuple[Node, Estimate]]) -> tuple[str, ...]:
    """Where an estimate is above a cap: of the run, then of its nodes."""
    spent = Account(run.account).spent() if caps.tokens or caps.money else Spent()
    found = _above("budget", caps, total, spent)
    for id, (node, estimate) in nodes.items():
        found += [f"{id}: {said}" for said in _above(f"stage.{node.stage}.budget", node.budget, estimate, Spent())]
    return tuple(found)


def _above(key: str, caps: Budget, estimate: Estimate, spent: Spent) -> list[str]:
    found: list[str] = []
    if caps.hours is not None and estimate.seconds is not None and estimate.seconds > caps.hours * HOUR:
        found.append(f"{key}.hours = {caps.hours:g}, and {estimate.seconds / HOUR:.3g} are expected.")
    if caps.tokens is not None and estimate.tokens is not None and spent.tokens + estimate.tokens > caps.tokens:
        so_far = f" after the {spent.tokens} that are spent" if spent.tokens else ""
        found.append(f"{key}.tokens = {caps.tokens}, and at most {estimate.tokens} are expected{so_far}.")
    if caps.money is not None and estimate.money is not None and spent.money + estimate.money > caps.money:
        so_far = f" after the {spent.money} that is spent" if spent.money else ""
        found.append(f"{key}.money = {caps.money}, and {estimate.money} is expected{so_far}.")
    return found


def _amounts(spent: Spent) -> list[str]:
    """What the run spent over all its invocations, as far as it spends."""
    tokens = [f"{spent.tokens} tokens"] if spent.tokens else []
    return tokens + ([f"{spent.money} of money"] if spent.money else [])
