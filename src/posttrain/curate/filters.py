"""What keeps a problem out: it was there already, an exam has it, its gold or its solutions do not hold."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from posttrain.algos.overlap import Index
from posttrain.data.records import Problem
from posttrain.graders.registry import grader, self_check


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
    texts = (problem.prompt, *(solution.text for solution in problem.solutions))
    return tuple(sorted({gram for exam in exams for text in texts for gram in exam.shared(text)}))


def verified(problems: Iterable[Problem], log: Log) -> Iterator[Problem]:
    """Problems whose gold grades itself right, with those of their solutions that the grader accepts.

    What fails goes to `log.rejected`; a problem that had solutions and keeps none goes there whole.
    """
    for problem in problems:
        if not self_check(problem):
            log.rejected.append(problem)
            continue
        right = tuple(s for s in problem.solutions if accepted(problem, s.text))
        if len(right) == len(problem.solutions):
            yield problem
            continue
        wrong = tuple(s.model_copy(update={"verified": False}) for s in problem.solutions if s not in right)
        log.rejected.append(problem.model_copy(update={"solutions": wrong}))
        if right:
            yield problem.model_copy(update={"solutions": right})


def accepted(problem: Problem, text: str) -> bool:
    """Whether the problem's grader finds a response right."""
    return grader(problem.answer_type)(problem, text).correct
