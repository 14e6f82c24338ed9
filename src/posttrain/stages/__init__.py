"""The kinds of work, one thin file per kind; a kind is read from its module without importing torch."""

import importlib
import pkgutil
from collections.abc import Callable
from functools import cache
from typing import Any

from posttrain.spec.stage import Gates, Kind


@cache
def names() -> tuple[str, ...]:
    """Every kind, in alphabetical order."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


@cache
def kind(name: str) -> Kind:
    """The kind of that name; KeyError where there is none."""
    if name not in names():
        raise KeyError(name)
    module = importlib.import_module(f"{__name__}.{name}")
    return Kind(
        name=name,
        version=module.VERSION,
        knobs=module.Knobs,
        roles=module.ROLES,
        makes=module.MAKES,
        gates=_gates(module.GATES),
        estimate=module.estimate,
        run=module.run,
        measure=module.measure,
        says=(module.__doc__ or "").strip().splitlines()[0],
        check=getattr(module, "check", None),
        reads=getattr(module, "reads", None),
    )


def _gates(declared: Any) -> Callable[[Any, frozenset[str]], Gates]:
    """GATES as a function of knobs and roles; a kind whose gates never change declares a plain table."""
    if isinstance(declared, dict):
        table: Gates = declared
        return lambda knobs, roles: table
    return declared
