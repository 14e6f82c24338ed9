"""Functions of more than an expression: a choice, a pass over a list, a loop."""

import operator
from collections.abc import Callable
from random import Random

from posttrain.curate.worlds.code.cases import ASSERTS, formula, function, own
from posttrain.curate.worlds.template import Made, Template, pick, polynomial

_SIDES: dict[str, tuple[str, Callable[[int, int], bool]]] = {
    "above": (">", operator.gt),
    "below": ("<", operator.lt),
    "at least": (">=", operator.ge),
    "at most": ("<=", operator.le),
}
"""Words of a comparison, how a program writes it, what it is."""


def choose(rng: Random, level: int) -> Made:
    """`f(a): 3a if above 7, else a+5.`; or below, at least, at most."""
    reach, top, slope = (6, 9, 15)[level - 1], (20, 30, 60)[level - 1], (1, 1, 4)[level - 1]
    word, (sign, holds) = rng.choice(tuple(_SIDES.items()))
    while True:
        times, bound = rng.randint(2, reach), rng.randint(2, top)
        other, more = rng.randint(1, slope), pick(rng, -top, top)
        if all(times * a != other * a + more for a in (bound - 1, bound, bound + 1)):
            break
    prompt = f"f(a): {times}a if {word} {bound}, else {polynomial((other, 'a'), (more, ''))}."
    condition, otherwise = f"a{sign}{bound}", formula((other, "a"), (more, ""))
    program = f"def f(a): return {times}*a if {condition} else {otherwise}"
    draw = own(prompt)
    beside = [*draw.sample(range(2, 30), 3), *draw.sample(range(-29, -1), ASSERTS - 6)]
    arguments = [(bound + gap,) for gap in (-1, 0, 1, *beside)]
    return function(
        prompt,
        (condition, f"{times}*a", otherwise),
        program,
        lambda a: a * times if holds(a, bound) else more + a * other,
        arguments,
    )


def gather(rng: Random, level: int) -> Made:
    """`f(s): sum of 3x+2 over x above 7.`, or below; or `f(s): count of x from 7 to 40.`"""
    reach, top = (6, 9, 15)[level - 1], (30, 50, 99)[level - 1]
    if rng.random() < 0.3:
        return _between(rng, top)
    word = rng.choice(("above", "below"))
    sign, holds = _SIDES[word]
    times, more, bound = rng.randint(2, reach), rng.randint(1, 2 * reach), rng.randint(2, top)
    prompt = f"f(s): sum of {times}x+{more} over x {word} {bound}."
    line = formula((times, "x"), (more, ""))
    program = f"def f(s): return sum({line} for x in s if x{sign}{bound})"

    def value(s: list[int]) -> int:
        kept = [x for x in s if holds(x, bound)]
        return times * sum(kept) + more * len(kept)

    return function(prompt, (f"x{sign}{bound}", line), program, value, _lists(own(prompt), bound, bound))


def _between(rng: Random, top: int) -> Made:
    low = rng.randint(2, top)
    high = low + rng.randint(3, top)
    prompt = f"f(s): count of x from {low} to {high}."
    program = f"def f(s): return len([x for x in s if {low}<=x<={high}])"
    return function(
        prompt,
        (f"{low}<=x<={high}",),
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
    """`f(n): from 5, n rounds of 3x+4.`"""
    top, first = (25, 30, 60)[level - 1], (25, 30, 50)[level - 1]
    while True:
        times, start = rng.randint(2, (5, 6, 9)[level - 1]), rng.randint(1, first)
        more = rng.randint(1, top) if level < 3 else pick(rng, -top, top)
        if times * start + more != start:
            break
    prompt = f"f(n): from {start}, n rounds of {polynomial((times, 'x'), (more, ''))}."
    line = formula((times, "x"), (more, ""))
    program = f"def f(n):\n x={start}\n for i in range(n): x={line}\n return x"

    def value(n: int) -> int:
        return start if n == 0 else times * value(n - 1) + more

    step = formula((times, str(start)), (more, ""))
    return function(prompt, (f"{step}={times * start + more}",), program, value, [(n,) for n in range(ASSERTS)])


TEMPLATES: tuple[Template, ...] = (choose, gather, rounds)
