"""What would run, what stays, and why: decisions from facts alone. Planning writes nothing (DESIGN §7)."""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from posttrain.engine.estimate import Foresight, Rates, total
from posttrain.engine.expand import Graph, Node, Source
from posttrain.engine.judge import Bench, inputs, parents
from posttrain.spec.errors import Mismatch, Problem, RecipeError, UsageError
from posttrain.spec.gate import Verdict
from posttrain.spec.stage import Artifact, Estimate
from posttrain.store import artifact
from posttrain.store.artifact import Manifest
from posttrain.store.fingerprint import Facts, InputFact, differences, file_digest, fingerprint, knob_facts
from posttrain.store.run import Run

Action = Literal["run", "maybe", "keep", "blocked"]
"""`maybe`: an input will be made again; whether this node follows is known when that one's bytes are."""


@dataclass(frozen=True)
class Selection:
    """What the user chose to run; names are stages or nodes."""

    only: tuple[str, ...] = ()
    """These alone, on what exists."""
    from_: tuple[str, ...] = ()
    """Nothing above these is made; they and the rest are."""
    until: tuple[str, ...] = ()
    """These and what they need."""
    again: tuple[str, ...] = ()
    """These are made again though they could be kept."""


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
    """The exit code a block leads to by itself: 2 an input is left out, 6 an artifact is damaged."""


@dataclass(frozen=True)
class Plan:
    """Decisions for every node that this run touches, inputs first."""

    decisions: Mapping[str, Decision]
    verdicts: tuple[Verdict, ...]
    """What the gates say of what is kept."""
    off: tuple[str, ...]
    """Stages that are switched off."""
    total: Estimate
    """The sum over what would run, as far as it is known."""
    unknown: tuple[str, ...]
    """Nodes that would run and whose time nobody knows."""

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do."""
        return all(decision.action == "keep" for decision in self.decisions.values())


class Outlook:
    """Decides node after node, inputs first, from what is known when a node is reached."""

    def __init__(self, graph: Graph, run: Run, selection: Selection | None = None) -> None:
        """Look up the user's folders and what is selected; UsageError for a name that is not there."""
        chosen = selection or Selection()
        self.graph, self.run = graph, run
        self.own = own_folders(*graph.nodes.values())
        self.selected = _selected(graph, chosen)
        self.again = _named(graph, chosen.again)
        self.made: dict[str, Manifest] = {}
        """What is settled: kept or made, with its manifest."""
        reached = _upwards(graph, self.selected)
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
            return _decision(node, "blocked", (f"{blocked} is blocked",), found.fingerprint)
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
        found = _decision(node, "run", (f"waits for {', '.join(waits)}",)) if waits else self._known(node)
        if found.action != "run":
            return found
        return _decision(node, "blocked", (f"left out of this run: {', '.join(found.reasons)}",), code=UsageError.code)

    def _waiting(self, node: Node, waits: tuple[str, ...]) -> Decision:
        last = self.last(node)
        if last is None:
            return _decision(node, "run", ("nothing made yet",))
        why = (f"waits for {', '.join(waits)}",)
        changed = differences(last.facts, facts(node, self.made, self.own), inputs=False)
        if changed or node.id in self.again:
            return _decision(node, "run", (*(changed or ("asked for",)), *why))
        return _decision(node, "maybe", why)

    def _known(self, node: Node) -> Decision:
        now = facts(node, self.made, self.own)
        mark = fingerprint(now)
        again = node.id in self.again
        try:
            made = artifact.glance(self.run.store.artifact(mark))
        except Mismatch as damage:
            if not again:
                return _decision(node, "blocked", (f"damaged: {damage.what}",), mark, code=Mismatch.code)
            made = None
        if made is not None and not again:
            self.settle(node.id, made)
            return _decision(node, "keep", ("nothing changed",), mark)
        begun = ("goes on where it was stopped",) if self.run.store.work(mark).exists() else ()
        return _decision(node, "run", (*self._why(node, now, mark), *begun), mark)

    def _why(self, node: Node, now: Facts, mark: str) -> tuple[str, ...]:
        if node.id in self.again:
            return ("asked for",)
        if self.run.current(node.id) == mark:
            return ("its artifact was removed",)
        last = self.last(node)
        return differences(last.facts, now) if last else ("nothing made yet",)


def make(outlook: Outlook, bench: Bench) -> Plan:
    """Decide every node that is touched, settling in `outlook` what is kept and judging it on `bench`.

    RecipeError where a kind refuses its knobs or inputs.
    """
    graph, foresight = outlook.graph, Foresight(outlook.graph, outlook.own)
    bench.leave_out(id for id in graph.nodes if id not in outlook.touched)
    decisions: dict[str, Decision] = {}
    for id in outlook.touched:
        node = graph.nodes[id]
        decision = outlook.decide(node, undecided=decisions)
        if decision.action == "keep":
            made = outlook.made[id]
            folder = outlook.run.store.artifact(made.fingerprint)
            foresight.settle(id, artifact.seen(folder, made, node=id, axes=node.axes))
            bench.judge(node, made.metrics)
        elif decision.action != "blocked" and (refusal := bench.may_run(node)):
            decision = _decision(node, "blocked", (refusal,), decision.fingerprint)
        decisions[id] = decision
    objections(foresight, (graph.nodes[id] for id in outlook.touched if id in outlook.selected))
    return _priced(decisions, outlook, foresight, bench)


def facts(node: Node, made: Mapping[str, Manifest], own: Mapping[Source, Artifact]) -> Facts:
    """The facts of a node, of its inputs those that are made."""
    knobs, files = knob_facts(node.knobs)
    known = {role: [s for s in given if s.node is None or s.node in made] for role, given in node.inputs.items()}
    given = {role: tuple(_input_fact(s, made, own) for s in in_order(known[role], own)) for role in known}
    kind = node.kind
    if kind.reads is not None:
        files |= {name: file_digest(path) for name, path in kind.reads(node.knobs).items()}
    return Facts(kind=kind.name, version=kind.version, knobs=knobs, seed=node.seed, inputs=given, files=files)


def own_folders(*nodes: Node) -> dict[Source, Artifact]:
    """The user's folders among the inputs of nodes, recognised and digested.

    RecipeError where one is not there or not of a type that its role takes; Mismatch where its digest is another.
    """
    found: dict[Source, Artifact] = {}
    problems: dict[str, Problem] = {}
    for node in nodes:
        for role, source in ((role, source) for role, sources in node.inputs.items() for source in sources):
            if source.path is None:
                continue
            where, wanted = f"{node.place}.inputs.{role}", node.kind.roles[role]
            try:
                found[source] = found.get(source) or artifact.adopted(source.path, source.digest)
            except UsageError as error:
                problems[where] = Problem(where, f"= {source.path}: {error.what}", error.remedy)
                continue
            if found[source].type not in wanted.types:
                said = f"takes {' or '.join(wanted.types)}, and {source.path} holds {found[source].type}."
                problems[where] = Problem(where, said, f"The role is {wanted.says}.")
    if problems:
        raise RecipeError(tuple(problems.values()))
    return found


def in_order(sources: Iterable[Source], own: Mapping[Source, Artifact]) -> list[Source]:
    """Inputs as they are counted and given: nodes by id, then the user's folders by digest: a path does not count."""
    return sorted(sources, key=lambda source: (source.node is None, source.node or own[source].digest))


def objections(foresight: Foresight, nodes: Iterable[Node]) -> None:
    """Raise what the kinds refuse of knobs and inputs, all together, as a RecipeError."""
    problems = tuple(dict.fromkeys(problem for node in nodes for problem in foresight.objections(node)))
    if problems:
        raise RecipeError(problems)


def _priced(decisions: Mapping[str, Decision], outlook: Outlook, foresight: Foresight, bench: Bench) -> Plan:
    """The plan with what each node is expected to take, at the speed that kept nodes had."""
    rates, expected, nodes = Rates(), dict[str, Estimate](), outlook.graph.nodes
    for id, decision in decisions.items():
        if decision.action != "blocked":
            expected[id] = foresight.estimate(nodes[id])
        if decision.action == "keep":
            rates.learn(decision.kind, expected[id], outlook.made[id])
    priced: dict[str, Decision] = {}
    for id, decision in decisions.items():
        estimate = Estimate()
        if decision.action in ("run", "maybe"):
            estimate = rates.corrected(decision.kind, expected[id], outlook.last(nodes[id]))
        priced[id] = replace(decision, estimate=estimate)
    would = [decision for decision in priced.values() if decision.action in ("run", "maybe")]
    unknown = tuple(decision.node for decision in would if decision.estimate.seconds is None)
    sum_of = total(decision.estimate for decision in would)
    return Plan(priced, bench.verdicts, tuple(outlook.graph.off), sum_of, unknown)


def _input_fact(source: Source, made: Mapping[str, Manifest], own: Mapping[Source, Artifact]) -> InputFact:
    if source.node is None:
        return InputFact(node=own[source].node, digest=own[source].digest)
    given = made[source.node]
    return InputFact(node=source.node, digest=given.digest, fingerprint=given.fingerprint)


def _blocks(decision: Decision) -> bool:
    return decision.action == "blocked"


def _decision(
    node: Node, action: Action, reasons: tuple[str, ...], mark: str | None = None, *, code: int = 0
) -> Decision:
    return Decision(node.id, node.stage, node.kind.name, action, reasons, mark, code=code)


def _selected(graph: Graph, chosen: Selection) -> frozenset[str]:
    found = frozenset(graph.nodes)
    if chosen.only:
        found &= _named(graph, chosen.only)
    if chosen.until:
        found &= _upwards(graph, _named(graph, chosen.until))
    if chosen.from_:
        first = _named(graph, chosen.from_)
        below = set(first)
        below.update(node.id for node in graph.nodes.values() if below.intersection(parents(node)))
        found &= _upwards(graph, below) - (_upwards(graph, first) - first)
    return found


def _named(graph: Graph, names: Iterable[str]) -> frozenset[str]:
    """The nodes that names of stages and nodes mean."""
    found: set[str] = set()
    for name in names:
        stage = name.removesuffix("/*")
        hits = [node.id for node in graph.nodes.values() if name == node.id or stage == node.stage]
        if not hits:
            known = dict.fromkeys((*(node.stage for node in graph.nodes.values()), *graph.nodes))
            near = difflib.get_close_matches(name, known, n=1)
            raise UsageError(
                f'there is no stage or node "{name}".', remedy=f'Did you mean "{near[0]}"?' if near else ""
            )
        found.update(hits)
    return frozenset(found)


def _upwards(graph: Graph, nodes: Iterable[str]) -> frozenset[str]:
    """Nodes with everything above them."""
    found, pending = set[str](), list(nodes)
    while pending:
        id = pending.pop()
        if id not in found:
            found.add(id)
            pending += parents(graph.nodes[id])
    return frozenset(found)
