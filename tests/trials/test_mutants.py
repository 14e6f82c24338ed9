"""Every gate has a planted defect that it alone must see; the command that shows it is not fooled."""

import json
import tomllib
from importlib.resources import files
from pathlib import Path

import pytest

from cli.door import posttrain as door
from posttrain import stages
from posttrain.engine.expand import expand
from posttrain.spec.errors import Mismatch
from posttrain.spec.load import load, shipped
from posttrain.store.lock import Lock
from posttrain.store.run import at
from posttrain.trials.found import Words
from posttrain.trials.planted import Change, Mismatched, Planted, Replaced, every, standing

RECIPES = files("posttrain") / "recipes"


def profiles(recipe: str) -> list[list[str]]:
    """Every profile; `nojail` stacks on another."""
    names = tomllib.loads((RECIPES / f"{recipe}.toml").read_text()).get("profile", {})
    return [["tiny", name] if name == "nojail" else [name] for name in names]


def gates_of_kinds() -> set[tuple[str, str]]:
    """Every gate that a kind brings, whatever its knobs and roles."""
    found = set()
    for name in stages.names():
        kind = stages.kind(name)
        for roles in (frozenset(), frozenset(kind.roles)):
            found |= {(name, gate) for gate in kind.gates(kind.knobs.model_construct(), roles)}
    return found


def gates_of_recipes() -> set[tuple[str, str]]:
    """Every gate of every shipped recipe under every profile, those that are off or warn among them."""
    graphs = [expand(load(name, kinds=stages, profiles=p), stages) for name in shipped() for p in profiles(name)]
    return {(node.kind.name, gate) for graph in graphs for node in graph.nodes.values() for gate in node.gates}


def test_the_list_of_gates_is_the_list_of_defects():
    """A gate without a planted defect, or a defect whose gate is gone, fails here: add the one or take the other."""
    gates = gates_of_kinds() | gates_of_recipes()
    planted = {(defect.kind, defect.gate) for defect in every().values() if isinstance(defect, Planted)}
    assert gates - planted == set(), "gates without a planted defect"
    assert planted - gates == set(), "planted defects without a gate"
    assert {("sft", "masks"), ("rl", "anchored"), ("compare", "kept"), ("compare", "coded")} <= gates


def test_every_mismatch_of_the_specification_is_planted():
    found = {(defect.kind, defect.gate) for defect in every().values() if isinstance(defect, Mismatched)}
    assert found == {
        ("prepare", "two_sides"),
        ("fuse", "tokenizer"),
        ("fuse", "shape"),
        ("fuse", "digest"),
        ("compare", "items"),
    }


def test_each_defect_plants_something():
    for name, defect in every().items():
        assert defect.change != Change(), name
        assert name.startswith(f"{defect.kind}.{defect.gate}")


def test_a_mismatch_about_something_else_proves_nothing():
    """Folders of trials carry the name of the mismatch: only what an error says counts, not where."""
    words = Words("fuse", "tokenizer", "fuse", "an expert with another tokenizer")
    other = Mismatch("config.json has changed.", where="trials/fuse.tokenizer-fuse-planted/nodes/base")
    assert words.mismatch(other, "tokenizer").outcome == "missed"
    assert words.mismatch(Mismatch("their tokenizers differ."), "tokenizer").outcome == "caught"


def test_what_stands_for_another_is_put_back():
    before = json.dumps
    with pytest.raises(KeyError), standing(Replaced("json", "dumps", lambda honest: lambda _: honest("other"))):
        assert json.dumps("this") == '"other"'
        raise KeyError
    assert json.dumps is before


@pytest.fixture(scope="module")
def ground(tmp_path_factory) -> Path:
    """A folder that trials share: what one of them made honestly, the next finds there."""
    return tmp_path_factory.mktemp("mutants")


def tried(ground: Path, gate: str, *sets: str) -> tuple[int, dict]:
    """One gate tried again with changed keys: exit code and what became of its defect that is of no domain."""
    given = [word for key in sets for word in ("--set", key)]
    said = door("mutants", "spectrum", "--run", ground / "m", "--json", "--only", gate, *given)
    own = {defect.says for defect in every().values() if isinstance(defect, Planted) and defect.domain}
    (trial,) = [trial for trial in json.loads(said.out)["trials"] if trial["defect"] not in own]
    return said.code, trial


@pytest.mark.long
def test_every_gate_of_spectrum_sees_its_defect_and_nothing_else_moves(tmp_path):
    """S-E1: `mutants spectrum`: each gate passes honestly and fails with its defect, its neighbours stay."""
    said = door("mutants", "spectrum", "--run", tmp_path / "m", "--json")
    told = json.loads(said.out)
    lines = [f"{t['gate']} of {t['node']} ({t['defect']}): {t['outcome']}. {t['why']}" for t in told["trials"]]
    assert [line for line, t in zip(lines, told["trials"], strict=True) if t["outcome"] != "caught"] == []
    assert (said.code, told["code"]) == (0, 0)
    held = {(t["kind"], t["gate"], t["defect"]) for t in told["trials"]}
    assert held == {(defect.kind, defect.gate, defect.says) for defect in every().values()}
    nodes = {(t["node"], t["defect"]) for t in told["trials"]}
    where = {"prepare": "prepare/code", "probe": "probe/code", "rl": "rl_code", "evaluate": "exam_base"}
    coded = [defect for defect in every().values() if isinstance(defect, Planted) and defect.domain == "code"]
    assert nodes >= {(where[defect.kind], defect.says) for defect in coded}, "where programs run in the sandbox"
    assert {defect.kind for defect in coded} == set(where)
    assert {(t["honest"], t["planted"]) for t in told["trials"]} == {("pass", "fail"), ("", "exit 6")}


def test_a_gate_that_cannot_fail_is_told(ground):
    code, trial = tried(ground, "rows_kept", "stage.specialist.gate.rows_kept.at_least=-1000")
    assert (code, trial["outcome"]) == (1, "missed")
    assert (trial["honest"], trial["planted"]) == ("pass", "pass")


def test_a_gate_that_fails_honestly_proves_nothing(ground):
    code, trial = tried(ground, "golds", "stage.prepare.gate.golds.equals=1")
    assert (code, trial["outcome"]) == (3, "inconclusive")
    assert (trial["honest"], "does not pass honestly" in trial["why"]) == ("fail", True)


def test_a_defect_that_fells_two_gates_is_told(ground):
    code, trial = tried(ground, "golds", "stage.prepare.gate.overlap.metric=bad_golds")
    assert (code, trial["outcome"]) == (1, "more")
    assert (trial["planted"], trial["moved"]) == ("fail", ["overlap: pass → fail"])


def test_a_gate_of_ones_own_needs_a_defect(ground):
    own = [f"stage.specialist.gate.small.{key}" for key in ("metric=loss", "at_most=100")]
    code, trial = tried(ground, "small", *own)
    assert (code, trial["outcome"], trial["why"]) == (3, "inconclusive", "nothing is planted against it")


def test_a_ground_that_cannot_be_made_proves_nothing(ground):
    code, trial = tried(ground, "loss_falls", "stage.specialist.max_seq_length=4")
    assert (code, trial["outcome"]) == (3, "inconclusive")
    assert "lacks specialist/algebra" in trial["why"]


def test_a_gate_that_is_off_is_not_tried(ground):
    said = door(
        "mutants", "spectrum", "--run", ground / "m", "--set", "stage.fuse.gate.averaged.off=true", "--only", "averaged"
    )
    assert said.code == 2
    assert "--only averaged: the recipe has no such gate" in said.err


def test_the_table_names_gate_node_defect_and_both_verdicts(ground):
    said = door("mutants", "spectrum", "--run", ground / "m", "--only", "golds")
    assert said.code == 0, said.out + said.err
    row = next(line.split() for line in said.out.splitlines() if "one gold corrupted" in line)
    assert row == ["golds", "prepare/algebra", "one", "gold", "corrupted", "pass", "fail", "caught"]
    assert "--set stage.specialist.steps=110" in said.out
    assert "3 defects, 3 caught" in said.out


def test_two_commands_in_one_folder_do_not_mix(tmp_path):
    """The second says who is at it, and exits 2."""
    held = Lock(at(tmp_path / "m" / "trials").lock)
    assert held.take() is None
    said = door("mutants", "spectrum", "--run", tmp_path / "m", "--only", "golds")
    held.release()
    assert said.code == 2
    assert "trials are held here by process" in said.err


@pytest.mark.nightly
@pytest.mark.parametrize("words", [["sft"], ["rl"], ["exam"], ["spectrum", "--profile", "tiny"]], ids=" ".join)
def test_every_gate_of_the_other_recipes_sees_its_defect(words, tmp_path):
    """The single-purpose recipes, and the gates of spectrum as the profile tiny sets them."""
    said = door("mutants", *words, "--run", tmp_path / "m")
    assert said.code == 0, said.out
