"""Where problems come from: the built-in worlds, or a file of the user's own."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from posttrain.algos import overlap
from posttrain.curate import exercises, worlds
from posttrain.curate.filters import Log, distinct
from posttrain.data import rows
from posttrain.data.records import Problem, Solution
from posttrain.graders.answers import box, boxed
from posttrain.spec.errors import Mismatch

Source = Callable[[worlds.Side], Iterator[Problem]]
"""The problems of one side of the split, distinct, in an order fixed by the seed."""

Settle = Callable[[Iterable[Problem]], Iterator[Problem]]
"""Problems with their programs tried."""

FINAL = "####"
"""What stands before the final answer in files of GSM8K's format."""


@dataclass(frozen=True)
class Fields:
    """What the fields of a user's file are called."""

    prompt: str
    answer: str
    solution: str | None = None
    category: str | None = None


def built_in(domain: str, seed: int, *, difficulty: int, expression_only: bool = False) -> Source:
    """The built-in world of a domain; `expression_only` leaves out code that must be run to be checked."""
    return lambda side: worlds.distinct(domain, side, seed, difficulty=difficulty, expression_only=expression_only)


def local(path: Path, fields: Fields, *, domain: str, categories: frozenset[str], seed: int, log: Log) -> Source:
    """The rows of a JSONL file that belong to a domain: all of them where it names no category field.

    Gold and own solution are read from `answer`, or from `solution` where that is a field of its own.
    Mismatch where no row is left.
    """
    wanted = [name for name in (fields.prompt, fields.answer, fields.solution, fields.category) if name]
    found: list[Problem] = []
    for row in rows.read_fields(path, wanted):
        if fields.category and row[fields.category].casefold() not in categories:
            log.unmapped += 1
        else:
            found.append(_problem(row, fields, domain))
    if not found:
        others = f": its {log.unmapped} rows are of other categories" if log.unmapped else ""
        raise Mismatch(
            f"the file has no problem of the domain {domain}{others}",
            where=str(path),
            remedy=f"A problem is a line with the fields {', '.join(wanted)}.",
        )
    order = _ordered(found, seed, log)
    return lambda side: (problem for problem in order if worlds.side(problem.prompt) == side)


def exercised(path: Path, shape: str, *, domain: str, seed: int, log: Log, settle: Settle) -> Source:
    """The exercises of a file, or the problems of one that this program wrote; `shape` as in `exercises.read`.

    `settle` finds out which of several programs of an exercise pass its tests; our own problems have a gold of theirs.
    """
    order = _ordered(exercises.read(path, shape, domain=domain, log=log), seed, log)
    tried = iter if shape == exercises.OWN else settle
    return lambda side: tried(problem for problem in order if worlds.side(problem.prompt) == side)


def final_answer(text: str) -> str:
    r"""The gold in an answer field: after the last `####`, in the last `\boxed{…}`, else the whole text."""
    if FINAL in text:
        return text.rpartition(FINAL)[2].strip()
    return (boxed(text) or text).strip()


def _ordered(problems: Iterable[Problem], seed: int, log: Log) -> list[Problem]:
    """Each problem once, in an order fixed by the seed."""
    return sorted(distinct(problems, log), key=lambda problem: overlap.digest(f"{seed} {problem.id}"))


def _problem(row: Mapping[str, str], fields: Fields, domain: str) -> Problem:
    gold = final_answer(row[fields.answer])
    trace = _trace(row[fields.solution or fields.answer], gold)
    solutions = (Solution(style="source", text=trace, source="file"),) if trace else ()
    prompt = row[fields.prompt].strip()
    return Problem(
        id=worlds.identity(prompt), domain=domain, prompt=prompt, answer=gold, template="file", solutions=solutions
    )


def _trace(text: str, gold: str) -> str:
    r"""A solution that ends in `\boxed{…}`; empty where the text is the answer alone."""
    text = text.strip()
    if text == gold:
        return ""
    if boxed(text) is not None:
        return text
    body = _CALCULATOR.sub("", text.rpartition(FINAL)[0] if FINAL in text else text).strip()
    return f"{body}\n{box(gold)}" if body else ""


_CALCULATOR = re.compile(r"<<[^<>]*>>")
"""GSM8K's notes to a calculator within its solutions."""
