"""Judges the nodes of a graph one after the other; what it said of them decides who may run below."""

import importlib.util
import platform
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from posttrain.engine.expand import Graph, Node
from posttrain.engine.judge.decide import SILENT, Reading, condition, weigh
from posttrain.spec.errors import EXIT_ORDER, INCONCLUSIVE, PASS, REFUSED, MissingNeed, UsageError
from posttrain.spec.gate import Gate, Metrics, Verdict
from posttrain.spec.waiver import NONE, Waivers
from posttrain.spec.words import suggest

Has = Callable[[str], bool]
"""Whether this machine has what a gate `requires`."""


def machine_has(need: str) -> bool:
    """Whether this machine has macos, cuda, nodejs or llama.cpp; of anything else it is not known to have it."""
    checks: Mapping[str, Callable[[], bool]] = {
        "macos": lambda: platform.system() == "Darwin",
        "cuda": lambda: Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None,
        "nodejs": lambda: shutil.which("node") is not None,
        "llama.cpp": lambda: importlib.util.find_spec("llama_cpp") is not None,
    }
    return need in checks and checks[need]()


class Bench:
    """Judges the nodes of a graph, inputs first, and remembers: what it said of them decides who may run below."""

    def __init__(
        self,
        graph: Graph,
        *,
        only: tuple[str, ...] | None = None,
        waivers: Waivers = NONE,
        has: Has = machine_has,
        keep_going: bool = False,
    ) -> None:
        """Judge the gates of a graph; `only`: these alone exist, as NAME or STAGE.NAME.

        `keep_going`: a refusal stops nobody; what is said of a node stays the same.
        """
        self._keep_going = keep_going
        self._graph, self._only, self._has, self._waivers = graph, only, has, waivers
        self._said: dict[str, tuple[Verdict, ...]] = {}
        self._shaken: dict[str, str] = {}
        self._above = _stages_above(graph)
        self._refused: dict[str, Verdict] = {}
        self._unknown: dict[str, set[str]] = {}
        for node in graph.nodes.values():
            if any(gate.severity == "stop" for gate in self.gates(node).values()):
                self._unknown.setdefault(node.stage, set()).add(node.id)

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """Everything said so far."""
        return tuple(verdict for said in self._said.values() for verdict in said)

    def gates(self, node: Node) -> Mapping[str, Gate]:
        """The gates of a node that exist in this run."""
        chosen = self._only
        return {
            name: gate
            for name, gate in node.gates.items()
            if not gate.off and (chosen is None or name in chosen or f"{node.stage}.{name}" in chosen)
        }

    def named(self, name: str = "") -> tuple[tuple[str, str], ...]:
        """The gates of a name, each with its node: NAME, STAGE.NAME or NODE.NAME; without a name all of them.

        UsageError with the nearest one for a name that no gate of the run has.
        """
        pairs = [(node, gate) for node in self._graph.nodes.values() for gate in self.gates(node)]
        found = tuple((n.id, gate) for n, gate in pairs if name in ("", gate, f"{n.stage}.{gate}", f"{n.id}.{gate}"))
        if name and not found:
            known = dict.fromkeys(f"{node.stage}.{gate}" for node, gate in pairs)
            more = (word for node, gate in pairs for word in (gate, f"{node.id}.{gate}"))
            raise UsageError(f'the run has no gate "{name}".', remedy=suggest(name, known, more))
        return found

    def leave_out(self, nodes: Iterable[str]) -> None:
        """Nodes that this run does not touch and that were never made: their gates stand above nobody."""
        for id in nodes:
            self._unknown.get(self._graph.nodes[id].stage, set()).discard(id)

    def judge(self, node: Node, metrics: Metrics | str, reading: Reading = SILENT) -> tuple[Verdict, ...]:
        """Say of a node what its gates find; a text in place of metrics is why it made nothing to judge."""
        gates = self.gates(node)
        shaken = next((self._shaken[id] for id in parents(node) if id in self._shaken), "")
        if node.wait_off:
            shaken = f"{node.wait_off[0]}, which it waits for, is off"
        found: dict[str, Verdict] = {}
        for name in _ordered(gates):
            found[name] = self._excused(self._verdict(node, name, gates, (metrics, reading), shaken, found))
        said = self._said[node.id] = tuple(found[name] for name in gates)
        self._unknown.get(node.stage, set()).discard(node.id)
        refused = next((verdict for verdict in said if verdict.refuses), None)
        if refused:
            self._refused.setdefault(node.stage, refused)
        if refused or shaken:
            self._shaken[node.id] = _refusal(refused) if refused else shaken
        return said

    def may_run(self, node: Node) -> str | None:
        """What the stop gates of the stages above say: empty is go, else why not; None while not all is judged."""
        if self._keep_going:
            return ""
        if node.wait_off:
            return f"it waits for {node.wait_off[0]}, which is off: its gates have not run"
        above = self._above[node.stage]
        refused = next((self._refused[stage] for stage in above if stage in self._refused), None)
        if refused:
            return _refusal(refused)
        return None if any(self._unknown.get(stage) for stage in above) else ""

    def _verdict(
        self,
        node: Node,
        name: str,
        gates: Mapping[str, Gate],
        known: tuple[Metrics | str, Reading],
        shaken: str,
        found: Mapping[str, Verdict],
    ) -> Verdict:
        gate, (metrics, reading) = gates[name], known
        metric = None if isinstance(metrics, str) else metrics.get(gate.metric)
        absent = next((need for need in gate.requires if not self._has(need)), "")
        unpassed = next((n for n in gate.needs if n in gates and (n not in found or found[n].value != "pass")), "")
        if absent:
            value, reason = "not_run", f"this machine lacks {absent}"
        elif isinstance(metrics, str):
            value, reason = "not_run", metrics
        elif unpassed:
            value, reason = "not_run", f"gate {unpassed} has not passed"
        else:
            metric, value, reason = weigh(gate, metric, reading)
        if value == "pass" and shaken:
            value, reason = "not_run", f"a pass stands on passes: {shaken}"
        bound = " ".join(map(str, condition(gate)))
        said = gate.says.get(value, reason)
        return Verdict(name, node.id, value, gate.severity, gate.metric, bound, metric, said, absent)

    def _excused(self, verdict: Verdict) -> Verdict:
        """The verdict with the waiver that lets it stand, or with the word that one has expired; its value stays."""
        if verdict.value == "pass":
            return verdict
        waiver = self._waivers.on(verdict.node, verdict.gate)
        if waiver is not None:
            return replace(verdict, waived=str(waiver))
        lapsed = self._waivers.lapsed(verdict.node, verdict.gate)
        return replace(verdict, reason=f"{verdict.reason}; {lapsed}") if lapsed else verdict


def exit_code(verdicts: Iterable[Verdict], failures: Iterable[int]) -> int:
    """The exit code of a run: the first of EXIT_ORDER that a failure or a stop gate gives, else 0."""
    codes = {*failures, *(_code(verdict) for verdict in verdicts if verdict.refuses)}
    return next((code for code in EXIT_ORDER if code in codes), PASS)


def parents(node: Node) -> tuple[str, ...]:
    """The nodes directly above: inputs and those it waits for."""
    return tuple(dict.fromkeys((*inputs(node), *node.wait)))


def inputs(node: Node) -> tuple[str, ...]:
    """The nodes whose artifacts a node reads."""
    named = (source.node for sources in node.inputs.values() for source in sources if source.node is not None)
    return tuple(dict.fromkeys(named))


def _refusal(verdict: Verdict) -> str:
    return f"gate {verdict.gate} of {verdict.node} is {verdict.value}"


def _code(verdict: Verdict) -> int:
    if verdict.value == "not_run" and verdict.absent:
        return MissingNeed.code
    return REFUSED if verdict.value == "fail" else INCONCLUSIVE


def _ordered(gates: Mapping[str, Gate]) -> list[str]:
    """Gates with those they need first; gates that need each other come last and find none passed."""
    pending, order = dict(gates), list[str]()
    while ready := [name for name, gate in pending.items() if not any(need in pending for need in gate.needs)]:
        order += ready
        for name in ready:
            del pending[name]
    return order + list(pending)


def _stages_above(graph: Graph) -> dict[str, tuple[str, ...]]:
    """Every stage above each stage."""
    direct: dict[str, dict[str, None]] = {}
    for node in graph.nodes.values():
        direct.setdefault(node.stage, {}).update((graph.nodes[parent].stage, None) for parent in parents(node))
    return {stage: tuple(_closure(direct, stage)) for stage in direct}


def _closure(direct: Mapping[str, Mapping[str, None]], stage: str) -> dict[str, None]:
    found: dict[str, None] = {}
    pending = list(direct[stage])
    while pending:
        above = pending.pop()
        if above not in found:
            found[above] = None
            pending += direct[above]
    return found
