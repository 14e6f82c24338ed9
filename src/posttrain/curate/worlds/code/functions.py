"""Functions of more than an expression: a choice, a pass over a list, a loop."""

import operator
from collections.abc import Callable
from random import Random

from posttrain.curate.worlds.code.cases import ASSERTS, bracket, function, own
from posttrain.curate.worlds.template import Made, Template, pick

_SIDES: dict[str, tuple[str, Callable[[int, int], bool]]] = {
    "above": (">", operator.gt),
    "below": ("<", operator.lt),
    "at least": (">=", operator.ge),
    "at most": ("<=", operator.le),
}
"""Words of a comparison, how a program writes it, what it is."""


def choose(rng: Random, level: int) -> Made:
    """`f: 3(a+5) if above 7, else 30.`; or below, at least, at most."""
    reach, top = (6, 9, 15)[level - 1], (20, 30, 60)[level - 1]
    word, (sign, holds) = rng.choice(tuple(_SIDES.items()))
    while True:
        times, bound = rng.randint(2, reach), rng.randint(2, top)
        more, other = pick(rng, -top, top), rng.randint(2, 9 * top)
        if all(times * (a + more) != other for a in (bound - 1, bound, bound + 1)):
            break
    inside, line, steps = bracket(times, "a", more)
    prompt = f"f: {inside} if {word} {bound}, else {other}."
    program = f"def f(a): return {line} if a{sign}{bound} else {other}"
    draw = own(prompt)
    beside = [*draw.sample(range(2, 30), 3), *draw.sample(range(-29, -1), ASSERTS - 6)]
    arguments = [(bound + gap,) for gap in (-1, 0, 1, *beside)]
    return function(
        prompt,
        steps,
        program,
        lambda a: times * (a + more) if holds(a, bound) else other,
        arguments,
    )


def gather(rng: Random, level: int) -> Made:
    """`f: sum of 3(x+12) over x above 7.`, or below; or `f: count of x within 9 of 40.`"""
    reach, top = (6, 9, 15)[level - 1], (30, 50, 99)[level - 1]
    if rng.random() < 0.3:
        return _between(rng, top)
    word = rng.choice(("above", "below"))
    sign, holds = _SIDES[word]
    times, more = rng.randint(2, reach), pick(rng, -3 * reach, 3 * reach)
    bound = rng.choice([n for n in range(2, top + 1) if abs(n + more) > 1])
    inside, line, steps = bracket(times, "x", more)
    prompt = f"f: sum of {inside} over x {word} {bound}."
    program = f"def f(s): return sum({line} for x in s if x{sign}{bound})"

    def value(s: list[int]) -> int:
        kept = [x for x in s if holds(x, bound)]
        return times * (sum(kept) + more * len(kept))

    return function(prompt, steps, program, value, _lists(own(prompt), bound, bound))


def _between(rng: Random, top: int) -> Made:
    middle, reach = rng.randint(2, top), rng.randint(2, top)
    low, high = middle - reach, middle + reach
    prompt = f"f: count of x within {reach} of {middle}."
    program = f"def f(s): return len([x for x in s if {low}<=x<={high}])"
    return function(
        prompt,
        (f"{middle}-{reach}={low}", f"{middle}+{reach}={high}"),
        program,
        lambda s: len(set(range(low, high + 1)).intersection(s)),
        _lists(own(prompt), low, high),
    )


def _lists(draw: Random, low: int, high: int) -> list[tuple[list[int]]]:
    """Lists of distinct numbers around two bounds; each bound and its neighbours stand alone in one."""
    edges = [[low - 1], [low], [low + 1], [high], [high + 1]] if low < high else [[low - 1], [low], [low + 1]]
    near = range(low - 20, high + 21)
    drawn = [draw.sample(near, draw.randint(4, 6)) for _ in range(ASSERTS - len(edges))]
    return [(given,) for given in (*edges, *drawn)]


def rounds(rng: Random, level: int) -> Made:
    """`f(n): from 5, n rounds of 3(x+4).`"""
    top, first = (20, 30, 60)[level - 1], (40, 40, 50)[level - 1]
    while True:
        times, start = rng.randint(2, (5, 6, 9)[level - 1]), rng.randint(1, first)
        more = rng.randint(1, top) if level < 3 else pick(rng, -top, top)
        if times * (start + more) != start:
            break
    inside, line, steps = bracket(times, "x", more)
    prompt = f"f(n): from {start}, n rounds of {inside}."
    program = f"def f(n):\n x={start}\n for i in range(n): x={line}\n return x"

    def value(n: int) -> int:
        return start if n == 0 else times * (value(n - 1) + more)

    return function(prompt, steps, program, value, [(n,) for n in range(ASSERTS)])


TEMPLATES: tuple[Template, ...] = (choose, gather, rounds)
