"""An independent answer to every prompt of the built-in worlds, read from its text alone and found another way.

Polynomials are evaluated, derivatives taken as exact differences, equations solved by trying every whole number.
"""

import re
import statistics
from collections.abc import Callable, Iterable
from fractions import Fraction

EVERY = range(-120, 121)


def numbers(prompt: str) -> list[int]:
    """The whole numbers of a prompt, in order."""
    return [int(n) for n in re.findall(r"-?\d+", prompt)]


def curve(text: str) -> Callable[[int], int]:
    """`2x^2-x+3` as a function."""
    terms = re.findall(r"([+-]?\d*)x\^(\d)|([+-]?\d*)x(?!\^)|([+-]?\d+)", text)

    def factor(sign_and_size: str) -> int:
        return int(sign_and_size + "1") if sign_and_size in {"", "+", "-"} else int(sign_and_size)

    parts: list[tuple[int, int]] = []
    for power, exponent, line, constant in terms:
        if exponent:
            parts.append((factor(power), int(exponent)))
        elif constant:
            parts.append((int(constant), 0))
        else:
            parts.append((factor(line), 1))
    return lambda x: sum(a * x**n for a, n in parts)


def _only(found: Iterable[int]) -> int:
    (one,) = found
    return one


def _linear(prompt: str) -> int:
    left, right = (curve(side) for side in re.fullmatch(r"Solve (.+)=(.+) for x\.", prompt).groups())
    return _only(x for x in EVERY if left(x) == right(x))


def _value(prompt: str) -> int:
    text, x = re.fullmatch(r"Find (.+) at x=(.+)\.", prompt).groups()
    return curve(text)(int(x))


def _system(prompt: str) -> int:
    a, b, e, c, d, f = re.fullmatch(
        r"Given (-?\d*)x([+-]\d*)y=(-?\d+) and (-?\d*)x([+-]\d*)y=(-?\d+), find x\.", prompt
    ).groups()
    a, b, c, d = (int(t + "1") if t in {"", "+", "-"} else int(t) for t in (a, b, c, d))
    x = Fraction(int(e) * d - b * int(f), a * d - b * c)
    assert x.denominator == 1
    return int(x)


def _other_root(prompt: str) -> int:
    text, root = re.fullmatch(r"(.+) has root (.+)\. Find the other\.", prompt).groups()
    f = curve(text)
    roots = [x for x in EVERY if f(x) == 0]
    assert int(root) in roots
    return _only(x for x in roots if x != int(root)) if len(roots) > 1 else int(root)


def _sequence(prompt: str) -> int:
    first, second, third, place = numbers(prompt)
    assert third - second == second - first
    return [first + step * (second - first) for step in range(100)][place - 1]


def _rectangle(prompt: str) -> int:
    one, other = numbers(prompt)
    if "length" in prompt:
        return _only(side for side in range(1, 300) if side * other == one)
    return 2 * one + 2 * other if "perimeter" in prompt else one * other


def _triangle(prompt: str) -> Fraction:
    first, second, *third = numbers(prompt)
    if third:
        sides = sorted((first, second, *third))
        assert sides[0] + sides[1] > sides[2]
        return Fraction(sum(sides))
    return Fraction(2 * first, second) if "height." in prompt else Fraction(first * second, 2)


def _angle(prompt: str) -> int:
    rest = (360 if "quadrilateral" in prompt else 180) - sum(numbers(prompt))
    assert rest > 0
    return rest


def _pythagoras(prompt: str) -> int:
    one, other = numbers(prompt)
    return one**2 - other**2 if "hypotenuse " in prompt else one**2 + other**2


def _box(prompt: str) -> int:
    a, b, c = numbers(prompt)
    return a * b * c if "volume" in prompt else 2 * (a * b + b * c + c * a)


def _distance(prompt: str) -> int:
    a, b, c, d = numbers(prompt)
    return int(abs(complex(a, b) - complex(c, d)) ** 2 + 0.5)


def _derivative(prompt: str) -> Fraction:
    """A quadratic's symmetric difference is its derivative exactly."""
    text, x = re.fullmatch(r"f\(x\)=(.+)\. Find f'\((.+)\)\.", prompt).groups()
    f, x = curve(text), int(x)
    return Fraction(f(x + 1) - f(x - 1), 2)


def _second_derivative(prompt: str) -> int:
    """A cubic's second symmetric difference is its second derivative exactly."""
    text, x = re.fullmatch(r"f\(x\)=(.+)\. Find f''\((.+)\)\.", prompt).groups()
    f, x = curve(text), int(x)
    return f(x + 1) - 2 * f(x) + f(x - 1)


def _integral(prompt: str) -> Fraction:
    """The trapezium rule is exact for a line."""
    text, low, high = re.fullmatch(r"Integrate (.+) from (.+) to (.+)\.", prompt).groups()
    f = curve(text)
    return Fraction((f(int(low)) + f(int(high))) * (int(high) - int(low)), 2)


def _extremum(prompt: str) -> int:
    text, asked = re.fullmatch(r"Where is (.+) (largest|smallest)\?", prompt).groups()
    best = {"largest": max, "smallest": min}[asked]
    return best(EVERY, key=curve(text))


def _limit(prompt: str) -> Fraction:
    """Near its hole the quotient is a line: the limit is the middle of two neighbours."""
    top, under, x = re.fullmatch(r"Limit of \((.+)\)/\((.+)\) at (.+)\.", prompt).groups()
    f, g, x = curve(top), curve(under), int(x)
    assert f(x) == g(x) == 0
    return (Fraction(f(x + 1), g(x + 1)) + Fraction(f(x - 1), g(x - 1))) / 2


def _deviations(prompt: str) -> Fraction:
    given = [Fraction(n) for n in numbers(prompt)]
    return statistics.pvariance(given) * len(given)


def _chance(prompt: str) -> Fraction:
    red, blue, green = numbers(prompt)
    return Fraction(red, red + blue + green)


def _weighted_total(prompt: str) -> int:
    one, often, other, seldom = numbers(prompt)
    return sum([one] * often + [other] * seldom)


ORACLES: dict[str, Callable[[str], Fraction | int]] = {
    "linear": _linear,
    "both_sides": _linear,
    "value": _value,
    "system": _system,
    "other_root": _other_root,
    "sequence": _sequence,
    "rectangle": _rectangle,
    "triangle": _triangle,
    "angle": _angle,
    "pythagoras": _pythagoras,
    "box": _box,
    "distance": _distance,
    "derivative": _derivative,
    "integral": _integral,
    "extremum": _extremum,
    "limit": _limit,
    "second_derivative": _second_derivative,
    "mean": lambda prompt: statistics.mean(Fraction(n) for n in numbers(prompt)),
    "median": lambda prompt: statistics.median(numbers(prompt)),
    "spread": lambda prompt: max(numbers(prompt)) - min(numbers(prompt)),
    "chance": _chance,
    "deviations": _deviations,
    "weighted_total": _weighted_total,
}
"""Template → the answer to its prompt."""


def sums(step: str, x: Fraction) -> list[Fraction]:
    """The values of the parts of a step that are sums of numbers and x: `9x=-137+29=-108`."""
    parts = [part for part in step.split("=") if re.fullmatch(r"[-+*/^()\dx ]+", part)]
    return [_evaluate(part, x) for part in parts]


def _evaluate(text: str, x: Fraction) -> Fraction:
    """Sums of products, by hand: + and - apart from factors, then * and / from the left."""
    total = Fraction(0)
    for sign, term in re.findall(r"([+-]?)((?:[^+*/-]|(?<=[*/])-|[*/])+)", text):
        value = Fraction(1)
        for operator, factor in re.findall(r"([*/]?)(-?[^*/]+)", term):
            size = _factor(factor, x)
            value = value / size if operator == "/" else value * size
        total += -value if sign == "-" else value
    return total


def _factor(text: str, x: Fraction) -> Fraction:
    match = re.fullmatch(r"(-?\d*)(x?)(?:\^(\d))?", text)
    assert match, text
    size, letter, power = match.groups()
    base = x if letter else Fraction(size)
    raised = base ** int(power or 1)
    if not letter:
        return raised
    return raised * (int(size + "1") if size in {"", "-"} else int(size))
