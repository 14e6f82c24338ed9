"""The kind fuse, on real small experts."""

import json
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from posttrain.models.load import build, load, save
from posttrain.models.presets import Vocabulary, preset
from posttrain.models.tokens import train_tokenizer
from posttrain.models.weights import stream
from posttrain.spec.errors import Mismatch, UsageError
from posttrain.spec.stage import Artifact, Foreseen
from posttrain.stages import fuse, kind
from support import FolderContext, artifact, folder_digest

TEXTS = ["Find the area of 12 and 5. \\boxed{30}\n"] * 3


def model(folder: Path, seed: int, near: Path | None = None, **config: object) -> Artifact:
    """A random smoke model, or one a small step away from another."""
    loaded = build({**preset("init:0.1m").config, **config}, train_tokenizer(TEXTS, Vocabulary(size=400)), {}, seed)
    if near is not None:
        start = dict(stream(near))
        with torch.no_grad():
            for name, parameter in loaded.model.named_parameters():
                parameter.mul_(0.05).add_(start[name])
    save(loaded, folder)
    return artifact(folder, "model", node=f"probe/{folder.name}")


@pytest.fixture
def family(tmp_path: Path) -> dict[str, tuple[Artifact, ...]]:
    base = model(tmp_path / "base", 0)
    return {
        "base": (base,),
        "models": tuple(
            model(tmp_path / name, seed, base.path) for seed, name in enumerate(("algebra", "geometry"), 1)
        ),
    }


def run(root: Path, knobs: fuse.Knobs, inputs: dict[str, tuple[Artifact, ...]]) -> FolderContext:
    ctx = FolderContext(root, knobs, inputs)
    ctx.metrics = dict(fuse.run(ctx).metrics)  # pyright: ignore[reportAttributeAccessIssue]
    return ctx


def foreseen(inputs: dict[str, tuple[Artifact, ...]]) -> dict[str, tuple[Foreseen, ...]]:
    return {role: tuple(Foreseen(one.node, "sft", {}, {}, one) for one in given) for role, given in inputs.items()}


def test_the_mean_of_two_experts(tmp_path: Path, family: dict[str, tuple[Artifact, ...]]) -> None:
    """S-C8, S-C10: shares, distances, ulp gap and damages are metrics of the artifact, which loads."""
    ctx = run(tmp_path / "run", fuse.Knobs(), family)
    metrics = ctx.metrics  # pyright: ignore[reportAttributeAccessIssue]
    assert metrics["damages"].value == 0
    assert metrics["ulp_gap"].value <= 1
    assert metrics["experts"].value == 2
    assert metrics["share/probe/algebra"].value == metrics["share/probe/geometry"].value == 0.5
    assert 0 < metrics["distance/probe/algebra"].value <= metrics["distance"].value < 0.1
    assert fuse.measure(artifact(ctx.out, "model"), ctx.knobs) == metrics
    one, two = (dict(stream(expert.path)) for expert in family["models"])
    for name, tensor in stream(ctx.out):
        torch.testing.assert_close(tensor, (one[name] + two[name]) / 2, rtol=1e-6, atol=1e-9)
    assert load(ctx.out).precision == "fp32"
    assert ctx.notes == []


def test_weighted_and_task_arithmetic(tmp_path: Path, family: dict[str, tuple[Artifact, ...]]) -> None:
    """S-C9: weighted linear and base + scale · Σ(expert - base), by a knob."""
    weighted = fuse.Knobs.model_validate({"method": {"type": "linear", "shares": [0.25, 0.75]}})
    added = fuse.Knobs.model_validate({"method": {"type": "task_arithmetic", "scale": 0.7}})
    base, one, two = (dict(stream(a.path)) for a in (*family["base"], *family["models"]))
    for knobs, expected in (
        (weighted, lambda name: 0.25 * one[name] + 0.75 * two[name]),
        (added, lambda name: base[name] + 0.7 * (one[name] + two[name] - 2 * base[name])),
    ):
        ctx = run(tmp_path / knobs.method.type, knobs, family)
        for name, tensor in stream(ctx.out):
            torch.testing.assert_close(tensor, expected(name), rtol=1e-5, atol=1e-7)
        metrics = ctx.metrics  # pyright: ignore[reportAttributeAccessIssue]
        assert metrics["experts"].value == 2
        assert metrics["ulp_gap"].value <= 1
    assert metrics["share/probe/base"].value == pytest.approx(-0.4)


def test_equal_inputs_give_equal_bytes(tmp_path: Path, family: dict[str, tuple[Artifact, ...]]) -> None:
    one, two = (run(tmp_path / name, fuse.Knobs(), family) for name in ("one", "two"))
    assert folder_digest(one.out) == folder_digest(two.out)
    assert str(tmp_path) not in (one.out / fuse.REPORT).read_text()


def test_a_checkpoint_chosen_twice_counts_twice(tmp_path: Path, family: dict[str, tuple[Artifact, ...]]) -> None:
    one, two = family["models"]
    again = artifact(one.path, "model", node="probe/statistics")
    ctx = run(tmp_path / "run", fuse.Knobs(), {"models": (one, two, again)})
    first, second = dict(stream(one.path)), dict(stream(two.path))
    for name, tensor in stream(ctx.out):
        torch.testing.assert_close(tensor, (2 * first[name] + second[name]) / 3, rtol=1e-6, atol=1e-8)


def test_a_format_may_be_asked_for(tmp_path: Path, family: dict[str, tuple[Artifact, ...]]) -> None:
    ctx = run(tmp_path / "run", fuse.Knobs(dtype="bf16"), family)
    assert {tensor.dtype for _, tensor in stream(ctx.out)} == {torch.bfloat16}
    assert ctx.metrics["ulp_gap"].value <= 1  # pyright: ignore[reportAttributeAccessIssue]


def test_experts_of_another_shape_are_a_mismatch_that_names_nodes(
    tmp_path: Path, family: dict[str, tuple[Artifact, ...]]
) -> None:
    """S-C8: mismatches are errors (exit 6) naming pair and tensor, and nothing is written."""
    wide = model(tmp_path / "wide", 5, intermediate_size=96)
    with pytest.raises(Mismatch, match=r"probe/algebra and probe/wide.*layers\.0\.mlp\.down_proj") as raised:
        run(tmp_path / "run", fuse.Knobs(), {"models": (family["models"][0], wide)})
    assert raised.value.code == 6
    assert not list((tmp_path / "run" / "out").iterdir())
    with pytest.raises(Mismatch, match="probe/wide and probe/algebra"):
        run(tmp_path / "again", fuse.Knobs(), {"base": (wide,), "models": family["models"]})


def test_strangers_are_remarked(tmp_path: Path) -> None:
    strangers = tuple(model(tmp_path / name, seed) for seed, name in enumerate("ab", 10))
    assert [note[0] for note in run(tmp_path / "run", fuse.Knobs(), {"models": strangers}).notes] == ["far_apart"]


def test_a_wrong_share_is_caught_by_the_gate(
    tmp_path: Path, family: dict[str, tuple[Artifact, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gate averaged: weights made with other shares than those recorded."""
    from posttrain.models import weights

    true = weights.merge

    def skewed(sources: object, shares: tuple[float, ...], *args: object, **more: object) -> object:
        return true(sources, (shares[0] + 1e-4, shares[1] - 1e-4), *args, **more)  # pyright: ignore

    monkeypatch.setattr(weights, "merge", skewed)
    ctx = run(tmp_path / "run", fuse.Knobs(), family)
    assert ctx.metrics["ulp_gap"].value > 1  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("shares", [(-0.5, 1.5), (0.5, 0.6), (float("nan"), 1.0)])
def test_bad_shares_are_refused(shares: tuple[float, ...]) -> None:
    """S-C8: bad shares are errors (2)."""
    with pytest.raises(ValidationError, match="shares"):
        fuse.Linear(shares=shares)


def test_what_does_not_fit_the_inputs_is_refused(tmp_path: Path, family: dict[str, tuple[Artifact, ...]]) -> None:
    three = fuse.Knobs(method=fuse.Linear(shares=(0.2, 0.3, 0.5)))
    assert fuse.check(three, foreseen(family)) == ("method.shares: 3 shares for 2 experts",)
    with pytest.raises(UsageError, match="3 shares"):
        run(tmp_path / "run", three, family)
    added = fuse.Knobs(method=fuse.TaskArithmetic())
    assert "base" in fuse.check(added, foreseen({"models": family["models"]}))[0]
    assert fuse.check(added, foreseen(family)) == fuse.check(fuse.Knobs(), foreseen(family)) == ()


def test_methods_that_are_not_there_are_not_offered() -> None:
    """ties, dare and slerp come later; until then they are unknown."""
    for method in ("ties", "dare", "slerp", "slurp"):
        with pytest.raises(ValidationError, match="linear"):
            fuse.Knobs.model_validate({"method": method})


def test_the_kind_is_read_without_torch_and_estimates_disk(family: dict[str, tuple[Artifact, ...]]) -> None:
    fused = kind("fuse")
    assert (fused.makes, set(fused.roles)) == ("model", {"models", "base"})
    assert set(fused.gates(fuse.Knobs(), frozenset({"models"}))) == {"sound", "averaged"}
    size = (family["base"][0].path / "model.safetensors").stat().st_size
    assert fused.estimate(fuse.Knobs(), foreseen(family)).disk == size
    assert fused.estimate(fuse.Knobs(), {}).disk is None


def test_the_record_names_nodes_and_shares(tmp_path: Path, family: dict[str, tuple[Artifact, ...]]) -> None:
    told = json.loads((run(tmp_path / "run", fuse.Knobs(), family).out / fuse.REPORT).read_text())
    assert [part["node"] for part in told["parts"]] == ["probe/algebra", "probe/geometry"]
    assert [part["share"] for part in told["parts"]] == [0.5, 0.5]
