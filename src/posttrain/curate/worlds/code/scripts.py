"""Scripts that read a line and print a number."""

from collections.abc import Callable, Sequence
from random import Random

from posttrain.curate.worlds.code.cases import RUNS, bracket, formula, own, script
from posttrain.curate.worlds.code.expressions import linear
from posttrain.curate.worlds.template import Made, Template

_PARTS: dict[str, tuple[str, Callable[[Sequence[int]], int]]] = {
    "total": ("sum(s)", sum),
    "largest": ("max(s)", max),
    "smallest": ("min(s)", min),
    "count": ("len(s)", len),
    "first": ("s[0]", lambda s: s[0]),
    "last": ("s[-1]", lambda s: s[-1]),
}
"""What is taken of the numbers: how a program writes it, what it is."""


def line(rng: Random, level: int) -> Made:
    """`Read numbers. Print 3 times (7 more than their largest).`; or total, smallest, count, first, last; or less."""
    times, size = rng.randint(2, (6, 9, 19)[level - 1]), rng.randint(1, (40, 40, 60)[level - 1])
    word, (part, taken) = rng.choice(tuple(_PARTS.items()))
    sign, name = rng.choice(((1, "more"), (-1, "less")))
    _, line, steps = bracket(times, part, sign * size)
    prompt = f"Read numbers. Print {times} times ({size} {name} than their {word})."
    program = f"s=list(map(int,input().split()))\nprint({line})"
    return script(prompt, steps, program, lambda *s: (sign * size + taken(s)) * times, _lines(own(prompt)))


def _lines(draw: Random) -> list[list[int]]:
    """Lines of three to six numbers; in the first each of `_PARTS` is another number and none of them 0."""
    while True:
        lines = [draw.sample(range(-30, 60), size) for size in (5, 3, 4, 6)[:RUNS]]
        parts = [taken(lines[0]) for _, taken in _PARTS.values()]
        if 0 not in parts and len(set(parts)) == len(parts):
            return lines


def echo(rng: Random, level: int) -> Made:
    """`Linear: input 3 prints 11, 4 prints 14.`"""
    rate, start, points, steps = linear(rng, level)
    (x, left), (y, right) = points
    prompt = f"Linear: input {x} prints {left}, {y} prints {right}."
    program = f"print({formula((rate, 'int(input())'), (start, ''))})"
    inputs = [[a] for a in own(prompt).sample([a for a in range(-12, 31) if a not in (x, y)], RUNS)]
    return script(prompt, steps, program, lambda a: start + a * rate, inputs)


TEMPLATES: tuple[Template, ...] = (line, echo)
