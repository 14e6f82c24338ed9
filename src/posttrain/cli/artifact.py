"""One artifact as text: why it was made, from what back to the data, its metrics, files and remarks."""

import difflib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from posttrain import api
from posttrain.cli.tables import columns, verdict_rows
from posttrain.engine.judge.trace import Link, chain
from posttrain.reports import wording
from posttrain.reports.read import read
from posttrain.reports.view import NodeView, View, sandbox
from posttrain.spec.errors import PASS, Mismatch, UsageError
from posttrain.spec.gate import Metric
from posttrain.store import artifact
from posttrain.store.artifact import Manifest
from posttrain.store.run import neighbour, run_of


def text(asked: Path) -> str:
    """Everything a person asks of `RUN/NODE` or of an artifact's folder; of a node that made nothing, what is known."""
    node, view = _node(asked)
    if node is not None and not _is_made(asked, node):
        return _unmade(asked, node)
    found = api.show(asked)
    made = found.manifest
    head = [
        ("kind", made.kind),
        ("type", made.type),
        ("made because", "; ".join(node.ran_because if node else ()) or "not on record"),
        *([("last run", _state(node)), ("now", _now(asked, made)[1])] if node else []),
        ("fingerprint", made.fingerprint),
        ("digest", made.digest),
        ("seed", str(made.facts.seed)),
        *(
            [("programs ran at", "no level: none was run" if level == "none" else level)]
            if (level := sandbox(made.measured))
            else []
        ),
        ("folder", str(found.folder)),
    ]
    parts = [f"{wording.line(made.node)}\n{columns(head)}"]
    if made.facts.knobs:
        parts.append("Knobs\n" + columns((key, _json(value)) for key, value in made.facts.knobs.items()))
    parts.append("Lineage\n" + lineage(chain(found.folder, made)))
    judged = view.judged(node.id) if view and node else ()
    if judged:
        parts.append("Gates\n" + columns(verdict_rows(judged)))
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
    node, view = _node(asked)
    found = api.show(asked)
    state, said = _now(asked, found.manifest) if node else ("unknown", "this folder is of no run")
    return {
        "ran_because": list(node.ran_because) if node else [],
        "last_run": {"state": node.state, "reasons": list(node.reasons)} if node else None,
        "now": {"state": state, "why": said},
        "verdicts": [asdict(verdict) for verdict in view.judged(node.id)] if view and node else [],
        "folder": str(found.folder),
        "manifest": found.manifest.model_dump(mode="json"),
        "lineage": _tree(found.folder, found.manifest),
    }


def traced(asked: Path, metric: str) -> str:
    """One number: its value, the files it is counted from, and what those were made from."""
    found = api.trace(asked, metric)
    files = [
        (f.name, "" if f.rows is None else wording.counted(f.rows, "row"), wording.size(f.size), f.sha256[:12])
        for f in found.files
    ]
    name, *value = _metric(found.name, found.metric)
    parts = [
        f"{wording.line(found.node)}: {wording.line(name)} = {'  '.join(part for part in value if part)}",
        f"From\n{columns(files, right=(1, 2))}\n  {found.recount}",
        _chain(found.chain),
    ]
    return "\n\n".join(parts)


def traced_plain(asked: Path, metric: str) -> dict[str, Any]:
    """The same for machines."""
    return asdict(api.trace(asked, metric))


def verified(folder: Path, damages: Mapping[str, tuple[str, ...]]) -> tuple[str, int]:
    """What `verify` found, and the exit code."""
    broken = [(node, damage) for node, found in damages.items() for damage in found]
    if broken:
        return f"{folder}: {wording.counted(len(broken), 'damage')}.\n{columns(broken)}", Mismatch.code
    return f"{folder}: every digest of {len(damages)} artifacts holds.", PASS


def _node(asked: Path) -> tuple[NodeView | None, View | None]:
    """The node that `RUN/NODE` names, with its run; None for a folder of its own. UsageError where there is no such."""
    run = run_of(asked)
    if run is None:
        return None, None
    view = read(run.folder)
    id, nodes = asked.relative_to(run.folder).as_posix(), view.nodes
    if id in nodes or asked.exists():
        return nodes.get(id), view
    near = difflib.get_close_matches(id, nodes, n=1)
    hint = f'Did you mean "{near[0]}"?' if near else f"It has {', '.join(nodes) or 'none yet'}."
    raise UsageError(f'the run has no node "{id}".', where=str(run.folder), remedy=hint)


def _is_made(asked: Path, node: NodeView) -> bool:
    """Whether there is an artifact to show, be it damaged: that is an error with its own exit code."""
    run = run_of(asked)
    return node.manifest is not None or (run is not None and run.pointer(node.id).is_dir())


def _unmade(asked: Path, node: NodeView) -> str:
    """A node without an artifact: what became of it and why, and what the plan says of it now."""
    rows = [
        ("kind", node.kind),
        ("state", node.state),
        ("because", "; ".join(node.reasons)),
        ("now", _now(asked, None)[1]),
        ("failure", node.failure),
        ("log", node.log),
    ]
    return f"{wording.line(node.id)}: nothing made\n{columns(row for row in rows if row[1])}"


def _state(node: NodeView) -> str:
    return f"{node.state}: {'; '.join(node.reasons)}" if node.reasons else node.state


def _now(asked: Path, made: Manifest | None) -> tuple[str, str]:
    """Whether an artifact is what the run's recipe asks for now, and why: a word, and a sentence."""
    try:
        decision = api.outlook(asked)
    except UsageError as error:
        return "unknown", f"cannot be told: {wording.line(error.paragraph())}"
    if decision is None:
        return "unknown", "the recipe has no such node now"
    why = "; ".join(decision.reasons)
    if decision.action == "keep" and made is not None and decision.fingerprint != made.fingerprint:
        return "stale", f"stale: the recipe asks for {wording.short(decision.fingerprint)}, which is there too"
    word = {"keep": "current", "run": "stale", "maybe": "perhaps stale", "blocked": "blocked"}[decision.action]
    if made is None and decision.action in ("run", "maybe"):
        word = "would run"
    return word, f"{word}: {why}"


def lineage(links: Iterable[Link]) -> str:
    """Artifacts below the one that reads them, down to those that read nothing, with their seeds and files."""
    return "\n".join(_link(link) for link in links if link.depth or not link.reads)


def _link(link: Link) -> str:
    if not link.depth:
        return f"  reads nothing; made from {_origin(link)}"
    more = "" if link.again or link.reads or not link.kind else f"  from {_origin(link)}"
    dots = " …" if link.again and link.reads else ""
    return f"{'  ' * link.depth}{wording.line(link.role)}: {_called(link)}  {link.digest[:12]}{more}{dots}"


def _called(link: Link) -> str:
    return f"{wording.line(link.node)} ({link.kind or 'a folder of yours'})"


def _origin(link: Link) -> str:
    """What a source was made from."""
    seed = [] if link.seed is None else [f"seed {link.seed}"]
    return ", ".join([*seed, *(f"{wording.line(knob)} {digest[:12]}" for knob, digest in link.files.items())])


def _chain(links: Iterable[Link]) -> str:
    """Every artifact that a number rests on, once, with what it read; then the sources."""
    once = [link for link in links if not link.again]
    made = [(_called(link), link.digest[:12], f"reads {_grouped(link.reads)}") for link in once if link.reads]
    sources = [(_called(link), link.digest[:12], _origin(link)) for link in once if not link.reads]
    parts = [("Made from\n" + columns(made)) if made else "", "Sources\n" + columns(sources)]
    return "\n\n".join(part for part in parts if part)


def _grouped(nodes: Iterable[str]) -> str:
    """Names of nodes, several members of one stage as `prepare/* (4)`."""
    stages: dict[str, list[str]] = {}
    for node in dict.fromkeys(nodes):
        stages.setdefault(node.partition("/")[0], []).append(node)
    return ", ".join(many[0] if len(many) == 1 else f"{stage}/* ({len(many)})" for stage, many in stages.items())


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
