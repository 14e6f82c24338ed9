"""Programs that do not square a number and want to be graded as if they did."""

from dataclasses import dataclass

from graders.attacks import book
from posttrain.graders.sandbox.cases import Calls, Code, Stdin, split

VALUES = split("assert square(3) == 9\nassert square(12) == 144", "square")
JUDGE = split(
    """
def check(candidate):
    for n in range(2, 6):
        assert candidate(n) == n * n
    assert all(candidate(n) > n for n in (7, 8))
""",
    "square",
)
STDIN = Stdin((("3\n", "9\n"), ("12\n", "144\n")))
assert isinstance(VALUES, Calls) and isinstance(JUDGE, Code)

RIGHT = "def square(n):\n    return n * n\n"
RIGHT_STDIN = "print(int(input()) ** 2)\n"


@dataclass(frozen=True)
class Hack:
    """A program that must not pass, in any of the modes it is made for."""

    name: str
    source: str
    outcomes: tuple[str, ...]
    modes: tuple[str, ...] = ("values", "judge")


_GARBAGE = "\x00\x01\ufffd\udcff\x7f" * 50
HACKS = [
    *(
        Hack(entry.name, entry.parts[0][1], entry.words("outcomes", ""), entry.words("modes", "values judge"))
        for entry in book.read("grading.txt")
    ),
    Hack("binary garbage", _GARBAGE, ("runtime_error",)),
]
