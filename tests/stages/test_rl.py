"""The kind `rl`: what it refuses, what it writes, what its gates judge."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

import posttrain
import rl_world as world
import support
from posttrain import stages
from posttrain.data import rows
from posttrain.data.records import Problem, RlStep, Rollout, Score
from posttrain.models.load import save
from posttrain.runners.judging import grading
from posttrain.spec.errors import Mismatch, UsageError
from posttrain.spec.stage import Foreseen
from posttrain.stages import rl
from posttrain.train.rl import choices

SMALL: dict[str, Any] = {
    "steps": 2,
    "prompts": 4,
    "group": 4,
    "max_seq_length": 56,
    "max_prompt_length": 50,
    "lr": 1e-3,
    "eval_every": 1,
    "eval_samples": 2,
    "zero_variance": "keep",
    "keep_rollouts": 1.0,
}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> dict[str, tuple[Any, ...]]:
    root = tmp_path_factory.mktemp("inputs")
    world.folder(root / "base")
    made = []
    for domain in ("algebra", "geometry"):
        val = world.problems(5, domain, start=50)
        made.append(world.write(root / domain, train=world.problems(20, domain), val=val))
    data = tuple(support.artifact(f, "data", axes={"domain": f.name}) for f in made)
    return {"model": (support.artifact(root / "base", "model"),), "data": data}


def context(tmp_path: Path, inputs, **knobs: Any) -> support.FolderContext:
    return support.FolderContext(tmp_path, rl.Knobs(**(SMALL | knobs)), inputs)


def foreseen(*domains: str) -> tuple[Foreseen, ...]:
    return tuple(Foreseen(f"prepare/{d}", "prepare", {}, {"domain": d}) for d in domains)


def test_a_run_writes_a_model_and_what_tells_of_it(tmp_path, inputs):
    """S-D11, S-D15: weights, steps, validations and rollouts; prompts of every domain; the metrics of the gates."""
    ctx = context(tmp_path, inputs)
    found = rl.run(ctx).metrics
    names = {path.name for path in ctx.out.iterdir()}
    assert names >= {"config.json", "model.safetensors", "rl.jsonl", "val.jsonl", "rollouts.jsonl.gz"}
    assert [told["step"] for told in ctx.steps] == [0, 1, 2]
    steps = rows.read_all(ctx.out / "rl.jsonl", RlStep)
    assert all(row.prompts == {"algebra": 2, "geometry": 2} for row in steps)
    assert len(rows.read_all(ctx.out / "val.jsonl", Score)) == 3 * 10 * 2
    assert len(rows.read_all(ctx.out / "rollouts.jsonl.gz", Rollout)) == 2 * 4 * 4
    gates = rl.gates(ctx.knobs, frozenset({"model", "data"}))
    assert {gate.metric for gate in gates.values()} <= found.keys()
    assert found["damages"].value == 0
    assert found["kl_start"].value == 0 and found["logprob_gap"].value < 1e-5
    assert (found["val_gain"].n, found["zero_variance"].n, found["truncated"].n) == (10, 4, 16)


def test_two_runs_write_the_same_bytes(tmp_path, inputs):
    """S-D11: equal inputs and seed, equal digests; the inputs are left as they were."""
    before = [support.folder_digest(a.path) for role in inputs.values() for a in role]
    digests = set()
    for name in ("a", "b"):
        ctx = context(tmp_path / name, inputs)
        rl.run(ctx)
        digests.add(support.folder_digest(ctx.out))
    assert len(digests) == 1
    assert [support.folder_digest(a.path) for role in inputs.values() for a in role] == before


def stage_in_a_process(root: str, base: str, data: str, length: int) -> str:
    """One run, with its own window and data; the digest of what it made."""
    given = {"model": (support.artifact(Path(base), "model"),), "data": (support.artifact(Path(data), "data"),)}
    ctx = context(Path(root), given, max_seq_length=length, steps=1)
    rl.run(ctx)
    return support.folder_digest(ctx.out)


def test_runs_side_by_side_are_those_alone_and_leave_the_code_alone(tmp_path, inputs):
    """S-A4: two runs at once, other windows and data, make what each makes alone; no byte of the package changes."""
    code = {path: path.read_bytes() for path in Path(posttrain.__file__).parent.rglob("*.py")}
    base = str(inputs["model"][0].path)
    runs = [(base, str(data.path), length) for data, length in zip(inputs["data"], (56, 60), strict=True)]
    alone = [stage_in_a_process(str(tmp_path / f"alone-{i}"), *run) for i, run in enumerate(runs)]
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        beside = [pool.submit(stage_in_a_process, str(tmp_path / f"beside-{i}"), *run) for i, run in enumerate(runs)]
        assert [made.result() for made in beside] == alone
    assert alone[0] != alone[1]
    assert {path: path.read_bytes() for path in Path(posttrain.__file__).parent.rglob("*.py")} == code


def test_metrics_are_functions_of_the_folder(tmp_path, inputs):
    ctx = context(tmp_path, inputs)
    found = rl.run(ctx).metrics
    assert rl.measure(support.artifact(ctx.out, "model"), ctx.knobs) == found


def test_a_model_that_never_ends_reaches_exactly_the_cap(tmp_path, inputs):
    """S-A3: responses are cut at max_seq_length - max_prompt_length, not a token earlier or later."""
    loaded = world.model()
    save(replace(loaded, generation={"eos_token_id": 1}), tmp_path / "endless")
    given = inputs | {"model": (support.artifact(tmp_path / "endless", "model"),)}
    for length in (57, 61):
        ctx = context(tmp_path / str(length), given, max_seq_length=length)
        found = rl.run(ctx).metrics
        lengths = {len(row.ids) for row in rows.read(ctx.out / "rollouts.jsonl.gz", Rollout) if row.finish == "length"}
        assert lengths == {length - 50}
        assert found["truncated"].value > 0.9


def test_one_file_of_problems_is_enough(tmp_path, inputs):
    """S-A4, S-D15: train and val are knobs; a single file of mixed domains works without the role data."""
    mixed = world.problems(8) + world.problems(8, "geometry")
    rows.write(tmp_path / "mixed.jsonl", mixed)
    ctx = context(tmp_path, {"model": inputs["model"]}, train=tmp_path / "mixed.jsonl", val=tmp_path / "mixed.jsonl")
    found = rl.run(ctx).metrics
    assert rows.read_all(ctx.out / "rl.jsonl", RlStep)[0].prompts == {"algebra": 2, "geometry": 2}
    assert found["val_gain"].n == 16


def test_domains_are_a_choice(tmp_path, inputs):
    """S-D15: only the named domains are drawn from and validated on."""
    ctx = context(tmp_path, inputs, domains=("geometry",), steps=1)
    rl.run(ctx)
    assert rows.read_all(ctx.out / "rl.jsonl", RlStep)[0].prompts == {"geometry": 4}
    assert {row.domain for row in rows.read(ctx.out / "val.jsonl", Score)} == {"geometry"}


def test_another_reference_is_held_to_and_not_judged_as_the_start(tmp_path, inputs):
    """S-D5: the role reference fixes another model; its distance at the start is not a defect."""
    world.folder(tmp_path / "other", seed=1)
    given = inputs | {"reference": (support.artifact(tmp_path / "other", "model"),)}
    ctx = context(tmp_path, given, steps=1)
    assert rl.run(ctx).metrics["kl_start"].value > 1e-5
    assert rl.gates(ctx.knobs, frozenset({"model", "data", "reference"}))["anchored"].off
    assert rl.gates(rl.Knobs(reference="none"), frozenset({"model", "data"}))["anchored"].off
    assert not rl.gates(rl.Knobs(), frozenset({"model", "data"}))["anchored"].off


def test_a_window_beyond_the_model_is_refused(tmp_path, inputs):
    with pytest.raises(UsageError, match="128 positions") as refused:
        rl.run(context(tmp_path, inputs, max_seq_length=129))
    assert refused.value.code == 2


def test_fewer_problems_than_a_step_asks(tmp_path, inputs):
    with pytest.raises(Mismatch, match="40 problems are left") as refused:
        rl.run(context(tmp_path, inputs, prompts=41))
    assert refused.value.code == 6


def test_what_is_dropped_is_noted(tmp_path, inputs):
    problems = world.problems(30)
    problems[0] = problems[0].model_copy(update={"prompt": "what " * 60})
    problems[1] = problems[1].model_copy(update={"answer": " "})
    data = support.artifact(world.write(tmp_path / "data", train=problems, val=world.problems(3, start=80)), "data")
    ctx = context(tmp_path, inputs | {"data": (data,)}, steps=1)
    rl.run(ctx)
    assert ("dropped", "train: prompts over 50 tokens", 1) in ctx.notes
    assert ("dropped", "train: golds that fail their own grader", 1) in ctx.notes


def test_a_domain_without_problems_is_refused(tmp_path, inputs):
    """S-A9: before any training."""
    with pytest.raises(Mismatch, match="calculus"):
        rl.run(context(tmp_path, inputs, domains=("algebra", "calculus")))


@pytest.mark.parametrize(
    ("knobs", "says"),
    [
        ({"top_p": 0.9}, "nucleus"),
        ({"top_k": 5}, "nucleus"),
        ({"max_prompt_length": 56}, "leaves no token"),
        ({"group": 1}, "group = 1"),
        ({"domains": ("algebra", "code")}, "code is in none"),
    ],
)
def test_check_names_what_cannot_be(knobs, says):
    """§1.3: a nucleus in rollouts is an error of the recipe, before anything runs."""
    (only,) = rl.check(rl.Knobs(**(SMALL | knobs)), {"data": foreseen("algebra", "geometry")})
    assert says in only


def test_check_asks_for_problems_and_is_silent_otherwise():
    (only,) = rl.check(rl.Knobs(), {})
    assert "nothing to train on" in only
    assert rl.check(rl.Knobs(domains=("algebra",)), {"data": foreseen("algebra", "code")}) == ()


WISHES = {"type": "sum", "terms": [{"type": "varied", "weight": 0.2, "n": 2}, {"type": "within", "weight": -0.1}]}


@pytest.mark.parametrize(
    ("terms", "says"),
    [
        ([("varied", 0.6), ("spoken", -0.4)], "the terms weigh 1 together, as much as being right or more"),
        ([("varied", 0.1), ("varied", 0.2)], "two terms have one name"),
        ([("within", 0.0)], "the weight of within is 0"),
    ],
)
def test_a_reward_that_could_outweigh_being_right_is_refused(terms, says):
    """§2.7: before anything runs."""
    reward = {"type": "sum", "terms": [{"type": name, "weight": weight} for name, weight in terms]}
    (only,) = rl.check(rl.Knobs(**SMALL, reward=reward), {"data": foreseen("algebra")})
    assert only.startswith("reward: ") and says in only


def test_a_language_that_cannot_be_told_is_refused():
    """§2.7: a wish that no answer can meet is no wish."""
    for code, found in (("english", 1), ("de", 0)):
        reward = {"type": "sum", "terms": [{"type": "spoken", "weight": 0.1, "code": code}]}
        says = rl.check(rl.Knobs(**SMALL, reward=reward), {"data": foreseen("algebra")})
        assert len(says) == found and all("english is no language" in each and ", en, " in each for each in says)


@pytest.mark.parametrize(
    "terms",
    [
        [],
        [{"type": "loud", "weight": 0.1}],
        [{"type": "varied", "weight": 0.1, "most": 3}],
        [{"type": "within", "weight": 0.1, "least": 5, "most": 2}],
    ],
)
def test_unknown_terms_are_refused(terms):
    with pytest.raises(ValidationError):
        rl.Knobs(reward={"type": "sum", "terms": terms})


def test_terms_shape_the_reward_beside_right_or_wrong(tmp_path, inputs):
    """S-D1, S-D11: what each measured stands in rollouts and steps; p, reward and accuracy stay binary."""
    assert rl.check(rl.Knobs(**SMALL, reward=WISHES), {"data": foreseen("algebra")}) == ()
    ctx = context(tmp_path, inputs, reward=WISHES, steps=1)
    rl.run(ctx)
    kept = rows.read_all(ctx.out / "rollouts.jsonl.gz", Rollout)
    whole = [row for row in kept if row.finish == "stop"]
    assert whole and all(set(row.parts) == {"varied", "within"} for row in whole)
    for row in whole:
        wishes = 0.2 * row.parts["varied"] - 0.1 * row.parts["within"]
        assert row.reward == pytest.approx((row.outcome == "right") + wishes)
    assert all(row.parts == {} and row.reward == 0 for row in kept if row.finish == "length")
    assert {row.p for row in kept} <= {0.0, 0.25, 0.5, 0.75, 1.0}
    (step,) = rows.read_all(ctx.out / "rl.jsonl", RlStep)
    assert step.reward == sum(row.outcome == "right" for row in kept) / len(kept)
    for name in ("varied", "within"):
        assert step.parts[name] == pytest.approx(sum(row.parts[name] for row in whole) / len(whole))


@pytest.mark.parametrize(
    ("knobs", "right"),
    [
        ({}, {"\\boxed{12}"}),
        ({"reads": "anywhere"}, {"\\boxed{12}", "So.\n#### 12", "The answer is 12.", "12"}),
        ({"tolerance": 0.1}, {"\\boxed{12}", "\\boxed{12.5}"}),
    ],
)
def test_where_an_answer_stands_and_how_near_it_must_be_are_choices(tmp_path, inputs, knobs, right):
    """S-D9: knobs `reads` and `tolerance` reach the grader of the whole stage."""
    said = ["\\boxed{12}", "So.\n#### 12", "The answer is 12.", "12", "\\boxed{12.5}", "\\boxed{15}"]
    ctx = context(tmp_path, inputs, **knobs)
    with grading(ctx, maths=rl.maths_grader(ctx.knobs)) as judge:
        problems = [Problem(id="x", domain="d", prompt="p", answer="12")] * len(said)
        told = judge.grade_all(problems, said)
    assert {text for text, grade in zip(said, told, strict=True) if grade.correct} == right


def test_k1_in_the_loss_is_refused():
    """S-D5: pure noise."""
    with pytest.raises(ValidationError, match="k1 in the loss"):
        rl.Knobs(reference={"type": "copy", "estimator": "k1", "place": "loss"})


def test_defaults_are_those_of_the_specification():
    """S-A4, §1.3: what `kinds rl` shows."""
    knobs = stages.kind("rl").knobs()
    assert (knobs.sharpness, knobs.epsilon, knobs.ddof, knobs.temperature, knobs.loss) == (4, 0.2, 0, 1.0, "mgpo")
    assert (knobs.max_seq_length, knobs.prompt_length, knobs.cap) == (4096, 1024, 3072)
    assert (knobs.train, knobs.val, knobs.updates_per_rollout) == (None, None, 1)
    assert knobs.reference.model_dump() == {"type": "copy", "beta": 0.01, "estimator": "k1", "place": "advantage"}


def test_the_plan_says_tokens_and_what_the_reference_takes():
    """S-D7: the estimate follows the model back to its preset; a copy of the weights is named and counted."""
    base = Foreseen("base", "base", {"id": "tiny:base"}, {})
    fuse = Foreseen("fuse", "fuse", {}, {}, inputs={"models": (base,)})
    few = rl.Knobs(steps=2, prompts=3, group=4, max_seq_length=100)
    near = rl.estimate(few, {"model": (fuse,)})
    free = rl.estimate(few.model_copy(update={"reference": choices.NoReference()}), {"model": (fuse,)})
    assert near.tokens == 24 * 75 and near.remarks[0] == "24 rollouts of at most 75 tokens"
    assert near.memory is not None and free.memory is not None
    assert near.memory - free.memory == pytest.approx(4 * 0.85e6, rel=0.1)
    assert "second copy" in near.remarks[1] and len(free.remarks) == 1
    assert rl.estimate(few, {}).memory is None
