"""The training loop: schedule, accumulation, clipping, the stop at a number that is none, kept state."""

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from posttrain.spec.errors import BudgetReached, StageFailed
from posttrain.train import loop, optim, state


class Net(nn.Module):
    """A little model with an embedding, hidden matrices and vectors: every group an optimiser tells apart."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.embed = nn.Embedding(7, 8)
        self.hidden = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 4))
        source = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for p in self.parameters():
                p.copy_(torch.randn(p.shape, generator=source) * 0.3)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.hidden(self.embed(ids))


def parts_of(model: Net, cuts: int = 1):
    """Parts of step s: a batch that depends on s alone, in `cuts` micro-batches."""

    def parts(step: int) -> list[loop.Part]:
        source = torch.Generator().manual_seed(step)
        ids, gold = torch.randint(7, (12,), generator=source), torch.randn(12, 4, generator=source)
        return [lambda i=i: (model(ids[i::cuts]) - gold[i::cuts]).square().sum() / 12 for i in range(cuts)]

    return parts


def weights(model: nn.Module) -> list[torch.Tensor]:
    return [p.detach().clone() for p in model.parameters()]


def same(left: nn.Module, right: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(left.parameters(), right.parameters(), strict=True))


COURSE = loop.Course(steps=9, lr=0.01, min_lr=0.001, warmup=0.3, shape="linear")


@pytest.mark.parametrize(
    ("step", "shape", "expected"),
    [
        (0, "cosine", 0.2), (4, "cosine", 1.0), (5, "cosine", 1.0), (15, "cosine", 0.55), (15, "linear", 0.55),
        (24, "linear", 0.145), (24, "constant", 1.0),
    ],
)  # fmt: skip
def test_schedule(step: int, shape: loop.Shape, expected: float):
    got = loop.schedule(step, steps=25, lr=1.0, min_lr=0.1, warmup=0.2, shape=shape)
    assert got == pytest.approx(expected)


@pytest.mark.parametrize("shape", ["cosine", "linear", "constant"])
def test_schedule_stays_between_its_bounds(shape: loop.Shape):
    rates = [loop.schedule(s, steps=40, lr=3.0, min_lr=0.5, warmup=0.0, shape=shape) for s in range(40)]
    assert rates[0] == 3.0 and min(rates) >= 0.5
    assert rates == sorted(rates, reverse=True)


def test_accumulated_parts_are_the_whole_batch():
    """S-D12: n x 1 equals 1 x n: loss and gradient norm to 1e-6."""
    reports, models = [], []
    for cuts in (1, 3, 12):
        model = Net()
        reports.append(loop.update(model, optim.adamw(model), parts_of(model, cuts)(0), clip=1e9, step=1))
        models.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    for report, gradient in zip(reports[1:], models[1:], strict=True):
        assert report.loss == pytest.approx(reports[0].loss, abs=1e-6)
        assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(gradient, models[0], strict=True))
    assert [r.parts for r in reports] == [1, 3, 12]


def test_norm_is_read_before_clipping():
    model = Net()
    report = loop.update(model, optim.adamw(model), parts_of(model)(0), clip=1e-3, step=1)
    after = math.sqrt(sum(p.grad.square().sum().item() for p in model.parameters() if p.grad is not None))
    assert report.grad_norm > 0.1
    assert after == pytest.approx(1e-3, rel=1e-2)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_stops_before_the_step(bad: float):
    """S-A8: NaN or Inf stops before the optimiser step, with exit code 7 and the step's number."""
    model = Net()
    optimiser = optim.adamw(model)
    optimiser.set_lr(0.1)
    before = weights(model)
    parts = [lambda: model(torch.tensor([1])).sum() * bad]
    with pytest.raises(StageFailed, match=r"step 3: the loss") as caught:
        loop.update(model, optimiser, parts, clip=1.0, step=3)
    assert caught.value.code == 7
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert optimiser.tensors() == {}


def test_a_gradient_that_is_no_number_stops_before_the_step():
    """S-A8: a finite loss with an infinite gradient is refused too."""
    model = Net()
    optimiser = optim.adamw(model)
    before = weights(model)
    with pytest.raises(StageFailed, match="gradient norm"):
        loop.update(
            model, optimiser, [lambda: model.embed.weight[0].sub(model.embed.weight[0]).sqrt().sum()], clip=1.0, step=1
        )
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


class Killed(Exception):
    """Stands for kill -9 between two steps."""


def run(
    folder: Path, kind: str, *, stop: int | None = None, every: int = 2, by: type[Exception] = Killed
) -> tuple[Net, list[float]]:
    model = Net()
    optimiser = optim.adamw(model, weight_decay=0.1) if kind == "adamw" else optim.muon(model, times=3.0)
    losses: list[float] = []

    def after(done: int, report: loop.StepReport) -> None:
        losses.append(report.loss)
        if done == stop:
            raise by("now")

    keeper = state.Keeper(folder, every=every)
    start = keeper.restore(model, optimiser)
    loop.train(model, optimiser, parts_of(model, 2), COURSE, start=start, keeper=keeper, after=after)
    return model, losses


@pytest.mark.parametrize("kind", ["adamw", "muon"])
@pytest.mark.parametrize("stop", [1, 2, 3, 6, 8, 9])
def test_a_killed_run_resumes_bit_for_bit(tmp_path: Path, kind: str, stop: int):
    """S-A7: killed after any step, the same call ends with the same weights and the same losses."""
    whole, losses = run(tmp_path / "whole", kind)
    with pytest.raises(Killed):
        run(tmp_path / "cut", kind, stop=stop)
    resumed, rest = run(tmp_path / "cut", kind)
    assert same(whole, resumed)
    assert rest == losses[-len(rest) :]
    assert len(rest) == 9 - 2 * ((stop - 1) // 2)


@pytest.mark.parametrize("stop", [1, 4, 9])
def test_a_budget_stops_after_a_step_and_loses_none(tmp_path: Path, stop: int):
    """However seldom the state is kept otherwise, it is kept where a budget stops the loop."""
    whole, losses = run(tmp_path / "whole", "adamw")
    with pytest.raises(BudgetReached):
        run(tmp_path / "cut", "adamw", stop=stop, every=1000, by=BudgetReached)
    resumed, rest = run(tmp_path / "cut", "adamw")
    assert same(whole, resumed) and rest == losses[stop:]


def test_a_finished_run_does_nothing_again(tmp_path: Path):
    whole, _ = run(tmp_path, "adamw")
    again, losses = run(tmp_path, "adamw")
    assert losses == []
    assert same(whole, again)


def test_the_optimiser_learns():
    for kind in ("adamw", "muon"):
        model = Net()
        optimiser = optim.adamw(model) if kind == "adamw" else optim.muon(model, times=1.0)
        optimiser.set_lr(0.02)
        one = parts_of(model)(0)
        losses = [loop.update(model, optimiser, one, clip=1.0, step=s).loss for s in range(60)]
        assert losses[-1] < 0.5 * losses[0], kind
