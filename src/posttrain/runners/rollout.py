"""Many graded samples of many problems: prompts rendered as the model is asked, every answer decoded and graded."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from posttrain.data.chat import Prompting, prompt_ids
from posttrain.data.records import Problem, Score
from posttrain.graders.base import Grade
from posttrain.models.load import Loaded
from posttrain.models.sample import Completion, Request, Sampling, generate


class Grades(Protocol):
    """Grades many responses at once, in the order given; `graders.registry.Grading` is one."""

    def grade_all(self, problems: Sequence[Problem], texts: Sequence[str], /) -> list[Grade]:
        """A grade for each response."""
        ...


TRUNCATED = Grade(correct=False, outcome="truncated", answer=None)
"""The grade of a response that ended at the cap without the end token, whatever it says."""


@dataclass(frozen=True)
class Answer:
    """One sampled response and what the grader says of it."""

    ids: tuple[int, ...]
    """As sampled, the end token included where there is one."""
    logprobs: tuple[float, ...]
    """Of each sampled token, in nats, under logits over temperature; noted while sampling."""
    finish: Literal["stop", "length"]
    text: str
    """The decoded response without its end token."""
    grade: Grade


@dataclass(frozen=True)
class Sampled:
    """A problem and its graded samples."""

    problem: Problem
    prompt_ids: tuple[int, ...]
    samples: tuple[Answer, ...]


def stream(seed: int, *names: object) -> int:
    """A seed of its own for each list of names: 63 bits of a digest."""
    text = "\x1f".join(map(str, (seed, *names)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def rollout(
    loaded: Loaded,
    problems: Sequence[Problem],
    sampling: Sampling,
    *,
    samples: int,
    seed: int,
    grading: Grades,
    progress: Callable[[int, int], None] | None = None,
) -> list[Sampled]:
    """Draw `samples` answers to each problem, in the order given, then grade all of them as one batch.

    Each problem draws from the stream of `seed` and its id alone: what else is asked changes none of its answers.
    """
    prompting = Prompting(**loaded.prompting)
    prompts = [tuple(prompt_ids(loaded.tokenizer, p.prompt, p.answer_type, prompting)) for p in problems]
    requests = [
        Request(ids=ids, seed=stream(seed, problem.id), samples=samples, key=problem.id)
        for problem, ids in zip(problems, prompts, strict=True)
    ]
    drawn = generate(loaded.model, requests, sampling, stop_ids=loaded.stop_ids, progress=progress)
    completions = [(problem, c) for problem, group in zip(problems, drawn, strict=True) for c in group]
    texts = decode(loaded, [c for _, c in completions])
    asked = [at for at, (_, c) in enumerate(completions) if c.finish != "length"]
    told = graded(grading, [completions[at][0] for at in asked], [texts[at] for at in asked])
    found = dict(zip(asked, told, strict=True))
    answers = iter(
        Answer(c.ids, c.logprobs, c.finish, texts[at], found.get(at, TRUNCATED))
        for at, (_, c) in enumerate(completions)
    )
    return [
        Sampled(problem, ids, tuple(next(answers) for _ in group))
        for problem, ids, group in zip(problems, prompts, drawn, strict=True)
    ]


def graded(grading: Grades, problems: Sequence[Problem], texts: Sequence[str]) -> list[Grade]:
    """A grade for each response; what could not be decided is graded once more."""
    found = grading.grade_all(problems, texts)
    open_ = [at for at, grade in enumerate(found) if not grade.decided]
    if open_:
        again = grading.grade_all([problems[at] for at in open_], [texts[at] for at in open_])
        for at, grade in zip(open_, again, strict=True):
            found[at] = grade
    return found


def decode(loaded: Loaded, completions: Sequence[Completion]) -> list[str]:
    """The text of each completion, without its end token; other special tokens show."""
    ids = [c.ids[:-1] if c.finish == "stop" else c.ids for c in completions]
    return loaded.tokenizer.batch_decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)


def scores(groups: Iterable[Sampled], *, suite: str, step: int | None = None) -> Iterator[Score]:
    """Every sample as the row of an exam, a probe or a validation."""
    for group in groups:
        for number, answer in enumerate(group.samples):
            yield Score(
                id=group.problem.id,
                domain=group.problem.domain,
                sample=number,
                correct=answer.grade.correct,
                outcome=answer.grade.outcome,
                decided=answer.grade.decided,
                answer=answer.grade.answer,
                text=answer.text,
                tokens=len(answer.ids),
                finish=answer.finish,
                suite=suite,
                step=step,
            )
