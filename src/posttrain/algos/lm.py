"""Next-token prediction: which positions predict a target, and the loss there."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional


def predicting(targets: Bool[Tensor, "B T"]) -> Int[Tensor, " N"]:
    """Flat indices (row · T + column) of the positions whose next token is a target, in row-major order.

    `targets[b, t]` says that the token at t is trained; the logits at t - 1 predict it. The first token of a row
    has nothing before it and can be no target.
    """
    if bool(targets[:, 0].any()):
        raise ValueError("the first token of a row cannot be a target: nothing predicts it")
    return torch.nonzero(targets.flatten()).squeeze(1) - 1


def nll(logits: Float[Tensor, "N V"], ids: Int[Tensor, " N"]) -> Float[Tensor, " N"]:
    """Negative log-likelihood in nats of each target token; 1.5B report §2 (F1) before its mean."""
    return functional.cross_entropy(logits, ids, reduction="none")


def mean_nll(logits: Float[Tensor, "N V"], ids: Int[Tensor, " N"], *, count: int) -> Float[Tensor, ""]:
    """This micro-batch's share of the mean loss: its summed NLL over `count`, the target tokens of the whole batch.

    Shares of a batch add up to the batch's loss however it is cut (S-D12).
    """
    if count <= 0:
        raise ValueError("a batch without target tokens has no mean loss")
    return functional.cross_entropy(logits, ids, reduction="sum") / count
