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
        words = re.findall(r"[a-z]+", self.unit)
        return bool(self.measure) or all(word in prompt.casefold() for word in words)

    def same(self, other: "Quantity", tolerance: Fraction) -> bool:
        """Whether both state one quantity; a unit that only one of them names is no difference."""
        if not self.unit or not other.unit or self.unit == other.unit:
            return self.number.near(other.number, tolerance)
        if not self.measure or self.measure != other.measure:
            return False
        mine = Number(self.number.value * self.size, self.number.percent)
        return mine.near(Number(other.number.value * other.size, other.number.percent), tolerance)


def quantity(text: str) -> Quantity | None:
    """The number of a text and its unit; None where the text is not a number, alone or before words that count."""
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
    return _measured(value, words, int((match["power"] or "1").strip("^{}")), match["open"])


def unitless(text: str) -> tuple[str, str]:
    r"""A formula and the known unit behind it, in one spelling; the unit is empty where there is none: `12\pi cm`."""
    match = _BEHIND.fullmatch(text)
    if match is None:
        return text, ""
    found = _measured(Number(Fraction(1)), match["unit"].casefold(), int((match["power"] or "1").strip("^{}")), "")
    return (match["formula"], found.unit) if found and found.measure else (text, "")


def _measured(value: Number, base: str, exponent: int, before: str) -> Quantity | None:
    """A value with its unit. A lone letter counts only where it is set as text: else it is a variable."""
    words = re.findall(r"[a-z]+", base)
    if set(words) & NOT_A_UNIT or (len(base) == 1 and "{" not in before):
        return None
    area = re.fullmatch(r"(square|cubic|sq) (.+)", base)
    if area:
        base, exponent = area[2], 3 if area[1] == "cubic" else 2
    known = _units().get(base) or _units().get(_singular(base))
    if known is None:
        return Quantity(value, f"{_singular(base)}^{exponent}") if before and all(map(_word, words)) else None
    measure, size = known
    return Quantity(value, f"{_singular(base)}^{exponent}", f"{measure}^{exponent}", size**exponent)


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
    r" *(?P<unit>%|[A-Za-z]+(?:[ /-][A-Za-z]+){0,3}\.?) *\}?(?P<power>\^(?:\{[23]\}|[23]))?\}?"
)
