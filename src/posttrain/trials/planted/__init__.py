"""Planted defects, one module per kind: what is spoilt, and the one gate or mismatch that must notice it.

A module declares PLANTED, its defects gate by gate, and MISMATCHES, what must end with exit code 6.
"""

import importlib
import pkgutil
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Seat:
    """One input of the node under trial, as a folder that may be changed before the node reads it."""

    folder: Path
    """Begins as a copy of what the honest run made; empty where it made nothing."""
    node: str
    role: str
    place: int
    """Its number among the inputs of the role."""
    domains: tuple[str, ...]
    """Every domain of the recipe."""


@dataclass(frozen=True)
class Replaced:
    """An attribute of a module that stands for another while a stage runs."""

    module: str
    name: str
    by: Callable[[Any], Any]
    """What stands there, made of what stood there."""


Knobs = Mapping[str, Any]


@dataclass(frozen=True)
class Change:
    """How a node is worked otherwise than its recipe says. Without any part: as it says."""

    knobs: Knobs | Callable[[Path], Knobs] = field(default_factory=dict[str, Any])
    """Other values, or what the folder of the honest artifact makes them."""
    inputs: Mapping[str, Callable[[Seat], None]] = field(default_factory=dict[str, "Callable[[Seat], None]"])
    """By role, what is done to the inputs: the node reads what comes of it as honest artifacts."""
    blank: bool = False
    """The inputs begin as empty folders: nothing honest has to be made for them."""
    loose: bool = False
    """The inputs are changed behind their manifests' backs."""
    during: tuple[Replaced, ...] = ()
    """What stands for something else while the stage runs."""
    after: Callable[[Path], None] | None = None
    """Damage to a copy of the finished artifact; the node is measured again, not worked."""


@dataclass(frozen=True)
class Planted:
    """A defect that exactly one gate must notice."""

    kind: str
    gate: str
    says: str
    """The defect in a few words, as the table shows it."""
    change: Change
    honest: Change | None = None
    """Where honesty too needs other ground than the finished run."""
    domain: str = ""
    """Held at the first node with the gate that has to do with this domain, beside the defects that any node has."""


@dataclass(frozen=True)
class Mismatched:
    """A defect that must end with exit code 6."""

    kind: str
    gate: str
    """The name of the mismatch."""
    says: str
    change: Change
    words: str
    """What its message says: a mismatch about something else proves nothing."""


Defect = Planted | Mismatched


@cache
def every() -> Mapping[str, Defect]:
    """Every planted defect under a name of its own: KIND.GATE, numbered where a gate has several."""
    found: dict[str, Defect] = {}
    for kind in sorted(module.name for module in pkgutil.iter_modules(__path__)):
        module = importlib.import_module(f"{__name__}.{kind}")
        declared: tuple[Defect, ...] = (*module.PLANTED, *getattr(module, "MISMATCHES", ()))
        for defect in declared:
            alike = sum((other.kind, other.gate) == (defect.kind, defect.gate) for other in found.values())
            found[f"{kind}.{defect.gate}" + (f".{alike + 1}" if alike else "")] = defect
    return found


@contextmanager
def standing(replaced: Replaced) -> Generator[None]:
    """Let an attribute stand for another, and put it back."""
    module = importlib.import_module(replaced.module)
    honest = getattr(module, replaced.name)
    setattr(module, replaced.name, replaced.by(honest))
    try:
        yield
    finally:
        setattr(module, replaced.name, honest)
