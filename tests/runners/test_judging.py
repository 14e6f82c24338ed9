"""What a stage grades with, and what it leaves on record of it."""

import json

from posttrain.data.records import Problem
from posttrain.graders.sandbox import level
from posttrain.runners.judging import grading
from posttrain.spec.knobs import Knobs, Resources
from support import FolderContext

TESTS = {"entry": "f", "tests": "assert f(1) == 4\nassert f(2) == 5", "reference": "def f(a): return a + 3"}
CODE = Problem(id="p", domain="code", prompt="add three", answer=json.dumps(TESTS), answer_type="code")
MATHS = Problem(id="q", domain="algebra", prompt="1 + 2", answer="3")


def told(folder, problem, text, **resources) -> tuple[dict[str, str], bool]:
    ctx = FolderContext(folder, Knobs(), resources=Resources(**resources))
    with grading(ctx) as judge:
        (grade,) = judge.grade_all([problem], [text])
    return ctx.found, grade.correct


def test_the_level_that_programs_ran_at_is_on_record(tmp_path):
    """S-D14: the level stands in the record of the node that graded code."""
    assert told(tmp_path, CODE, "def f(a): return a + 3") == ({"sandbox": level.find("L2")}, True)


def test_that_nothing_was_run_is_on_record(tmp_path):
    """S-D14: graded without a program, and said so."""
    assert told(tmp_path, CODE, "def f(a): return a + 3", sandbox="none") == ({"sandbox": "none"}, True)


def test_who_grades_no_code_tells_no_level(tmp_path):
    assert told(tmp_path, MATHS, r"\boxed{3}") == ({}, True)
    assert told(tmp_path, MATHS, r"\boxed{3}", sandbox="none") == ({}, True)
