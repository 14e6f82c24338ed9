"""Judging a run again from what is saved: digests, metrics counted again from the rows, views, gates. No stage runs."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from posttrain.engine.expand import Graph, Node, Source
from posttrain.engine.judge.bench import Bench, exit_code, inputs, parents
from posttrain.engine.judge.decide import Reading, told
from posttrain.engine.judge.recount import recounted
from posttrain.engine.plan import facts, own_folders
from posttrain.spec.errors import INCONCLUSIVE, Mismatch, MissingNeed, StageFailed, Stop
from posttrain.spec.gate import Metric, Metrics, Verdict
from posttrain.spec.stage import Artifact
from posttrain.store import artifact, ledger
from posttrain.store.artifact import Manifest
from posttrain.store.fingerprint import differences, fingerprint
from posttrain.store.run import Run

ReadBack = Callable[[Node, Manifest], Reading]
"""What the views of a node say; Mismatch where one says better than the rows."""


@dataclass(frozen=True)
class Judged:
    """What a run's gates say now."""

    verdicts: tuple[Verdict, ...]
    """Of the gates that were asked for."""
    unjudged: Mapping[str, str]
    """Node → why nothing of it could be judged: not made, stale, or what it reads is."""
    mismatches: Mapping[str, Mismatch]
    """Node → two things that must be equal and are not."""
    remarks: tuple[str, ...]
    """Where edited views differ from the rows."""
    code: int
    only: tuple[str, ...] = ()
    sets: tuple[str, ...] = ()
    """Thresholds that were changed for this judgement."""
    uncounted: Mapping[str, str] = field(default_factory=dict[str, str])
    """Node → why its metrics could not be counted again here: no gate of it passes."""


class Again:
    """Judges the current artifacts of a run, inputs first."""

    def __init__(self, graph: Graph, run: Run, bench: Bench, views: ReadBack, *, count: bool = True) -> None:
        """Without `count` metrics are taken from the manifests, and no file is read."""
        self._graph, self._run, self._bench, self._views, self._count = graph, run, bench, views, count
        self._own = _folders(graph)
        self._made: dict[str, Manifest] = {}
        self._unjudged: dict[str, str] = {}
        self._mismatches: dict[str, Mismatch] = {}
        self._uncounted: dict[str, str] = {}
        self._remarks: list[str] = []

    def judge(self, *, only: tuple[str, ...] = (), sets: tuple[str, ...] = ()) -> Judged:
        """Judge every node that a chosen gate stands on; `only`: gates by name, none is all of them."""
        chosen = [self._bench.named(name) for name in only] or [self._bench.named()]
        asked = {pair for pairs in chosen for pair in pairs}
        wanted = self._upwards({node for node, _ in asked}) if only else set(self._graph.nodes)
        left_out = set(self._never_asked())
        self._bench.leave_out(left_out | (self._graph.nodes.keys() - wanted))
        for id, node in self._graph.nodes.items():
            if id in wanted and id not in left_out:
                self._judge(node)
        verdicts = tuple(verdict for verdict in self._bench.verdicts if (verdict.node, verdict.gate) in asked)
        codes = [Mismatch.code] * len(self._mismatches) + [INCONCLUSIVE] * len(self._unjudged)
        code = exit_code(verdicts, codes)
        remarks = tuple(self._remarks)
        return Judged(verdicts, self._unjudged, self._mismatches, remarks, code, only, sets, self._uncounted)

    def _judge(self, node: Node) -> None:
        try:
            found = self._found(node)
        except Mismatch as mismatch:
            self._mismatches[node.id] = mismatch
            self._bench.judge(node, f"a mismatch: {mismatch.what}")
            return
        if isinstance(found, str):
            self._unjudged[node.id] = found
            self._bench.judge(node, found)
        else:
            self._bench.judge(node, *found)

    def _found(self, node: Node) -> tuple[Metrics, Reading] | str:
        """The metrics of a node's artifact and what its views say; a text says why there is nothing to judge."""
        mark = self._run.current(node.id)
        if mark is None:
            return f"{node.id} has not run"
        lost = next((id for id in inputs(node) if id in self._mismatches or id in self._unjudged), None)
        if lost:
            return f"{node.id} reads {lost}, which {'has a mismatch' if lost in self._mismatches else 'is not judged'}"
        folder = self._run.store.artifact(mark)
        made = artifact.glance(folder)
        if made is None:
            return f"the artifact of {node.id} was removed"
        changed = self._changed(node, made)
        if changed:
            return f"{node.id} is stale: {changed}"
        if self._count:
            _refuse_damage(node, artifact.verify(folder))
        uncounted = self._recount(node, folder, made) if self._count else ""
        self._made[node.id] = made
        reading = self._views(node, made)
        self._remarks += reading.remarks
        return made.metrics, replace(reading, unread="; ".join(filter(None, (uncounted, reading.unread))))

    def _recount(self, node: Node, folder: Path, made: Manifest) -> str:
        """Why the metrics cannot be counted again here; empty where they were. Mismatch where they are others."""
        try:
            counted = recounted(node, folder, made)
        except (MissingNeed, StageFailed) as lacking:
            self._uncounted[node.id] = lacking.paragraph()
            return f"its metrics could not be counted again: {lacking.what.rstrip('.')}"
        _refuse_other_numbers(node, made.metrics, counted)
        return ""

    def _changed(self, node: Node, made: Manifest) -> str:
        """Which facts of an artifact are not those of the recipe and of the inputs as they are."""
        try:
            now = facts(node, self._made, self._own or own_folders(node))
        except Stop as error:
            return error.what.rstrip(".")
        return "" if fingerprint(now) == made.fingerprint else ", ".join(differences(made.facts, now)) or "other facts"

    def _upwards(self, nodes: set[str]) -> set[str]:
        found, ahead = set[str](), list(nodes)
        while ahead:
            id = ahead.pop()
            if id not in found:
                found.add(id)
                ahead += parents(self._graph.nodes[id])
        return found

    def _never_asked(self) -> Iterator[str]:
        """Nodes that were not made and that no run was to make."""
        records = ledger.read(self._run.ledger, ("plan",))
        planned = {str(decision["node"]) for record in records for decision in record["decisions"]}
        yield from (id for id in self._graph.nodes if id not in planned and self._run.current(id) is None)


def _folders(graph: Graph) -> Mapping[Source, Artifact]:
    """The user's folders, digested once; nothing where one of them is not what it was."""
    try:
        return own_folders(*graph.nodes.values())
    except Stop:
        return {}


def _refuse_damage(node: Node, damages: tuple[str, ...]) -> None:
    if damages:
        remedy = f"Restore it from a copy, or make it again: posttrain run … --again {node.id}"
        raise Mismatch(f"{'; '.join(damages)} since it was made.", remedy=remedy)


def _refuse_other_numbers(node: Node, sealed: Metrics, counted: Metrics) -> None:
    """Mismatch where the rows give another number than the manifest holds, naming both."""
    for name in {**sealed, **counted}:
        was, now = sealed.get(name), counted.get(name)
        if was is None or not was.agrees(now):
            what = f"the manifest has {name} {_full(was, now)}, the rows give {_full(now, was)}."
            raise Mismatch(what, remedy=f"The kind counts otherwise than it did: make it again with --again {node.id}.")


def _full(metric: Metric | None, other: Metric | None) -> str:
    """A metric as told, or in full where that would read like the other."""
    return told(metric) if told(metric) != told(other) else str(metric)
