"""What keeps a problem out: it was there already, an exam has it, its gold or its solutions do not hold."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice

from posttrain.algos.overlap import Index
from posttrain.data.records import Problem
from posttrain.graders.registry import Grading

GROUP = 512
"""Problems that are graded at once."""


CALLED = frozenset({"mbpp", "humaneval", "apps", "livecodebench"})
"""Templates of the exercises in files: their prompts end in a paragraph that says how a program is called."""


@dataclass(frozen=True)
class Leak:
    """A problem that shares words with an exam."""

    id: str
    shared: tuple[str, ...]
    """The n-grams it shares."""


@dataclass(frozen=True)
class Unread:
    """A row of a file that holds no problem that can be graded."""

    where: str
    """File and line."""
    why: str


@dataclass
class Log:
    """What the filters took out, and why; the report of the artifact is made of it."""

    unmapped: int = 0
    """Rows of a file whose category belongs to another domain, or to none."""
    duplicates: int = 0
    """Rows of a file that equal an earlier one when normalised."""
    unread: list[Unread] = field(default_factory=list)
    """Rows of a file that cannot be graded: no tests, no function that they call, no Python."""
    no_python: int = 0
    """Solutions of a file's exercises that are no Python."""
    leaks: list[Leak] = field(default_factory=list)
    rejected: list[Problem] = field(default_factory=list)
    """Problems whose gold fails itself, and unverified solutions, each with its problem."""


def distinct(problems: Iterable[Problem], log: Log) -> Iterator[Problem]:
    """The first of every set of problems that are equal when normalised; the others are counted."""
    seen: set[str] = set()
    for problem in problems:
        if problem.id in seen:
            log.duplicates += 1
        else:
            seen.add(problem.id)
            yield problem


def clean(problems: Iterable[Problem], exams: Sequence[Index], log: Log) -> Iterator[Problem]:
    """Problems that share no n-gram with an exam, neither in prompt nor in a solution."""
    for problem in problems:
        shared = leaked(problem, exams)
        if shared:
            log.leaks.append(Leak(problem.id, shared))
        else:
            yield problem


def leaked(problem: Problem, exams: Sequence[Index]) -> tuple[str, ...]:
    """The n-grams that a problem's prompt or solutions share with exams, sorted."""
    texts = (question(problem), *(solution.text for solution in problem.solutions))
    return tuple(sorted({gram for exam in exams for text in texts for gram in exam.shared(text)}))


def question(problem: Problem) -> str:
    """What is compared of a problem: its prompt, of an exercise without the last paragraph, which is ours.

    With that paragraph a short question would equal no exam's as a whole, and questions that end alike would share it.
    """
    return (problem.prompt.rpartition("\n\n")[0] if problem.template in CALLED else "") or problem.prompt


def verified(problems: Iterable[Problem], log: Log, grading: Grading, *, most: int | None = None) -> Iterator[Problem]:
    """Problems whose gold grades itself right, with those of their solutions that the grader accepts, at most `most`.

    What fails goes to `log.rejected`; a problem that had solutions and keeps none goes there whole. Many are graded at
    once, but none is taken that `most` good ones could do without.
    """
    source, left = iter(problems), most
    while left is None or left > 0:
        group = list(islice(source, GROUP if left is None else min(GROUP, left)))
        if not group:
            return
        found = [good for good in map(partial(_kept, log=log), *_checked(group, grading)) if good is not None]
        left = None if left is None else left - len(found)
        yield from found


def _checked(group: Sequence[Problem], grading: Grading) -> tuple[Sequence[Problem], list[bool], list[list[bool]]]:
    """Problems, whether the gold of each holds, and which of its solutions are right where it does."""
    golds = grading.self_checks(group)
    right = accepted([problem for problem, holds in zip(group, golds, strict=True) if holds], grading)
    told = iter(right)
    return group, golds, [next(told) if holds else [] for holds in golds]


def _kept(problem: Problem, holds: bool, right: Sequence[bool], log: Log) -> Problem | None:
    """The problem with its right solutions; None where nothing of it can be kept."""
    if not holds:
        log.rejected.append(problem)
        return None
    if all(right):
        return problem
    wrong = tuple(
        s.model_copy(update={"verified": False}) for s, ok in zip(problem.solutions, right, strict=True) if not ok
    )
    log.rejected.append(problem.model_copy(update={"solutions": wrong}))
    good = tuple(s for s, ok in zip(problem.solutions, right, strict=True) if ok)
    return problem.model_copy(update={"solutions": good}) if good else None


def accepted(problems: Sequence[Problem], grading: Grading) -> list[list[bool]]:
    """Which solutions of each problem its grader finds right; all are graded as one batch."""
    asked = [(problem, solution.text) for problem in problems for solution in problem.solutions]
    grades = iter(grading.grade_all([problem for problem, _ in asked], [text for _, text in asked], sure=True))
    return [[next(grades).correct for _ in problem.solutions] for problem in problems]
