"""Exams: which problems are asked, whether their golds are fair, what the rows say. No torch: asking is `evals.ask`."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from posttrain.algos.chance import uniform_p
from posttrain.data import rows
from posttrain.data.records import Problem
from posttrain.evals.tally import Item, by_domain, summary
from posttrain.graders.registry import Grading
from posttrain.spec.gate import Metric

CHANCE = 0.01
"""A suite whose option keys are this unlikely to be uniform is unfair."""


@dataclass(frozen=True)
class Paper:
    """The problems of one suite."""

    suite: str
    problems: tuple[Problem, ...]
    repeated: int
    """Problems left out because an earlier one has the same id."""


def paper(suite: str, files: Iterable[Path], *, most: int | None) -> Paper:
    """The problems of some JSONL files in their order, each id once; of each domain the first `most`."""
    found: dict[str, Problem] = {}
    per_domain: Counter[str] = Counter()
    repeated = 0
    for problem in (problem for file in files for problem in rows.read(file, Problem)):
        if problem.id in found:
            repeated += 1
        elif most is None or per_domain[problem.domain] < most:
            per_domain[problem.domain] += 1
            found[problem.id] = problem
    return Paper(suite, tuple(found.values()), repeated)


@dataclass(frozen=True)
class Fairness:
    """What is wrong with the golds of an exam, in plain facts."""

    golds: int
    bad_golds: tuple[str, ...]
    """Problems whose gold, stated as an answer, is graded wrong."""
    keys: Mapping[str, Mapping[str, int]]
    """Suite → how often each option is the right one; suites with options alone."""


def fairness(papers: Sequence[Paper], grading: Grading) -> Fairness:
    """Grade every gold by itself and count the right options of each suite."""
    problems = [problem for each in papers for problem in each.problems]
    keys = {
        each.suite: Counter(problem.answer.strip() for problem in each.problems if problem.answer_type == "options")
        for each in papers
    }
    held = grading.self_checks(problems)
    return Fairness(
        golds=len(problems),
        bad_golds=tuple(problem.id for problem, good in zip(problems, held, strict=True) if not good),
        keys={suite: dict(sorted(counted.items())) for suite, counted in keys.items() if counted},
    )


def unfair(facts: Fairness) -> Metric:
    """Golds that fail themselves, and suites whose option keys chance does not explain (χ² p ≤ 0.01)."""
    crooked = [suite for suite, counted in facts.keys.items() if uniform_p(_options(counted)) <= CHANCE]
    return Metric(len(facts.bad_golds) + len(crooked), n=facts.golds)


def _options(counted: Mapping[str, int]) -> list[int]:
    """Counts of A, B, … up to the last letter that is ever right, at least A and B."""
    last = max(["B", *(key for key in counted if len(key) == 1)])
    letters = [chr(code) for code in range(ord("A"), ord(last) + 1)]
    others = [key for key in counted if key not in letters]
    return [counted.get(key, 0) for key in (*letters, *others)]


def metrics(of: Sequence[Item], ks: Sequence[int], facts: Fairness) -> dict[str, Metric]:
    """Every metric pooled, then as NAME/DOMAIN where there are several domains, and `unfair`."""
    found = summary(of, ks)
    for domain, items in by_domain(of).items():
        found |= {f"{name}/{domain}": value for name, value in summary(items, ks).items()}
    return found | {"unfair": unfair(facts)}
