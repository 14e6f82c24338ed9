"""How often the grader is wrong, by a set of pairs that people labelled (`labelled.toml`)."""

import tomllib
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from posttrain.algos.stats import Interval, wilson
from posttrain.graders.maths import UNDECIDED, Maths
from posttrain.graders.maths.symbolic import WORKERS

LAST = "fresh"
"""The group of pairs that was written when the grader was finished."""


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
        return not self.undecided and (self.outcome == "right") != self.pair.right

    @property
    def undecided(self) -> bool:
        """Whether the comparison ended at a limit."""
        return self.outcome == UNDECIDED


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

    @property
    def undecided(self) -> int:
        """Pairs whose comparison ended at a limit: in neither count of mistakes."""
        return sum(told.undecided for told in self.told)

    @property
    def mistakes(self) -> tuple[Told, ...]:
        """Every pair whose verdict contradicts its label, and every gold that does not grade itself right."""
        return tuple(t for t in self.told if t.mistaken) + tuple(t for t in self.golds if t.outcome != "right")

    def _rate(self, *, right: bool) -> Interval:
        of = [told for told in self.told if told.pair.right == right]
        return wilson(sum(told.mistaken for told in of), len(of))


@dataclass(frozen=True)
class FirstSight:
    """What the grader said of the last group of pairs before anything was mended by them."""

    false_negatives: Interval
    false_positives: Interval


def first_sight() -> FirstSight:
    """The rates that are not flattered by having made the grader on the same pairs."""
    counted = _groups()[LAST]["first_sight"]
    labels = Counter(pair.right for pair in pairs() if pair.group == LAST)
    return FirstSight(wilson(counted["refused"], labels[True]), wilson(counted["accepted"], labels[False]))


def pairs() -> Iterator[Pair]:
    """The labelled pairs in the order of the file."""
    for group, rows in _groups().items():
        for label in ("right", "wrong"):
            for gold, *answers in rows[label]:
                for answer in answers:
                    yield Pair(group, gold, answer, label == "right", rows.get("asks", ""))


def _groups() -> dict[str, dict[str, Any]]:
    return tomllib.loads(Path(__file__).with_name("labelled.toml").read_text(encoding="utf-8"))


def audit(grader: Maths) -> Audit:
    """Grade every pair, and every gold beside itself."""
    listed = tuple(pairs())
    golds = tuple(Pair("golds", gold, gold, right=True) for gold in dict.fromkeys(pair.gold for pair in listed))
    return Audit(_told(grader, listed), _told(grader, golds))


def _told(grader: Maths, listed: tuple[Pair, ...]) -> tuple[Told, ...]:
    with ThreadPoolExecutor(WORKERS) as threads:
        outcomes = threads.map(lambda pair: grader.judge(pair.gold, pair.answer, pair.prompt), listed)
        return tuple(Told(pair, outcome) for pair, outcome in zip(listed, outcomes, strict=True))
