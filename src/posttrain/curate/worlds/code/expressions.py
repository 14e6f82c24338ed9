"""Functions of one expression: from words, and from values of a linear function."""

from random import Random

from posttrain.curate.worlds.code.cases import ASSERTS, bracket, formula, function, own
from posttrain.curate.worlds.template import Made, Template, pick, product, signed

_OF_TWO = {"larger": max, "smaller": min}


def express(rng: Random, level: int) -> Made:
    """`f: 3(a+7) plus the larger of b, 25.`, or smaller, remainder, quotient; or `f: the larger of 3(a+7) and b.`"""
    reach, size, top = (6, 9, 19)[level - 1], (20, 30, 60)[level - 1], (40, 60, 99)[level - 1]
    times, more, number = rng.randint(2, reach), pick(rng, -size, size), rng.randint(2, top)
    one, other = rng.sample("ab", 2)
    kind = rng.choice(("larger", "smaller", "remainder", "quotient", "bound"))
    if kind == "bound":
        return _bound(rng, times, more, one, other)
    sign, word = rng.choice(((1, "plus"), (-1, "minus")))
    asked = f"the {kind} of {other}, {number}" if kind in _OF_TWO else f"{kind} of {other} by {number}"
    inside, line, steps = bracket(times, one, more)
    prompt = f"f: {inside} {word} {asked}."
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
        return times * (x + more) + sign * (inner if inner is not None else _OF_TWO[kind](y, number))

    draw = own(prompt)
    near = [number - 1, number, number + 1, 2 * number + 1, *(draw.randint(0, 3 * number) for _ in range(ASSERTS - 4))]
    pairs = [(pick(draw, -9, 9), y) for y in near]
    program = f"def f(a,b): return {line}{'+' if sign > 0 else '-'}{part}"
    arguments = [(x, y) if one == "a" else (y, x) for x, y in pairs]
    return function(prompt, steps, program, value, arguments)


def _bound(rng: Random, times: int, more: int, one: str, other: str) -> Made:
    kind = rng.choice(tuple(_OF_TWO))
    inside, line, steps = bracket(times, one, more)
    prompt = f"f: the {kind} of {inside} and {other}."

    def value(a: int, b: int) -> int:
        x, y = (a, b) if one == "a" else (b, a)
        return _OF_TWO[kind]((more + x) * times, y)

    draw = own(prompt)
    gaps = (-1, 1, -2, 2, *(pick(draw, -30, 30) for _ in range(ASSERTS - 4)))
    pairs = [(x, times * (x + more) + gap) for x, gap in zip(draw.sample(range(1, 20), ASSERTS), gaps, strict=True)]
    program = f"def f(a,b): return {_OF_TWO[kind].__name__}({line},{other})"
    arguments = [(x, y) if one == "a" else (y, x) for x, y in pairs]
    return function(prompt, steps, program, value, arguments)


def induce(rng: Random, level: int) -> Made:
    """`f is linear: f(3)=11, f(4)=14.`"""
    rate, start, points, steps = linear(rng, level)
    (x, left), (y, right) = points
    prompt = f"f is linear: f({x})={left}, f({y})={right}."
    arguments = [(a,) for a in own(prompt).sample([a for a in range(-12, 31) if a not in (x, y)], ASSERTS)]
    program = f"def f(a): return {formula((rate, 'a'), (start, ''))}"
    return function(prompt, steps, program, lambda a: start + a * rate, arguments)


def linear(rng: Random, level: int) -> tuple[int, int, tuple[tuple[int, int], tuple[int, int]], tuple[str, ...]]:
    """Rate, start, two neighbouring points and the steps from these to those of a linear function of one number."""
    reach, top = (6, 9, 9)[level - 1], (24, 24, 40)[level - 1]
    rate = rng.randint(2, reach) if level < 3 else pick(rng, -reach, reach)
    start, x = pick(rng, -top, top), rng.randint(1, 9)
    left, right = rate * x + start, rate * (x + 1) + start
    steps = (f"{right}{signed(-left)}={rate}", product(rate, x), f"{left}{signed(-rate * x)}={start}")
    return rate, start, ((x, left), (x + 1, right)), steps


def induce_two(rng: Random, level: int) -> Made:
    """`linear(0,2)=9, (1,2)=15, (0,3)=14.`"""
    reach, top = (6, 9, 9)[level - 1], (12, 20, 40)[level - 1]
    p, q, start = rng.randint(2, reach), rng.randint(2, reach), pick(rng, -top, top)
    y = rng.randint(1, 4)
    here = q * y + start
    prompt = f"linear(0,{y})={here}, (1,{y})={here + p}, (0,{y + 1})={here + q}."
    steps = (
        f"{here + p}{signed(-here)}={p}",
        f"{here + q}{signed(-here)}={q}",
        product(q, y),
        f"{here}{signed(-q * y)}={start}",
    )
    program = f"def linear(a,b): return {formula((p, 'a'), (q, 'b'), (start, ''))}"
    arguments = _pairs(own(prompt), ((0, y), (1, y), (0, y + 1)))
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
