"""A tree of leaves as a value of a model, or everything that is wrong with it in sentences."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar, cast, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from posttrain.spec.errors import Problem
from posttrain.spec.knobs import Closed
from posttrain.spec.load.overlay import Key, Leaf, Tree, dotted, find, placed, plain
from posttrain.spec.words import shown, suggest, unknown

M = TypeVar("M", bound=Closed)

SENTENCES = {
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "decimal_type": "must be a number",
    "decimal_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "string_type": "must be text",
    "path_type": "must be a path",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "dict_type": "must be a table",
    "model_type": "must be a table",
    "model_attributes_type": "must be a table",
    "greater_than": "must be more than {gt:g}",
    "greater_than_equal": "must be {ge:g} or more",
    "less_than": "must be less than {lt:g}",
    "less_than_equal": "must be {le:g} or less",
    "too_short": "must have {min_length} or more items",
    "too_long": "must have {max_length} or fewer items",
    "string_too_short": "must have {min_length} or more characters",
    "string_pattern_mismatch": "does not match {pattern}",
    "literal_error": "must be {expected}",
    "union_tag_invalid": "is none of its choices",
    "union_tag_not_found": "needs its `type`",
}
"""pydantic's error type → what we say."""

EXPECTED = {bool: "must be true or false", int: "must be a whole number", float: "must be a number"}


@dataclass(frozen=True)
class Finding:
    """One thing wrong inside a value."""

    key: Key
    about: Literal["value", "unknown", "missing"]
    cause: str
    remedy: str = ""


@dataclass(frozen=True)
class Spot:
    """Where a tree stands, and what its keys are in words: `a knob of sft`."""

    file: str
    prefix: Key
    keys: str
    beside: tuple[str, ...] = ()
    """Other keys that may stand there: suggested where a key is unknown."""

    def where(self, key: Key = ()) -> str:
        """File and dotted key."""
        full = dotted((*self.prefix, *key))
        return f"{self.file}: {full}" if full else self.file


def checked(model: type[M], tree: Tree, spot: Spot, problems: list[Problem], *, lenient: bool = False) -> M | None:
    """The tree as a value of the model, or None with the problems told; lenient: what is missing is no problem.

    A text from the environment or the command line is read as TOML first, then as text, then as a list of words: the
    first that fits. Where none does, what is told is what is wrong with the first.
    """
    told: dict[Key, list[Problem]] = {}
    while True:
        value, found = _validated(model, plain(tree), spot)
        leaves = dict(_leaf_at(tree, item.key) for item in found if item.about == "value")
        again = {key: leaf for key, leaf in leaves.items() if leaf is not None and leaf.readings}
        if not again:
            break
        for key, leaf in again.items():
            told.setdefault(key, [_problem(tree, item, spot) for item in found if _leaf_at(tree, item.key)[0] == key])
            tree = placed(tree, key, replace(leaf, value=leaf.readings[0], readings=leaf.readings[1:]))
    for item in found:
        if not (lenient and item.about == "missing"):
            problems += told.get(_leaf_at(tree, item.key)[0]) or [_problem(tree, item, spot)]
    return None if found else value


def _validated(model: type[M], data: Any, spot: Spot) -> tuple[M | None, list[Finding]]:
    try:
        value = model.model_validate(data)
    except ValidationError as error:
        return None, findings(error, data, model, spot)
    return value, [Finding(key, "value", f"{cause}.") for key, cause in coerced(data, value.model_dump(mode="json"))]


def _leaf_at(tree: Tree, key: Key) -> tuple[Key, Leaf | None]:
    for length in range(1, len(key) + 1):
        node = find(tree, key[:length])
        if isinstance(node, Leaf):
            return key[:length], node
    return key, None


def _problem(tree: Tree, item: Finding, spot: Spot) -> Problem:
    at, leaf = _leaf_at(tree, item.key)
    if leaf is None:
        return Problem(spot.where(item.key), item.cause, item.remedy)
    remedy = "  ".join(part for part in (item.remedy, leaf.hint) if part)
    if item.about != "value":
        return Problem(leaf.where, item.cause, remedy)
    inside = item.key[len(at) :]
    position = f": item {int(inside[0]) + 1}" if inside and inside[0].isdigit() else ""
    return Problem(leaf.where, f"= {shown(leaf.text or leaf.value)}{position} {item.cause}", remedy)


def findings(error: ValidationError, data: Any, model: type[Closed], spot: Spot) -> list[Finding]:
    """Everything pydantic refused; the branches of a union are told as one."""
    found: dict[Key, list[Finding]] = {}
    for item in _deepest(error.errors(include_url=False)):
        missing = item["type"] == "missing"
        key = key_of(data, item["loc"], missing=missing)
        if item["type"] == "extra_forbidden":
            known, beside = fields_at(model, data, key[:-1]), spot.beside if len(key) == 1 else ()
            finding = Finding(key, "unknown", *unknown(key[-1], f"is not {spot.keys}.", known, beside))
        elif missing:
            finding = Finding(key, "missing", "is missing.", "It has no default.")
        else:
            finding = Finding(key, "value", sentence(item), choices(item, value_at(data, key)))
        found.setdefault(key, []).append(finding)
    return [_as_one(alike) for alike in found.values()]


def _deepest(errors: Sequence[ErrorDetails]) -> list[ErrorDetails]:
    """Without lists that are too short because their items were refused."""
    places = [item["loc"] for item in errors]
    return [
        item
        for item in errors
        if item["type"] != "too_short" or not any(place[: len(item["loc"])] == item["loc"] != place for place in places)
    ]


def _as_one(alike: Sequence[Finding]) -> Finding:
    first = alike[0]
    if first.about != "value":
        return first
    causes = list(dict.fromkeys(item.cause for item in alike))
    joined = " or ".join([causes[0], *(cause.removeprefix("must be ") for cause in causes[1:])])
    return replace(first, cause=joined.rstrip(".") + ".")


def sentence(error: Mapping[str, Any]) -> str:
    """What one pydantic error says, without its value."""
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    template = SENTENCES.get(error["type"])
    return template.format(**error.get("ctx", {})) if template else str(error["msg"])


def choices(error: Mapping[str, Any], typed: Any) -> str:
    """The nearest choice, for a wrong tag or a wrong word of a closed set."""
    context = error.get("ctx", {})
    listed = str(context.get("expected_tags") or context.get("expected") or "")
    names = [part for part in listed.replace(" or ", ", ").replace("'", "").split(", ") if part]
    word = context.get("tag") or typed
    if not names or not isinstance(word, str):
        return ""
    return suggest(word, names) if "tag" in context else suggest(word, names).partition("  ")[2]


def key_of(data: Any, place: Sequence[int | str], *, missing: bool = False) -> Key:
    """Where a pydantic location stands in the data: labels of union branches are left out, list positions are kept."""
    key: list[str] = []
    for number, step in enumerate(place):
        if isinstance(data, Mapping):
            table = cast("Mapping[str, Any]", data)
            label = step == table.get("type") or step not in table
            if not label or (missing and number == len(place) - 1):
                key.append(str(step))
                data = table.get(str(step))
        elif isinstance(data, list | tuple) and isinstance(step, int):
            key.append(str(step))
            data = value_at(cast("Any", data), (str(step),))
    return tuple(key)


def models_in(annotation: Any) -> list[type[Closed]]:
    """Every closed value a type may hold."""
    if isinstance(annotation, type) and issubclass(annotation, Closed):
        return [annotation]
    return [model for part in get_args(annotation) for model in models_in(part)]


def fields_at(model: type[Closed], data: Any, key: Key) -> list[str]:
    """The field names known at a key inside a model."""
    inside = [model]
    for step in key:
        data = value_at(data, (step,))
        if step.isdigit():
            continue
        field = inside[0].model_fields.get(step)
        inside = models_in(field.annotation) if field else []
        tag = value_at(data, ("type",))
        inside = [item for item in inside if _tag(item) in (None, tag)] or inside
        if not inside:
            return []
    return list(inside[0].model_fields)


def _tag(model: type[Closed]) -> Any:
    return model.model_fields["type"].default if "type" in model.model_fields else None


def value_at(data: Any, key: Key) -> Any:
    """What stands at a key of plain data; None where nothing does."""
    for step in key:
        if isinstance(data, Mapping):
            data = cast("Mapping[str, Any]", data).get(step)
        elif isinstance(data, list | tuple) and step.isdigit():
            items = cast("Sequence[Any]", data)
            data = items[int(step)] if int(step) < len(items) else None
        else:
            return None
    return data


def coerced(given: Any, kept: Any, key: Key = ()) -> list[tuple[Key, str]]:
    """Values pydantic bent to fit: "7" as 7, true as 1, 2.0 as 2. A recipe is parsed strictly, so these are errors."""
    if isinstance(given, Mapping):
        table = cast("Mapping[str, Any]", given)
        pairs = [(name, item, value_at(kept, (name,))) for name, item in table.items()]
    elif isinstance(given, list | tuple):
        items = cast("Sequence[Any]", given)
        pairs = [(str(number), item, value_at(kept, (str(number),))) for number, item in enumerate(items)]
    else:
        one = value_at(kept, ("0",)) if isinstance(kept, list) else kept
        return [(key, EXPECTED[type(one)])] if type(one) in EXPECTED and _bent(given, one) else []
    return [found for name, one, other in pairs for found in coerced(one, other, (*key, name))]


def _bent(given: Any, kept: Any) -> bool:
    if given is None:
        return False
    if isinstance(given, bool) or isinstance(kept, bool):
        return type(given) is not type(kept)
    return isinstance(given, str) or (isinstance(given, float) and isinstance(kept, int))
