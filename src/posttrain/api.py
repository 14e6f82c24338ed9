"""Load, check, plan, run, work, judge, status, report: the one place where engine meets stages.

Every function takes plain values and returns frozen ones; what a user can get wrong is raised as a `spec.errors.Stop`.
"""

import contextlib
import json
import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Callable, Generator, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from posttrain import stages
from posttrain.engine import plan as planning
from posttrain.engine.budget import Purse, warnings
from posttrain.engine.capacity import Capacity
from posttrain.engine.estimate import Foresight
from posttrain.engine.expand import Graph, Node, expand
from posttrain.engine.judge import Bench
from posttrain.engine.judge.again import Again, Judged
from posttrain.engine.judge.trace import Traced, same_knobs
from posttrain.engine.judge.trace import trace as back
from posttrain.engine.local import LocalExecutor
from posttrain.engine.plan import Decision, Outlook, Plan, Selection
from posttrain.engine.run import Drive, Executor, Finished
from posttrain.engine.views import Views
from posttrain.engine.work import Order, environment, work_node
from posttrain.reports import publish
from posttrain.reports.read import read as read_view
from posttrain.reports.view import View
from posttrain.spec.errors import UsageError
from posttrain.spec.gate import Verdict
from posttrain.spec.knobs import Resources, permit
from posttrain.spec.load import load
from posttrain.spec.recipe import Recipe
from posttrain.spec.stage import Kinds
from posttrain.spec.waiver import Waiver, standing
from posttrain.spec.words import suggest
from posttrain.store import artifact, ledger, lock
from posttrain.store import verify as verification
from posttrain.store.artifact import Manifest
from posttrain.store.ledger import Ledger, Record, Tail
from posttrain.store.run import Run, existing, locate, put, run_of, wanted

WORK = "posttrain.api:work"
"""What executors call, in a process of its own for every node."""

WARM = ("torch", "torch._dynamo", "posttrain.models.load", "posttrain.runners.rollout")
"""What the warm worker imports before it forks: what most nodes need and what takes long. It starts no thread.

torch imports `torch._dynamo` by itself at the first model: one CPU-second that every node would pay.
"""

Watch = Callable[[Record], None]
"""Hears of every ledger record while a run is on."""


@dataclass(frozen=True)
class Asked:
    """What a user asks of a recipe."""

    source: str | Path
    """A shipped recipe's name, a TOML file, or a resolved `recipe.json`."""
    profiles: tuple[str, ...] = ()
    sets: tuple[str, ...] = ()
    """`KEY=VALUE`, each."""
    run: Path | None = None
    """The run's folder; none: the recipe's own."""
    store: Path | None = None
    """Where artifacts lie; none: where the run remembers them, else in the run."""
    only: tuple[str, ...] = ()
    from_: tuple[str, ...] = ()
    until: tuple[str, ...] = ()
    again: tuple[str, ...] = ()
    jobs: int | None = None
    """Nodes at a time; none: as many as the cores hold."""

    @property
    def selection(self) -> Selection:
        """The part that chooses nodes."""
        return Selection(self.only, self.from_, self.until, self.again)


@dataclass(frozen=True)
class Checked:
    """A recipe that holds, with its nodes."""

    recipe: Recipe
    graph: Graph


@dataclass(frozen=True)
class Planned:
    """A recipe, its nodes, and what would happen to them in a folder."""

    recipe: Recipe
    graph: Graph
    plan: Plan
    folder: Path
    warnings: tuple[str, ...] = ()
    """Where an estimate is above a cap of the budget."""


@dataclass(frozen=True)
class Shown:
    """One artifact: where it lies, what proves it."""

    folder: Path
    manifest: Manifest


def load_recipe(asked: Asked, *, kinds: Kinds = stages) -> Recipe:
    """The recipe with profiles, environment and changes applied; RecipeError with everything wrong in it."""
    return load(asked.source, kinds=kinds, profiles=asked.profiles, sets=asked.sets, environ=os.environ, run=asked.run)


def check(asked: Asked, *, kinds: Kinds = stages) -> Checked:
    """Whether a recipe is sound: names, knobs, roles, files, and what the kinds themselves refuse."""
    recipe = load_recipe(asked, kinds=kinds)
    graph = expand(recipe, kinds)
    own = planning.own_folders(*graph.nodes.values())
    planning.objections(Foresight(graph, own), graph.nodes.values())
    for node in graph.nodes.values():
        planning.facts(node, {}, own)
    _permit(recipe, graph.nodes.values())
    return Checked(recipe, graph)


def plan(asked: Asked, *, kinds: Kinds = stages) -> Planned:
    """What would run, what stays, and why. Writes nothing."""
    recipe = load_recipe(asked, kinds=kinds)
    graph, place = expand(recipe, kinds), wanted(recipe.run, asked.store)
    outlook, bench = Outlook(graph, place, asked.selection), _bench(graph, recipe, place)
    made = planning.make(outlook, bench, Views(recipe, place))
    _permit(recipe, _due(graph, made))
    expected = {id: (graph.nodes[id], decision.estimate) for id, decision in made.decisions.items()}
    return Planned(recipe, graph, made, place.folder, warnings(recipe.budget, place, made.total, expected))


def run(
    asked: Asked, *, kinds: Kinds = stages, executor: Executor | None = None, watch: Watch | None = None
) -> Finished:
    """Do what the plan says; what happens to nodes is told in the result, not raised.

    UsageError where another process drives the same run, or a node needs what was left out of it.
    """
    recipe = load_recipe(asked, kinds=kinds)
    graph, place = expand(recipe, kinds), wanted(recipe.run, asked.store)
    with _driving(place):
        outlook, bench = Outlook(graph, place, asked.selection), _bench(graph, recipe, place)
        views, purse = Views(recipe, place), Purse(place, recipe.budget)
        made = planning.make(outlook, bench, views)
        _refuse_left_out(made)
        due = _due(graph, made)
        _permit(recipe, due)
        capacity = Capacity.of_machine(due, asked.jobs)
        invocation = secrets.token_hex(4)
        tail = Tail(place.ledger, from_end=True)
        with contextlib.closing(Ledger(place.ledger, run=invocation)) as record:
            _begin(place, recipe, record, made, capacity)
            hands = executor or LocalExecutor(WORK, warm=WARM)
            drive = Drive(outlook, bench, made, views=views, executor=hands, ledger=record, capacity=capacity)
            options = {"invocation": invocation, "strict": recipe.strict}
            return drive.go(options, lambda: _tell(tail, watch), purse=purse)


def work(
    run: str,
    node: str,
    *,
    invocation: str = "",
    strict: bool = False,
    again: bool = False,
    until: float | None = None,
    kinds: Kinds = stages,
) -> dict[str, str]:
    """Work one node of a run in this process; the fingerprint and digest of what it made.

    `until`: when the run's hours are over, by this machine's monotonic clock.
    """
    left_s = None if until is None else until - time.monotonic()
    place = existing(Path(run))
    recipe = load(place.recipe, kinds=kinds)
    order = Order(invocation, strict=strict, again=again, budget=recipe.budget, left_s=left_s)
    made = work_node(expand(recipe, kinds), node, place, order)
    return {"fingerprint": made.fingerprint, "digest": made.digest}


def status(run: Path) -> View:
    """What the records of a run say: nodes, verdicts, times."""
    return read_view(run)


def report(run: Path, out: Path | None = None) -> Path:
    """Write the page of a run (html, md or json by suffix); where it lies."""
    return publish.write(read_view(run), out)


def show(reference: Path) -> Shown:
    """The artifact that `RUN/NODE` or a folder is."""
    folder = locate(reference)
    known = run_of(reference) is not None or artifact.manifest(folder) is not None
    made = artifact.glance(folder) if known else None
    if made is None:
        raise UsageError(
            "this folder is no artifact.", where=str(reference), remedy="Give RUN/NODE of a finished node."
        )
    return Shown(folder, made)


def verify(run: Path) -> dict[str, tuple[str, ...]]:
    """Every damage of a run's current artifacts and of its ledger, by node; every digest is computed again."""
    return verification.damages(existing(run))


@contextlib.contextmanager
def _driving(place: Run) -> Generator[None]:
    """Be the one process that drives a run; SIGTERM is an interruption like Ctrl-C."""
    held = lock.Lock(place.lock)
    holder = held.take()
    if holder is not None:
        remedy = "Wait for it, or give this run another folder with --run."
        raise UsageError(f"this run is in use by {holder}.", where=str(place.folder), remedy=remedy)
    main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, signal.default_int_handler) if main else None
    try:
        yield
    finally:
        if main:
            signal.signal(signal.SIGTERM, before)
        held.release()


def _bench(graph: Graph, recipe: Recipe, place: Run) -> Bench:
    waivers = standing(ledger.read(place.ledger, ("waived", "withdrawn")))
    return Bench(graph, only=recipe.gates, waivers=waivers, keep_going=recipe.keep_going)


def _refuse_left_out(made: Plan) -> None:
    """Nothing begins where a node needs another that was left out and is not as it must be."""
    for decision in made.decisions.values():
        if decision.code == UsageError.code:
            remedy = "Choose that stage too, or take --only and --from away."
            raise UsageError("; ".join(decision.reasons), where=decision.node, remedy=remedy)


def _due(graph: Graph, made: Plan) -> list[Node]:
    """The nodes that are not kept."""
    return [graph.nodes[id] for id, decision in made.decisions.items() if decision.action != "keep"]


def _permit(recipe: Recipe, nodes: Iterable[Node]) -> None:
    """UsageError, with the key and who set it, where a sandbox below L2 is not what the environment permits."""
    for node in nodes:
        keys = (f"stage.{node.stage}.resources.sandbox", "resources.sandbox")
        key = next((key for key in keys if key in recipe.origins), keys[-1])
        by = f" ({recipe.origins[key]})" if key in recipe.origins else ""
        permit(node.resources.sandbox, os.environ, said=f'{key} = "{node.resources.sandbox}"{by}')


def _begin(place: Run, recipe: Recipe, record: Ledger, made: Plan, capacity: Capacity) -> None:
    """Leave on record what is about to happen."""
    place.remember_store()
    place.tidy()
    put(place.recipe, json.dumps(recipe.resolved, indent=1, ensure_ascii=False) + "\n")
    record.write(
        "run_started",
        recipe=recipe.name,
        seed=recipe.seed,
        profiles=recipe.profiles,
        jobs=capacity.jobs,
        store=str(place.store.root),
        pid=os.getpid(),
        host=socket.gethostname(),
        environment=environment(Resources()),
    )
    record.write("plan", decisions=[_plain(asdict(one)) for one in made.decisions.values()], off=made.off)
    for remark in capacity.remarks:
        record.write("note", kind="capacity", text=remark, count=1)


def _plain(value: Any) -> Any:
    """Decimals as text."""
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    return value if isinstance(value, (str, int, float, list, tuple, type(None))) else str(value)


def _tell(tail: Tail, watch: Watch | None) -> None:
    if watch is not None:
        for record in tail.new():
            watch(record)


def judge(run: Path, *, only: tuple[str, ...] = (), sets: tuple[str, ...] = (), kinds: Kinds = stages) -> Judged:
    """What the gates of a run say of what is saved: digests checked, metrics counted again, views read back.

    On the record; under changed thresholds (`sets`) the run's own verdicts stay what they are. UsageError where another
    process drives the run, where a gate is not there, and where `sets` changes anything but gates.
    """
    place = existing(run)
    _gates_alone(sets, place)
    with _driving(place), contextlib.closing(Ledger(place.ledger, run=secrets.token_hex(4))) as record:
        judged = _again(place, kinds, sets).judge(only=only, sets=sets)
        if not sets:
            for verdict in judged.verdicts:
                record.write("verdict", **asdict(verdict))
        record.write(
            "judged",
            code=judged.code,
            only=only,
            sets=sets,
            mismatches=[f"{node}: {mismatch.what}" for node, mismatch in judged.mismatches.items()],
            verdicts=[
                {"gate": v.gate, "node": v.node, "value": v.value, "condition": v.condition, "waived": v.waived}
                for v in judged.verdicts
            ],
        )
    return judged


def waive(run: Path, waiver: Waiver, *, kinds: Kinds = stages) -> tuple[Verdict, ...]:
    """Put a waiver on the record of a run; the verdicts that it lets stand.

    UsageError where no gate has that name, or where every gate of that name passes and needs none.
    """
    place = existing(run)
    judged = _again(place, kinds, (), count=False).judge(only=(waiver.gate,))
    open_ = tuple(verdict for verdict in judged.verdicts if verdict.value != "pass")
    if judged.verdicts and not open_:
        nodes = ", ".join(verdict.node for verdict in judged.verdicts)
        raise UsageError(f"it passes ({nodes}), and what passes needs no waiver.", where=f"gate {waiver.gate}")
    with contextlib.closing(Ledger(place.ledger, run=secrets.token_hex(4))) as record:
        record.write("waived", **waiver.model_dump(mode="json"))
    return open_


def withdraw(run: Path, gate: str, *, by: str, because: str) -> None:
    """Take the waiver of a gate back, on the record; UsageError where none counts under that name."""
    place = existing(run)
    known = standing(ledger.read(place.ledger, ("waived", "withdrawn")))
    given = [waiver.gate for waiver in (*known.live, *known.expired)]
    if gate not in given:
        raise UsageError(f'there is no waiver of "{gate}".', where=str(run), remedy=suggest(gate, given))
    with contextlib.closing(Ledger(place.ledger, run=secrets.token_hex(4))) as record:
        record.write("withdrawn", gate=gate, by=by, text=because)


def _again(place: Run, kinds: Kinds, sets: tuple[str, ...], *, count: bool = True) -> Again:
    """The bench before what a run has saved."""
    recipe = load(place.recipe, kinds=kinds, sets=sets)
    graph = expand(recipe, kinds)
    bench, views = _bench(graph, recipe, place), Views(recipe, place)
    return Again(
        graph,
        place,
        bench,
        lambda node, made: views.read(node, made, bench.gates(node), alone=True),
        count=count,
    )


def _gates_alone(sets: tuple[str, ...], place: Run) -> None:
    for said in sets:
        key = said.partition("=")[0].strip().split(".")
        if key[0] != "stage" or key[2:3] != ["gate"] or len(key) < 5:
            what = f"{said} is no key of a gate, and `gate` changes nothing else."
            remedy = f"To compute anew: posttrain run {place.recipe} --set {said}"
            raise UsageError(what, where="--set", remedy=remedy)


def outlook(reference: Path, *, kinds: Kinds = stages) -> Decision | None:
    """What the plan says now of the node that `RUN/NODE` names; None for a folder of its own, or a node of before."""
    place = run_of(reference)
    if place is None:
        return None
    decisions = plan(Asked(place.recipe, run=place.folder), kinds=kinds).plan.decisions
    return decisions.get(reference.relative_to(place.folder).as_posix())


def trace(reference: Path, metric: str, *, kinds: Kinds = stages) -> Traced:
    """One metric of `RUN/NODE` or of an artifact's folder, back to the data that it comes from."""
    shown, place = show(reference), run_of(reference)
    node = None
    if place is not None:
        with contextlib.suppress(UsageError):
            node = expand(load(place.recipe, kinds=kinds), kinds).nodes.get(shown.manifest.node)
            node = node if node is not None and same_knobs(node, shown.manifest) else None
    return back(shown.folder, shown.manifest, metric, node)
