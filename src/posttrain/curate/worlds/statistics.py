"""Statistics: mean, median, range, probability, squared deviations, weighted totals."""

from math import gcd
from random import Random

from posttrain.curate.worlds.template import Made, Template, listed, product, running_sum


def mean(rng: Random, level: int) -> Made:
    """`Find the mean of 12, 7, 5, 8.`"""
    count, reach = rng.randint(3, 4 + (level > 2)), (20, 30, 90)[level - 1]
    numbers = [rng.randint(1, reach) for _ in range(count)]
    numbers[-1] += -sum(numbers) % count
    total = sum(numbers)
    steps = (*running_sum(numbers), f"{total}/{count}={total // count}")
    return Made(f"Find the mean of {listed(numbers)}.", steps, str(total // count))


def median(rng: Random, level: int) -> Made:
    """`Find the median of 9, 3, 14, 7, 5.`"""
    numbers = rng.sample(range(1, (30, 60, 200)[level - 1]), 5)
    ordered = sorted(numbers)
    return Made(f"Find the median of {listed(numbers)}.", ("<".join(map(str, ordered)),), str(ordered[2]))


def spread(rng: Random, level: int) -> Made:
    """`Find the range of 12, 7, 25, 8, 31.`"""
    numbers = rng.sample(range(1, (60, 99, 500)[level - 1]), rng.randint(4, 6))
    top, bottom = max(numbers), min(numbers)
    steps = (f"max={top}", f"min={bottom}", f"{top}-{bottom}={top - bottom}")
    return Made(f"Find the range of {listed(numbers)}.", steps, str(top - bottom))


def chance(rng: Random, level: int) -> Made:
    """`Balls: 6 red, 5 blue, 4 green. Find P(red).`"""
    red, blue, green = (rng.randint(1, (15, 20, 40)[level - 1]) for _ in range(3))
    total = red + blue + green
    shared = gcd(red, total)
    lowest = f"{red // shared}/{total // shared}"
    steps = (*running_sum((red, blue, green)), f"{red}/{total}={lowest}" if shared > 1 else lowest)
    return Made(f"Balls: {red} red, {blue} blue, {green} green. Find P(red).", steps, lowest)


def deviations(rng: Random, level: int) -> Made:
    """`Sum the squared deviations of 3, 5, 10.`"""
    reach = (5, 6, 12)[level - 1]
    first, second = rng.randint(-reach, reach), rng.randint(-reach, reach)
    apart = (first, second, -first - second)
    middle = rng.randint(2 * reach + 1, 6 * reach)
    numbers = [middle + gap for gap in apart]
    total = sum(gap * gap for gap in apart)
    squares = "+".join(str(gap * gap) for gap in apart)
    steps = (*running_sum(numbers), f"{3 * middle}/3={middle}", f"{squares}={total}")
    return Made(f"Sum the squared deviations of {listed(numbers)}.", steps, str(total))


def weighted_total(rng: Random, level: int) -> Made:
    """`Score 12 came 3 times, 9 came 5 times. Total?`"""
    reach = (20, 30, 60)[level - 1]
    one, other, often, seldom = rng.randint(2, reach), rng.randint(2, reach), rng.randint(2, 9), rng.randint(2, 9)
    parts = (often * one, seldom * other)
    steps = (product(often, one), product(seldom, other), *running_sum(parts))
    return Made(f"Score {one} came {often} times, {other} came {seldom} times. Total?", steps, str(sum(parts)))


TEMPLATES: tuple[Template, ...] = (mean, median, spread, chance, deviations, weighted_total)
