"""The kinds of stage as text: what each does, its roles, knobs and gates, read from the kinds themselves."""

import difflib
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from posttrain import stages
from posttrain.cli.tables import columns
from posttrain.reports.wording import condition
from posttrain.spec.errors import UsageError
from posttrain.spec.gate import CONDITIONS, Gate
from posttrain.spec.knobs import Closed, FileMark, Variant, documents
from posttrain.spec.stage import Kind


def every() -> str:
    """Each kind with its first line."""
    found = [stages.kind(name) for name in stages.names()]
    rows = [(kind.name, kind.makes, kind.says) for kind in found]
    listed = columns([("kind", "makes", "what it does"), *rows])
    return f"{listed}\n\n`posttrain kinds KIND` shows roles, knobs and gates."


def one(name: str) -> str:
    """One kind in full; UsageError with the nearest name where there is none."""
    if name not in stages.names():
        near = difflib.get_close_matches(name, stages.names(), n=1)
        known = f"Known: {', '.join(stages.names())}."
        raise UsageError(f'there is no kind "{name}".', remedy=f'Did you mean "{near[0]}"?  {known}' if near else known)
    kind = stages.kind(name)
    parts = [f"{kind.name} (makes {kind.makes}): {kind.says}"]
    if kind.roles:
        parts.append("Roles\n" + columns(_role(kind, role) for role in kind.roles))
    parts.append("Knobs\n" + columns(_knobs(kind.knobs, "")))
    gates = _gates(kind)
    if gates:
        parts.append("Gates\n" + columns(_gate(gate, judged) for gate, judged in gates.items()))
    return "\n\n".join(parts)


def _role(kind: Kind, name: str) -> tuple[str, ...]:
    role = kind.roles[name]
    return name, " or ".join(role.types), _COUNTS[role.many, role.optional], role.says


_COUNTS = {
    (False, False): "one",
    (False, True): "optional",
    (True, False): "one or more",
    (True, True): "any number",
}
"""How many inputs a role takes, by `many` and `optional`."""


def _knobs(model: type[BaseModel], indent: str) -> Iterator[tuple[str, ...]]:
    """A row for each knob, and below a union the knobs of its variants."""
    words = documents(model)
    for name, field in model.model_fields.items():
        if name == "type":
            continue
        says = " ".join(words.get(name, "").split())
        yield f"{indent}{name}", type_text(field), _default(field), says
        for variant in variants(field.annotation, *field.metadata):
            tag = str(variant.model_fields["type"].default)
            if len(variant.model_fields) > 1:
                yield f"{indent}  {tag}", "", "", " ".join((variant.__doc__ or "").split())
                yield from _knobs(variant, indent + "    ")
        if _is_table(field.annotation):
            yield from _knobs(cast("type[BaseModel]", field.annotation), indent + "  ")


def type_text(field: FieldInfo) -> str:
    """A knob's type as people read it."""
    if any(isinstance(mark, FileMark) for mark in field.metadata):
        return "file"
    return annotation_text(field.annotation)


def annotation_text(annotation: Any) -> str:
    """A type annotation as people read it: choices, tags of variants, whole number, text."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        marked = any(isinstance(mark, FileMark) for mark in parts[1:])
        return "file" if marked else annotation_text(parts[0])
    if origin is Literal:
        return " | ".join(str(part) for part in parts)
    if origin in (Union, types.UnionType):
        return " | ".join(dict.fromkeys(annotation_text(part) for part in parts))
    if origin in (tuple, list):
        return f"list of {annotation_text(parts[0])}" if parts else "list"
    if origin is dict:
        return f"table of {annotation_text(parts[1])}"
    if isinstance(annotation, type) and issubclass(annotation, Variant):
        return str(annotation.model_fields["type"].default)
    return _PLAIN.get(annotation) or ("table" if _is_table(annotation) else str(cast(object, annotation)))


def _is_table(annotation: Any) -> bool:
    """Whether a knob is a table of knobs of its own."""
    return isinstance(annotation, type) and issubclass(annotation, Closed) and not issubclass(annotation, Variant)


_PLAIN: dict[Any, str] = {
    int: "whole number",
    float: "number",
    str: "text",
    bool: "true | false",
    Path: "path",
    type(None): "none",
}


def variants(*annotations: Any) -> tuple[type[Variant], ...]:
    """The variants that a type is made of."""
    found: list[type[Variant]] = []
    for annotation in annotations:
        if isinstance(annotation, type) and issubclass(annotation, Variant):
            found.append(annotation)
        else:
            found += variants(*get_args(annotation))
    return tuple(dict.fromkeys(found))


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is PydanticUndefined:
        return "required"
    if isinstance(value, Variant):
        return str(type(value).model_fields["type"].default)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, BaseModel):
        return "as below"
    if isinstance(value, dict):
        return ", ".join(cast("dict[str, object]", value)) or "empty"
    if isinstance(value, tuple):
        return ", ".join(str(part) for part in cast(tuple[object, ...], value)) or "empty"
    return "none" if value is None else str(value)


def _gates(kind: Kind) -> dict[str, Gate]:
    """The gates of the kind's default knobs, with the roles that must be given."""
    required = frozenset(name for name, role in kind.roles.items() if not role.optional)
    return dict(kind.gates(kind.knobs.model_construct(), required))


def _gate(name: str, gate: Gate) -> tuple[str, ...]:
    key = next(key for key in CONDITIONS if getattr(gate, key) is not None)
    bound = condition(f"{gate.metric} {key} {getattr(gate, key)}")
    decided = "whole interval" if gate.decide == "interval" else "point"
    return name, bound, decided, gate.severity, "off" if gate.off else ""
