"""What became of a trial, in words: caught, missed, more than its gate, or nothing proved."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from posttrain.spec.errors import INCONCLUSIVE, PASS, REFUSED, Mismatch, Stop
from posttrain.spec.gate import Verdict
from posttrain.spec.recipe import Recipe

Outcome = Literal["caught", "missed", "more", "inconclusive"]


@dataclass(frozen=True)
class Trial:
    """What became of one defect."""

    kind: str
    gate: str
    """The gate, or the name of the mismatch."""
    node: str
    defect: str
    honest: str
    """The verdict of the gate without the defect."""
    planted: str
    """Its verdict with the defect; of a mismatch, how the node ended."""
    moved: tuple[str, ...]
    """Every other gate of the node whose verdict changed."""
    outcome: Outcome
    """caught; missed; more: other gates changed too; inconclusive: the trial could not be held."""
    why: str
    """What the gate or the mismatch said; why nothing can be said."""


@dataclass(frozen=True)
class Tried:
    """All trials of a recipe."""

    recipe: Recipe
    folder: Path
    ground: tuple[str, ...]
    """Keys that make the ground, as in --set."""
    trials: tuple[Trial, ...]

    @property
    def code(self) -> int:
        """0 all caught, 1 a defect missed or more than its gate moved, 3 a trial that could not be held."""
        outcomes = {trial.outcome for trial in self.trials}
        return REFUSED if outcomes & {"missed", "more"} else INCONCLUSIVE if "inconclusive" in outcomes else PASS


@dataclass(frozen=True)
class Words:
    """Puts what was found of one defect into words."""

    kind: str
    gate: str
    node: str
    says: str
    """The defect."""

    def inconclusive(self, why: str, honest: str = "") -> Trial:
        """The trial proves nothing."""
        return self._trial("inconclusive", why, honest=honest)

    def mismatch(self, error: Stop | None, words: str) -> Trial:
        """A node that had to end with a mismatch about `words`."""
        if error is None:
            return self._trial("missed", "the node ended well", planted="no error")
        good = type(error) is Mismatch and words in error.what
        return self._trial("caught" if good else "missed", error.paragraph(), planted=f"exit {error.code}")

    def ended(self, error: Stop, honest: str) -> Trial:
        """With the defect the node ended before a gate could judge: a refusal is no verdict, a crash no trial."""
        outcome = "inconclusive" if error.code == Stop.code else "missed"
        return self._trial(outcome, error.paragraph(), honest=honest, planted=f"exit {error.code}")

    def verdicts(self, honest: Mapping[str, Verdict], planted: Mapping[str, Verdict]) -> Trial:
        """Both sides judged."""
        own = planted[self.gate]
        moved = tuple(
            f"{name}: {before.value} → {planted[name].value}"
            for name, before in honest.items()
            if name != self.gate and before.value != planted[name].value
        )
        outcome: Outcome = "missed" if own.value != "fail" else "more" if moved else "caught"
        return self._trial(outcome, own.reason, honest=honest[self.gate].value, planted=own.value, moved=moved)

    def _trial(
        self, outcome: Outcome, why: str, *, honest: str = "", planted: str = "", moved: tuple[str, ...] = ()
    ) -> Trial:
        return Trial(self.kind, self.gate, self.node, self.says, honest, planted, moved, outcome, why)
