"""Which nodes a user means: stages and nodes by name, with what is above and below them."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from posttrain.engine.expand import Graph
from posttrain.engine.judge import parents
from posttrain.spec.errors import UsageError


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


def selected(graph: Graph, chosen: Selection) -> frozenset[str]:
    """The nodes that may be made."""
    found = frozenset(graph.nodes)
    if chosen.only:
        found &= named(graph, chosen.only)
    if chosen.until:
        found &= upwards(graph, named(graph, chosen.until))
    if chosen.from_:
        first = named(graph, chosen.from_)
        below = set(first)
        below.update(node.id for node in graph.nodes.values() if below.intersection(parents(node)))
        found &= upwards(graph, below) - (upwards(graph, first) - first)
    return found


def named(graph: Graph, names: Iterable[str]) -> frozenset[str]:
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


def upwards(graph: Graph, nodes: Iterable[str]) -> frozenset[str]:
    """Nodes with everything above them."""
    found, pending = set[str](), list(nodes)
    while pending:
        id = pending.pop()
        if id not in found:
            found.add(id)
            pending += parents(graph.nodes[id])
    return frozenset(found)
