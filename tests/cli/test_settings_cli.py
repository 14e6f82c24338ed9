"""Where a value comes from, through the command line: precedence, its origin, what reproduces a run, caps."""

import json
from pathlib import Path

import pytest

from cli.door import posttrain

RECIPE = """
format = 1
name = "settings"
seed = 17
default_profile = "small"

[stage.prepare]
kind = "prepare"
val_size = 3
probe_size = 3
test_size = 3
domain = "algebra"

[profile.small]
budget.hours = 4
resources.cpus = 2
[profile.small.stage.prepare]
max_problems = 30
test_size = 4
retries = 2
[profile.fast]
budget.tokens = 9
[profile.fast.stage.prepare]
test_size = 5
val_size = 4

[env]
VAL = ["stage.prepare.val_size", "stage.prepare.probe_size"]
CORES = "resources.cpus"
HOURS = "budget.hours"
GOING = "keep_going"
"""


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("VAL", "CORES", "HOURS", "GOING"):
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "settings.toml"
    path.write_text(RECIPE)
    return path


def told(recipe: Path, *options: object) -> tuple[dict, dict]:
    """The resolved recipe of a plan, and the origin of each of its keys."""
    said = posttrain("plan", recipe, "--run", recipe.parent / "run", "--json", *options)
    assert said.code == 0, said.err
    resolved = json.loads(said.out)["recipe"]
    return resolved, resolved["origins"]


def values(found: tuple[dict, dict], *keys: str) -> list[tuple[object, str]]:
    resolved, origins = found
    values = []
    for key in keys:
        at = resolved
        for part in key.split("."):
            at = at[part]
        values.append((at, origins[key]))
    return values


def test_each_layer_lies_over_the_one_before_and_is_named(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """S-A5: kind default < recipe < profiles in order < environment < command line, each with its origin."""
    keys = ("stage.prepare.max_problems", "stage.prepare.test_size", "stage.prepare.val_size")
    work = ("stage.prepare.retries", "resources.cpus", "budget.hours", "budget.tokens")
    bare = told(recipe, "--profile", "none")
    assert bare[1]["stage.prepare.max_problems"] == bare[1]["stage.prepare.retries"] == "kind default"
    assert values(bare, *keys[1:]) == [(3, "recipe"), (3, "recipe")]
    assert values(bare, "budget.hours") == [(None, "kind default")]
    assert values(told(recipe), *keys) == [(30, "profile small"), (4, "profile small"), (3, "recipe")]
    assert values(told(recipe), *work[:3]) == [(2, "profile small"), (2, "profile small"), (4.0, "profile small")]
    stacked = ("--profile", "small", "--profile", "fast")
    assert values(told(recipe, *stacked), *keys) == [(30, "profile small"), (5, "profile fast"), (4, "profile fast")]
    other = ("--profile", "fast", "--profile", "small")
    assert values(told(recipe, *other), *keys) == [(30, "profile small"), (4, "profile small"), (4, "profile fast")]
    monkeypatch.setenv("VAL", "6")
    monkeypatch.setenv("HOURS", "1.5")
    assert values(told(recipe, *stacked), *keys[1:]) == [(5, "profile fast"), (6, "env VAL")]
    assert values(told(recipe, *stacked), *work[2:]) == [(1.5, "env HOURS"), (9, "profile fast")]
    over = ("--set", "stage.prepare.val_size=7", "--set", "resources.cpus=1", "--max-hours", "0.5", "--max-tokens", "8")
    line = told(recipe, *stacked, *over)
    assert values(line, keys[2], *work[1:]) == [
        (7, "command line"),
        (1, "command line"),
        (0.5, "command line"),
        (8, "command line"),
    ]
    assert values(line, "stage.prepare.probe_size") == [(6, "env VAL")]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("VAL", "six", 'VAL = "six" must be a whole number.\n  It sets stage.prepare.val_size.'),
        ("CORES", "0", 'CORES = "0" must be more than 0.\n  It sets resources.cpus.'),
        ("HOURS", "long", 'HOURS = "long" must be a number.\n  It sets budget.hours.'),
        ("GOING", "perhaps", 'GOING = "perhaps" must be true or false.\n  It sets keep_going.'),
    ],
)
def test_a_variable_that_cannot_be_parsed_is_named(
    recipe: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    """S-A5: exit 2, the variable and the key it sets."""
    monkeypatch.setenv(name, value)
    found = posttrain("plan", recipe, "--run", recipe.parent / "run")
    assert found.code == 2 and f"environment: {said}" in found.err


def test_the_saved_recipe_reproduces_the_run(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """S-A6: whatever profiles, environment and command line gave is in it, and no variable reaches it."""
    run, again = recipe.parent / "run", recipe.parent / "again"
    monkeypatch.setenv("VAL", "6")
    stacked = ("--profile", "small", "--profile", "fast", "--set", "stage.prepare.max_problems=40")
    caps = ("--max-hours", "2", "--set", "keep_going=true", "--set", "stage.prepare.frozen=true")
    view = ("--set", 'views."out/train_{fp}.jsonl"=prepare:train.jsonl', "--set", f"paths.out={recipe.parent / 'out'}")
    said = posttrain("run", recipe, *stacked, *caps, *view, "--run", run)
    assert said.code == 0, said
    assert [path.name[:6] for path in (recipe.parent / "out").iterdir()] == ["train_"]
    monkeypatch.setenv("VAL", "3")
    saved = run / "recipe.json"
    plan = json.loads(posttrain("plan", saved, "--json").out)
    assert [decision["action"] for decision in plan["decisions"]] == ["keep"]
    assert plan["recipe"] == json.loads(saved.read_text())
    fresh = json.loads(posttrain("plan", saved, "--json", "--run", again).out)
    assert [one["fingerprint"] for one in fresh["decisions"]] == [one["fingerprint"] for one in plan["decisions"]]
    origins = fresh["recipe"]["origins"]
    assert origins["stage.prepare.val_size"] == "env VAL" and origins["stage.prepare.test_size"] == "profile fast"
    assert origins["budget.hours"] == origins["stage.prepare.frozen"] == "command line"
    assert (recipe.parent / "again").exists() is False


def test_caps_that_cannot_be_are_refused(recipe: Path) -> None:
    for option, value, said in (
        ("--max-hours", "0", 'budget.hours = "0.0" must be more than 0.'),
        ("--max-tokens", "-5", 'budget.tokens = "-5" must be more than 0.'),
        ("--max-money", "plenty", 'budget.money = "plenty" must be a number.'),
    ):
        found = posttrain("plan", recipe, option, value)
        assert found.code == 2 and f"command line: {said}" in found.err


def test_the_plan_tells_of_caps_that_will_not_do(recipe: Path) -> None:
    text = RECIPE + SFT
    recipe.write_text(text)
    said = posttrain("plan", recipe, "--run", recipe.parent / "run", "--max-tokens", "10")
    assert said.code == 0 and "Above a cap:\n  budget.tokens = 10, and at most " in said.out
    plan = json.loads(posttrain("plan", recipe, "--run", recipe.parent / "run", "--max-tokens", "10", "--json").out)
    assert len(plan["warnings"]) == 1


SFT = """
[stage.base]
kind = "base"
id = "init:0.1m"
[stage.tune]
kind = "sft"
model = "base"
data = "prepare"
steps = 4
max_seq_length = 256
"""
