"""Programming exercises in files: every shape of row that is read, and the problems it is read as."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from posttrain.curate import worlds
from posttrain.curate.exercises import called, judged, own
from posttrain.curate.exercises.line import UNSAYABLE, Exercise, Line, Ungradable
from posttrain.curate.filters import Log, Unread
from posttrain.data import rows
from posttrain.data.records import Problem, Solution
from posttrain.graders.code import program, tests_of
from posttrain.spec.errors import Mismatch

DOMAIN = "code"
"""The domain of every exercise."""

SHAPES: Mapping[str, Callable[[Line], Exercise]] = {
    "mbpp": called.mbpp,
    "humaneval": called.humaneval,
    "apps": judged.apps,
    "livecodebench": judged.livecodebench,
}
"""Reads a row as an exercise; Ungradable where it cannot be graded, Mismatch where it has another shape."""

OWN = "problems"
"""The shape of the problems that this program writes."""

EMPTY = "Fill it, or name another; one of the role ready may also be taken away, and is then made."

_HALF = re.compile("[\ud800-\udfff]")


def read(path: Path, shape: str, *, domain: str, log: Log) -> list[Problem]:
    """The problems of a file, in its order; rows that cannot be graded go to the log with the reason.

    Mismatch for a row of another shape, and where no row is left.
    """
    found: list[Problem] = []
    count = 0
    for where, problem in _problems(path, shape, domain, log):
        count += 1
        try:
            found.append(_graded(problem()))
        except Ungradable as reason:
            log.unread.append(Unread(where, str(reason)))
    if not found:
        what = f"none of its {count} rows can be graded: {log.unread[-1].why}" if count else "the file has no row"
        raise Mismatch(what, where=str(path), remedy=EMPTY)
    return found


def looks_like(path: Path) -> str:
    """The shape of a file by the fields of its first row: LiveCodeBench's where it has its question, else our own."""
    first = next(rows.read_tables(path), None)
    return "livecodebench" if first is not None and "question_content" in first[1] else OWN


def _problems(path: Path, shape: str, domain: str, log: Log) -> Iterator[tuple[str, Callable[[], Problem]]]:
    """Where each row stands, and what reads it."""
    if shape == OWN:
        for where, problem in own.problems(path, domain):
            yield where, partial(_as_it_is, problem)
        return
    for where, fields in rows.read_tables(path):
        yield where, partial(_problem, Line(where, fields, shape), shape, log)


def _as_it_is(problem: Problem) -> Problem:
    return problem


def _problem(line: Line, shape: str, log: Log) -> Problem:
    exercise = SHAPES[shape](line)
    prompt = f"{exercise.question}\n\n{exercise.call}"
    if not exercise.question:
        raise Ungradable("it asks nothing")
    log.no_python += exercise.dropped
    return Problem(
        id=worlds.identity(prompt),
        domain=DOMAIN,
        prompt=prompt,
        answer=_compact(exercise.answer),
        answer_type="code",
        template=shape,
        difficulty=exercise.difficulty,
        solutions=tuple(
            Solution(style="source", text=_response(text, exercise.answer.get("entry", "")), source="file")
            for text in exercise.programs
        ),
    )


def _response(source: str, entry: str) -> str:
    """A program as a response: bare, or fenced where its grader would find another program in it, or none."""
    fence = "```"
    while fence in source:
        fence += "`"
    return source if program(source, entry) == source else f"{fence}python\n{source}\n{fence}"


def _graded(problem: Problem) -> Problem:
    """The problem, if its tests can be read; Ungradable else."""
    if any(_HALF.search(text) for text in (problem.prompt, problem.answer, *(s.text for s in problem.solutions))):
        raise Ungradable("it holds half a character (a lone surrogate)")
    if problem.answer_type == "code":
        try:
            tests_of(problem.answer)
        except Mismatch as error:
            raise Ungradable(error.what) from error
    return problem


def _compact(answer: Mapping[str, Any]) -> str:
    try:
        return json.dumps(answer, ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=True)
    except (ValueError, RecursionError) as error:
        raise Ungradable(UNSAYABLE) from error
