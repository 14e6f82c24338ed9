"""What a run is expected to take: the kinds' own estimates, corrected by what earlier nodes really took."""

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from statistics import median
from typing import Any

from posttrain.engine.expand import Graph, Node, Source
from posttrain.spec.errors import Problem
from posttrain.spec.stage import Artifact, Estimate, Foreseen
from posttrain.store.artifact import Manifest

Inputs = Mapping[str, tuple[Foreseen, ...]]


class Foresight:
    """The inputs of every node as they can be known before anything runs."""

    def __init__(self, graph: Graph, own: Mapping[Source, Artifact]) -> None:
        """`own`: the user's folders that the graph's sources name."""
        self._graph, self._own = graph, own
        self._made: dict[str, Artifact] = {}
        self._seen: dict[str, Foreseen] = {}

    def settle(self, node: str, artifact: Artifact) -> None:
        """A node's artifact is kept: its own files and metrics may be looked at."""
        self._made[node] = artifact

    def inputs(self, node: Node) -> Inputs:
        """The inputs of a node by role, in order of node id."""
        return {role: tuple(self._source(source) for source in sources) for role, sources in node.inputs.items()}

    def objections(self, node: Node) -> tuple[Problem, ...]:
        """What the kind refuses of these knobs and inputs."""
        if node.kind.check is None:
            return ()
        refused = node.kind.check(node.knobs, self.inputs(node))
        return tuple(Problem(node.place, said, _blame(said, node.variables)) for said in refused)

    def estimate(self, node: Node) -> Estimate:
        """What the kind expects."""
        return node.kind.estimate(node.knobs, self.inputs(node))

    def _source(self, source: Source) -> Foreseen:
        if source.node is None:
            given = self._own[source]
            return Foreseen(given.node, given.kind, given.knobs, given.axes, given)
        if source.node not in self._seen:
            node = self._graph.nodes[source.node]
            knobs = node.knobs.model_dump(mode="json")
            made = self._made.get(node.id)
            self._seen[node.id] = Foreseen(node.id, node.kind.name, knobs, node.axes, made, self.inputs(node))
        return self._seen[source.node]


def _blame(said: str, variables: Mapping[str, str]) -> str:
    """Which environment variables set the knobs that a refusal names."""
    words = re.findall(r"\w+", said)
    return "  ".join(f"The variable {name} set {knob}." for knob, name in variables.items() if knob in words)


class Rates:
    """How long nodes took against what was expected, by kind."""

    def __init__(self) -> None:
        """Nothing is known yet."""
        self._factors: dict[str, list[float]] = {}

    def learn(self, kind: str, expected: Estimate, made: Manifest) -> None:
        """A finished node: what was expected of it and what it took."""
        took = seconds(made.measured)
        if expected.seconds and took is not None:
            self._factors.setdefault(kind, []).append(took / expected.seconds)

    def corrected(self, kind: str, expected: Estimate, last: Manifest | None) -> Estimate:
        """An estimate at measured speed; where the kind has none, what the node took the last time."""
        if expected.seconds is not None and kind in self._factors:
            return _timed(expected, expected.seconds * median(self._factors[kind]))
        if expected.seconds is None and last is not None:
            return _timed(expected, seconds(last.measured))
        return expected


def seconds(measured: Mapping[str, Any]) -> float | None:
    """Wall-clock seconds on record."""
    took = measured.get("wall_s")
    return float(took) if isinstance(took, int | float) else None


def total(estimates: Iterable[Estimate]) -> Estimate:
    """The sum of what is known (None where nobody knows); memory is the largest, not the sum."""
    parts = tuple(estimates)
    seconds_known = [part.seconds for part in parts if part.seconds is not None]
    tokens = [part.tokens for part in parts if part.tokens is not None]
    disk = [part.disk for part in parts if part.disk is not None]
    money = [part.money for part in parts if part.money is not None]
    return Estimate(
        seconds=sum(seconds_known) if seconds_known else None,
        tokens=sum(tokens) if tokens else None,
        memory=max((part.memory for part in parts if part.memory is not None), default=None),
        disk=sum(disk) if disk else None,
        money=sum(money, Decimal(0)) if money else None,
        remarks=tuple(dict.fromkeys(remark for part in parts for remark in part.remarks)),
    )


def _timed(expected: Estimate, took: float | None) -> Estimate:
    return Estimate(took, expected.tokens, expected.memory, expected.disk, expected.money, expected.remarks)
