r"""Numbers read exactly, by fixed patterns: integers, decimals, fractions, percentages, digits in groups."""

import re
from dataclasses import dataclass
from fractions import Fraction

LONGEST = 200
"""Characters of an answer that is read as a number; a longer one is none."""

POWER = 60
"""Largest exponent of ten in scientific notation, either way."""


@dataclass(frozen=True)
class Number:
    """An exact value; 50 % is not 1/2."""

    value: Fraction
    percent: bool = False

    def near(self, other: "Number", tolerance: Fraction) -> bool:
        """Whether they differ by at most `tolerance` times this value; 0 asks for equality."""
        return self.percent == other.percent and abs(self.value - other.value) <= tolerance * abs(self.value)


def number(text: str) -> Number | None:
    r"""The exact value of an integer, decimal, fraction (`a/b`, `\frac{a}{b}`, mixed) or percentage; else None."""
    if len(text) > LONGEST:
        return None
    bare = _GROUPED.sub(lambda m: re.sub("[ ,]", "", m[0]), tidy(text))
    bare = _NAMED.sub("", bare)
    percent = bare.endswith("%")
    match = _NUMBER.fullmatch(bare.removesuffix("%"))
    if match is None:
        return None
    value = _value(match)
    return None if value is None else Number(value, percent)


def looser(text: str) -> Number | None:
    r"""As `number`, and the other ways to write one: `\frac12`, `1 1/2`, `1.5 \times 10^{3}`, `{25}`."""
    if len(text) > LONGEST:
        return None
    bare = tidy(text)
    while len(bare) > 2 and (bare[0] + bare[-1]) in ("{}", "()") and not set(bare[1:-1]) & {bare[0], bare[-1]}:
        bare = bare[1:-1].strip()
    if bare[:2] == "-(" and bare[-1] == ")" and "(" not in bare[2:]:
        inner = looser(bare[2:-1])
        return None if inner is None else Number(-inner.value, inner.percent)
    bare = braced(bare)
    found = number(bare)
    return _scientific(bare) or _mixed(bare) if found is None else found


def braced(text: str) -> str:
    r"""Fractions and roots with the braces that TeX lets one leave out: `\frac12` is `\frac{1}{2}`."""
    text = _SHORT_FRACTION.sub(lambda m: "\\frac" + _brace(m[1]) + _brace(m[2]), text)
    return _SHORT_ROOT.sub(r"\\sqrt{\1}", text)


def tidy(text: str) -> str:
    r"""The answer without what does not change it: `$`, LaTeX sizing, spaces (but between digits), a final stop.

    `\dfrac` is `\frac`, `{,}` is a comma, `\%` a percent sign.
    """
    return _SPACE.sub("", spaced(text)).removesuffix(".")


def spaced(text: str) -> str:
    """As `tidy`, with single spaces where there are any, and the final stop."""
    for written, meant in _SAME:
        text = text.replace(written, meant)
    return _NOISE.sub("", _SPACING.sub(" ", text)).strip()


def _brace(part: str) -> str:
    part = part.strip()
    return part if part.startswith("{") else f"{{{part}}}"


def _value(match: re.Match[str]) -> Fraction | None:
    over = Fraction(match["over"] or match["under"] or 1)
    top = Fraction(match["top"] or match["plain"])
    whole = match["whole"]
    if not over or (whole and (top < 0 or over < 0)):
        return None
    value = Fraction(whole or 0) + top / over
    return -value if match["sign"] == "-" else value


def _scientific(text: str) -> Number | None:
    match = _SCIENTIFIC.fullmatch(text)
    if match is None:
        return None
    power = int(match["power"] or match["digit"])
    return Number(Fraction(match["digits"]) * Fraction(10) ** power) if abs(power) <= POWER else None


def _mixed(text: str) -> Number | None:
    match = _MIXED.fullmatch(text)
    if match is None or not int(match["top"]) < int(match["under"]):
        return None
    value = int(match["whole"]) + Fraction(int(match["top"]), int(match["under"]))
    return Number(-value if match["sign"] else value)


_SAME = (("\N{MINUS SIGN}", "-"), ("\\dfrac", "\\frac"), ("\\tfrac", "\\frac"), ("{,}", ","), ("\\%", "%"))
_SPACING = re.compile(r"\\[,;:! ]|\\q?quad(?![A-Za-z])|\s+")
_NOISE = re.compile(r"\\(?:left|right|displaystyle)(?![A-Za-z])|\\?\$|\^\{?\\circ\}?|°")
_SPACE = re.compile(r"(?<!\d) +| +(?!\d| )", re.ASCII)
_GROUPED = re.compile(r"(?<![\d.])[1-9]\d{0,2}(?:(?:,\d{3})+|(?: \d{3})+)(?!\d)", re.ASCII)
"""Digits in groups of three. Commas or spaces that do not group so (`1,2`) leave the text no number."""
_NAMED = re.compile(r"^[A-Za-z]=")
_DECIMAL = r"(?:\d+\.?\d*|\.\d+)"
_NUMBER = re.compile(
    rf"(?P<sign>[+-]?)(?:(?P<whole>\d+)?\\frac\{{(?P<top>[+-]?{_DECIMAL})\}}\{{(?P<over>[+-]?{_DECIMAL})\}}"
    rf"|(?P<plain>{_DECIMAL})(?:/(?P<under>[+-]?{_DECIMAL}))?)",
    re.ASCII,
)
_SHORT_FRACTION = re.compile(r"\\frac *(\{[^{}]*\}|\d|(?<= )[A-Za-z]) *(\{[^{}]*\}|\d|[A-Za-z])", re.ASCII)
_SHORT_ROOT = re.compile(r"\\sqrt *([0-9A-Za-z])(?![0-9])", re.ASCII)
_SCIENTIFIC = re.compile(
    rf"(?P<digits>[+-]?{_DECIMAL})(?:\\times|\\cdot|\*)10\^(?:\{{(?P<power>[+-]?\d{{1,3}})\}}|(?P<digit>\d))", re.ASCII
)
_MIXED = re.compile(r"(?P<sign>-?)(?P<whole>\d+)(?: |\+)(?P<top>\d+)/(?P<under>\d+)", re.ASCII)
