"""`posttrain chaos`: the smoke profile bears it, what does not go on as it should is found, and unknown is no pass."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from posttrain.spec.errors import TimedOut, UsageError
from posttrain.store.lock import Lock
from posttrain.trials import chaos as trial
from posttrain.trials.chaos import Asked, chaos

TESTS = Path(__file__).parents[1]
LONGER = (
    'stage.prepare.each={ domain = ["algebra", "code"] }',
    'stage.maths_kept.domains=["algebra"]',
    "stage.rl_math_short.off=true",
    "stage.rl_math_long.off=true",
    "stage.rl_math_longer.off=true",
    "stage.rl_code.steps=6",
    "stage.rl_code.keep_rollouts=1",
    "stage.specialist.steps=24",
    "stage.specialist.save_every=6",
)
"""Two domains, one of them code, and reinforcement learning of code, with steps enough to be killed between them."""


def command(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "posttrain", *words]
    return subprocess.run(line, cwd=cwd, capture_output=True, text=True, check=False, timeout=1200)


@pytest.mark.long
def test_twelve_kills_over_smoke(tmp_path):
    """S-A7, S-D14: kill -9 of the process tree in every kind, same command: every byte, verdict and step is equal.

    Each kind that runs programs is killed while it does: its sandbox ends with it, though nobody killed that.
    """
    sets = [word for key in LONGER for word in ("--set", key)]
    done = command(
        "chaos", "spectrum", "--profile", "smoke", *sets, "--kills", "12", "--run", "c", "--json", cwd=tmp_path
    )
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert len(report["kills"]) == 12
    assert set(report["kinds"]) == {"base", "prepare", "sft", "probe", "fuse", "rl", "evaluate", "compare"}
    assert all(report["kinds"].values())
    assert report["differences"] == []
    amid = {node for kill in report["kills"] if kill["moment"] == "programs" for node in kill["programs"]}
    assert amid >= {"prepare/code", "probe/code", "rl_code"}
    assert any(node.startswith("exam_") for node in amid)
    assert done.stderr.count("kill ") == 12


@pytest.fixture
def toys(tmp_path, monkeypatch):
    """A chaos over a stage of each of some toy kinds."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([*sys.path, str(TESTS)]))

    def run(*kinds: str, kills: int = 3):
        recipe = tmp_path / "toys.toml"
        stages = [f'[stage.{kind}]\nkind = "{kind}"\n' for kind in kinds]
        recipe.write_text("\n".join(['format = 1\nname = "toys"\nseed = 7\n', *stages]))
        asked = Asked((str(recipe),), kills, tmp_path / "chaos", command=(sys.executable, "-m", "trials.toy_run"))
        return chaos(asked)

    return run


def test_what_goes_on_as_it_should_passes(toys, tmp_path):
    """S-A7: killed at work and gone on: exit 0, nothing differs, what was compared and equal is removed."""
    report = toys("steady")
    assert (report.code, report.differences, len(report.kills)) == (0, (), 3)
    assert report.kinds["steady"] >= 1 and report.resumed >= 1
    assert sorted(path.name for path in (tmp_path / "chaos").iterdir() if path.is_dir()) == ["calm"]


def test_a_wrong_resume_is_found(toys):
    """S-A7: a kind that forgets where its draws were: exit 6, naming node and file."""
    report = toys("forgetful")
    assert report.code == 6
    assert any("forgetful: total.json differs" in said for said in report.differences), report.differences


def test_a_lost_remark_is_found(toys):
    report = toys("absent")
    assert report.code == 6
    assert any("absent: manifest.json (remarks) differs" in said for said in report.differences), report.differences
    assert not any("total.json" in said for said in report.differences)


def test_a_kind_that_was_never_hit_is_no_pass(toys):
    """S-A7: one kill cannot hit two kinds: inconclusive, exit 3, naming the kind."""
    report = toys("steady", "absent", kills=1)
    assert report.differences == ()
    assert report.code == 3
    assert report.never_hit and set(report.never_hit) <= {"steady", "absent"}


def test_a_command_that_hangs_is_an_error_and_leaves_nothing(toys, tmp_path, monkeypatch):
    """S-A7: a run that goes on and never ends: exit 8, and its processes are gone."""
    monkeypatch.setattr(trial, "PATIENCE", 2.0)
    monkeypatch.setattr(trial, "TIMES", 1.0)
    with pytest.raises(TimedOut, match="did not end"):
        toys("stuck")
    assert Lock(tmp_path / "chaos" / "round-1" / "lock").take() is None


def test_a_folder_in_use_and_a_recipe_that_does_not_hold(tmp_path):
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "mine.txt").touch()
    with pytest.raises(UsageError, match="something here already"):
        chaos(Asked(("spectrum",), 1, tmp_path / "c"))
    done = command("chaos", "nosuch", "--run", "d", cwd=tmp_path)
    assert done.returncode == 2 and "nosuch" in done.stderr
