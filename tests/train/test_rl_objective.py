"""The loss of a step on a real small model: against a loop, and the same however it is cut or padded."""

import math
from copy import deepcopy
from dataclasses import replace

import pytest
import torch

import rl_world as world
from posttrain.algos import policy
from posttrain.models.kernels import attention
from posttrain.train.rl import choices, objective
from posttrain.train.rl.objective import Objective
from posttrain.train.rl.pieces import SHARED, Response, pieces

TEMPERATURE = 0.8
CPU = torch.device("cpu")


VOCABULARY = len(world.tokenizer())


def precise(seed: int = 0):
    """A small model in float64."""
    model = world.model(seed).model.double()
    model.compute = torch.float64
    return model


@pytest.fixture(scope="module")
def model():
    return precise()


def responses(form: policy.Form = "mgpo", *, noise: float = 0.2) -> list[Response]:
    """Nine responses of 1 to 6 tokens to three prompts, with off-policy log-probabilities."""
    draw = torch.Generator().manual_seed(3)
    sizes = [(4 + i % 3, 1 + i % 6) for i in range(9)]
    shares = policy.token_share(torch.tensor([n for _, n in sizes]), form=form, cap=8).tolist()

    def ids(n: int) -> tuple[int, ...]:
        return tuple(torch.randint(2, VOCABULARY, (n,), generator=draw).tolist())

    made: list[Response] = []
    prompts = [ids(4 + i) for i in range(3)]
    for number, (before, after) in enumerate(sizes):
        old = (-math.log(VOCABULARY) + noise * torch.randn(after, generator=draw)).tolist()
        made.append(Response(prompts[before - 4], ids(after), tuple(old), 1.0 - 0.3 * number, shares[number]))
    return made


def how(kl: choices.Copy | None = None, form: policy.Form = "mgpo") -> Objective:
    return Objective(form=form, epsilon=0.2, epsilon_high=None, temperature=TEMPERATURE, kl=kl)


def loss_and_gradient(model, rows, what, *, max_tokens=10**6, shared=SHARED, reference=None):
    cut = pieces(rows, max_tokens=max_tokens, device=CPU, shared=shared)
    fixed = [objective.fixed_logprobs(reference, p, temperature=TEMPERATURE) for p in cut] if reference else None
    tally = objective.Tally()
    model.zero_grad()
    total = 0.0
    for part in objective.parts(model, cut, what, reference=fixed, tally=tally):
        value = part()
        value.backward()
        total += value.item()
    return total, torch.cat([p.grad.flatten() for p in model.parameters()]), tally


def by_hand(model, rows, *, beta=0.0, reference=None):
    """-J, a response and a token at a time, in Python floats."""
    total = 0.0
    for row in rows:
        ids = torch.tensor([[*row.prompt_ids, *row.ids]])
        start = len(row.prompt_ids) - 1
        logp = (model(ids)[0] / TEMPERATURE).log_softmax(-1)
        ref = (reference(ids)[0] / TEMPERATURE).log_softmax(-1) if reference else logp
        for i, token in enumerate(row.ids):
            now = logp[start + i, token].item()
            a = row.advantage - beta * (now - ref[start + i, token].item())
            ratio = math.exp(now - row.logprobs[i])
            total -= row.share * min(ratio * a, min(max(ratio, 0.8), 1.2) * a)
    return total


@pytest.mark.parametrize("form", ["mgpo", "grpo", "token_mean", "constant_length"])
def test_the_loss_is_the_loop(model, form):
    """S-D3: every form equals a loop over responses and tokens."""
    rows = responses(form)
    value, _, tally = loss_and_gradient(model, rows, how(form=form))
    assert value == pytest.approx(by_hand(model, rows), abs=1e-6)
    assert tally.tokens == sum(len(row.ids) for row in rows)


def test_k1_in_the_advantage_is_the_loop(model):
    """S-D5: β·k1 per token comes off the advantage, detached."""
    reference = precise(1)
    rows = responses()
    value, _, _ = loss_and_gradient(model, rows, how(choices.Copy(beta=0.5)), reference=reference)
    assert value == pytest.approx(by_hand(model, rows, beta=0.5, reference=reference), abs=1e-6)


@pytest.mark.parametrize(("max_tokens", "shared"), [(1, 0), (12, 0), (25, 9), (40, 256), (10**6, 0), (10**6, 12)])
def test_no_split_changes_loss_or_gradient(model, max_tokens, shared):
    """S-D3, S-D12: n micro-batches equal one, with a prompt per response or per row, in loss and gradient (1e-6)."""
    rows, what = responses(), how(choices.Copy(beta=0.5, estimator="k3", place="loss"))
    reference = precise(1)
    whole = loss_and_gradient(model, rows, what, reference=reference)
    parts = loss_and_gradient(model, rows, what, reference=reference, max_tokens=max_tokens, shared=shared)
    assert parts[0] == pytest.approx(whole[0], abs=1e-9)
    assert torch.allclose(parts[1], whole[1], atol=1e-9)
    for name in ("kl", "entropy", "logprob_gap"):
        assert parts[2].mean(name) == pytest.approx(whole[2].mean(name), abs=1e-9)


def test_the_fused_attention_sees_the_same(model, monkeypatch):
    """A shared prompt gives the same loss and gradient where attention keeps no probabilities (accelerators)."""
    rows, what = responses(), how()
    short = loss_and_gradient(model, rows, what)
    monkeypatch.setattr(attention, "SHORT", 0)
    long = loss_and_gradient(model, rows, what)
    assert long[0] == pytest.approx(short[0], abs=1e-9)
    assert torch.allclose(long[1], short[1], atol=1e-9)


@pytest.mark.parametrize("shared", [0, SHARED])
def test_what_pads_a_row_has_no_part(model, shared):
    """S-D3: other ids behind the last token change nothing, not even in the last bit."""
    (piece,) = pieces(responses(), max_tokens=10**6, device=CPU, shared=shared)
    # Id 0 stands nowhere but in padding: prompts and responses draw from 2 on.
    assert (piece.ids == 0).sum() == piece.ids.numel() - piece.tokens > 0
    other = replace(piece, ids=torch.where(piece.ids == 0, 77, piece.ids))
    before = objective.token_logprobs(model, piece, temperature=1.0)
    assert torch.equal(before, objective.token_logprobs(model, other, temperature=1.0))


@pytest.mark.parametrize("shared", [0, 12, SHARED])
def test_the_loss_sees_the_response_and_its_end_and_nothing_else(shared):
    """S-D3: the tokens scored are those sampled, the end token included, none of the prompt, each once."""
    rows = responses()
    seen: list[int] = []
    for piece in pieces(rows, max_tokens=40, device=CPU, shared=shared):
        for number in piece.of_M.unique().tolist():
            of = piece.of_M == number
            assert piece.token_M[of].tolist() == list(rows[number].ids)
            assert piece.old_M[of].tolist() == pytest.approx(rows[number].logprobs)
            read = piece.ids.flatten()[piece.at_M[of]].tolist()
            assert read == [rows[number].prompt_ids[-1], *rows[number].ids[:-1]]
            seen.append(number)
    assert sorted(seen) == list(range(9))


def test_a_prompt_is_read_once_where_rows_are_short():
    """Nine responses to three prompts stand in three rows; apart, each has its own prompt."""
    rows = responses()
    answers = sum(len(row.ids) - 1 for row in rows)
    (whole,) = pieces(rows, max_tokens=10**6, device=CPU)
    assert whole.tokens == answers + sum({len(row.prompt_ids): len(row.prompt_ids) for row in rows}.values())
    assert whole.prefix is not None and (whole.prefix > 0).sum() == 3
    apart = pieces(rows, max_tokens=32, device=CPU, shared=0)
    assert sum(piece.tokens for piece in apart) == answers + sum(len(row.prompt_ids) for row in rows)
    assert {piece.segments for piece in apart} == {None}


def test_shapes_are_few():
    """A step's micro-batches differ in few sizes: a CPU keeps a compiled kernel for each, for good."""
    draw = torch.Generator().manual_seed(0)
    shapes = set()
    for _ in range(30):
        sizes = torch.randint(1, 40, (24,), generator=draw).tolist()
        made = [Response((3,) * (9 + i % 3), (5,) * n, (-1.0,) * n, 1.0, 0.1) for i, n in enumerate(sizes)]
        shapes |= {tuple(piece.ids.shape) for piece in pieces(made, max_tokens=512, device=CPU)}
    assert len(shapes) <= 16


def test_zero_sharpness_is_grpo_to_the_bit(model):
    """S-D1: with λ = 0 the gradient of the whole model is exactly that of GRPO."""
    r = torch.tensor([[1.0, 0, 0], [1, 1, 0], [0, 0, 0]], dtype=torch.float64)
    a = policy.group_advantage(r)
    gradients = []
    for weight in (policy.mgpo_weight(policy.accuracy(r), sharpness=0.0), torch.ones(3, dtype=torch.float64)):
        advantages = (weight[:, None] * a).flatten().tolist()
        pairs = zip(responses(), advantages, strict=True)
        rows = [Response(x.prompt_ids, x.ids, x.logprobs, advantage, x.share) for x, advantage in pairs]
        gradients.append(loss_and_gradient(model, rows, how())[1])
    assert torch.equal(*gradients)


def test_a_copy_of_the_policy_is_at_no_distance(model):
    """S-D5: KL is 0 at step 0, exactly, and then β has no effect."""
    rows = responses()
    near = loss_and_gradient(model, rows, how(choices.Copy(beta=0.5)), reference=deepcopy(model))
    free = loss_and_gradient(model, rows, how())
    assert near[2].mean("kl") == 0.0
    assert torch.equal(near[1], free[1])
    assert free[2].mean("kl") is None


def test_on_policy_the_ratio_is_one_and_nothing_is_clipped(model):
    """S-D4: with log-probabilities noted under the same weights the ratio is 1 (1e-6)."""
    rows = []
    for row in responses():
        ids = torch.tensor([[*row.prompt_ids, *row.ids]])
        logp = (model(ids)[0] / TEMPERATURE).log_softmax(-1)[len(row.prompt_ids) - 1 : -1]
        old = tuple(logp[i, token].item() for i, token in enumerate(row.ids))
        rows.append(Response(row.prompt_ids, row.ids, old, row.advantage, row.share))
    _, _, tally = loss_and_gradient(model, rows, how())
    assert tally.mean("clip_fraction") == 0.0
    assert tally.ratio_max is not None and tally.ratio_max.item() == pytest.approx(1.0, abs=1e-6)
    assert tally.mean("logprob_gap") == pytest.approx(0.0, abs=1e-6)


def test_entropy_is_that_of_the_whole_distribution(model):
    rows = responses()[:1]
    ids = torch.tensor([[*rows[0].prompt_ids, *rows[0].ids]])
    logp = (model(ids)[0] / TEMPERATURE).log_softmax(-1)[len(rows[0].prompt_ids) - 1 : -1]
    expected = torch.distributions.Categorical(logits=logp).entropy().mean().item()
    assert loss_and_gradient(model, rows, how())[2].mean("entropy") == pytest.approx(expected, abs=1e-9)
