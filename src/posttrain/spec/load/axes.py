"""What a stage is multiplied by: its own table of axes, or the axes of another stage."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from posttrain.spec.errors import Problem
from posttrain.spec.load.overlay import Leaf
from posttrain.spec.recipe import MEMBER, NAME, Axes
from posttrain.spec.words import shown, suggest

FORMS = 'Write each = { AXIS = ["one", "two"] }, or the name of the stage whose axes it shares; {} removes them.'


def axes_of(name: str, each: Mapping[str, Leaf | None], stages: Sequence[str], problems: list[Problem]) -> Axes:
    """The axes of a stage; `each` holds what every stage says. Where that is wrong, no axes and a problem."""
    path, at = [name], name
    while True:
        leaf = each.get(at)
        if leaf is None:
            return {}
        if not isinstance(leaf.value, str):
            return _table(leaf, problems if at == name else [])
        at = leaf.value
        if at not in stages:
            if len(path) == 1:
                problems.append(Problem(leaf.where, f"= {shown(at)}: there is no such stage.", suggest(at, stages)))
            return {}
        if at in path:
            if at == name == min(path, key=stages.index):
                circle = " → ".join([*path, at])
                problems.append(Problem(leaf.where, f"= {shown(at)} goes in a circle: {circle}.", FORMS))
            return {}
        path.append(at)


def _table(leaf: Leaf, problems: list[Problem]) -> Axes:
    if not isinstance(leaf.value, dict):
        problems.append(Problem(leaf.where, f"= {shown(leaf.value)} is not a table of axes.", FORMS))
        return {}
    axes: dict[str, tuple[str, ...]] = {}
    for axis, said in cast("dict[str, Any]", leaf.value).items():
        where = f"{leaf.where}.{axis}"
        values = tuple(map(_member, cast("list[Any]", said))) if isinstance(said, list) else ()
        if not re.match(NAME, axis):
            problems.append(Problem(where, "is no name for an axis.", "Letters, digits, `_` and `-`."))
        elif not values:
            remedy = "An axis is a list with one value or more; a stage that is not wanted is `off = true`."
            problems.append(Problem(where, f"= {shown(said)} has no values.", remedy))
        elif wrong := [value for value in values if not re.match(MEMBER, value)]:
            remedy = "A value is a word, a number or true or false: letters, digits and `_ . + -`."
            problems.append(Problem(where, f"= {shown(said)}: {shown(wrong[0])} cannot name a member.", remedy))
        elif len(set(values)) < len(values):
            problems.append(Problem(where, f"= {shown(said)} names a value twice."))
        else:
            axes[axis] = values
    return axes


def _member(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int | float) else ""
