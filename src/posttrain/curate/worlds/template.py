"""What a template of problems is, and how its sums are written: short, true steps that a small model can follow."""

from collections.abc import Callable, Sequence
from random import Random
from typing import NamedTuple

LEVELS = (1, 2, 3)
"""Difficulties: the same templates over wider and wider ranges of numbers."""


class Made(NamedTuple):
    """A problem as a template makes it: prompt, worked steps, answer, and the program where one is asked for."""

    prompt: str
    """At most ten words when normalised, so that every 10-gram of it holds all its numbers."""
    steps: tuple[str, ...]
    """Short equalities, each of them true; before a program also parts of it."""
    answer: str
    """A whole number, or a fraction in lowest terms; of a program its hidden tests, as JSON."""
    program: str = ""
    """What solves a code problem; empty in mathematics."""


Template = Callable[[Random, int], Made]
"""Makes a problem from a random stream and a difficulty of `LEVELS`; its name is the function's."""


def pick(rng: Random, low: int, high: int) -> int:
    """A whole number from low to high, both included, but never 0."""
    while True:
        number = rng.randint(low, high)
        if number:
            return number


def signed(number: int) -> str:
    """A number as it follows another term: `+5`, `-5`."""
    return f"{number:+d}"


def polynomial(*terms: tuple[int, str]) -> str:
    """Coefficients and powers as one writes them: `2x^2-x+3`; terms of 0 are left out."""
    written = ""
    for coefficient, power in terms:
        if coefficient:
            size = "" if power and abs(coefficient) == 1 else str(abs(coefficient))
            written += ("-" if coefficient < 0 else "+" if written else "") + size + power
    return written or "0"


def listed(numbers: Sequence[int]) -> str:
    """Numbers as a prompt lists them: `3, 5, 8`."""
    return ", ".join(map(str, numbers))


def product(left: int, right: int) -> str:
    """A multiplication as a step; by way of tens where a factor has two digits: `6*47=240+42=282`."""
    small, big = sorted((left, right), key=abs)
    tens = abs(big) // 10 * (10 if big > 0 else -10)
    ones = big - tens
    if not tens or not ones or abs(small) == 1:
        return f"{left}*{right}={left * right}"
    return f"{left}*{right}={small * tens}{signed(small * ones)}={left * right}"


def running_sum(numbers: Sequence[int]) -> tuple[str, ...]:
    """Numbers added one by one, a step each: `3+5=8`, `8+4=12`."""
    steps: list[str] = []
    total = numbers[0]
    for number in numbers[1:]:
        steps.append(f"{total}{signed(number)}={total + number}")
        total += number
    return tuple(steps)
