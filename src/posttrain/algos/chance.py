"""What chance explains, in plain numbers: the difference a comparison can see, whether counts are uniform.

Without numpy: the plan asks for `detectable` and does not wait for an import.
"""

import math
from collections.abc import Sequence


def detectable(sd: float, n: int) -> float:
    """The true difference that a two-sided 5 % test of `n` paired items sees with power 80 %: 2.8 · sd / √n.

    2.8 = z(.975) + z(.80) = 1.960 + 0.842; `sd` is the standard deviation of one item's difference.
    """
    if n < 1:
        raise ValueError("no items: no difference is detectable")
    return 2.8 * sd / math.sqrt(n)


def uniform_p(counts: Sequence[int]) -> float:
    """How likely counts at least this uneven are when every class is equally likely: Pearson's χ² test.

    df = classes - 1, p = Q(df/2, χ²/2). One class, or nothing counted, says nothing: 1.
    """
    total, classes = sum(counts), len(counts)
    if total == 0 or classes < 2:
        return 1.0
    expected = total / classes
    statistic = sum((count - expected) ** 2 for count in counts) / expected
    return gamma_q((classes - 1) / 2, statistic / 2)


def gamma_q(a: float, x: float) -> float:
    """The regularised upper incomplete gamma function Q(a, x), for a > 0 and x ≥ 0; error below 1e-12.

    Its series below x = a + 1, Lentz's continued fraction above: Numerical Recipes (3rd ed.) §6.2.
    """
    if a <= 0 or x < 0:
        raise ValueError("Q(a, x) needs a > 0 and x >= 0")
    if x == 0:
        return 1.0
    front = math.exp(a * math.log(x) - x - math.lgamma(a))
    return 1.0 - front * _series(a, x) if x < a + 1 else front * _fraction(a, x)


def _series(a: float, x: float) -> float:
    term = total = 1 / a
    over = a
    while term > total * 1e-17:
        over += 1
        term *= x / over
        total += term
    return total


def _fraction(a: float, x: float) -> float:
    tiny = 1e-300
    b = x + 1 - a
    c, d = 1 / tiny, 1 / b
    result, i, factor = d, 0, 0.0
    while abs(factor - 1) > 1e-16:
        i += 1
        weight = i * (a - i)
        b += 2
        d = weight * d + b
        d = 1 / (d if abs(d) > tiny else tiny)
        c = b + weight / c
        c = c if abs(c) > tiny else tiny
        factor = c * d
        result *= factor
    return result
