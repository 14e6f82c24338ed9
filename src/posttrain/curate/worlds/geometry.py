"""Geometry: rectangles, triangles, angles, boxes, distances."""

from random import Random

from posttrain.curate.worlds.template import LEVELS, Made, Template, product, running_sum, signed


def rectangle(rng: Random, level: int) -> Made:
    """`A rectangle has sides 47, 6. Find its area.`; or its perimeter, or a side from the area and the other."""
    length, width = rng.randint(11, (49, 99, 199)[level - 1]), rng.randint(2, (9, 12, 25)[level - 1])
    area, asked = length * width, rng.randrange(3)
    if asked == 0:
        return Made(f"A rectangle has sides {length}, {width}. Find its area.", (product(length, width),), str(area))
    if asked == 1:
        steps = (f"{area}/{width}={length}",)
        return Made(f"A rectangle has area {area}, width {width}. Find its length.", steps, str(length))
    side = rng.randint(2, 99)
    steps = (f"{length}+{side}={length + side}", f"2*{length + side}={2 * (length + side)}")
    return Made(f"A rectangle has sides {length}, {side}. Find its perimeter.", steps, str(2 * (length + side)))


def triangle(rng: Random, level: int) -> Made:
    """`A triangle has base 14, height 9. Find its area.`; or its height from the area, or its perimeter."""
    half, height = rng.randint(2, (15, 30, 60)[level - 1]), rng.randint(2, (12, 20, 40)[level - 1])
    base, area, asked = 2 * half, half * height, rng.randrange(3)
    if asked == 0:
        steps = (f"{base}/2={half}", product(half, height))
        return Made(f"A triangle has base {base}, height {height}. Find its area.", steps, str(area))
    if asked == 1:
        steps = (f"{base}/2={half}", f"{area}/{half}={height}")
        return Made(f"A triangle has area {area}, base {base}. Find its height.", steps, str(height))
    a, b = rng.randint(5, 60), rng.randint(5, 60)
    c = rng.randint(abs(a - b) + 1, a + b - 1)
    return Made(f"A triangle has sides {a}, {b}, {c}. Find its perimeter.", running_sum((a, b, c)), str(a + b + c))


def angle(rng: Random, level: int) -> Made:
    """`A triangle has angles 47 and 68. Find the third.`; at the highest level also four-sided figures."""
    if level == LEVELS[-1] and rng.random() < 0.5:
        three = [rng.randint(40, 115) for _ in range(3)]
        steps = (*running_sum(three), f"360-{sum(three)}={360 - sum(three)}")
        prompt = f"A quadrilateral has angles {three[0]}, {three[1]}, {three[2]}. Find the fourth."
        return Made(prompt, steps, str(360 - sum(three)))
    first = rng.randint(10, (90, 120, 150)[level - 1])
    second = rng.randint(5, min(175 - first, (80, 120, 150)[level - 1]))
    total = first + second
    steps = (f"{first}+{second}={total}", f"180-{total}={180 - total}")
    return Made(f"A triangle has angles {first} and {second}. Find the third.", steps, str(180 - total))


def pythagoras(rng: Random, level: int) -> Made:
    """`Right triangle: legs 7 and 9. Square the hypotenuse.`; or the other leg from one and the hypotenuse."""
    reach = (40, 40, 99)[level - 1]
    a, b = rng.randint(2, reach), rng.randint(2, reach)
    if a == b or rng.random() < 0.6:
        total = a * a + b * b
        steps = (f"{a}^2={a * a}", f"{b}^2={b * b}", f"{a * a}+{b * b}={total}")
        return Made(f"Right triangle: legs {a} and {b}. Square the hypotenuse.", steps, str(total))
    leg, slant = sorted((a, b))
    rest = slant * slant - leg * leg
    steps = (f"{slant}^2={slant * slant}", f"{leg}^2={leg * leg}", f"{slant * slant}-{leg * leg}={rest}")
    return Made(f"Right triangle: hypotenuse {slant}, leg {leg}. Square the other leg.", steps, str(rest))


def box(rng: Random, level: int) -> Made:
    """`A 3 by 7 by 12 box: find its volume.`; or its surface."""
    side, height = (9, 9, 15)[level - 1], (30, 30, 60)[level - 1]
    a, b, c = rng.randint(2, side), rng.randint(2, side), rng.randint(2, side)
    if rng.random() < 0.7:
        c = rng.randint(2, height)
        steps = (product(a, b), product(a * b, c))
        return Made(f"A {a} by {b} by {c} box: find its volume.", steps, str(a * b * c))
    total = a * b + a * c + b * c
    added = f"{a * b}+{a * c}+{b * c}={total}"
    steps = (product(a, b), product(a, c), product(b, c), added, f"2*{total}={2 * total}")
    return Made(f"A {a} by {b} by {c} box: find its surface.", steps, str(2 * total))


def distance(rng: Random, level: int) -> Made:
    """`Points (1,-3) and (6,4). Find the squared distance.`"""
    reach = (6, 9, 20)[level - 1]
    a, b, c, d = (rng.randint(-reach, reach) for _ in range(4))
    across, up = c - a, d - b
    total = across * across + up * up
    steps = (f"{c}{signed(-a)}={across}", f"{d}{signed(-b)}={up}", f"{across * across}+{up * up}={total}")
    return Made(f"Points ({a},{b}) and ({c},{d}). Find the squared distance.", steps, str(total))


TEMPLATES: tuple[Template, ...] = (rectangle, triangle, angle, pythagoras, box, distance)
