"""Which programs of an exercise are right, where its file has several."""

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from posttrain.curate.filters import Log
from posttrain.data.records import Problem, Solution
from posttrain.graders.code import program
from posttrain.graders.registry import Grading

GROUP = 64
"""Exercises whose programs are run at once."""


def settled(problems: Iterable[Problem], grading: Grading, log: Log, *, solutions: int | None) -> Iterator[Problem]:
    """Exercises with their right programs first, of which one is the reference.

    An exercise with one program is handed on as it is: its reference is that program, and its gold holds or does not.
    Of several as many are run as `solutions` right ones need (None: all), at least one; those that fail go to the log.
    Where all fail the exercise is handed on with them, and its gold does not hold.
    """
    source = iter(problems)
    while group := list(islice(source, GROUP)):
        tried = _tried(group, grading, solutions)
        for problem in group:
            yield _with(problem, tried.get(problem.id, []), log)


def _tried(group: Sequence[Problem], grading: Grading, solutions: int | None) -> dict[str, list[tuple[Solution, bool]]]:
    """Id of each exercise with several programs → those that were run, and whether they are right."""
    found: dict[str, list[tuple[Solution, bool]]] = {p.id: [] for p in group if len(p.solutions) > 1}
    open_ = [problem for problem in group if problem.id in found]
    while open_:
        tries = [(problem, problem.solutions[len(found[problem.id])]) for problem in open_]
        grades = grading.grade_all(
            [problem for problem, _ in tries], [solution.text for _, solution in tries], sure=True
        )
        for (problem, solution), grade in zip(tries, grades, strict=True):
            found[problem.id].append((solution, grade.correct))
        open_ = [problem for problem in open_ if not _enough(problem, found[problem.id], solutions)]
    return found


def _enough(problem: Problem, tried: Sequence[tuple[Solution, bool]], solutions: int | None) -> bool:
    right = sum(passed for _, passed in tried)
    return len(tried) == len(problem.solutions) or (solutions is not None and right >= max(1, solutions))


def _with(problem: Problem, tried: Sequence[tuple[Solution, bool]], log: Log) -> Problem:
    right = tuple(solution for solution, passed in tried if passed)
    if not right:
        return problem
    wrong = tuple(solution.model_copy(update={"verified": False}) for solution, passed in tried if not passed)
    if wrong:
        log.rejected.append(problem.model_copy(update={"solutions": wrong}))
    answer = json.loads(problem.answer)
    answer["reference"] = program(right[0].text, answer.get("entry", ""))
    text = json.dumps(answer, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return problem.model_copy(update={"answer": text, "solutions": (*right, *problem.solutions[len(tried) :])})
