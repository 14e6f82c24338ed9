"""Two hundred kills over the smoke profile, every kind many times; and kills in a real pre-training."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.nightly

LONGER = (
    "stage.specialist.steps=24",
    "stage.specialist.save_every=6",
    "stage.rl_math_short.steps=6",
    "stage.rl_math_short.keep_rollouts=1",
    "stage.rl_math_long.steps=4",
    "stage.rl_math_long.select=best_val",
    "stage.rl_math_longer.steps=4",
    "stage.rl_math_longer.updates_per_rollout=2",
)
"""Steps enough to be killed between them, the best validation and several updates a batch."""


def chaos(*words: str, cwd: Path) -> dict:
    """What the command reports; it is shown for the record of a nightly."""
    line = [sys.executable, "-m", "posttrain", "chaos", *words, "--json"]
    done = subprocess.run(line, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    told = {
        name: report[name] for name in ("kinds", "rounds", "resumed", "restarted", "amid_programs", "torn", "wall_s")
    }
    sys.stdout.write(f"chaos {words[0]}: {told}\n")
    return report


def test_two_hundred_kills_over_smoke(tmp_path):
    """S-A7: kill -9 at random moments of every kind, same command: every byte, verdict and step is equal."""
    sets = [word for key in LONGER for word in ("--set", key)]
    report = chaos("spectrum", "--profile", "smoke", *sets, "--kills", "200", "--run", "c", cwd=tmp_path)
    assert len(report["kills"]) == 200
    assert min(report["kinds"].values()) >= 5
    assert report["amid_programs"] >= 8, "while programs ran in the sandbox"
    kept = {node.partition("/")[0] for kill in report["kills"] for node in kill["kept"]}
    assert kept >= {"specialist", "probe", "rl_math_short"}, "goes on in the middle of training, asking and RL"


def test_kills_in_a_real_pretraining(tmp_path):
    """S-A7: a base that is trained on the spot goes on where it was stopped, in bf16, to the same bytes."""
    sets = ("--set", "stage.sft.steps=20", "--set", "stage.prepare.max_problems=200")
    report = chaos("sft", "--profile", "tiny", *sets, "--kills", "9", "--run", "c", cwd=tmp_path)
    assert sum("base" in kill["kept"] for kill in report["kills"]) >= 1
