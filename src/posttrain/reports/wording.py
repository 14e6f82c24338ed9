"""How numbers and hostile text are written, the same in the terminal, in HTML and in Markdown."""

import math
import unicodedata
from datetime import UTC, datetime

UNKNOWN = "not measured"
"""What stands where a record has no value; unknown is never zero."""
DASH, MINUS = "\u2013", "\u2212"
"""The sign of an empty cell, and the sign before a negative number."""

_MARKS = frozenset("\u200b\u200e\u200f\u061c\u2028\u2029\ufeff")
_KIB = 1024.0


def visible(text: str) -> str:
    """Text in which nothing acts: control, direction, invisible characters and lone surrogates become `⟨U+202E⟩`."""
    return "".join(f"⟨U+{ord(char):04X}⟩" if _acts(char) else char for char in text)


def _acts(char: str) -> bool:
    if char.isascii():
        return not char.isprintable() and char not in "\n\t"
    category = unicodedata.category(char)
    return category in ("Cc", "Cs", "Cf") or char in _MARKS


def line(text: str) -> str:
    """Visible text on one line."""
    return " ".join(visible(text).split())


def share(value: float | None) -> str:
    """A fraction with three decimals."""
    return UNKNOWN if value is None else f"{value:.3f}".replace("-", MINUS)


def signed(value: float | None) -> str:
    """A difference with its sign and three decimals; minus is a minus sign."""
    return UNKNOWN if value is None else f"{value:+.3f}".replace("-", MINUS)


def interval(low: float | None, high: float | None, *, sign: bool = False) -> str:
    """An interval in brackets, or nothing where it is unknown."""
    if low is None or high is None:
        return ""
    write = signed if sign else share
    return f"[{write(low)}, {write(high)}]"


def condition(text: str) -> str:
    """A gate's condition as people read it: `at_least 0.95` is `≥ 0.95`."""
    for word, sign in (("at_least", "≥"), ("at_most", "≤"), ("equals", "=")):
        text = text.replace(word, sign)
    return text.replace(" -", f" {MINUS}")


def number(value: float | int | None) -> str:
    """A number of unknown unit with four significant digits; whole numbers whole, thousands apart."""
    if value is None:
        return UNKNOWN
    if not math.isfinite(value):
        return "not a number" if math.isnan(value) else f"{MINUS if value < 0 else ''}∞"
    if value == int(value) and abs(value) < 1e15:
        return count(int(value))
    return f"{value:.4g}".replace("-", MINUS)


def count(value: int | None) -> str:
    """A whole number with thin spaces between thousands."""
    return UNKNOWN if value is None else f"{value:,}".replace(",", "\u2009").replace("-", MINUS)


def counted(number: int, noun: str) -> str:
    """A number of things: `1 node`, `30 nodes`."""
    return f"{count(number)} {noun}{'' if number == 1 else 's'}"


def seconds(value: float | None) -> str:
    """A duration: `0.44 s`, `1.2 s`, `12 s`, `4 min 12 s`, `2 h 05 min`."""
    if value is None:
        return UNKNOWN
    if value < 9.95:
        return f"{value:.2f} s" if value < 0.995 else f"{value:.1f} s"
    whole = round(value)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def size(value: float | None) -> str:
    """Bytes: `312 B`, `4.1 KiB`, `1.2 GiB`."""
    if value is None:
        return UNKNOWN
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < _KIB:
            return f"{value:.0f} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= _KIB
    return f"{value:.1f} TiB"


def moment(unix: float | None) -> str:
    """A time of the ledger in UTC."""
    return UNKNOWN if unix is None else f"{datetime.fromtimestamp(unix, UTC):%Y-%m-%d %H:%M} UTC"


def short(digest: str | None) -> str:
    """The first 12 digits of a digest."""
    return (digest or "").removeprefix("sha256:")[:12] or UNKNOWN
