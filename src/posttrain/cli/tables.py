"""Runs and scores as text: columns that line up, nothing that only a terminal shows."""

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from posttrain.reports import wording
from posttrain.reports.learning import Learning, learning
from posttrain.reports.story import facts, headline, outcome, programs, rejudged, rests_on, said, unsettled, why
from posttrain.reports.view import Beat, NodeView, View
from posttrain.spec.errors import BudgetReached, Stop
from posttrain.spec.gate import Metric, Verdict

if TYPE_CHECKING:
    from posttrain.engine.run import Failure, Finished


LONG_QUIET = 30.0
"""Seconds of quiet from which a running node's is shown."""


def columns(rows: Iterable[Sequence[str]], *, right: Iterable[int] = (), indent: str = "  ") -> str:
    """Rows as aligned columns; those in `right` end flush, the last is not padded."""
    cells = [tuple(wording.visible(cell).replace("\n", " ").replace("\t", " ") for cell in row) for row in rows]
    widths = [max((len(row[i]) for row in cells), default=0) for i in range(max(map(len, cells), default=0))]
    flush = set(right)
    lines = [
        indent + "  ".join(cell.rjust(widths[i]) if i in flush else cell.ljust(widths[i]) for i, cell in enumerate(row))
        for row in cells
    ]
    return "\n".join(line.rstrip() for line in lines)


def status(view: View) -> str:
    """A run: how it ended, every node with state, time and gates, then what has not passed."""
    parts = [_ending(view), columns(_node_rows(view), right=(2,))]
    failed = [node for node in view.nodes.values() if node.failure or node.state in ("failed", "blocked")]
    if failed:
        parts.append(columns([(node.id, node.failure or "; ".join(node.reasons)) for node in failed]))
    standing = unsettled(view.verdicts)
    if standing:
        parts.append("Gates that have not passed:\n" + columns(verdict_rows(standing)))
    wall = view.total("wall_s")
    if wall is not None:
        told = (outcome(view).gates, rejudged(view), f"Nodes took {wording.seconds(wall)} together.")
        parts.append(" ".join(part for part in told if part))
    return "\n\n".join(parts)


def _ending(view: View) -> str:
    told = outcome(view)
    known = dict(facts(view))
    return (
        f"{wording.line(view.name)} in {view.folder}: profiles {known['Profiles']}, seed {known['Seed']}\n"
        f"{told.title}: {told.says} Started {known['Started']}, took {known['Took']}."
        + "".join(f"\n{line}" for line in sandboxed(view))
        + (f"\nLedger: {view.unread}." if view.unread else "")
    )


def sandboxed(view: View) -> list[str]:
    """At which level programs of models ran, said aloud where it is less than the default: a line, or none."""
    ran = programs(view)
    if ran is None:
        return []
    return [f"Not the default sandbox: {ran.says}" if ran.lowered else ran.says]


def _node_rows(view: View) -> Iterable[tuple[str, ...]]:
    yield ("node", "state", "time", "gates")
    for node in view.nodes.values():
        yield node.id, node.state, _time(node), _gates(view, node)


def _time(node: NodeView) -> str:
    if node.progress or node.beat:
        return ", ".join(part for part in (node.progress, _alive(node.beat)) if part)
    wall = node.took("wall_s")
    return "" if wall is None else wording.seconds(wall)


def _alive(beat: Beat | None) -> str:
    """`alive 3 s ago, 1.2 GiB`, and how long it has been quiet where that is long."""
    if beat is None:
        return ""
    quiet = f", quiet for {_whole(beat.quiet_s)}" if beat.quiet_s >= LONG_QUIET else ""
    return f"alive {_whole(max(0.0, time.time() - beat.t))} ago, {wording.size(beat.memory)}{quiet}"


def _whole(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 60 else wording.seconds(seconds)


def _gates(view: View, node: NodeView) -> str:
    judged = view.judged(node.id)
    passed = [verdict.gate for verdict in judged if verdict.value == "pass"]
    others = [f"{verdict.gate}: {said(verdict)}" for verdict in judged if verdict.value != "pass"]
    return ", ".join([*others, *([f"pass: {' '.join(passed)}"] if passed else [])])


def verdict_rows(verdicts: Iterable[Verdict]) -> list[tuple[str, ...]]:
    """Verdicts as rows: value, gate, node, condition, reason."""
    return [(said(v), v.gate, v.node, f"{v.metric} {wording.condition(v.condition)}", why(v)) for v in verdicts]


def learned(table: Learning) -> str:
    """The learning table: Pass@1 and Pass@K of every model with 95 % intervals, then the judged differences."""
    if not table.known:
        return ""
    head = ["model", *(cell for k in table.ks for cell in (f"Pass@{k}", "95 %")), "problems"]
    rows = [[_label(row.label, own=row.own), *_scores(table, row.scores)] for row in table.rows if row.scores]
    parts = [columns([head, *rows], right=range(1, len(head)))]
    compared = [one for one in table.comparisons if one.gain is not None]
    if compared:
        head = ["difference", "metric", "gain", "95 %", "condition", "verdict"]
        gains = [
            (
                one.label,
                one.of,
                *_figure(one.gain, sign=True),
                "; ".join(wording.condition(v.condition) for v in one.verdicts),
                "; ".join(said(v) for v in one.verdicts) or "not judged",
            )
            for one in compared
        ]
        parts.append(columns([head, *gains], right=(2, 3)))
    return "\n\n".join(parts)


def _label(label: str, *, own: bool) -> str:
    return f"{label}, each on its own domain" if own else label


def _scores(table: Learning, scores: Any) -> list[str]:
    n = next((metric.n for metric in scores.values()), None)
    return [cell for k in table.ks for cell in _figure(scores.get(k))] + [wording.count(n) if n else ""]


def _figure(metric: Metric | None, *, sign: bool = False) -> tuple[str, str]:
    if metric is None or metric.value is None:
        return (metric.reason or "") if metric else wording.UNKNOWN, ""
    value = wording.signed(metric.value) if sign else wording.share(metric.value)
    return value, wording.interval(metric.low, metric.high, sign=sign)


def ended(view: View, finished: "Finished", page: Path) -> str:
    """The end of a run: failures with log and resume command, the learning table, gates, where the report lies."""
    told = outcome(view)
    parts = [learned(learning(view))]
    standing = unsettled(finished.verdicts)
    if standing:
        parts.append("Gates that have not passed:\n" + columns(verdict_rows(standing)))
    parts += [_failed(failure) for failure in finished.failures if failure.node]
    parts += [f.error.paragraph() for f in finished.failures if isinstance(f.error, BudgetReached) and not f.node]
    changed = [f"{s.key} = {s.value} ({s.origin})" for s in view.settings if not s.origin.startswith("profile")]
    known = dict(facts(view))
    parts.append(
        "\n".join(
            [
                f"{wording.line(view.name)}: profiles {known['Profiles']}, seed {known['Seed']}",
                *([f"Set beside the profiles: {wording.line('; '.join(changed))}"] if changed else []),
                f"{told.title}: {told.says} {headline(learning(view))}".strip(),
                f"{told.gates} It took {wording.seconds(finished.wall_s)}.",
                *sandboxed(view),
                *([f"Go on: {finished.resume}"] if finished.failures else []),
                *resting(finished.code, finished.verdicts),
                f"Report: {page}",
            ]
        )
    )
    return "\n\n".join(part for part in parts if part)


def resting(code: int, verdicts: Iterable[Verdict]) -> list[str]:
    """That a pass rests on waivers, and on which: a line, or none."""
    waived = rests_on(verdicts) if code == 0 else ""
    return [wording.line(f"Exit code 0 {waived}")] if waived else []


def _failed(failure: "Failure") -> str:
    """A failure in one line, and where its log lies."""
    error = failure.error
    where = "" if error.where == failure.node else error.where
    cause = Stop(error.what, where=where, remedy=error.remedy).paragraph()
    return f"{failure.node} failed: {wording.visible(cause)}\n  log: {failure.log}"
