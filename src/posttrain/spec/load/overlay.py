"""Values with their origin, and the rules by which one layer of a recipe lies over another."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias, cast

from posttrain.spec.gate import CONDITIONS

DEFAULT, RECIPE, COMMAND = "kind default", "recipe", "command line"
"""Origins of a value; the others are `profile NAME` and `env VARIABLE`."""


@dataclass(frozen=True)
class Leaf:
    """One value of a recipe: a scalar, a list, or a table that is only ever replaced whole."""

    value: Any
    origin: str = DEFAULT
    where: str = ""
    """File and dotted key, or the variable or option that gave it."""
    hint: str = ""
    """What an error adds: the key a variable sets."""
    text: str = ""
    """As typed, where the environment or the command line gave it."""
    readings: tuple[Any, ...] = ()
    """Other readings of that text, in the order they are tried."""
    folder: Path | None = None
    """Where relative paths start."""


Tree: TypeAlias = dict[str, "Tree | Leaf"]
Key: TypeAlias = tuple[str, ...]


def dotted(key: Key) -> str:
    """The key as people write it."""
    return ".".join(key)


def replaced_whole(key: Key) -> bool:
    """Whether the table at this key is one value: `each` and every input."""
    if len(key) == 3:
        return key[0] == "stage" and key[2] == "each"
    return len(key) == 4 and key[0] == "stage" and key[2] == "inputs"


@dataclass(frozen=True)
class Soil:
    """Where a layer's values come from: what every leaf planted from it carries."""

    origin: str
    file: str
    prefix: str = ""
    folder: Path | None = None
    at: str = ""
    """The variable that gave the value: named in place of the key."""
    hint: str = ""

    def where(self, key: Key) -> str:
        """File and dotted key."""
        return f"{self.file}: {self.at or self.prefix + dotted(key)}"


def plant(value: Any, soil: Soil, key: Key = ()) -> "Tree | Leaf":
    """A parsed TOML value as a tree of leaves."""
    if isinstance(value, dict) and not replaced_whole(key):
        table = cast("dict[str, Any]", value)
        return {name: plant(item, soil, (*key, name)) for name, item in table.items()}
    return Leaf(value, soil.origin, soil.where(key), folder=soil.folder)


def plant_default(value: Any) -> "Tree | Leaf":
    """A kind's default, already JSON-able, as a tree."""
    if isinstance(value, dict):
        table = cast("dict[str, Any]", value)
        return {name: plant_default(item) for name, item in table.items()}
    return Leaf(value)


def plain(node: "Tree | Leaf") -> Any:
    """The values alone."""
    return node.value if isinstance(node, Leaf) else {name: plain(item) for name, item in node.items()}


def leaves(node: "Tree | Leaf", key: Key = ()) -> Iterator[tuple[Key, Leaf]]:
    """Every leaf with its key."""
    if isinstance(node, Leaf):
        yield key, node
        return
    for name, item in node.items():
        yield from leaves(item, (*key, name))


def find(node: "Tree | Leaf | None", key: Key) -> "Tree | Leaf | None":
    """What stands at the key, or the leaf met on the way there."""
    for name in key:
        if not isinstance(node, dict):
            return node
        node = node.get(name)
    return node


def placed(tree: Tree, key: Key, node: "Tree | Leaf") -> Tree:
    """The tree with something else at the key."""
    head, rest = key[0], key[1:]
    below = tree.get(head)
    return {**tree, head: placed(below if isinstance(below, dict) else {}, rest, node) if rest else node}


def overlay(base: Tree, over: Tree) -> Tree:
    """One table over another: tables join, everything else is replaced, another tag of a union replaces its table."""
    merged = dict(base)
    for name, new in over.items():
        merged[name] = _joined(merged[name], new) if name in merged else new
    return merged


def _joined(old: "Tree | Leaf", new: "Tree | Leaf") -> "Tree | Leaf":
    if isinstance(old, Leaf) and isinstance(old.value, str) and isinstance(new, dict):
        old = {"type": old}
    if isinstance(old, Leaf):
        return new
    if isinstance(new, Leaf):
        return {**old, "type": new} if _tag(old) is not None and _tag(old) == new.value else new
    if _tag(new) is not None and _tag(new) != _tag(old):
        return new
    return overlay(old, new)


def _tag(table: Tree) -> Any:
    tag = table.get("type")
    return tag.value if isinstance(tag, Leaf) else None


def overlay_gates(base: Tree, over: Tree) -> Tree:
    """Gates by name; a gate given another condition loses the one it had."""
    merged = dict(base)
    for name, new in over.items():
        old = merged.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            conditional = any(word in new for word in CONDITIONS)
            kept = {key: leaf for key, leaf in old.items() if not (conditional and key in CONDITIONS)}
            merged[name] = overlay(kept, new)
        else:
            merged[name] = new
    return merged


def overlay_inputs(base: Tree, over: Tree) -> Tree:
    """Inputs by role, each replaced whole; a digest alone is added to the path that is there."""
    merged = dict(base)
    for role, new in over.items():
        old = merged.get(role)
        if isinstance(old, Leaf) and isinstance(new, Leaf) and _only_digest(new.value) and isinstance(old.value, dict):
            merged[role] = replace(new, value={**cast("dict[str, Any]", old.value), **new.value}, folder=old.folder)
        else:
            merged[role] = new
    return merged


def _only_digest(value: Any) -> bool:
    return isinstance(value, Mapping) and set(cast("Mapping[str, Any]", value)) == {"digest"}
