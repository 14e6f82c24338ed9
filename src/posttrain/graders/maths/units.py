r"""A number with what it counts or measures: `5 \text{ cm}`, `18 dollars`, `3 apples`, `60 km/h`, `4 m^2`."""

import re
import tomllib
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path

from posttrain.graders.maths.exact import LONGEST, Number, looser

NOT_A_UNIT = frozenset(
    re.findall(
        r"\w+",
        """hundred thousand million billion trillion dozen score percent half third quarter halves thirds quarters
        squared cubed factorial minus plus times over by divided and or to not less more than about roughly
        approximately either maybe at least most between from root pi radian radians
        if where when mod modulo of is are the""",
    )
)
"""Words behind a number that change it, or say that it is not the answer."""

PERCENT = frozenset({"percent", "per cent", "%"})


@dataclass(frozen=True)
class Quantity:
    """A number and its unit in one spelling; empty where there is none."""

    number: Number
    unit: str = ""
    measure: str = ""
    """What the unit measures, where that is known: `length`, `length^2`."""
    size: Fraction = Fraction(1)
    """One of this unit in the measure's base unit."""

    def counts(self, prompt: str) -> bool:
        """Whether the unit is one we know, or something that the question is about: `12 eggs` where eggs are asked."""
        if not self.measure:
            return all(word in prompt.casefold() for word in re.findall(r"[a-z]+", self.unit))
        named = _named(prompt, self.measure)
        return not named or self.size in named

    def presumed(self, measure: str, prompt: str) -> "Quantity":
        """In the one unit of a measure that the question names, where this has none: 90 is 90 minutes there."""
        named = _named(prompt, measure)
        return self if self.unit or len(named) != 1 else Quantity(self.number, "asked", measure, min(named))

    def same(self, other: "Quantity", tolerance: Fraction) -> bool:
        """Whether both state one quantity; a unit that only one of them names is no difference."""
        if not self.unit or not other.unit or self.unit == other.unit:
            return self.number.near(other.number, tolerance)
        if not self.measure or self.measure != other.measure:
            return False
        mine = Number(self.number.value * self.size, self.number.percent)
        return mine.near(Number(other.number.value * other.size, other.number.percent), tolerance)


def quantity(text: str, *, measure: str = "") -> Quantity | None:
    """The number of a text and its unit; None where the text is not a number, alone or before words that count.

    Where a `measure` is wanted, its units of one letter need not be set as text: `0.05 m` beside `5 cm`.
    """
    found = looser(text)
    if found is not None:
        return Quantity(found)
    match = _WITH_UNIT.fullmatch(text) if len(text) <= LONGEST else None
    value = looser(match["number"]) if match else None
    if match is None or value is None:
        return None
    words = " ".join(match["unit"].split()).casefold().removesuffix(".")
    if words in PERCENT:
        return None if value.percent else Quantity(Number(value.value, percent=True))
    lone = "{" in match["open"] or (bool(match["open"]) and _units().get(words, (" ",))[0] == measure.partition("^")[0])
    return _measured(value, words, int((match["power"] or "1").strip("^{}")), match["open"], lone=lone)


def unitless(text: str) -> tuple[str, str]:
    r"""A formula and the known unit behind it, in one spelling; the unit is empty where there is none: `12\pi cm`."""
    match = _BEHIND.fullmatch(text)
    if match is None:
        return text, ""
    found = _measured(
        Number(Fraction(1)), match["unit"].casefold(), int((match["power"] or "1").strip("^{}")), "", lone=False
    )
    return (match["formula"], found.unit) if found and found.measure else (text, "")


def _measured(value: Number, base: str, exponent: int, before: str, *, lone: bool) -> Quantity | None:
    """A value with its unit. A single letter is a variable unless `lone` says that it may be a unit."""
    words = re.findall(r"[a-z]+", base)
    if set(words) & NOT_A_UNIT or (len(base) == 1 and not lone):
        return None
    area = re.fullmatch(r"(square|cubic|sq) (.+)", base)
    if area:
        base, exponent = area[2], 3 if area[1] == "cubic" else 2
    known = _units().get(base) or _units().get(_singular(base))
    if known is None:
        return Quantity(value, f"{_singular(base)}^{exponent}") if before and all(map(_word, words)) else None
    measure, size = known
    return Quantity(value, f"{_singular(base)}^{exponent}", f"{measure}^{exponent}", size**exponent)


def _named(prompt: str, measure: str) -> frozenset[Fraction]:
    """The sizes of a measure's units that a question names in words; a dollar sign before a digit is a dollar."""
    base, _, exponent = measure.partition("^")
    said = set(re.findall(r"[a-z]{2,}", prompt.casefold())) - {"in", "second", "min"}
    said |= {"dollar"} if re.search(r"\$\d", prompt) else set()
    known = (_units().get(word) or _units().get(_singular(word)) for word in said)
    return frozenset(unit[1] ** int(exponent or 1) for unit in known if unit and unit[0] == base)


def _word(letters: str) -> bool:
    """Whether letters are a word and not a product of variables."""
    return len(letters) > 2 and bool(set(letters) & set("aeiouy"))


def _singular(word: str) -> str:
    if len(word) < 3:
        return word
    return word[:-2] if word.endswith(("ches", "xes", "shes", "sses")) else word.removesuffix("s")


@cache
def _units() -> dict[str, tuple[str, Fraction]]:
    tables = tomllib.loads(Path(__file__).with_name("units.toml").read_text(encoding="utf-8"))
    return {
        spelt: (measure, Fraction(size))
        for measure, words in tables.items()
        for word, size in words.items()
        for spelt in (word, _singular(word))
    }


_BEHIND = re.compile(
    r"(?P<formula>.*\S) +(?P<unit>(?:(?:square|cubic|sq) )?[A-Za-z]{2,12})(?P<power>\^(?:\{[23]\}|[23]))?", re.DOTALL
)
_WITH_UNIT = re.compile(
    r"(?P<number>[^A-Za-z]*?(?:\\frac *\{[^{}]*\} *\{[^{}]*\}|[\d.)}]))"
    r"(?P<open>(?: |~|\\[,;:! ])*(?:\\(?:text|mathrm|textrm|mbox|textbf|mathbf|operatorname)\{)?)"
    r" *\(?(?P<unit>%|[A-Za-z]+(?:[ /-][A-Za-z]+){0,3}\.?)\)? *\}?(?P<power>\^(?:\{[23]\}|[23]))?\}?"
)
