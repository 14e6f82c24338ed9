"""One stage out of its layers: kind, inputs, knobs, gates and resources, each value with its origin."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from pydantic_core import to_jsonable_python

from posttrain.spec.errors import Problem
from posttrain.spec.knobs import Closed, Knobs, Resources, files
from posttrain.spec.load.explain import Spot, checked, value_at
from posttrain.spec.load.gates import gates_of, gates_plain
from posttrain.spec.load.inputs import Reader, reach, reference, refs
from posttrain.spec.load.overlay import (
    DEFAULT,
    Key,
    Leaf,
    Tree,
    dotted,
    find,
    leaves,
    overlay,
    overlay_gates,
    overlay_inputs,
    plain,
    plant_default,
)
from posttrain.spec.recipe import RESERVED, Axes, StageSpec, Work
from posttrain.spec.stage import Kind
from posttrain.spec.words import shown


def _tree() -> Tree:
    return {}


@dataclass
class Draft:
    """A stage whose layers are folded, section by section."""

    name: str
    kind: Kind
    label: str
    """The recipe's file, as errors name it."""
    chosen: Leaf
    """The leaf that gave `kind`."""
    each: Leaf | None = None
    inputs: Tree = field(default_factory=_tree)
    work: Tree = field(default_factory=_tree)
    gates: Tree = field(default_factory=_tree)
    resources: Tree = field(default_factory=_tree)
    knobs: Tree = field(default_factory=_tree)

    def where(self, *key: str) -> str:
        """File and dotted key of something in this stage."""
        return self.spot("").where(key)

    def spot(self, keys: str, *under: str, beside: tuple[str, ...] = ()) -> Spot:
        """Where the stage, or a table in it, stands; `keys` says what its keys are."""
        return Spot(self.label, ("stage", self.name, *under), keys, beside)

    @property
    def off(self) -> bool:
        """Whether the stage is switched off."""
        leaf = self.work.get("off")
        return isinstance(leaf, Leaf) and leaf.value is True

    def tree(self) -> Tree:
        """All sections as the recipe writes them."""
        each: Tree = {} if self.each is None else {"each": self.each}
        sections: Tree = {"inputs": self.inputs, "gate": self.gates, "resources": self.resources}
        return {"kind": self.chosen, **each, **sections, **self.work, **self.knobs}


def fold(name: str, kind: Kind, layers: Sequence[Tree], label: str, problems: list[Problem]) -> Draft:
    """The layers of one stage as one; a layer with another `kind` starts anew."""
    start, chosen = 0, Leaf(kind.name)
    for number, layer in enumerate(layers):
        leaf = layer.get("kind")
        if isinstance(leaf, Leaf):
            start = number if leaf.value != chosen.value else start
            chosen = leaf
    draft = Draft(name, kind, label, chosen, knobs=_defaults(kind.knobs))
    for layer in layers[start:]:
        _lay(draft, layer, problems)
    return draft


def _defaults(model: type[Closed]) -> Tree:
    fields = {name: info for name, info in model.model_fields.items() if not info.is_required()}
    given = {name: info.get_default(call_default_factory=True) for name, info in fields.items()}
    return cast("Tree", plant_default(to_jsonable_python(given)))


def _lay(draft: Draft, layer: Tree, problems: list[Problem]) -> None:
    inputs, knobs = dict(_table(layer.get("inputs"))), _tree()
    for name, node in layer.items():
        if name == "each" and isinstance(node, Leaf):
            draft.each = node
        elif name in Work.model_fields:
            draft.work = overlay(draft.work, {name: node})
        elif name in draft.kind.roles and name not in draft.kind.knobs.model_fields:
            if name in inputs:
                remedy = f"Keep `{name}` or `inputs.{name}`, not both."
                problems.append(Problem(draft.where(name), "is given twice.", remedy))
            inputs[name] = _as_leaf(node)
        elif name not in RESERVED:
            knobs[name] = node
    draft.inputs = overlay_inputs(draft.inputs, inputs)
    draft.gates = overlay_gates(draft.gates, _table(layer.get("gate")))
    draft.resources = overlay(draft.resources, _table(layer.get("resources")))
    draft.knobs = overlay(draft.knobs, knobs)


def _table(node: Tree | Leaf | None) -> Tree:
    return node if isinstance(node, dict) else {}


def _as_leaf(node: Tree | Leaf) -> Leaf:
    """An input written by its shorthand, where a table was planted as a tree."""
    if isinstance(node, Leaf):
        return node
    first = next((leaf for _, leaf in leaves(node)), Leaf({}))
    return Leaf(plain(node), first.origin, first.where.rpartition(".")[0], first.hint, folder=first.folder)


@dataclass(frozen=True)
class Composed:
    """A stage as a value, as JSON, and with the origin of each of its keys."""

    spec: StageSpec
    resolved: dict[str, Any]
    origins: dict[str, str]


def compose(draft: Draft, axes: Axes, shared: Tree, stages: Sequence[str], problems: list[Problem]) -> Composed | None:
    """The draft as a value; None where something is wrong, all of it told. `shared`: resources of the whole recipe."""
    before = len(problems)
    reader = Reader(draft.kind.name, draft.where(), draft.kind.roles, stages, draft.off)
    inputs = refs(draft.inputs, reader, problems)
    work = checked(Work, draft.work, draft.spot("a key of a stage"), problems)
    knobs = _knobs(draft, axes, problems)
    gates = gates_of(draft.gates, draft.kind, knobs, frozenset(inputs), draft.spot("", "gate"), problems)
    resources = checked(Resources, overlay(shared, draft.resources), draft.spot("a resource", "resources"), problems)
    wait = draft.work.get("wait")
    for stage in work.wait if work is not None and isinstance(wait, Leaf) else ():
        reference(stage, cast("Leaf", wait), stages, problems)
    if len(problems) > before or work is None or resources is None:
        return None
    spec = StageSpec(
        name=draft.name,
        kind=draft.kind.name,
        each=axes,
        inputs=inputs,
        knobs=knobs or draft.kind.knobs.model_construct(**plain(draft.knobs)),
        gates=gates,
        resources=resources,
        **{field: getattr(work, field) for field in Work.model_fields},
    )
    resolved = _resolved(draft, spec, knobs)
    return Composed(spec, resolved, _origins(draft, resolved))


def _knobs(draft: Draft, axes: Axes, problems: list[Problem]) -> Knobs | None:
    """The validated knobs; None where they are wrong, or where a stage that is off lacks some."""
    tree, fields = _given(draft.knobs), draft.kind.knobs.model_fields
    for axis, values in axes.items():
        if axis in tree:
            said = tree[axis]
            where = said.where if isinstance(said, Leaf) else draft.where(axis)
            remedy = f"Remove it, or take the axis out of `stage.{draft.name}.each`."
            problems.append(Problem(where, f"is set twice: the axis `{axis}` of `each` sets it too.", remedy))
        elif axis in fields and fields[axis].is_required():
            tree[axis] = Leaf(values[0])
    spot = draft.spot(f"a knob of `{draft.kind.name}`", beside=(*draft.kind.roles, *RESERVED))
    knobs = checked(draft.kind.knobs, tree, spot, problems, lenient=draft.off)
    if knobs is None or draft.off or not files(knobs):
        return knobs
    data = knobs.model_dump(mode="json")
    for key, path in files(knobs).items():
        leaf = find(tree, tuple(key.split(".")))
        if isinstance(leaf, Leaf) and leaf.origin != DEFAULT:
            _put(data, key.split("."), str(_found(str(path), leaf, problems)))
    return draft.kind.knobs.model_validate(data)


def _given(tree: Tree) -> Tree:
    """Without the knobs that are wholly the kind's default."""
    return {name: node for name, node in tree.items() if any(leaf.origin != DEFAULT for _, leaf in leaves(node))}


def _put(data: Any, key: Sequence[str], value: str) -> None:
    *path, last = key
    holder: Any = value_at(data, tuple(path))
    holder[int(last) if isinstance(holder, list) else last] = value


def _found(text: str, leaf: Leaf, problems: list[Problem]) -> Path:
    """A file, made absolute; of `code.py:name` the name stays at its end."""
    file, colon, attribute = text.rpartition(":")
    named = bool(colon) and file.endswith(".py")
    path = reach(file if named else text, leaf.folder)
    if not path.exists():
        problems.append(Problem(leaf.where, f"= {shown(text)}: there is no such file.", f"Looked at {path}."))
    return Path(f"{path}:{attribute}") if named else path


def _resolved(draft: Draft, spec: StageSpec, knobs: Knobs | None) -> dict[str, Any]:
    each = {} if draft.each is None else {"each": draft.each.value}
    inputs = {role: [ref.plain() for ref in said] for role, said in spec.inputs.items()}
    dump = plain(_given(draft.knobs)) if knobs is None else knobs.model_dump(mode="json")
    return {
        "kind": spec.kind,
        **each,
        "inputs": {role: said[0] if len(said) == 1 else said for role, said in inputs.items()},
        "wait": list(spec.wait),
        "stream": spec.stream,
        "off": spec.off,
        "timeout": spec.timeout,
        "retries": spec.retries,
        "frozen": spec.frozen,
        "budget": spec.budget.model_dump(mode="json"),
        "resources": plain(draft.resources),
        "gate": gates_plain(spec.gates),
        **{name: value for name, value in dump.items() if name not in spec.each},
    }


def _origins(draft: Draft, resolved: dict[str, Any]) -> dict[str, str]:
    tree = draft.tree()
    return {dotted(("stage", draft.name, *key)): _origin(tree, key) for key, _ in leaves(plant_default(resolved))}


def _origin(tree: Tree, key: Key) -> str:
    node = find(tree, key)
    if not isinstance(node, Leaf):
        return DEFAULT
    bare_tag = isinstance(node.value, str) and find(tree, key[:-1]) is node
    return DEFAULT if bare_tag and key[-1] != "type" else node.origin
