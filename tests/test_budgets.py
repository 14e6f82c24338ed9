"""Budgets on real training: stopped by the clock again and again, it ends with the bytes of an undisturbed run."""

from pathlib import Path

import pytest

from cli.door import posttrain
from posttrain import api
from posttrain.store import ledger

SFT = ("run", "sft", "--profile", "smoke", "--set", "stage.sft.steps=80")


def digest(run: Path) -> str:
    return api.show(run / "sft").manifest.digest


@pytest.mark.nightly
def test_training_that_hours_cut_ends_with_the_same_bytes(tmp_path: Path) -> None:
    """Every cap is twice the one before, the first too small for anything; no step is ever done twice."""
    assert posttrain(*SFT, "--run", tmp_path / "whole").code == 0
    run, codes, hours = tmp_path / "cut", [5], 1e-9
    said = posttrain(*SFT, "--run", run, "--max-hours", hours)
    assert said.code == 5 and "budget.hours: the cap of 1e-09 hours is reached." in said.out.replace("\n", " ")
    assert f"Go on: posttrain run {run}/recipe.json" in said.out
    hours = 0.0003
    while codes[-1] == 5 and hours < 1:
        codes.append(posttrain("run", run / "recipe.json", "--max-hours", hours).code)
        hours *= 1.5
    assert codes[-1] == 0 and set(codes) == {0, 5}
    assert digest(run) == digest(tmp_path / "whole")
    steps = [record["metrics"]["step"] for record in ledger.read(run / "ledger.jsonl") if record["event"] == "step"]
    assert [step for step in steps if step] == list(range(1, 81))
