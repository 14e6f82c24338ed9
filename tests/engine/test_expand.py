"""Stages multiplied out: members, inputs, seeds, what is off, and what does not fit."""

from pathlib import Path

import pytest

from posttrain.engine.expand import Graph, Source, expand, seed_of
from posttrain.spec.errors import RecipeError
from posttrain.spec.load import load
from spec.toys import TOYS

RECIPE = """
format = 1
name = "toy"
seed = 17
[stage.base]
kind = "base"
id = "x"
[stage.prepare]
kind = "prepare"
each = { domain = ["algebra", "geometry"] }
[stage.specialist]
kind = "sft"
each = "prepare"
model = "base"
data = "prepare"
replay = "prepare/*"
[stage.probe]
kind = "probe"
each = "prepare"
model = "specialist"
data = "prepare"
stream = "probe"
[stage.fuse]
kind = "fuse"
models = "probe"
base = "base"
[stage.rl_short]
kind = "rl"
model = "fuse"
data = "prepare/*"
[stage.rl_long]
kind = "rl"
model = "rl_short"
data = ["prepare/geometry", "prepare/algebra"]
[stage.rl_code]
kind = "rl"
off = true
model = "rl_long"
data = "prepare/code"
[stage.exam]
kind = "evaluate"
model = "rl_code"
data = "prepare/*"
[stage.exam_each]
kind = "evaluate"
each = "prepare"
model = "probe"
data = "prepare/*"
stream = "exam"
[stage.gain]
kind = "compare"
before = "exam"
after = "exam_each/*"
"""


@pytest.fixture
def graph(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def make(*sets: str, extra: str = "") -> Graph:
        Path("toy.toml").write_text(RECIPE + extra)
        return expand(load("toy.toml", kinds=TOYS, sets=sets), TOYS)

    return make


def reads(graph: Graph, node: str, role: str) -> list[str | None]:
    return [source.node for source in graph.nodes[node].inputs[role]]


def test_members_and_their_inputs(graph):
    made = graph()
    assert list(made.nodes)[:5] == [
        "base",
        "prepare/algebra",
        "prepare/geometry",
        "specialist/algebra",
        "specialist/geometry",
    ]
    assert made.nodes["specialist/algebra"].axes == {"domain": "algebra"}
    assert reads(made, "specialist/algebra", "data") == ["prepare/algebra"]
    assert reads(made, "specialist/algebra", "replay") == ["prepare/algebra", "prepare/geometry"]
    assert reads(made, "fuse", "models") == ["probe/algebra", "probe/geometry"]
    assert reads(made, "rl_long", "data") == ["prepare/algebra", "prepare/geometry"]
    assert reads(made, "gain", "after") == ["exam_each/algebra", "exam_each/geometry"]


def test_an_axis_sets_the_knob_of_its_name(graph):
    made = graph(
        'stage.rl_short.each={ sharpness = [0, 2.5], trial = [1, 2], colour = ["red"] }',
        "stage.rl_long.model=rl_short/0,1,red",
    )
    assert made.nodes["prepare/algebra"].knobs.domain == "algebra"
    assert made.nodes["rl_short/2.5,1,red"].knobs.sharpness == 2.5
    assert len([node for node in made.nodes.values() if node.stage == "rl_short"]) == 4


def test_shared_axes_agree_and_others_join(graph):
    made = graph(
        'stage.specialist.each={ domain = ["algebra", "geometry"], trial = [1, 2] }',
        "stage.probe.model=specialist/algebra,2",
    )
    assert reads(made, "probe/geometry", "model") == ["specialist/algebra,2"]
    made = graph(
        'stage.fuse.models=["specialist"]',
        'stage.specialist.each={ domain = ["algebra", "geometry"], trial = [1, 2] }',
        "stage.probe.off=true",
        "stage.exam_each.off=true",
        "stage.gain.off=true",
    )
    assert len(reads(made, "fuse", "models")) == 4


def test_shared_mode_is_one_switch(graph):
    """S-C6: without axes one trajectory serves every probe."""
    made = graph("stage.specialist.each={}", "stage.specialist.data=prepare/*")
    assert reads(made, "probe/geometry", "model") == ["specialist"] and made.nodes["specialist"].knobs.domain == "all"


def test_seeds_follow_streams(graph):
    """Equal streams share a seed; a node of its own has its own; another stage changes nobody's."""
    made, more = graph(), graph(extra="[stage.other]\nkind = 'base'\nid = 'y'\n")
    assert made.nodes["probe/algebra"].seed == made.nodes["probe/geometry"].seed == seed_of(17, "probe")
    assert made.nodes["fuse"].seed == seed_of(17, "fuse") and made.nodes["fuse"].stream == "fuse"
    assert all(more.nodes[id].seed == node.seed for id, node in made.nodes.items())
    own = [node.seed for node in made.nodes.values() if node.stage not in ("probe", "exam_each")]
    assert len(set(own)) == len(own) and all(0 <= seed < 2**63 for seed in own)
    assert graph("seed=18").nodes["fuse"].seed != made.nodes["fuse"].seed


def test_a_trial_changes_the_seed_of_a_shared_stream(graph):
    made = graph("stage.rl_short.each={ trial = [1, 2] }", "stage.rl_short.stream=rl", "stage.rl_long.model=rl_short/1")
    assert made.nodes["rl_short/1"].seed == seed_of(17, "rl", "1") != made.nodes["rl_short/2"].seed


def test_a_stage_that_is_off_is_bypassed(graph):
    """S-A3: by `off` alone, transitively; its other inputs are not resolved."""
    made = graph()
    assert made.off == ("rl_code",) and "rl_code" not in made.nodes
    assert reads(made, "exam", "model") == ["rl_long"]
    assert reads(graph("stage.rl_long.off=true"), "exam", "model") == ["rl_short"]
    assert reads(graph("stage.rl_long.off=true", "stage.rl_short.off=true"), "exam", "model") == ["fuse"]
    assert reads(graph("stage.probe.off=true"), "fuse", "models") == ["specialist/algebra", "specialist/geometry"]


def test_a_stage_that_cannot_be_bypassed_may_be_off_unread(graph):
    assert "gain" in graph("stage.gain.off=true").off
    with pytest.raises(RecipeError, match="rl_short reads `fuse`, which is off and cannot be bypassed"):
        graph("stage.fuse.off=true")
    with pytest.raises(RecipeError, match="reads `prepare`, which is off"):
        graph("stage.prepare.off=true")


def test_waiting(graph):
    made = graph('stage.exam_each.wait=["specialist", "rl_code", "base"]')
    assert made.nodes["exam_each/algebra"].wait == ("base", "specialist/algebra")
    assert made.nodes["exam_each/algebra"].wait_off == ("rl_code",)
    turned = list(graph('stage.base.wait=["gain"]', "stage.gain.before=[]", "stage.gain.after={path='x'}").nodes)
    assert turned.index("gain") < turned.index("base")


def test_a_folder_of_the_users(graph, tmp_path):
    made = graph("stage.rl_short.model={ path = 'mine' }")
    assert made.nodes["rl_short"].inputs["model"] == (Source(path=tmp_path / "mine"),)


def test_a_list_joins_without_repeating(graph):
    made = graph('stage.rl_long.data=["prepare/*", "prepare/algebra", { path = "/x" }]')
    assert made.nodes["rl_long"].inputs["data"] == (
        Source(node="prepare/algebra"),
        Source(node="prepare/geometry"),
        Source(path=Path("/x")),
    )


def test_no_input_leads_back(graph):
    """Cyclic inputs: exit 2, the way named."""
    with pytest.raises(RecipeError) as raised:
        graph("stage.rl_short.model=rl_long", "stage.base.wait=['base']")
    assert raised.value.code == 2
    assert [problem.what for problem in raised.value.problems] == [
        "is part of a circle: base → base (each reads or waits for the next).",
        "is part of a circle: rl_short → rl_long → rl_short (each reads or waits for the next).",
    ]


def test_a_circle_through_a_stage_that_is_off(graph):
    with pytest.raises(RecipeError, match="rl_short → rl_code → rl_long → rl_short"):
        graph("stage.rl_short.model=rl_code")


@pytest.mark.parametrize(
    ("said", "what"),
    [
        (
            "stage.rl_short.data=prepare/code",
            'stage.rl_short.inputs.data: rl_short reads `prepare`, which has no member called "code".\n'
            "  Members: prepare/algebra, prepare/geometry.",
        ),
        (
            "stage.rl_short.model=probe",
            "stage.rl_short.inputs.model takes one, and rl_short would read 2: probe/algebra, probe/geometry.",
        ),
        ("stage.rl_short.model=prepare/algebra", "stage.rl_short.inputs.model takes model, and `prepare` makes data."),
        ("stage.fuse.models=['probe', 'exam']", "stage.fuse.inputs.models takes model, and `exam` makes scores."),
        (
            'stage.probe.each={ domain = ["algebra", "code"] }',
            'stage.probe.inputs.data: probe/code reads `prepare`, which has no member with domain = "code".',
        ),
        ("stage.rl_short.each={ steps = ['few'] }", 'stage.rl_short.each.steps = "few" must be a whole number.'),
        (
            "stage.rl_short.wait=['probe/code']",
            'stage.rl_short.wait: rl_short waits for `probe`, which has no member called "code".',
        ),
    ],
)
def test_what_does_not_fit(graph, said, what):
    """A wrong role, member or type: exit 2 with place, cause and what there is."""
    with pytest.raises(RecipeError) as raised:
        graph(said)
    assert "toy.toml: " + what in str(raised.value)


def test_a_thousand_nodes_are_expanded(tmp_path):
    domains = ", ".join(f'"d{number}"' for number in range(250))
    path = tmp_path / "big.toml"
    path.write_text(
        RECIPE.replace('"algebra", "geometry"', domains).replace(
            '["prepare/geometry", "prepare/algebra"]', '"prepare/*"'
        )
    )
    assert len(expand(load(path, kinds=TOYS), TOYS).nodes) == 1006
