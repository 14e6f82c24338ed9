"""The caps that hold for a node at work: its own over all attempts, and those of the whole run."""

import time
from dataclasses import dataclass
from decimal import Decimal

from posttrain.spec.errors import BudgetReached
from posttrain.spec.knobs import UNLIMITED, Budget
from posttrain.store.account import Account, Cap, Spent

HOUR = 3600.0


@dataclass(frozen=True)
class Side:
    """One set of caps, and the account that they hold for."""

    account: Account
    caps: Budget = UNLIMITED
    seconds: float | None = None
    """What is left of its hours now; None: no end."""
    stage: str = ""
    """Of whom: a stage, or empty for the run."""

    @property
    def key(self) -> str:
        """Where the caps stand in a recipe."""
        return f"stage.{self.stage}.budget" if self.stage else "budget"


class Limits:
    """Counts what is spent and knows when to stop."""

    def __init__(self, run: Side, own: Side) -> None:
        """The caps of the run, from whose account others spend too, and of the node hold from now on."""
        self._run, self._own, self._start = run, own, time.monotonic()
        sides = self._sides = (run, own)
        left = [side.seconds for side in sides if side.seconds is not None]
        self._until = self._start + min(left) if left else float("inf")

    def check(self) -> None:
        """Raise BudgetReached once the hours of a side are over."""
        if time.monotonic() >= self._until:
            past = time.monotonic() - self._start
            raise time_is_up(next(side for side in self._sides if side.seconds is not None and side.seconds <= past))

    def spend(self, tokens: int, money: Decimal) -> None:
        """Count on both sides; raises BudgetReached, with nothing counted, where that would pass a cap of one."""
        self.check()
        more = Spent(tokens, money)
        capped = self._own.caps.tokens is not None or self._own.caps.money is not None
        if capped and (cap := (self._own.account.spent() + more).beyond(self._own.caps)):
            raise _short(self._own, cap, more)
        if cap := self._run.account.spend(more, self._run.caps):
            raise _short(self._run, cap, more)
        self._own.account.spend(more)


def time_is_up(side: Side) -> BudgetReached:
    """The hours of a side are over."""
    if side.stage:
        remedy = f"Raise it with --set {side.key}.hours=N; the work goes on where it stopped."
    else:
        remedy = "The same command goes on where it stopped; --max-hours gives it more at a time."
    return BudgetReached(f"the cap of {side.caps.hours:g} hours is reached.", where=f"{side.key}.hours", remedy=remedy)


def _short(side: Side, cap: Cap, more: Spent) -> BudgetReached:
    spent, most = side.account.spent(), getattr(side.caps, cap)
    asked = getattr(more, cap)
    option = f"--set {side.key}.{cap}=N" if side.stage else f"--max-{cap} N"
    what = f"{getattr(spent, cap)} of {most} {cap} are spent, and {asked} more would pass the cap."
    remedy = f"Raise it with {option}, N at least {getattr(spent, cap) + asked}; the work goes on where it stopped."
    return BudgetReached(what, where=f"{side.key}.{cap}", remedy=remedy)
