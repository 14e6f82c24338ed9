"""The whole plan: every node decided, what is kept judged, what would run priced."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from posttrain.engine.estimate import Foresight, Rates, total
from posttrain.engine.expand import Node
from posttrain.engine.judge import Bench
from posttrain.engine.plan.outlook import Decision, Outlook, decision_on
from posttrain.engine.views import Views
from posttrain.spec.errors import Mismatch, RecipeError
from posttrain.spec.gate import Verdict
from posttrain.spec.stage import Estimate
from posttrain.store import artifact


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


def make(outlook: Outlook, bench: Bench, views: Views) -> Plan:
    """Decide every node that is touched, settling in `outlook` what is kept and judging it and its views on `bench`.

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
            try:
                bench.judge(node, made.metrics, views.read(node, made, bench.gates(node)))
            except Mismatch as mismatch:
                del outlook.made[id]
                found = decision_on(node, "blocked", (mismatch.what,), decision.fingerprint, code=Mismatch.code)
                decision = replace(found, remedy=mismatch.remedy)
            else:
                foresight.settle(id, artifact.seen(folder, made, node=id, axes=node.axes))
        elif decision.action != "blocked" and (refusal := bench.may_run(node)):
            decision = decision_on(node, "blocked", (refusal,), decision.fingerprint)
        decisions[id] = decision
    objections(foresight, (graph.nodes[id] for id in outlook.touched if id in outlook.selected))
    return _priced(decisions, outlook, foresight, bench)


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
