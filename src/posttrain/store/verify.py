"""Everything that is wrong with what a run has on disk: its artifacts, the links to them, its ledger."""

from pathlib import Path

from posttrain.store import artifact, ledger
from posttrain.store.run import Run

LEDGER = "ledger.jsonl"
"""Under this name stand the damages of the ledger itself."""


def damages(run: Run) -> dict[str, tuple[str, ...]]:
    """Damages by node, and of the ledger; every digest is computed again."""
    told = _fingerprints(run)
    nodes = dict.fromkeys((*run.current_nodes(), *(node for node, marks in told.items() if _made(run, marks))))
    found = {node: _node(run, node, told.get(node)) for node in nodes}
    return found | _ledger(run.ledger)


def _node(run: Run, node: str, told: set[str] | None) -> tuple[str, ...]:
    """Of a node: its link leads to an artifact that the ledger knows as one of the node's, and that is whole."""
    link, mark = run.pointer(node), run.current(node)
    if mark is None:
        return (f"its link {link.name} is {'no link any more' if link.exists() else 'gone'}",)
    folder = run.store.artifact(mark)
    if link.parent.joinpath(link.readlink()).resolve() != folder.resolve():
        return (f"its link leads to {link.readlink()}, which is no artifact of this store",)
    strange = told is not None and mark not in told
    said = (f"its link leads to {mark[:12]}, which the ledger does not know as this node's",) if strange else ()
    return (*said, *artifact.verify(folder))


def _fingerprints(run: Run) -> dict[str, set[str]]:
    """Of every node the fingerprints that the ledger names."""
    found: dict[str, set[str]] = {}
    for record in ledger.read(run.ledger):
        if record["event"] in ("node_started", "node_finished", "node_kept"):
            found.setdefault(str(record.get("node")), set()).add(str(record.get("fingerprint")))
    return found


def _made(run: Run, marks: set[str]) -> bool:
    return any(run.store.artifact(mark).exists() for mark in marks)


def _ledger(path: Path) -> dict[str, tuple[str, ...]]:
    """A line that a kill tore is no damage: its writer never came to its end."""
    unread = ledger.unread(path)
    return {LEDGER: (str(unread),)} if unread.strange else {}
