"""From grades to advantages."""

import pytest
import torch

import rl_world as world
from posttrain.algos import policy
from posttrain.graders.base import Grade
from posttrain.graders.combine import Term, Terms
from posttrain.models.load import Loaded
from posttrain.runners.rollout import TRUNCATED, Answer, Sampled
from posttrain.train.loop import StepReport
from posttrain.train.rl import choices
from posttrain.train.rl.collect import Batch
from posttrain.train.rl.objective import Objective, Tally, parts
from posttrain.train.rl.pieces import pieces
from posttrain.train.rl.tell import emitted, in_numbers
from posttrain.train.rl.weigh import Weighing, weigh

OPEN = -1
"""Stands for correct where the grader could not find out."""
UNDECIDED = Grade(correct=False, outcome="sandbox_error", answer=None, decided=False)


def group(*answers: tuple[int, int], text: str = "") -> Sampled:
    """A group of (correct, length) answers; length 10 is the cap."""
    made = tuple(
        Answer(
            ids=(5,) * length,
            logprobs=(-1.0,) * length,
            finish="length" if length == 10 else "stop",
            text=text,
            grade=TRUNCATED if length == 10 else UNDECIDED if correct == OPEN else _grade(correct),
        )
        for correct, length in answers
    )
    return Sampled(world.problems(1)[0], (1, 2), made)


def _grade(correct: int) -> Grade:
    return Grade(bool(correct), "right" if correct else "wrong", None)


def weighed(*groups: Sampled, **changes):
    how = {
        "sharpness": 4.0,
        "cap": 10,
        "ddof": 0,
        "std": True,
        "shaping": choices.Unshaped(),
        "overlong": choices.Zero(),
        "terms": Terms(),
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


SHAPED = (choices.Unshaped(), choices.Long2Short())
CUT = (choices.Zero(), choices.Mask(), choices.Soft(margin=0.5))
FOUR = ((1, 3), (0, 4), (1, 6), (0, 10))


@pytest.mark.parametrize("shaping", SHAPED, ids=["plain", "long2short"])
@pytest.mark.parametrize("overlong", CUT, ids=["zero", "mask", "soft"])
def test_an_undecided_response_leaves_its_group_as_it_is_without_it(shaping, overlong):
    """S-D14: p, weight and the advantages of the others are those of the smaller group; it is out of the loss."""
    how = {"shaping": shaping, "overlong": overlong, "terms": Terms((Term("varied", 0.1),))}
    whole = weighed(group(*FOUR[:2], (OPEN, 5), *FOUR[2:], text="a b"), **how)
    without = weighed(group(*FOUR, text="a b"), **how)
    keep = [0, 1, 3, 4]
    assert whole.p_P.tolist() == without.p_P.tolist() == [0.5]
    assert whole.weight_P.tolist() == without.weight_P.tolist()
    assert whole.advantage_PG[0, keep].tolist() == pytest.approx(without.advantage_PG[0].tolist(), abs=1e-12)
    assert whole.advantage_PG[0, 2] == 0
    assert whole.in_loss_PG[0, keep].tolist() == without.in_loss_PG[0].tolist() and not whole.in_loss_PG[0, 2]


def test_fewer_than_two_decided_answers_teach_nothing():
    """S-D14: one verdict has no group to be compared with; none has no verdict."""
    w = weighed(group((1, 3), (OPEN, 3), (OPEN, 4)), group((OPEN, 3), (OPEN, 3), (OPEN, 4)))
    assert w.teaches_P.tolist() == [False, False] and w.flat_P.tolist() == [True, True]
    assert (w.advantage_PG == 0).all() and w.p_P.tolist() == [1.0, 0.0]


def batch(*groups: Sampled, **changes) -> Batch:
    w = weighed(*groups, **changes)
    return Batch(tuple(groups), w, torch.ones_like(w.teaches_P), 0)


@pytest.mark.parametrize("form", ["mgpo", "grpo", "token_mean", "constant_length"])
@pytest.mark.parametrize("all_used", [False, True])
def test_the_loss_reads_no_token_of_an_undecided_response(form: policy.Form, all_used: bool):
    """S-D3, S-D14: the responses read and what each token counts are those of the group without it."""
    left, whole = batch(group(*FOUR)), batch(group(*FOUR[:1], (OPEN, 7), *FOUR[1:]))
    read = [each.responses(form=form, cap=10, all_used=all_used) for each in (left, whole)]
    assert [(r.ids, r.share) for r in read[0]] == [(r.ids, r.share) for r in read[1]]
    assert [r.advantage for r in read[0]] == pytest.approx([r.advantage for r in read[1]], abs=1e-12)


def gradient(loaded: Loaded, made: Batch) -> torch.Tensor:
    """Of the loss of a batch, at the weights of a fresh model."""
    read = made.responses(form="token_mean", cap=10, all_used=True)
    cut = pieces(read, max_tokens=10**6, device=torch.device("cpu"))
    loaded.model.zero_grad()
    for part in parts(loaded.model, cut, Objective("token_mean", 0.2, None, 1.0, None), reference=None, tally=Tally()):
        part().backward()
    return torch.cat([p.grad.flatten() for p in loaded.model.parameters() if p.grad is not None])


def test_the_gradient_of_a_masked_response_is_exactly_nothing():
    """S-D14: the gradient of a step is, to the bit, that of the step without the response."""
    loaded = world.model()
    pair = ((1, 3), (0, 4))
    assert torch.equal(gradient(loaded, batch(group(*pair))), gradient(loaded, batch(group(*pair, (OPEN, 5)))))
    assert not torch.equal(gradient(loaded, batch(group(*pair))), gradient(loaded, batch(group(*pair, (0, 5)))))


def test_undecided_answers_are_counted_and_have_no_reward():
    """S-D11, S-D14: the row of the rollout says None, not 0; the step says how many, and how every grade came about."""
    made = batch(group((1, 3), (OPEN, 4), (0, 10)), group((0, 2), (OPEN, 2), (OPEN, 2)))
    rows = list(made.rows(1, share=1.0, seed=0))
    assert [row.reward for row in rows] == [1.0, None, 0.0, 0.0, None, None]
    assert [row.p for row in rows] == [0.5] * 3 + [0.0] * 3
    step = in_numbers(1, made, [], report=StepReport(0.0, 0.0, 0), lr=0.0, read=0)
    assert (step.undecided, step.responses, step.truncated) == (3, 6, 1)
    assert step.outcomes == {"right": 1, "sandbox_error": 3, "truncated": 1, "wrong": 1}
    assert step.reward == pytest.approx(1 / 3) and sum(step.p) == 2
    told = emitted(step)
    assert (told["undecided"], told["outcomes"]["sandbox_error"]) == (3, 3)
    nobody = in_numbers(1, batch(group((OPEN, 3), (OPEN, 3))), [], report=StepReport(0.0, 0.0, 0), lr=0.0, read=0)
    assert (nobody.reward, nobody.reward_std, nobody.undecided) == (None, None, 2)


def test_terms_shape_the_reward_and_never_p():
    """S-D1: right or wrong stays what p and the weight are made of; a truncated response has none of the terms."""
    terms = Terms((Term("within", 0.2, {"least": 4}), Term("varied", -0.1)))
    w = weighed(group((1, 3), (0, 4), (0, 10), text="a b"), terms=terms)
    assert w.reward_PG.tolist() == [pytest.approx([1 + 0.1 - 0.1, 0.1 - 0.1, 0.0])]
    assert w.p_P.tolist() == [pytest.approx(1 / 3)]
    assert w.parts[0] == [{"within": 0.5, "varied": 1.0}] * 2 + [{}]
    flat = weighed(group((1, 3), (1, 4), text="a b"), terms=terms)
    assert flat.flat_P.tolist() == [True] and flat.p_P.tolist() == [1.0]


def test_what_the_terms_measured_stands_in_rows_and_step():
    """S-D11: keyed by problem and sample, and as means."""
    made = batch(group((1, 3), (0, 10), text="one two"), terms=Terms((Term("within", 0.2, {"least": 4}),)))
    rows = {(row.id, row.sample): row for row in made.rows(1, share=1.0, seed=0)}
    assert rows["algebra-0", 0].parts == {"within": 0.5} and rows["algebra-0", 0].reward == pytest.approx(1.1)
    assert rows["algebra-0", 1].parts == {} and rows["algebra-0", 1].reward == 0.0
    assert in_numbers(1, made, [], report=StepReport(0.0, 0.0, 0), lr=0.0, read=0).parts == {"within": 0.5}
