"""The run as a drawing: stages as boxes, their nodes as lines in them, inputs as arrows from left to right.

The layout has few crossings and straight long edges. Layers are longest paths from the sources. An edge that spans
several layers passes through points of its own, so it never runs behind a box. Heights are settled by pooling adjacent
violators: each box as near to its neighbours as order allows.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean

from posttrain.reports.charts.plot import svg, text
from posttrain.reports.view import NodeView, View
from posttrain.reports.wording import DASH, line

Edge = tuple[str, str]
_SWEEPS = 12
_WIDE, _GAP, _HEAD, _ROW = 118.0, 22.0, 19.0, 15.0
_SHOWN = 8
"""Nodes of one stage that are drawn; the rest are counted."""
_POINT = 8.0
"""Height reserved for an edge that passes through a layer."""


@dataclass(frozen=True)
class Placed:
    """A layer number and a centre for every box, the points each edge passes, and the height of it all."""

    layer: Mapping[str, int]
    centre: Mapping[str, float]
    routes: Mapping[Edge, tuple[tuple[int, float], ...]]
    height: float

    @property
    def layers(self) -> int:
        """How many layers there are."""
        return max(self.layer.values(), default=-1) + 1


def layers(names: Sequence[str], edges: Iterable[Edge]) -> dict[str, int]:
    """Longest path from a source to each name; the edges form no cycle."""
    before: dict[str, list[str]] = {name: [] for name in names}
    for source, target in edges:
        before[target].append(source)
    found: dict[str, int] = {}

    def depth(name: str) -> int:
        if name not in found:
            found[name] = 1 + max((depth(other) for other in before[name]), default=-1)
        return found[name]

    return {name: depth(name) for name in names}


def essential(edges: Iterable[Edge]) -> tuple[Edge, ...]:
    """The edges that no longer path implies (transitive reduction), in their order."""
    given = tuple(dict.fromkeys(edges))
    after: dict[str, set[str]] = {}
    for source, target in given:
        after.setdefault(source, set()).add(target)
    reach: dict[str, set[str]] = {}

    def below(name: str) -> set[str]:
        if name not in reach:
            near = after.get(name, set())
            reach[name] = near.union(*(below(other) for other in near))
        return reach[name]

    return tuple((s, t) for s, t in given if not any(t in below(other) for other in after[s] if other != t))


def arrange(heights: Mapping[str, float], edges: Sequence[Edge], *, gap: float = 14) -> Placed:
    """Place boxes of the given heights."""
    layer = layers(tuple(heights), edges)
    tall, links, routes = dict(heights), list[Edge](), dict[Edge, tuple[str, ...]]()
    for source, target in edges:
        chain = [source]
        for depth in range(layer[source] + 1, layer[target]):
            point = f"{source}\0{target}\0{depth}"
            layer[point], tall[point] = depth, _POINT
            chain.append(point)
        chain.append(target)
        links += pairwise(chain)
        routes[source, target] = tuple(chain)
    rows = _ordered(layer, links)
    centre = _settled(rows, tall, links, gap)
    top = min((centre[name] - tall[name] / 2 for name in centre), default=0.0)
    centre = {name: y - top for name, y in centre.items()}
    return Placed(
        layer={name: layer[name] for name in heights},
        centre={name: centre[name] for name in heights},
        routes={edge: tuple((layer[name], centre[name]) for name in chain) for edge, chain in routes.items()},
        height=max((centre[name] + tall[name] / 2 for name in centre), default=0.0),
    )


def _neighbours(links: Iterable[Edge]) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    before: dict[str, list[str]] = {}
    after: dict[str, list[str]] = {}
    for source, target in links:
        before.setdefault(target, []).append(source)
        after.setdefault(source, []).append(target)
    return before, after


def _ordered(layer: Mapping[str, int], links: Sequence[Edge]) -> list[list[str]]:
    rows: list[list[str]] = [[] for _ in range(max(layer.values(), default=-1) + 1)]
    for name, depth in layer.items():
        rows[depth].append(name)
    before, after = _neighbours(links)
    for sweep in range(_SWEEPS):
        place = {name: i / max(len(row) - 1, 1) for row in rows for i, name in enumerate(row)}
        near = before if sweep % 2 == 0 else after
        for row in rows if sweep % 2 == 0 else reversed(rows):
            keys = {n: fmean(place[m] for m in near[n]) if near.get(n) else place[n] for n in row}
            row.sort(key=lambda name: keys[name])
            place.update({name: i / max(len(row) - 1, 1) for i, name in enumerate(row)})
    return rows


def _settled(rows: list[list[str]], tall: Mapping[str, float], links: Sequence[Edge], gap: float) -> dict[str, float]:
    before, after = _neighbours(links)
    centre = dict.fromkeys(tall, 0.0)
    for row in rows:
        centre.update(zip(row, _spread([0.0] * len(row), [tall[name] for name in row], gap), strict=True))
    for sweep in range(_SWEEPS):
        for row in rows if sweep % 2 == 0 else list(reversed(rows)):
            near = {n: before.get(n, []) + after.get(n, []) for n in row}
            wished = [fmean(centre[m] for m in near[n]) if near[n] else centre[n] for n in row]
            centre.update(zip(row, _spread(wished, [tall[name] for name in row], gap), strict=True))
    return centre


def _spread(wished: Sequence[float], tall: Sequence[float], gap: float) -> list[float]:
    """Centres nearest to the wished ones (least squares) that keep order and distance."""
    offsets = [0.0]
    for above, here in pairwise(tall):
        offsets.append(offsets[-1] + above / 2 + gap + here / 2)
    blocks: list[list[float]] = []
    for wish, offset in zip(wished, offsets, strict=False):
        blocks.append([wish - offset])
        while len(blocks) > 1 and fmean(blocks[-2]) > fmean(blocks[-1]):
            last = blocks.pop()
            blocks[-1] += last
    flat = [fmean(block) for block in blocks for _ in block]
    return [value + offset for value, offset in zip(flat, offsets, strict=False)]


def draw(view: View) -> str:
    """The graph of a run. Arrows that other arrows imply are left out; every input stands in the table of sources."""
    members = {stage: view.members(stage) for stage in view.stages}
    heights = {stage: _HEAD + _ROW * min(len(nodes), _SHOWN + 1) + 5 for stage, nodes in members.items()}
    edges = essential(edge for edge in view.edges if edge[0] in members and edge[1] in members)
    placed = arrange(heights, edges)
    left = {stage: placed.layer[stage] * (_WIDE + _GAP) for stage in members}
    body = [_arrow(placed.routes[edge]) for edge in edges]
    for stage, nodes in members.items():
        body.append(_box(view, stage, nodes, left[stage], placed.centre[stage] - heights[stage] / 2))
    width = max(placed.layers * (_WIDE + _GAP) - _GAP, 200)
    says = "; ".join(f"{s} reads {', '.join(a for a, b in view.edges if b == s)}" for s in members if s in placed.layer)
    return svg(width + 2, placed.height + 2, f"The graph of {view.name}", "".join(body), says=says)


def _arrow(route: Sequence[tuple[int, float]]) -> str:
    """A smooth line through the points of a route, level at each."""
    points = [(depth * (_WIDE + _GAP), y) for depth, y in route]
    path = f"M{points[0][0] + _WIDE:.1f} {points[0][1]:.1f}"
    for (x0, y0), (x1, y1) in pairwise(points):
        start, half = x0 + _WIDE, (_GAP) * 0.5
        path += f"C{start + half:.1f} {y0:.1f} {x1 - half:.1f} {y1:.1f} {x1:.1f} {y1:.1f}"
        path += f"H{x1 + _WIDE:.1f}" if (x1, y1) != points[-1] else ""
    x, y = points[-1]
    return f'<path class="edge" d="{path}"/><path class="tip" d="M{x:.1f} {y:.1f}l-5 -3v6z"/>'


def _box(view: View, stage: str, nodes: Sequence[NodeView], x: float, y: float) -> str:
    shown = nodes if len(nodes) <= _SHOWN + 1 else nodes[:_SHOWN]
    tall = _HEAD + _ROW * min(len(nodes), _SHOWN + 1) + 5
    body = f'<rect class="box" x="{x + 0.5:.1f}" y="{y + 0.5:.1f}" width="{_WIDE - 1:g}" height="{tall - 1:g}" rx="4"/>'
    body += f'<text class="stage" x="{x + 7:.1f}" y="{y + 14:.1f}">{text(stage)}</text>'
    for i, node in enumerate(shown):
        body += _member(view, node, x, y + _HEAD + i * _ROW)
    if len(shown) < len(nodes):
        body += f'<text class="tick" x="{x + 7:.1f}" y="{y + tall - 7:.1f}">and {len(nodes) - len(shown)} more</text>'
    return f"<g>{body}</g>"


def _member(view: View, node: NodeView, x: float, y: float) -> str:
    mark = verdict_of(view, node)
    name = line(node.member or node.kind)
    room = int((_WIDE - 28 - 5.4 * len(node.state)) / 5.7)
    shown = name if len(name) <= room else f"{name[: room - 1]}…"
    said = f"{node.id} ({node.kind}): {node.state}; gates: {mark}. {' '.join(node.reasons)} {node.failure}"
    return (
        f"<g><title>{text(said)}</title>"
        f'<rect class="hit" x="{x + 2:.1f}" y="{y:.1f}" width="{_WIDE - 4:g}" height="{_ROW:g}"/>'
        f'<text class="mark {mark}" x="{x + 7:.1f}" y="{y + 11:.1f}">{MARKS[mark]}</text>'
        f'<text class="tick" x="{x + 19:.1f}" y="{y + 11:.1f}">{text(shown)}</text>'
        f'<text class="state {node.state} end" x="{x + _WIDE - 7:.1f}" y="{y + 11:.1f}">{node.state}</text></g>'
    )


MARKS: Mapping[str, str] = {"pass": "✓", "fail": "✕", "inconclusive": "?", "not_run": DASH, "waived": "~", "none": "·"}
"""One sign for each verdict, so that colour is never alone."""


def verdict_of(view: View, node: NodeView) -> str:
    """The worst verdict of a node's stop gates, or that one is waived; `none` where it has none."""
    stops = [verdict for verdict in view.judged(node.id) if verdict.severity == "stop"]
    values = {"waived" if verdict.waived else verdict.value for verdict in stops}
    return next((value for value in ("fail", "inconclusive", "not_run", "waived", "pass") if value in values), "none")
