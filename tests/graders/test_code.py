"""Responses that hold programs, graded: what is accepted, what is not, and that nothing is right for nothing."""

import json
from dataclasses import dataclass

import pytest

from posttrain.graders import code
from posttrain.graders.sandbox.pool import Limits
from posttrain.spec.errors import Mismatch


@dataclass
class Problem:
    answer: str
    prompt: str = "Write f."


DOUBLE = Problem(json.dumps({"entry": "f", "tests": "assert f(2) == 4\nassert f(0) == 0"}))
SUM = Problem(json.dumps({"stdin": [["1 2\n", "3\n"], ["4 5\n", "9\n"]]}))
RIGHT = "def f(n):\n    return n + n"
BARE = RIGHT + "\n"

FENCES = {
    "python": f"Here:\n```python\n{RIGHT}\n```\nDone.",
    "no language": f"```\n{RIGHT}\n```",
    "py": f"```py\n{RIGHT}\n```",
    "Python3": f"```Python3\n{RIGHT}\n```",
    "with attributes": f'```python title="a.py"\n{RIGHT}\n```',
    "tildes": f"~~~python\n{RIGHT}\n~~~",
    "longer": f"````python\n{RIGHT}\n````",
    "indented": "1. So:\n   ```python\n   def f(n):\n       return n + n\n   ```",
    "never closed": f"```python\n{RIGHT}",
    "windows line ends": f"```python\n{RIGHT}\n```".replace("\n", "\r\n"),
    "one line": "```python f = lambda n: n + n```",
    "no fence": BARE,
    "the last that defines it": f"```\ndef f(n):\n    pass\n```\nNo:\n```\n{RIGHT}\n```\n```\nprint(f(2))\n```",
    "then its output": f"```python\n{RIGHT}\n```\nIt prints\n```text\n4\n```",
    "after thoughts": f"<think>\n```python\ndef f(n): return 1\n```\n</think>\n```python\n{RIGHT}\n```",
}


@pytest.mark.parametrize("text", FENCES.values(), ids=FENCES)
def test_every_form_of_fence_is_read(text):
    """S-D13: all fence forms."""
    assert code.grade(DOUBLE, text).outcome == "right"


PROGRAMS = {
    "recursion": "def f(n):\n    return 0 if n == 0 else 2 + f(n - 1)",
    "helpers": "def g(n):\n    return n\ndef f(n):\n    return g(n) + g(n)",
    "constants": "TWO = 2\ndef f(n):\n    return TWO * n",
    "imports": "import operator\nfrom functools import partial\nf = partial(operator.mul, 2)",
    "numpy": "import numpy as np\ndef f(n):\n    return np.int64(n) * 2",
    "class Solution": "class Solution:\n    def f(self, n: int) -> int:\n        return n * 2",
    "odd characters in a text": "def f(n):\n    return len('\x0c\x1c\x85\u2028\u2029') // 5 * n * 2",
    "print": "def f(n):\n    print('thinking')\n    return n * 2\nprint(f(3))",
    "named lambda": "f = lambda n: n << 1",
}


@pytest.mark.parametrize("source", PROGRAMS.values(), ids=PROGRAMS)
def test_programs_as_people_write_them_are_right(source):
    """S-D13: recursion, helpers, constants, imports, class Solution, print, named function."""
    grade = code.grade(DOUBLE, f"```python\n{source}\n```")
    assert grade.correct and grade.answer == source + "\n"


def test_stdin_programs_are_right():
    """S-D13: stdin."""
    assert code.grade(SUM, "```python\nprint(sum(map(int, input().split())))\n```").correct
    assert code.grade(SUM, "a, b = map(int, input().split())\nprint(a + b)").correct
    assert code.grade(SUM, "print(3)").outcome == "wrong"


def test_tolerance_and_sequences_are_declared_by_the_problem():
    """S-D13: float tolerance, tuple against list."""
    tests = {"entry": "f", "tests": "assert f(3) == [0.3, 1]"}
    text = "def f(n):\n    return (0.1 * n, 1)"
    assert code.grade(Problem(json.dumps(tests)), text).outcome == "wrong"
    declared = Problem(json.dumps({**tests, "tolerance": 1e-6, "sequences": True}))
    assert code.grade(declared, text).outcome == "right"
    exact = Problem(json.dumps({"stdin": [["3\n", "0.3\n"]]}))
    assert code.grade(exact, "print(0.1 * int(input()))").outcome == "wrong"
    near = Problem(json.dumps({"stdin": [["3\n", "0.3\n"]], "tolerance": 1e-6}))
    assert code.grade(near, "print(0.1 * int(input()))").outcome == "right"


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "{}",
        "[]",
        "7",
        '{"stdin": []}',
        '{"stdin": 3}',
        '{"entry": "f", "tests": ""}',
        '{"entry": "f", "tests": "f(1)"}',
        '{"entry": "f", "tests": "assert f( =="}',
    ],
)
def test_a_problem_without_tests_is_an_error(answer):
    """S-D13: zero tests is an error."""
    with pytest.raises(Mismatch):
        code.grade(Problem(answer), BARE)


OUTCOMES = {
    "no_answer": "I cannot do that.",
    "wrong": "def f(n):\n    return n",
    "runtime_error": "def f(n):\n    return n +",
    "timeout": "def f(n):\n    while True: pass",
    "memory": "def f(n):\n    return bytearray(8 << 30)",
    "output_limit": "def f(n):\n    print('x' * 70000)\n    return n + n",
    "crashed": "import os\ndef f(n):\n    os._exit(0)",
    "unparsable": "x = '" + "a" * code.LONGEST + "'",
}


def test_outcomes_tell_how_a_grade_came_about():
    """S-D14: score 0 for sys.exit, os._exit, an endless loop, a memory bomb, an output flood."""
    grades = code.grade_all([DOUBLE] * len(OUTCOMES), list(OUTCOMES.values()), limits=Limits(wall=0.7))
    assert [grade.outcome for grade in grades] == list(OUTCOMES)
    assert not any(grade.correct for grade in grades)


def test_imports_choose_the_tier():
    assert code.tier("import os, numpy as np") == "numpy"
    assert code.tier("  from numpy.linalg import det") == "numpy"
    assert code.tier("import numpy\nfrom sympy import *") == "sympy"
    assert code.tier("# import numpy\nimport math\nx = 'numpy'") == "lean"
    judged = Problem(json.dumps({"entry": "f", "tests": "import numpy\nassert numpy.all(f(2) == 4)"}))
    assert code.grade(judged, BARE).correct
    assert code.grade(
        DOUBLE, "import numpy, sympy\ndef f(n):\n    return int(sympy.Integer(n) * numpy.int64(2))"
    ).correct
