"""Which problems a step asks: read and screened once, then drawn uniformly over domains from seeded permutations."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from posttrain.data import rows
from posttrain.data.chat import Prompting, prompt_ids
from posttrain.data.records import Problem, Score
from posttrain.graders import code
from posttrain.graders.registry import Grading
from posttrain.models.load import Loaded
from posttrain.models.sample import Sampling
from posttrain.runners.rollout import Grades, rollout, scores, stream
from posttrain.spec.errors import Mismatch, StageFailed
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
    untested: int
    """Code problems that state no tests."""


def screen(loaded: Loaded, problems: Sequence[Problem], *, grading: Grading, max_prompt_length: int) -> Screened:
    """Drop code without tests, golds that grade wrong, and prompts over `max_prompt_length` tokens.

    Mismatch where the golds that grade wrong pass 5 % of those that can be graded. MissingNeed where there is code, and
    nowhere to run it.
    """
    gradable = [p for p in problems if p.answer_type != "code" or _tested(p)]
    grading.ready(gradable)
    held = grading.self_checks(gradable)
    good = [p for p, holds in zip(gradable, held, strict=True) if holds]
    bad = len(gradable) - len(good)
    if bad > BAD_GOLDS * len(gradable):
        raise Mismatch(
            f"{bad} of {len(gradable)} golds fail their own grader, more than {BAD_GOLDS:.0%}",
            where="rl data",
            remedy="Look at the answers of the train split; a gold is an extracted final answer.",
        )
    prompting = Prompting(**loaded.prompting)
    short = [
        p for p in good if len(prompt_ids(loaded.tokenizer, p.prompt, p.answer_type, prompting)) <= max_prompt_length
    ]
    return Screened(
        kept=tuple(short), too_long=len(good) - len(short), bad_golds=bad, untested=len(problems) - len(gradable)
    )


def _tested(problem: Problem) -> bool:
    try:
        code.tests_of(problem.answer)
    except Mismatch:
        return False
    return True


def sift(
    loaded: Loaded,
    problems: Sequence[Problem],
    sampling: Sampling,
    *,
    samples: int,
    seed: int,
    journal: Journal,
    grading: Grades,
) -> list[Problem]:
    """Leave out what the model solves always or never (VibeThinker-3B §2.2.2); its answers are kept as rows.

    An answer that could not be graded counts on neither side; StageFailed, and nothing kept, where the sandbox was lost
    over every answer to a problem.
    """
    told = journal.get(SIFTED, 0, Score)
    if told is None:
        own = stream(seed, "prefilter")
        asked = rollout(loaded, problems, sampling, samples=samples, seed=own, grading=grading)
        told = list(scores(asked, suite="prefilter"))
        graded = {row.id for row in told if row.decided}
        if any(row.outcome == code.LOST and row.id not in graded for row in told):
            raise StageFailed(
                "the sandbox was lost over every answer to a problem, and whether it is to be asked is not known",
                where="rl prefilter",
                remedy="Give the same command again, with more memory or less work beside it.",
            )
        journal.put(SIFTED, 0, told)
    right, wrong = (Counter(row.id for row in told if row.decided and row.correct == way) for way in (True, False))
    return [p for p in problems if right[p.id] and wrong[p.id]]


@dataclass(frozen=True)
class Taken:
    """The problems of a draw, and where the next one starts."""

    problems: tuple[Problem, ...]
    cursor: int


class Prompts:
    """An endless order of problems that a single number points into.

    Draw n is of domain n mod D; each domain goes through seeded permutations of its problems, a new one each epoch.
    """

    def __init__(self, problems: Sequence[Problem], *, domains: Sequence[str], seed: int) -> None:
        """Hold the problems of `domains`; Mismatch where one of them has none."""
        self.by_domain: Mapping[str, tuple[Problem, ...]] = {
            domain: tuple(p for p in problems if p.domain == domain) for domain in domains
        }
        for domain, own in self.by_domain.items():
            if not own:
                raise Mismatch(f"no problem of domain {domain} is left to train on", where="rl data")
        self._domains, self._seed = tuple(domains), seed
        self._distinct = len({p.id for own in self.by_domain.values() for p in own})
        self._order = cache(self._permutation)

    def __len__(self) -> int:
        """Distinct problems."""
        return self._distinct

    def at(self, draw: int) -> Problem:
        """The problem of draw `draw`, from 0."""
        turn, which = divmod(draw, len(self._domains))
        own = self.by_domain[self._domains[which]]
        epoch, place = divmod(turn, len(own))
        return own[self._order(self._domains[which], epoch)[place]]

    def take(self, cursor: int, count: int, *, without: Collection[str] = ()) -> Taken:
        """`count` distinct problems from draw `cursor` on, none of the ids `without`; fewer where there are no more."""
        seen, found = set(without), list[Problem]()
        while len(found) < count and len(seen) < len(self):
            problem = self.at(cursor)
            cursor += 1
            if problem.id not in seen:
                seen.add(problem.id)
                found.append(problem)
        return Taken(tuple(found), cursor)

    def _permutation(self, domain: str, epoch: int) -> list[int]:
        generator = np.random.default_rng(stream(self._seed, domain, epoch))
        return generator.permutation(len(self.by_domain[domain])).tolist()
