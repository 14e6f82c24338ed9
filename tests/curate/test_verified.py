"""Problems are verified many at a time, and the outcome is that of one at a time: what is kept, rejected and read."""

import json
from collections.abc import Iterable, Iterator
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posttrain.curate import filters
from posttrain.curate.filters import Log, accepted, verified
from posttrain.data.records import Problem, Solution
from posttrain.graders.registry import Grading, grader, self_check


def problem(number: int, marks: str) -> Problem:
    """A problem whose gold is good or `x`, with a solution for each further mark: `+` right, `-` wrong."""
    gold, *rest = marks
    answer = str(number) if gold == "+" else "\\frac{3"
    said = [number if mark == "+" else number + 1 for mark in rest]
    solutions = tuple(Solution(style="s", text=f"{at}: \\boxed{{{value}}}") for at, value in enumerate(said))
    return Problem(id=str(number), domain="algebra", prompt=f"{number}?", answer=answer, solutions=solutions)


def one_by_one(problems: Iterable[Problem], log: Log) -> Iterator[Problem]:
    """The rule, without batches."""
    for each in problems:
        if not self_check(each):
            log.rejected.append(each)
            continue
        right = tuple(s for s in each.solutions if grader(each.answer_type)(each, s.text).correct)
        if len(right) == len(each.solutions):
            yield each
            continue
        wrong = tuple(s.model_copy(update={"verified": False}) for s in each.solutions if s not in right)
        log.rejected.append(each.model_copy(update={"solutions": wrong}))
        if right:
            yield each.model_copy(update={"solutions": right})


@given(
    marks=st.lists(st.text("+-", min_size=1, max_size=3), max_size=30),
    most=st.one_of(st.none(), st.integers(0, 12)),
    group=st.integers(1, 9),
)
def test_many_at_once_are_as_one_by_one(marks: list[str], most: int | None, group: int) -> None:
    """S-B5, S-B7: same problems, same rejects in the same order, and not one problem more is read."""
    problems = [problem(number, each) for number, each in enumerate(marks)]
    read: dict[str, list[str]] = {"batch": [], "single": []}

    def source(name: str) -> Iterator[Problem]:
        for each in problems:
            read[name].append(each.id)
            yield each

    logs = Log(), Log()
    before = filters.GROUP
    filters.GROUP = group
    try:
        batch = list(verified(source("batch"), logs[0], Grading(), most=most))
    finally:
        filters.GROUP = before
    single = list(islice(one_by_one(source("single"), logs[1]), most))
    assert batch == single
    assert logs[0].rejected == logs[1].rejected
    assert read["batch"] == read["single"]


def test_code_is_verified_by_running_it_once() -> None:
    """S-B9, S-D13: a gold and a solution that differ in comments alone are one program; wrong ones are rejected."""
    tests = {"entry": "f", "tests": "assert f(2) == 4", "reference": "def f(a): return a * 2"}
    told = ["# twice\ndef f(a): return a * 2", "def f(a): return a * 2", "def f(a): return a * 3"]
    code = Problem(
        id="c",
        domain="code",
        prompt="Double.",
        answer=json.dumps(tests),
        answer_type="code",
        solutions=tuple(Solution(style="s", text=text) for text in told),
    )
    log = Log()
    with Grading(remembers=True) as grading:
        (kept,) = verified([code], log, grading)
        assert [s.text for s in kept.solutions] == told[:2]
        grading.close()
        assert accepted([kept], grading) == [[True, True]] and grading.self_checks([kept]) == [True]
        assert grading.level is None, "nothing was run again"
    assert [[s.text for s in p.solutions] for p in log.rejected] == [told[2:]]
    assert not log.rejected[0].solutions[0].verified


@pytest.mark.parametrize("answer", ['{"entry": "f", "tests": ""}', "{}", '{"stdin": []}'])
def test_code_without_tests_is_rejected_whole(answer: str) -> None:
    """S-D13: zero tests are no gold."""
    log = Log()
    bad = Problem(id="c", domain="code", prompt="?", answer=answer, answer_type="code")
    with Grading() as grading:
        assert list(verified([bad], log, grading)) == []
    assert log.rejected == [bad]
