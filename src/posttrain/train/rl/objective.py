"""The loss of a step over its response tokens, in micro-batches that add up, and what it tells of itself."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from posttrain.algos import policy
from posttrain.models.decoder import Decoder
from posttrain.train.loop import Part
from posttrain.train.rl.choices import Copy
from posttrain.train.rl.pieces import READ, Piece


@dataclass(frozen=True)
class Objective:
    """How the tokens of a step make its loss."""

    form: policy.Form
    epsilon: float
    epsilon_high: float | None
    temperature: float
    """Of the rollouts; the trainer's logits are over the same."""
    kl: Copy | None


def token_logprobs(model: Decoder, piece: Piece, *, temperature: float) -> Float[Tensor, "M V"]:
    """log softmax of logits over temperature where response tokens are predicted; the head runs only there."""
    hidden = model.hidden(piece.ids, segments=piece.segments, positions=piece.positions, prefix=piece.prefix)
    count = piece.at_M.numel()
    read = hidden.flatten(0, 1).index_select(0, pad(piece.at_M, (0, -count % READ)))
    return (model.head(read)[:count] / temperature).log_softmax(-1)


def taken(logprobs_MV: Float[Tensor, "M V"], piece: Piece) -> Float[Tensor, " M"]:
    """The log-probability of each sampled token."""
    return logprobs_MV.gather(1, piece.token_M[:, None]).squeeze(1)


@torch.no_grad()
def fixed_logprobs(model: Decoder, piece: Piece, *, temperature: float) -> Float[Tensor, " M"]:
    """The log-probability of each sampled token under a model that does not learn: the reference."""
    return taken(token_logprobs(model, piece, temperature=temperature), piece)


@dataclass(eq=False)
class Tally:
    """Sums over the response tokens of one optimiser step."""

    tokens: int = 0
    sums: dict[str, Tensor] = field(default_factory=dict)
    ratio_max: Tensor | None = None

    def add(self, ratio_M: Tensor, **values_M: Tensor) -> None:
        """Take in a micro-batch."""
        self.tokens += ratio_M.numel()
        for name, value in values_M.items():
            self.sums[name] = self.sums.get(name, value.new_zeros((), dtype=torch.float64)) + value.double().sum()
        top = ratio_M.max()
        self.ratio_max = top if self.ratio_max is None else torch.maximum(self.ratio_max, top)

    def mean(self, name: str) -> float | None:
        """Mean over tokens; None where no token, or nothing of that name, was seen."""
        return self.sums[name].item() / self.tokens if name in self.sums else None


def parts(
    model: Decoder,
    batch: Sequence[Piece],
    how: Objective,
    *,
    reference: Sequence[Float[Tensor, " M"]] | None,
    tally: Tally,
) -> list[Part]:
    """The parts of one optimiser step; `reference` holds the reference's log-probabilities of each piece."""
    of = reference or [None] * len(batch)
    return [partial(_loss, model, piece, how, ref_M, tally) for piece, ref_M in zip(batch, of, strict=True)]


def _loss(model: Decoder, piece: Piece, how: Objective, ref_M: Tensor | None, tally: Tally) -> Tensor:
    logprobs_MV = token_logprobs(model, piece, temperature=how.temperature)
    logp_M = taken(logprobs_MV, piece)
    advantage_M, extra = piece.advantage_M, None
    if how.kl is not None and ref_M is not None:
        kl_M = policy.kl_estimate(logp_M, ref_M, estimator=how.kl.estimator)
        if how.kl.place == "advantage":
            advantage_M = advantage_M - how.kl.beta * kl_M.detach()
        elif how.kl.place == "loss":
            extra = how.kl.beta * (kl_M * piece.share_M).sum()
    made = policy.surrogate(
        logp_M,
        old_M=piece.old_M,
        advantage_M=advantage_M,
        share_M=piece.share_M,
        epsilon=how.epsilon,
        epsilon_high=how.epsilon_high,
    )
    _tell(tally, piece, made, logprobs_MV.detach(), ref_M)
    return -made.objective if extra is None else extra - made.objective


def _tell(tally: Tally, piece: Piece, made: policy.Surrogate, logprobs_MV: Tensor, ref_M: Tensor | None) -> None:
    logp_M = taken(logprobs_MV, piece)
    told: dict[str, Tensor] = {
        "logprob_gap": (logp_M - piece.old_M).abs(),
        "entropy": -(logprobs_MV.exp() * logprobs_MV).sum(-1),
        "clip_fraction": made.clipped_M,
    }
    if ref_M is not None:
        told["kl"] = policy.kl_estimate(logp_M, ref_M, estimator="k3")
    tally.add(made.ratio_M, **told)
