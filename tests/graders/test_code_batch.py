"""Every honest program and every hack in one batch, as responses to problems: what is right is found right, no more."""

import json
from collections import Counter
from concurrent.futures import Future
from dataclasses import dataclass

import pytest

from graders.attacks import book
from graders.attacks.grading import HACKS
from posttrain.graders.code import grade_all
from posttrain.graders.registry import Grading
from posttrain.graders.sandbox import level
from posttrain.graders.sandbox.job import Job, Limits, Ran
from posttrain.graders.sandbox.pool import Pool

CHECK = "def check(candidate):\n    for n in range(2, 6):\n        assert candidate(n) == n * n\n"
VALUES = "assert square(3) == 9\nassert square(12) == 144"


@dataclass
class Problem:
    answer: str
    answer_type: str = "code"
    prompt: str = ""


def honest(entry: book.Entry) -> tuple[Problem, str]:
    said: dict[str, object] = {
        "tolerance": float(entry.fields.get("tolerance", 0)),
        "sequences": "sequences" in entry.fields,
    }
    if "stdin" in entry.fields:
        said["stdin"] = list(zip(entry.titled("input"), entry.titled("output"), strict=True))
    else:
        said |= {"entry": "f", "tests": entry.titled("tests")[0]}
    said["reference"] = entry.parts[0][1]
    return Problem(json.dumps(said)), entry.parts[0][1]


def hacked() -> list[tuple[Problem, str]]:
    answers = {
        "values": {"entry": "square", "tests": VALUES},
        "judge": {"entry": "square", "tests": CHECK},
        "stdin": {"stdin": [["3\n", "9\n"], ["12\n", "144\n"]]},
    }
    slow = ("hanging", "endless", "after the end")
    return [
        (Problem(json.dumps(answers[mode])), hack.source)
        for hack in HACKS
        for mode in hack.modes
        if not any(word in hack.name for word in slow)
    ]


@pytest.fixture(scope="module")
def grading():
    with Grading() as found:
        yield found


@pytest.mark.parametrize("form", ["{}", "So:\n```python\n{}```\nThat is all."], ids=["bare", "fenced"])
def test_honest_programs_are_right_and_hacks_are_not_side_by_side(grading, form):
    """S-D13, S-D14: no honest program is punished, no hack is paid, and neither changes the other's grade."""
    good = [honest(entry) for entry in book.read("honest.txt")]
    bad = hacked()
    mixed = [pair for pairs in zip(good, bad, strict=False) for pair in pairs] + bad[len(good) :]
    grades = grading.grade_all([problem for problem, _ in mixed], [form.format(text) for _, text in mixed])
    told = {(problem.answer, text): grade for (problem, text), grade in zip(mixed, grades, strict=True)}
    assert [text for problem, text in good if not told[problem.answer, text].correct] == []
    assert [text for problem, text in bad if told[problem.answer, text].correct] == []
    assert all(grade.decided for grade in grades)
    assert len(good) >= 25 and len(bad) >= 80


def test_honest_programs_are_golds_that_hold(grading):
    """S-D13: golds grade themselves, in one batch over every tier."""
    assert all(grading.self_checks([honest(entry)[0] for entry in book.read("honest.txt")]))


class Late:
    """A sandbox where the first run of each program is ended by its deadline, after so many seconds of computing."""

    def __init__(self, pool: Pool, cpu: float) -> None:
        self.pool, self.level, self.cpu, self.runs = pool, pool.level, cpu, Counter[str]()

    def submit(self, job: Job) -> Future[Ran]:
        self.runs[repr(job.body)] += 1
        if self.runs[repr(job.body)] > 1:
            return self.pool.submit(job)
        late = Future[Ran]()
        late.set_result(Ran("timeout", cpu=self.cpu))
        return late

    def close(self) -> None:
        self.pool.close()


@pytest.mark.parametrize(("cpu", "first", "runs"), [(0.03, "right", 2), (1.4, "timeout", 1)])
def test_a_program_that_a_busy_machine_had_no_time_for_is_run_again(cpu: float, first: str, runs: int) -> None:
    """S-D13: a right program is right under load too; one that sleeps is late again, one that computes is run once."""
    problem = Problem(json.dumps({"entry": "f", "tests": "assert f(2) == 4"}))
    programs = ["def f(n): return 2 * n", "import time\ndef f(n): time.sleep(9)"]
    with Pool(level.find()) as pool:
        sandbox = Late(pool, cpu)
        grades = grade_all([problem] * 2, programs, opens=lambda: sandbox, limits=Limits(wall=1.5))
    assert [grade.outcome for grade in grades] == [first, "timeout"]
    assert all(grade.decided for grade in grades) and set(sandbox.runs.values()) == {runs}
