"""From grades to advantages: binary reward, shaping, group advantage, MGPO weight. Pure.

A response that the grader could not decide has no reward: its group is what it were without it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from posttrain.algos import policy
from posttrain.graders.combine import Terms
from posttrain.runners.rollout import Answer, Sampled
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
    terms: Terms = field(default_factory=Terms)
    """What the reward is made of beside being right."""


@dataclass(frozen=True, eq=False)
class Weighed:
    """A step's groups in numbers; all groups have G responses."""

    correct_PG: Bool[Tensor, "P G"]
    decided_PG: Bool[Tensor, "P G"]
    """False where the grader could not find out: out of p, of the group's mean and deviation, of the loss."""
    parts: Sequence[Sequence[Mapping[str, float]]]
    """Of each response, what each term of the reward measured."""
    reward_PG: Float[Tensor, "P G"]
    """After shaping; what the group advantage is made of. Says nothing where undecided."""
    p_P: Float[Tensor, " P"]
    """Accuracy on the binary reward, whatever else the reward is made of."""
    weight_P: Float[Tensor, " P"]
    advantage_PG: Float[Tensor, "P G"]
    """A' = weight · A."""
    length_PG: Int[Tensor, "P G"]
    """Tokens of each response, its end token included."""
    truncated_PG: Bool[Tensor, "P G"]
    in_loss_PG: Bool[Tensor, "P G"]
    """False for undecided responses, and for truncated ones where they are masked."""

    @property
    def flat_P(self) -> Bool[Tensor, " P"]:
        """Groups whose decided binary rewards are all equal, or none: what the metric `zero_variance` counts."""
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
    decided_PG = torch.tensor([[a.grade.decided for a in g.samples] for g in groups])
    parts = [[_parts(how.terms, g, a) for a in g.samples] for g in groups]
    binary_PG = correct_PG.double()
    reward_PG = binary_PG
    if isinstance(how.shaping, Long2Short):
        reward_PG = policy.long2short(binary_PG, length_PG, scale=how.shaping.scale)
    if how.terms.terms:
        added = [[how.terms.worth(each) if each else 0.0 for each in row] for row in parts]
        reward_PG = reward_PG + torch.tensor(added, dtype=torch.float64)
    if isinstance(how.overlong, Soft):
        margin = max(1, round(how.overlong.margin * how.cap))
        reward_PG = reward_PG + policy.overlong_penalty(length_PG, cap=how.cap, margin=margin)
    if penalty_PG is not None:
        reward_PG = reward_PG - penalty_PG
    p_P = policy.accuracy(binary_PG, decided_PG=decided_PG)
    weight_P = policy.mgpo_weight(p_P, sharpness=how.sharpness)
    advantage_PG = policy.group_advantage(reward_PG, ddof=how.ddof, std=how.std, decided_PG=decided_PG)
    return Weighed(
        correct_PG=correct_PG,
        decided_PG=decided_PG,
        parts=parts,
        reward_PG=reward_PG,
        p_P=p_P,
        weight_P=weight_P,
        advantage_PG=weight_P[:, None] * advantage_PG,
        length_PG=length_PG,
        truncated_PG=truncated_PG,
        in_loss_PG=decided_PG & ~truncated_PG if isinstance(how.overlong, Mask) else decided_PG,
    )


def _parts(terms: Terms, group: Sampled, answer: Answer) -> dict[str, float]:
    """What the terms measure of a response; of a truncated one nothing, its reward is 0."""
    return {} if answer.finish == "length" else terms.parts(group.problem, answer.text)
