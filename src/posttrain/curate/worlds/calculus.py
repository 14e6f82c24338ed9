"""Calculus: derivatives, integrals, extrema, limits of polynomials."""

from random import Random

from posttrain.curate.worlds.template import Made, Template, pick, polynomial, product, signed


def derivative(rng: Random, level: int) -> Made:
    """`f(x)=3x^2-7x+2. Find f'(4).`"""
    reach = (6, 9, 15)[level - 1]
    a, b, c, x = pick(rng, -6, 6), pick(rng, -12, 12), pick(rng, -20, 20), pick(rng, -reach, reach)
    slope, written = 2 * a, polynomial((a, "x^2"), (b, "x"), (c, ""))
    steps = (f"f'={slope}x{signed(b)}", product(slope, x), f"{slope * x}{signed(b)}={slope * x + b}")
    return Made(f"f(x)={written}. Find f'({x}).", steps, str(slope * x + b))


def integral(rng: Random, level: int) -> Made:
    """`Integrate 6x+4 from 1 to 5.`"""
    reach = (6, 8, 15)[level - 1]
    half, b, low = rng.randint(1, reach), pick(rng, -12, 12), rng.randint(0, 6)
    high = rng.randint(low + 1, 9)
    top, bottom = half * high * high + b * high, half * low * low + b * low
    steps = (
        f"F={polynomial((half, 'x^2'), (b, 'x'))}",
        f"{half * high * high}{signed(b * high)}={top}",
        *((f"{half * low * low}{signed(b * low)}={bottom}",) if low else ()),
        *((f"{top}{signed(-bottom)}={top - bottom}",) if low else ()),
    )
    return Made(f"Integrate {2 * half}x{signed(b)} from {low} to {high}.", steps, str(top - bottom))


def extremum(rng: Random, level: int) -> Made:
    """`Where is -2x^2+12x+5 largest?`, or smallest."""
    reach = (9, 12, 25)[level - 1]
    a, x, c = pick(rng, -6, 6), pick(rng, -reach, reach), pick(rng, -40, 40)
    b = -2 * a * x
    asked = "smallest" if a > 0 else "largest"
    steps = (f"f'={2 * a}x{signed(b)}", f"x={-b}/{2 * a}={x}")
    return Made(f"Where is {polynomial((a, 'x^2'), (b, 'x'), (c, ''))} {asked}?", steps, str(x))


def limit(rng: Random, level: int) -> Made:
    """`Limit of (2x^2+4x-30)/(x-3) at 3.`"""
    reach = (25, 30, 60)[level - 1]
    r, m, k = pick(rng, -9, 9), pick(rng, -reach, reach), rng.randint(1, 5)
    written = polynomial((k, "x^2"), (m - k * r, "x"), (-r * m, ""))
    steps = (
        f"{-r * m}/{-r}={m}",
        polynomial((k, "x"), (m, "")),
        f"{k}*{r}{signed(m)}={k * r + m}" if k > 1 else f"{r}{signed(m)}={r + m}",
    )
    return Made(f"Limit of ({written})/(x{signed(-r)}) at {r}.", steps, str(k * r + m))


def second_derivative(rng: Random, level: int) -> Made:
    """`f(x)=2x^3-5x^2+x. Find f''(3).`"""
    reach = (6, 9, 15)[level - 1]
    a, b, c, x = pick(rng, -4, 4), pick(rng, -9, 9), pick(rng, -12, 12), pick(rng, -reach, reach)
    bend, answer = 6 * a * x, 6 * a * x + 2 * b
    steps = (f"f''={6 * a}x{signed(2 * b)}", product(6 * a, x), f"{bend}{signed(2 * b)}={answer}")
    written = polynomial((a, "x^3"), (b, "x^2"), (c, "x"))
    return Made(f"f(x)={written}. Find f''({x}).", steps, str(answer))


TEMPLATES: tuple[Template, ...] = (derivative, integral, extremum, limit, second_derivative)
