"""The report of a run as Markdown: the same records and words as the page, without drawings."""

import re
from collections.abc import Iterable, Sequence

from posttrain.reports import wording
from posttrain.reports.charts.curves import Chart, charts, findings
from posttrain.reports.evidence import Answered, Sample, graded, probes, shown_samples
from posttrain.reports.learning import Learning, Row, learning
from posttrain.reports.story import (
    evidence,
    facts,
    headline,
    outcome,
    programs,
    rejudged,
    remarks,
    said,
    times,
    timing,
    why,
)
from posttrain.reports.view import View
from posttrain.spec.gate import Metric, Verdict

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>&#|~])")


def document(view: View) -> str:
    """The whole report."""
    table, told = learning(view), outcome(view)
    parts = [
        f"# {escape(view.name)}: {told.title.lower()}",
        escape(f"{told.says} {headline(table)}"),
        _lowered(view),
        table_of(("", ""), [(name, escape(value)) for name, value in facts(view)]),
        "## What was learned",
        learning_table(table),
        _gains(table),
        _graded(view, table),
        "## Gates",
        escape(told.gates),
        escape(rejudged(view)),
        _gates(view.verdicts),
        "## Nodes",
        _nodes(view),
        "## Training",
        _training(view),
        "## Probing",
        _probing(view),
        _samples(view, table),
        "## Time and memory",
        escape(timing(view)),
        _times(view),
        "## Remarks and fallbacks",
        _remarks(view),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _lowered(view: View) -> str:
    """That programs ran in less than the default sandbox, or not at all; empty where they ran as they should."""
    ran = programs(view)
    return f"**Not the default sandbox.** {escape(ran.says)}" if ran and ran.lowered else ""


def escape(value: str) -> str:
    """Text of any origin inside Markdown: on one line, nothing in it is markup."""
    return _SPECIAL.sub(r"\\\1", wording.line(value))


def fenced(value: str) -> str:
    """Text of any origin as a block that nothing in it can close."""
    shown = wording.visible(value)
    longest = max((len(run) for run in re.findall(r"`+", shown)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{shown}\n{fence}"


def table_of(head: Sequence[str], rows: Iterable[Sequence[str]], *, right: Iterable[int] = ()) -> str:
    """A table; cells are Markdown already. Columns in `right` are aligned right."""
    aligned = set(right)
    rule = ["---:" if i in aligned else "---" for i in range(len(head))]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, rule, *rows))


def learning_table(table: Learning) -> str:
    """What each model scores, as README shows it."""
    if not table.known:
        return "Not measured: no exam has finished."
    head = ("model", *(f"Pass@{k} [95 %]" for k in table.ks), "problems")
    return table_of(head, [_scored(table, row) for row in table.rows], right=range(1, len(head)))


def _scored(table: Learning, row: Row) -> tuple[str, ...]:
    label = escape(f"{row.label} (each on its own domain)" if row.own else row.label)
    n = next((m.n for m in row.scores.values()), None)
    return (label, *(_figure(row.scores.get(k)) for k in table.ks), wording.count(n) if n else "")


def _figure(metric: Metric | None, *, sign: bool = False) -> str:
    if metric is None or metric.value is None:
        return escape(metric.reason or "") if metric else wording.UNKNOWN
    value = wording.signed(metric.value) if sign else wording.share(metric.value)
    return f"{value} {wording.interval(metric.low, metric.high, sign=sign)}".strip()


def _gains(table: Learning) -> str:
    if not table.comparisons:
        return ""
    rows = [
        (
            escape(one.label),
            escape(one.of),
            _figure(one.gain, sign=True),
            escape("; ".join(wording.condition(v.condition) for v in one.verdicts)),
            "; ".join(said(v) for v in one.verdicts) or "not judged",
        )
        for one in table.comparisons
    ]
    return table_of(("comparison", "metric", "gain [95 %]", "condition", "verdict"), rows, right=(2,))


def _graded(view: View, table: Learning) -> str:
    found, signs = graded(view, table)
    parts = ["### How answers were graded"] * bool(found)
    for one in found:
        head = (one.domain, *one.outcomes, "not decided")
        rows = [
            (label, *(wording.count(counted.get(name, 0)) for name in one.outcomes), str(one.undecided[label]))
            for label, counted in one.rows
        ]
        cells = [[escape(cell) for cell in row] for row in rows]
        parts.append(table_of([escape(name) for name in head], cells, right=range(1, len(head))))
    if signs:
        right = (wording.DASH if sign.right is None else wording.count(sign.right) for sign in signs)
        told = [
            (escape(sign.where), escape(sign.name), wording.count(sign.programs), of)
            for sign, of in zip(signs, right, strict=True)
        ]
        parts.append("### Signs in programs")
        parts.append(table_of(("where", "sign", "programs", "graded right"), told, right=(2, 3)))
    return "\n\n".join(parts)


def _gates(verdicts: Sequence[Verdict]) -> str:
    if not verdicts:
        return ""
    ordered = sorted(verdicts, key=lambda verdict: verdict.value == "pass")
    rows = [
        (
            said(v),
            escape(v.gate),
            escape(v.node),
            escape(f"{v.metric} {wording.condition(v.condition)}"),
            escape(evidence(v.evidence)),
            escape(why(v)),
        )
        for v in ordered
    ]
    return table_of(("verdict", "gate", "node", "condition", "evidence", "why"), rows)


def _nodes(view: View) -> str:
    rows = [
        (
            escape(node.id),
            escape(node.kind),
            node.state,
            escape(node.failure or "; ".join(node.ran_because or node.reasons)),
            wording.short(node.manifest.fingerprint) if node.manifest else "",
            escape(", ".join(f"{source.role}: {source.node}" for source in node.sources)),
        )
        for node in view.nodes.values()
    ]
    return table_of(("node", "kind", "state", "why", "fingerprint", "inputs"), rows)


def _training(view: View) -> str:
    faults = [f"- **{escape(found.node)}**: {escape(found.text)}" for found in findings(view)]
    drawn = [row for chart in charts(view) if chart.first for row in _ends(chart)]
    if not drawn:
        return "\n".join([*faults, "Not measured: no stage emitted steps."])
    table = table_of(("kind", "metric", "node", "first", "last", "steps"), drawn, right=(3, 4, 5))
    return "\n\n".join(part for part in ("\n".join(faults), table) if part)


def _ends(chart: Chart) -> Iterable[tuple[str, ...]]:
    for one in chart.series:
        known = [y for _, y in one.points if y is not None]
        first, last = (wording.number(known[0]), wording.number(known[-1])) if known else (wording.UNKNOWN,) * 2
        reached = wording.number(one.points[-1][0])
        yield escape(chart.kind), escape(chart.metric), escape(one.name), first, last, reached


def _probing(view: View) -> str:
    rows: list[tuple[str, ...]] = []
    for probe in probes(view):
        chosen = next((str(t.step) for t in probe.tried if t.chosen), wording.UNKNOWN)
        scores = "; ".join(f"{t.step}: {wording.share(t.scores.get(probe.by))}" for t in probe.tried)
        rows.append((escape(probe.node), chosen, escape(probe.by), scores, escape(probe.reason or probe.lead)))
    if not rows:
        return "This run has no probe."
    return table_of(("probe", "chosen step", "by", "step: score", "why"), rows)


def _samples(view: View, table: Learning) -> str:
    before, after, found = shown_samples(view, table)
    head = f"## Samples: {escape(before)} and {escape(after)}"
    if not found.shown:
        return f"{head}\n\n{escape(found.reason) or 'Not measured: the run has no two exams to hold side by side.'}"
    note = "Not picked by anybody: the first problems of each domain by id, the first sample of each model."
    return "\n\n".join([head, note, *(_sample(one, before, after) for one in found.shown)])


def _sample(one: Sample, before: str, after: str) -> str:
    parts = [f"### {escape(one.domain)}, gold {escape(one.gold)}", fenced(one.prompt)]
    for label, given in ((before, one.before), (after, one.after)):
        parts.append(_answer(label, given))
    return "\n\n".join(parts)


def _answer(label: str, given: Answered | None) -> str:
    if given is None:
        return f"{escape(label)}: {wording.UNKNOWN}"
    said = f"{escape(label)}: {escape(given.outcome)}, {given.right} of {given.samples} right, {given.tokens} tokens"
    return f"{said}\n\n{fenced(given.text)}"


def _times(view: View) -> str:
    rows = [
        (
            escape(one.stage),
            str(one.nodes),
            wording.seconds(one.wall),
            wording.seconds(one.cpu),
            wording.DASH if one.tokens is None else wording.count(int(one.tokens)),
            wording.DASH if one.rate is None else wording.count(int(one.rate)),
            wording.size(one.memory),
        )
        for one in times(view)
    ]
    head = ("stage", "nodes", "wall", "CPU", "tokens", "tokens/s", "peak memory")
    return table_of(head, rows, right=range(1, len(head))) if rows else ""


def _remarks(view: View) -> str:
    rows = [(escape(node), escape(r.kind), wording.count(r.count), escape(r.text)) for node, r in remarks(view)]
    return table_of(("node", "kind", "count", "remark"), rows, right=(2,)) if rows else "None on record."
