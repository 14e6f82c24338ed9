"""Closed, frozen configuration values and the types that knobs are made of."""

import ast
import inspect
import re
import textwrap
from collections.abc import Mapping
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, cast, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PlainSerializer,
    PositiveInt,
)

from posttrain.spec.errors import UsageError


class Closed(BaseModel):
    """A frozen value that refuses unknown keys; a field is documented by the string under it."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def documents(model: type[BaseModel]) -> dict[str, str]:
    """The string under each field of a model, inherited ones included.

    Read from source when asked for: pydantic's own reading would cost every command a tenth of a second.
    """
    found: dict[str, str] = {}
    for owner in reversed([base for base in model.__mro__ if issubclass(base, BaseModel) and base is not BaseModel]):
        body = cast("ast.ClassDef", ast.parse(textwrap.dedent(inspect.getsource(owner))).body[0]).body
        for field, below in pairwise(body):
            if (
                isinstance(field, ast.AnnAssign)
                and isinstance(below, ast.Expr)
                and isinstance(below.value, ast.Constant)
            ):
                found[ast.unparse(field.target)] = inspect.cleandoc(str(below.value.value))
    return found


class Knobs(Closed):
    """What decides the result of one kind of stage; every field enters the fingerprint."""


class Variant(Closed):
    """One choice of a union knob; `type` is its tag: subclasses declare `type: Literal["NAME"] = "NAME"`."""


def _from_tag(value: Any) -> Any:
    return {"type": value} if isinstance(value, str) else value


def tagged(union: Any) -> Any:
    """The union of variants as a knob type: a table with its `type`, or the bare tag for a variant's defaults."""
    return Annotated[union, Discriminator("type"), BeforeValidator(_from_tag)]


def tags(annotation: Any) -> tuple[str, ...]:
    """The tags of a type made by `tagged`; empty for any other type."""
    found: list[str] = []
    for part in get_args(annotation):
        candidates = (part, *get_args(part))
        for variant in candidates:
            if isinstance(variant, type) and issubclass(variant, Variant):
                found.append(str(variant.model_fields["type"].default))
    return tuple(dict.fromkeys(found))


def _listed(value: Any) -> Any:
    return (value,) if isinstance(value, int) else value


Counts = Annotated[tuple[PositiveInt, ...], Field(min_length=1), BeforeValidator(_listed)]
"""One whole number above zero, or a list of them: `k = 8`, `k = [8, 1, 4]`."""


class FileMark:
    """Marks a knob as a `File`: it counts by the file's content, not by its path."""


File = Annotated[Path, FileMark()]
"""A file (or `file.py:name`) of the user's that a knob names; its content enters the fingerprint."""


def _is_file(annotation: Any) -> bool:
    return any(isinstance(part, FileMark) or _is_file(part) for part in get_args(annotation))


def files(value: Closed, prefix: str = "") -> dict[str, Path]:
    """Every `File` of a value that is given: dotted knob name → path; lists number theirs."""
    found: dict[str, Path] = {}
    for name, field in type(value).model_fields.items():
        given = getattr(value, name)
        marked = any(isinstance(mark, FileMark) for mark in field.metadata) or _is_file(field.annotation)
        many = isinstance(given, tuple)
        for number, item in enumerate(cast("tuple[Any, ...]", given) if many else (given,)):
            key = f"{prefix}{name}.{number}" if many else f"{prefix}{name}"
            if isinstance(item, Closed):
                found |= files(item, f"{key}.")
            elif marked and isinstance(item, Path):
                found[key] = item
    return found


def _device(name: str) -> str:
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", name):
        raise ValueError("must be auto, cpu, mps, cuda or cuda:NUMBER")
    return name


def _amount(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("must be a number")  # noqa: TRY004
    return value


class Budget(Closed):
    """Caps that stop the work cleanly (exit 5): the same command with a higher cap goes on from there.

    The run's caps: `hours` count this invocation; `tokens` and `money` count all that the run ever spent, killed
    attempts included. A stage's caps hold for each of its nodes, over all attempts at it.
    """

    hours: float | None = Field(default=None, gt=0)
    """Wall-clock hours."""
    tokens: int | None = Field(default=None, gt=0)
    """Tokens that stages train on or generate; what was generated is not counted again when it is trained on."""
    money: Annotated[Decimal | None, BeforeValidator(_amount)] = Field(default=None, gt=0)
    """Money that stages count as spent."""


UNLIMITED = Budget()
"""No cap."""


_UNITS = {"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}


def _memory(value: Any) -> Any:
    """Bytes from `"2GiB"`, `"1.5 GiB"`, `"512MiB"` or a whole number."""
    if not isinstance(value, str):
        return _amount(value)
    parts = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", value)
    unit = parts and next((known for known in _UNITS if known.lower() == parts[2].lower()), None)
    if parts is None or unit is None:
        raise ValueError('must be bytes, or a size like "2GiB" or "512MiB" (KiB, MiB, GiB, TiB)')
    return int(Decimal(parts[1]) * _UNITS[unit])


def _as_written(size: int | None) -> str | None:
    """Bytes in the largest unit that divides them: `2GiB`."""
    if size is None:
        return None
    unit, factor = next((unit, factor) for unit, factor in reversed(_UNITS.items()) if size % factor == 0)
    return f"{size // factor}{unit}"


def sandbox_named(text: str) -> str:
    """A level, an address or `none`, as it is; ValueError, which does not repeat it, for anything else."""
    if not re.fullmatch(r"none|L[123]|https?://[^\s/?#@]+(/[^\s?#@]*)?", text):
        raise ValueError('must be "L3", "L2", "L1", the address of a sandbox server ("http://HOST:PORT"), or "none"')
    return text


class Resources(Closed):
    """Where and how fast a node runs. Recorded, never part of a fingerprint; the only place for `auto`."""

    device: Annotated[str, AfterValidator(_device)] = "auto"
    """`auto`, `cpu`, `cuda`, `cuda:0`, `mps`."""
    cpus: int = Field(default=1, gt=0, le=1024)
    """Cores a node claims; torch uses that many threads."""
    memory: Annotated[PositiveInt | None, BeforeValidator(_memory), PlainSerializer(_as_written, when_used="json")] = (
        None
    )
    """Memory a node claims, and the most that its processes may hold together: `"2GiB"`, `"512MiB"`, or bytes; none: no
    limit, and nothing is claimed."""
    compute: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """The number format of matrix products; weights stay fp32."""
    sandbox: Annotated[str, AfterValidator(sandbox_named)] = "L2"
    """What must at least keep a model's programs from harm: `L3`, `L2`, `L1` (`posttrain doctor` tells what works); the
    address of a server that runs them elsewhere, `http://HOST:PORT`; `none`: no program is run, and of the code domain
    expression tasks alone are graded. For `L1` the environment variable POSTTRAIN_SANDBOX_L1 must be 1 as well."""


LOWERED = "POSTTRAIN_SANDBOX_L1"
"""The environment variable that must be `1` for programs to be run below L2."""


def permit(sandbox: str, environ: Mapping[str, str], *, said: str = 'resources.sandbox = "L1"') -> None:
    """UsageError where `resources.sandbox` is below L2, and the environment does not ask for that too.

    `said`: the setting as the message names it.
    """
    if sandbox == "L1" and environ.get(LOWERED) != "1":
        raise UsageError(
            f"{said} runs programs of a model with less around them than L2, and {LOWERED} is not 1",
            remedy=f"Set {LOWERED}=1 if that is meant; `posttrain doctor` tells which levels work here.",
        )
