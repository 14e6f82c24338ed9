"""A recipe out of its document and layers; every problem is collected and told together."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from posttrain.spec.errors import Problem, RecipeError
from posttrain.spec.load.axes import axes_of
from posttrain.spec.load.compose import Composed, Draft, compose, fold
from posttrain.spec.load.document import (
    Document,
    Variable,
    chosen_profiles,
    command_layers,
    mapped_keys,
    profile_layers,
    read,
    recipe_layer,
    variables,
)
from posttrain.spec.load.explain import Spot, checked
from posttrain.spec.load.overlay import (
    COMMAND,
    DEFAULT,
    RECIPE,
    Leaf,
    Tree,
    dotted,
    leaves,
    overlay,
    plain,
    plant_default,
)
from posttrain.spec.load.views import check_places, paths_of, plain_views, views_of
from posttrain.spec.recipe import FORMAT, NAME, RESERVED, Head, Recipe, StageSpec
from posttrain.spec.stage import Kinds
from posttrain.spec.words import shown, suggest

Drafts = Mapping[str, Draft | None]
"""Stage → what its layers say; None where its kind is not known."""


def load(
    source: str | Path,
    *,
    kinds: Kinds,
    profiles: Sequence[str] = (),
    sets: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
    run: Path | None = None,
) -> Recipe:
    """The recipe of that name, TOML file or resolved JSON file, under profiles, environment and `--set`.

    A profile named `none` is the bare recipe; without profiles the recipe's `default_profile` applies. Raises
    UsageError where there is no such recipe and RecipeError with everything that is wrong in it.
    """
    return resolve(read(source), kinds=kinds, profiles=profiles, sets=sets, environ=environ, run=run)


def resolve(
    document: Document,
    *,
    kinds: Kinds,
    profiles: Sequence[str] = (),
    sets: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
    run: Path | None = None,
) -> Recipe:
    """A document that is read already, as `load`."""
    problems = list[Problem]()
    chosen = chosen_profiles(document, profiles, problems)
    layers = [recipe_layer(document, problems), *profile_layers(document, chosen, problems).values()]
    typed = variables(document, environ or {}, problems)
    layers += [variable.layer for variable in typed]
    layers += command_layers(sets, _names(layers), problems)
    if run is not None:
        layers.append({"run": Leaf(str(run), COMMAND, "command line: --run")})
    if not _names(layers[:1]):
        problems.append(Problem(document.label, "has no stages.", 'Write [stage.NAME] with its kind = "...".'))
    drafts = _drafts(document, layers, kinds, problems)
    _check_variables(document, drafts, problems)
    head_tree, shared = _head(layers), _joined(layers, "resources")
    head = checked(Head, head_tree, Spot(document.label, (), "known at the top of a recipe"), problems)
    composed = _composed(drafts, shared, problems)
    if head is not None and len(composed) == len(drafts):
        _check_gates(head, head_tree, composed, problems)
    known = {name: composed[name].spec if name in composed else None for name in drafts}
    places = _places(document.label, head, layers, known, problems)
    if problems or head is None:
        raise RecipeError(list(dict.fromkeys(problems)))
    resolved = _resolved(chosen, head, shared, composed) | plain_views(places.views, places.paths)
    resolved["origins"] = _origins(document, {**head_tree, **places.told, "resources": shared}, head, composed)
    resolved["unused"] = _unused(document, typed, drafts)
    return _recipe(document, head, composed, resolved)


def _stages(layer: Tree) -> dict[str, Tree]:
    return cast("dict[str, Tree]", layer.get("stage", {}))


def _names(layers: Iterable[Tree]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for layer in layers for name in _stages(layer)))


def _head(layers: Sequence[Tree]) -> Tree:
    head: Tree = {}
    for layer in layers:
        head = overlay(head, {key: layer[key] for key in Head.model_fields if key in layer})
    return head


def _joined(layers: Sequence[Tree], table: str) -> Tree:
    """A table at the top, of all layers."""
    joined: Tree = {}
    for layer in layers:
        joined = overlay(joined, cast("Tree", layer.get(table, {})))
    return joined


def _drafts(document: Document, layers: Sequence[Tree], kinds: Kinds, problems: list[Problem]) -> Drafts:
    """Every stage that says its kind, folded."""
    found: dict[str, Draft | None] = {}
    for name in _names(layers):
        own = [_stages(layer)[name] for layer in layers if name in _stages(layer)]
        kind = next((layer["kind"] for layer in reversed(own) if "kind" in layer), None)
        where = f"{document.label}: stage.{name}"
        if kind is None and name in _stages(layers[0]):
            problems.append(Problem(where, "does not say its `kind`.", suggest("", kinds.names())))
        elif kind is None:
            where = next((leaf.where for layer in own for _, leaf in leaves(layer)), where)
            problems.append(
                Problem(where, f"names the stage `{name}`, and there is none.", suggest(name, _names(layers[:1])))
            )
        elif not isinstance(kind, Leaf) or kind.value not in kinds.names():
            where = kind.where if isinstance(kind, Leaf) else f"{where}.kind"
            known = suggest(str(plain(kind)), kinds.names())
            problems.append(Problem(where, f"= {shown(plain(kind))} is no kind of stage.", known))
            found[name] = None
        elif not re.match(NAME, name):
            problems.append(Problem(where, "is no name for a stage.", "A letter, then letters, digits, `_` and `-`."))
        else:
            found[name] = fold(name, kinds.kind(str(kind.value)), own, document.label, problems)
    return found


def _composed(drafts: Drafts, shared: Tree, problems: list[Problem]) -> dict[str, Composed]:
    each = {name: draft.each for name, draft in drafts.items() if draft is not None}
    found: dict[str, Composed] = {}
    for name, draft in drafts.items():
        if draft is not None:
            axes = axes_of(name, each, tuple(drafts), problems)
            stage = compose(draft, axes, shared, tuple(drafts), problems)
            found |= {} if stage is None else {name: stage}
    return found


def _check_variables(document: Document, drafts: Drafts, problems: list[Problem]) -> None:
    for variable, key in mapped_keys(document):
        if key[0] != "stage":
            continue
        place = f"{document.label}: env.{variable}"
        draft = drafts.get(key[1]) if len(key) > 2 else None
        if len(key) < 3 or key[1] not in drafts:
            problems.append(Problem(place, f"= {shown(dotted(key))} is no key of a stage.", suggest("", drafts)))
        elif draft is None or draft.chosen.origin != RECIPE:
            continue
        elif key[2] not in (*RESERVED, *draft.kind.roles, *draft.kind.knobs.model_fields):
            known = suggest(key[2], draft.kind.knobs.model_fields)
            problems.append(Problem(place, f"= {shown(dotted(key))} is not a knob of `{draft.kind.name}`.", known))


def _check_gates(head: Head, tree: Tree, composed: Mapping[str, Composed], problems: list[Problem]) -> None:
    """Every name in `gates` is a gate of some stage."""
    pairs = [(name, gate) for name, stage in composed.items() for gate in stage.spec.gates]
    known = {*(gate for _, gate in pairs), *(f"{name}.{gate}" for name, gate in pairs)}
    leaf = tree.get("gates")
    for said in head.gates or ():
        if said not in known and isinstance(leaf, Leaf):
            names = sorted({gate for _, gate in pairs})
            problems.append(
                Problem(leaf.where, f'names "{said}", and no stage has that gate.', suggest(said, names, known))
            )


@dataclass(frozen=True)
class _Places:
    """Views and paths, and the leaves that gave them."""

    views: dict[str, str]
    paths: dict[str, str]
    told: Tree


def _places(
    label: str,
    head: Head | None,
    layers: Sequence[Tree],
    stages: Mapping[str, StageSpec | None],
    problems: list[Problem],
) -> _Places:
    """The views and where they lie; of a stage that does not hold, nothing is asked."""
    said, moved, before = _joined(layers, "views"), _joined(layers, "paths"), len(problems)
    views = views_of(said, stages, label, problems)
    paths = paths_of(moved, views, label, problems)
    if len(problems) == before and head is not None:
        check_places(said, views, paths, _folder(head), problems)
    return _Places(views, paths, {"views": {target: said[target] for target in views}, "paths": moved})


def _folder(head: Head) -> Path:
    return head.run or Path("runs") / head.name


def _unused(document: Document, typed: Sequence[Variable], drafts: Drafts) -> list[str]:
    """Variables that are set and reach only stages that are off."""

    def reaches(variable: Variable) -> bool:
        draft = drafts.get(variable.key[1]) if variable.key[0] == "stage" else None
        return draft is None or not draft.off

    used = {variable.name for variable in typed if reaches(variable)}
    return list(document.record.get("unused", ())) + sorted({variable.name for variable in typed} - used)


def _resolved(chosen: Sequence[str], head: Head, shared: Tree, composed: Mapping[str, Composed]) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "name": head.name,
        "seed": head.seed,
        "run": _folder(head).as_posix(),
        "strict": head.strict,
        "gates": None if head.gates is None else list(head.gates),
        "keep_going": head.keep_going,
        "budget": head.budget.model_dump(mode="json"),
        "profiles": list(chosen),
        "resources": plain(shared),
        "stage": {name: stage.resolved for name, stage in composed.items()},
    }


def _origins(document: Document, top: Tree, head: Head, composed: Mapping[str, Composed]) -> dict[str, str]:
    """Dotted key → origin; what a resolved recipe already recorded stays as it was."""
    found = {dotted(key): DEFAULT for key, _ in leaves(plant_default(head.model_dump(mode="json")))}
    found |= {dotted(key): leaf.origin for key, leaf in leaves(top)}
    for stage in composed.values():
        found |= stage.origins
    recorded = cast("Mapping[str, str]", document.record.get("origins", {}))
    return {key: recorded.get(key, origin) if origin == RECIPE else origin for key, origin in found.items()}


def _recipe(document: Document, head: Head, composed: Mapping[str, Composed], resolved: Mapping[str, Any]) -> Recipe:
    return Recipe(
        name=head.name,
        seed=head.seed,
        run=Path(resolved["run"]),
        strict=head.strict,
        gates=head.gates,
        keep_going=head.keep_going,
        budget=head.budget,
        views=resolved["views"],
        paths=resolved["paths"],
        profiles=tuple(resolved["profiles"]),
        stages={name: stage.spec for name, stage in composed.items()},
        origins=resolved["origins"],
        unused=tuple(resolved["unused"]),
        resolved=resolved,
        label=document.label,
    )
