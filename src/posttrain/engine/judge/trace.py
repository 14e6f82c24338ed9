"""From a number back to the data: the files it is counted from, and every artifact below it down to what reads none."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from posttrain.engine.expand import Node
from posttrain.engine.judge.recount import traced
from posttrain.spec.errors import Mismatch, MissingNeed, StageFailed, UsageError
from posttrain.spec.gate import Metric
from posttrain.spec.words import suggest
from posttrain.store import artifact
from posttrain.store.artifact import Manifest
from posttrain.store.fingerprint import knob_facts
from posttrain.store.run import neighbour


@dataclass(frozen=True)
class Counted:
    """One file that a number is counted from."""

    name: str
    size: int
    sha256: str
    rows: int | None
    """Lines of a file of rows; None for any other."""


@dataclass(frozen=True)
class Link:
    """One artifact, or folder of the user's, that another one was made from."""

    depth: int
    """0 is the artifact itself; its inputs are 1."""
    role: str
    """As what the one above reads it; empty at depth 0."""
    node: str
    """Node id, or the path of the user's folder."""
    kind: str
    """Empty for a folder of the user's."""
    digest: str
    seed: int | None
    files: Mapping[str, str]
    """Files that its knobs name: knob → sha256."""
    reads: tuple[str, ...]
    """Nodes and folders that it was made from; none: a source, made of its files and its seed alone."""
    again: bool
    """It stands further up, with everything below it."""


@dataclass(frozen=True)
class Traced:
    """One metric of one artifact, with where it comes from."""

    node: str
    name: str
    metric: Metric
    files: tuple[Counted, ...]
    recount: str
    """Whether counting the files again gives the same; or why that was not tried."""
    chain: tuple[Link, ...]


def trace(folder: Path, made: Manifest, name: str, node: Node | None) -> Traced:
    """One metric of an artifact; `node` counts it again, where the recipe still has the node as it was made.

    UsageError for a metric that is not there; Mismatch where a file has changed, or gives another number.
    """
    metric = made.metrics.get(name)
    if metric is None:
        raise UsageError(f'{made.node} has no metric "{name}".', remedy=suggest(name, made.metrics))
    damages = artifact.verify(folder)
    if damages:
        raise Mismatch(f"{'; '.join(damages)} since it was made.", where=made.node)
    names, said = tuple(entry.name for entry in made.files), "not counted again: the recipe has it otherwise now"
    if node is not None:
        try:
            metrics, names = traced(node, folder, made)
        except (MissingNeed, StageFailed) as lacking:
            said = f"not counted again: {lacking.paragraph()}"
        else:
            if not metric.agrees(metrics.get(name)):
                raise Mismatch(f"its files give {metrics.get(name)} for {name}, not {metric}.", where=made.node)
            said = "counted again from its files: the same"
    files = tuple(Counted(f.name, f.size, f.sha256, _rows(folder / f.name)) for f in made.files if f.name in names)
    return Traced(made.node, name, metric, files, said, tuple(chain(folder, made)))


def same_knobs(node: Node, made: Manifest) -> bool:
    """Whether an artifact was made by the knobs that a node has now: what counts its rows reads nothing else."""
    knobs, _ = knob_facts(node.knobs)
    return (node.kind.name, node.kind.version, knobs) == (made.kind, made.facts.version, made.facts.knobs)


def chain(folder: Path, made: Manifest) -> Iterator[Link]:
    """An artifact and everything it was made from, inputs below the one that reads them."""
    yield from _below(folder, made, 0, "", set[str]())


def _below(folder: Path, made: Manifest, depth: int, role: str, known: set[str]) -> Iterator[Link]:
    facts, again = made.facts, made.digest in known
    inputs = [(name, one) for name, given in facts.inputs.items() for one in given]
    reads = tuple(one.node for _, one in inputs)
    yield Link(depth, role, made.node, made.kind, made.digest, facts.seed, facts.files, reads, again)
    known.add(made.digest)
    for name, one in inputs if not again else ():
        at = neighbour(folder, one.fingerprint)
        above = artifact.manifest(at) if one.fingerprint else None
        if above is None:
            yield Link(depth + 1, name, one.node, "", one.digest, None, {}, (), again=one.digest in known)
            known.add(one.digest)
        else:
            yield from _below(at, above, depth + 1, name, known)


def _rows(path: Path) -> int | None:
    if path.suffix != ".jsonl":
        return None
    with path.open("rb") as file:
        return sum(1 for line in file if line.strip())
