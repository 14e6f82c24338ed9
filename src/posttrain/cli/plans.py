"""Recipes that hold and plans as text and as JSON: what would happen to every node, why, and what it takes."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from posttrain.cli.tables import columns, verdict_rows
from posttrain.reports import wording
from posttrain.reports.story import unsettled
from posttrain.spec.errors import EXIT_ORDER

if TYPE_CHECKING:
    from posttrain.api import Checked, Planned
    from posttrain.engine.expand import Node
    from posttrain.engine.plan import Decision, Plan
    from posttrain.spec.recipe import Recipe


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
        parts.append("Gates of what is kept that have not passed:\n" + columns(verdict_rows(standing)))
    parts.append("\n".join([_sums(plan), *_off_and_unused(plan.off, recipe.unused)]))
    if found.warnings:
        parts.append("Above a cap:\n" + "\n".join(f"  {said}" for said in found.warnings))
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
        _why(first) if len(group) > 1 else "; ".join(first.reasons),
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
        "warnings": list(found.warnings),
        "code": plan_code(plan),
    }


def _decision_plain(decision: "Decision", node: "Node") -> dict[str, Any]:
    inputs = {role: [s.node or str(s.path) for s in sources] for role, sources in node.inputs.items()}
    made = {"inputs": inputs, "makes": node.kind.makes, "steps": getattr(node.knobs, "steps", None), "seed": node.seed}
    return {**asdict(decision), "estimate": _estimate_plain(decision.estimate), **made}


def _estimate_plain(estimate: Any) -> dict[str, Any]:
    told = asdict(estimate)
    return told | {"money": None if told["money"] is None else str(told["money"])}
