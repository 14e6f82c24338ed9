"""Held-out problems, sampled with the same draws at every validation, so that any two of them are paired."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from posttrain.algos.passk import mean_pass_at_k
from posttrain.algos.stats import Interval, paired_gain
from posttrain.data.records import Problem, Score
from posttrain.graders.base import Grade
from posttrain.models.load import Loaded
from posttrain.models.sample import Sampling
from posttrain.runners.rollout import rollout, scores, stream

GAIN_SEED = 0
"""Seed of the bootstrap: the interval is a function of the rows."""


@dataclass(frozen=True)
class Exam:
    """What a validation asks."""

    problems: tuple[Problem, ...]
    samples: int
    sampling: Sampling
    seed: int
    grade: Callable[[Problem, str], Grade] | None = None


def sit(loaded: Loaded, exam: Exam, step: int) -> list[Score]:
    """Every sample of a validation as a row; its draws depend on the exam's seed, the problem and the sample alone."""
    seed = stream(exam.seed, "validation")
    asked = rollout(loaded, exam.problems, exam.sampling, samples=exam.samples, seed=seed, grade=exam.grade)
    return list(scores(asked, suite="val", step=step))


@dataclass(frozen=True)
class Standing:
    """What one validation says."""

    pass_1: float
    """pass@1: mean over problems of the share of correct samples."""
    pass_k: float
    """pass@k with k = samples per problem: any of them right."""
    k: int
    length: float
    """Mean tokens of a response, its end token included."""
    truncated: float
    """Share of responses without an end token."""
    by_domain: dict[str, float]
    """pass@1 of each domain."""

    def told(self) -> dict[str, float]:
        """The numbers as a step emits them."""
        told = {
            "val_pass@1": self.pass_1,
            f"val_pass@{self.k}": self.pass_k,
            "val_length": self.length,
            "val_truncated": self.truncated,
        }
        return told | {f"val_pass@1/{domain}": value for domain, value in self.by_domain.items()}


def standing(rows: Sequence[Score]) -> Standing:
    """Sum up the rows of one validation; ValueError where there are none."""
    counts = _counts(rows)
    if not counts:
        raise ValueError("a validation without rows says nothing")
    k = min(n for n, _ in counts.values())
    domains: dict[str, list[tuple[int, int]]] = defaultdict(list)
    of = {row.id: row.domain for row in rows}
    for item, count in counts.items():
        domains[of[item]].append(count)
    return Standing(
        pass_1=float(mean_pass_at_k(list(counts.values()), 1)),
        pass_k=float(mean_pass_at_k(list(counts.values()), k)),
        k=k,
        length=sum(row.tokens for row in rows) / len(rows),
        truncated=sum(row.finish == "length" for row in rows) / len(rows),
        by_domain={domain: float(mean_pass_at_k(own, 1)) for domain, own in sorted(domains.items())},
    )


def gain(before: Sequence[Score], after: Sequence[Score]) -> Interval:
    """pass@1 after minus before over the same problems, with its 95 % paired bootstrap interval over problems."""
    first, second = _counts(before), _counts(after)
    if first.keys() != second.keys():
        raise ValueError("two validations that are compared hold the same problems")
    share = lambda counts: [float(Fraction(c, n)) for n, c in (counts[item] for item in first)]  # noqa: E731
    return paired_gain(share(first), share(second), seed=GAIN_SEED)


def best(validations: Mapping[int, Sequence[Score]]) -> int:
    """The step with the highest pass@1; of equals the earliest."""
    exact = {step: mean_pass_at_k(list(_counts(rows).values()), 1) for step, rows in validations.items()}
    return min(exact, key=lambda step: (-exact[step], step))


def _counts(rows: Sequence[Score]) -> dict[str, tuple[int, int]]:
    """Problem → (samples, correct), in the order of the rows."""
    counts: dict[str, tuple[int, int]] = {}
    for row in rows:
        n, c = counts.get(row.id, (0, 0))
        counts[row.id] = (n + 1, c + row.correct)
    return counts
