"""What a recipe may say, and what comes out of it."""

import json
from decimal import Decimal
from pathlib import Path

import pytest
from toys import TOYS, Constant, Cosine

from posttrain.spec.errors import RecipeError, UsageError
from posttrain.spec.load import load
from posttrain.spec.recipe import Recipe, Ref

RECIPE = """
format = 1
name = "toy"
seed = 17
default_profile = "tiny"
run = "runs/toy"

[stage.base]
kind = "base"
id = "mine"

[stage.prepare]
kind = "prepare"
each = { domain = ["algebra", "geometry"] }

[stage.specialist]
kind = "sft"
each = "prepare"
inputs = { model = "base", data = "prepare", replay = ["prepare/*"] }
wait = ["base"]
schedule.floor = 0.5
timeout = 90
resources.cpus = 2
[stage.specialist.gate.rows_kept]
at_least = 0.9

[stage.probe]
kind = "probe"
each = "prepare"
stream = "probe"
model = "specialist"
data = "prepare"

[resources]
compute = "fp32"
device = "cpu"

[profile.tiny.stage]
specialist.steps = 9
[profile.other.stage]
specialist.steps = 11
specialist.schedule = "constant"
probe.k = [4, 1]

[env]
STEPS = ["stage.specialist.steps"]
K = "stage.probe.k"
SOURCES = "stage.prepare.against"
WHERE = "run"
DATA = "stage.prepare.inputs.ready.path"
"""


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "toy.toml"
    path.write_text(RECIPE)

    def read(extra: str = "", **options) -> Recipe:
        path.write_text(RECIPE + extra)
        return load(path, kinds=TOYS, **options)

    return read


def test_a_recipe_is_read_whole(recipe):
    read = recipe()
    assert (read.name, read.seed, read.run, read.strict, read.gates) == ("toy", 17, Path("runs/toy"), False, None)
    assert read.profiles == ("tiny",) and tuple(read.stages) == ("base", "prepare", "specialist", "probe")
    specialist = read.stages["specialist"]
    assert specialist.each == {"domain": ("algebra", "geometry")} == read.stages["prepare"].each
    assert specialist.inputs["data"] == (Ref(stage="prepare"),)
    assert specialist.inputs["replay"] == (Ref(stage="prepare", member="*"),)
    assert (specialist.wait, specialist.stream, specialist.off) == (("base",), None, False)
    assert (specialist.timeout, specialist.retries) == (90, 0)
    assert specialist.knobs.steps == 9 and specialist.knobs.schedule == Cosine(floor=0.5)


def test_shorthand_stands_for_inputs(recipe):
    assert recipe().stages["probe"].inputs == {"model": (Ref(stage="specialist"),), "data": (Ref(stage="prepare"),)}


def test_resources_of_a_stage_lie_over_those_of_the_recipe(recipe):
    resources = recipe().stages["specialist"].resources
    assert (resources.cpus, resources.compute, resources.device) == (2, "fp32", "cpu")
    assert recipe(sets=["resources.compute=bf16"]).stages["base"].resources.compute == "bf16"


def test_gates_lie_over_those_of_the_kind(recipe):
    gates = recipe().stages["specialist"].gates
    assert set(gates) == {"sound", "rows_kept"}
    assert gates["rows_kept"].at_least == Decimal("0.9") and gates["rows_kept"].needs == ("sound",)


def test_another_condition_replaces_the_condition(recipe):
    gate = recipe(sets=["stage.specialist.gate.rows_kept.equals=1"]).stages["specialist"].gates["rows_kept"]
    assert (gate.at_least, gate.equals, gate.needs) == (None, Decimal(1), ("sound",))


def test_a_gate_of_the_users_own(recipe):
    gates = recipe('[stage.probe.gate.quick]\nmetric = "length"\nat_most = 12\nsays = { fail = "too long" }\n').stages
    assert gates["probe"].gates["quick"].says == {"fail": "too long"}


def test_layers_in_order_each_value_with_its_origin(recipe):
    """S-A5: command line over environment over profile over recipe over default, the origin on record."""
    key = "stage.specialist.steps"
    environ = {"STEPS": "7"}
    seen = [
        (read.stages["specialist"].knobs.steps, read.origins[key])
        for read in (
            recipe(profiles=["none"]),
            recipe(),
            recipe(profiles=["tiny", "other"]),
            recipe(profiles=["other", "tiny"]),
            recipe(environ=environ),
            recipe(environ=environ, sets=[f"{key}=5"]),
            recipe(environ=environ, sets=[f"{key}=5", f"{key}=6"]),
        )
    ]
    assert seen == [
        (100, "kind default"),
        (9, "profile tiny"),
        (11, "profile other"),
        (9, "profile tiny"),
        (7, "env STEPS"),
        (5, "command line"),
        (6, "command line"),
    ]
    assert recipe().origins["stage.specialist.schedule.floor"] == "recipe"


def test_profiles_are_those_asked_for(recipe):
    assert recipe(profiles=["other", "tiny"]).profiles == ("other", "tiny")
    assert recipe(profiles=["none"]).profiles == ()


def test_another_tag_replaces_the_table_the_same_tag_joins_it(recipe):
    def schedule(*sets: str, profiles=()):
        return (
            recipe(sets=[f"stage.specialist.schedule{said}" for said in sets], profiles=profiles)
            .stages["specialist"]
            .knobs.schedule
        )

    assert schedule() == Cosine(floor=0.5)
    assert schedule(".warmup=0.2") == Cosine(floor=0.5, warmup=0.2)
    assert schedule("=cosine") == Cosine(floor=0.5)
    assert schedule('={ type = "cosine", warmup = 0.2 }') == Cosine(floor=0.5, warmup=0.2)
    assert schedule("=constant") == Constant()
    assert schedule("=constant", "=cosine") == Cosine()
    assert schedule(profiles=["other"]) == Constant()


def test_another_kind_replaces_the_stage(recipe):
    sets = ['stage.specialist={ kind = "fuse", models = "base" }']
    stage = recipe(profiles=["none"], sets=sets).stages["specialist"]
    assert stage.kind == "fuse" and stage.inputs == {"models": (Ref(stage="base"),)} and stage.each == {}


def test_lists_and_each_are_replaced_whole(recipe):
    assert recipe(sets=["stage.specialist.inputs.replay=[]"]).stages["specialist"].inputs.keys() == {"model", "data"}
    assert recipe(profiles=["other"], sets=["stage.probe.k=[8]"]).stages["probe"].knobs.k == (8,)
    shared = recipe(sets=["stage.specialist.each={}"])
    assert shared.stages["specialist"].each == {} and shared.stages["probe"].each != {}
    alone = recipe(sets=['stage.prepare.each={ topic = ["x"] }', "stage.prepare.domain=all"])
    assert alone.stages["specialist"].each == {"topic": ("x",)}


def test_set_reads_a_toml_value_else_a_text(recipe):
    for said, knob in [
        ("y", "y"),
        ('"y"', "y"),
        ("7", "7"),
        ("1e5", "1e5"),
        ("a = b", "a = b"),
        ("org/name", "org/name"),
    ]:
        assert recipe(sets=[f"stage.base.id={said}"]).stages["base"].knobs.id == knob
    assert recipe(sets=["stage.specialist.packing=false"]).stages["specialist"].knobs.packing is False


def test_a_variable_is_read_by_the_type_of_its_knob(recipe):
    environ = {"STEPS": "7", "K": "4", "SOURCES": "GSM8K MATH", "WHERE": "elsewhere/run"}
    read = recipe(environ=environ)
    assert read.stages["specialist"].knobs.steps == 7 and read.stages["probe"].knobs.k == (4,)
    assert read.stages["prepare"].knobs.against == ("GSM8K", "MATH") and read.run == Path("elsewhere/run")
    assert recipe(environ={"K": "[4, 2]"}).stages["probe"].knobs.k == (4, 2)
    assert recipe(environ={"STEPS": ""}).stages["specialist"].knobs.steps == 9


def test_a_variable_may_name_a_folder_of_data(recipe, tmp_path):
    ready = recipe(environ={"DATA": str(tmp_path)}).stages["prepare"].inputs["ready"]
    assert ready == (Ref(path=tmp_path),)


def test_a_variable_of_a_stage_that_is_off_is_unused(recipe):
    """S-A5: it is listed, not an error."""
    assert recipe(environ={"K": "4", "STEPS": "7"}).unused == ()
    assert recipe(environ={"K": "4", "STEPS": "7"}, sets=["stage.probe.off=true"]).unused == ("K",)


def test_run_given_on_the_command_line_wins(recipe):
    read = recipe(environ={"WHERE": "there"}, run=Path("here"))
    assert read.run == Path("here") and read.origins["run"] == "command line"
    assert load(_minimal(), kinds=TOYS).run == Path("runs/small")


def _minimal() -> Path:
    path = Path("small.toml")
    path.write_text('format = 1\nname = "small"\n[stage.base]\nkind = "base"\nid = "x"\n')
    return path


@pytest.fixture(autouse=True)
def elsewhere(tmp_path_factory, monkeypatch):
    monkeypatch.chdir(tmp_path_factory.mktemp("cwd"))


def test_paths_start_at_the_recipe_or_where_one_types(recipe, tmp_path):
    """A file beside the recipe, a file where the command is typed, and one in neither place."""
    (tmp_path / "rows.jsonl").write_text("{}")
    Path("typed.jsonl").write_text("{}")
    assert recipe("[stage.p]\nkind='prepare'\ndomain='x'\nsource='rows.jsonl'").stages["p"].knobs.source == (
        tmp_path / "rows.jsonl"
    )
    typed = recipe(sets=["stage.prepare.source=typed.jsonl"]).stages["prepare"].knobs.source
    assert typed == Path("typed.jsonl").absolute()
    with pytest.raises(RecipeError, match="there is no such file"):
        recipe(sets=["stage.prepare.source=rows.jsonl"])
    given = recipe("[stage.p]\nkind='prepare'\ndomain='x'\nready={path='data'}").stages["p"].inputs["ready"]
    assert given == (Ref(path=tmp_path / "data"),)


def test_an_input_may_be_a_folder_with_its_digest(recipe):
    digest = "0" * 64
    said = f'stage.specialist.model={{ path = "/models/mine", digest = "{digest}" }}'
    assert recipe(sets=[said]).stages["specialist"].inputs["model"] == (Ref(path=Path("/models/mine"), digest=digest),)
    both = ["stage.specialist.inputs.model={path='/a'}", f"stage.specialist.inputs.model.digest={digest}"]
    assert recipe(sets=both).stages["specialist"].inputs["model"] == (Ref(path=Path("/a"), digest=digest),)


def test_a_stage_that_is_off_may_lack_what_a_profile_gives_it(recipe):
    read = recipe("[stage.teacher]\nkind = 'base'\noff = true\n[profile.big.stage.teacher]\nid = 'big'\noff = false")
    assert read.stages["teacher"].off
    with pytest.raises(RecipeError, match=r"stage\.teacher\.id is missing"):
        recipe("[stage.teacher]\nkind = 'base'")


def test_gates_named_at_the_top(recipe):
    assert recipe(sets=["gates=['sound', 'specialist.rows_kept']"]).gates == ("sound", "specialist.rows_kept")


def test_a_resolved_recipe_is_the_same_recipe(recipe, tmp_path):
    """S-A6: what a run saves loads again as an equal recipe, origins included."""
    read = recipe(
        environ={"STEPS": "7"},
        profiles=["other"],
        sets=["stage.probe.off=true", f"stage.prepare.inputs.ready.path={tmp_path}", "stage.base.gate.sound.off=true"],
    )
    saved = tmp_path / "recipe.json"
    saved.write_text(json.dumps(read.resolved))
    assert load(saved, kinds=TOYS) == read
    assert load(saved, kinds=TOYS, sets=["stage.specialist.steps=3"]).stages["specialist"].knobs.steps == 3
    with pytest.raises(RecipeError, match="resolved"):
        load(saved, kinds=TOYS, profiles=["tiny"])


def test_no_such_recipe(tmp_path):
    with pytest.raises(UsageError, match="Did you mean") as raised:
        load("spectrm", kinds=TOYS)
    assert raised.value.code == 2
