"""The gates of one stage: the kind's under the recipe's, each a whole gate in the end."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, cast

from posttrain.spec.errors import Problem
from posttrain.spec.gate import CONDITIONS, REQUIRES, Gate
from posttrain.spec.knobs import Knobs
from posttrain.spec.load.explain import Spot, checked
from posttrain.spec.load.overlay import Leaf, Tree, overlay_gates, plain, plant_default
from posttrain.spec.stage import Kind
from posttrain.spec.words import suggest, unknown


def gates_of(
    said: Tree, kind: Kind, knobs: Knobs | None, roles: frozenset[str], spot: Spot, problems: list[Problem]
) -> dict[str, Gate]:
    """The stage's gates by name, those switched off too; without knobs only the words are checked."""
    if knobs is None:
        _check_words(said, spot, problems)
        return {}
    defaults = gates_plain(kind.gates(knobs, roles))
    merged = overlay_gates(cast("Tree", plant_default(defaults)), said)
    found: dict[str, Gate] = {}
    for name, tree in merged.items():
        if isinstance(tree, Leaf):
            problems.append(Problem(spot.where((name,)), f"= {plain(tree)} is not a gate.", "A gate is a table."))
        elif name not in defaults and "metric" not in tree:
            remedy = f"{suggest(name, defaults)}  A gate of your own names its `metric`."
            problems.append(Problem(spot.where((name,)), f"is not a gate of `{kind.name}`.", remedy))
        elif gate := checked(Gate, tree, Spot(spot.file, (*spot.prefix, name), "a key of a gate"), problems):
            found[name] = gate
    _check_needs(found, tuple(merged), spot, problems)
    return found


def _check_words(said: Tree, spot: Spot, problems: list[Problem]) -> None:
    for name, tree in said.items():
        for word in tree if isinstance(tree, dict) else ():
            if word not in Gate.model_fields:
                cause, remedy = unknown(word, "is not a key of a gate.", list(Gate.model_fields))
                problems.append(Problem(spot.where((name, word)), cause, remedy))


def _check_needs(gates: Mapping[str, Gate], names: Sequence[str], spot: Spot, problems: list[Problem]) -> None:
    for name, gate in gates.items():
        where = spot.where((name,))
        for other in gate.needs:
            if other not in names:
                problems.append(Problem(f"{where}.needs", f"names `{other}`, no gate here.", suggest(other, names)))
        for need in gate.requires:
            if need not in REQUIRES:
                problems.append(Problem(f"{where}.requires", f"names `{need}`.", suggest(need, REQUIRES)))
        if _circles(name, gates):
            problems.append(
                Problem(f"{where}.needs", "comes back to this gate.", "Gates need one another in one order.")
            )


def _circles(name: str, gates: Mapping[str, Gate]) -> bool:
    seen: set[str] = set()
    ahead = list(gates[name].needs)
    while ahead:
        other = ahead.pop()
        if other == name:
            return True
        if other in gates and other not in seen:
            seen.add(other)
            ahead += gates[other].needs
    return False


def gates_plain(gates: Mapping[str, Gate]) -> dict[str, dict[str, Any]]:
    """Gates as a recipe writes them: what differs from a gate's defaults, conditions as numbers."""
    return {name: _plain(gate) for name, gate in gates.items()}


def _plain(gate: Gate) -> dict[str, Any]:
    table = gate.model_dump(mode="json", exclude_defaults=True)
    return {key: _number(value) if key in CONDITIONS else value for key, value in table.items()}


def _number(text: str) -> int | float | str:
    exact = Decimal(text)
    if exact == exact.to_integral_value():
        return int(exact)
    return float(exact) if Decimal(str(float(exact))) == exact else text
