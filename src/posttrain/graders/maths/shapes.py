r"""What an answer is made of: tuples, sets, intervals, inequalities, matrices, several answers; leaves are texts.

An answer is split at its outermost separators and compared piece by piece. A comparison of leaves may be unknown
(None); a verdict is then unknown unless what is known decides it.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from posttrain.graders.maths.notation import unnamed

DEEPEST, MOST = 4, 24
"""Levels of nesting and pieces on one level that are read; an answer beyond them is one leaf."""

Kind = Literal["leaf", "tuple", "set", "list", "matrix", "union"]


@dataclass(frozen=True)
class Shape:
    """An answer: a leaf with its text, or a group with its brackets and parts."""

    kind: Kind
    text: str = ""
    name: str = ""
    """What stands before `=`, of a leaf."""
    brackets: str = ""
    parts: tuple["Shape", ...] = ()


Same = Callable[[Shape, Shape], bool | None]
"""Whether two leaves say the same; None where that is not known."""


def shape(text: str, depth: int = 0) -> Shape:
    """Read a plain answer (`notation.plain`) of any form; what is no group is a leaf."""
    if depth > DEEPEST or len(text) > 600:
        return Shape("leaf", text)
    for read in (_several, _union, _inequality, _grouped, _matrix):
        found = read(text, depth)
        if found is not None:
            return found
    name, value = unnamed(text)
    if name and (inner := shape(value, depth + 1)).kind != "leaf":
        return inner
    return Shape("leaf", value if name else text, name)


def compare(gold: Shape, given: Shape, same: Same) -> bool | None:
    """Whether two answers are one; order counts in tuples and matrices alone."""
    if gold.kind == given.kind == "leaf":
        return False if gold.name and given.name and _renamed(gold, given) else same(gold, given)
    if {gold.kind, given.kind} <= {"list", "set"} and "leaf" not in {gold.kind, given.kind}:
        twice = gold.kind == given.kind == "list"
        return _unordered(gold.parts, given.parts, same, twice=twice)
    if {gold.kind, given.kind} == {"list", "tuple"} and _stated(gold) != _stated(given):
        return _ordered(gold.parts, given.parts, same)
    if {gold.kind, given.kind} == {"leaf", "set"} or {gold.kind, given.kind} == {"leaf", "list"}:
        one = [s.parts if s.kind != "leaf" else (s,) for s in (gold, given)]
        return _unordered(one[0], one[1], same, twice=False) if len(one[0]) == len(one[1]) == 1 else False
    if gold.kind != given.kind or gold.brackets != given.brackets:
        return False
    if gold.kind == "union":
        return _unordered(gold.parts, given.parts, same, twice=True)
    return _ordered(gold.parts, given.parts, same)


def _stated(group: Shape) -> bool:
    """Whether a list names each of its values, `x = 1, y = 2`: the same as the tuple `(1, 2)`."""
    return group.kind == "list" and all(part.name for part in group.parts)


def _renamed(gold: Shape, given: Shape) -> bool:
    """Whether two names are of two things; a function's name, as in `f(x) = …`, is only how the value is stated."""
    return gold.name != given.name and not any("(" in part.name for part in (gold, given))


def _ordered(gold: Sequence[Shape], given: Sequence[Shape], same: Same) -> bool | None:
    if len(gold) != len(given):
        return False
    known: bool | None = True
    for one, other in zip(gold, given, strict=True):
        equal = compare(one, other, same)
        if equal is False:
            return False
        known = None if equal is None else known
    return known


def _unordered(gold: Sequence[Shape], given: Sequence[Shape], same: Same, *, twice: bool) -> bool | None:
    """Whether each part has its equal on the other side; with `twice` one that is said twice must be so there too."""
    if twice and len(gold) != len(given):
        return False
    table = [[compare(one, other, same) for other in given] for one in gold]
    if not gold or not given:
        return not gold and not given
    columns = list(zip(*table, strict=True))
    if not all(any(equal is not False for equal in line) for line in (*table, *columns)):
        return False
    paired = _paired(table) if twice else all(True in line for line in (*table, *columns))
    return True if paired else None if any(None in row for row in table) else False


def _paired(table: Sequence[Sequence[bool | None]]) -> bool:
    """Whether equal parts can be paired one to one; equality is transitive, so the first free one will do."""
    free = set(range(len(table[0]))) if table else set[int]()
    for row in table:
        match = next((column for column in sorted(free) if row[column]), None)
        if match is None:
            return False
        free.discard(match)
    return True


def split(text: str, separators: str) -> list[str] | None:
    """The parts of a text between separators outside all brackets; None where brackets do not close."""
    parts, depth, start, at = list[str](), 0, 0, 0
    while at < len(text):
        token = _TOKEN.match(text, at)
        piece = token[0] if token else text[at]
        depth += (piece in _OPEN) - (piece in _CLOSE)
        if depth < 0:
            return None
        if depth == 0 and len(piece) == 1 and piece in separators:
            parts.append(text[start:at])
            start = at + 1
        at += len(piece)
    return [*parts, text[start:]] if depth == 0 else None


def _several(text: str, depth: int) -> Shape | None:
    """`2, -3`, `x = 2 or x = -3`, `1; 2`, `2 ± 3`."""
    listed = _JOINED.sub(",", text)
    parts = split(listed, ",;")
    if parts is None:
        return None
    parts = [part.strip() for part in parts if part.strip()]
    if "\\pm" in text:
        parts = [alternative for part in parts for alternative in _plus_minus(part)]
    if not 1 < len(parts) <= MOST:
        return None
    read = tuple(shape(part, depth + 1) for part in parts)
    regions = "or" in text and all(_RELATION.search(part) for part in parts)
    return Shape("union" if regions else "list", parts=read)


def _plus_minus(part: str) -> tuple[str, ...]:
    """Both readings of one `±`; before it may stand a term, or nothing, or a name."""
    before, sign, after = part.partition("\\pm")
    if not sign or "\\pm" in after:
        return (part,)
    alone = not before.strip() or before.strip().endswith("=")
    return f"{before}{'' if alone else '+'}{after}", f"{before}-{after}"


def _union(text: str, depth: int) -> Shape | None:
    parts = (split(text.replace("\\cup", "\x1f"), "\x1f") or []) if "\\cup" in text else (split(text, "U") or [])
    parts = [part.strip() for part in parts]
    if not 1 < len(parts) <= MOST or not all(part and part[0] in "([" for part in parts):
        return None
    return Shape("union", parts=tuple(shape(part, depth + 1) for part in parts))


def _inequality(text: str, depth: int) -> Shape | None:
    """`a < x ≤ b` and `x > 3` as the interval of x; both ends are leaves."""
    parts = _RELATION.split(text)
    if len(parts) not in (3, 5) or not all(part.strip() for part in parts[::2]):
        return None
    terms, signs = [part.strip() for part in parts[::2]], [_SIGN[sign] for sign in parts[1::2]]
    if len(terms) == 2:
        variable = next((i for i, term in enumerate(terms) if _VARIABLE.fullmatch(term)), None)
        if variable is None:
            return None
        sign, bound = (signs[0], terms[1]) if variable == 0 else (_TURNED[signs[0]], terms[0])
        low, high = ("-\\infty", bound) if sign[0] == "<" else (bound, "\\infty")
        closed = "[" if sign.endswith("=") else "("
        ends = ("(" if sign[0] == "<" else closed) + ({"[": "]", "(": ")"}[closed] if sign[0] == "<" else ")")
    else:
        if signs[0][0] != signs[1][0] or not _VARIABLE.fullmatch(terms[1]):
            return None
        if signs[0][0] == ">":
            terms, signs = terms[::-1], [_TURNED[sign] for sign in signs[::-1]]
        low, high = terms[0], terms[2]
        ends = ("[" if signs[0].endswith("=") else "(") + ("]" if signs[1].endswith("=") else ")")
    return Shape("tuple", brackets=ends, parts=(shape(low, depth + 1), shape(high, depth + 1)))


def _grouped(text: str, depth: int) -> Shape | None:
    r"""`(1, 2)`, `[1, 2)`, `\{1, 2\}`, `\langle 1, 2\rangle`; a single thing in round brackets is that thing."""
    if text in ("\\emptyset", "\\{\\}"):
        return Shape("set")
    match = _BRACKETED.fullmatch(_MEMBER.sub("", text))
    inner = split(match["inner"], ",;") if match else None
    if match is None or inner is None or len(inner) > MOST:
        return None
    if len(inner) == 1 and match["open"] in "([":
        return shape(inner[0].strip(), depth + 1) if match["open"] == "(" and match["close"] == ")" else None
    parts = tuple(shape(part.strip(), depth + 1) for part in inner)
    if match["open"] == "\\{":
        return Shape("set", parts=parts) if match["close"] == "\\}" else None
    return Shape(
        "tuple",
        brackets=_ROUND.get(match["open"], match["open"]) + _ROUND.get(match["close"], match["close"]),
        parts=parts,
    )


def _matrix(text: str, depth: int) -> Shape | None:
    match = _MATRIX.fullmatch(text)
    if match is None:
        return None
    rows = [row for row in re.split(r"\\\\(?:\[[^\]]*\])?", match["rows"]) if row.strip()]
    cells = [split(row, "&") for row in rows]
    if not cells or any(row is None or len(row) > MOST for row in cells) or len(cells) > MOST:
        return None
    read = tuple(
        Shape("tuple", parts=tuple(shape(cell.strip(), depth + 2) for cell in row)) for row in cells if row is not None
    )
    return Shape("matrix", brackets=match["delimiter"].replace("b", "p") or "p", parts=read)


_OPEN, _CLOSE = {"(", "[", "{", "\\{", "\\langle"}, {")", "]", "}", "\\}", "\\rangle"}
_ROUND = {"\\langle": "(", "\\rangle": ")"}
_TOKEN = re.compile(r"\\(?:[A-Za-z]+|.)", re.DOTALL)
_JOINED = re.compile(r",?(?<![A-Za-z])(?: *)(?:or|and)(?![A-Za-z])(?: *)")
_MEMBER = re.compile(r"^[A-Za-z] *\\in(?![A-Za-z]) *")
_RELATION = re.compile(r"(<=|>=|<|>|\\leq(?![A-Za-z])|\\geq(?![A-Za-z]))")
_SIGN = {"<=": "<=", ">=": ">=", "<": "<", ">": ">", "\\leq": "<=", "\\geq": ">="}
_TURNED = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}
_VARIABLE = re.compile(r"[A-Za-z]|\\(?!infty)[A-Za-z]+")
_BRACKETED = re.compile(
    r"(?P<open>\(|\[|\\\{|\\langle(?![A-Za-z]))(?P<inner>.*)(?P<close>\)|\]|\\\}|\\rangle)", re.DOTALL
)
_MATRIX = re.compile(
    r"\\begin\{(?P<delimiter>[pbvB]?)(?:small)?matrix\}(?P<rows>.*)\\end\{(?P=delimiter)(?:small)?matrix\}", re.DOTALL
)
