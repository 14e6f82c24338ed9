"""Grades a response that holds a program, by running it where it can do no harm.

The problem's `answer` is JSON: its tests, in one of three forms,
`{"entry": "f", "tests": "assert f(1) == 2"}`, `{"entry": "f", "calls": [{"args": [1], "returns": 2}]}` or
`{"stdin": [["1 2\\n", "3\\n"]]}`, and what it likes of `tolerance` (floats may differ by that much), `sequences` (a
tuple is as good as a list; so it is where calls are JSON), `reference` (a program known to be right), `prefix` (text
that a response may go on from) and `setup` (code before the tests).
"""

import hashlib
import os
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING

from posttrain.graders.base import Grade, Graded
from posttrain.graders.code import expression
from posttrain.graders.code.found import LONGEST, bare, completed, program, tier
from posttrain.graders.code.stated import Stated, stated, tests_of
from posttrain.graders.sandbox.cases import Calls, Code
from posttrain.spec.errors import Mismatch, MissingNeed, StageFailed

if TYPE_CHECKING:  # a machine without Linux grades expressions, and cannot load what runs programs
    from posttrain.graders.sandbox.job import Limits, Sandbox
    from posttrain.graders.sandbox.verdict import Submission, Verdict

__all__ = ["LONGEST", "LOST", "grade", "grade_all", "program", "self_checks", "shared_pool", "sure", "tests_of", "tier"]

Opens = Callable[[], "Sandbox"]
"""Opens a sandbox when the first program is to run, and gives the same one after that."""

Passed = set[bytes]
"""Digests of programs, each with its tests, that have passed: they are not run again."""

LOST = "sandbox_error"
"""The outcome that says nothing about a program: what ran it was lost, twice."""
MOST = 200_000
"""Programs that are remembered as passed."""


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
    passed: Passed | None = None,
) -> list[Grade]:
    """Grades in the order given, run side by side; each grade's answer is the program as it was taken from the text.

    Outcomes: right, no_answer, unparsable, and those of `sandbox.verdict` but `pass`. `sandbox_error` says nothing
    about the program: it is undecided, and its sample is masked. With `opens` None no program is run: expressions are
    computed, more than that is `unsupported`. `passed` remembers. Mismatch where a problem has no tests; MissingNeed
    where nothing can run.
    """
    known = _read(problems)
    asked = [known[problem.answer] for problem in problems]
    programs = [program(text, said.entry, completes=bool(said.prefix)) for text, said in zip(texts, asked, strict=True)]
    outcomes = partial(_outcomes, known=known, opens=opens, limits=limits)
    return _graded([problem.answer for problem in problems], programs, outcomes, known=known, passed=passed)


def self_checks(
    problems: Sequence[Graded], *, opens: Opens | None = shared_pool, passed: Passed | None = None
) -> list[bool]:
    """Whether each problem's gold holds: its reference passes its tests; without one, its tests need only be sound.

    StageFailed where the sandbox was lost, and with it what a gold is worth.
    """
    known: dict[str, Stated] = {}
    for problem in problems:
        try:
            known |= _read([problem])
        except Mismatch:
            continue
    golds = {answer: said.reference for answer, said in known.items() if said.reference is not None}
    outcomes = partial(_outcomes, known=known, opens=opens, limits=None)
    grades = sure(_graded(list(golds), list(golds.values()), outcomes, known=known, passed=passed))
    held = dict.fromkeys(known, True) | {answer: grade.correct for answer, grade in zip(golds, grades, strict=True)}
    return [held.get(problem.answer, False) for problem in problems]


def sure(grades: list[Grade]) -> list[Grade]:
    """The grades; StageFailed where the sandbox gave none, for data that must not depend on a machine's bad hour."""
    lost = sum(grade.outcome == LOST for grade in grades)
    if lost:
        raise StageFailed(
            f"the sandbox was lost while {lost} of {len(grades)} programs ran in it, and nothing is known of them",
            remedy="Give the same command again, with more memory or less work beside it.",
        )
    return grades


def _read(problems: Sequence[Graded]) -> dict[str, Stated]:
    """What each answer states, every answer read once."""
    return {answer: stated(problem) for answer, problem in {problem.answer: problem for problem in problems}.items()}


def _graded(
    answers: Sequence[str],
    programs: Sequence[str | None],
    outcomes: Callable[[Sequence[tuple[str, str]]], list[str]],
    *,
    known: dict[str, Stated],
    passed: Passed | None,
) -> list[Grade]:
    """A grade for each program beside its problem's answer; those that do the same are run once.

    What may go on from a prefix is left as it is: its first line may be the rest of a line.
    """
    pairs = [
        (answer, source if known[answer].prefix else bare(source))
        if source is not None and len(source) <= LONGEST
        else None
        for answer, source in zip(answers, programs, strict=True)
    ]
    runnable = [pair for pair in dict.fromkeys(pairs) if pair is not None]
    said = {pair: "pass" for pair in runnable if passed and _digest(pair) in passed}
    fresh = [pair for pair in runnable if pair not in said]
    said |= zip(fresh, outcomes(fresh), strict=True)
    if passed is not None and len(passed) < MOST:
        passed.update(_digest(pair) for pair in fresh if said[pair] == "pass")
    return [_grade(source, said[pair] if pair else None) for source, pair in zip(programs, pairs, strict=True)]


def _digest(pair: tuple[str, str]) -> bytes:
    return hashlib.sha256("\0".join(pair).encode("utf-8", "surrogatepass")).digest()


def _outcomes(
    pairs: Sequence[tuple[str, str]], known: dict[str, Stated], opens: Opens | None, limits: "Limits | None"
) -> list[str]:
    return _computed(pairs, known) if opens is None else _ran(pairs, known, opens, limits)


def _ran(
    pairs: Sequence[tuple[str, str]], known: dict[str, Stated], opens: Opens, limits: "Limits | None"
) -> list[str]:
    from posttrain.graders.sandbox.job import Limits
    from posttrain.graders.sandbox.verdict import Submission, judge

    submissions: list[Submission] = []
    for answer, source in pairs:
        said = known[answer]
        whole = completed(source, said.prefix, said.entry)
        judged = said.tests.tests if isinstance(said.tests, Code) else ""
        submissions.append(Submission(whole, said.tests, tier(f"{whole}\n{judged}"), limits or Limits()))
    told = judge(opens(), submissions) if submissions else []
    anew = [at for at, verdict in enumerate(told) if verdict.outcome == LOST or _idle(verdict, submissions[at])]
    if anew:
        for at, verdict in zip(anew, judge(opens(), [submissions[at] for at in anew]), strict=True):
            told[at] = verdict
    return [verdict.outcome for verdict in told]


def _idle(verdict: "Verdict", of: "Submission") -> bool:
    """Whether a program's time ended while it hardly ran: it slept, or the machine had no time for it.

    It is run once more, when the rest of its batch has ended: what sleeps is late again.
    """
    return verdict.outcome == "timeout" and verdict.cpu < min(of.limits.cpu, of.limits.wall) / 2


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
            'Prepare the built-in world with code_tasks = "expression" (--profile nojail sets both), no file of code; '
            'or let programs run: resources.sandbox = "L2" on Linux, or the address of a sandbox server.'
        ),
    )


def _grade(source: str | None, outcome: str | None) -> Grade:
    if outcome is None:
        return Grade(correct=False, outcome="no_answer" if source is None else "unparsable", answer=None)
    told = "right" if outcome == "pass" else outcome
    return Grade(correct=told == "right", outcome=told, answer=source, decided=told != LOST)


@cache
def _pool_of(process: int) -> "Sandbox":
    from posttrain.graders.sandbox import level
    from posttrain.graders.sandbox.pool import Pool

    return Pool(level.find())
