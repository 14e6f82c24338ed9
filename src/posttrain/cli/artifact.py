"""One artifact as text: why it was made, from what back to the data, its metrics, files and remarks."""

import difflib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from posttrain import api
from posttrain.cli.tables import columns
from posttrain.reports import wording
from posttrain.reports.read import read
from posttrain.reports.view import NodeView
from posttrain.spec.errors import PASS, Mismatch, UsageError
from posttrain.spec.gate import Metric
from posttrain.store import artifact
from posttrain.store.artifact import Manifest
from posttrain.store.run import neighbour, run_of


def text(asked: Path) -> str:
    """Everything a person asks of `RUN/NODE` or of an artifact's folder; of a node that made nothing, what is known."""
    node = _node(asked)
    if node is not None and node.manifest is None:
        return _unmade(node)
    found = api.show(asked)
    made = found.manifest
    head = [
        ("kind", made.kind),
        ("type", made.type),
        ("made because", "; ".join(node.ran_because if node else ()) or "not on record"),
        ("fingerprint", made.fingerprint),
        ("digest", made.digest),
        ("seed", str(made.facts.seed)),
        ("folder", str(found.folder)),
    ]
    parts = [f"{wording.line(made.node)}\n{columns(head)}"]
    if made.facts.knobs:
        parts.append("Knobs\n" + columns((key, _json(value)) for key, value in made.facts.knobs.items()))
    parts.append("Lineage\n" + "\n".join(_lineage(found.folder, made)))
    if made.metrics:
        parts.append("Metrics\n" + columns(_metric(name, metric) for name, metric in made.metrics.items()))
    if made.measured:
        parts.append("Measured\n" + columns((name, _json(value)) for name, value in made.measured.items()))
    parts.append("Files\n" + columns(((f.name, wording.size(f.size), f.sha256[:12]) for f in made.files), right=(1,)))
    if made.remarks:
        parts.append("Remarks\n" + columns((r.kind, wording.count(r.count), r.text) for r in made.remarks))
    return "\n\n".join(parts)


def plain(asked: Path) -> dict[str, Any]:
    """The manifest and the whole lineage, for machines."""
    node = _node(asked)
    found = api.show(asked)
    return {
        "ran_because": list(node.ran_because) if node else [],
        "folder": str(found.folder),
        "manifest": found.manifest.model_dump(mode="json"),
        "lineage": _tree(found.folder, found.manifest),
    }


def verified(folder: Path, damages: Mapping[str, tuple[str, ...]]) -> tuple[str, int]:
    """What `verify` found, and the exit code."""
    broken = [(node, damage) for node, found in damages.items() for damage in found]
    if broken:
        return f"{folder}: {wording.counted(len(broken), 'damage')}.\n{columns(broken)}", Mismatch.code
    return f"{folder}: every digest of {len(damages)} artifacts holds.", PASS


def _node(asked: Path) -> NodeView | None:
    """The node that `RUN/NODE` names; None for a folder of its own. UsageError where the run has no such node."""
    run = run_of(asked)
    if run is None:
        return None
    id, nodes = asked.relative_to(run.folder).as_posix(), read(run.folder).nodes
    if id in nodes or asked.exists():
        return nodes.get(id)
    near = difflib.get_close_matches(id, nodes, n=1)
    hint = f'Did you mean "{near[0]}"?' if near else f"It has {', '.join(nodes) or 'none yet'}."
    raise UsageError(f'the run has no node "{id}".', where=str(run.folder), remedy=hint)


def _unmade(node: NodeView) -> str:
    """A node without an artifact: what became of it and why."""
    rows = [
        ("kind", node.kind),
        ("state", node.state),
        ("because", "; ".join(node.reasons)),
        ("failure", node.failure),
        ("log", node.log),
    ]
    return f"{wording.line(node.id)}: nothing made\n{columns(row for row in rows if row[1])}"


def _lineage(folder: Path, made: Manifest, indent: str = "  ", seen: set[str] | None = None) -> Iterator[str]:
    """Inputs below each other, down to artifacts that read nothing; one seen before is not unfolded again."""
    known = seen if seen is not None else set[str]()
    for role, given in made.facts.inputs.items():
        for one in given:
            above = artifact.manifest(neighbour(folder, one.fingerprint)) if one.fingerprint else None
            again = one.digest in known and above is not None and any(above.facts.inputs.values())
            kind = f" ({above.kind})" if above else ""
            dots = " …" if again else ""
            yield f"{indent}{wording.line(role)}: {wording.line(one.node)}{kind}  {one.digest[:12]}{dots}"
            if above is not None and not again:
                known.add(one.digest)
                yield from _lineage(neighbour(folder, one.fingerprint), above, indent + "  ", known)
    if not any(made.facts.inputs.values()) and indent == "  ":
        yield "  reads nothing"


def _tree(folder: Path, made: Manifest) -> dict[str, Any]:
    """Every artifact this one stands on, by digest, each with its inputs."""
    found: dict[str, Any] = {}
    pending = [(folder, made)]
    while pending:
        at_, one = pending.pop()
        found[one.digest] = {"node": one.node, "kind": one.kind, "fingerprint": one.fingerprint}
        found[one.digest]["inputs"] = {r: [g.digest for g in given] for r, given in one.facts.inputs.items()}
        for given in (g for many in one.facts.inputs.values() for g in many if g.digest not in found):
            above = artifact.manifest(neighbour(at_, given.fingerprint)) if given.fingerprint else None
            if above is None:
                found[given.digest] = {"node": given.node}
            else:
                pending.append((neighbour(at_, given.fingerprint), above))
    return found


def _metric(name: str, metric: Metric) -> tuple[str, ...]:
    if metric.value is None:
        return name, "", "", metric.reason or ""
    items = f"n {wording.count(metric.n)}" if metric.n else ""
    fraction = f"{metric.k}/{metric.n}" if metric.k is not None else items or metric.detail
    value = f"{wording.number(metric.value)} {metric.unit}".strip()
    return name, value, wording.interval(metric.low, metric.high), fraction


def _json(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
