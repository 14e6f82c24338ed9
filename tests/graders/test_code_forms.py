"""The forms that a code problem's answer takes: JSON calls, completions, setup, references; and what is none."""

import json
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posttrain.graders import code
from posttrain.graders.sandbox.cases import Calls, Code
from posttrain.spec.errors import Mismatch


@dataclass
class Problem:
    answer: str
    id: str = "exercise-7"
    prompt: str = "Write f."


def told(**answer: object) -> Problem:
    return Problem(json.dumps(answer))


def outcomes(problem: Problem, *texts: str) -> list[str]:
    return [grade.outcome for grade in code.grade_all([problem] * len(texts), texts)]


VALUES = [
    0,
    -7,
    10**30,
    2.5,
    -0.0,
    1e300,
    float("inf"),
    True,
    None,
    "",
    "a'\"\n\u00e9",
    [],
    [[1, [2.0]], "x"],
    {"k": [1]},
]


def test_json_arguments_and_results_keep_their_types():
    """S-B9: types survive JSON: what goes in as a whole number, a fraction or nested lists comes out so."""
    problem = told(entry="f", calls=[{"args": [value, [value]], "returns": [value, repr(value)]} for value in VALUES])
    assert outcomes(problem, "def f(a, b):\n    assert b == [a]\n    return [a, repr(a)]") == ["right"]


plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
nested = st.recursive(plain, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)


@settings(max_examples=60)
@given(st.lists(nested, min_size=1, max_size=6))
def test_any_json_value_goes_in_and_comes_out_as_it_was(values):
    """S-B9: types survive JSON."""
    same = told(entry="f", calls=[{"args": [value], "returns": value} for value in values])
    typed = told(entry="f", calls=[{"args": [value], "returns": [value, type(value).__name__]} for value in values])
    assert outcomes(same, "def f(x): return x") == ["right"]
    assert outcomes(typed, "def f(x): return [x, type(x).__name__]") == ["right"]


def test_json_results_compare_by_type_and_take_a_tuple_for_a_list():
    """S-D13: tuple against list where the tests cannot say which."""
    problem = told(entry="f", calls=[{"args": [2], "returns": [1, [2, 3]]}])
    texts = ["def f(n): return (1, (2, 3))", "def f(n): return [1, [2.0, 3]]", "def f(n): return [True, [2, 3]]"]
    assert outcomes(problem, *texts) == ["right", "wrong", "wrong"]
    strict = told(entry="f", calls=[{"args": [2], "returns": [1, [2, 3]]}], sequences=False)
    assert outcomes(strict, *texts[:1], "def f(n): return [1, [2, 3]]") == ["wrong", "right"]
    near = told(entry="f", calls=[{"args": [], "returns": 0.3}], tolerance=1e-9)
    assert outcomes(near, "def f(): return 0.1 * 3", "def f(): return 0.31") == ["right", "wrong"]


EQUAL_TO_ALL = "class A:\n def __eq__(s, o): return True\n def __sub__(s, o): return 0\ndef f(x): return A()"


@pytest.mark.parametrize(
    ("tests", "hack", "honest"),
    [
        ("assert (f(1) == 12) == True", EQUAL_TO_ALL, "def f(x): return 12"),
        ("assert f(1) - 12 == 0", EQUAL_TO_ALL, "def f(x): return 12"),
        ("assert all(a == 12 for a in [f(1)]) == True", EQUAL_TO_ALL, "def f(x): return 12"),
        ("for a, b in zip(map(f, [1, 2]), [2, 3]): assert a == b", "def f(x): raise StopIteration", "f = (1).__add__"),
        ("assert abs(f(1) - 1e9) < 1e-6", "def f(x): return 1e9 + 500", "def f(x): return 1e9"),
    ],
)
def test_what_a_function_returned_is_judged_by_nothing_of_its_own(tests, hack, honest):
    """S-D14: always-true `__eq__`; the parent compares, whatever an assertion looks like."""
    failed, passed = outcomes(told(entry="f", tests=tests), hack, honest)
    assert failed in ("wrong", "runtime_error") and passed == "right"


def test_json_calls_reach_a_method_of_solution_and_hide_what_they_want():
    """S-D13, S-D14: class Solution; expected outputs never enter the child."""
    problem = told(entry="add", calls=[{"args": [1, 2], "returns": 3}])
    assert outcomes(problem, "class Solution:\n    def add(self, a: int, b: int) -> int:\n        return a + b") == [
        "right"
    ]
    tests = code.tests_of(problem.answer)
    assert isinstance(tests, Calls) and [case.call for case in tests.cases] == ["add(1, 2)"]


PREFIX = (
    'from typing import List\nimport math\n\ndef g(n):\n    return n * n\n\n\ndef f(n: int) -> int:\n    """Twice."""\n'
)
TWICE = "def check(candidate):\n    assert candidate(2) == 4\n    assert candidate(0) == 0\n"


def test_a_response_may_go_on_from_the_prefix_or_be_the_whole_function():
    """S-D13: HumanEval's completions, and programs that rely on what stands before the function."""
    problem = told(entry="f", tests=TWICE, prefix=PREFIX)
    right = {
        "a body": "    return n + n\n",
        "a body of lines": "    for _ in range(1):\n        pass\n    return int(math.sqrt(g(n))) * 2\n",
        "a body in a fence": "```python\n    return n + n\n```",
        "the whole": "def f(n):\n    return n + n",
        "the whole with its helpers": "So:\n```python\ndef f(n: int) -> int:\n    return int(math.sqrt(g(n))) * 2\n```",
        "prefix and all": PREFIX + "    return n + n",
        "from the future": "from __future__ import annotations\ndef f(n: X):\n    return n + n",
    }
    assert dict(zip(right, outcomes(problem, *right.values()), strict=True)) == dict.fromkeys(right, "right")
    wrong = ["    return n", "I do not know.", "    return (", "x = 1"]
    assert outcomes(problem, *wrong) == ["wrong", "no_answer", "runtime_error", "wrong"]


def test_a_body_begins_a_line_of_its_own_where_the_prefix_does_not_end_one():
    """S-D13: a stripped head, and a response that begins with the end of its line."""
    problem = told(entry="f", tests=TWICE, prefix='def f(n):\n    """Twice n."""')
    assert outcomes(problem, "\n    m = n\n    return n + m", "  # n\n    return n * 2") == ["right", "right"]


def test_a_comment_ends_where_python_ends_its_line():
    """S-D14: what stands behind a carriage return is run; left out, a program would be paid for what it is not."""
    text = "# twice\rraise OSError\ndef f(n):\n    return n + n\n"
    assert outcomes(told(entry="f", tests=TWICE), text) == ["runtime_error"]


def test_setup_stands_before_the_tests():
    """S-D13: MBPP's setup code: names that the tests use, out of the program's reach."""
    tests = "assert close(f(3), math.pi * 3)\nassert close(f(0), 0)"
    setup = "import math\ndef close(a, b):\n    return abs(a - b) < 1e-6"
    problem = told(entry="f", tests=tests, setup=setup)
    right = "def f(n):\n    return 3.14159265359 * n"
    hack = "def close(a, b):\n    return True\ndef f(n):\n    return 1"
    assert outcomes(problem, right, hack) == ["right", "wrong"]
    assert isinstance(code.tests_of(problem.answer), Code)
    plain = code.tests_of(json.dumps({"entry": "f", "tests": "assert f(1) == 2", "setup": "import math"}))
    assert isinstance(plain, Calls)


def test_golds_are_checked_in_one_batch():
    """S-D13: a reference passes its tests; of a completion it is the body; none leaves sound tests."""
    golds = {
        "right": told(entry="f", tests=TWICE, reference="def f(n):\n    return n + n"),
        "body": told(entry="f", tests=TWICE, prefix=PREFIX, reference="    return n + n\n"),
        "whole": told(entry="f", tests=TWICE, prefix=PREFIX, reference=PREFIX + "    return n + n\n"),
        "fences in it": told(entry="f", tests=TWICE, reference='def f(n):\n    """```\n    ```"""\n    return n + n'),
        "stdin": told(stdin=[["2\n", "4\n"]], reference="print(2 * int(input()))"),
        "calls": told(entry="f", calls=[{"args": [2], "returns": 4}], reference="def f(n): return n ** 2"),
        "no reference": told(entry="f", tests=TWICE),
    }
    bad = {
        "tests that it fails": told(entry="f", tests=TWICE, reference="def f(n):\n    return n"),
        "ends": told(entry="f", tests=TWICE, reference="def f(n):\n    return n + n\nimport os\nos._exit(0)"),
        "no program": told(entry="f", tests=TWICE, reference=""),
        "too long": told(entry="f", tests=TWICE, reference="#" * (code.LONGEST + 1)),
        "zero tests": told(entry="f", tests="", reference="def f(n): return n"),
        "zero calls": told(entry="f", calls=[]),
        "no JSON": Problem("4"),
    }
    held = code.self_checks([*golds.values(), *bad.values()])
    assert dict(zip([*golds, *bad], held, strict=True)) == dict.fromkeys(golds, True) | dict.fromkeys(bad, False)


CALL = {"args": [1], "returns": 1}
MALFORMED = {
    "no calls": {"entry": "f", "calls": []},
    "calls of no list": {"entry": "f", "calls": 3},
    "calls without a function": {"calls": [CALL]},
    "a call that is none": {"entry": "f", "calls": [3]},
    "a call without a result": {"entry": "f", "calls": [{"args": [1]}]},
    "arguments of no list": {"entry": "f", "calls": [{"args": {"n": 1}, "returns": 1}]},
    "more than a call": {"entry": "f", "calls": [{**CALL, "named": {}}]},
    "a result that equals nothing": {"entry": "f", "calls": [{"args": [1], "returns": [float("nan")]}]},
    "calls and tests": {"entry": "f", "calls": [CALL], "tests": "assert f(1) == 1"},
    "a name that is none": {"entry": "f(1) or g", "calls": [CALL]},
    "a word of the language": {"entry": "def", "calls": [CALL]},
    "an input of no text": {"stdin": [[1, "2"]]},
    "half a character": {"stdin": [["\ud800", "1"]]},
    "an input without an output": {"stdin": [["1"]]},
    "outputs that are all empty": {"stdin": [["1", ""], ["2", "\n"]]},
    "tests of no text": {"entry": "f", "tests": ["assert f(1) == 1"]},
    "a setup of no text": {"entry": "f", "tests": "assert f(1) == 1", "setup": 3},
    "a setup that is no Python": {"entry": "f", "tests": "assert f(1) == 1", "setup": "import"},
    "a prefix of no text": {"entry": "f", "tests": "assert f(1) == 1", "prefix": 3},
    "a reference of no text": {"entry": "f", "tests": "assert f(1) == 1", "reference": ["x"]},
    "sequences of no flag": {"entry": "f", "tests": "assert f(1) == 1", "sequences": "yes"},
    "a tolerance of no number": {"entry": "f", "tests": "assert f(1) == 1", "tolerance": "small"},
    "a tolerance of everything": {"entry": "f", "tests": "assert f(1) == 1", "tolerance": float("inf")},
    "a tolerance of nothing": {"entry": "f", "tests": "assert f(1) == 1", "tolerance": float("nan")},
    "a tolerance below 0": {"entry": "f", "tests": "assert f(1) == 1", "tolerance": -0.1},
}


def deep(levels: int) -> object:
    value: object = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    "answer",
    [
        *(json.dumps(answer) for answer in MALFORMED.values()),
        json.dumps({"entry": "f", "calls": [{"args": [deep(70)], "returns": 1}]}),
        json.dumps({"entry": "f", "calls": [{"args": [1], "returns": deep(70)}]}),
        '{"entry": "f", "calls": ' + "[" * 100_000,
        "\x00\ufffd",
    ],
    ids=[*MALFORMED, "deep arguments", "a deep result", "endless nesting", "garbage"],
)
def test_an_answer_that_states_no_tests_is_told_with_its_problem(answer):
    """S-D13: zero tests is an error, and says of which problem."""
    with pytest.raises(Mismatch) as caught:
        code.grade(Problem(answer), "def f(n): return n")
    assert caught.value.where == "problem exercise-7" and caught.value.code == 6


def test_what_nests_deeply_enough_travels():
    problem = told(entry="f", calls=[{"args": [deep(45)], "returns": deep(46)}])
    assert outcomes(problem, "def f(x): return [x]") == ["right"]
