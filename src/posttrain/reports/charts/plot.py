"""Charts as SVG text: functions of their data, without script, colour names or outside resources.

Colours are classes (`s1` … `s6`) that the page's style sheet resolves, so one drawing serves light, dark and paper.
Every drawing carries a title and a description for those who cannot see it.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from html import escape
from itertools import pairwise

from posttrain.reports.wording import DASH, UNKNOWN, line, number, share

COLOURS = 6
"""How many series have a colour of their own; dashes tell the rest apart."""


_LETTER, _GAP, _ROW = 6, 5, 14
"""Width of a letter, the gap before a name and the height of a row of names, in units of the drawing."""


@dataclass(frozen=True)
class Series:
    """A named line; a point whose y is None breaks it. `marks` draws the points, for values that are far apart."""

    name: str
    points: tuple[tuple[float, float | None], ...]
    marks: bool = False


@dataclass(frozen=True)
class Cell:
    """A cell of a heat map: its value, and whether it is the one chosen."""

    value: float | None
    chosen: bool = False
    title: str = ""


def text(value: str) -> str:
    """Text as SVG shows it: nothing in it acts, nothing in it is markup."""
    return escape(line(value), quote=True)


def ticks(low: float, high: float, wanted: int = 4) -> tuple[float, ...]:
    """Round numbers inside [low, high], about as many as wanted."""
    span = high - low
    if not (math.isfinite(span) and span > 0):
        return (low,)
    raw = span / max(wanted, 1)
    scale = 10.0 ** math.floor(math.log10(raw))
    step = next(scale * nice for nice in (1, 2, 2.5, 5, 10) if scale * nice >= raw * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    digits = max(0, 3 - math.floor(math.log10(step)))
    return tuple(round(i * step, digits) for i in range(first, last + 1))


def svg(width: float, height: float, title: str, body: str, *, says: str = "") -> str:
    """A drawing with its title and description."""
    described = f"<desc>{text(says)}</desc>" if says else ""
    return (
        f'<svg class="chart" role="img" viewBox="0 0 {width:g} {height:g}" style="max-width:{width:g}px" '
        f'preserveAspectRatio="xMinYMin meet"><title>{text(title)}</title>{described}{body}</svg>'
    )


@dataclass(frozen=True)
class _Frame:
    """The plotting rectangle and the numbers at its edges."""

    left: float
    top: float
    right: float
    bottom: float
    x: tuple[float, float]
    y: tuple[float, float]

    def at(self, x: float, y: float) -> tuple[float, float]:
        across = (x - self.x[0]) / ((self.x[1] - self.x[0]) or 1.0)
        up = (y - self.y[0]) / ((self.y[1] - self.y[0]) or 1.0)
        return self.left + across * (self.right - self.left), self.bottom - up * (self.bottom - self.top)


def lines(series: Sequence[Series], *, title: str, x_label: str, width: float = 360, height: float = 210) -> str:
    """Lines over a common axis, each named at its end, or above where one follows another."""
    known = [(x, y) for one in series for x, y in one.points if y is not None and math.isfinite(y)]
    if not known:
        return svg(width, 40, title, f'<text x="0" y="24" class="mute">{text(title)}: {UNKNOWN}</text>')
    staged, named = _staged(series), len(series) > 1
    widest = max(len(line(one.name)) for one in series)
    margin = min(widest, 20) * 6.2 + 12 if named and not staged else 10
    frame = _frame(known, (width - margin, height - 34), top=_ROW + 8 if staged else 8)
    if staged and _crowded(frame, series):
        frame = replace(frame, top=frame.top + _ROW)
    body = _axes(frame, x_label) + "".join(_line(frame, one, i) for i, one in enumerate(series))
    if named:
        body += _names_above(frame, series) if staged else _names_at_end(frame, series)
    return svg(width, height, title, body, says="; ".join(_in_words(one) for one in series))


def _staged(series: Sequence[Series]) -> bool:
    """Whether each line begins where the one before ends."""
    spans = [(min(x for x, _ in one.points), max(x for x, _ in one.points)) for one in series if one.points]
    return len(spans) > 1 and all(before[1] <= after[0] for before, after in pairwise(spans))


def _frame(known: Sequence[tuple[float, float]], corner: tuple[float, float], *, top: float) -> _Frame:
    xs, ys = [x for x, _ in known], [y for _, y in known]
    low, high = min(ys), max(ys)
    if high <= low:
        low, high = low - (abs(low) * 0.1 or 0.5), high + (abs(high) * 0.1 or 0.5)
    pad = (high - low) * 0.06
    return _Frame(46, top, *corner, (min(xs), max(xs)), (low - pad, high + pad))


def _axes(frame: _Frame, x_label: str) -> str:
    parts: list[str] = []
    for value in ticks(*frame.y):
        y = frame.at(frame.x[0], value)[1]
        parts.append(f'<path class="grid" d="M{frame.left:g} {y:.1f}H{frame.right:.1f}"/>')
        parts.append(f'<text class="tick end" x="{frame.left - 6:g}" y="{y + 3.5:.1f}">{number(value)}</text>')
    for value in ticks(*frame.x):
        x = frame.at(value, frame.y[0])[0]
        parts.append(f'<text class="tick mid" x="{x:.1f}" y="{frame.bottom + 14:g}">{number(value)}</text>')
    parts.append(f'<path class="axis" d="M{frame.left:g} {frame.bottom:g}H{frame.right:.1f}"/>')
    middle = (frame.left + frame.right) / 2
    parts.append(f'<text class="tick mid" x="{middle:.1f}" y="{frame.bottom + 29:g}">{text(x_label)}</text>')
    return "".join(parts)


def _line(frame: _Frame, one: Series, i: int) -> str:
    path, parts, pen = list[str](), list[str](), "M"
    for x, y in one.points:
        if y is None or not math.isfinite(y):
            pen = "M"
            continue
        px, py = frame.at(x, y)
        path.append(f"{pen}{px:.1f} {py:.1f}")
        pen = "L"
        if one.marks:
            parts.append(f'<circle class="dot s{i % COLOURS + 1}" cx="{px:.1f}" cy="{py:.1f}" r="2.6"/>')
    dash = f" dash{i // COLOURS}" if i >= COLOURS else ""
    return f'<path class="line s{i % COLOURS + 1}{dash}" d="{"".join(path)}"/>' + "".join(parts)


def _names_above(frame: _Frame, series: Sequence[Series]) -> str:
    """Names over each line, with a rule where one ends and the next begins; in two rows where they would touch."""
    starts, edge = _starts(frame, series), frame.right + 2 * _GAP
    rows = 2 if _crowded(frame, series) else 1
    parts, filled = list[str](), [0.0] * rows
    for i, (one, begin) in enumerate(zip(series, starts, strict=True)):
        if i:
            parts.append(f'<path class="grid" d="M{begin:.1f} 8V{frame.bottom:g}"/>')
        row, x, end = i % rows, begin + _GAP, starts[i + rows] if i + rows < len(starts) else edge
        if i + rows >= len(starts):
            x = max(min(x, edge - len(one.name) * _LETTER), filled[row] + _GAP)
        shown = one.name[: max(0, int((end - x) / _LETTER))]
        filled[row] = x + len(shown) * _LETTER
        colour = f"name s{i % COLOURS + 1}"
        parts.append(f'<text class="{colour}" x="{x:.1f}" y="{14 + row * _ROW}">{text(shown)}</text>')
    return "".join(parts)


def _starts(frame: _Frame, series: Sequence[Series]) -> list[float]:
    return [frame.at(min(x for x, _ in one.points), 0)[0] for one in series]


def _crowded(frame: _Frame, series: Sequence[Series]) -> bool:
    """Whether a name over its own stretch would touch the next."""
    starts = _starts(frame, series)
    ends = [*starts[1:], frame.right + 2 * _GAP]
    return any(len(one.name) * _LETTER > end - x for one, x, end in zip(series, starts, ends, strict=True))


def _names_at_end(frame: _Frame, series: Sequence[Series]) -> str:
    """Names beside the last point of each line, pushed apart where they would touch."""
    ends: list[tuple[float, int, str]] = []
    for i, one in enumerate(series):
        last = [(x, y) for x, y in one.points if y is not None and math.isfinite(y)]
        if last:
            ends.append((frame.at(*last[-1])[1] + 3.5, i, one.name))
    placed, floor = list[tuple[float, int, str]](), -math.inf
    for y, i, name in sorted(ends):
        floor = max(y, floor + 12.5)
        placed.append((floor, i, name))
    over = max(0.0, placed[-1][0] - frame.bottom) if placed else 0.0
    return "".join(
        f'<text class="name s{i % COLOURS + 1}" x="{frame.right + 6:.1f}" y="{y - over:.1f}">{text(name[:20])}</text>'
        for y, i, name in placed
    )


def _in_words(one: Series) -> str:
    known = [y for _, y in one.points if y is not None and math.isfinite(y)]
    if not known:
        return f"{one.name}: {UNKNOWN}"
    return f"{one.name}: from {number(known[0])} to {number(known[-1])} over {len(known)} points"


def bar(value: float | None, *, longest: float, part: float | None = None) -> str:
    """A bar on a scale that a table's rows share; `part` of it is drawn darker (CPU time within wall time)."""
    width, height = 260.0, 14.0
    if value is None:
        return ""
    length = max(value / longest * width, 1.0) if longest > 0 else 1.0
    body = f'<rect class="bar" y="1" width="{length:.1f}" height="12" rx="1.5"/>'
    if part is not None and value > 0:
        body += f'<rect class="part" y="1" width="{length * min(part / value, 1.0):.1f}" height="12" rx="1.5"/>'
    return svg(width, height, f"{value:.1f} s", body)


def heat(
    rows: Sequence[str], columns: Sequence[str], cells: Sequence[Sequence[Cell]], *, title: str, by_column: bool = False
) -> str:
    """A table of values, the number in each cell; the chosen one of a row is framed.

    Shades go from the least to the most of a row, or of a column.
    """
    spans = [_span(row) for row in cells]
    if by_column:
        spans = [_span(column) for column in zip(*cells, strict=True)]
    left = max((len(line(name)) for name in rows), default=0) * 6.8 + 14
    wide, tall, body = 64.0, 26.0, list[str]()
    for j, name in enumerate(columns):
        body.append(f'<text class="tick mid" x="{left + (j + 0.5) * wide:.1f}" y="12">{text(name)}</text>')
    for i, name in enumerate(rows):
        y = 20 + i * tall
        body.append(f'<text class="tick end" x="{left - 8:.1f}" y="{y + 17:g}">{text(name)}</text>')
        for j, cell in enumerate(cells[i]):
            body.append(_cell(cell, left + j * wide, y, spans[j if by_column else i]))
    says = "; ".join(
        f"{name}: "
        + ", ".join(f"{c} {share(v.value)}{' chosen' * v.chosen}" for c, v in zip(columns, row, strict=True))
        for name, row in zip(rows, cells, strict=True)
    )
    return svg(left + len(columns) * wide + 4, 24 + len(rows) * tall, title, "".join(body), says=says)


def _span(cells: Iterable[Cell]) -> tuple[float, float]:
    known = [cell.value for cell in cells if cell.value is not None]
    return min(known, default=0.0), max(known, default=1.0)


def _cell(cell: Cell, x: float, y: float, span: tuple[float, float]) -> str:
    if cell.value is None:
        return f'<text class="tick mid" x="{x + 32:.1f}" y="{y + 17:g}">{DASH}</text>'
    depth = (cell.value - span[0]) / ((span[1] - span[0]) or 1.0)
    shade = 0.06 + 0.84 * depth
    ink = "onfill" if shade > 0.72 else "ink"
    frame = f'<rect class="chosen" x="{x + 2:.1f}" y="{y + 2:g}" width="59" height="21" rx="2"/>' if cell.chosen else ""
    hover = f"<title>{text(cell.title)}</title>" if cell.title else ""
    return (
        f'<g>{hover}<rect class="heat" fill-opacity="{shade:.2f}" x="{x:.1f}" y="{y:g}" width="63" height="25"/>{frame}'
        f'<text class="num mid {ink}" x="{x + 31.5:.1f}" y="{y + 17:g}">{share(cell.value)}</text></g>'
    )


def dot(
    value: float | None, low: float | None, high: float | None, *, span: tuple[float, float], bound: float | None = None
) -> str:
    """A value with its interval on a scale shared by a table's rows; `bound` is a line to be cleared."""
    width, height = 180.0, 16.0
    if value is None:
        return f'<span class="mute">{UNKNOWN}</span>'

    def at(number: float) -> float:
        return 4 + (min(max(number, span[0]), span[1]) - span[0]) / ((span[1] - span[0]) or 1.0) * (width - 8)

    body = f'<path class="grid" d="M4 8H{width - 4:g}"/>'
    if bound is not None:
        body += f'<path class="bound" d="M{at(bound):.1f} 1V15"/>'
    if low is not None and high is not None:
        body += f'<path class="whisker" d="M{at(low):.1f} 8H{at(high):.1f}"/>'
    body += f'<circle class="dot s1" cx="{at(value):.1f}" cy="8" r="3.6"/>'
    return svg(width, height, f"{share(value)}, 95 % interval {share(low)} to {share(high)}", body)
