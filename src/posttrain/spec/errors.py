"""The errors a user can cause, one class per exit code.

    Stop                      what, where, remedy; carries the exit code
    ├── UsageError        2   command line or value
    │   └── RecipeError   2   every problem of a recipe, together
    ├── MissingNeed       4   device, converter, key, package, version
    ├── BudgetReached     5   a wall-clock, token or money cap
    ├── Mismatch          6   two things that must be equal and are not; data that is not what it must be
    ├── StageFailed       7   the work itself failed (NaN loss, crash)
    ├── TimedOut          8   a node ran past its timeout
    └── Interrupted     130   the user stopped it

Anything else that escapes is a defect of posttrain and shows its traceback.
"""

import errno
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

PASS, REFUSED, INCONCLUSIVE = 0, 1, 3
"""Exit codes that no error carries: every stop gate passed; one failed; one is inconclusive or did not run."""

EXIT_ORDER = (130, 5, 8, 7, 6, 4, 2, 1, 3)
"""When several hold, the first of these is the exit code (DESIGN §4); 2 here is a value that only a node found bad."""


class Stop(Exception):
    """An error with one clear paragraph: what is wrong, where, and what to do."""

    code: ClassVar[int] = 7

    def __init__(self, what: str, *, where: str = "", remedy: str = "") -> None:
        """What is wrong, the place it stands, what to do about it."""
        self.what, self.where, self.remedy = what, where, remedy
        super().__init__(self.paragraph())

    def paragraph(self) -> str:
        """The message as shown: `where: what  remedy`."""
        head = f"{self.where}: {self.what}" if self.where else self.what
        stop = "" if head.endswith((".", "!", "?", "…")) else "."
        return f"{head}{stop}  {self.remedy}" if self.remedy else head


class UsageError(Stop):
    """A command line or a value that cannot be what the user means."""

    code = 2


PREDICATES = ("=", "is", "has", "names", "needs", "takes", "comes", "goes", "does", "must", "cannot")
"""First words of a cause that reads on from the key it is about."""


@dataclass(frozen=True)
class Problem:
    """One thing wrong in a recipe: the key it stands at, the cause, the remedy."""

    where: str
    what: str
    """A sentence about the key; one that begins with `= VALUE` or a verb reads on from it."""
    remedy: str = ""

    def text(self) -> str:
        """As shown: `recipe.toml: stage.fuse.method = "slurp" is none of its choices.`, the remedy indented below."""
        joint = " " if self.what.partition(" ")[0] in PREDICATES else ": "
        return f"{self.where}{joint}{self.what}" + (f"\n  {self.remedy}" if self.remedy else "")


class RecipeError(UsageError):
    """A recipe that does not hold; all its problems at once."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        """All the problems found, in order of place; at least one."""
        self.problems = tuple(problems)
        first = self.problems[0]
        super().__init__(first.what, where=first.where, remedy=first.remedy)

    def paragraph(self) -> str:
        """Every problem on a line of its own, its remedy under it."""
        return "\n".join(problem.text() for problem in self.problems)


class MissingNeed(Stop):
    """Something this machine lacks: a device, a package, a key, a version."""

    code = 4


class BudgetReached(Stop):
    """A cap on time, tokens or money was reached; the work can be resumed."""

    code = 5


class Mismatch(Stop):
    """Two things that must be equal are not, or data is not what it must be."""

    code = 6


class StageFailed(Stop):
    """A node's work failed."""

    code = 7


class TimedOut(Stop):
    """A node ran past its timeout."""

    code = 8


class Interrupted(Stop):
    """The user stopped the run."""

    code = 130


_REFUSALS = (
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EIO,
    errno.ESTALE,
)


def refused_by_system(error: BaseException) -> MissingNeed | None:
    """A disk that is full, broken or must not be written, as an error that says so; None for any other error.

    Libraries written in Rust tell the number of such an error in words alone: `… (os error 28)`.
    """
    if isinstance(error, OSError):
        number, where = error.errno, str(error.filename2 or error.filename or "")
    else:
        told = re.search(r"\(os error (\d+)\)", str(error))
        number, where = int(told[1]) if told else None, ""
    if number not in _REFUSALS:
        return None
    remedy = "Free space, or use a folder that you may read and write; then give the same command again."
    return MissingNeed(f"the disk refuses ({os.strerror(number)}).", where=where, remedy=remedy)


BY_CODE: dict[int, type[Stop]] = {
    kind.code: kind for kind in (UsageError, MissingNeed, BudgetReached, Mismatch, StageFailed, TimedOut, Interrupted)
}
"""The class to raise again when an error crosses a process boundary as (code, what, where, remedy)."""
