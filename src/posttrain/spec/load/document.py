"""A recipe's file, and the layers that lie in it and over it: profiles, environment, command line."""

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from posttrain.spec.errors import Problem, RecipeError, UsageError
from posttrain.spec.load.overlay import COMMAND, RECIPE, Key, Leaf, Soil, Tree, dotted, find, placed, plant
from posttrain.spec.recipe import FORMAT, NAME
from posttrain.spec.words import nearest, shown, suggest, unknown

RECIPES = Path(__file__).parents[2] / "recipes"
"""The recipes that ship."""

LAYER = ("seed", "run", "strict", "gates", "keep_going", "budget", "stage", "resources", "views", "paths")
"""Keys that a profile, the environment and the command line may set."""

TOP = ("format", "name", "default_profile", *LAYER, "env", "profile")
"""Known keys at the top of a recipe."""

RECORD: Mapping[str, type] = {"profiles": list, "origins": dict, "unused": list}
"""Keys that a resolved recipe adds, each of texts."""

NO_PROFILE = "none"
"""`--profile none`: the bare recipe."""


@dataclass(frozen=True)
class Document:
    """A parsed recipe."""

    label: str
    """Its file as errors name it."""
    folder: Path | None
    """Where its relative paths start; None: where the command is typed."""
    table: Mapping[str, Any]
    record: Mapping[str, Any]
    """Profiles, origins and unused variables of a resolved recipe; else empty."""


def shipped() -> tuple[str, ...]:
    """The names of the recipes that ship."""
    return tuple(sorted(path.stem for path in RECIPES.glob("*.toml")))


def read(source: str | Path) -> Document:
    """The recipe of that name or file; UsageError where there is none, RecipeError where it cannot be parsed."""
    path, label = Path(source), str(source) or "."
    if not path.suffix and str(source) in shipped():
        path = RECIPES / f"{source}.toml"
        label = path.name
    if path.is_dir():
        run = path / "recipe.json"
        remedy = f"The recipe of that run is {run}." if run.is_file() else "Give a TOML file."
        raise UsageError("this is a folder, not a recipe.", where=label, remedy=remedy)
    if not path.is_file():
        close = nearest(str(source), shipped())
        remedy = f"Shipped recipes: {', '.join(shipped())}." + (f'  Did you mean "{close}"?' if close else "")
        raise UsageError("there is no such recipe.", where=label, remedy=remedy)
    try:
        text = path.read_text(encoding="utf-8")
        table: Any = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (tomllib.TOMLDecodeError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise RecipeError([Problem(label, f"cannot be parsed: {error}")]) from error
    except RecursionError as error:
        raise RecipeError([Problem(label, "cannot be parsed: too many brackets inside each other.")]) from error
    return _document(table, path, label)


def _document(parsed: Any, path: Path, label: str) -> Document:
    if not isinstance(parsed, dict):
        raise RecipeError([Problem(label, "is not a table of keys.")])
    table = cast("dict[str, Any]", parsed)
    if table.get("format") != FORMAT or type(table["format"]) is not int:
        said = f"is written in format {shown(table['format'])}." if "format" in table else "does not say its format."
        raise RecipeError([Problem(label, said, f"This program reads `format = {FORMAT}`.")])
    resolved = path.suffix == ".json"
    record = {key: table.pop(key) for key in RECORD if resolved and key in table}
    if wrong := [key for key, given in record.items() if not _recorded(given, RECORD[key])]:
        raise RecipeError([Problem(f"{label}: {key}", "is not as a run records it.") for key in wrong])
    return Document(label, None if resolved else path.resolve().parent, table, record)


def _recorded(given: Any, shape: type) -> bool:
    texts = cast("dict[str, Any]", given).values() if isinstance(given, dict) else given
    return isinstance(given, shape) and all(isinstance(text, str) for text in texts)


def recipe_layer(document: Document, problems: list[Problem]) -> Tree:
    """The recipe itself, without its profiles and its table of variables."""
    table = {key: value for key, value in document.table.items() if key not in ("env", "profile", "format")}
    return _layer(table, Soil(RECIPE, document.label, folder=document.folder), TOP, problems)


def profile_layers(document: Document, chosen: Sequence[str], problems: list[Problem]) -> dict[str, Tree]:
    """The chosen profiles by name; every profile of the recipe has its shape checked."""
    profiles = _table(document.table.get("profile", {}), f"{document.label}: profile", problems)
    trees: dict[str, Tree] = {}
    for name, said in profiles.items():
        place = f"{document.label}: profile.{name}"
        if name == NO_PROFILE or not re.match(NAME, name):
            problems.append(Problem(place, "is no name for a profile.", "`none` means the bare recipe."))
        soil = Soil(f"profile {name}", document.label, f"profile.{name}.", document.folder)
        trees[name] = _layer(_table(said, place, problems), soil, LAYER, problems)
    return {name: trees[name] for name in chosen if name in trees}


def chosen_profiles(document: Document, asked: Sequence[str], problems: list[Problem]) -> tuple[str, ...]:
    """The profiles that apply: those asked for, else the recipe's default."""
    default, recorded = document.table.get("default_profile"), document.record.get("profiles")
    where = "command line: --profile" if asked else f"{document.label}: default_profile"
    if recorded is not None:
        if asked and list(asked) != recorded:
            remedy = f"Recorded: {', '.join(recorded) or NO_PROFILE}.  Name the recipe itself to choose others."
            problems.append(Problem(where, "cannot change a resolved recipe.", remedy))
        return tuple(recorded)
    if not asked and default is None:
        return ()
    names, profiles = tuple(dict.fromkeys(asked or (str(default),))), document.table.get("profile")
    known = tuple(cast("dict[str, Any]", profiles)) if isinstance(profiles, dict) else ()
    if names == (NO_PROFILE,):
        return ()
    for name in names:
        if name == NO_PROFILE:
            problems.append(Problem(where, "`none` stands alone.", "It means the recipe without any profile."))
        elif name not in known:
            remedy = suggest(name, known) if known else "This recipe has no profiles."
            problems.append(Problem(where, f'= "{name}": there is no such profile.', remedy))
    return names


def _table(value: Any, place: str, problems: list[Problem]) -> dict[str, Any]:
    if isinstance(value, dict):
        return cast("dict[str, Any]", value)
    problems.append(Problem(place, "must be a table."))
    return {}


def _layer(table: Mapping[str, Any], soil: Soil, known: Sequence[str], problems: list[Problem]) -> Tree:
    tree = cast("Tree", plant(dict(table), soil))
    for key in [key for key in tree if key not in known]:
        place = "at the top of a recipe" if known is TOP else "in a profile"
        problems.append(Problem(soil.where((key,)), *unknown(key, f"is not known {place}.", known)))
        del tree[key]
    return shaped(tree, soil, problems)


def shaped(tree: Tree, soil: Soil, problems: list[Problem]) -> Tree:
    """The tree without what is no table where the grammar has one."""
    for key in ("stage", "resources", "budget", "views", "paths"):
        if isinstance(tree.get(key), Leaf):
            problems.append(Problem(soil.where((key,)), "must be a table."))
            del tree[key]
    stages = tree.get("stage", {})
    for name, stage in list(stages.items()) if isinstance(stages, dict) else []:
        bad = _misshapen(("stage", name), stage)
        problems += [Problem(soil.where(key), "must be a table.") for key in bad]
        if bad:
            del cast("Tree", stages)[name]
    return tree


def _misshapen(key: tuple[str, ...], stage: Tree | Leaf) -> list[tuple[str, ...]]:
    if isinstance(stage, Leaf):
        return [key]
    tables = [(*key, name) for name in ("inputs", "gate", "resources", "budget") if isinstance(stage.get(name), Leaf)]
    gates = stage.get("gate")
    named = gates.items() if isinstance(gates, dict) else ()
    return tables + [(*key, "gate", name) for name, gate in named if isinstance(gate, Leaf)]


def parted(text: str) -> Key:
    """A dotted key in its parts; a part in quotes may hold dots: `views."a/b.json"`."""
    found = re.findall(r"""(?:^|\.)\s*(?:"([^"]*)"|'([^']*)'|([^.]*?))\s*(?=\.|$)""", text)
    return tuple(double or single or bare for double, single, bare in found)


def _halves(said: str) -> tuple[str, str, str]:
    """`KEY=VALUE` at the first = outside of quotes."""
    match = re.match(r"""((?:"[^"]*"|'[^']*'|[^="'])*)=(.*)""", said, re.DOTALL)
    return (match[1].strip(), "=", match[2]) if match else said.partition("=")


def readings(text: str, *, words: bool) -> tuple[Any, ...]:
    """What a typed text may mean, in the order of trying: a TOML value, the text itself, a list of its words."""
    try:
        read = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        read = {}
    parsed = (read["value"],) if set(read) == {"value"} else ()
    return (*parsed, text, *((text.split(),) if words else ()))


def typed_layer(key: Key, text: str, soil: Soil, *, words: bool = False) -> Tree:
    """One value from the environment or the command line as a layer of its own."""
    first, *rest = readings(text, words=words)
    if key[2:3] == ("inputs",) and key[4:] and not isinstance(first, str):
        first, rest = text, []
    value: Any = first
    for name in reversed(key):
        value = {name: value}
    tree = cast("Tree", plant(value, soil))
    leaf = find(tree, key)
    if not isinstance(leaf, Leaf):
        return tree
    return placed(tree, key[: _length(tree, key)], replace(leaf, text=text, readings=tuple(rest), hint=soil.hint))


def _length(tree: Tree, key: Key) -> int:
    return next(length for length in range(1, len(key) + 1) if isinstance(find(tree, key[:length]), Leaf))


def command_layers(sets: Sequence[str], stages: Sequence[str], problems: list[Problem]) -> list[Tree]:
    """Every `--set KEY=VALUE` as a layer."""
    layers: list[Tree] = []
    for said in sets:
        name, equals, text = _halves(said)
        key, place = parted(name), f"command line: --set {name.strip()}"
        if not equals or not all(key):
            problems.append(Problem(f"command line: --set {said}", "is not KEY=VALUE.", "Write stage.NAME.KNOB=VALUE."))
        elif key[0] in stages:
            problems.append(Problem(place, "is not a key.", f'Did you mean "stage.{dotted(key)}"?'))
        elif key[0] not in LAYER:
            problems.append(Problem(place, *unknown(key[0], "cannot be set.", LAYER)))
        else:
            soil = Soil(COMMAND, "command line")
            layers.append(shaped(typed_layer(key, text.strip(), soil), soil, problems))
    return layers


@dataclass(frozen=True)
class Variable:
    """One key that a set variable of the environment gives a value."""

    name: str
    key: Key
    layer: Tree


def variables(document: Document, environ: Mapping[str, str], problems: list[Problem]) -> list[Variable]:
    """Every variable of `[env]` that is set, once for each of its keys; an empty one counts as not set."""
    found: list[Variable] = []
    for name, said in _table(document.table.get("env", {}), f"{document.label}: env", problems).items():
        for text in _listed(said):
            key = parted(text) if isinstance(text, str) else ()
            if not all(key) or key[:1] not in [(first,) for first in LAYER]:
                place = f"{document.label}: env.{name}"
                problems.append(Problem(place, f"= {shown(text)} is not a key.", suggest(str(text), LAYER)))
            elif environ.get(name):
                soil = Soil(f"env {name}", "environment", at=name, hint=f"It sets {text}.")
                layer = shaped(typed_layer(key, environ[name], soil, words=True), soil, problems)
                found.append(Variable(name, key, layer))
    return found


def mapped_keys(document: Document) -> list[tuple[str, Key]]:
    """Every variable of `[env]` with each of its keys, set or not."""
    table = document.table.get("env", {})
    said = cast("dict[str, Any]", table if isinstance(table, dict) else {})
    pairs = [(name, text) for name, keys in said.items() for text in _listed(keys)]
    return [(name, parted(text)) for name, text in pairs if isinstance(text, str)]


def _listed(value: Any) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else [value]
