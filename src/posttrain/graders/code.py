"""Grades a response that holds a program, by running it where it can do no harm.

The problem's `answer` is its tests, as JSON:
`{"entry": "f", "tests": "assert f(1) == 2"}` or `{"stdin": [["1 2\\n", "3\\n"]]}`; either may state `tolerance` (floats
may differ by that much) and `sequences` (a tuple is as good as a list).
"""

import json
import os
import re
from collections.abc import Callable, Sequence
from functools import cache

from posttrain.graders.base import Grade, Graded
from posttrain.graders.sandbox import level
from posttrain.graders.sandbox.cases import Rule, Stdin, Tests, split
from posttrain.graders.sandbox.pool import Limits, Pool
from posttrain.graders.sandbox.verdict import Submission, Verdict, judge, size
from posttrain.spec.errors import Mismatch

LONGEST = 2_000_000
"""Characters of a program that is run; a longer one is unparsable."""
_OURS = {"", "py", "python", "python3", "py3", "ipython", "sage"}
"""Languages, as fences name them, that a program may stand under."""
_OPENING = re.compile(r"\s*(`{3,}|~{3,})\s*([^\s`]*)(.*)")
_IMPORTS = re.compile(r"^[ \t]*(?:import|from)[ \t]+([^#\n]*)", re.MULTILINE)
_CODE = re.compile(r"^(?:def|class|import|from|print|for|while|if|try|with|@|[A-Za-z_][\w, ]*=)", re.MULTILINE)


def grade(problem: Graded, text: str) -> Grade:
    """Right where the program in the text passes every test of the problem (`grade_all` says more)."""
    return grade_all([problem], [text])[0]


def grade_all(
    problems: Sequence[Graded],
    texts: Sequence[str],
    *,
    limits: Limits | None = None,
    pool: Callable[[], Pool] | None = None,
) -> list[Grade]:
    """Grades in the order given, run side by side; each grade's answer is the program as it was taken from the text.

    Outcomes: right, no_answer, unparsable, and those of `sandbox.verdict` but `pass`. `sandbox_error` says nothing
    about the program: its sample is masked. Mismatch where a problem has no tests; MissingNeed where nothing can run.
    """
    tests = [tests_of(problem.answer) for problem in problems]
    programs = [program(text, getattr(test, "entry", "")) for text, test in zip(texts, tests, strict=True)]
    runnable = [source is not None and len(source) <= LONGEST for source in programs]
    submissions = [
        Submission(source or "", test, tier(f"{source}\n{getattr(test, 'tests', '')}"), limits or Limits())
        for source, test, runs in zip(programs, tests, runnable, strict=True)
        if runs
    ]
    verdicts = iter(judge((pool or shared_pool)(), submissions) if submissions else [])
    return [_grade(source, next(verdicts) if runs else None) for source, runs in zip(programs, runnable, strict=True)]


def self_checks(problems: Sequence[Graded], *, pool: Callable[[], Pool] | None = None) -> list[bool]:
    """Whether each problem's gold holds: its reference passes its tests; without one, its tests need only be sound."""
    held: list[bool] = []
    references: list[tuple[int, Graded, str]] = []
    for at, problem in enumerate(problems):
        try:
            tests_of(problem.answer)
        except Mismatch:
            held.append(False)
            continue
        held.append(True)
        if (reference := json.loads(problem.answer).get("reference")) is not None:
            references.append((at, problem, str(reference)))
    grades = grade_all(
        [problem for _, problem, _ in references], [f"```\n{text}\n```" for *_, text in references], pool=pool
    )
    for (at, *_), grade in zip(references, grades, strict=True):
        held[at] = grade.correct
    return held


def tests_of(answer: str) -> Tests:
    """The tests that a problem's answer states; Mismatch where it states none."""
    try:
        said = json.loads(answer)
        rule = Rule(float(said.get("tolerance", 0)), bool(said.get("sequences", False)))
        if "stdin" in said:
            tests: Tests = Stdin(tuple((str(given), str(output)) for given, output in said["stdin"]), rule)
        else:
            tests = split(str(said["tests"]), str(said["entry"]), rule)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        what = f"the answer of a code problem does not state its tests ({type(error).__name__}: {error})"
        raise Mismatch(what, remedy='Write {"entry": …, "tests": …} or {"stdin": [[input, output], …]}.') from error
    size(tests)
    return tests


def program(text: str, entry: str = "") -> str | None:
    """The program in a response: the last fenced block that defines `entry`, else the last one, else bare code.

    A fence may be of backticks or tildes, of any length, indented, on one line, or never closed. Blocks of another
    language count only where there is no other. None where there is no program.
    """
    blocks = _blocks(text)
    ours = [body for language, body in blocks if language in _OURS] or [body for _, body in blocks]
    if not ours:
        return text if _CODE.search(text) else None
    defined = re.compile(rf"^[ \t]*(?:def|class|async def)\s+{re.escape(entry)}\b", re.MULTILINE)
    return next((body for body in reversed(ours) if entry and defined.search(body)), ours[-1])


def tier(source: str) -> str:
    """Which modules a program finds loaded, by what it imports."""
    words = {word for line in _IMPORTS.findall(source) for word in re.findall(r"\w+", line)}
    return "sympy" if words & {"sympy", "mpmath"} else "numpy" if "numpy" in words else "lean"


def shared_pool() -> Pool:
    """The pool of this process, at the best level that works here; MissingNeed where none is good enough."""
    return _pool_of(os.getpid())


@cache
def _pool_of(process: int) -> Pool:
    return Pool(level.find())


def _grade(source: str | None, verdict: Verdict | None) -> Grade:
    if verdict is None:
        return Grade(correct=False, outcome="no_answer" if source is None else "unparsable", answer=None)
    right = verdict.outcome == "pass"
    outcome = "right" if right else verdict.outcome
    return Grade(correct=right, outcome=outcome, answer=source, decided=outcome != "sandbox_error")


def _blocks(text: str) -> list[tuple[str, str]]:
    """Language and content of every fenced block, in order."""
    blocks: list[tuple[str, str]] = []
    lines = iter(text.splitlines())
    for line in lines:
        opening = _OPENING.fullmatch(line)
        if opening is None:
            continue
        fence, language, rest = opening.groups()
        if rest.rstrip().endswith(fence):  # ```python print(1)```
            blocks.append((language.lower(), rest.rstrip().removesuffix(fence).strip() + "\n"))
            continue
        indent = len(line) - len(line.lstrip())
        body: list[str] = []
        for inner in lines:
            if inner.strip() and not inner.strip().strip(fence[0]) and len(inner.strip()) >= len(fence):
                break
            body.append(inner[indent:] if not inner[:indent].strip() else inner)
        blocks.append((language.lower(), "\n".join(body) + "\n"))
    return blocks
