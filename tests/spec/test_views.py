"""Views, paths, caps, `frozen` and `keep_going`: what a recipe may say of them, and what is refused."""

import json
import os
import tomllib
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toys import TOYS

from posttrain.engine.expand import expand
from posttrain.spec.errors import RecipeError
from posttrain.spec.knobs import Budget
from posttrain.spec.load import load
from posttrain.spec.load.assemble import resolve
from posttrain.spec.load.document import Document, parted
from posttrain.spec.load.views import OWN
from posttrain.spec.recipe import Recipe, viewed

RECIPE = """
format = 1
name = "toy"
keep_going = true
budget = { hours = 2, money = 1.5 }

[stage.base]
kind = "base"
id = "x"
frozen = true
budget.tokens = 1000

[stage.prepare]
kind = "prepare"
each = { domain = ["algebra", "geometry"] }

[views]
"results/base_{fp}.json" = "base:config.json"
"rows.jsonl" = "prepare/algebra:data/train.jsonl"

[profile.there]
keep_going = false
budget.hours = 3
budget.tokens = 7
stage.base.budget.tokens = 2000
[profile.there.views]
"rows.jsonl" = "prepare/geometry:data/train.jsonl"
"results/more.json" = "prepare/geometry:index.json"
[profile.there.paths]
results = "/elsewhere"

[env]
HOURS = "budget.hours"
ON = "keep_going"
WHERE = "paths.results"
TOKENS = "stage.base.budget.tokens"
ROWS = 'views."rows.jsonl"'
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def read(extra: str = "", **options) -> Recipe:
    Path("toy.toml").write_text(RECIPE + extra)
    return load("toy.toml", kinds=TOYS, **options)


def refused(*sets: str, **options) -> str:
    with pytest.raises(RecipeError) as raised:
        read(sets=sets, **options)
    assert raised.value.code == 2
    return str(raised.value)


def test_caps_frozen_and_keep_going_reach_nodes():
    recipe = read()
    assert recipe.keep_going and recipe.budget == Budget(hours=2, money=Decimal("1.5"))
    nodes = expand(recipe, TOYS).nodes
    assert nodes["base"].frozen and nodes["base"].budget == Budget(tokens=1000)
    assert not nodes["prepare/algebra"].frozen and nodes["prepare/algebra"].budget == Budget()


def test_what_says_nothing_has_no_cap_and_stops_at_gates():
    Path("small.toml").write_text('format = 1\nname = "small"\n[stage.base]\nkind = "base"\nid = "x"\n')
    recipe = load("small.toml", kinds=TOYS)
    assert (recipe.keep_going, recipe.budget, recipe.views, recipe.paths) == (False, Budget(), {}, {})
    assert recipe.origins["budget.hours"] == recipe.origins["keep_going"] == "kind default"
    assert recipe.origins["stage.base.frozen"] == recipe.origins["stage.base.budget.money"] == "kind default"


def test_profiles_lie_over_the_recipe_value_by_value():
    recipe = read(profiles=["there"])
    assert not recipe.keep_going and recipe.budget == Budget(hours=3, tokens=7, money=Decimal("1.5"))
    assert recipe.stages["base"].budget.tokens == 2000
    assert recipe.views == {
        "results/base_{fp}.json": "base:config.json",
        "rows.jsonl": "prepare/geometry:data/train.jsonl",
        "results/more.json": "prepare/geometry:index.json",
    }
    assert recipe.paths == {"results": "/elsewhere"}
    origins = {
        "budget.hours": "profile there",
        "budget.money": "recipe",
        "stage.base.frozen": "recipe",
        "stage.base.budget.tokens": "profile there",
        "views.results/base_{fp}.json": "recipe",
        "views.rows.jsonl": "profile there",
        "paths.results": "profile there",
    }
    assert {key: recipe.origins[key] for key in origins} == origins


def test_environment_and_command_line_lie_over_profiles():
    """S-A5."""
    environ = {"HOURS": "0.5", "ON": "true", "WHERE": "out", "TOKENS": "9", "ROWS": "prepare/algebra:index.json"}
    recipe = read(profiles=["there"], environ=environ)
    assert recipe.keep_going and recipe.budget.hours == 0.5 and recipe.stages["base"].budget.tokens == 9
    assert recipe.paths == {"results": str(Path("out").absolute())}
    assert recipe.views["rows.jsonl"] == "prepare/algebra:index.json"
    keys = ("budget.hours", "keep_going", "paths.results", "stage.base.budget.tokens", "views.rows.jsonl")
    assert [recipe.origins[key] for key in keys] == ["env HOURS", "env ON", "env WHERE", "env TOKENS", "env ROWS"]
    sets = ["budget.hours=4", "paths.results=/x", 'views."rows.jsonl"=base:a=b.json', "views.'new'=base:c"]
    over = read(profiles=["there"], environ=environ, sets=sets)
    assert (over.budget.hours, over.paths["results"]) == (4, "/x")
    assert (over.views["rows.jsonl"], over.views["new"]) == ("base:a=b.json", "base:c")
    keys = ("budget.hours", "paths.results", "views.rows.jsonl", "views.new")
    assert {over.origins[key] for key in keys} == {"command line"}


def test_an_empty_text_takes_a_view_away():
    recipe = read(sets=['views."rows.jsonl"='])
    assert tuple(recipe.views) == ("results/base_{fp}.json",)


def test_a_view_of_a_stage_that_is_off_may_stand():
    assert "rows.jsonl" in read(sets=["stage.prepare.off=true"]).views


def test_the_resolved_recipe_holds_them_too(tmp_path):
    """S-A6: from another place the moved folder is the same."""
    recipe = read(profiles=["there"], environ={"WHERE": "out", "HOURS": "1"})
    saved = tmp_path / "recipe.json"
    saved.write_text(json.dumps(recipe.resolved))
    assert load(saved, kinds=TOYS) == recipe
    assert recipe.resolved["budget"] == {"hours": 1.0, "tokens": 7, "money": "1.5"}


def test_what_a_view_shows_is_taken_apart():
    one, all_ = viewed("exam:report.json"), viewed("probe/a,b:steps/x:y.json")
    assert one and all_
    assert (one.node, one.file) == ("exam", "report.json")
    assert (all_.stage, all_.member, all_.node, all_.file) == ("probe", "a,b", "probe/a,b", "steps/x:y.json")
    assert [viewed(said) for said in ("exam", "exam:", ":x", "a/:x", "a/b/c:x")] == [None] * 5


def test_a_key_is_parted_at_dots_outside_of_quotes():
    assert parted("stage.base.id") == ("stage", "base", "id")
    assert parted('views."a.b/c.json"') == parted("views.'a.b/c.json'") == ("views", "a.b/c.json")
    assert parted("views.") == ("views", "") and parted("") == ("",)


FORMS = 'Write "TARGET" = "STAGE:FILE" or "STAGE/MEMBER:FILE"; "" takes a view away.'
BELOW = 'A target is relative to the folder of the run; [paths] moves its first folder: results = "/elsewhere".'
KNOWN = "Known: base, prepare."


@pytest.mark.parametrize(
    ("target", "source", "said"),
    [
        ("a", "bass:x", f'= "bass:x": there is no stage `bass`.\n  {KNOWN}  Did you mean "base"?'),
        ("a", "prepare/physics:x", "has the members algebra, geometry, no member `physics`."),
        ("a", "prepare:x", 'no single artifact.\n  Write "prepare/algebra:x".'),
        ("a", "base/one:x", 'has no members, no member `one`.\n  Write "base:x".'),
        ("a", "base", f'= "base" is not a view.\n  {FORMS}'),
        ("a", "base:/etc/passwd", "its file is absolute."),
        ("a", "base:../x", "its file climbs out with `..`."),
        ("/tmp/a", "base:x", f"has a target that is absolute.\n  {BELOW}"),
        ("~/a", "base:x", "has a target that is absolute."),
        ("C:/a", "base:x", "has a target that is absolute."),
        ("a/../../b", "base:x", "has a target that climbs out with `..`."),
        (".", "base:x", "has a target that names no file."),
        ("a/{fingerprint}.json", "base:x", "has the placeholder {fingerprint}, and there is none but {fp}."),
        ("a/{fp.json", "base:x", "has the placeholder {fp.json, and there is none but {fp}."),
        ("./rows.jsonl", "base:x", 'takes the place of the view "rows.jsonl".'),
        ("rows.jsonl/x", "base:x", 'cannot stand beside the view "rows.jsonl": one lies'),
        ("results", "base:x", 'cannot stand beside the view "results/base_{fp}.json": one lies'),
    ],
)
def test_views_that_cannot_be(target, source, said):
    text = refused(f"views.'{target}'={source}")
    assert text.startswith(f"command line: views.{target}") and said in text


def test_wrong_views_are_told_with_everything_else():
    said = refused("stage.prepare.max_problems=0", "views.a=prepare/algebra:x", "views.'../b'=base:x", "seed=x")
    assert [line for line in said.splitlines() if line[0] != " "] == [
        'command line: seed = "x" must be a whole number.',
        'command line: stage.prepare.max_problems = "0" must be more than 0.',
        "command line: views.../b has a target that climbs out with `..`.",
    ]


@pytest.mark.parametrize("name", OWN)
def test_a_view_never_falls_on_our_own_files(name):
    assert f"takes the place of `{name}`, which posttrain keeps there itself." in refused(f"views.'{name}'=base:x")
    assert f"takes the place of `{name}`" in refused(f"views.'{name.upper()}/x'=base:x")
    moved = refused(f"paths.results={Path('runs/toy').absolute()}", f"views.'results/{name}/x'=base:x")
    assert f"takes the place of `{name}`" in moved


def test_moved_views_may_not_meet():
    text = refused("views.'other/base_{fp}.json'=base:x", "paths.other=/x", "paths.results=/x")
    assert 'takes the place of the view "results/base_{fp}.json".' in text


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            "paths.result=/x",
            "command line: paths.result names a folder that no view lies in.\n"
            '  Known: results.  Did you mean "results"?',
        ),
        ("paths.results=", 'command line: paths.results = "" is not a folder.'),
        ("paths=3", "command line: paths must be a table."),
        ("views=3", "must be a table."),
        ("views.rows.jsonl=base:x", "command line: views.rows.jsonl is not a view."),
        ("views.new=3", "command line: views.new = 3 is not a view."),
        ("keep_going=7", 'command line: keep_going = "7" must be true or false.'),
        ("budget=7", "must be a table."),
        ("budget.hours=0", 'command line: budget.hours = "0" must be more than 0.'),
        ("budget.hours=inf", "must be a finite number."),
        ("budget.tokens=1.5", 'command line: budget.tokens = "1.5" must be a whole number.'),
        ("budget.money=true", 'command line: budget.money = "true" must be a number.'),
        ("budget.money=much", 'command line: budget.money = "much" must be a number.'),
        (
            "budget.hour=1",
            "command line: budget.hour is not known at the top of a recipe.\n"
            '  Known: hours, tokens, money.  Did you mean "hours"?',
        ),
        ("stage.base.budget.tokens=-1", 'command line: stage.base.budget.tokens = "-1" must be more than 0.'),
        ("stage.base.budget=1", "must be a table."),
        ("stage.base.frozen=1", 'command line: stage.base.frozen = "1" must be true or false.'),
    ],
)
def test_caps_and_words_that_cannot_be(said, told):
    assert told in refused(said)


def test_a_variable_that_cannot_be_parsed_is_named():
    """S-A5: the variable and the key it sets."""
    said = refused(environ={"HOURS": "long"}, profiles=["there"])
    assert said == 'environment: HOURS = "long" must be a number.\n  It sets budget.hours.'
    said = refused("views={}", "views.'results/base_{fp}.json'=", environ={"WHERE": "/x"})
    assert said.startswith("environment: WHERE names a folder that no view lies in.") and said.endswith(
        "It sets paths.results."
    )


TEXT = st.text(st.sampled_from("ab/.:{}fp~\\ \0*C"), max_size=8)


@settings(deadline=None, max_examples=200)
@given(st.dictionaries(TEXT, TEXT | TEXT.map("base:{}".format), max_size=4), st.dictionaries(TEXT, TEXT, max_size=2))
def test_whatever_stands_in_views_stays_below_its_folder(views, paths):
    """It loads, or is refused by name; what loads never leaves the run's folder or the one that stands for it."""
    table = tomllib.loads(RECIPE) | {"views": views, "paths": paths}
    try:
        recipe = resolve(Document("toy.toml", None, table, {}), kinds=TOYS)
    except RecipeError as refused:
        assert all(problem.where and problem.what for problem in refused.problems)
        return
    for target in recipe.views:
        place = os.path.normpath(Path("/run") / target)
        assert place.startswith("/run/") and place.removeprefix("/run/").split("/")[0] not in OWN
    assert all(Path(folder).is_absolute() for folder in recipe.paths.values())
