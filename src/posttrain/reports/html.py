"""The report of a run as one self-contained page: no script, no outside resource, every text escaped."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from posttrain.reports import wording
from posttrain.reports.charts import curves, plot
from posttrain.reports.charts.curves import Chart
from posttrain.reports.charts.graph import MARKS, draw
from posttrain.reports.evidence import PER_DOMAIN, SIGNS, ProbeView, graded, probes, shown_samples
from posttrain.reports.learning import Learning, Row, learning, matrix
from posttrain.reports.story import (
    VERDICT_WORDS,
    StageTime,
    evidence,
    facts,
    headline,
    outcome,
    programs,
    rejudged,
    remarks,
    times,
    timing,
    unsettled,
    why,
)
from posttrain.reports.view import View

_HERE = Path(__file__).parent
_UNDONE = ("failed", "blocked", "running")


def page(view: View) -> str:
    """The whole page."""
    table = learning(view)
    before, after, found = shown_samples(view, table)
    tried = probes(view)
    breakdowns, signs = graded(view, table)
    open_gates = unsettled(view.verdicts)
    context: dict[str, Any] = {
        "view": view,
        "css": Markup((_HERE / "page.css").read_text("utf-8")),  # noqa: S704 (our own file)
        "outcome": outcome(view),
        "facts": facts(view),
        "learning": table,
        "dots": _dots(table),
        "matrix": _matrix(view),
        "breakdowns": breakdowns,
        "signs": [(sign, SIGNS.get(sign.name, "")) for sign in signs],
        "programs": programs(view),
        "open": open_gates,
        "passed": [verdict for verdict in view.verdicts if verdict.value == "pass"],
        "not_run": [v for v in view.verdicts if v.value == "not_run" and v not in open_gates],
        "rejudged": rejudged(view),
        "graph": _drawn(draw(view)),
        "failed": [node for node in view.nodes.values() if node.state in _UNDONE or node.failure],
        "findings": curves.findings(view),
        "curves": _curves(curves.charts(view)),
        "probes": tried,
        "maps": _maps(tried),
        "samples": {"before_label": before, "after_label": after, "found": found},
        "per_domain": PER_DOMAIN,
        "headline": headline(table),
        "timing": timing(view),
        "times": _times(times(view)),
        "remarks": remarks(view),
    }
    return _environment().get_template("page.html.jinja").render(context)


def _environment() -> Environment:
    """Jinja that escapes everything, and makes what would act in a text visible."""
    made = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, finalize=_finalize, undefined=StrictUndefined, trim_blocks=True
    )
    words: dict[str, Any] = {
        "marks": MARKS,
        "words": VERDICT_WORDS,
        "unknown": wording.UNKNOWN,
        "share": wording.share,
        "signed": wording.signed,
        "interval": wording.interval,
        "count": wording.count,
        "condition": wording.condition,
        "seconds": wording.seconds,
        "short": wording.short,
        "size": wording.size,
        "evidence": evidence,
        "why": why,
        "problems": _problems,
    }
    cast(dict[str, Any], made.globals).update(words)  # pyright: ignore[reportUnknownMemberType]
    return made


def _finalize(value: object) -> object:
    if isinstance(value, Markup):
        return value
    return wording.visible(value) if isinstance(value, str) else value


def _drawn(drawing: str) -> Markup:
    """A drawing of ours as markup; `charts` has escaped every text in it."""
    return Markup(drawing)  # noqa: S704


def _problems(row: Row) -> str:
    first = next(iter(row.scores.values()), None)
    return wording.count(first.n) if first else ""


def _dots(table: Learning) -> Mapping[Any, Markup]:
    """The interval drawing of each score and each gain, on scales that a column shares."""
    found: dict[Any, Markup] = {}
    for k in table.ks:
        known = [row.scores[k] for row in table.rows if k in row.scores]
        span = (0.0, max([m.high or m.value or 0.0 for m in known], default=1.0) * 1.05)
        for row in table.rows:
            m = row.scores.get(k)
            found[row.exam, k] = _drawn(plot.dot(m.value, m.low, m.high, span=span)) if m else Markup("")
    ends = [end for one in table.comparisons if one.gain for end in (one.gain.low, one.gain.high) if end is not None]
    reach = max((abs(end) for end in ends), default=0.0) or 0.1
    for one in table.comparisons:
        m = one.gain
        drawn = plot.dot(m.value, m.low, m.high, span=(-reach, reach), bound=one.bound) if m else ""
        found[one.node] = _drawn(drawn)
    return found


def _matrix(view: View) -> Markup | None:
    rows = [(name, scores) for name, scores in matrix(view, 1) if scores]
    domains = list(dict.fromkeys(domain for _, scores in rows for domain in scores))
    if len(rows) < 2 or not domains:
        return None
    cells = [
        [plot.Cell(scores[d].value if d in scores else None, chosen=name.endswith(f"/{d}")) for d in domains]
        for name, scores in rows
    ]
    return _drawn(
        plot.heat([name for name, _ in rows], domains, cells, title="Pass@1 by model and domain", by_column=True)
    )


@dataclass(frozen=True)
class _Curves:
    """Figures that matter most, and the rest."""

    first: tuple[Markup, ...]
    rest: tuple[Markup, ...]


def _curves(found: Sequence[Chart]) -> _Curves:
    drawn = [(chart.first, _figure(chart)) for chart in found]
    return _Curves(tuple(f for first, f in drawn if first), tuple(f for first, f in drawn if not first))


def _times(found: Sequence[StageTime]) -> list[tuple[StageTime, Markup]]:
    longest = max((one.wall for one in found if one.wall is not None), default=0.0)
    return [(one, _drawn(plot.bar(one.wall, longest=longest, part=one.cpu))) for one in found]


def _figure(chart: Chart) -> Markup:
    title = f"{chart.kind}: {chart.metric}"
    drawing = plot.lines(chart.series, title=title, x_label="step")
    mean = f", means of {chart.stretch} steps" if chart.stretch > 1 else ""
    return Markup("<figure><figcaption><b>{} {}</b>{}</figcaption>{}</figure>").format(
        wording.line(chart.kind), wording.line(chart.metric), mean, _drawn(drawing)
    )


def _maps(tried: Sequence[ProbeView]) -> list[Mapping[str, Any]]:
    """A heat map for each Pass@K that the probes recorded."""
    known = [probe for probe in tried if probe.tried]
    names = dict.fromkeys(name for probe in known for t in probe.tried for name in t.scores if name.startswith("pass@"))
    steps = sorted({t.step for probe in known for t in probe.tried})
    found: list[Mapping[str, Any]] = []
    for name in names:
        cells = [[_tried_cell(probe, step, name) for step in steps] for probe in known]
        labels = [probe.domain for probe in known]
        title = name.capitalize()
        drawing = plot.heat(labels, [str(step) for step in steps], cells, title=f"{title} by domain and checkpoint")
        found.append({"title": title, "drawing": _drawn(drawing)})
    return found


def _tried_cell(probe: ProbeView, step: int, name: str) -> plot.Cell:
    one = next((t for t in probe.tried if t.step == step), None)
    return plot.Cell(one.scores.get(name) if one else None, chosen=one is not None and one.chosen)
