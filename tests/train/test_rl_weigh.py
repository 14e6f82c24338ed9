"""From grades to advantages."""

import pytest
import torch

import rl_world as world
from posttrain.graders.base import Grade
from posttrain.runners.rollout import TRUNCATED, Answer, Sampled
from posttrain.train.rl import choices
from posttrain.train.rl.weigh import Weighing, weigh


def group(*answers: tuple[int, int]) -> Sampled:
    """A group of (correct, length) answers; length 10 is the cap."""
    made = tuple(
        Answer(
            ids=(5,) * length,
            logprobs=(-1.0,) * length,
            finish="length" if length == 10 else "stop",
            text="",
            grade=TRUNCATED if length == 10 else Grade(bool(correct), "right" if correct else "wrong", None),
        )
        for correct, length in answers
    )
    return Sampled(world.problems(1)[0], (1, 2), made)


def weighed(*groups: Sampled, **changes):
    how = {
        "sharpness": 4.0,
        "cap": 10,
        "ddof": 0,
        "std": True,
        "shaping": choices.Unshaped(),
        "overlong": choices.Zero(),
    }
    penalty = changes.pop("penalty", None)
    return weigh(groups, Weighing(**(how | changes)), penalty_PG=penalty)


def test_the_weight_multiplies_the_advantage():
    """S-D1: A' of r = 1,0,0,0 at λ = 4, and of no spread exactly 0."""
    w = weighed(group((1, 3), (0, 3), (0, 4), (0, 2)), group((1, 3), (1, 3), (1, 4), (1, 2)))
    assert w.advantage_PG[0].tolist() == pytest.approx([1.026400, *[-0.342133] * 3], abs=1e-6)
    assert w.advantage_PG[1].tolist() == [0.0] * 4
    assert w.flat_P.tolist() == [False, True] and w.teaches_P.tolist() == [True, False]
    assert w.p_P.tolist() == [0.25, 1.0]


def test_a_penalty_moves_the_reward_and_not_p():
    """§2.7: KL in the reward is taken off before the group mean; p stays binary."""
    penalty = torch.tensor([[0.1, 0.0, 0.2, 0.0]], dtype=torch.float64)
    w = weighed(group((1, 3), (0, 3), (0, 4), (0, 2)), penalty=penalty)
    assert w.p_P.tolist() == [0.25]
    assert w.reward_PG.tolist() == [[0.9, 0.0, -0.2, 0.0]]


def test_long2short_teaches_a_group_that_is_all_right():
    """§1.2: p stays on the binary reward, so w(1) = 2^-λ acts on a shaped advantage."""
    w = weighed(group((1, 2), (1, 4), (1, 8), (1, 4)), shaping=choices.Long2Short())
    assert w.flat_P.tolist() == [True] and w.teaches_P.tolist() == [True]
    assert w.weight_P.item() == pytest.approx(2**-4)
    assert w.advantage_PG[0, 0] > 0 > w.advantage_PG[0, 2]


def test_a_truncated_response_is_worth_nothing():
    """S-D11: counted as truncated, reward 0; masked out of the loss or punished before the cap where asked."""
    four = group((1, 10), (1, 9), (1, 8), (0, 3))
    assert weighed(four).reward_PG.tolist() == [[0, 1, 1, 0]]
    assert weighed(four).in_loss_PG.all()
    masked = weighed(four, overlong=choices.Mask())
    assert masked.in_loss_PG.tolist() == [[False, True, True, True]]
    assert masked.reward_PG.tolist() == [[0, 1, 1, 0]]
    soft = weighed(four, overlong=choices.Soft(margin=0.2))
    assert soft.reward_PG.tolist() == [[-1, 0.5, 1, 0]]
    assert soft.p_P.item() == 0.5
