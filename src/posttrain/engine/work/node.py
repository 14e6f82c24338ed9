"""The way from a node's folder to its artifact."""

import contextlib
import math
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from posttrain.engine import environment, machine
from posttrain.engine.expand import Graph, Node
from posttrain.engine.judge import inputs
from posttrain.engine.plan import facts, own_folders
from posttrain.engine.work.clock import Clock
from posttrain.engine.work.leftovers import drop
from posttrain.engine.work.limits import HOUR, Limits, Side
from posttrain.engine.work.room import Room
from posttrain.spec.errors import BudgetReached, Mismatch
from posttrain.spec.gate import Metric
from posttrain.spec.knobs import UNLIMITED, Budget
from posttrain.spec.stage import Outcome
from posttrain.store import artifact, lock
from posttrain.store.account import Account
from posttrain.store.artifact import Manifest, Remark
from posttrain.store.fingerprint import Facts, fingerprint
from posttrain.store.ledger import Ledger
from posttrain.store.run import Run
from posttrain.store.scan import FileEntry, digest


@dataclass(frozen=True)
class Order:
    """How a node is worked."""

    invocation: str = ""
    """The `run` of ledger records."""
    strict: bool = False
    """A counted fallback is a failure."""
    again: bool = False
    """Work even where the artifact is there."""
    budget: Budget = UNLIMITED
    """The caps of the run."""
    left_s: float | None = None
    """Seconds that are left of the run's hours."""


def work_node(graph: Graph, id: str, run: Run, order: Order) -> Manifest:
    """Make one node's artifact from the current artifacts of its inputs, and point the node at it.

    Where another process is at the same artifact, waits for it and takes what it made.
    """
    node = graph.nodes[id]
    own = own_folders(node)
    now = facts(node, _current(node, run), own)
    mark = fingerprint(now)
    ledger = Ledger(run.ledger, run=order.invocation)

    def notice(holder: lock.Holder) -> None:
        ledger.write("note", node=id, kind="waits", text=f"{holder} is making the same artifact", count=1)

    with contextlib.closing(ledger), lock.waiting(run.store.lock(mark), notice):
        folder = run.store.artifact(mark)
        made = None if order.again else artifact.glance(folder)
        if made is None:
            _clear_if_other(node, run, mark, ledger)
            clock, account = Clock(run.store.time(mark)), Account(run.store.account(mark))
            room = Room(node, run, mark, axes={n.id: n.axes for n in graph.nodes.values()}, own=own)
            room.report_to(ledger, clock, _limits(node, run, account, clock, order), strict=order.strict)
            _use_threads(node.resources.cpus)
            try:
                outcome = node.kind.run(room)
            except BudgetReached:
                clock.keep()
                raise
            made = artifact.commit(
                room.out,
                folder,
                lambda files: _made(room, outcome, now, {**clock.total(), **_told(account)}, files),
                replaced=run.store.replaced(mark),
                known=room.digests,
            )
            drop(run.store, mark, run.store.scratch(mark))
        run.point(id, mark)
    return made


def _clear_if_other(node: Node, run: Run, mark: str, ledger: Ledger) -> None:
    """Throw away what an attempt under other resources left: its bits are not those this one would have."""
    store = run.store
    if store.work(mark).exists() and (why := environment.anew(store.conditions(mark), node.resources)):
        drop(store, mark, store.work(mark))
        ledger.write("note", node=node.id, kind="anew", text=f"starts anew: {why}", count=1)
    environment.record_conditions(store.conditions(mark), node.resources)


def _limits(node: Node, run: Run, account: Account, clock: Clock, order: Order) -> Limits:
    hours = node.budget.hours
    left = None if hours is None else hours * HOUR - clock.total()["wall_s"]
    return Limits(
        Side(Account(run.account), order.budget, order.left_s),
        Side(account, node.budget, left, stage=node.stage),
    )


def _told(account: Account) -> dict[str, Any]:
    """What was spent, as it is measured."""
    spent = account.spent()
    tokens = {"tokens": spent.tokens} if spent.tokens else {}
    return {**tokens, **({"money": str(spent.money)} if spent.money else {})}


def _made(room: Room, outcome: Outcome, now: Facts, took: Mapping[str, Any], files: tuple[FileEntry, ...]) -> Manifest:
    assert files, f"{room.node.id} made no file"
    node = room.node
    return Manifest(
        node=node.id,
        kind=node.kind.name,
        type=node.kind.makes,
        fingerprint=room.mark,
        digest=digest(files),
        facts=now,
        axes=dict(node.axes),
        files=files,
        metrics={name: _finite(metric) for name, metric in outcome.metrics.items()},
        remarks=tuple(Remark(kind=kind, text=text, count=n) for (kind, text), n in room.remarks.items()),
        measured={
            **took,
            **outcome.measured,
            "resources": node.resources.model_dump(mode="json"),
            "environment": {**environment.environment(node.resources), **room.found},
        },
    )


def _current(node: Node, run: Run) -> dict[str, Manifest]:
    """The manifests of a node's inputs as they are now."""
    found: dict[str, Manifest] = {}
    for id in inputs(node):
        made = artifact.manifest(run.pointer(id))
        if made is None:
            raise Mismatch(f"its input {id} is not made.", where=node.id, remedy="Run the recipe, not the node alone.")
        found[id] = made
    return found


def _finite(metric: Metric) -> Metric:
    """Unknown is not a number: a value that is not finite is none."""
    if metric.value is None or math.isfinite(metric.value):
        return metric
    return Metric(None, f"the value is {metric.value}", n=metric.n, unit=metric.unit)


def _use_threads(cpus: int) -> None:
    """Let torch and what it calls use so many cores; torch is told only where it is loaded already."""
    os.environ.update(dict.fromkeys(machine.THREADS, str(cpus)))
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(cpus)
