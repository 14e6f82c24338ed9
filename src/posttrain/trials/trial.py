"""One side of one trial, in a process of its own: a node worked for real, with a defect planted or on other ground."""

import shutil
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from posttrain import stages
from posttrain.engine.expand import Graph, Node, expand
from posttrain.engine.judge import inputs
from posttrain.engine.work import Order, work_node
from posttrain.spec.knobs import Knobs
from posttrain.spec.load import load
from posttrain.spec.stage import Artifact, Context, Outcome
from posttrain.store.run import Run, at, existing
from posttrain.trials.planted import Change, Planted, Seat, every, standing

WORK = "posttrain.trials.trial:work"
"""What the executor calls."""


def work(place: str, ground: str, defect: str, node: str, *, honest: bool = False) -> None:
    """Work a node in the run at `place` as a defect says, on what the run `ground` made; raises what the node does."""
    run = existing(Path(place))
    graph = expand(load(run.recipe, kinds=stages), stages)
    _Trial(graph, run, at(Path(ground)), graph.nodes[node]).work(change_of(defect, honest=honest))


def change_of(defect: str, *, honest: bool) -> Change:
    """What a side of a trial changes."""
    found = every()[defect]
    return (found.honest or Change()) if honest and isinstance(found, Planted) else found.change


@dataclass(frozen=True)
class _Trial:
    graph: Graph
    run: Run
    """Where the trial takes place: its own artifacts, pointers to honest ones."""
    ground: Run
    node: Node

    def work(self, change: Change) -> None:
        """Lay the inputs, then work or measure the node."""
        if change.after is not None:
            self._stand_in(self.node, partial(_damaged, self._honest(self.node.id), change.after, self.node))
            return
        self._lay_inputs(change)
        given = change.knobs(self._honest(self.node.id)) if callable(change.knobs) else change.knobs
        node = replace(self.node, knobs=_with(self.node.knobs, given))
        with ExitStack() as stack:
            for replaced in change.during:
                stack.enter_context(standing(replaced))
            work_node(Graph({**self.graph.nodes, node.id: node}, self.graph.off), node.id, self.run, Order())

    def _honest(self, id: str) -> Path:
        return self.ground.pointer(id).resolve()

    def _lay_inputs(self, change: Change) -> None:
        """Honest artifacts by a link, changed ones as artifacts of this run."""
        for id in inputs(self.node):
            role, place = _seat(self.node, id)
            damage = change.inputs.get(role)
            if damage is None:
                self.run.nodes.mkdir(parents=True, exist_ok=True)
                self.run.pointer(id).symlink_to(self._honest(id))
                continue
            domains = tuple(sorted({n.axes["domain"] for n in self.graph.nodes.values() if "domain" in n.axes}))
            sit = partial(Seat, node=id, role=role, place=place, domains=domains or ("",))
            if change.loose:
                folder = self.run.pointer(id)
                _copy(self._honest(id), folder)
                damage(sit(folder))
            else:
                self._stand_in(
                    self.graph.nodes[id], partial(_changed, None if change.blank else self._honest(id), damage, sit)
                )

    def _stand_in(self, node: Node, run: Callable[[Context[Knobs]], Outcome]) -> None:
        """Work a node by another `run`, without inputs: an artifact with a manifest like any other.

        Its seed is its number, for nodes of one stream and equal knobs would be one artifact.
        """
        number = list(self.graph.nodes).index(node.id)
        node = replace(node, inputs={}, wait=(), seed=number, kind=replace(node.kind, run=run))
        work_node(Graph({**self.graph.nodes, node.id: node}, self.graph.off), node.id, self.run, Order())


def _seat(node: Node, id: str) -> tuple[str, int]:
    """The role under which a node reads another, and its number there."""
    return next(
        (role, place)
        for role, sources in node.inputs.items()
        for place, source in enumerate(sources)
        if source.node == id
    )


def _with(knobs: Knobs, given: Mapping[str, Any]) -> Knobs:
    held = {name: getattr(knobs, name) for name in type(knobs).model_fields}
    return type(knobs).model_validate(held | dict(given))


def _damaged(honest: Path, damage: Callable[[Path], None], node: Node, ctx: Context[Knobs]) -> Outcome:
    """A copy of a finished artifact, damaged, and what the kind measures of it."""
    _copy(honest, ctx.out)
    damage(ctx.out)
    made = Artifact(node=node.id, type=node.kind.makes, path=ctx.out, digest="")
    return Outcome(node.kind.measure(made, ctx.knobs))


def _changed(
    honest: Path | None, damage: Callable[[Seat], None], sit: Callable[[Path], Seat], ctx: Context[Knobs]
) -> Outcome:
    if honest is not None:
        _copy(honest, ctx.out)
    damage(sit(ctx.out))
    return Outcome({})


def _copy(honest: Path, folder: Path) -> None:
    """A copy that can be written to; what is linked in the store is apart in the copy."""
    shutil.copytree(honest, folder, dirs_exist_ok=True)
    for path in (folder, *folder.rglob("*")):
        path.chmod(path.stat().st_mode | 0o200)
