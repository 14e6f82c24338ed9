"""Rollouts over a real small model: ids, log-probabilities, text and grade of every sample."""

import pytest
import torch

import rl_world as world
from posttrain.data.chat import DEFAULT_PROMPTING, example, prompt_ids
from posttrain.data.records import Problem
from posttrain.graders.base import Grade
from posttrain.graders.registry import Grading
from posttrain.models.sample import Sampling
from posttrain.runners.rollout import TRUNCATED, rollout, scores, stream

SHORT = Sampling(max_new_tokens=5)
GRADING = Grading()


@pytest.fixture(scope="module")
def loaded():
    return world.model()


def test_prompt_ids_are_those_of_training(loaded):
    """S-D4: rollout and loss share prompt ids."""
    problem = world.problems(1)[0]
    (group,) = rollout(loaded, [problem], SHORT, samples=2, seed=0, grading=GRADING)
    asked = prompt_ids(loaded.tokenizer, problem.prompt, "maths", DEFAULT_PROMPTING)
    trained = example(loaded.tokenizer, problem.prompt, "3", "maths", DEFAULT_PROMPTING)
    assert list(group.prompt_ids) == asked == list(trained.ids[: len(asked)])


def test_log_probabilities_are_those_of_teacher_forcing(loaded):
    """S-D4: what the sampler notes equals a forward pass over the same ids to 1e-4."""
    heat = Sampling(max_new_tokens=5, temperature=0.7)
    for group in rollout(loaded, world.problems(4), heat, samples=3, seed=1, grading=GRADING):
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
    whole = rollout(loaded, problems, SHORT, samples=3, seed=7, grading=GRADING)
    alone = rollout(loaded, [problems[3]], SHORT, samples=3, seed=7, grading=GRADING)
    assert [a.ids for a in alone[0].samples] == [a.ids for a in whole[3].samples]
    assert [g.problem.id for g in whole] == [p.id for p in problems]
    other = rollout(loaded, problems, SHORT, samples=3, seed=8, grading=GRADING)
    assert [a.ids for g in other for a in g.samples] != [a.ids for g in whole for a in g.samples]


def test_text_lacks_only_the_end_token(loaded):
    for group in rollout(loaded, world.problems(4), SHORT, samples=4, seed=2, grading=GRADING):
        for answer in group.samples:
            ended = answer.ids[-1] in loaded.stop_ids
            assert answer.finish == ("stop" if ended else "length")
            kept = answer.ids[:-1] if ended else answer.ids
            assert answer.text == loaded.tokenizer.decode(kept, skip_special_tokens=False)


class Recorded(world.By):
    """Grades by likes, and remembers what each batch held."""

    def __init__(self, grade=world.LIKES_WORDS.grade):
        super().__init__(grade)
        object.__setattr__(self, "batches", [])

    def grade_all(self, problems, texts):
        self.batches.append([(problem.id, text) for problem, text in zip(problems, texts, strict=True)])
        return super().grade_all(problems, texts)


def test_a_response_at_the_cap_is_wrong_whatever_it_says(loaded):
    """§2.7: truncated without an end token has reward 0, and the grader is not asked."""
    asked = Recorded()
    cap = Sampling(max_new_tokens=1)
    groups = rollout(loaded, world.problems(6), cap, samples=4, seed=3, grading=asked)
    answers = [a for g in groups for a in g.samples]
    cut = [a for a in answers if a.finish == "length"]
    assert cut and all(a.grade == TRUNCATED and not a.grade.correct for a in cut)
    assert sum(map(len, asked.batches)) == len(answers) - len(cut)


def test_all_answers_of_a_call_are_graded_as_one_batch(loaded):
    """S-D13: one batch, in order, each answer with its own problem; grades land where they belong."""
    asked = Recorded(lambda problem, text: Grade(correct=True, outcome=f"{problem.id}:{text}", answer=None))
    groups = rollout(loaded, world.problems(5), SHORT, samples=3, seed=6, grading=asked)
    ended = [(g.problem.id, a) for g in groups for a in g.samples if a.finish == "stop"]
    assert asked.batches == [[(id, a.text) for id, a in ended]] and ended
    assert [a.grade.outcome for _, a in ended] == [f"{id}:{a.text}" for id, a in ended]


def test_what_could_not_be_decided_is_graded_once_more(loaded):
    """S-D14: an outcome that says nothing of the answer is asked for again, alone, and then told as it is."""

    def unsure(problem: Problem, text: str) -> Grade:
        decided = problem.id == "algebra-1" or (problem.id == "algebra-0" and len(asked.batches) == 2)
        return Grade(correct=decided, outcome="right" if decided else "sandbox_error", answer=None, decided=decided)

    asked = Recorded(unsure)
    groups = rollout(loaded, world.problems(3), SHORT, samples=4, seed=9, grading=asked)
    whole, again = asked.batches
    assert again == [one for one in whole if one[0] != "algebra-1"]
    told = {g.problem.id: {a.grade.decided for a in g.samples if a.finish == "stop"} for g in groups}
    assert told == {"algebra-0": {True}, "algebra-1": {True}, "algebra-2": {False}}
    rows = [row for row in scores(groups, suite="val") if row.finish == "stop"]
    assert [(row.decided, row.outcome, row.correct) for row in rows if row.id == "algebra-2"] == [
        (False, "sandbox_error", False)
    ] * sum(row.id == "algebra-2" for row in rows)


def test_the_grader_is_that_of_the_answer_type(loaded):
    groups = rollout(loaded, world.problems(3), SHORT, samples=2, seed=4, grading=GRADING)
    outcomes = {a.grade.outcome for g in groups for a in g.samples}
    assert outcomes <= {"no_answer", "truncated", "wrong", "unparsable"}


def test_scores_are_a_row_per_sample(loaded):
    groups = rollout(loaded, world.problems(2), SHORT, samples=3, seed=5, grading=GRADING)
    rows = list(scores(groups, suite="val", step=4))
    assert [(row.id, row.sample) for row in rows] == [(g.problem.id, i) for g in groups for i in range(3)]
    assert {row.step for row in rows} == {4}
    assert [row.tokens for row in rows] == [len(a.ids) for g in groups for a in g.samples]


def test_streams_differ_by_every_name():
    found = {stream(1), stream(2), stream(1, "a"), stream(1, "a", 2), stream(1, "a2"), stream(1, 2, "a")}
    assert len(found) == 6
    assert all(0 <= seed < 2**63 for seed in found)
