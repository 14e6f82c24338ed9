"""Stages multiplied out by their axes: nodes with knobs, seeds and exact inputs, in an order that can be worked."""

import hashlib
import heapq
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from posttrain.spec.errors import Problem, RecipeError
from posttrain.spec.gate import Gate
from posttrain.spec.knobs import UNLIMITED, Budget, Knobs, Resources
from posttrain.spec.load.explain import Spot, findings
from posttrain.spec.recipe import ALL, Recipe, Ref, StageSpec
from posttrain.spec.stage import Kind, Kinds
from posttrain.spec.words import shown

TRIAL = "trial"
"""The axis that changes a seed and nothing else."""


@dataclass(frozen=True)
class Source:
    """One input of a node: another node, or a folder of the user's with the digest it must have."""

    node: str | None = None
    path: Path | None = None
    digest: str | None = None


@dataclass(frozen=True)
class Node:
    """One concrete instance of a stage."""

    id: str
    stage: str
    kind: Kind
    axes: Mapping[str, str]
    knobs: Knobs
    """The stage's, with the values of the axes."""
    inputs: Mapping[str, tuple[Source, ...]]
    """By role; nodes in order of id, then folders."""
    seed: int
    stream: str
    gates: Mapping[str, Gate]
    wait: tuple[str, ...]
    """Nodes whose gates must have passed first."""
    resources: Resources
    timeout: float | None
    retries: int
    wait_off: tuple[str, ...] = ()
    """Stages it waits for that are off: their gates count as not_run."""
    place: str = ""
    """File and key of its stage, as errors name it."""
    variables: Mapping[str, str] = field(default_factory=dict[str, str])
    """Knobs that an environment variable set, with its name."""
    frozen: bool = False
    budget: Budget = UNLIMITED


@dataclass(frozen=True)
class Graph:
    """All nodes of a recipe, inputs first, else in the order of the recipe."""

    nodes: Mapping[str, Node]
    off: tuple[str, ...]
    """Stages that are switched off."""
    seed: int = 0
    """The recipe's."""


def seed_of(recipe_seed: int, stream: str, trial: str | None = None) -> int:
    """The seed of a stream: the first 8 bytes of a sha256, without the sign bit."""
    text = json.dumps([recipe_seed, stream, trial], ensure_ascii=False)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def node_id(stage: str, axes: Mapping[str, str]) -> str:
    """`stage`, or `stage/value,value` in the order of its axes."""
    return f"{stage}/{','.join(axes.values())}" if axes else stage


def expand(recipe: Recipe, kinds: Kinds) -> Graph:
    """Every node of the recipe; RecipeError with everything that does not fit together."""
    expansion = _Expansion(recipe, kinds)
    nodes = [node for name, spec in recipe.stages.items() if not spec.off for node in expansion.nodes(name)]
    expansion.circles()
    if expansion.problems:
        raise RecipeError(list(dict.fromkeys(expansion.problems)))
    off = tuple(name for name, spec in recipe.stages.items() if spec.off)
    return Graph({node.id: node for node in in_order(nodes)}, off, recipe.seed)


def in_order(nodes: Sequence[Node]) -> Iterator[Node]:
    """The nodes with what they read and wait for first, else as given."""
    place = {node.id: number for number, node in enumerate(nodes)}
    above = {
        node.id: {*node.wait, *(s.node for given in node.inputs.values() for s in given if s.node)} for node in nodes
    }
    below: dict[str, list[str]] = {node.id: [] for node in nodes}
    for id, parents in above.items():
        for parent in parents:
            below[parent].append(id)
    ready = [place[id] for id, parents in above.items() if not parents]
    while ready:
        node = nodes[heapq.heappop(ready)]
        yield node
        for id in below[node.id]:
            above[id].discard(node.id)
            if not above[id]:
                heapq.heappush(ready, place[id])


class _Expansion:
    """The work of `expand`, with what it collects on the way."""

    def __init__(self, recipe: Recipe, kinds: Kinds) -> None:
        self.recipe, self.stages = recipe, recipe.stages
        self.kinds = {name: kinds.kind(spec.kind) for name, spec in recipe.stages.items()}
        self.problems: list[Problem] = []
        self._members = {name: tuple(_members(spec)) for name, spec in recipe.stages.items()}
        self._sorted: dict[tuple[str, tuple[str, ...]], dict[tuple[str, ...], list[_Member]]] = {}

    def nodes(self, stage: str) -> Iterator[Node]:
        """The nodes of a stage that is on."""
        spec, kind = self.stages[stage], self.kinds[stage]
        on = [ref for ref in map(_parsed, spec.wait) if not self.stages[ref.stage or ""].off]
        wait_off = tuple(name for name in spec.wait if self.stages[name.partition("/")[0]].off)
        for id, axes in ((member.source.node or "", member.axes) for member in self._members[stage]):
            waits = self._sources(on, axes, f"{id} waits for", self._where(stage, "wait"))
            stream = spec.stream or id
            yield Node(
                id=id,
                stage=stage,
                kind=kind,
                axes=axes,
                knobs=self._knobs(stage, axes),
                inputs={role: self._input(stage, role, axes) for role in spec.inputs},
                seed=seed_of(self.recipe.seed, stream, axes.get(TRIAL)),
                stream=stream,
                gates=spec.gates,
                wait=tuple(source.node for source in waits if source.node),
                resources=spec.resources,
                timeout=spec.timeout,
                retries=spec.retries,
                wait_off=wait_off,
                place=self._where(stage),
                variables=self._variables(stage),
                frozen=spec.frozen,
                budget=spec.budget,
            )

    def _variables(self, stage: str) -> dict[str, str]:
        """Which knobs of a stage come from which environment variable."""
        under = f"stage.{stage}."
        found = {key: origin for key, origin in self.recipe.origins.items() if key.startswith(under)}
        return {k.removeprefix(under): o.removeprefix("env ") for k, o in found.items() if o.startswith("env ")}

    def circles(self) -> None:
        """Tell every way that leads from a stage back to it."""
        done: set[str] = set()
        for start in self.stages:
            path, ahead = [start], [iter(self._above(start))]
            while ahead and start not in done:
                stage = next(ahead[-1], None)
                if stage is None:
                    ahead.pop()
                    done.add(path.pop())
                elif stage in path:
                    circle = [*path[path.index(stage) :], stage]
                    said = f"is part of a circle: {' → '.join(circle)} (each reads or waits for the next)."
                    self._tell(self._where(stage), said, "Take one of these inputs away.")
                    done.update(path)
                elif stage not in done:
                    path.append(stage)
                    ahead.append(iter(self._above(stage)))

    def _above(self, stage: str) -> tuple[str, ...]:
        spec = self.stages[stage]
        if spec.off:
            role = _bypass(self.kinds[stage])
            return _read(spec.inputs.get(role or "", ()))
        refs = [ref for given in spec.inputs.values() for ref in given]
        return _read([*refs, *map(_parsed, spec.wait)])

    def _where(self, stage: str, *key: str) -> str:
        return Spot(self.recipe.label, ("stage", stage, *key), "").where()

    def _tell(self, where: str, what: str, remedy: str = "") -> None:
        self.problems.append(Problem(where, what, remedy))

    def _input(self, stage: str, role: str, axes: Mapping[str, str]) -> tuple[Source, ...]:
        where, id = self._where(stage, "inputs", role), node_id(stage, axes)
        what, before = self.kinds[stage].roles[role], len(self.problems)
        sources = self._sources(self.stages[stage].inputs[role], axes, f"{id} reads", where)
        for name in dict.fromkeys(source.node.partition("/")[0] for source in sources if source.node):
            makes = self.kinds[name].makes
            if makes not in what.types:
                wanted = " or ".join(what.types)
                self._tell(where, f"takes {wanted}, and `{name}` makes {makes}.", f"The role is {what.says}.")
        if not what.many and len(sources) != 1 and len(self.problems) == before:
            found = ", ".join(str(source.node or source.path) for source in sources)
            remedy = 'Name one member: "stage/member", or give this stage the axes of what it reads.'
            self._tell(where, f"takes one, and {id} would read {len(sources)}: {found}.", remedy)
        return sources

    def _sources(self, refs: Sequence[Ref], axes: Mapping[str, str], who: str, where: str) -> tuple[Source, ...]:
        found = dict.fromkeys(source for ref in refs for source in self._named(ref, axes, who, where))
        return tuple(sorted(found, key=lambda source: (source.node is None, source.node or "")))

    def _named(
        self, ref: Ref, axes: Mapping[str, str], who: str, where: str, via: tuple[str, ...] = ()
    ) -> Iterator[Source]:
        """What a reference means to a reader with these axes; a stage that is off stands for what it would read."""
        if ref.stage is None:
            yield Source(path=ref.path, digest=ref.digest)
            return
        matched = self._matching(ref, ref.stage, axes)
        if not matched:
            known = ", ".join(str(member.source.node) for member in self._members[ref.stage])
            lacks = ", ".join(f'{axis} = "{axes[axis]}"' for axis in self.stages[ref.stage].each if axis in axes)
            said = f"with {lacks}" if ref.member is None else f"called {shown(ref.member)}"
            self._tell(where, f"{who} `{ref.stage}`, which has no member {said}.", f"Members: {known}.")
        spec = self.stages[ref.stage]
        if not spec.off:
            yield from (member.source for member in matched)
            return
        role = _bypass(self.kinds[ref.stage])
        if role is None or not spec.inputs.get(role):
            said = f"{who} `{ref.stage}`, which is off and cannot be bypassed."
            why = "A stage is bypassed where it has exactly one required single role of the type it makes."
            self._tell(where, said, f"{why}  Switch it on, or read something else.")
        elif ref.stage not in via:
            for member in matched:
                for next_ref in spec.inputs[role]:
                    yield from self._named(next_ref, member.axes, who, where, (*via, ref.stage))

    def _matching(self, ref: Ref, stage: str, axes: Mapping[str, str]) -> "Sequence[_Member]":
        shared = tuple(axis for axis in self.stages[stage].each if axis in axes) if ref.member is None else ()
        if (stage, shared) not in self._sorted:
            found = self._sorted.setdefault((stage, shared), {})
            for member in self._members[stage]:
                found.setdefault(tuple(member.axes[axis] for axis in shared), []).append(member)
        matched = self._sorted[stage, shared].get(tuple(axes[axis] for axis in shared), [])
        if ref.member in (None, ALL):
            return matched
        return [member for member in matched if ",".join(member.axes.values()) == ref.member]

    def _knobs(self, stage: str, axes: Mapping[str, str]) -> Knobs:
        knobs, model = self.stages[stage].knobs, self.kinds[stage].knobs
        given = {axis: value for axis, value in axes.items() if axis in model.model_fields}
        if not given:
            return knobs
        data = {name: getattr(knobs, name) for name in model.model_fields} | given
        try:
            return model.model_validate(data)
        except ValidationError as error:
            for item in findings(error, data, model, Spot(self.recipe.label, ("stage", stage), "a knob")):
                axis = item.key[0] if item.key and item.key[0] in given else next(iter(given))
                self._tell(self._where(stage, "each", axis), f"= {shown(given[axis])} {item.cause}", item.remedy)
            return knobs


@dataclass(frozen=True)
class _Member:
    axes: Mapping[str, str]
    source: Source


def _members(spec: StageSpec) -> Iterator[_Member]:
    for values in itertools.product(*spec.each.values()):
        axes = dict(zip(spec.each, values, strict=True))
        yield _Member(axes, Source(node=node_id(spec.name, axes)))


def _bypass(kind: Kind) -> str | None:
    """The role that stands for a stage that is off: its one required single role of the type it makes."""
    roles = [name for name, role in kind.roles.items() if not (role.many or role.optional) and kind.makes in role.types]
    return roles[0] if len(roles) == 1 else None


def _parsed(text: str) -> Ref:
    stage, slash, member = text.partition("/")
    return Ref(stage=stage, member=member if slash else None)


def _read(refs: Sequence[Ref]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(ref.stage for ref in refs if ref.stage is not None))
