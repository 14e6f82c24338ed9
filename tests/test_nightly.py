"""What takes minutes: the tiny profile learns maths and code, and RL teaches beyond the spread of its streams."""

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.nightly

TINY = ("run", "spectrum", "--profile", "tiny")
RL = ("rl_math_short", "rl_math_long", "rl_code")
LEARNT = ("gain_rl", "gain_code", "maths_kept")


def command(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the product; what it prints is shown, for the record of a nightly."""
    environ = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    done = subprocess.run(
        [sys.executable, "-m", "posttrain", *words], cwd=cwd, capture_output=True, text=True, env=environ
    )
    sys.stdout.write(done.stdout + done.stderr)
    return done


def metrics(run: Path, node: str) -> dict:
    return json.loads((run / "nodes" / node.replace("/", ".") / "manifest.json").read_text())["metrics"]


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    done = command(*TINY, cwd=folder)
    assert done.returncode == 0, "a gate of the tiny run did not pass"
    return folder


def test_every_stage_improves_on_held_out_problems(home):
    """S-A1, S-C10, S-E2: specialists +.05 on their own domains, fused above base, RL +.07, on paired intervals."""
    run = home / "runs" / "spectrum"
    assert metrics(run, "gain_specialist")["gain"]["value"] >= 0.05
    assert metrics(run, "gain_fused")["gain"]["low"] > 0
    assert metrics(run, "gain_rl")["gain"]["value"] >= 0.07
    for node in ("gain_specialist", "gain_fused", "gain_rl"):
        assert metrics(run, node)["gain"]["low"] > 0
        assert metrics(run, node)["gain"]["n"] == 2500


def test_code_is_learned_last_and_maths_is_kept(home):
    """S-E2, S-D1: rl_code lifts held-out code problems; what maths loses by it stays within the stated margin."""
    run = home / "runs" / "spectrum"
    coded, kept = metrics(run, "gain_code")["gain"], metrics(run, "maths_kept")["gain"]
    assert coded["n"] == 500 and coded["low"] > 0
    assert kept["n"] == 2000 and kept["low"] > -0.02


def test_a_second_run_keeps_everything(home):
    """S-B1: nothing re-runs."""
    before = (home / "runs" / "spectrum" / "ledger.jsonl").read_text().count('"node_started"')
    assert command(*TINY, cwd=home).returncode == 0
    assert (home / "runs" / "spectrum" / "ledger.jsonl").read_text().count('"node_started"') == before


def test_rl_gains_beyond_the_spread_of_seeds(home):
    """S-E2: three streams of reinforcement learning from one fused model; each gains more than they differ."""
    store, runs = str(home / "runs" / "spectrum"), [home / "runs" / "spectrum"]
    for stream in ("second", "third"):
        streams = [f"--set=stage.{stage}.stream={stream}-{stage}" for stage in RL]
        until = [word for node in LEARNT for word in ("--until", node)]
        words = (*TINY, *streams, *until, "--run", stream, "--store", store)
        assert command(*words, cwd=home).returncode == 0
        runs.append(home / stream)
    for node in ("gain_rl", "gain_code"):
        gains = [metrics(run, node)["gain"]["value"] for run in runs]
        sys.stdout.write(f"{node} of three streams: {gains}\n")
        assert min(gains) > 2 * statistics.stdev(gains)
