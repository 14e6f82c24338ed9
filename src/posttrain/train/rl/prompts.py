"""Which problems a step asks: drawn uniformly over domains, each from seeded permutations."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from posttrain.data.records import Problem
from posttrain.runners.rollout import stream
from posttrain.spec.errors import Mismatch


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
