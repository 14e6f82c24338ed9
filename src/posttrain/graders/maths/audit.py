"""How often the grader is wrong, by a set of pairs that people labelled (`labelled.toml`)."""

import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from posttrain.algos.stats import Interval, wilson
from posttrain.graders.maths import Maths
from posttrain.graders.maths.symbolic import WORKERS


@dataclass(frozen=True)
class Pair:
    """A gold, an answer to it, and whether the answer is right."""

    group: str
    gold: str
    answer: str
    right: bool
    prompt: str = ""


@dataclass(frozen=True)
class Told:
    """A pair and what the grader says of it."""

    pair: Pair
    outcome: str

    @property
    def mistaken(self) -> bool:
        """Whether the grader contradicts the label; what it could not decide it does not contradict."""
        return self.outcome != "timeout" and (self.outcome == "right") != self.pair.right


@dataclass(frozen=True)
class Audit:
    """What the grader says of every pair, and of every gold beside itself."""

    told: tuple[Told, ...]
    golds: tuple[Told, ...]

    @property
    def false_negatives(self) -> Interval:
        """Right answers that are refused, of the right ones."""
        return self._rate(right=True)

    @property
    def false_positives(self) -> Interval:
        """Wrong answers that are accepted, of the wrong ones."""
        return self._rate(right=False)

    def only(self, group: str) -> "Audit":
        """The part of one group of pairs."""
        return Audit(tuple(told for told in self.told if told.pair.group == group), ())

    @property
    def undecided(self) -> int:
        """Pairs whose comparison ended at a limit: in neither count of mistakes."""
        return sum(told.outcome == "timeout" for told in self.told)

    @property
    def mistakes(self) -> tuple[Told, ...]:
        """Every pair whose verdict contradicts its label, and every gold that does not grade itself right."""
        return tuple(t for t in self.told if t.mistaken) + tuple(t for t in self.golds if t.outcome != "right")

    def _rate(self, *, right: bool) -> Interval:
        of = [told for told in self.told if told.pair.right == right]
        return wilson(sum(told.mistaken for told in of), len(of))


def pairs() -> Iterator[Pair]:
    """The labelled pairs in the order of the file."""
    groups = tomllib.loads(Path(__file__).with_name("labelled.toml").read_text(encoding="utf-8"))
    for group, rows in groups.items():
        for label in ("right", "wrong"):
            for gold, *answers in rows[label]:
                for answer in answers:
                    yield Pair(group, gold, answer, label == "right", rows.get("asks", ""))


def audit(grader: Maths) -> Audit:
    """Grade every pair, and every gold beside itself."""
    listed = tuple(pairs())
    golds = tuple(Pair("golds", gold, gold, right=True) for gold in dict.fromkeys(pair.gold for pair in listed))
    return Audit(_told(grader, listed), _told(grader, golds))


def _told(grader: Maths, listed: tuple[Pair, ...]) -> tuple[Told, ...]:
    with ThreadPoolExecutor(WORKERS) as threads:
        outcomes = threads.map(lambda pair: grader.judge(pair.gold, pair.answer, pair.prompt), listed)
        return tuple(Told(pair, outcome) for pair, outcome in zip(listed, outcomes, strict=True))
