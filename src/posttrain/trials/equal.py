"""Two runs of one recipe, held against each other: every byte, every verdict, and what lies about afterwards."""

import filecmp
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from posttrain.spec.errors import Mismatch
from posttrain.store import artifact, ledger
from posttrain.store.run import MANIFEST, Run

NOT_COMPARED = frozenset({"measured", "seal"})
"""Of a manifest: times and rates, and what is computed over them."""

OWN = frozenset({"account.json", "artifacts", "ledger.jsonl", "logs", "nodes", "recipe.json", "report.html"})
"""Below a run's folder: what tells of times and attempts, and what is compared as artifacts."""

SAID_OF_VERDICTS = ("value", "condition", "evidence", "reason", "absent", "waived")


def differences(calm: Run, other: Run) -> tuple[str, ...]:
    """Everything in which `other` is not `calm`, each named; none for two runs that are the same run."""
    return (*_artifacts(calm, other), *_records(calm, other), *_made_twice(other), *_places(calm, other))


def torn(run: Run) -> int:
    """Lines of a ledger that a kill cut and readers leave out."""
    lines = run.ledger.read_bytes().split(b"\n")
    return sum(1 for line in lines if line.strip()) - sum(1 for _ in ledger.read(run.ledger))


def _artifacts(calm: Run, other: Run) -> Iterator[str]:
    expected, found = calm.current_nodes(), other.current_nodes()
    yield from (f"{node} is missing" for node in expected if node not in found)
    yield from (f"{node} is one too many" for node in found if node not in expected)
    for node in (node for node in expected if node in found):
        ours, theirs = calm.pointer(node), other.pointer(node)
        yield from (f"{node}: {name} differs" for name in _facts(ours, theirs))
        yield from (f"{node}: {name} differs" for name in _files(ours, theirs))
        yield from (f"{node}: {damage}" for damage in artifact.verify(theirs.resolve()))


def _facts(ours: Path, theirs: Path) -> Iterator[str]:
    """The parts of two manifests that are not equal; one that cannot be read is told with its damages."""
    one, two = _plain(ours), _plain(theirs)
    yield from (f"{MANIFEST} ({name})" for name in one if two and one[name] != two.get(name))


def _plain(folder: Path) -> dict[str, Any]:
    try:
        made = artifact.manifest(folder)
    except Mismatch:
        return {}
    return made.model_dump(mode="json", exclude=set(NOT_COMPARED)) if made else {}


def _files(ours: Path, theirs: Path) -> Iterator[str]:
    """The files of two artifacts whose bytes are not equal."""
    for name in sorted(_below(ours) | _below(theirs)):
        one, two = ours / name, theirs / name
        if name != MANIFEST and not (one.is_file() and two.is_file() and filecmp.cmp(one, two, shallow=False)):
            yield name


def _below(folder: Path) -> set[str]:
    place = folder.resolve()
    return {path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file()}


def _records(calm: Run, other: Run) -> Iterator[str]:
    """Verdicts and steps as readers of the ledger count them: the last of each counts."""
    readers: tuple[tuple[str, Callable[[Run], dict[str, Any]]], ...] = (
        ("the verdict of {}", _verdicts),
        ("what was told of {}", _steps),
    )
    for say, of in readers:
        one, two = of(calm), of(other)
        yield from (f"{say.format(key)} differs" for key in one | two if one.get(key) != two.get(key))


def _verdicts(run: Run) -> dict[str, Any]:
    said = (record for record in ledger.read(run.ledger) if record["event"] == "verdict")
    return {f"{one['gate']} at {one['node']}": [one.get(name) for name in SAID_OF_VERDICTS] for one in said}


def _steps(run: Run) -> dict[str, str]:
    told = (record for record in ledger.read(run.ledger) if record["event"] == "step")
    return {f"{one['node']} step {one['metrics'].get('step')}": json.dumps(one["metrics"]) for one in told}


def _made_twice(run: Run) -> Iterator[str]:
    """Artifacts that one run's ledger has with two contents."""
    first: dict[str, str] = {}
    for record in ledger.read(run.ledger):
        if record["event"] == "node_finished":
            known = first.setdefault(record["fingerprint"], record["digest"])
            if known != record["digest"]:
                yield f"{record['node']} was made twice, with different bytes"


def _places(calm: Run, other: Run) -> Iterator[str]:
    """Files and folders that only one of two finished runs has, and copies (views) whose bytes are not equal."""
    one, two = _named(calm.folder), _named(other.folder)
    yield from (f"{name} was left behind" for name in sorted(two - one))
    yield from (f"{name} is missing" for name in sorted(one - two))
    for name in sorted(name for name in one & two if name.partition("/")[0] not in OWN):
        ours, theirs = calm.folder / name, other.folder / name
        if ours.is_file() and not filecmp.cmp(ours, theirs, shallow=False):
            yield f"{name} differs"


def _named(folder: Path) -> set[str]:
    """What lies below a run's folder; caches outlive runs by design."""
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*")}
    return {name for name in names if not name.startswith("cache/")}
