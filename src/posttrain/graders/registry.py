"""Which grader grades which type of answer, and grading in batches."""

import os
import sys
import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from posttrain.graders import code, maths, options
from posttrain.graders.answers import box
from posttrain.graders.base import Grade, Graded, Grader
from posttrain.spec.errors import Mismatch, MissingNeed

if TYPE_CHECKING:
    from posttrain.graders.sandbox.job import Sandbox

_GRADERS: dict[str, Grader] = {"maths": maths.grade, "options": options.grade, "code": code.grade}


class GradedByType(Graded, Protocol):
    """A problem that says how its answer is graded."""

    @property
    def answer_type(self) -> str:
        """`maths`, `code` or `options`."""
        ...


def grader(answer_type: str) -> Grader:
    """The grader of an answer type; Mismatch where there is none."""
    if answer_type not in _GRADERS:
        raise Mismatch(
            f"there is no grader for answers of type {answer_type!r}", remedy=f"Known: {', '.join(_GRADERS)}."
        )
    return _GRADERS[answer_type]


def self_check(problem: GradedByType) -> bool:
    """Whether the gold, stated as a final answer, is graded right."""
    with Grading() as grading:
        return grading.self_checks([problem])[0]


class Grading:
    """Grades many responses at once; programs run in a sandbox that is opened with the first of them.

    A value to hand down: it owns the sandbox, and `close` (or `with`, or the end of the process) ends it. MissingNeed
    with the first program where the sandbox asked for does not work here.
    """

    def __init__(
        self, *, sandbox: str = "L2", servers: int = 1, maths: Grader = maths.grade, remembers: bool = False
    ) -> None:
        """`sandbox`: the level that must at least work, as `resources.sandbox`; `servers`: fork servers at most.

        `maths` grades answers of that type. `remembers`: a program that passed its tests once is not run again.
        """
        self._sandbox, self._servers, self._maths = sandbox, servers, maths
        self._pool: Sandbox | None = None
        self._close: Callable[[], object] | None = None
        self._owner = os.getpid()
        self._passed: code.Passed | None = set() if remembers else None
        self._computed = False
        """Whether answers were graded that no program may run for."""

    @property
    def level(self) -> str | None:
        """The level that programs run at; `none` where answers are graded without running them; None before either."""
        return self._pool.level if self._pool else "none" if self._computed else None

    def grade_all(self, problems: Sequence[GradedByType], texts: Sequence[str], *, sure: bool = False) -> list[Grade]:
        """A grade for each response, in the order given. `sure`: StageFailed where the sandbox gives none."""
        coded = self._coded(problems)
        asked, given = [problems[at] for at in coded], [texts[at] for at in coded]
        ran = code.grade_all(asked, given, opens=self._opens, passed=self._passed)
        found = dict(zip(coded, code.sure(ran) if sure else ran, strict=True))
        return [
            found[at] if at in found else self._grader(problem)(problem, text)
            for at, (problem, text) in enumerate(zip(problems, texts, strict=True))
        ]

    def self_checks(self, problems: Sequence[GradedByType]) -> list[bool]:
        """Whether each problem's gold, stated as a response, is graded right; in the order given."""
        coded = self._coded(problems)
        held = code.self_checks([problems[at] for at in coded], opens=self._opens, passed=self._passed)
        ran = dict(zip(coded, held, strict=True))
        return [
            ran[at]
            if at in ran
            else bool(problem.answer.strip()) and self._grader(problem)(problem, box(problem.answer)).correct
            for at, problem in enumerate(problems)
        ]

    def ready(self, problems: Sequence[GradedByType]) -> None:
        """Open the sandbox where a problem needs it: MissingNeed comes before the work, not in the midst of it."""
        coded = [problem for problem in problems if problem.answer_type == "code"]
        if coded and self._opens is not None:
            self._opens()
        elif coded:
            code.grade_all(coded, [""] * len(coded), opens=None)

    def _coded(self, problems: Sequence[GradedByType]) -> list[int]:
        """Where the problems stand whose answers are programs."""
        found = [at for at, problem in enumerate(problems) if problem.answer_type == "code"]
        self._computed = self._computed or (bool(found) and self._opens is None)
        return found

    def _grader(self, problem: GradedByType) -> Grader:
        return self._maths if problem.answer_type == "maths" else grader(problem.answer_type)

    def close(self) -> None:
        """End the sandbox; the next program opens another."""
        if self._close is not None and self._owner == os.getpid():
            self._close()
        self._pool = self._close = None

    def __enter__(self) -> "Grading":
        """Itself; the sandbox ends with the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    @property
    def _opens(self) -> "Callable[[], Sandbox] | None":
        return None if self._sandbox == "none" else self._opened

    def _opened(self) -> "Sandbox":
        if self._pool is None or self._owner != os.getpid():  # a process forked from the owner needs its own
            self._pool = _sandbox(self._sandbox, self._servers)
            self._close = weakref.finalize(self, self._pool.close)
            self._owner = os.getpid()
        return self._pool


def _sandbox(wanted: str, servers: int) -> "Sandbox":
    """What `resources.sandbox` names: a server elsewhere, or a pool at the best level that works here."""
    if sys.platform == "win32":
        raise MissingNeed(
            "programs of a model are run on Linux, or asked of a server by Linux and macOS; this is Windows",
            remedy="Add --profile nojail, which keeps to expression tasks and runs no program.",
        )
    from posttrain.graders.sandbox import level
    from posttrain.graders.sandbox.pool import Pool
    from posttrain.graders.sandbox.remote import Remote

    return Remote(wanted) if "://" in wanted else Pool(level.find(wanted), servers=servers)
