"""Held-out problems, sampled with the same draws at every validation, so that any two of them are paired.

A sample that the grader could not decide counts in no score; a problem that has none left is in none.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeVar

from posttrain.algos.passk import mean_pass_at_k
from posttrain.algos.stats import Interval, paired_gain
from posttrain.data.records import Problem, Score
from posttrain.models.load import Loaded
from posttrain.models.sample import Sampling
from posttrain.runners.rollout import Grades, rollout, scores, stream
from posttrain.spec.errors import StageFailed

GAIN_SEED = 0
"""Seed of the bootstrap: the interval is a function of the rows."""

Known = TypeVar("Known", bound=Collection[str])


@dataclass(frozen=True)
class Exam:
    """What a validation asks."""

    problems: tuple[Problem, ...]
    samples: int
    sampling: Sampling
    seed: int
    grading: Grades


def sit(loaded: Loaded, exam: Exam, step: int) -> list[Score]:
    """Every sample of a validation as a row; its draws depend on the exam's seed, the problem and the sample alone."""
    seed = stream(exam.seed, "validation")
    asked = rollout(loaded, exam.problems, exam.sampling, samples=exam.samples, seed=seed, grading=exam.grading)
    return list(scores(asked, suite="val", step=step))


@dataclass(frozen=True)
class Standing:
    """What one validation says."""

    pass_1: float
    """pass@1: mean over problems of the share of correct samples."""
    pass_k: float | None
    """pass@k with k = samples per problem: any of them right; over problems without an undecided sample."""
    k: int
    length: float
    """Mean tokens of a response, its end token included."""
    truncated: float
    """Share of responses without an end token."""
    by_domain: dict[str, float]
    """pass@1 of each domain."""
    undecided: int
    """Samples that the grader could not find out about."""
    n: int
    """Problems that pass@1 is over."""

    def told(self) -> dict[str, float | None]:
        """The numbers as a step emits them."""
        told: dict[str, float | None] = {
            "val_pass@1": self.pass_1,
            f"val_pass@{self.k}": self.pass_k,
            "val_length": self.length,
            "val_truncated": self.truncated,
            "val_undecided": self.undecided,
        }
        return told | {f"val_pass@1/{domain}": value for domain, value in self.by_domain.items()}


def standing(rows: Sequence[Score]) -> Standing:
    """Sum up the rows of one validation; ValueError where there are none, StageFailed where none could be graded."""
    if not rows:
        raise ValueError("a validation without rows says nothing")
    counts = _counts(rows)
    k = min(Counter(row.id for row in rows).values())
    of = {row.id: row.domain for row in rows}
    domains: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for item, count in counts.items():
        domains[of[item]].append(count)
    whole = [(n, c) for n, c in counts.values() if n >= k]
    return Standing(
        pass_1=float(mean_pass_at_k(list(counts.values()), 1)),
        pass_k=float(mean_pass_at_k(whole, k)) if whole else None,
        k=k,
        length=sum(row.tokens for row in rows) / len(rows),
        truncated=sum(row.finish == "length" for row in rows) / len(rows),
        by_domain={domain: float(mean_pass_at_k(own, 1)) for domain, own in sorted(domains.items())},
        undecided=sum(not row.decided for row in rows),
        n=len(counts),
    )


def gain(before: Sequence[Score], after: Sequence[Score]) -> Interval:
    """pass@1 after minus before, with its 95 % paired bootstrap interval over the problems that both could grade."""
    if {row.id for row in before} != {row.id for row in after}:
        raise ValueError("two validations that are compared hold the same problems")
    first, second = _counts(before), _counts(after)
    both = _known([item for item in first if item in second])
    share = lambda counts: [float(Fraction(c, n)) for n, c in (counts[item] for item in both)]  # noqa: E731
    return paired_gain(share(first), share(second), seed=GAIN_SEED)


def best(validations: Mapping[int, Sequence[Score]]) -> int:
    """The step with the highest pass@1 over the problems that could be graded at every step; of equals the earliest."""
    counts = {step: _counts(rows) for step, rows in validations.items()}
    alike = set[str].intersection(*(set(items) for items in counts.values()))
    known = {step: _known({item: items[item] for item in items if item in alike}) for step, items in counts.items()}
    exact = {step: mean_pass_at_k(list(items.values()), 1) for step, items in known.items()}
    return min(exact, key=lambda step: (-exact[step], step))


def _counts(rows: Sequence[Score]) -> dict[str, tuple[int, int]]:
    """Problem → (graded samples, correct), in the order of the rows; problems without a graded sample are left out."""
    counts: dict[str, tuple[int, int]] = {}
    for row in rows:
        if row.decided:
            n, c = counts.get(row.id, (0, 0))
            counts[row.id] = (n + 1, c + row.correct)
    return _known(counts)


def _known(items: Known) -> Known:
    if not items:
        raise StageFailed(
            "no problem of a validation has a sample that could be graded",
            where="rl validation",
            remedy="Look at the outcomes in val.jsonl, and at what the graders need: `posttrain doctor`.",
        )
    return items
