"""Functions of one expression: from words, and from values of a linear function."""

from random import Random

from posttrain.curate.worlds.code.cases import ASSERTS, formula, function, own
from posttrain.curate.worlds.template import Made, Template, pick, signed

_OF_TWO = {"larger": max, "smaller": min}


def express(rng: Random, level: int) -> Made:
    """`f(a,b): 3a plus the larger of b, 7.`, or smaller, remainder, quotient; or `the larger of 3a+7 and b.`"""
    reach, top = (6, 9, 19)[level - 1], (40, 60, 99)[level - 1]
    times, number = rng.randint(2, reach), rng.randint(2, top)
    one, other = rng.sample("ab", 2)
    kind = rng.choice(("larger", "smaller", "remainder", "quotient", "bound"))
    if kind == "bound":
        return _bound(rng, times, pick(rng, -top, top), one, other)
    sign, word = rng.choice(((1, "plus"), (-1, "minus")))
    asked = f"the {kind} of {other}, {number}" if kind in _OF_TWO else f"{kind} of {other} by {number}"
    prompt = f"f(a,b): {times}{one} {word} {asked}."
    part = {
        "larger": f"max({other},{number})",
        "smaller": f"min({other},{number})",
        "remainder": f"{other}%{number}",
        "quotient": f"{other}//{number}",
    }[kind]

    def value(a: int, b: int) -> int:
        x, y = (a, b) if one == "a" else (b, a)
        whole, rest = divmod(y, number)
        inner = {"remainder": rest, "quotient": whole}.get(kind)
        return times * x + sign * (inner if inner is not None else _OF_TWO[kind](y, number))

    draw = own(prompt)
    near = [number - 1, number, number + 1, 2 * number + 1, *(draw.randint(0, 3 * number) for _ in range(ASSERTS - 4))]
    pairs = [(pick(draw, -9, 9), y) for y in near]
    program = f"def f(a,b): return {times}*{one}{'+' if sign > 0 else '-'}{part}"
    arguments = [(x, y) if one == "a" else (y, x) for x, y in pairs]
    return function(prompt, (f"{times}*{one}", part), program, value, arguments)


def _bound(rng: Random, times: int, number: int, one: str, other: str) -> Made:
    kind = rng.choice(tuple(_OF_TWO))
    prompt = f"f(a,b): the {kind} of {times}{one}{signed(number)} and {other}."
    line = formula((times, one), (number, ""))

    def value(a: int, b: int) -> int:
        x, y = (a, b) if one == "a" else (b, a)
        return _OF_TWO[kind](number + x * times, y)

    draw = own(prompt)
    gaps = (-1, 1, -2, 2, *(pick(draw, -30, 30) for _ in range(ASSERTS - 4)))
    pairs = [(x, times * x + number + gap) for x, gap in zip(draw.sample(range(1, 20), ASSERTS), gaps, strict=True)]
    program = f"def f(a,b): return {_OF_TWO[kind].__name__}({line},{other})"
    arguments = [(x, y) if one == "a" else (y, x) for x, y in pairs]
    return function(prompt, (line,), program, value, arguments)


def induce(rng: Random, level: int) -> Made:
    """`f is linear: f(3)=11, f(7)=23.`"""
    rate, start, points, steps = linear(rng, level)
    (x, left), (y, right) = points
    prompt = f"f is linear: f({x})={left}, f({y})={right}."
    arguments = [(a,) for a in own(prompt).sample([a for a in range(-12, 31) if a not in (x, y)], ASSERTS)]
    program = f"def f(a): return {formula((rate, 'a'), (start, ''))}"
    return function(prompt, steps, program, lambda a: start + a * rate, arguments)


def linear(rng: Random, level: int) -> tuple[int, int, tuple[tuple[int, int], tuple[int, int]], tuple[str, ...]]:
    """Rate, start, two points and the steps from these to those of a linear function of one number."""
    reach, top = (6, 9, 12)[level - 1], (12, 20, 30)[level - 1]
    rate = rng.randint(2, reach) if level < 3 else pick(rng, -reach, reach)
    start, x = pick(rng, -top, top), rng.randint(1, 6)
    gap = rng.randint(1, (3, 5, 5)[level - 1])
    y = x + gap
    left, right = rate * x + start, rate * y + start
    rise = f"{right}{signed(-left)}={right - left}"
    steps = (
        *((rise,) if gap == 1 else (rise, f"{y}-{x}={gap}", f"{right - left}/{gap}={rate}")),
        f"{left}{signed(-rate)}*{x}={start}",
    )
    return rate, start, ((x, left), (y, right)), steps


def induce_two(rng: Random, level: int) -> Made:
    """`linear(1,2)=9, (2,2)=15, (1,3)=14.`"""
    reach, top = (6, 9, 15)[level - 1], (9, 20, 30)[level - 1]
    p, start = rng.randint(2, reach), pick(rng, -top, top)
    q = rng.randint(2, reach) if level < 3 else pick(rng, -9, 9)
    x, y = rng.randint(1, 4), rng.randint(1, 4)
    here = p * x + q * y + start
    prompt = f"linear({x},{y})={here}, ({x + 1},{y})={here + p}, ({x},{y + 1})={here + q}."
    steps = (
        f"{here + p}{signed(-here)}={p}",
        f"{here + q}{signed(-here)}={q}",
        f"{here}{signed(-p)}*{x}{signed(-q)}*{y}={start}",
    )
    program = f"def linear(a,b): return {formula((p, 'a'), (q, 'b'), (start, ''))}"
    arguments = _pairs(own(prompt), ((x, y), (x + 1, y), (x, y + 1)))
    return function(prompt, steps, program, lambda a, b: start + q * b + p * a, arguments, entry="linear")


def _pairs(draw: Random, shown: tuple[tuple[int, int], ...]) -> list[tuple[int, int]]:
    """Pairs of two different numbers that the prompt does not show."""
    found: list[tuple[int, int]] = []
    while len(found) < ASSERTS:
        pair = (draw.randint(-9, 19), draw.randint(-9, 19))
        if pair[0] != pair[1] and pair not in (*shown, *found):
            found.append(pair)
    return found


TEMPLATES: tuple[Template, ...] = (express, induce, induce_two)
