"""Rollouts over a real small model: ids, log-probabilities, text and grade of every sample."""

import pytest
import torch

import rl_world as world
from posttrain.data.chat import DEFAULT_PROMPTING, example, prompt_ids
from posttrain.data.records import Problem
from posttrain.models.sample import Sampling
from posttrain.runners.rollout import TRUNCATED, rollout, scores, stream

SHORT = Sampling(max_new_tokens=5)


@pytest.fixture(scope="module")
def loaded():
    return world.model()


def test_prompt_ids_are_those_of_training(loaded):
    """S-D4: rollout and loss share prompt ids."""
    problem = world.problems(1)[0]
    (group,) = rollout(loaded, [problem], SHORT, samples=2, seed=0)
    asked = prompt_ids(loaded.tokenizer, problem.prompt, "maths", DEFAULT_PROMPTING)
    trained = example(loaded.tokenizer, problem.prompt, "3", "maths", DEFAULT_PROMPTING)
    assert list(group.prompt_ids) == asked == list(trained.ids[: len(asked)])


def test_log_probabilities_are_those_of_teacher_forcing(loaded):
    """S-D4: what the sampler notes equals a forward pass over the same ids to 1e-4."""
    heat = Sampling(max_new_tokens=5, temperature=0.7)
    for group in rollout(loaded, world.problems(4), heat, samples=3, seed=1):
        for answer in group.samples:
            ids = torch.tensor([[*group.prompt_ids, *answer.ids]])
            logp = (loaded.model(ids)[0] / 0.7).log_softmax(-1)
            start = len(group.prompt_ids) - 1
            forced = [logp[start + i, token].item() for i, token in enumerate(answer.ids)]
            assert answer.logprobs == pytest.approx(forced, abs=1e-4)
            assert len(answer.logprobs) == len(answer.ids)


def test_a_problem_draws_from_its_own_stream(loaded):
    """What else is asked changes no answer; another seed does."""
    problems = world.problems(5)
    whole = rollout(loaded, problems, SHORT, samples=3, seed=7)
    alone = rollout(loaded, [problems[3]], SHORT, samples=3, seed=7)
    assert [a.ids for a in alone[0].samples] == [a.ids for a in whole[3].samples]
    assert [g.problem.id for g in whole] == [p.id for p in problems]
    other = rollout(loaded, problems, SHORT, samples=3, seed=8)
    assert [a.ids for g in other for a in g.samples] != [a.ids for g in whole for a in g.samples]


def test_text_lacks_only_the_end_token(loaded):
    for group in rollout(loaded, world.problems(4), SHORT, samples=4, seed=2):
        for answer in group.samples:
            ended = answer.ids[-1] in loaded.stop_ids
            assert answer.finish == ("stop" if ended else "length")
            kept = answer.ids[:-1] if ended else answer.ids
            assert answer.text == loaded.tokenizer.decode(kept, skip_special_tokens=False)


def test_a_response_at_the_cap_is_wrong_whatever_it_says(loaded):
    """§2.7: truncated without an end token has reward 0, and the grader is not asked."""
    asked = []

    def grade(problem: Problem, text: str):
        asked.append(text)
        return world.likes_words(problem, text)

    cap = Sampling(max_new_tokens=1)
    groups = rollout(loaded, world.problems(6), cap, samples=4, seed=3, grade=grade)
    answers = [a for g in groups for a in g.samples]
    cut = [a for a in answers if a.finish == "length"]
    assert cut and all(a.grade == TRUNCATED and not a.grade.correct for a in cut)
    assert len(asked) == len(answers) - len(cut)


def test_the_grader_is_that_of_the_answer_type(loaded):
    groups = rollout(loaded, world.problems(3), SHORT, samples=2, seed=4)
    outcomes = {a.grade.outcome for g in groups for a in g.samples}
    assert outcomes <= {"no_answer", "truncated", "wrong", "unparsable"}


def test_scores_are_a_row_per_sample(loaded):
    groups = rollout(loaded, world.problems(2), SHORT, samples=3, seed=5)
    rows = list(scores(groups, suite="val", step=4))
    assert [(row.id, row.sample) for row in rows] == [(g.problem.id, i) for g in groups for i in range(3)]
    assert {row.step for row in rows} == {4}
    assert [row.tokens for row in rows] == [len(a.ids) for g in groups for a in g.samples]


def test_streams_differ_by_every_name():
    found = {stream(1), stream(2), stream(1, "a"), stream(1, "a", 2), stream(1, "a2"), stream(1, 2, "a")}
    assert len(found) == 6
    assert all(0 <= seed < 2**63 for seed in found)
