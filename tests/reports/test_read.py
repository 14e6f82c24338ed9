"""From records to a view: what ran, what is kept, what failed, and what nobody wrote down."""

import json

import pytest

from posttrain.reports.read import read
from posttrain.reports.story import outcome
from posttrain.spec.errors import UsageError
from posttrain.spec.gate import Metric
from posttrain.store.ledger import Ledger
from reports.recorded import ENVIRONMENT, Recorder, spectrum


def later(folder, *events, code=None):
    """Append an invocation to a ledger."""
    ledger = Ledger(folder / "ledger.jsonl", run="02")
    ledger.write("run_started", profiles=["tiny"], environment=ENVIRONMENT)
    for event, node, fields in events:
        ledger.write(event, node=node, **fields)
    if code is not None:
        ledger.write("run_finished", code=code, wall_s=0.4)
    ledger.close()


def decision(node, action, *reasons):
    stage = node.partition("/")[0]
    return {"node": node, "stage": stage, "kind": "sft", "action": action, "reasons": reasons, "fingerprint": None}


def test_a_finished_run_is_told_whole(tmp_path):
    """S-A6, S-A12: the view names seed, profiles, machine, every node with inputs, reasons and times."""
    view = read(spectrum(tmp_path))
    assert (view.name, view.seed, view.profiles, view.exit_code) == ("spectrum", 17, ("tiny",), 0)
    assert view.environment["cores"] == 2
    probe = view.nodes["probe/algebra"]
    assert (probe.stage, probe.member, probe.kind, probe.state) == ("probe", "algebra", "probe", "ran")
    assert probe.ran_because == ("never made",)
    assert [(s.role, s.node) for s in probe.sources] == [("model", "specialist/algebra"), ("data", "prepare/algebra")]
    assert ("prepare", "base") in view.edges and ("exam_fused", "gain_rl") in view.edges
    assert len(view.steps["base"]) == 600
    assert view.total("wall_s") == pytest.approx(604.0, abs=1)
    assert view.judged("gain_rl")[0].evidence.n == 2000


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(UsageError, match="no run here"):
        read(tmp_path)


def test_a_second_run_that_keeps_everything_keeps_the_story(tmp_path):
    """S-A7: kept nodes are kept, and still tell why and how long they were made."""
    folder = spectrum(tmp_path)
    kept = [decision(id, "keep", "nothing changed") for id in read(folder).nodes]
    events = [("node_kept", one["node"], {"reasons": ["nothing changed"]}) for one in kept]
    later(folder, ("plan", None, {"decisions": kept, "off": []}), *events, code=0)
    view = read(folder)
    base = view.nodes["base"]
    assert {node.state for node in view.nodes.values()} == {"kept"}
    assert (base.reasons, base.ran_because, base.took("wall_s")) == (("nothing changed",), ("never made",), 204.0)
    assert len(view.steps["base"]) == 600
    assert view.took == pytest.approx(702.4)


def test_time_adds_up_over_resumes_and_not_between_them(tmp_path):
    """S-A13: what every working invocation took, added; the pause between them is not time spent."""
    records = [
        (100.0, "run_started", {}),
        (110.0, "node_started", {"node": "base", "fingerprint": "f"}),
        (160.0, "progress", {"node": "base", "done": 1, "total": 2}),
        (900.0, "run_started", {}),
        (901.0, "node_started", {"node": "base", "fingerprint": "f"}),
        (930.0, "run_finished", {"code": 0}),
        (999.0, "run_started", {}),
        (999.5, "run_finished", {"code": 3}),
    ]
    (tmp_path / "recipe.json").write_text('{"format": 1, "stage": {}}')
    lines = [json.dumps({"t": t, "event": event, **fields}) for t, event, fields in records]
    (tmp_path / "ledger.jsonl").write_text("\n".join(lines) + "\n")
    view = read(tmp_path)
    assert (view.started, view.took, view.exit_code) == (100.0, 90.0, 3)


def test_a_killed_run_says_that_it_did_not_end(tmp_path):
    folder = spectrum(tmp_path)
    decisions = [decision("base", "run", "knob steps: 600 → 700"), decision("fuse", "maybe", "waits for base")]
    started = ("node_started", "base", {"fingerprint": "f", "reasons": ["knob steps: 600 → 700"], "attempt": 1})
    going = ("progress", "base", {"done": 30, "total": 700, "unit": "steps"})
    later(folder, ("plan", None, {"decisions": decisions, "off": []}), started, going)
    with (folder / "ledger.jsonl").open("a") as ledger:
        ledger.write('{"t": 1, "event": "run_fini')
    view = read(folder)
    assert view.exit_code is None
    assert (view.nodes["base"].state, view.nodes["base"].progress) == ("running", "30 of 700 steps")
    assert view.nodes["fuse"].state == "waiting"


def test_a_failure_carries_cause_and_log(tmp_path):
    """S-A8: status failed, one-line cause, log path."""
    folder = spectrum(tmp_path)
    failed = {
        "code": 7,
        "what": "the loss is nan at step 3",
        "where": "base",
        "remedy": "Lower lr.",
        "log": "logs/base.log",
    }
    events = [("plan", None, {"decisions": [decision("base", "run")]}), ("node_started", "base", {"fingerprint": "f"})]
    later(folder, *events, ("node_failed", "base", {**failed, "again": False}), code=7)
    base = read(folder).nodes["base"]
    assert (base.state, base.log) == ("failed", "logs/base.log")
    assert base.failure == "the loss is nan at step 3.  Lower lr."


def test_the_last_invocations_failure_comes_first(tmp_path):
    """S-A8: what an earlier command failed at, and this one did not touch, is not why this one stopped."""
    folder = spectrum(tmp_path)
    old = {"code": 7, "what": "the loss is nan", "again": False}
    later(folder, ("plan", None, {"decisions": [decision("base", "run")]}), ("node_failed", "base", old), code=7)
    now = {"code": 6, "what": "a file has changed", "again": False}
    later(folder, ("plan", None, {"decisions": [decision("fuse", "run")]}), ("node_failed", "fuse", now), code=6)
    view = read(folder)
    assert (view.nodes["base"].state, view.nodes["fuse"].state) == ("failed", "failed")
    assert "fuse failed: a file has changed" in outcome(view).says


def test_a_retried_failure_is_running_again(tmp_path):
    folder = spectrum(tmp_path)
    events = [("plan", None, {"decisions": [decision("base", "run")]}), ("node_started", "base", {"fingerprint": "f"})]
    later(folder, *events, ("node_failed", "base", {"code": 7, "what": "crash", "again": True}))
    base = read(folder).nodes["base"]
    assert (base.state, base.failure) == ("running", "")


def test_an_artifact_that_is_gone_is_told(tmp_path):
    """A store on a disk that is not mounted, a folder that somebody removed."""
    folder = spectrum(tmp_path)
    link = folder / "nodes" / "fuse"
    link.unlink()
    link.symlink_to("../gone/away")
    fuse = read(folder).nodes["fuse"]
    assert fuse.manifest is None and fuse.failure.startswith("its artifact is gone: ")


def test_a_damaged_manifest_is_a_finding_not_a_crash(tmp_path):
    folder = spectrum(tmp_path)
    (folder / "nodes" / "fuse" / "manifest.json").write_text("{")
    fuse = read(folder).nodes["fuse"]
    assert fuse.manifest is None and "manifest.json cannot be read" in fuse.failure


def test_the_last_of_equal_steps_counts(tmp_path):
    recorder = Recorder(tmp_path)
    recorder.node(
        "base", "base", {}, steps=[{"step": 1, "loss": 3.0}, {"step": 2, "loss": 2.0}, {"step": 1, "loss": 2.9}]
    )
    assert [(s["step"], s["loss"]) for s in read(recorder.finish()).steps["base"]] == [(1, 2.9), (2, 2.0)]


def test_arrows_of_what_is_not_made_come_from_the_recipe(tmp_path):
    recorder = Recorder(tmp_path)
    recorder.node("base", "base", {})
    folder = recorder.finish()
    recipe = json.loads((folder / "recipe.json").read_text())
    recipe["stage"] |= {
        "rl": {"kind": "rl", "inputs": {"model": "skipped", "data": ["base", {"path": "mine"}]}},
        "skipped": {"kind": "rl", "off": True, "inputs": {"model": "tuned/a"}},
        "tuned": {"kind": "sft", "inputs": {"model": "base"}},
    }
    (folder / "recipe.json").write_text(json.dumps(recipe))
    decisions = [decision(id, "run") for id in ("base", "tuned/a", "rl")]
    later(folder, ("plan", None, {"decisions": decisions, "off": ["skipped"]}))
    assert set(read(folder).edges) == {("base", "tuned"), ("tuned", "rl"), ("base", "rl")}


def test_a_stage_that_left_the_recipe_leaves_the_view(tmp_path):
    folder = spectrum(tmp_path)
    recipe = json.loads((folder / "recipe.json").read_text())
    del recipe["stage"]["gain_rl"]
    (folder / "recipe.json").write_text(json.dumps(recipe))
    view = read(folder)
    assert "gain_rl" not in view.nodes and not view.judged("gain_rl")


def test_settings_are_what_somebody_set(tmp_path):
    """S-A5: value and origin of every key that is neither default nor recipe."""
    recorder = Recorder(tmp_path)
    recorder.node("rl", "rl", {})
    folder = recorder.finish()
    recipe = json.loads((folder / "recipe.json").read_text())
    recipe["stage"]["rl"]["steps"] = 7
    recipe["origins"] = {"stage.rl.steps": "env SIGNAL_STEPS", "stage.rl.lr": "kind default", "seed": "recipe"}
    (folder / "recipe.json").write_text(json.dumps(recipe))
    (setting,) = read(folder).settings
    assert (setting.key, setting.value, setting.origin) == ("stage.rl.steps", "7", "env SIGNAL_STEPS")


def test_what_was_not_measured_is_none(tmp_path):
    recorder = Recorder(tmp_path)
    recorder.node("base", "base", {}, measured={}, metrics={"loss": Metric(None, reason="no step")})
    view = read(recorder.finish(code=None))
    assert view.total("wall_s") is None and view.nodes["base"].took("cpu_s") is None
