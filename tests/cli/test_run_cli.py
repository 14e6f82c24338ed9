"""run and plan for real, through the command line: the built-in world's data, made, kept, made again, damaged."""

import json

import pytest

from cli.door import posttrain

PREPARE = ("sft", "--profile", "smoke", "--only", "prepare")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """One finished run of the data stage, and what was said."""
    folder = tmp_path_factory.mktemp("made") / "run"
    return folder, posttrain("run", *PREPARE, "--run", folder)


def test_a_run_tells_what_it_did_and_where_the_report_lies(made):
    folder, said = made
    assert said.code == 0, said
    lines = said.out.splitlines()
    assert "run     sft: profiles smoke, seed 17, " in lines[0]
    assert "plan    1 node: 1 run" in lines[1] and "start   prepare  nothing made yet" in lines[2]
    assert any("done    prepare" in line for line in lines)
    assert "\nsft: profiles smoke, seed 17\nSet beside the profiles: " in said.out
    assert "Passed: Every stop gate passed (exit code 0)." in said.out
    assert lines[-1] == f"Report: {folder / 'report.html'}"
    assert "prepare" in (folder / "report.html").read_text()


def test_the_second_run_keeps_everything(made):
    """S-A7: nothing runs again; reasons say so."""
    folder, _ = made
    said = posttrain("plan", *PREPARE, "--run", folder)
    assert said.code == 0 and "nothing to do, all are kept" in said.out
    assert posttrain("run", *PREPARE, "--run", folder).code == 0


def test_a_changed_knob_is_named_as_the_reason(made):
    """S-A7, S-A12."""
    folder, _ = made
    said = posttrain("plan", *PREPARE, "--run", folder, "--set", "stage.prepare.val_size=5")
    assert "knob val_size: 4 → 5" in said.out
    told = json.loads(posttrain("plan", *PREPARE, "--run", folder, "--set", "stage.prepare.val_size=5", "--json").out)
    (decision,) = told["decisions"]
    assert decision["action"] == "run" and decision["reasons"] == ["knob val_size: 4 → 5"]
    assert told["recipe"]["origins"]["stage.prepare.val_size"] == "command line"


def test_a_dry_run_writes_nothing(tmp_path):
    """S-A12: plan and --dry-run write nothing and agree."""
    folder = tmp_path / "run"
    dry = posttrain("run", *PREPARE, "--run", folder, "--dry-run")
    assert dry.code == 0 and dry.out == posttrain("plan", *PREPARE, "--run", folder).out
    assert not folder.exists()


def test_running_the_resolved_recipe_gives_equal_fingerprints(made, tmp_path):
    """S-A6: the saved configuration, run from its file, keeps everything."""
    folder, _ = made
    told = json.loads(posttrain("plan", folder / "recipe.json", "--only", "prepare", "--json").out)
    (decision,) = told["decisions"]
    assert decision["action"] == "keep"


def test_show_status_and_verify_of_a_real_run(made):
    folder, _ = made
    assert "made because  nothing made yet" in posttrain("show", folder / "prepare").out
    assert "prepare" in posttrain("status", folder).out
    assert posttrain("verify", folder).code == 0


def test_a_flipped_byte_is_found_before_work(tmp_path):
    """A file of another size blocks the plan with exit 6; --again makes it anew."""
    folder = tmp_path / "run"
    assert posttrain("run", *PREPARE, "--run", folder).code == 0
    (folder / "nodes" / "prepare" / "val.jsonl").resolve().write_text("")
    said = posttrain("plan", *PREPARE, "--run", folder)
    assert said.code == 6 and "damaged" in said.out
    refused = posttrain("run", *PREPARE, "--run", folder)
    assert refused.code == 6 and "val.jsonl has changed" in refused.out
    assert posttrain("run", *PREPARE, "--run", folder, "--again", "prepare").code == 0
    assert posttrain("verify", folder).code == 0


def test_a_failing_node_tells_cause_log_and_resume(tmp_path):
    """S-A8, S-A9: an empty domain is exit 6, with cause, log path and the exact command to go on."""
    folder, empty = tmp_path / "run", tmp_path / "empty.jsonl"
    empty.touch()
    source = f'stage.prepare.source={{ type = "jsonl", path = "{empty}" }}'
    said = posttrain("run", *PREPARE, "--run", folder, "--set", source)
    assert said.code == 6, said
    assert "prepare failed: " in said.out
    assert f"log: {folder / 'logs' / 'prepare.log'}" in said.out
    assert f"\nGo on: posttrain run {folder / 'recipe.json'}\n" in said.out
    assert "failed" in posttrain("status", folder).out


def test_a_run_for_machines(tmp_path):
    said = posttrain("run", *PREPARE, "--run", tmp_path / "run", "--json")
    told = json.loads(said.out)
    assert said.code == told["code"] == 0 and told["report"].endswith("report.html")


def test_check_of_every_shipped_recipe():
    for recipe in ("sft", "rl", "exam"):
        said = posttrain("check", recipe)
        assert said.code == 0 and "sound." in said.out
    told = json.loads(posttrain("check", "sft", "--json").out)
    assert told["sound"] and "prepare" in told["nodes"]
