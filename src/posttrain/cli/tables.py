"""Plans, runs and scores as text: columns that line up, nothing that only a terminal shows."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from posttrain.reports import wording
from posttrain.reports.learning import Learning, learning
from posttrain.reports.story import VERDICT_WORDS, facts, headline, outcome, unsettled
from posttrain.reports.view import NodeView, View
from posttrain.spec.errors import EXIT_ORDER
from posttrain.spec.gate import Metric, Verdict

if TYPE_CHECKING:
    from posttrain.api import Checked, Planned
    from posttrain.engine.expand import Node
    from posttrain.engine.plan import Decision, Plan
    from posttrain.engine.run import Finished
    from posttrain.spec.recipe import Recipe


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


def _title(recipe: "Recipe") -> str:
    profiles = " + ".join(recipe.profiles) or "none"
    return f"{recipe.name}: profiles {profiles}, seed {recipe.seed}"


def checked(found: "Checked") -> str:
    """That a recipe holds, and what is in it."""
    graph = found.graph
    stages = len({node.stage for node in graph.nodes.values()})
    said = [
        f"{_title(found.recipe)}: sound.",
        f"{wording.counted(stages, 'stage')}, {wording.counted(len(graph.nodes), 'node')}.",
    ]
    return "\n".join([" ".join(said), *_off_and_unused(graph.off, found.recipe.unused)])


def checked_plain(found: "Checked") -> dict[str, Any]:
    """The same for machines."""
    recipe, graph = found.recipe, found.graph
    return {
        "sound": True,
        "name": recipe.name,
        "nodes": list(graph.nodes),
        "off": list(graph.off),
        "unused": list(recipe.unused),
        "recipe": dict(recipe.resolved),
    }


def _off_and_unused(off: Iterable[str], unused: Iterable[str]) -> list[str]:
    said = [f"Off: {', '.join(off)}."] if off else []
    return said + ([f"Set, but of a stage that is off: {', '.join(unused)}."] if unused else [])


def planned(found: "Planned") -> str:
    """A plan: every node with decision, reason and cost; then what the numbers can tell; then the sums."""
    plan, recipe = found.plan, found.recipe
    head = ("node", "decision", "steps", "time", "memory", "reads", "why")
    rows = [_planned_row(found, group) for group in _alike(found)]
    parts = [f"{_title(recipe)}, in {found.folder}", columns([head, *rows], right=(2, 3, 4))]
    remarks = [(_stage_label(group), text) for group in _alike(found) for text in _remarks(group)]
    if remarks:
        parts.append("Expected:\n" + columns(dict.fromkeys(remarks)))
    standing = unsettled(plan.verdicts)
    if standing:
        parts.append("Gates of what is kept that have not passed:\n" + columns(_verdict_rows(standing)))
    parts.append("\n".join([_sums(plan), *_off_and_unused(plan.off, recipe.unused)]))
    return "\n\n".join(parts)


def _alike(found: "Planned") -> list[list["Decision"]]:
    """Members of one stage that are decided alike, together."""
    groups: dict[tuple[Any, ...], list[Decision]] = {}
    for decision in found.plan.decisions.values():
        key = (decision.stage, decision.action, _why(decision), decision.estimate.remarks)
        groups.setdefault(key, []).append(decision)
    return list(groups.values())


def _why(decision: "Decision") -> str:
    """The reasons, with other nodes' members of the same name left open."""
    _, _, member = decision.node.partition("/")
    text = "; ".join(decision.reasons)
    return text.replace(f"/{member}", "/*") if member else text


def _remarks(group: Sequence["Decision"]) -> tuple[str, ...]:
    return group[0].estimate.remarks


def _stage_label(group: Sequence["Decision"]) -> str:
    first = group[0]
    return first.node if len(group) == 1 else f"{first.stage}/* ({len(group)})"


def _planned_row(found: "Planned", group: Sequence["Decision"]) -> tuple[str, ...]:
    first = group[0]
    node = found.graph.nodes[first.node]
    steps = getattr(node.knobs, "steps", None)
    seconds = [one.estimate.seconds for one in group if one.estimate.seconds is not None]
    memory = [one.estimate.memory for one in group if one.estimate.memory is not None]
    unknown = "" if first.action in ("keep", "blocked") else "?"
    return (
        _stage_label(group),
        first.action,
        wording.count(steps) if isinstance(steps, int) else "",
        wording.seconds(sum(seconds)) if len(seconds) == len(group) else unknown,
        wording.size(max(memory)) if memory else unknown,
        ", ".join(_reads(node)),
        _why(first),
    )


def _reads(node: "Node") -> list[str]:
    """The stages and folders that a node reads."""
    given = [source for sources in node.inputs.values() for source in sources]
    return list(dict.fromkeys(s.node.partition("/")[0] if s.node else str(s.path) for s in given))


def _sums(plan: "Plan") -> str:
    """How much there is to do."""
    actions = [decision.action for decision in plan.decisions.values()]
    said = ", ".join(
        f"{actions.count(action)} {action}" for action in ("run", "maybe", "keep", "blocked") if action in actions
    )
    if plan.idle:
        return f"{wording.counted(len(actions), 'node')}: nothing to do, all are kept."
    total = plan.total
    cost = [f"{wording.seconds(total.seconds)} one after another"] if total.seconds is not None else []
    cost += [f"{wording.count(total.tokens)} tokens"] if total.tokens is not None else []
    cost += [f"{wording.size(total.memory)} memory"] if total.memory is not None else []
    cost += [f"{wording.size(total.disk)} disk"] if total.disk is not None else []
    unknown = f" The time of {wording.counted(len(plan.unknown), 'node')} (?) is not known." if plan.unknown else ""
    expected = f" Expected: {', '.join(cost)}." if cost else ""
    return f"{wording.counted(len(actions), 'node')}: {said}.{expected}{unknown}"


def plan_code(plan: "Plan") -> int:
    """The exit code of a plan: what a blocked node leads to by itself, else 0."""
    codes = {decision.code for decision in plan.decisions.values()}
    return next((code for code in EXIT_ORDER if code in codes), 0)


def planned_plain(found: "Planned") -> dict[str, Any]:
    """A plan for machines: the resolved recipe with the origin of every key, and every decision."""
    plan, nodes = found.plan, found.graph.nodes
    return {
        "run": str(found.folder),
        "recipe": dict(found.recipe.resolved),
        "decisions": [_decision_plain(decision, nodes[decision.node]) for decision in plan.decisions.values()],
        "verdicts": [asdict(verdict) for verdict in plan.verdicts],
        "off": list(plan.off),
        "unused": list(found.recipe.unused),
        "total": _estimate_plain(plan.total),
        "unknown": list(plan.unknown),
        "code": plan_code(plan),
    }


def _decision_plain(decision: "Decision", node: "Node") -> dict[str, Any]:
    inputs = {role: [s.node or str(s.path) for s in sources] for role, sources in node.inputs.items()}
    made = {"inputs": inputs, "makes": node.kind.makes, "steps": getattr(node.knobs, "steps", None), "seed": node.seed}
    return {**asdict(decision), "estimate": _estimate_plain(decision.estimate), **made}


def _estimate_plain(estimate: Any) -> dict[str, Any]:
    told = asdict(estimate)
    return told | {"money": None if told["money"] is None else str(told["money"])}


def status(view: View) -> str:
    """A run: how it ended, every node with state, time and gates, then what has not passed."""
    parts = [_ending(view), columns(_node_rows(view), right=(2,))]
    failed = [node for node in view.nodes.values() if node.failure or node.state in ("failed", "blocked")]
    if failed:
        parts.append(columns([(node.id, node.failure or "; ".join(node.reasons)) for node in failed]))
    standing = unsettled(view.verdicts)
    if standing:
        parts.append("Gates that have not passed:\n" + columns(_verdict_rows(standing)))
    wall = view.total("wall_s")
    if wall is not None:
        parts.append(f"{outcome(view).gates} Nodes took {wording.seconds(wall)} together.")
    return "\n\n".join(parts)


def _ending(view: View) -> str:
    told = outcome(view)
    known = dict(facts(view))
    return (
        f"{wording.line(view.name)} in {view.folder}: profiles {known['Profiles']}, seed {known['Seed']}\n"
        f"{told.title}: {told.says} Started {known['Started']}, took {known['Took']}."
    )


def _node_rows(view: View) -> Iterable[tuple[str, ...]]:
    yield ("node", "state", "time", "gates")
    for node in view.nodes.values():
        yield node.id, node.state, _time(node), _gates(view, node)


def _time(node: NodeView) -> str:
    if node.progress:
        return node.progress
    wall = node.took("wall_s")
    return "" if wall is None else wording.seconds(wall)


def _gates(view: View, node: NodeView) -> str:
    judged = view.judged(node.id)
    passed = [verdict.gate for verdict in judged if verdict.value == "pass"]
    others = [f"{verdict.gate}: {_said(verdict)}" for verdict in judged if verdict.value != "pass"]
    return ", ".join([*others, *([f"pass: {' '.join(passed)}"] if passed else [])])


def _said(verdict: Verdict) -> str:
    return VERDICT_WORDS[verdict.value] + (" (warn)" if verdict.severity == "warn" else "")


def _verdict_rows(verdicts: Iterable[Verdict]) -> list[tuple[str, ...]]:
    return [(_said(v), v.gate, v.node, f"{v.metric} {wording.condition(v.condition)}", v.reason) for v in verdicts]


def learned(table: Learning) -> str:
    """The learning table: Pass@1 and Pass@K of every model with 95 % intervals, then the judged differences."""
    if not table.known:
        return ""
    head = ["model", *(cell for k in table.ks for cell in (f"Pass@{k}", "95 %")), "problems"]
    rows = [[_label(row.label, own=row.own), *_scores(table, row.scores)] for row in table.rows]
    parts = [columns([head, *rows], right=range(1, len(head)))]
    if table.comparisons:
        head = ["difference", "metric", "gain", "95 %", "condition", "verdict"]
        gains = [
            (
                one.label,
                one.of,
                *_figure(one.gain, sign=True),
                "; ".join(wording.condition(v.condition) for v in one.verdicts),
                "; ".join(_said(v) for v in one.verdicts) or "not judged",
            )
            for one in table.comparisons
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
        parts.append("Gates that have not passed:\n" + columns(_verdict_rows(standing)))
    for failure in finished.failures:
        where = f"{failure.node} failed: " if failure.node else ""
        parts.append(f"{where}{failure.error.paragraph()}\n  log: {failure.log}\n  go on: {finished.resume}")
    changed = [f"{s.key} = {s.value} ({s.origin})" for s in view.settings if not s.origin.startswith("profile")]
    known = dict(facts(view))
    parts.append(
        "\n".join(
            [
                f"{wording.line(view.name)}: profiles {known['Profiles']}, seed {known['Seed']}",
                *([f"Set beside the profiles: {wording.line('; '.join(changed))}"] if changed else []),
                f"{told.title}: {told.says} {headline(learning(view))}".strip(),
                f"{told.gates} It took {wording.seconds(finished.wall_s)}.",
                f"Report: {page}",
            ]
        )
    )
    return "\n\n".join(part for part in parts if part)
