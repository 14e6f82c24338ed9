"""How a code problem is stated: its program, its hidden tests, and the steps before the program.

Expected values come from a function of the template, never from the program's text. A prompt has one set of tests:
arguments are drawn from a stream of the prompt's own.
"""

import json
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from posttrain.curate.worlds.template import Made, product, signed

ASSERTS = 8
"""Hidden assertions of a function."""
RUNS = 3
"""Hidden runs of a script: each is a run of its own in the sandbox."""


def own(prompt: str) -> Random:
    """The stream of a prompt: whoever draws it again draws the same tests."""
    return Random(prompt)  # noqa: S311


def formula(*terms: tuple[int, str]) -> str:
    """Coefficients and names as a program writes them: `3*a-b+7`; terms of 0 are left out."""
    written = ""
    for coefficient, name in terms:
        if coefficient:
            size = name if name and abs(coefficient) == 1 else f"{abs(coefficient)}" + (f"*{name}" if name else "")
            written += ("-" if coefficient < 0 else "+" if written else "") + size
    return written or "0"


def bracket(times: int, name: str, more: int) -> tuple[str, str, tuple[str, ...]]:
    """`6(a+18)` as a prompt asks it, `6*a+108` as a program writes it, and the step between."""
    return f"{times}({name}{signed(more)})", formula((times, name), (times * more, "")), (product(times, more),)


def function(
    prompt: str,
    steps: tuple[str, ...],
    program: str,
    value: Callable[..., Any],
    arguments: Sequence[tuple[Any, ...]],
    *,
    entry: str = "f",
) -> Made:
    """A problem that asks for a function; `value` is what it must return for each of the arguments."""
    calls = [(", ".join(map(repr, given)), value(*given)) for given in arguments]
    tests = "\n".join(f"assert {entry}({given}) == {expected!r}" for given, expected in calls)
    return Made(prompt, steps, _json(entry=entry, tests=tests, reference=program), program)


def script(
    prompt: str, steps: tuple[str, ...], program: str, value: Callable[..., int], inputs: Sequence[Sequence[int]]
) -> Made:
    """A problem that asks for a script; `value` is what it must print for each line of numbers."""
    runs = [[" ".join(map(str, given)) + "\n", f"{value(*given)}\n"] for given in inputs]
    return Made(prompt, steps, _json(stdin=runs, reference=program), program)


def _json(**answer: Any) -> str:
    return json.dumps(answer, sort_keys=True, separators=(",", ":"))
