"""A view as a file: the page, Markdown or JSON, by the suffix of its name."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from posttrain.reports.learning import learning
from posttrain.reports.story import outcome, programs
from posttrain.reports.view import View
from posttrain.spec.errors import UsageError
from posttrain.store.run import at, put

SUFFIXES = (".html", ".md", ".json")
"""The forms a report has."""


def write(view: View, out: Path | None = None) -> Path:
    """Write the report of a run; by default the page, into the run's folder. UsageError for another suffix."""
    target = at(view.folder).report if out is None else out
    if target.suffix not in SUFFIXES:
        raise UsageError(
            f'a report is {", ".join(SUFFIXES)}, not "{target.suffix}".', where=str(target), remedy="Change the suffix."
        )
    text = text_of(view, target.suffix)
    put(target, text)
    return target


def text_of(view: View, suffix: str) -> str:
    """The report in one form."""
    if suffix == ".json":
        return json.dumps(plain(view), indent=1, ensure_ascii=False) + "\n"
    if suffix == ".md":
        from posttrain.reports.markdown import document

        return document(view)
    from posttrain.reports.html import page

    return page(view)


def plain(view: View) -> dict[str, Any]:
    """The view as JSON: outcome, nodes with metrics and times, verdicts, the learning table."""
    return {
        "run": str(view.folder),
        "name": view.name,
        "seed": view.seed,
        "profiles": list(view.profiles),
        "code": view.exit_code,
        "outcome": asdict(outcome(view)),
        "started": view.started,
        "took": view.took,
        "environment": dict(view.environment),
        "programs": asdict(ran) if (ran := programs(view)) else None,
        "settings": [asdict(setting) for setting in view.settings],
        "nodes": [_node(view, id) for id in view.nodes],
        "verdicts": [asdict(verdict) for verdict in view.verdicts],
        "learning": asdict(learning(view)),
    }


def _node(view: View, id: str) -> dict[str, Any]:
    node = view.nodes[id]
    made = node.manifest
    return {
        "node": id,
        "kind": node.kind,
        "state": node.state,
        "reasons": list(node.reasons),
        "ran_because": list(node.ran_because),
        "failure": node.failure,
        "fingerprint": made.fingerprint if made else None,
        "digest": made.digest if made else None,
        "inputs": [asdict(source) for source in node.sources],
        "metrics": {name: asdict(metric) for name, metric in node.metrics.items()},
        "remarks": [remark.model_dump() for remark in node.remarks],
        "measured": dict(made.measured) if made else {},
    }
