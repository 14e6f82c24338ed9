"""Properties of layers: the last one that speaks wins, and nothing a user can type breaks the loading."""

import copy
import json
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from toys import TOYS

from posttrain.engine.expand import expand
from posttrain.spec.errors import Problem, RecipeError
from posttrain.spec.load import load
from posttrain.spec.load.assemble import resolve
from posttrain.spec.load.document import Document
from posttrain.spec.load.overlay import Leaf, Tree, overlay, overlay_gates, plain

NAMES = st.sampled_from(["a", "b", "c"])
TREES: st.SearchStrategy[Any] = st.recursive(
    st.integers(0, 3).map(Leaf),
    lambda inner: st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)
TABLES = st.dictionaries(NAMES, TREES, max_size=3)


@settings(deadline=None)
@given(TABLES)
def test_a_table_over_itself_or_nothing_is_itself(table: Tree):
    assert overlay(table, table) == overlay(table, {}) == overlay({}, table) == table


@settings(deadline=None)
@given(TABLES, TABLES)
def test_what_the_upper_layer_says_stands(base: Tree, over: Tree):
    def stands(upper: Tree, joined: Tree) -> bool:
        return all(
            stands(node, joined[name]) if isinstance(node, dict) else joined[name] == node
            for name, node in upper.items()
        )

    assert stands(over, overlay(base, over))
    assert overlay(base, over).keys() == base.keys() | over.keys()


CONDITION = st.sampled_from(["at_least", "at_most", "equals"])
GATE = st.tuples(
    st.dictionaries(st.sampled_from(["min_n", "says"]), st.integers().map(Leaf)), st.none() | CONDITION
).map(lambda said: said[0] | ({said[1]: Leaf(1)} if said[1] else {}))


@settings(deadline=None)
@given(st.lists(GATE, min_size=1, max_size=4))
def test_a_gate_keeps_one_condition_that_of_the_last_layer_with_one(layers: list[Tree]):
    joined: Tree = {"gate": {"equals": Leaf(0)}}
    for layer in layers:
        joined = overlay_gates(joined, {"gate": layer})
    last = [name for layer in layers for name in layer if name in ("at_least", "at_most", "equals")] or ["equals"]
    assert [name for name in plain(joined)["gate"] if name in ("at_least", "at_most", "equals")] == [last[-1]]


RECIPE = tomllib.loads(
    """
format = 1
name = "toy"
default_profile = "tiny"
gates = ["sound"]
budget = { hours = 1 }
[views]
"out/x.json" = "base:config.json"
[paths]
out = "/x"
[stage.base]
kind = "base"
id = "x"
frozen = true
[stage.prepare]
kind = "prepare"
each = { domain = ["algebra", "geometry"] }
[stage.train]
kind = "sft"
each = "prepare"
wait = ["base"]
resources = { cpus = 2 }
inputs = { model = "base", data = ["prepare", { path = "x" }] }
steps = 3
schedule = { type = "cosine", floor = 0.5 }
stages_of = ["constant"]
gate = { rows_kept = { at_least = 0.5 } }
[resources]
device = "cpu"
[env]
STEPS = ["stage.train.steps"]
[profile.tiny]
stage = { train = { steps = 4, schedule = "constant" } }
"""
)


def keys(value: Any, at: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    below = [key for name, item in value.items() for key in keys(item, (*at, name))] if isinstance(value, dict) else []
    return [at, *below]


ANY = st.recursive(
    st.none().map(lambda _: "")
    | st.booleans()
    | st.integers(-3, 9)
    | st.floats()
    | st.text(max_size=4)
    | st.sampled_from(["base", "train", "prepare/*", "tiny", "none", "cosine", "stage.train.steps", "rl"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "kind", "path", "each", "inputs", "x", "sound", ""]), inner, max_size=2
        )
    ),
    max_leaves=4,
)


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_whatever_stands_in_a_recipe_it_loads_or_is_refused(data):
    """Nothing a user can write ends in a traceback."""
    table = copy.deepcopy(RECIPE)
    for _ in range(data.draw(st.integers(1, 3))):
        *path, last = data.draw(st.sampled_from(keys(table)[1:]))
        place = table
        for name in path:
            place = place[name]
        words = (last, "wait", "off", "each", "gate", "frozen", "budget", "views", "paths", "keep_going", "x")
        name = data.draw(st.sampled_from(words))
        place[name] = data.draw(ANY)
    try:
        recipe = resolve(Document("toy.toml", None, table, {}), kinds=TOYS, environ={"STEPS": "7"})
        expand(recipe, TOYS)
    except RecipeError as refused:
        assert all(problem.where and problem.what for problem in refused.problems)
        assert str(refused)


@settings(deadline=None, max_examples=150)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([".".join(key) for key in keys(RECIPE) if key[:1] == ("stage",)]),
            st.text(max_size=8) | ANY.map(str),
        ),
        max_size=3,
    )
)
def test_whatever_is_set_it_loads_or_is_refused(sets):
    try:
        resolve(Document("toy.toml", None, RECIPE, {}), kinds=TOYS, sets=[f"{key}={value}" for key, value in sets])
    except RecipeError as refused:
        assert all(isinstance(problem, Problem) and problem.where for problem in refused.problems)


KNOBS = st.fixed_dictionaries(
    {},
    optional={
        "stage.train.steps": st.integers(1, 9),
        "stage.train.lr": st.floats(1e-9, 1e9),
        "stage.train.schedule": st.sampled_from(["constant", "cosine"]),
        "stage.train.schedule.warmup": st.floats(0, 1),
        "stage.train.packing": st.booleans(),
        "stage.train.gate.rows_kept.at_most": st.decimals(-9, 9, places=7).map(float),
        "stage.train.gate.sound.off": st.booleans(),
        "stage.train.each": st.sampled_from(['{ domain = ["a", "b"] }', "{}", "prepare"]),
        "stage.train.stream": st.sampled_from(["one", "two"]),
        "stage.train.timeout": st.integers(1, 9),
        "seed": st.integers(0, 2**60),
        "strict": st.booleans(),
        "gates": st.sampled_from(["[]", '["sound", "train.rows_kept"]']),
    },
)


@settings(deadline=None, max_examples=60)
@given(KNOBS)
def test_resolved_is_the_same_recipe(said):
    """S-A6: loading what was resolved gives an equal recipe and equal seeds, for any settings."""
    sets = [f"{key}={json.dumps(value) if not isinstance(value, str) else value}" for key, value in said.items()]
    try:
        recipe = resolve(Document("toy.toml", None, RECIPE, {}), kinds=TOYS, sets=sets)
    except RecipeError:
        return
    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder) / "recipe.json"
        saved.write_text(json.dumps(recipe.resolved))
        again = load(saved, kinds=TOYS)
    assert again == recipe
    assert all(again.origins[key] == "command line" for key in said if "schedule" not in key and key in again.origins)
