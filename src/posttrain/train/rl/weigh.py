"""From grades to advantages: binary reward, shaping, group advantage, MGPO weight. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from posttrain.algos import policy
from posttrain.runners.rollout import Sampled
from posttrain.train.rl.choices import Long2Short, Mask, Overlong, Shaping, Soft


@dataclass(frozen=True)
class Weighing:
    """How rewards become advantages."""

    sharpness: float
    """λ of the MGPO weight; 0 is GRPO."""
    cap: int
    """Longest response, in tokens."""
    ddof: int
    std: bool
    shaping: Shaping
    overlong: Overlong


@dataclass(frozen=True, eq=False)
class Weighed:
    """A step's groups in numbers; all groups have G responses."""

    correct_PG: Bool[Tensor, "P G"]
    reward_PG: Float[Tensor, "P G"]
    """After shaping; what the group advantage is made of."""
    p_P: Float[Tensor, " P"]
    """Accuracy on the binary reward."""
    weight_P: Float[Tensor, " P"]
    advantage_PG: Float[Tensor, "P G"]
    """A' = weight · A."""
    length_PG: Int[Tensor, "P G"]
    """Tokens of each response, its end token included."""
    truncated_PG: Bool[Tensor, "P G"]
    in_loss_PG: Bool[Tensor, "P G"]
    """False for truncated responses where they are masked."""

    @property
    def flat_P(self) -> Bool[Tensor, " P"]:
        """Groups whose binary rewards are all equal: what the metric `zero_variance` counts."""
        return (self.p_P == 0) | (self.p_P == 1)

    @property
    def teaches_P(self) -> Bool[Tensor, " P"]:
        """Groups with an advantage that is not zero."""
        return (self.advantage_PG != 0).any(-1)


def weigh(groups: Sequence[Sampled], how: Weighing, *, penalty_PG: Float[Tensor, "P G"] | None = None) -> Weighed:
    """Weigh the responses of a step; `penalty_PG` (β · Σ KL, detached) is taken off the reward, never off p."""
    correct_PG = torch.tensor([[a.grade.correct for a in g.samples] for g in groups])
    length_PG = torch.tensor([[len(a.ids) for a in g.samples] for g in groups])
    truncated_PG = torch.tensor([[a.finish == "length" for a in g.samples] for g in groups])
    binary_PG = correct_PG.double()
    reward_PG = binary_PG
    if isinstance(how.shaping, Long2Short):
        reward_PG = policy.long2short(binary_PG, length_PG, scale=how.shaping.scale)
    if isinstance(how.overlong, Soft):
        margin = max(1, round(how.overlong.margin * how.cap))
        reward_PG = reward_PG + policy.overlong_penalty(length_PG, cap=how.cap, margin=margin)
    if penalty_PG is not None:
        reward_PG = reward_PG - penalty_PG
    p_P = policy.accuracy(binary_PG)
    weight_P = policy.mgpo_weight(p_P, sharpness=how.sharpness)
    advantage_PG = policy.group_advantage(reward_PG, ddof=how.ddof, std=how.std)
    return Weighed(
        correct_PG=correct_PG,
        reward_PG=reward_PG,
        p_P=p_P,
        weight_P=weight_P,
        advantage_PG=weight_P[:, None] * advantage_PG,
        length_PG=length_PG,
        truncated_PG=truncated_PG,
        in_loss_PG=~truncated_PG if isinstance(how.overlong, Mask) else torch.ones_like(truncated_PG),
    )
