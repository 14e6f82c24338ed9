"""Grades a response that holds a program, by running it where it can do no harm.

The problem's `answer` is JSON: its tests, in one of three forms,
`{"entry": "f", "tests": "assert f(1) == 2"}`, `{"entry": "f", "calls": [{"args": [1], "returns": 2}]}` or
`{"stdin": [["1 2\\n", "3\\n"]]}`, and what it likes of `tolerance` (floats may differ by that much), `sequences` (a
tuple is as good as a list; so it is where calls are JSON), `reference` (a program known to be right), `prefix` (text
that a response may go on from) and `setup` (code before the tests).
"""

import os
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING

from posttrain.graders.base import Grade, Graded
from posttrain.graders.code import expression
from posttrain.graders.code.found import LONGEST, completed, program, tier
from posttrain.graders.code.stated import Stated, stated, tests_of
from posttrain.graders.sandbox.cases import Calls, Code
from posttrain.spec.errors import Mismatch, MissingNeed

if TYPE_CHECKING:  # a machine without Linux grades expressions, and cannot load what runs programs
    from posttrain.graders.sandbox.pool import Limits, Sandbox

__all__ = ["LONGEST", "grade", "grade_all", "program", "self_checks", "shared_pool", "tests_of", "tier"]

Opens = Callable[[], "Sandbox"]
"""Opens a sandbox when the first program is to run, and gives the same one after that."""


def shared_pool() -> "Sandbox":
    """The pool of this process, at the best level that works here; MissingNeed where none is good enough."""
    return _pool_of(os.getpid())


def grade(problem: Graded, text: str) -> Grade:
    """Right where the program in the text passes every test of the problem (`grade_all` says more)."""
    return grade_all([problem], [text])[0]


def grade_all(
    problems: Sequence[Graded],
    texts: Sequence[str],
    *,
    opens: Opens | None = shared_pool,
    limits: "Limits | None" = None,
) -> list[Grade]:
    """Grades in the order given, run side by side; each grade's answer is the program as it was taken from the text.

    Outcomes: right, no_answer, unparsable, and those of `sandbox.verdict` but `pass`. `sandbox_error` says nothing
    about the program: it is undecided, and its sample is masked. With `opens` None no program is run: expressions are
    computed, more than that is `unsupported`. Mismatch where a problem has no tests; MissingNeed where nothing can run.
    """
    known = _read(problems)
    asked = [known[problem.answer] for problem in problems]
    programs = [program(text, said.entry, completes=bool(said.prefix)) for text, said in zip(texts, asked, strict=True)]
    return _graded([problem.answer for problem in problems], known, programs, opens=opens, limits=limits)


def self_checks(problems: Sequence[Graded], *, opens: Opens | None = shared_pool) -> list[bool]:
    """Whether each problem's gold holds: its reference passes its tests; without one, its tests need only be sound."""
    known: dict[str, Stated] = {}
    for problem in problems:
        try:
            known |= _read([problem])
        except Mismatch:
            continue
    golds = {answer: said.reference for answer, said in known.items() if said.reference is not None}
    grades = _graded(list(golds), known, list(golds.values()), opens=opens, limits=None)
    held = dict.fromkeys(known, True) | {answer: grade.correct for answer, grade in zip(golds, grades, strict=True)}
    return [held.get(problem.answer, False) for problem in problems]


def _read(problems: Sequence[Graded]) -> dict[str, Stated]:
    """What each answer states, every answer read once."""
    return {answer: stated(problem) for answer, problem in {problem.answer: problem for problem in problems}.items()}


def _graded(
    answers: Sequence[str],
    known: dict[str, Stated],
    programs: Sequence[str | None],
    *,
    opens: Opens | None,
    limits: "Limits | None",
) -> list[Grade]:
    """A grade for each program beside its problem's answer; equal ones are run once."""
    pairs = list(zip(answers, programs, strict=True))
    distinct = [(answer, source) for answer, source in dict.fromkeys(pairs) if source is not None]
    runnable = [(answer, source) for answer, source in distinct if len(source) <= LONGEST]
    outcomes = _computed(runnable, known) if opens is None else _ran(runnable, known, opens, limits)
    said = dict(zip(runnable, outcomes, strict=True))
    return [_grade(source, said.get((answer, source or ""))) for answer, source in pairs]


def _ran(
    pairs: Sequence[tuple[str, str]], known: dict[str, Stated], opens: Opens, limits: "Limits | None"
) -> list[str]:
    from posttrain.graders.sandbox.pool import Limits
    from posttrain.graders.sandbox.verdict import Submission, judge

    submissions: list[Submission] = []
    for answer, source in pairs:
        said = known[answer]
        whole = completed(source, said.prefix, said.entry)
        judged = said.tests.tests if isinstance(said.tests, Code) else ""
        submissions.append(Submission(whole, said.tests, tier(f"{whole}\n{judged}"), limits or Limits()))
    return [verdict.outcome for verdict in judge(opens(), submissions)] if submissions else []


def _computed(pairs: Sequence[tuple[str, str]], known: dict[str, Stated]) -> list[str]:
    """Outcomes without running any program."""
    wanted = {answer: _expected(said) for answer, said in known.items()}
    return [expression.outcome(source, *wanted[answer]) for answer, source in pairs]


def _expected(said: Stated) -> tuple[Calls, list[expression.Wanted]]:
    cases = expression.cases(said.tests)
    if isinstance(said.tests, Calls) and cases is not None and not said.prefix:
        gold = "" if said.reference is None else expression.outcome(said.reference, said.tests, cases)
        if gold != "unsupported":
            return said.tests, cases
    raise MissingNeed(
        'resources.sandbox = "none" lets no program run, and a problem of the code domain is more than an expression',
        remedy=(
            'Prepare with code_tasks = "expression" (--profile nojail sets both), or let programs run: '
            'resources.sandbox = "L2" on Linux.'
        ),
    )


def _grade(source: str | None, outcome: str | None) -> Grade:
    if outcome is None:
        return Grade(correct=False, outcome="no_answer" if source is None else "unparsable", answer=None)
    told = "right" if outcome == "pass" else outcome
    return Grade(correct=told == "right", outcome=told, answer=source, decided=told != "sandbox_error")


@cache
def _pool_of(process: int) -> "Sandbox":
    from posttrain.graders.sandbox import level
    from posttrain.graders.sandbox.pool import Pool

    return Pool(level.find())
