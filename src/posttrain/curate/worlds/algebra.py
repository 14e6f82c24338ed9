"""Algebra: linear equations, values of polynomials, systems, roots, sequences."""

from random import Random

from posttrain.curate.worlds.template import Made, Template, pick, polynomial, product, signed


def linear(rng: Random, level: int) -> Made:
    """`Solve 9x-29=-137 for x.`"""
    reach = (9, 12, 25)[level - 1]
    a, x = rng.randint(2, reach), rng.randint(-reach, reach)
    b = pick(rng, -4 * reach, 4 * reach)
    right = a * x + b
    steps = (f"{a}x={right}{signed(-b)}={a * x}", f"x={a * x}/{a}={x}")
    return Made(f"Solve {a}x{signed(b)}={right} for x.", steps, str(x))


def both_sides(rng: Random, level: int) -> Made:
    """`Solve 7x+3=4x-12 for x.`"""
    reach = (9, 12, 25)[level - 1]
    a, x = rng.randint(3, reach), rng.randint(-reach, reach)
    c = rng.randint(1, a - 1)
    b = pick(rng, -2 * reach, 2 * reach)
    d = (a - c) * x + b
    left, right = polynomial((a, "x"), (b, "")), polynomial((c, "x"), (d, ""))
    steps = (
        f"{a}x-{polynomial((c, 'x'))}={polynomial((a - c, 'x'))}",
        f"{d}{signed(-b)}={d - b}",
        f"x={d - b}/{a - c}={x}",
    )
    return Made(f"Solve {left}={right} for x.", steps, str(x))


def value(rng: Random, level: int) -> Made:
    """`Find 2x^2-5x+3 at x=-4.`"""
    reach = (6, 9, 15)[level - 1]
    a, b, x = rng.randint(1, 4), pick(rng, -reach, reach), pick(rng, -reach, reach)
    c = pick(rng, -20, 20)
    square, line = a * x * x, b * x
    steps = (
        product(a, x * x) if a > 1 else f"x^2={square}",
        f"{b}*{x}={line}",
        f"{square}{signed(line)}{signed(c)}={square + line + c}",
    )
    return Made(f"Find {polynomial((a, 'x^2'), (b, 'x'), (c, ''))} at x={x}.", steps, str(square + line + c))


def system(rng: Random, level: int) -> Made:
    """`Given 3x+4y=41 and 2x-4y=-6, find x.`"""
    reach = (6, 9, 15)[level - 1]
    p, r, q = rng.randint(1, 6), rng.randint(1, 6), rng.randint(1, 9)
    x, y = rng.randint(-reach, reach), rng.randint(-reach, reach)
    one, other = p * x + q * y, r * x - q * y
    left, right = polynomial((p, "x"), (q, "y")), polynomial((r, "x"), (-q, "y"))
    steps = (
        f"{polynomial((p, 'x'), (r, 'x'))}={p + r}x",
        f"{one}{signed(other)}={one + other}",
        f"x={one + other}/{p + r}={x}",
    )
    return Made(f"Given {left}={one} and {right}={other}, find x.", steps, str(x))


def other_root(rng: Random, level: int) -> Made:
    """`2x^2-10x+12 has root 2. Find the other.`"""
    reach = (12, 12, 20)[level - 1]
    a, first, second = rng.randint(1, 8), pick(rng, -reach, reach), pick(rng, -reach, reach)
    total = first + second
    written = polynomial((a, "x^2"), (-a * total, "x"), (a * first * second, ""))
    steps = ((f"{a * total}/{a}={total}",) if a > 1 else ()) + (f"{total}{signed(-first)}={second}",)
    return Made(f"{written} has root {first}. Find the other.", steps, str(second))


def sequence(rng: Random, level: int) -> Made:
    """`A sequence starts 7, 11, 15. Find term 12.`"""
    reach = (8, 12, 30)[level - 1]
    first, gap, place = rng.randint(-20, 40), pick(rng, -reach, reach), rng.randint(5, 8 + reach)
    second, ahead = first + gap, gap * (place - 1)
    steps = (f"{second}{signed(-first)}={gap}", product(place - 1, gap), f"{first}{signed(ahead)}={first + ahead}")
    return Made(f"A sequence starts {first}, {second}, {second + gap}. Find term {place}.", steps, str(first + ahead))


TEMPLATES: tuple[Template, ...] = (linear, both_sides, value, system, other_root, sequence)
