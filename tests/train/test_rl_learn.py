"""The loop of reinforcement learning on a real small model: it learns, tells, validates, and survives a kill."""

import gzip
import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import rl_world as world
from posttrain.data import rows
from posttrain.data.records import RlStep, Rollout, Score
from posttrain.graders.base import Grade
from posttrain.models.decoder import Decoder
from posttrain.models.sample import Sampling
from posttrain.spec.errors import BudgetReached, Mismatch, StageFailed
from posttrain.train.loop import Course
from posttrain.train.rl import choices, collect, learn, objective, tell, validate, weigh
from posttrain.train.rl.journal import Journal
from posttrain.train.rl.learn import ROLLOUTS, STEPS, VALIDATION
from posttrain.train.rl.prompts import Prompts
from posttrain.train.state import Keeper

CAP = 6
SAMPLING = Sampling(max_new_tokens=CAP)


def method(**changes: Any) -> learn.Method:
    """Four prompts of two domains, four answers each, validated every four steps."""
    given = {"steps": 6, "updates": 1, "lr": 3e-3, "prompts": 4, "zero": choices.Drop(), "sharpness": 2.0} | changes
    return learn.Method(
        drawing=collect.Drawing(given["prompts"], 4, SAMPLING, given["zero"], 3, world.LIKES_WORDS),
        weighing=weigh.Weighing(given["sharpness"], CAP, 0, True, choices.Unshaped(), choices.Zero()),
        objective=objective.Objective("token_mean", 0.2, None, 1.0, given.get("kl", choices.Copy())),
        course=Course(steps=given["steps"] * given["updates"], lr=given["lr"], shape="constant", warmup=0.0),
        updates=given["updates"],
        max_tokens=given.get("max_tokens", 512),
        exam=validate.Exam(tuple(world.problems(6, start=100)), 2, SAMPLING, 5, world.LIKES_WORDS),
        eval_every=4,
        select_best=given.get("best", False),
        keep_rollouts=given.get("keep", 1.0),
    )


class Run:
    """One run in a folder; `told` holds what it emitted."""

    def __init__(self, folder: Path, *, emit: Callable[..., None] | None = None, every: int | None = None, **changes):
        self.told: list[dict[str, Any]] = []
        self.loaded, self.folder, self.method = world.model(), folder, method(**changes)
        self.reference = deepcopy(self.loaded.model).requires_grad_(False) if self.method.objective.kl else None
        journal, keeper = Journal(folder / "journal"), Keeper(folder / "state", every=every)
        self.spent = 0
        hooks = learn.Hooks(emit or self._emit, lambda done, total, unit: None, self._spend, journal, keeper)
        problems = world.problems(20) + world.problems(20, "geometry")
        prompts = Prompts(problems, domains=("algebra", "geometry"), seed=1)
        self.learner = learn.Learner(self.loaded, prompts, self.method, hooks, reference=self.reference)

    def _emit(self, **numbers: Any) -> None:
        self.told.append(json.loads(json.dumps(numbers)))

    def _spend(self, tokens: int) -> None:
        self.spent += tokens

    def learn(self) -> "Run":
        self.chosen = self.learner.learn()
        self.learner.write(self.folder)
        return self

    def bytes(self) -> dict[str, bytes]:
        return {name: (self.folder / name).read_bytes() for name in learn.FILES}

    def weights(self) -> dict[str, torch.Tensor]:
        return self.loaded.model.state_dict()


def same_weights(a: Run, b: Run) -> bool:
    return all(torch.equal(x, b.weights()[name]) for name, x in a.weights().items())


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Run:
    return Run(tmp_path_factory.mktemp("plain")).learn()


@pytest.mark.parametrize("name", learn.FILES)
def test_rows_that_went_or_changed_between_two_attempts_are_named(tmp_path, name):
    """S-A7: what a killed run kept is joined whole or not at all."""
    run = Run(tmp_path)
    run.learner.learn()
    first = sorted((tmp_path / "journal" / name).iterdir())[1]
    whole = first.read_bytes()
    first.write_bytes(whole[:-1])
    with pytest.raises(Mismatch, match="changed since they were written"):
        run.learner.write(tmp_path)
    first.unlink()
    with pytest.raises(Mismatch, match="the rows of a step are gone"):
        run.learner.write(tmp_path)
    first.write_bytes(whole)
    run.learner.write(tmp_path)


EACH_STEP = {
    "step", "loss", "kl", "reward", "reward_std", "weight.mean", "p", "zero_variance", "clip_fraction", "ratio_max",
    "logprob_gap", "entropy", "length", "truncated", "grad_norm", "lr", "prompts",
}  # fmt: skip


def test_every_metric_is_told_every_step(plain):
    """S-D6, S-D11: each metric of §2.7 in each step record, kl among them."""
    steps = [told for told in plain.told if told["step"] > 0]
    assert [told["step"] for told in steps] == [1, 2, 3, 4, 5, 6]
    for told in steps:
        assert told.keys() >= EACH_STEP
        assert sum(told["p"]) == told["groups"] == 4 and len(told["p"]) == 5
        assert all(isinstance(told[name], float) for name in ("kl", "loss", "entropy", "grad_norm"))
        assert told["prompts"] == {"algebra": 2, "geometry": 2}


def test_validation_comes_before_on_the_way_and_at_the_end(plain):
    """S-D10: pass@1, pass@k, gain, length and truncated at step 0, every four steps, and at the last."""
    with_val = {told["step"]: told for told in plain.told if "val_pass@1" in told}
    assert sorted(with_val) == [0, 4, 6]
    for told in with_val.values():
        assert told.keys() >= {"val_pass@1", "val_pass@2", "val_gain", "val_length", "val_truncated"}
        assert told["val_pass@1/algebra"] == told["val_pass@1"]
    assert with_val[0]["val_gain"] == 0.0
    assert with_val[6]["val_gain"] == pytest.approx(with_val[6]["val_pass@1"] - with_val[0]["val_pass@1"])


def test_the_numbers_are_those_of_sampler_and_start(plain):
    """S-D4, S-D5: ratio 1 and gap 0 at every first update, KL 0 at the first step, above 0 later."""
    steps = rows.read_all(plain.folder / STEPS, RlStep)
    assert all(row.logprob_gap is not None and row.logprob_gap < 1e-5 for row in steps)
    assert all(row.ratio_max == pytest.approx(1.0, abs=1e-5) and row.clip_fraction == 0 for row in steps)
    assert steps[0].kl == 0.0 and steps[-1].kl is not None and steps[-1].kl > 0


def test_rollouts_hold_all_that_the_loss_was_made_of(plain):
    """§2.7: ids, log-probabilities, reward, p, w, A' and text of every sample, per step."""
    found = rows.read_all(plain.folder / ROLLOUTS, Rollout)
    assert len(found) == 6 * 4 * 4 and [row.step for row in found] == sorted(row.step for row in found)
    for start in range(0, len(found), 4):
        group = found[start : start + 4]
        right = sum(row.outcome == "right" for row in group)
        assert {row.p for row in group} == {right / 4}
        assert [row.reward for row in group] == [float(row.outcome == "right") for row in group]
        assert sum(row.advantage for row in group) == pytest.approx(0, abs=1e-9)
        assert all(len(row.ids) == len(row.logprobs) for row in group)


def test_no_forward_pass_is_made_for_old_log_probabilities(tmp_path, monkeypatch):
    """S-D4: a step reads each micro-batch once per update and nothing else: what the sampler noted is used."""
    run = Run(tmp_path, kl=None, steps=1, max_tokens=10**6, updates=2)
    calls = []
    inside = Decoder.hidden

    def counted(self, ids, **given):
        if torch.is_grad_enabled():
            calls.append(tuple(ids.shape))
        return inside(self, ids, **given)

    monkeypatch.setattr(Decoder, "hidden", counted)
    run.learn()
    assert len(calls) == 2


def test_two_updates_can_clip(tmp_path):
    """S-D4: the second update on one batch is off-policy; its ratio leaves 1 and clipping shows."""
    run = Run(tmp_path, updates=2, lr=0.1, steps=2).learn()
    steps = rows.read_all(run.folder / STEPS, RlStep)
    assert max(row.ratio_max or 0 for row in steps) > 1.2
    assert max(row.clip_fraction or 0 for row in steps) > 0


def test_the_reference_stands_still(tmp_path):
    """S-D5: unchanged to the bit after 20 updates, while the policy has moved."""
    run = Run(tmp_path, steps=20).learn()
    assert run.reference is not None
    start = world.model().model.state_dict()
    assert all(torch.equal(x, start[name]) for name, x in run.reference.state_dict().items())
    assert not all(torch.equal(x, start[name]) for name, x in run.weights().items())


def test_without_a_reference_there_is_no_kl(tmp_path):
    """S-D5: none loads nothing, and kl is unknown, not 0."""
    run = Run(tmp_path, kl=None, steps=2).learn()
    assert {told.get("kl") for told in run.told if told["step"]} == {None}
    metrics = tell.metrics(rows.read_all(run.folder / STEPS, RlStep), [], select_best=False)
    assert metrics["kl_start"].value is None and metrics["val_gain"].value is None


@pytest.mark.parametrize("place", ["reward", "loss"])
def test_the_other_places_of_kl_train(tmp_path, place):
    """S-D5: KL in the reward and in the loss run, are 0 at the start, and leave p binary."""
    run = Run(tmp_path, kl=choices.Copy(beta=0.3, estimator="k2", place=place), steps=3).learn()
    steps = rows.read_all(run.folder / STEPS, RlStep)
    assert steps[0].kl == pytest.approx(0, abs=1e-9)
    assert {row.p for row in rows.read(run.folder / ROLLOUTS, Rollout)} <= {0.0, 0.25, 0.5, 0.75, 1.0}


class Killed(Exception):
    """Stands for kill -9."""


@pytest.mark.parametrize("at", [1, 3, 5])
@pytest.mark.parametrize("every", [1, 2])
def test_a_killed_run_goes_on_as_if_it_had_not_been(tmp_path, at, every):
    """S-A7: weights, steps, rollouts and validations are equal to the bit, wherever the kill comes."""
    changes = {"best": True, "zero": choices.Resample(max=1), "every": every}
    whole = Run(tmp_path / "whole", **changes).learn()

    def emit(**numbers: Any) -> None:
        if numbers["step"] == at:
            raise Killed

    with pytest.raises(Killed):
        Run(tmp_path / "cut", emit=emit, **changes).learn()
    resumed = Run(tmp_path / "cut", **changes).learn()
    assert resumed.told[0]["step"] == (at - 1) // every * every + (at > every)
    assert same_weights(resumed, whole)
    assert resumed.bytes() == whole.bytes()
    assert resumed.chosen == whole.chosen
    assert resumed.learner.clock.tokens == whole.learner.clock.tokens, "rates are over all resumes"


@pytest.mark.parametrize("by", ["emit", "spend"])
@pytest.mark.parametrize("at", [1, 3, 6])
def test_a_budget_stops_between_two_steps_and_loses_none(tmp_path, by, at):
    """The time is over after step `at` is told, or its tokens are one too many before it is learned."""
    changes = {"best": True, "every": 1000}
    whole = Run(tmp_path / "whole", **changes).learn()
    cut = Run(tmp_path / "cut", **changes)

    def emit(**numbers: Any) -> None:
        if numbers["step"] == at:
            raise BudgetReached("now")

    def spend(tokens: int) -> None:
        cut.spent += 1
        if cut.spent == at:
            raise BudgetReached("now")

    hooks = replace(cut.learner.hooks, **({"emit": emit} if by == "emit" else {"spend": spend}))
    with pytest.raises(BudgetReached):
        replace(cut.learner, hooks=hooks).learn()
    resumed = Run(tmp_path / "cut", **changes).learn()
    steps = [told["step"] for told in resumed.told if told["step"]]
    assert steps == list(range(at + 1 if by == "emit" else at, 7))
    assert same_weights(resumed, whole) and resumed.bytes() == whole.bytes() and resumed.chosen == whole.chosen
    assert resumed.learner.clock.tokens == whole.learner.clock.tokens


def test_tokens_are_counted_as_they_are_spent(plain):
    """S-A13: what is spent is what was generated; rates are measured apart from every file."""
    steps = rows.read_all(plain.folder / STEPS, RlStep)
    assert plain.spent == sum(row.generated_tokens for row in steps) > 0
    measured = plain.learner.clock.measured()
    assert measured.keys() >= {"generate_s", "train_s", "validate_s", "generate_tokens_per_s", "train_tokens_per_s"}


def test_equal_runs_write_equal_bytes(plain, tmp_path):
    """S-D11: nothing in a file depends on when or where it was made."""
    again = Run(tmp_path).learn()
    assert again.bytes() == plain.bytes() and same_weights(again, plain)
    with gzip.open(tmp_path / ROLLOUTS) as lines:
        assert sum(1 for _ in lines) == 96


def test_validations_are_paired(tmp_path):
    """S-D10: with a rate of 0 every validation is the same draw for draw."""
    run = Run(tmp_path, lr=0.0).learn()
    by_step: dict[int | None, list[Score]] = {}
    for row in rows.read(run.folder / VALIDATION, Score):
        by_step.setdefault(row.step, []).append(row.model_copy(update={"step": None}))
    assert by_step[0] == by_step[4] == by_step[6]


def test_it_learns_and_says_so(tmp_path):
    """S-E2 in small: a reward that half of the answers earn is earned by most after 40 steps."""
    run = Run(tmp_path, steps=40, prompts=8, lr=1e-2).learn()
    metrics = tell.metrics(
        rows.read_all(run.folder / STEPS, RlStep), rows.read(run.folder / VALIDATION, Score), select_best=False
    )
    gain = metrics["val_gain"]
    assert gain.low is not None and gain.low > 0.1
    assert metrics["truncated"].n == 10 * 8 * 4 and metrics["zero_variance"].n == 10 * 8


def test_best_val_keeps_the_best_and_the_earliest_of_equals(tmp_path):
    """§2.7: select = best_val leaves the weights of the best validation, as its rows say."""
    run = Run(tmp_path, lr=0.0, best=True).learn()
    assert run.chosen == 0
    good = Run(tmp_path / "good", steps=12, lr=1e-2, best=True).learn()
    scores = rows.read_all(good.folder / VALIDATION, Score)
    by_step = {step: [row for row in scores if row.step == step] for step in {row.step or 0 for row in scores}}
    assert good.chosen == validate.best(by_step)
    sat = validate.sit(good.loaded, good.method.exam, good.chosen)
    assert sat == by_step[good.chosen]


def never(problem, text):
    return Grade(correct=False, outcome="wrong", answer=None)


def test_flat_groups_are_dropped_kept_or_replaced(tmp_path):
    """Groups that teach nothing: out of the loss, in its means, or replaced by the next prompts; always counted."""
    runs = {
        type(zero).__name__: Run(tmp_path / type(zero).__name__, zero=zero, steps=4).learn()
        for zero in (choices.Drop(), choices.Keep(), choices.Resample(max=3))
    }
    steps = {name: rows.read_all(run.folder / STEPS, RlStep) for name, run in runs.items()}
    assert all(row.trained == 4 for row in steps["Keep"])
    assert all(row.trained == row.groups - row.flat for row in steps["Drop"])
    assert any(row.flat for row in steps["Drop"])
    assert any(row.groups > 4 for row in steps["Resample"])
    assert all(row.trained == row.groups - row.flat for row in steps["Resample"])


def test_a_step_that_teaches_nothing_moves_nothing(tmp_path):
    """S-D2: where every group is flat no weight moves, and loss and KL are unknown."""
    run = Run(tmp_path, steps=2)
    silent = deepcopy(run.method)
    object.__setattr__(silent.drawing, "grading", world.By(never))
    run.learner.method = silent
    run.learn()
    start = world.model().model.state_dict()
    assert all(torch.equal(x, start[name]) for name, x in run.weights().items())
    told = run.told[-1]
    assert told["loss"] is None and told["kl"] is None and told["grad_norm"] is None and told["trained"] == 0


def test_a_loss_that_is_not_a_number_stops_before_the_step(tmp_path):
    """S-A8: StageFailed (7) names the step; no weight has moved."""
    run = Run(tmp_path, steps=2)
    assert run.reference is not None
    with torch.no_grad():
        run.reference.model.norm.weight.fill_(float("nan"))
    with pytest.raises(StageFailed, match="step 1"):
        run.learn()
    start = world.model().model.state_dict()
    assert all(torch.equal(x, start[name]) for name, x in run.weights().items())


def test_a_share_of_the_rollouts_is_kept_by_group(tmp_path):
    """§2.7: the knob keeps whole groups, the same ones each time."""
    run = Run(tmp_path, steps=4, keep=0.4).learn()
    kept = rows.read_all(run.folder / ROLLOUTS, Rollout)
    assert 0 < len(kept) < 4 * 4 * 4 and len(kept) % 4 == 0


def test_a_validation_that_nobody_could_grade_is_sat_again(tmp_path):
    """S-D14: the sandbox of one bad hour stops a run, and does not stop the next attempt."""

    def lost(*_: object) -> Grade:
        return Grade(correct=False, outcome="sandbox_error", answer=None, decided=False)

    bad = Run(tmp_path)
    exam = bad.method.exam
    assert exam is not None
    bad.learner.method = replace(bad.method, exam=replace(exam, grading=world.By(lost)))
    with pytest.raises(StageFailed, match="could be graded"):
        bad.learn()
    assert Run(tmp_path).learn().chosen == 6
