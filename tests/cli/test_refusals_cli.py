"""What a user can get wrong: one paragraph with place, cause and remedy on stderr, and the exit code."""

import json

import pytest

from cli.door import posttrain
from reports.recorded import spectrum

RECIPE = """
format = 1
name = "mine"
[stage.base]
kind = "base"
id = "init:0.1m"
[stage.prepare]
kind = "prepare"
domain = "algebra"
[stage.tune]
kind = "sft"
model = "base"
data = "prepare"
steps = 3
"""
SECOND = '[stage.second]\nkind = "sft"\nmodel = "tune"\ndata = "prepare"\n'


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BASE_MODEL", raising=False)
    return tmp_path


def refused(folder, text, *options, verb="check"):
    (folder / "mine.toml").write_text(text)
    said = posttrain(verb, "mine.toml", *options)
    assert said.code == 2 and said.out == ""
    return said.err


@pytest.mark.parametrize("verb", ["check", "plan", "run"])
def test_an_unknown_key_names_the_nearest(folder, verb):
    """S-A5."""
    err = refused(folder, RECIPE.replace("steps = 3", "stps = 3"), verb=verb)
    assert err.startswith("mine.toml: stage.tune.stps is not a knob of `sft`.\n  Known: domain, steps, epochs,")
    assert err.endswith('Did you mean "steps"?\n')


GOLDEN = {
    "format": (
        RECIPE.replace("format = 1", "format = 9"),
        "mine.toml is written in format 9.\n  This program reads `format = 1`.\n",
    ),
    "cycle": (
        RECIPE.replace('model = "base"', 'model = "second"') + SECOND,
        "mine.toml: stage.tune is part of a circle: tune → second → tune (each reads or waits for the next).\n"
        "  Take one of these inputs away.\n",
    ),
    "base": (
        RECIPE.replace("init:0.1m", "nowhere"),
        'mine.toml: stage.base.id = "nowhere": there is no such file.\n  Looked at {folder}/nowhere.\n',
    ),
    "wrong type": (
        RECIPE.replace('model = "base"', 'model = "prepare"'),
        "mine.toml: stage.tune.inputs.model",
    ),
    "unknown stage": (
        RECIPE.replace('model = "base"', 'model = "bass"'),
        'mine.toml: stage.tune.model = "bass": there is no such stage.\n',
    ),
    "comes later": (
        RECIPE + "workers = 2\n",
        "mine.toml: stage.tune.workers comes later and is refused until then.\n",
    ),
}


@pytest.mark.parametrize("case", GOLDEN)
def test_paragraphs(folder, case):
    """S-A5, S-A9, S-A12."""
    text, paragraph = GOLDEN[case]
    assert refused(folder, text).startswith(paragraph.format(folder=folder))


def test_every_problem_is_told_at_once(folder):
    err = refused(
        folder, RECIPE.replace("steps = 3", "stps = 3\nbatch = 0").replace('"prepare"\nd', '"prepare"\nxx = 1\nd')
    )
    assert "stage.tune.stps" in err and "stage.tune.batch" in err and "stage.prepare.xx" in err


def test_a_missing_recipe_names_those_that_ship():
    said = posttrain("check", "spectrumm")
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith("spectrumm: there is no such recipe.  Shipped recipes: ")
    assert said.err.endswith('Did you mean "spectrum"?\n')


def test_an_unknown_profile_names_the_nearest():
    said = posttrain("plan", "sft", "--profile", "tny")
    assert said.code == 2
    assert (
        'command line: --profile = "tny": there is no such profile.\n  Known: smoke, tiny.  Did you mean "tiny"?'
        in said.err
    )


def test_a_bad_change_names_the_option():
    """S-A5."""
    assert posttrain("check", "sft", "--set", "steps").err.startswith("command line: --set steps is not KEY=VALUE.")
    said = posttrain("check", "sft", "--set", "stage.sft.steps=abc")
    assert (said.code, said.err) == (2, 'command line: stage.sft.steps = "abc" must be a whole number.\n')


def test_a_bad_variable_is_named(folder, monkeypatch):
    """S-A5: a value that cannot be exits 2 and names the variable."""
    monkeypatch.setenv("TUNE_STEPS", "many")
    err = refused(folder, RECIPE + '[env]\nTUNE_STEPS = "stage.tune.steps"\n')
    assert "TUNE_STEPS" in err and "whole number" in err


def test_k_beyond_the_samples(folder):
    """S-C4: K > N is an error before anything runs."""
    text = RECIPE + '[stage.exam]\nkind = "evaluate"\nmodel = "tune"\ndata = "prepare"\nk = 9\nsamples = 8\n'
    assert "k = 9 is more than samples = 8" in refused(folder, text, verb="plan")


def test_an_unknown_stage_on_the_command_line():
    said = posttrain("plan", "sft", "--only", "sfft")
    assert (said.code, said.err) == (2, 'there is no stage or node "sfft".  Did you mean "sft"?\n')


def test_folders_that_are_no_runs():
    for verb in ("status", "report", "verify"):
        said = posttrain(verb, "nowhere")
        assert (said.code, said.out) == (2, "")
        assert said.err == "nowhere: there is no run here (no recipe.json).  Name a folder that `posttrain run` made.\n"
    said = posttrain("status")
    assert (said.code, said.err) == (2, "there is no run here or below runs/.  Name the folder of a run.\n")


def test_a_node_that_is_not_there(folder):
    run = spectrum(folder / "runs" / "spectrum")
    said = posttrain("show", run / "probe" / "algbra")
    assert said.code == 2
    assert said.err.endswith('the run has no node "probe/algbra".  Did you mean "probe/algebra"?\n')


def test_an_unknown_kind():
    said = posttrain("kinds", "sfft")
    assert said.code == 2 and said.err.startswith('there is no kind "sfft".  Did you mean "sft"?')


def test_a_flipped_byte_is_found(folder):
    """S-A19: verify recomputes every digest; one flipped byte exits 6 and names node and file."""
    run = spectrum(folder / "runs" / "spectrum")
    assert posttrain("verify", run).code == 0
    file = (run / "nodes" / "fuse" / "result.txt").resolve()
    file.write_bytes(bytes([file.read_bytes()[0] ^ 1]) + file.read_bytes()[1:])
    said = posttrain("verify", run)
    assert said.code == 6 and "fuse" in said.out and "result.txt has changed" in said.out


def test_a_damaged_recipe_record(folder):
    run = spectrum(folder / "run")
    recipe = run / "recipe.json"
    told = json.loads(recipe.read_text())
    told["stage"]["base"]["kind"] = "nonesuch"
    recipe.write_text(json.dumps(told))
    assert posttrain("check", recipe).code == 2


@pytest.mark.parametrize(("name", "value", "knob"), [("BASE_MODEL", "tiny:nonesuch", "id"), ("DIVERSITY_K", "99", "k")])
def test_a_variable_that_the_kind_refuses_is_named(monkeypatch, name, value, knob):
    """S-A5: a bad value exits 2 and names the variable, also where only the kind can tell."""
    monkeypatch.setenv(name, value)
    said = posttrain("check", "spectrum")
    assert said.code == 2
    assert f"The variable {name} set {knob}." in said.out + said.err
