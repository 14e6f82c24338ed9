"""Group-relative policy optimisation: accuracy, MGPO weight, advantage, clipped surrogate, KL estimators.

Shapes: `_P` prompts, `_G` responses of one prompt, `_N` = P·G responses, `_M` response tokens, those of one response
after those of another: EOS belongs to a response, prompt and padding do not. A response is decided where its grader
found out whether it is right.
Formulas F6 to F14 of VibeThinker-1.5B (arXiv 2511.06221) and VibeThinker-3B (arXiv 2606.16140); natural logarithms.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

Form = Literal["mgpo", "grpo", "token_mean", "constant_length"]
"""How the tokens of a step are averaged; see `token_share`."""

Estimator = Literal["k1", "k2", "k3"]
"""A per-token estimate of KL(policy ‖ reference) from sampled tokens; see `kl_estimate`."""


def accuracy(r_PG: Float[Tensor, "*P G"], *, decided_PG: Bool[Tensor, "*P G"] | None = None) -> Float[Tensor, "*P"]:
    """p: the share of a prompt's responses with binary reward 1 (F7), among the decided ones; 0 where there is none."""
    correct_PG = (r_PG == 1).to(r_PG.dtype)
    if decided_PG is None:
        return correct_PG.mean(-1)
    return (correct_PG * decided_PG).sum(-1) / decided_PG.sum(-1).clamp(min=1)


def shrunk_accuracy(r_PG: Float[Tensor, "*P G"]) -> Float[Tensor, "*P"]:
    """(c + 1) / (G + 2): the accuracy pulled towards one half, for small groups (ours)."""
    correct_P = (r_PG == 1).to(r_PG.dtype).sum(-1)
    return (correct_P + 1) / (r_PG.shape[-1] + 2)


def deviation(p: Float[Tensor, "*P"], *, target: float = 0.5) -> Float[Tensor, "*P"]:
    """D(p) = KL between Bernoulli(p) and Bernoulli(target) in nats, 0·ln 0 = 0 (F8)."""
    return torch.xlogy(p, p / target) + torch.xlogy(1 - p, (1 - p) / (1 - target))


def mgpo_weight(p: Float[Tensor, "*P"], *, sharpness: float, target: float = 0.5) -> Float[Tensor, "*P"]:
    """How much a prompt's group teaches: exp(-sharpness · D(p)), 1 where the policy is most uncertain (F9).

    It multiplies the advantage, never the reward: the group's normalisation would divide it out.
    """
    return torch.exp(-sharpness * deviation(p, target=target))


def group_advantage(
    r_PG: Float[Tensor, "*P G"],
    *,
    ddof: int = 0,
    std: bool = True,
    decided_PG: Bool[Tensor, "*P G"] | None = None,
) -> Float[Tensor, "*P G"]:
    """(r - mean) / std over the responses of one prompt; exactly 0 where all rewards are equal or G = 1 (F6).

    No epsilon is added to the deviation. `std=False` only centres. Where `decided_PG` is False a response has no
    reward: the group is what it were without it, and its own advantage is exactly 0.
    """
    if decided_PG is None:
        decided_PG = torch.ones_like(r_PG, dtype=torch.bool)
    count_P1 = decided_PG.sum(-1, keepdim=True)
    nothing_PG = torch.zeros_like(r_PG)
    mean_P1 = torch.where(decided_PG, r_PG, nothing_PG).sum(-1, keepdim=True) / count_P1.clamp(min=1)
    centred_PG = torch.where(decided_PG, r_PG - mean_P1, nothing_PG)
    most_P1 = torch.where(decided_PG, r_PG, -torch.inf).amax(-1, keepdim=True)
    least_P1 = torch.where(decided_PG, r_PG, torch.inf).amin(-1, keepdim=True)
    flat_P1 = most_P1 <= least_P1
    if std:
        freedom_P1 = (count_P1 - ddof).clamp(min=1)
        spread_P1 = (centred_PG.square().sum(-1, keepdim=True) / freedom_P1).sqrt()
        centred_PG = centred_PG / torch.where(flat_P1, torch.ones_like(spread_P1), spread_P1)
    return torch.where(flat_P1, nothing_PG, centred_PG)


def long2short(
    r_PG: Float[Tensor, "*P G"], lengths_PG: Int[Tensor, "*P G"], *, scale: float = 0.2
) -> Float[Tensor, "*P G"]:
    """Shift reward between the correct responses of a prompt, from long to short; its sum stays (F13, 3B §2.2.2).

    r + scale · (s - mean s) / max abs(s - mean s) with s = 1 / length, over the correct ones. Wrong responses, a single
    correct one and correct ones of equal length keep their reward.
    """
    correct_PG = r_PG == 1
    s_PG = torch.where(correct_PG, lengths_PG.to(r_PG.dtype).reciprocal(), torch.zeros_like(r_PG))
    count_P1 = correct_PG.sum(-1, keepdim=True).clamp(min=1)
    offset_PG = torch.where(correct_PG, s_PG - s_PG.sum(-1, keepdim=True) / count_P1, torch.zeros_like(r_PG))
    longest_P1 = torch.where(correct_PG, lengths_PG, torch.zeros_like(lengths_PG)).amax(-1, keepdim=True)
    differs_P1 = (correct_PG & (lengths_PG != longest_P1)).any(-1, keepdim=True)
    largest_P1 = offset_PG.abs().amax(-1, keepdim=True)
    shift_PG = scale * offset_PG / torch.where(differs_P1, largest_P1, torch.ones_like(largest_P1))
    return r_PG + torch.where(differs_P1, shift_PG, torch.zeros_like(shift_PG))


def overlong_penalty(lengths: Int[Tensor, "*N"], *, cap: int, margin: int) -> Float[Tensor, "*N"]:
    """0 up to cap - margin tokens, falling linearly to -1 at the cap (DAPO, arXiv 2503.14476, eq. 13)."""
    return ((cap - margin - lengths.to(torch.get_default_dtype())) / margin).clamp(min=-1.0, max=0.0)


@dataclass(frozen=True, eq=False)
class Surrogate:
    """What `surrogate` makes of the tokens of a batch."""

    objective: Float[Tensor, ""]
    """The batch's part of J, to be maximised; carries the gradient."""
    ratio_M: Float[Tensor, " M"]
    """π / π_old of each token, without gradient."""
    clipped_M: Bool[Tensor, " M"]
    """The tokens whose gradient the clipping stops."""


def surrogate(
    logp_M: Float[Tensor, " M"],
    *,
    old_M: Float[Tensor, " M"],
    advantage_M: Float[Tensor, " M"],
    share_M: Float[Tensor, " M"],
    epsilon: float,
    epsilon_high: float | None = None,
) -> Surrogate:
    """Σ share · min(ratio·A', clip(ratio, 1 - ε, 1 + ε_high)·A') over response tokens (F11, F12).

    `old_M` are the log-probabilities noted while sampling; `share_M` comes from `token_share`.
    """
    low, high = 1 - epsilon, 1 + (epsilon if epsilon_high is None else epsilon_high)
    ratio_M = (logp_M - old_M).exp()
    terms_M = torch.minimum(ratio_M * advantage_M, ratio_M.clamp(low, high) * advantage_M)
    held_M = ratio_M.detach()
    clipped_M = ((advantage_M > 0) & (held_M > high)) | ((advantage_M < 0) & (held_M < low))
    return Surrogate((terms_M * share_M).sum(), held_M, clipped_M)


def token_share(lengths_N: Int[Tensor, " N"], *, form: Form, cap: int) -> Float[Tensor, " N"]:
    """What one token of each response counts in the objective of a whole step; 0 for a response of length 0.

    With N responses of length > 0: `mgpo`, `grpo` 1 / (N · length) (F12: the mean over responses of the mean over
    tokens); `token_mean` 1 / all tokens; `constant_length` 1 / (N · cap). The shares do not depend on how the step
    is cut into batches.
    """
    lengths = lengths_N.to(torch.get_default_dtype())
    present = lengths > 0
    if form == "token_mean":
        share = torch.full_like(lengths, 1.0) / lengths.sum().clamp(min=1)
    elif form == "constant_length":
        share = torch.full_like(lengths, 1.0 / cap) / present.sum().clamp(min=1)
    else:
        share = lengths.clamp(min=1).reciprocal() / present.sum().clamp(min=1)
    return torch.where(present, share, torch.zeros_like(share))


def kl_estimate(
    logp: Float[Tensor, "*N"], reference: Float[Tensor, "*N"], *, estimator: Estimator
) -> Float[Tensor, "*N"]:
    """Per-token estimate of KL(policy ‖ reference) in nats; d = log π - log π_ref of the sampled token.

    k1 = d and k3 = exp(-d) + d - 1 are unbiased, k2 = d²/2 is not. As a loss on fixed samples, k2 has the gradient of
    KL(π ‖ ref), k3 that of KL(ref ‖ π), k1 none in expectation (Schulman, "Approximating KL divergence", 2020).
    """
    d = logp - reference
    if estimator == "k1":
        return d
    if estimator == "k2":
        return d.square() / 2
    return torch.expm1(-d) + d


def learning_potential(logp_M: Float[Tensor, " M"]) -> Float[Tensor, ""]:
    """S(q, y): mean negative log-probability, in nats per token, of one response under the student (F14, 3B eq. 4)."""
    return -logp_M.mean()
