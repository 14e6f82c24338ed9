"""Values, identities and invariances of `algos.policy`, against closed forms and a float64 loop."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from posttrain.algos import policy

F64 = torch.float64
close = {"abs": 1e-6, "rel": 0}


def t(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=F64)


# --- accuracy, deviation, weight -------------------------------------------------------------------------------------


def test_accuracy_counts_reward_one_only():
    """S-D1: p stands on the binary reward."""
    r = torch.tensor([[1.0, 0, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0], [1, 1, 0, 0]])
    assert policy.accuracy(r).tolist() == [0.25, 1.0, 0.0, 0.5]


def test_deviation_vector():
    """S-D1: D(c/8)."""
    expected = [0.693147, 0.316377, 0.130812, 0.031584, 0.0]
    p = torch.arange(9, dtype=F64) / 8
    assert policy.deviation(p)[:5].tolist() == pytest.approx(expected, **close)
    assert policy.deviation(p).tolist() == pytest.approx(policy.deviation(p).flip(0).tolist(), abs=1e-15)


@pytest.mark.parametrize(
    ("sharpness", "expected"),
    [
        (1, [0.5, 0.728785, 0.877383, 0.968910, 1]),
        (2, [0.25, 0.531127, 0.769800, 0.938786, 1]),
        (4, [0.0625, 0.282096, 16 / 27, 0.881319, 1]),
        (8, [0.003906, 0.079578, 0.351166, 0.776723, 1]),
    ],
)
def test_weight_vectors_of_eighths(sharpness, expected):
    """S-D1: w(c/8)."""
    p = torch.arange(5, dtype=F64) / 8
    assert policy.mgpo_weight(p, sharpness=sharpness).tolist() == pytest.approx(expected, **close)


def test_weight_vector_of_sixteenths():
    """S-D1: w(c/16) at λ = 4."""
    expected = [0.0625, 0.159227, 0.282096, 0.430728, 0.592593, 0.749579, 0.881319, 0.969154, 1]
    p = torch.arange(9, dtype=F64) / 16
    assert policy.mgpo_weight(p, sharpness=4).tolist() == pytest.approx(expected, **close)


@pytest.mark.parametrize(("sharpness", "mean"), [(1, 0.838105), (4, 0.575491)])
def test_mean_weight_over_uniform_p(sharpness, mean):
    """S-D1: the hidden cut of the step size, p uniform on (0, 1)."""
    p = (torch.arange(200_000, dtype=F64) + 0.5) / 200_000
    assert policy.mgpo_weight(p, sharpness=sharpness).mean().item() == pytest.approx(mean, **close)


@given(st.floats(0, 1), st.floats(0, 16))
def test_weight_identities(p, sharpness):
    """S-D1: D = ln 2 - H(p); w = 2^-λ · e^(λH); w(p) = w(1 - p); λ = 0 is 1."""
    entropy = -sum(q * math.log(q) for q in (p, 1 - p) if q > 0)
    w = policy.mgpo_weight(t(p), sharpness=sharpness).item()
    assert policy.deviation(t(p)).item() == pytest.approx(math.log(2) - entropy, abs=1e-12)
    assert w == pytest.approx(2**-sharpness * math.exp(sharpness * entropy), rel=1e-10)
    assert w == pytest.approx(policy.mgpo_weight(t(1 - p), sharpness=sharpness).item(), rel=1e-9)
    assert policy.mgpo_weight(t(p), sharpness=0).item() == 1.0


@pytest.mark.parametrize(
    ("c", "g", "expected"), [(0, 4, 0.378953), (1, 4, 0.797294), (0, 8, 0.229407), (1, 8, 0.462560)]
)
def test_shrunk_accuracy_weight(c, g, expected):
    r = torch.tensor([1.0] * c + [0.0] * (g - c), dtype=F64)
    assert policy.mgpo_weight(policy.shrunk_accuracy(r), sharpness=4).item() == pytest.approx(expected, **close)


# --- advantage -------------------------------------------------------------------------------------------------------

THREE_OF_8 = (1, 1, 1, 0, 0, 0, 0, 0)


@pytest.mark.parametrize(
    ("r", "ddof", "right", "wrong"),
    [
        ((1, 0, 0, 0), 0, 1.732051, -0.577350),
        ((1, 0, 0, 0), 1, 1.5, -0.5),
        ((1, 1, 0, 0), 0, 1.0, -1.0),
        ((1, 1, 0, 0), 1, 0.866025, -0.866025),
        (THREE_OF_8, 0, 1.290994, -0.774597),
        (THREE_OF_8, 1, 1.207615, -0.724569),
    ],
)
def test_group_advantage_vectors(r, ddof, right, wrong):
    """S-D2: F6 with both deviations."""
    a = policy.group_advantage(t(*r), ddof=ddof)
    assert a.tolist() == pytest.approx([right if x else wrong for x in r], **close)


@pytest.mark.parametrize(
    ("r", "ddof", "right", "wrong"),
    [
        ((1, 0, 0, 0), 0, 1.026400, -0.342133),
        ((1, 0, 0, 0), 1, 0.888889, -0.296296),
        (THREE_OF_8, 0, 1.137778, -0.682667),
        (THREE_OF_8, 1, 1.064294, -0.638576),
    ],
)
def test_weighted_advantage_vectors(r, ddof, right, wrong):
    """S-D1, S-D2: A' = w(p) · A at λ = 4."""
    r_G = t(*r)
    a = policy.mgpo_weight(policy.accuracy(r_G), sharpness=4) * policy.group_advantage(r_G, ddof=ddof)
    assert a.tolist() == pytest.approx([right if x else wrong for x in r], **close)


@pytest.mark.parametrize("ddof", [0, 1])
@pytest.mark.parametrize("std", [True, False])
@pytest.mark.parametrize("r", [(0.0,) * 4, (1.0,) * 4, (0.1,) * 3, (0.7,), (0.0,)])
def test_no_spread_gives_exactly_zero(r, ddof, std):
    """S-D2: zero spread and G = 1 are a branch: exactly 0, never NaN, also where the mean is rounded."""
    assert policy.group_advantage(torch.tensor([r]), ddof=ddof, std=std).tolist() == [[0.0] * len(r)]


@given(st.lists(st.sampled_from([0.0, 1.0]), min_size=2, max_size=16))
def test_advantage_is_centred_and_scaled(r):
    """S-D2: mean 0 and, where there is spread, deviation 1; `std=False` only centres."""
    a = policy.group_advantage(t(*r))
    assert a.sum().item() == pytest.approx(0, abs=1e-9)
    if len(set(r)) == 2:
        assert a.square().mean().item() == pytest.approx(1, abs=1e-9)
    assert policy.group_advantage(t(*r), std=False).tolist() == pytest.approx([x - sum(r) / len(r) for x in r])


# --- shaping ---------------------------------------------------------------------------------------------------------


def test_long2short_vector():
    """F13 at λ = 0.2; the sum stays 3."""
    shaped = policy.long2short(t(1, 1, 1, 0), torch.tensor([100, 200, 400, 300]), scale=0.2)
    assert shaped.tolist() == pytest.approx([1.2, 0.96, 0.84, 0], **close)
    assert shaped.sum().item() == pytest.approx(3, abs=1e-12)


@pytest.mark.parametrize(
    ("r", "lengths"),
    [((1, 0, 0), (10, 20, 30)), ((1, 1, 0), (7, 7, 3)), ((0, 0, 0), (1, 2, 3)), ((1, 1, 1), (3, 3, 3))],
)
def test_long2short_leaves_these_alone(r, lengths):
    assert policy.long2short(t(*r), torch.tensor(lengths)).tolist() == list(r)


def test_shaped_reward_gives_an_all_correct_group_an_advantage():
    """§1.2: with shaped rewards p stays 1, so w(1) = 2^-λ acts on a non-zero advantage."""
    r = t(1, 1, 1, 1)
    shaped = policy.long2short(r, torch.tensor([10, 20, 30, 40]))
    assert policy.mgpo_weight(policy.accuracy(r), sharpness=4).item() == pytest.approx(2**-4)
    assert policy.group_advantage(shaped).abs().max() > 1


def test_overlong_penalty_falls_linearly_to_the_cap():
    lengths = torch.tensor([1, 80, 90, 100])
    assert policy.overlong_penalty(lengths, cap=100, margin=20).tolist() == pytest.approx([0, 0, -0.5, -1])


# --- the objective ---------------------------------------------------------------------------------------------------


def flat(rows, advantages, form, *, cap=99):
    """Token-wise log-ratios, advantages and shares of responses of unequal length."""
    lengths = torch.tensor([len(row) for row in rows])
    share = policy.token_share(lengths, form=form, cap=cap).to(F64)
    return (
        torch.tensor([x for row in rows for x in row], dtype=F64).log(),
        torch.as_tensor(advantages, dtype=F64).repeat_interleave(lengths),
        share.repeat_interleave(lengths),
    )


def surrogate(rows, advantages, form="mgpo", **bounds):
    logp, advantage, share = flat(rows, advantages, form, cap=bounds.pop("cap", 99))
    bounds = {"epsilon": 0.2} | bounds
    return policy.surrogate(logp, old_M=torch.zeros_like(logp), advantage_M=advantage, share_M=share, **bounds)


def objective(ratios, r, *, sharpness=0.0, form="mgpo", cap=99):
    r_G = t(*r)
    weight = 1.0 if form == "grpo" else policy.mgpo_weight(policy.accuracy(r_G), sharpness=sharpness)
    return surrogate(ratios, weight * policy.group_advantage(r_G), form, cap=cap).objective.item()


@pytest.mark.parametrize("sharpness", [0, 1, 4, 8])
def test_objective_vector_1(sharpness):
    """S-D3: J #1 is .15 for every λ, as p = .5."""
    ratios = [(0.5 / 0.4, 0.6 / 0.6), (0.4 / 0.5,)]
    assert objective(ratios, (1, 0), sharpness=sharpness) == pytest.approx(0.15, **close)


RATIOS_2 = [(1.3, 1.0), (0.7,), (1.0, 1.0, 1.0), (1.1, 0.9)]


def test_terms_of_vector_2():
    """S-D3: each clipped term of J #2 at λ = 4, and which gradients the clipping stops."""
    a = policy.mgpo_weight(t(0.25), sharpness=4) * policy.group_advantage(t(1, 0, 0, 0))
    logp, advantage, _ = flat(RATIOS_2, a, "mgpo")
    terms = []
    for share in torch.eye(8, dtype=F64):
        term = policy.surrogate(logp, old_M=0 * logp, advantage_M=advantage, share_M=share, epsilon=0.2)
        terms.append(term.objective.item())
    expected = [1.231681, 1.026400, -0.273707, *[-0.342133] * 3, -0.376347, -0.307920]
    assert terms == pytest.approx(expected, **close)
    assert surrogate(RATIOS_2, a).clipped_M.tolist() == [True, False, True] + [False] * 5


@pytest.mark.parametrize(
    ("form", "sharpness", "expected"),
    [("mgpo", 4, 0.042767), ("mgpo", 0, 0.072169), ("grpo", 4, 0.072169), ("token_mean", 4, 0.034213)],
)
def test_objective_vector_2(form, sharpness, expected):
    """S-D3: J #2 in three forms; `grpo` ignores λ."""
    value = objective(RATIOS_2, (1, 0, 0, 0), form=form, sharpness=sharpness)
    assert value == pytest.approx(expected, abs=1.1e-6 if form == "token_mean" else 1e-6)


def test_constant_length_divides_by_the_cap():
    """S-D3: Σ of all terms over N · cap."""
    mean = objective(RATIOS_2, (1, 0, 0, 0), form="token_mean", sharpness=4)
    constant = objective(RATIOS_2, (1, 0, 0, 0), form="constant_length", sharpness=4, cap=10)
    assert constant == pytest.approx(mean * 8 / 40)


def loop_objective(ratios, advantages, *, epsilon, form, cap):
    """The objective by hand, in Python floats."""
    per_sequence, total, tokens = [], 0.0, 0
    for row, a in zip(ratios, advantages, strict=True):
        terms = [min(x * a, min(max(x, 1 - epsilon), 1 + epsilon) * a) for x in row]
        per_sequence.append(sum(terms) / len(terms))
        total, tokens = total + sum(terms), tokens + len(terms)
    if form == "token_mean":
        return total / tokens
    return total / (len(ratios) * cap) if form == "constant_length" else sum(per_sequence) / len(ratios)


sequences = st.lists(
    st.tuples(st.lists(st.floats(0.2, 3), min_size=1, max_size=6), st.floats(-2, 2)), min_size=1, max_size=6
)


@given(sequences, st.sampled_from(["mgpo", "grpo", "token_mean", "constant_length"]), st.integers(1, 5))
def test_objective_equals_the_loop_however_it_is_split(rows, form, size):
    """S-D3: equal to a float loop for any split of the step into batches."""
    ratios, advantages = [row for row, _ in rows], [a for _, a in rows]
    logp, advantage, share = flat(ratios, advantages, form, cap=7)
    pieces = zip(logp.split(size), advantage.split(size), share.split(size), strict=True)
    total = sum(
        policy.surrogate(x, old_M=0 * x, advantage_M=a, share_M=w, epsilon=0.2).objective.item() for x, a, w in pieces
    )
    assert total == pytest.approx(loop_objective(ratios, advantages, epsilon=0.2, form=form, cap=7), abs=1e-5)


def test_a_response_of_length_zero_has_no_share():
    """Masked-out responses leave numerator and denominator."""
    for form in ("mgpo", "token_mean", "constant_length"):
        share = policy.token_share(torch.tensor([2, 0, 3]), form=form, cap=4)
        assert share[1] == 0
        assert torch.equal(share[[0, 2]], policy.token_share(torch.tensor([2, 3]), form=form, cap=4))


def test_upper_bound_of_the_clip_is_separate():
    both = surrogate([(1.25, 0.5)], [1.0], "token_mean", epsilon_high=0.28)
    assert both.objective.item() == pytest.approx(1.75 / 2)
    assert both.ratio_M.tolist() == pytest.approx([1.25, 0.5])
    assert surrogate([(1.35,)], [1.0], epsilon_high=0.28).objective.item() == pytest.approx(1.28)


# --- gradients -------------------------------------------------------------------------------------------------------


def policy_gradient(sharpness, form, seed=0):
    """Gradient of -J for a softmax policy over 5 tokens, 2 prompts, 4 responses each, 3 tokens, off-policy ratios."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(8, 3, 5, generator=generator, dtype=F64, requires_grad=True)
    taken = torch.randint(5, (8, 3, 1), generator=generator)
    logp = logits.log_softmax(-1).gather(-1, taken).squeeze(-1)
    old = logp.detach() + 0.3 * torch.randn(8, 3, generator=generator, dtype=F64)
    r = torch.tensor([[1.0, 0, 0, 0], [1, 1, 0, 1]], dtype=F64)
    weight = torch.ones(2, dtype=F64) if form == "grpo" else policy.mgpo_weight(policy.accuracy(r), sharpness=sharpness)
    a = (weight[:, None] * policy.group_advantage(r)).reshape(8).repeat_interleave(3)
    share = policy.token_share(torch.full((8,), 3), form=form, cap=3).to(F64).repeat_interleave(3)
    j = policy.surrogate(logp.reshape(-1), old_M=old.reshape(-1), advantage_M=a, share_M=share, epsilon=0.2)
    (-j.objective).backward()
    return logits.grad


def test_gradient_at_zero_sharpness_is_that_of_grpo():
    """S-D1: λ = 0 gives exactly the GRPO gradient; λ = 4 does not."""
    assert torch.equal(policy_gradient(0.0, "mgpo"), policy_gradient(4.0, "grpo"))
    assert not torch.allclose(policy_gradient(4.0, "mgpo"), policy_gradient(4.0, "grpo"))


def test_clipped_tokens_have_no_gradient():
    """S-D3: the gradient of a clipped token is 0, of the others ratio·A'·∇log π."""
    logp = t(0.5, 0.1, -0.5, -0.1).requires_grad_()
    a = t(1, 1, -1, -1)
    j = policy.surrogate(logp, old_M=t(0, 0, 0, 0), advantage_M=a, share_M=t(1, 1, 1, 1), epsilon=0.2)
    j.objective.backward()
    assert logp.grad is not None
    assert j.clipped_M.tolist() == [True, False, True, False]
    assert torch.allclose(logp.grad, torch.where(j.clipped_M, 0.0, logp.exp().detach() * a))


# --- KL --------------------------------------------------------------------------------------------------------------

PI, REF = (0.6, 0.3, 0.1), (0.2, 0.5, 0.3)


@pytest.mark.parametrize(("estimator", "value"), [("k1", 0.693147), ("k2", 0.240227), ("k3", 0.193147)])
def test_kl_of_one_sample(estimator, value):
    """S-D5: a token with π = .5 and ref = .25; k3 is not the sign-reversed form (.306853)."""
    assert policy.kl_estimate(t(0.5).log(), t(0.25).log(), estimator=estimator).item() == pytest.approx(value, **close)


@pytest.mark.parametrize(("estimator", "mean"), [("k1", 0.396058), ("k3", 0.396058), ("k2", 0.461574)])
def test_kl_expectations_on_the_toy(estimator, mean):
    """S-D5: k1 and k3 are unbiased for KL(π ‖ ref) = .396058; k2 is not."""
    pi, ref = t(*PI), t(*REF)
    estimate = policy.kl_estimate(pi.log(), ref.log(), estimator=estimator)
    assert (pi * estimate).sum().item() == pytest.approx(mean, **close)
    assert (ref * (ref / pi).log()).sum().item() == pytest.approx(0.365274, **close)
    reversed_k3 = policy.kl_estimate(ref.log(), pi.log(), estimator="k3")
    assert (pi * reversed_k3).sum().item() == pytest.approx(0.617275, **close)


def toy_gradient(place, estimator):
    """Expected gradient of the loss with respect to the logits of π, samples held fixed with probability π."""
    logits = t(*PI).log().requires_grad_()
    logp = logits.log_softmax(-1)
    estimate = policy.kl_estimate(logp, t(*REF).log(), estimator=estimator)
    fixed = logp.detach().exp()
    per_token = estimate if place == "loss" else (logp - logp.detach()).exp() * estimate.detach()
    (fixed * per_token).sum().backward()
    assert logits.grad is not None
    return logits.grad.tolist()


FORWARD = [0.421532, -0.272065, -0.149467]


@pytest.mark.parametrize(
    ("place", "estimator", "expected"),
    [
        ("advantage", "k1", FORWARD),
        ("loss", "k2", FORWARD),
        ("loss", "k3", [0.4, -0.2, -0.2]),
        ("loss", "k1", [0.0, 0.0, 0.0]),
    ],
)
def test_kl_gradients_on_the_toy(place, estimator, expected):
    """S-D5: k1 in the advantage and k2 in the loss give ∇KL(π ‖ ref), k3 in the loss ∇KL(ref ‖ π), k1 there nothing."""
    assert toy_gradient(place, estimator) == pytest.approx(expected, **close)


def test_kl_of_equal_policies_is_exactly_zero():
    """S-D5: 0 at step 0."""
    logp = torch.randn(50)
    for estimator in ("k1", "k2", "k3"):
        assert policy.kl_estimate(logp, logp.clone(), estimator=estimator).abs().max() == 0


def test_learning_potential_is_the_mean_nll():
    assert policy.learning_potential(t(-1.0, -3.0)).item() == 2.0


# --- undecided responses ----------------------------------------------------------------------------------------------


def test_vectors_of_a_group_with_an_undecided_response():
    """S-D2, S-D14: r = 1, 0, 0, unknown is the group 1, 0, 0; the fourth has advantage 0, and p is a third."""
    r = torch.tensor([[1.0, 0.0, 0.0, 0.0], [1.0, 0.0, 0.0, 1.0]], dtype=F64)
    decided = torch.tensor([[True, True, True, False]] * 2)
    expected = [1.414214, -0.707107, -0.707107, 0.0]
    for row in policy.group_advantage(r, decided_PG=decided).tolist():
        assert row == pytest.approx(expected, **close)
    assert policy.group_advantage(r, ddof=1, decided_PG=decided)[0].tolist() == pytest.approx(
        [1.154701, -0.577350, -0.577350, 0.0], **close
    )
    assert policy.accuracy(r, decided_PG=decided).tolist() == pytest.approx([1 / 3, 1 / 3], **close)


@given(
    rewards=st.lists(st.tuples(st.sampled_from([0.0, 1.0, 0.25, -0.5]), st.booleans()), min_size=1, max_size=12),
    unknown=st.floats(-1e6, 1e6),
    ddof=st.sampled_from([0, 1]),
    std=st.booleans(),
)
def test_an_undecided_response_is_as_if_it_were_not_there(rewards, unknown, ddof, std):
    """S-D2, S-D14: the others are what they are without it, whatever stands in its place; its own is exactly 0."""
    decided = torch.tensor([[known for _, known in rewards]])
    r = torch.tensor([[value if known else unknown for value, known in rewards]], dtype=F64)
    found = policy.group_advantage(r, ddof=ddof, std=std, decided_PG=decided)
    assert (found[~decided] == 0).all()
    left = r[decided][None]
    if left.numel() < 2:
        assert (found == 0).all()
        return
    assert found[decided].tolist() == pytest.approx(
        policy.group_advantage(left, ddof=ddof, std=std)[0].tolist(), abs=1e-9
    )
    right = (r == 1).to(F64)
    assert policy.accuracy(right, decided_PG=decided).item() == pytest.approx(policy.accuracy(right[decided]).item())


def test_a_group_that_nobody_could_grade_teaches_nothing():
    """S-D2: no reward at all, or one: advantage 0 and no NaN; p of none is 0."""
    r = torch.tensor([[1.0, 0.0], [1.0, 0.0]], dtype=F64)
    decided = torch.tensor([[False, False], [True, False]])
    assert policy.group_advantage(r, ddof=1, decided_PG=decided).tolist() == [[0.0, 0.0]] * 2
    assert policy.accuracy(r, decided_PG=decided).tolist() == [0.0, 1.0]


def test_with_every_response_decided_nothing_changes_to_the_bit():
    """S-D2: naming all of them is naming none."""
    draw = torch.Generator().manual_seed(1)
    for group in (1, 2, 3, 7, 8, 16):
        r = torch.randn(5, group, generator=draw, dtype=F64)
        whole = torch.ones_like(r, dtype=torch.bool)
        assert torch.equal(policy.group_advantage(r), policy.group_advantage(r, decided_PG=whole))
        binary = (r > 0).to(F64)
        assert torch.equal(policy.accuracy(binary), policy.accuracy(binary, decided_PG=whole))
