"""Ask a model: every sample of every problem, graded, as rows."""

import gc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from posttrain.data.records import AnswerType, Problem, Score
from posttrain.models.load import Loaded, load
from posttrain.models.sample import Sampling
from posttrain.runners.rollout import Grades, Sampled, rollout, scores
from posttrain.spec.errors import UsageError
from posttrain.spec.knobs import Resources

Progress = Callable[[int, int], None]
"""Called with samples done and samples in all."""


@dataclass(frozen=True)
class Asking:
    """How every problem is asked: equal askings give equal draws, so models asked alike are paired."""

    samples: int
    max_new_tokens: int
    temperature: float | Mapping[AnswerType, float]
    top_p: float
    seed: int

    def sampling(self, answer_type: AnswerType) -> Sampling:
        """As the sampler is told; temperature 0 is greedy."""
        heat = self.temperature
        if isinstance(heat, Mapping):
            if answer_type not in heat:
                raise UsageError(f"there is none for answers of type {answer_type}", where="temperature")
            heat = heat[answer_type]
        return Sampling(temperature=heat or 1.0, top_p=self.top_p, max_new_tokens=self.max_new_tokens, greedy=heat == 0)


def ask_folder(
    folder: Path,
    problems: Sequence[Problem],
    asking: Asking,
    *,
    resources: Resources,
    grading: Grades,
    step: int | None = None,
    progress: Progress | None = None,
) -> list[Score]:
    """Load a model, ask it, and free it: when this returns, the next checkpoint has the memory to itself."""
    loaded = load(folder, device=resources.device, compute=resources.compute)
    drawn = ask(loaded, problems, asking, grading=grading, step=step, progress=progress)
    del loaded
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return drawn


def ask(
    loaded: Loaded,
    problems: Sequence[Problem],
    asking: Asking,
    *,
    grading: Grades,
    suite: str = "problems",
    step: int | None = None,
    progress: Progress | None = None,
) -> list[Score]:
    """Every sample of every problem, graded, one row each, in the order of the problems."""
    order = {problem.id: place for place, problem in enumerate(problems)}
    by_type: dict[AnswerType, list[Problem]] = {}
    for problem in problems:
        by_type.setdefault(problem.answer_type, []).append(problem)
    sampled: list[Sampled] = []
    for answer_type, alike in by_type.items():
        sampling = asking.sampling(answer_type)
        told = _after(len(sampled) * asking.samples, len(problems) * asking.samples, progress)
        how = {"samples": asking.samples, "seed": asking.seed}
        sampled += rollout(loaded, alike, sampling, **how, grading=grading, progress=told)
    sampled.sort(key=lambda each: order[each.problem.id])
    return list(scores(sampled, suite=suite, step=step))


def _after(before: int, total: int, progress: Progress | None) -> Progress | None:
    """Progress of one part told as progress of the whole."""
    return (lambda done, _: progress(before + done, total)) if progress else None
