"""One node's decision: run, maybe, keep or blocked, with its reasons."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from posttrain.engine.environment import anew
from posttrain.engine.expand import Graph, Node
from posttrain.engine.judge import inputs, parents
from posttrain.engine.plan.choose import Selection, named, selected, upwards
from posttrain.engine.plan.facts import facts, own_folders
from posttrain.engine.plan.reasons import Reasons
from posttrain.spec.errors import Mismatch, UsageError
from posttrain.spec.stage import Estimate
from posttrain.store import artifact
from posttrain.store.artifact import Manifest, NewerFormat
from posttrain.store.fingerprint import Facts, fingerprint
from posttrain.store.run import Run, holds_files

Action = Literal["run", "maybe", "keep", "blocked"]
"""`maybe`: an input will be made again; whether this node follows is known when that one's bytes are."""


@dataclass(frozen=True)
class Decision:
    """What happens to one node, and why."""

    node: str
    stage: str
    kind: str
    action: Action
    reasons: tuple[str, ...]
    fingerprint: str | None = None
    """None while the bytes of an input are not known."""
    estimate: Estimate = field(default_factory=Estimate)
    """What running it is expected to take; of a kept node nothing."""
    code: int = 0
    """The exit code a block leads to by itself: 2 an input is left out, 6 an artifact is damaged or frozen."""
    remedy: str = ""
    """What to do about a block."""


class Outlook:
    """Decides node after node, inputs first, from what is known when a node is reached."""

    def __init__(self, graph: Graph, run: Run, selection: Selection | None = None) -> None:
        """Look up the user's folders and what is selected; UsageError for a name that is not there."""
        chosen = selection or Selection()
        self.graph, self.run = graph, run
        self.own = own_folders(*graph.nodes.values())
        self.selected = selected(graph, chosen)
        self.again = named(graph, chosen.again)
        self._reasons = Reasons(graph.seed, run.recipe)
        self.made: dict[str, Manifest] = {}
        """What is settled: kept or made, with its manifest."""
        reached = upwards(graph, self.selected)
        self.touched = tuple(id for id in graph.nodes if id in reached)
        """The nodes of this run: those selected and what they stand on."""

    def decide(self, node: Node, *, undecided: Mapping[str, Decision] | None = None) -> Decision:
        """What happens to a node now; `undecided` holds the decisions of inputs that are not settled.

        A node that is kept is settled by that.
        """
        waits = tuple(id for id in inputs(node) if id not in self.made)
        if node.id not in self.selected:
            return self._left_out(node, waits)
        found = self._waiting(node, waits) if waits else self._known(node)
        blocked = next((id for id in parents(node) if undecided and id in undecided and _blocks(undecided[id])), None)
        if blocked and found.action in ("run", "maybe"):
            return decision_on(node, "blocked", (f"{blocked} is blocked",), found.fingerprint)
        return found

    def settle(self, node: str, made: Manifest) -> None:
        """A node's artifact is what its dependants will read."""
        self.made[node] = made

    def last(self, node: Node) -> Manifest | None:
        """The manifest of a node's current artifact, where one can be read."""
        mark = self.run.current(node.id)
        try:
            return artifact.manifest(self.run.store.artifact(mark)) if mark else None
        except Mismatch:
            return None

    def _left_out(self, node: Node, waits: tuple[str, ...]) -> Decision:
        found = decision_on(node, "run", (f"waits for {', '.join(waits)}",)) if waits else self._known(node)
        if found.action != "run":
            return found
        why = f"left out of this run: {', '.join(found.reasons)}"
        return decision_on(node, "blocked", (why,), code=UsageError.code)

    def _waiting(self, node: Node, waits: tuple[str, ...]) -> Decision:
        last = self.last(node)
        if last is None:
            return decision_on(node, "run", ("nothing made yet",))
        why = (f"waits for {', '.join(waits)}",)
        changed = self._reasons.changed(node, last.facts, facts(node, self.made, self.own), inputs=False)
        if changed and self._holds(node):
            return _frozen(node, changed)
        if changed or node.id in self.again:
            return decision_on(node, "run", (*(changed or ("asked for",)), *why))
        return decision_on(node, "maybe", (*why, *_says_frozen(node)))

    def _known(self, node: Node) -> Decision:
        now = facts(node, self.made, self.own)
        mark = fingerprint(now)
        again = node.id in self.again
        if self._holds(node) and self.run.current(node.id) != mark:
            return _frozen(node, self._why(node, now, mark), mark)
        try:
            made = artifact.glance(self.run.store.artifact(mark))
        except Mismatch as damage:
            if not again:
                return _damaged(node, damage, mark)
            made = None
        if made is not None and not again:
            self.settle(node.id, made)
            return decision_on(node, "keep", ("nothing changed", *_says_frozen(node)), mark)
        return decision_on(node, "run", (*self._why(node, now, mark), *self._begun(node, mark)), mark)

    def _why(self, node: Node, now: Facts, mark: str) -> tuple[str, ...]:
        if node.id in self.again:
            return ("asked for",)
        if self.run.current(node.id) == mark:
            return ("its artifact was removed",)
        last = self.last(node)
        if last is None:
            return ("its artifact was removed" if self.run.current(node.id) else "nothing made yet",)
        return self._reasons.changed(node, last.facts, now)

    def _begun(self, node: Node, mark: str) -> tuple[str, ...]:
        """What becomes of the work that an attempt before left, if it left any."""
        store = self.run.store
        if not holds_files(store.work(mark)):
            return ()
        other = anew(store.conditions(mark), node.resources)
        return (f"starts anew: {other}",) if other else ("goes on where it was stopped",)

    def _holds(self, node: Node) -> bool:
        """Whether a node is frozen: made in this run, and not named to be made again."""
        return node.frozen and node.id not in self.again and self.run.current(node.id) is not None


def _blocks(decision: Decision) -> bool:
    return decision.action == "blocked"


def _says_frozen(node: Node) -> tuple[str, ...]:
    return ("frozen",) if node.frozen else ()


def _frozen(node: Node, changed: tuple[str, ...], mark: str | None = None) -> Decision:
    said = f"frozen, and changed ({', '.join(changed)}): --again {node.stage} makes it anew"
    found = decision_on(node, "blocked", (said,), mark, code=Mismatch.code)
    return replace(found, remedy=f"Take the change back, or give --again {node.stage}.")


def _damaged(node: Node, damage: Mismatch, mark: str) -> Decision:
    if isinstance(damage, NewerFormat):
        return replace(decision_on(node, "blocked", (damage.what,), mark, code=Mismatch.code), remedy=damage.remedy)
    found = decision_on(node, "blocked", (f"damaged: {damage.what}",), mark, code=Mismatch.code)
    return replace(found, remedy=f"Restore it from a copy, or make it again with --again {node.stage}.")


def decision_on(
    node: Node, action: Action, reasons: tuple[str, ...], mark: str | None = None, *, code: int = 0
) -> Decision:
    """A decision on a node."""
    return Decision(node.id, node.stage, node.kind.name, action, reasons, mark, code=code)
