"""The recipes that ship: they load, fit together and say what the specification says."""

import re
import subprocess
import sys
import tomllib
from decimal import Decimal
from pathlib import Path

import pytest

from posttrain import stages
from posttrain.engine.estimate import Foresight
from posttrain.engine.expand import expand
from posttrain.spec import words
from posttrain.spec.errors import RecipeError
from posttrain.spec.gate import Gate
from posttrain.spec.knobs import Resources
from posttrain.spec.load import load, shipped
from posttrain.spec.load.document import TOP
from posttrain.spec.load.explain import models_in
from posttrain.spec.recipe import RESERVED

MATHS = ("algebra", "geometry", "calculus", "statistics")
DOMAINS = (*MATHS, "code")
COMPARED = {
    "gain_specialist": "learned",
    "gain_fused": "fused",
    "spectrum_kept": "kept",
    "gain_rl": "final",
    "gain_code": "coded",
    "maths_kept": "maths_kept",
}


@pytest.mark.parametrize("profile", ["smoke", "tiny"])
@pytest.mark.parametrize("name", shipped())
def test_every_recipe_and_profile_is_sound(name, profile):
    recipe = load(name, kinds=stages, profiles=[profile])
    assert recipe.profiles == (profile,) and recipe.run == Path("runs") / name
    graph = expand(recipe, stages)
    foresight = Foresight(graph, {})
    assert [problem for node in graph.nodes.values() for problem in foresight.objections(node)] == []
    assert all(
        node.kind.check is None or not node.kind.check(node.knobs, {}) or node.inputs for node in graph.nodes.values()
    )


def test_the_stages_of_spectrum():
    """Specification §2: the stages, what each reads, and the streams that pair them."""
    recipe = load("spectrum", kinds=stages)
    graph = expand(recipe, stages)
    assert recipe.profiles == ("tiny",) and graph.off == ("rl_math_longer",)
    assert recipe.stages["prepare"].each == {"domain": DOMAINS}
    reads = {
        id: {role: tuple(source.node for source in given) for role, given in node.inputs.items()}
        for id, node in graph.nodes.items()
    }
    data = tuple(sorted(f"prepare/{domain}" for domain in DOMAINS))
    assert reads["specialist/calculus"] == {"model": ("base",), "data": ("prepare/calculus",), "replay": data}
    assert reads["probe/calculus"] == {"model": ("specialist/calculus",), "data": ("prepare/calculus",)}
    assert reads["fuse"] == {"models": tuple(sorted(f"probe/{domain}" for domain in DOMAINS)), "base": ("base",)}
    assert reads["rl_math_short"] == {"model": ("fuse",), "data": data}
    assert reads["rl_math_long"]["model"] == ("rl_math_short",)
    assert reads["rl_code"] == {"model": ("rl_math_long",), "data": ("prepare/code",)}
    learns = {id: node.knobs.domains for id, node in graph.nodes.items() if node.stage.startswith("rl_")}
    assert learns == {"rl_math_short": MATHS, "rl_math_long": MATHS, "rl_code": ("code",)}
    examined = {id: given["model"] for id, given in reads.items() if id.startswith("exam_")}
    assert examined["exam_base"] == ("base",) and examined["exam_fused"] == ("fuse",)
    assert examined["exam_specialist/code"] == ("probe/code",)
    assert examined["exam_maths"] == ("rl_math_long",) and examined["exam_final"] == ("rl_code",)
    for id, domains in (("gain_code", ("code",)), ("maths_kept", MATHS)):
        assert reads[id] == {"before": ("exam_maths",), "after": ("exam_final",)}
        assert graph.nodes[id].knobs.domains == domains
    assert len({node.seed for id, node in graph.nodes.items() if id.startswith("exam_")}) == 1
    assert len({node.seed for node in graph.nodes.values() if node.stage == "probe"}) == 1


def test_a_curriculum_of_windows_by_off_alone():
    """S-A3: one switch puts the third window in, another takes the second out."""
    graph = expand(load("spectrum", kinds=stages, sets=["stage.rl_math_longer.off=false"]), stages)
    assert graph.nodes["rl_code"].inputs["model"][0].node == "rl_math_longer"
    graph = expand(load("spectrum", kinds=stages, sets=["stage.rl_math_long.off=true"]), stages)
    assert graph.nodes["rl_code"].inputs["model"][0].node == "rl_math_short"
    graph = expand(load("spectrum", kinds=stages, sets=["stage.rl_code.off=true"]), stages)
    assert graph.nodes["exam_final"].inputs["model"][0].node == "rl_math_long"


def test_shared_mode_by_one_switch():
    """S-C6: `each = {}` on specialist trains one trajectory that every probe reads."""
    graph = expand(load("spectrum", kinds=stages, sets=["stage.specialist.each={}"]), stages)
    assert {source.node for domain in DOMAINS for source in graph.nodes[f"probe/{domain}"].inputs["model"]} == {
        "specialist"
    }
    assert len(graph.nodes["specialist"].inputs["data"]) == 5


@pytest.mark.parametrize(
    ("profile", "bounds"),
    [
        ("smoke", ("-0.01", "-0.01", "-0.02", "-0.01", "-0.01", "-0.02")),
        ("tiny", ("0", "0", "-0.08", "0", "0", "-0.02")),
    ],
)
def test_the_gates_of_the_comparisons(profile, bounds):
    """Specification §2.9: paired gains judged by their interval, over 100 items or more."""
    recipe = load("spectrum", kinds=stages, profiles=[profile])
    for (stage, gate), bound in zip(COMPARED.items(), bounds, strict=True):
        severity = "warn" if gate == "kept" else "stop"
        assert recipe.stages[stage].gates == {
            gate: Gate(metric="gain", at_least=Decimal(bound), decide="interval", min_n=100, severity=severity)
        }


def test_the_gates_of_tiny_and_smoke():
    tiny, smoke = (load("spectrum", kinds=stages, profiles=[profile]) for profile in ("tiny", "smoke"))
    assert smoke.gates == ("overlap", "golds", "sound", "averaged") and tiny.gates is None
    for name, stage in tiny.stages.items():
        if stage.kind == "rl" and not stage.off:
            assert stage.gates["same_numbers"].at_most == Decimal("0.05"), name
            assert stage.gates["no_worse"].at_least == Decimal("-0.05"), name
    assert smoke.stages["rl_math_short"].gates["same_numbers"].at_most == Decimal("1e-4")
    computing = {recipe.stages["base"].resources.compute for recipe in (tiny, smoke)}
    assert computing == {"bf16", "fp32"}


def test_variables_of_the_environment():
    """S-A5: every variable reaches its knobs, above the profile and below the command line."""
    environ = {
        "BASE_MODEL": "init:0.1m",
        "DATA_DIR": "ready",
        "OUTPUT_ROOT": "elsewhere",
        "SPECTRUM_STEPS": "7",
        "SIGNAL_STEPS": "8",
        "DIVERSITY_K": "4",
        "NUM_GENERATIONS": "6",
        "MAX_SEQ_LENGTH_STAGE1": "101",
        "MAX_SEQ_LENGTH_STAGE2": "102",
        "MAX_SEQ_LENGTH_STAGE3": "103",
        "DATA_PREP_MAX_PROBLEMS": "50",
        "DATA_PREP_N_SOLUTIONS": "1",
        "DECONTAM_ENABLED": "false",
    }
    recipe = load("spectrum", kinds=stages, environ=environ, sets=["stage.rl_math_long.steps=9"])
    stage = recipe.stages
    assert stage["base"].knobs.id == "init:0.1m" and recipe.run == Path("elsewhere")
    assert stage["prepare"].inputs["ready"][0].path == Path("ready").absolute()
    assert stage["specialist"].knobs.steps == 7 and recipe.origins["stage.specialist.steps"] == "env SPECTRUM_STEPS"
    assert [stage[f"rl_{name}"].knobs.steps for name in ("math_short", "math_long", "math_longer", "code")] == [
        8,
        9,
        8,
        8,
    ]
    assert stage["probe"].knobs.k == (4,) and stage["probe"].knobs.samples == 6
    assert [stage[f"rl_math_{name}"].knobs.max_seq_length for name in ("short", "long", "longer")] == [101, 102, 103]
    prepare = stage["prepare"].knobs
    assert (prepare.max_problems, prepare.n_solutions, prepare.decontam.enabled) == (50, 1, False)
    assert recipe.unused == ("MAX_SEQ_LENGTH_STAGE3",)


def test_exams_of_the_environment(tmp_path):
    """A list in a variable is separated by spaces."""
    exams = [tmp_path / name for name in ("one.jsonl", "two.jsonl")]
    for exam in exams:
        exam.write_text('{"prompt": "x"}\n')
    recipe = load("spectrum", kinds=stages, environ={"DECONTAM_EVAL_DATASETS": " ".join(map(str, exams))})
    assert [exam.path for exam in recipe.stages["prepare"].knobs.decontam.against] == exams


def test_the_bare_recipe_asks_for_a_base(tmp_path):
    with pytest.raises(RecipeError, match=r"stage\.base\.id is missing"):
        load("spectrum", kinds=stages, profiles=["none"])
    recipe = load("spectrum", kinds=stages, profiles=["none"], environ={"BASE_MODEL": str(tmp_path)})
    assert recipe.stages["base"].knobs.id == tmp_path


def test_loading_needs_no_torch():
    """S-A12: a recipe is read and expanded without torch."""
    code = """
import sys
from posttrain import stages
from posttrain.engine.expand import expand
from posttrain.spec.load import load
expand(load("spectrum", kinds=stages), stages)
assert not {"torch", "numpy", "transformers"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_older_words_are_replaced_by_exists():
    """Every name that a sentence of refused.toml offers is a name that a recipe may hold."""
    knobs = {field for name in stages.names() for field in _fields(stages.kind(name).knobs)}
    known = knobs | {*RESERVED, *TOP, *Resources.model_fields, *Gate.model_fields, *stages.names()}
    sentences = tomllib.loads((Path(words.__file__).parent / "refused.toml").read_text())
    for word, sentence in {**sentences["older"], **sentences["later"]}.items():
        for said in re.findall(r"`([^`]+)`", sentence):
            name = re.split(r"[ =./]", said.strip("[]"))[0]
            assert name in known or said.startswith(("--", "posttrain ")) or name in {"model", "data"}, (word, said)


def _fields(model) -> set[str]:
    inside = [part for field in model.model_fields.values() for part in models_in(field.annotation)]
    return set(model.model_fields) | {name for part in inside for name in _fields(part)}
