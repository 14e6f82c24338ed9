"""Which problems can be trained on: read once, those that cannot be asked or graded left out and counted."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from posttrain.data import rows
from posttrain.data.chat import Prompting, prompt_ids
from posttrain.data.records import Problem, Score
from posttrain.graders.registry import self_check
from posttrain.models.load import Loaded
from posttrain.runners.rollout import rollout, scores, stream
from posttrain.spec.errors import Mismatch
from posttrain.train.rl.collect import Drawing
from posttrain.train.rl.journal import Journal

SIFTED = "prefilter.jsonl.gz"
"""The answers that the prefilter judged by."""

BAD_GOLDS = 0.05
"""Largest share of golds that may fail their own grader before the data is refused."""


def read(files: Iterable[Path], domains: Sequence[str]) -> list[Problem]:
    """The problems of the files, of `domains` alone unless that is empty; one that comes twice counts once."""
    found: dict[str, Problem] = {}
    for path in files:
        for problem in rows.read(path, Problem):
            if not domains or problem.domain in domains:
                found.setdefault(problem.id, problem)
    return list(found.values())


@dataclass(frozen=True)
class Screened:
    """What is left of the problems, and why the others are not."""

    kept: tuple[Problem, ...]
    too_long: int
    """Prompts over the window's part for prompts."""
    bad_golds: int
    """Problems whose gold fails its own grader."""


def screen(loaded: Loaded, problems: Sequence[Problem], *, max_prompt_length: int) -> Screened:
    """Drop prompts over `max_prompt_length` tokens and golds that grade wrong; Mismatch where those pass 5 %."""
    good = [p for p in problems if self_check(p)]
    bad = len(problems) - len(good)
    if bad > BAD_GOLDS * len(problems):
        raise Mismatch(
            f"{bad} of {len(problems)} golds fail their own grader, more than {BAD_GOLDS:.0%}",
            where="rl data",
            remedy="Look at the answers of the train split; a gold is an extracted final answer.",
        )
    prompting = Prompting(**loaded.prompting)
    short = [
        p for p in good if len(prompt_ids(loaded.tokenizer, p.prompt, p.answer_type, prompting)) <= max_prompt_length
    ]
    return Screened(kept=tuple(short), too_long=len(good) - len(short), bad_golds=bad)


def sift(
    loaded: Loaded, problems: Sequence[Problem], drawing: Drawing, *, samples: int, journal: Journal
) -> list[Problem]:
    """Leave out what the model solves always or never (VibeThinker-3B §2.2.2); its answers are kept as rows."""
    told = journal.get(SIFTED, 0, Score)
    if told is None:
        seed = stream(drawing.seed, "prefilter")
        asked = rollout(loaded, problems, drawing.sampling, samples=samples, seed=seed, grade=drawing.grade)
        told = list(scores(asked, suite="prefilter"))
        journal.put(SIFTED, 0, told)
    right = Counter(row.id for row in told if row.correct)
    return [p for p in problems if 0 < right[p.id] < samples]
