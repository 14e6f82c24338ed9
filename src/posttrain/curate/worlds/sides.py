"""Drawing problems from the built-in worlds: endless, distinct on one side of the split, or for pre-training text."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import count, islice
from random import Random
from typing import Literal

from posttrain.algos import overlap
from posttrain.curate.worlds import algebra, calculus, code, geometry, statistics
from posttrain.curate.worlds.template import Made, Template
from posttrain.data.records import Problem, Solution
from posttrain.graders.answers import box
from posttrain.spec.errors import Mismatch, UsageError

Side = Literal["train", "probe", "val", "test"]

_TEMPLATES: Mapping[str, tuple[Template, ...]] = {
    "algebra": algebra.TEMPLATES,
    "geometry": geometry.TEMPLATES,
    "calculus": calculus.TEMPLATES,
    "statistics": statistics.TEMPLATES,
    "code": code.TEMPLATES,
}
_EXPRESSIONS: Mapping[str, tuple[Template, ...]] = {**_TEMPLATES, "code": code.EXPRESSIONS}
DOMAINS = tuple(_TEMPLATES)
"""The domains that have a built-in world."""

USUAL = 2
"""The difficulty unless another is asked for."""

_RARE = frozenset({"code"})
"""Domains of which a pre-training text holds every other template only: they are learnt soon."""

SHARES: Mapping[Side, int] = {"train": 80, "probe": 5, "val": 5, "test": 10}
"""How many in 100 problems lie on each side."""

_PLACES: tuple[Side, ...] = tuple(name for name, share in SHARES.items() for _ in range(share))
_ID = 16
_PATIENCE = 20_000
"""Draws without a new problem after which a template counts as used up."""


def side(prompt: str) -> Side:
    """The side of the split a prompt lies on, by its normalised digest."""
    return _side(overlap.digest(prompt))


def identity(prompt: str) -> str:
    """The id of the problem that a prompt states: the first 16 digits of its normalised digest."""
    return overlap.digest(prompt)[:_ID]


def templates(domain: str, *, expression_only: bool = False) -> tuple[str, ...]:
    """The names of a domain's templates; UsageError where the domain has no world.

    Here and below `expression_only` leaves out code that is more than one arithmetic expression.
    """
    return tuple(template.__name__ for template in _of(domain, expression_only))


def generate(domain: str, seed: int | str, *, difficulty: int = USUAL) -> Iterator[Problem]:
    """Problems of a domain without end, its templates in turn; prompts may come again."""
    rng = _stream(seed, domain, difficulty)
    while True:
        for template in _of(domain):
            made = template(rng, difficulty)
            yield _problem(domain, template, made, overlap.digest(made.prompt), difficulty)


def draw(
    domain: str, on: Side, n: int, seed: int | str, *, difficulty: int = USUAL, expression_only: bool = False
) -> list[Problem]:
    """The first n distinct problems of a domain on one side of the split, its templates in turn while they last.

    More problems with the same seed begin with the same ones. Mismatch where the side has fewer than n.
    """
    found = list(islice(distinct(domain, on, seed, difficulty=difficulty, expression_only=expression_only), n))
    if len(found) < n:
        raise Mismatch(
            f"{n} problems are needed on the {on} side, {len(found)} are available",
            where=f"domain {domain}",
            remedy="Ask for fewer, or for a higher difficulty.",
        )
    return found


def distinct(
    domain: str, on: Side, seed: int | str, *, difficulty: int = USUAL, expression_only: bool = False
) -> Iterator[Problem]:
    """Distinct problems of one side, the templates in turn, until every template is used up."""
    rng = _stream(seed, domain, difficulty, on)
    seen: set[str] = set()
    left = list(_of(domain, expression_only))
    while left:
        for template in tuple(left):
            for _ in range(_PATIENCE):
                made = template(rng, difficulty)
                digest = overlap.digest(made.prompt)
                if digest not in seen and _side(digest) == on:
                    seen.add(digest)
                    yield _problem(domain, template, made, digest, difficulty)
                    break
            else:
                left.remove(template)


def stream_train(seed: int | str, *, domains: Sequence[str] = DOMAINS, difficulty: int = USUAL) -> Iterator[Problem]:
    """Problems of the train side over all domains without end, in random order; prompts may come again.

    In every run of as many problems as there are templates, each template stands about once; those of `_RARE` stand
    in every other run.
    """
    rng = _stream(seed, *domains, difficulty)
    deck = [(domain, n, template) for domain in domains for n, template in enumerate(_of(domain))]
    for turn in count():
        rng.shuffle(deck)
        for domain, n, template in deck:
            while domain not in _RARE or n % 2 == turn % 2:
                made = template(rng, difficulty)
                digest = overlap.digest(made.prompt)
                if _side(digest) == "train":
                    yield _problem(domain, template, made, digest, difficulty)
                    break


def _of(domain: str, expression_only: bool = False) -> tuple[Template, ...]:
    if domain not in _TEMPLATES:
        known = ", ".join(DOMAINS)
        raise UsageError(f"{domain!r} has no built-in world", where="domain", remedy=f"Known: {known}.")
    return (_EXPRESSIONS if expression_only else _TEMPLATES)[domain]


def _side(digest: str) -> Side:
    return _PLACES[int(digest[:8], 16) % 100]


def _stream(seed: int | str, *words: str | int) -> Random:
    """A stream of its own for each use of a seed; seeding by text does not depend on the process."""
    return Random("/".join(map(str, (seed, *words))))  # noqa: S311


def _problem(domain: str, template: Template, made: Made, digest: str, difficulty: int) -> Problem:
    steps, terse = "; ".join(made.steps), made.program or box(made.answer)
    worked = f"# {steps}\n{terse}" if made.program else f"{steps} {terse}"
    return Problem(
        id=digest[:_ID],
        domain=domain,
        prompt=made.prompt,
        answer=made.answer,
        answer_type="code" if made.program else "maths",
        template=template.__name__,
        difficulty=difficulty,
        solutions=(Solution(style="worked", text=worked), Solution(style="terse", text=terse)),
    )
