"""Every gate of a recipe against its planted defect: it passes honestly, fails with the defect, and nothing else moves.

The ground is the recipe itself, run once on a world where its gates pass honestly; a trial is a node of it worked
again with a defect (`trials.planted`).
"""

import contextlib
import json
import shutil
import tomllib
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from posttrain import api, stages
from posttrain.api import Asked
from posttrain.engine.capacity import Capacity
from posttrain.engine.expand import Graph, Node, expand
from posttrain.engine.judge import Bench
from posttrain.engine.local import LocalExecutor
from posttrain.engine.run import Task
from posttrain.spec.errors import Stop, UsageError
from posttrain.spec.gate import Gate, Metrics, Verdict
from posttrain.spec.recipe import Recipe
from posttrain.spec.words import suggest
from posttrain.store import artifact, lock
from posttrain.store.run import Run, at, file_name
from posttrain.trials import world
from posttrain.trials.found import Trial, Tried, Words
from posttrain.trials.planted import Change, Mismatched, Planted, every
from posttrain.trials.trial import WORK, change_of

TRIALS = "trials"
"""The folder of the trials, in that of their ground."""

PROFILE = "smoke"
"""The profile of the trials unless another is asked for."""

TIMEOUT = 600.0
"""Seconds that one side of a trial may take."""

BREATH = 0.5
"""Seconds between two looks at what has ended."""

Told = Callable[[str, int, int], None]
"""Hears of each side of a trial that has ended: its name, how many have, how many there are."""


def mutants(
    asked: Asked,
    *,
    only: Sequence[str] = (),
    watch: api.Watch | None = None,
    told: Told | None = None,
) -> Tried:
    """Hold the trials of a recipe: of the gates and mismatches named in `only`, or of all.

    The folder of the run keeps the ground, so that a second command has it already.
    """
    profiles = asked.profiles or (PROFILE,)
    own = api.load_recipe(replace(asked, profiles=profiles))
    folder = asked.run or own.run.with_name(f"{own.run.name}-mutants")
    sets = _ground_sets(asked.source, folder)
    asked = replace(asked, profiles=profiles, sets=(*sets, *asked.sets), run=folder)
    recipe = api.load_recipe(asked)
    held = _chosen(_held(expand(recipe, stages)), only)
    with _alone(at(folder / TRIALS)):
        court = _Court(recipe, at(folder), _made(asked, held, watch))
        return Tried(recipe, folder, sets, tuple(court.hold(held, told)))


@contextlib.contextmanager
def _alone(place: Run) -> Generator[None]:
    """Be the one process that holds trials in a folder."""
    held = lock.Lock(place.lock)
    holder = held.take()
    if holder is not None:
        remedy = "Wait for it, or give these trials another folder with --run."
        raise UsageError(f"trials are held here by {holder}.", where=str(place.folder), remedy=remedy)
    try:
        yield
    finally:
        held.release()


def _ground_sets(source: str | Path, folder: Path) -> tuple[str, ...]:
    """The keys that make a shipped recipe pass honestly; of any other recipe none: it is its own ground."""
    declared = Path(__file__).parent / "planted" / f"{source}.toml"
    if Path(source).name != str(source) or not declared.is_file():
        return ()
    place = folder / "world"
    world.write(place)
    sets: list[str] = tomllib.loads(declared.read_text(encoding="utf-8"))["set"]
    return tuple(key.replace("{world}", str(place.resolve())) for key in sets)


@dataclass(frozen=True)
class _Held:
    """A defect at a node."""

    node: Node
    gate: str
    defect: str | None
    """None: nothing is planted against the gate."""

    @property
    def name(self) -> str:
        """Defect and node."""
        return f"{self.defect} {self.node.id}"

    def changes(self) -> tuple[Change, ...]:
        """What both sides change."""
        return tuple(change_of(self.defect, honest=honest) for honest in (True, False)) if self.defect else ()

    def needs(self) -> set[str]:
        """The nodes whose honest artifacts it takes."""
        found: set[str] = set()
        for change in self.changes():
            if change.after is not None or callable(change.knobs) or change == Change():
                found.add(self.node.id)
            roles = () if change.after is not None else self.node.inputs
            for role in roles:
                if role not in change.inputs or not change.blank:
                    found |= {source.node for source in self.node.inputs[role] if source.node}
        return found


def _held(graph: Graph) -> list[_Held]:
    """Every gate of the recipe with every defect against it; stages that judge alike are tried once.

    A defect of a domain is held once, at the first node of its kind that has to do with that domain.
    """
    found: list[_Held] = []
    kinds: dict[str, list[Mapping[str, Gate]]] = {}
    for node in graph.nodes.values():
        seen = kinds.setdefault(node.kind.name, [])
        gates = {name: gate for name, gate in node.gates.items() if not gate.off}
        known = {key: defect for key, defect in every().items() if defect.kind == node.kind.name}
        held = {one.defect for one in found}
        for gate in gates:
            against = {key: one for key, one in known.items() if isinstance(one, Planted) and one.gate == gate}
            own = [key for key, one in against.items() if one.domain and _concerns(graph, node, one.domain)]
            usual = [key for key, one in against.items() if not one.domain]
            found += [_Held(node, gate, key) for key in (usual or (None,) if gates not in seen else ())]
            found += [_Held(node, gate, key) for key in own if key not in held]
        if not seen:
            found += [_Held(node, one.gate, key) for key, one in known.items() if isinstance(one, Mismatched)]
        if gates not in seen:
            seen.append(gates)
    return found


def _concerns(graph: Graph, node: Node, domain: str) -> bool:
    """Whether a node works for a domain: it is asked to, it is its own, or none of both and its inputs have it."""
    asked: tuple[str, ...] = getattr(node.knobs, "domains", ())
    sources = [source.node for role in node.inputs.values() for source in role if source.node]
    own = asked or tuple(node.axes[axis] for axis in node.axes if axis == "domain")
    return domain in (own or {graph.nodes[id].axes.get("domain") for id in sources})


def _chosen(held: Sequence[_Held], only: Sequence[str]) -> list[_Held]:
    names = {one.gate for one in held}
    strange = next((name for name in only if name not in names), None)
    if strange is not None:
        raise UsageError(
            "the recipe has no such gate.", where=f"--only {strange}", remedy=suggest(strange, sorted(names))
        )
    return [one for one in held if not only or one.gate in only]


def _made(asked: Asked, held: Sequence[_Held], watch: api.Watch | None) -> frozenset[str]:
    """Run the ground as far as the trials need it, whatever its gates say; the nodes that were made."""
    needed = {id for one in held for id in one.needs()}
    if not needed:
        return frozenset()
    done = api.run(replace(asked, sets=(*asked.sets, "gates=[]"), until=tuple(sorted(needed))), watch=watch)
    return frozenset(id for id, fate in done.fates.items() if fate in ("ran", "kept"))


@dataclass(frozen=True)
class _Court:
    """Holds trials on the ground that was made."""

    recipe: Recipe
    ground: Run
    made: frozenset[str]

    def hold(self, held: Sequence[_Held], told: Told | None) -> list[Trial]:
        """Work every side of every trial, several at a time, then judge."""
        ready = [one for one in held if one.defect and one.needs() <= self.made]
        tasks = [task for one in ready for task in self._tasks(one)]
        ended = _worked(tasks, told)
        return [self._judged(one, ended) for one in held]

    def _tasks(self, held: _Held) -> list[Task]:
        """The sides that are worked; an honest side that changes nothing is the ground's own artifact."""
        assert held.defect is not None
        sides = [honest for honest in (True, False) if change_of(held.defect, honest=honest) != Change()]
        if isinstance(every()[held.defect], Mismatched):
            sides = [False]
        return [self._task(held, honest) for honest in sides]

    def _task(self, held: _Held, honest: bool) -> Task:
        place = self._place(held, honest)
        shutil.rmtree(place.folder, ignore_errors=True)
        place.folder.mkdir(parents=True)
        place.recipe.write_text(json.dumps(self.recipe.resolved, ensure_ascii=False) + "\n", encoding="utf-8")
        return Task(
            node=_side(held, honest),
            log=place.log(held.node.id),
            timeout=TIMEOUT,
            args=(str(place.folder), str(self.ground.folder), str(held.defect), held.node.id),
            options={"honest": honest},
        )

    def _place(self, held: _Held, honest: bool) -> Run:
        side = "honest" if honest else "planted"
        return at(self.ground.folder / TRIALS / f"{held.defect}-{file_name(held.node.id)}-{side}")

    def _judged(self, held: _Held, ended: Mapping[str, Stop | None]) -> Trial:
        said = _said(held)
        if held.defect is None:
            return said.inconclusive("nothing is planted against it")
        if missing := sorted(held.needs() - self.made):
            return said.inconclusive(f"the ground lacks {', '.join(missing)}; {self.ground.folder / 'logs'} say why")
        error = ended[_side(held, False)]
        defect = every()[held.defect]
        if isinstance(defect, Mismatched):
            return said.mismatch(error, defect.words)
        if failed := ended.get(_side(held, True)):
            return said.inconclusive(f"the honest side ended: {failed.paragraph()}")
        honest = _verdicts(held.node, self._metrics(held, honest=True))
        if honest[held.gate].value != "pass":
            return said.inconclusive(f"it does not pass honestly: {honest[held.gate].reason}", honest[held.gate].value)
        if error is not None:
            return said.ended(error, honest[held.gate].value)
        return said.verdicts(honest, _verdicts(held.node, self._metrics(held, honest=False)))

    def _metrics(self, held: _Held, *, honest: bool) -> Metrics:
        assert held.defect is not None
        untouched = honest and change_of(held.defect, honest=True) == Change()
        run = self.ground if untouched else self._place(held, honest)
        made = artifact.manifest(run.pointer(held.node.id))
        assert made is not None, f"{held.name} was worked and made nothing"
        return made.metrics


def _side(held: _Held, honest: bool) -> str:
    return f"{held.name} {'honest' if honest else 'planted'}"


def _worked(tasks: Sequence[Task], told: Told | None) -> dict[str, Stop | None]:
    """Work tasks in children of a warm worker; the error that each ended with."""
    if not tasks:
        return {}
    jobs, waiting, running = Capacity.of_machine((), None).jobs, list(reversed(tasks)), 0
    ended: dict[str, Stop | None] = {}
    hands = LocalExecutor(WORK, warm=api.WARM)
    try:
        while waiting or running:
            while waiting and running < jobs:
                hands.start(waiting.pop())
                running += 1
            for end in hands.wait(BREATH):
                ended[end.node] = end.error
                running -= 1
                if told is not None:
                    told(end.node, len(ended), len(tasks))
    finally:
        hands.close()
    return ended


def _verdicts(node: Node, metrics: Metrics) -> dict[str, Verdict]:
    """What every gate of a node says of metrics, whatever stands above the node."""
    alone = replace(node, inputs={}, wait=(), wait_off=())
    said = Bench(Graph({node.id: alone}, ())).judge(alone, metrics)
    return {verdict.gate: verdict for verdict in said}


def _said(held: _Held) -> Words:
    says = every()[held.defect].says if held.defect else ""
    return Words(held.node.kind.name, held.gate, held.node.id, says)
