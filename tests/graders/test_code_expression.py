"""Expressions computed without running anything: as Python has them, and nothing else."""

import json
import subprocess
import sys
import time
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posttrain.curate import worlds
from posttrain.graders.code.expression import TooLarge, Unsupported, parse
from posttrain.graders.code.signatures import NAMES as NAMES_OF_MARKS
from posttrain.graders.code.signatures import signatures
from posttrain.graders.registry import Grading
from posttrain.spec.errors import MissingNeed

NAMES = ("a", "b", "c")
leaves = st.integers(0, 40).map(str) | st.sampled_from(NAMES)


def _grown(inner):
    sign, relation = st.sampled_from(["+", "-", "*", "//", "%"]), st.sampled_from(["<", "<=", "==", "!=", ">", ">="])
    return st.one_of(
        st.builds("({}{}{})".format, inner, sign, inner),
        st.builds("{} {} {}".format, leaves, sign, leaves),
        st.builds("-{}".format, inner),
        st.builds("{}({}, {})".format, st.sampled_from(["min", "max"]), inner, inner),
        st.builds("({} if {} {} {} else {})".format, inner, inner, relation, inner, inner),
        st.builds("({} {} {})".format, inner, st.sampled_from(["and", "or"]), inner),
        st.builds("(not {})".format, inner),
        st.builds("({} {} {} {} {})".format, inner, relation, inner, relation, inner),
    )


@given(st.recursive(leaves, _grown, max_leaves=12), st.tuples(*[st.integers(-50, 50)] * 3))
def test_a_random_expression_has_the_value_that_python_gives_it(text, values):
    """S-D14: the evaluator is an evaluator of Python's expressions."""
    try:
        wanted = eval(text, {"min": min, "max": max, **dict(zip(NAMES, values, strict=True))})
    except ZeroDivisionError:
        wanted = ZeroDivisionError
    try:
        found = parse(f"# so\n\ndef f(a, b, c): return {text}", "f").of(*values)
    except ZeroDivisionError:
        found = ZeroDivisionError
    assert (type(found), found) == (type(wanted), wanted)


def hostile(text: str) -> str:
    return f"def f(a): return {text}"


MORE = {
    "tower": hostile("9**9**9"),
    "shift": hostile("1 << 10**9"),
    "true division": hostile("a / 2"),
    "attribute": hostile("a.real"),
    "subclasses": hostile("().__class__.__base__.__subclasses__()"),
    "import": hostile("__import__('os').system('true')"),
    "lambda": hostile("(lambda: 1)()"),
    "comprehension": hostile("max([i for i in (1, 2)])"),
    "generator": hostile("max(i for i in (1, 2))"),
    "starred": hostile("max(*(1, 2))"),
    "keyword": hostile("max(a, 2, key=abs)"),
    "walrus": hostile("(b := a)"),
    "list": hostile("max([1, 2])"),
    "text": hostile("'a' * 5"),
    "float": hostile("1.5"),
    "complex": hostile("1j"),
    "hexadecimal": hostile("0xff"),
    "true": hostile("True"),
    "another name": hostile("b"),
    "another function": hostile("abs(a)"),
    "itself": hostile("f(a)"),
    "await": hostile("await a"),
    "yield": hostile("(yield a)"),
    "subscript": hostile("a[0]"),
    "matrix product": hostile("a @ a"),
    "bits": hostile("a & 1 | ~a ^ 2"),
    "is": hostile("a is a"),
    "in": hostile("a in a"),
    "deep signs": hostile("-" * 900 + "1"),
    "deep parentheses": hostile("-(" * 300 + "a" + ")" * 300),
    "ten thousand parentheses": hostile("(" * 10_000 + "a" + ")" * 10_000),
    "a long sum": hostile("+".join("1" * 10_000)),
    "a long number": hostile("9" * 100_000),
    "1 MB of comments": "# x\n" * 250_000 + "while True: pass",
    "1 MB of spaces": hostile(" " * 1_000_000 + "a +"),
    "binary": "\x00\xff\udcff" * 1000,
    "min is its argument": "def f(min): return min(1, 2)",
    "two statements": "def f(a):\n    a = 2\n    return a",
    "a docstring": 'def f(a):\n    "adds"\n    return a',
    "two functions": "def g(a): return a\ndef f(a): return a",
    "a call below": "def f(a): return a\nf(1)",
    "an import above": "import os\ndef f(a): return a",
    "a decorator": "@print\ndef f(a): return a",
    "a default": "def f(a, b=2): return a",
    "any arguments": "def f(*a): return 1",
    "an annotation": "def f(a: print(1)): return a",
    "named min": "def min(a): return a",
    "another function's name": "def g(a): return a",
    "one name twice": "def f(a, a): return a",
    "async": "async def f(a): return a",
    "a class": "class f: pass",
    "nothing returned": "def f(a): return",
    "no return": "def f(a): pass",
    "nothing": "",
}


@pytest.mark.parametrize("source", MORE.values(), ids=MORE)
def test_what_is_more_than_an_expression_is_refused_at_once(source):
    """S-D14: nothing of a text is run, and no text takes long."""
    start = time.process_time()
    with pytest.raises((Unsupported, SyntaxError)):
        parse(source, "f")
    assert time.process_time() - start < 1


def test_numbers_have_an_end():
    growing = "(" + ")*(".join(["*".join(["a"] * 20)] * 20) + ")"
    with pytest.raises(TooLarge):
        parse(hostile(growing), "f").of(10**40)
    assert parse(hostile(f"{growing}%7"), "f").of(3) == 3**400 % 7


def test_only_what_python_would_compute_is_computed():
    assert parse("def f(a): return 1 if a else 1//a", "f").of(3) == 1
    assert parse("def f(a): return a or 1//a", "f").of(3) == 3
    assert parse("def f(a): return a and 1//a", "f").of(0) == 0
    assert parse("def f(a): return 1 < 0 < 1//a", "f").of(0) is False


TOKENS = [
    "def f(a):",
    "return",
    "a",
    "1",
    "0x",
    "min(",
    ")",
    "//",
    "%",
    "\n",
    "\n    ",
    "#",
    "```",
    "~~~python\n",
    "é",
    "\udc80",
]
TOKENS += [
    "if",
    "else",
    "lambda",
    "f'{",
    "'",
    '"""',
    "\\",
    "\x00",
    "import os\n",
    "os._exit",
    "class",
    "=",
    "==",
    "@",
    ":",
    ",",
]
pieces = st.lists(st.sampled_from(TOKENS) | st.text(max_size=4), max_size=30)


@given(pieces.map("".join) | pieces.map(" ".join))
def test_no_text_raises(text):
    """S-D14: whatever a model writes has a grade, and marks or none."""
    with Grading(sandbox="none") as grading:
        (grade,) = grading.grade_all([TWICE], [text])
    assert grade.outcome in {"right", "wrong", "no_answer", "runtime_error", "unsupported", "memory"}
    assert set(signatures(grade.answer or text, grade.outcome)) <= set(NAMES_OF_MARKS)


@dataclass
class Problem:
    answer: str
    answer_type: str = "code"
    prompt: str = "Write f."


def told(**answer: object) -> Problem:
    return Problem(json.dumps({"entry": "f", **answer}))


TWICE = told(tests="assert f(2) == 4\nassert f(-3) == -6")
OUTCOMES = {
    "right": "# 2*2=4\ndef f(a): return a+a",
    "right ": "So:\n```python\ndef f(n): return max(n,n)*2\n```",
    "right  ": "def f(a): return a*2 if a>0 else -2*-a",
    "wrong": "def f(a): return a*a",
    "wrong ": "def f(a): return a>0",
    "runtime_error": "def f(a): return a//0",
    "runtime_error ": "def f(a): return (a",
    "runtime_error  ": "def f(a, b): return a",
    "runtime_error   ": "def f(a): return min(a)",
    "unsupported": "def f(a):\n    return sum([a, a])",
    "no_answer": "I do not know.",
}


def test_expression_tasks_are_graded_where_no_program_may_run():
    """S-D14: with no sandbox at all, what is harmless is graded and the rest is told."""
    with Grading(sandbox="none") as grading:
        grades = grading.grade_all([TWICE] * len(OUTCOMES), list(OUTCOMES.values()))
        assert [grade.outcome for grade in grades] == [name.strip() for name in OUTCOMES]
        assert [grade.correct for grade in grades] == [name.strip() == "right" for name in OUTCOMES]
        assert all(grade.decided for grade in grades)
        assert grading.level == "none"


BEYOND = {
    "stdin": Problem(json.dumps({"stdin": [["1\n", "2\n"]]})),
    "lists": told(tests="assert f([2]) == 4"),
    "texts": told(tests="assert f(2) == '4'"),
    "judged": told(tests="def check(c):\n    for n in (1, 2):\n        assert c(n) == 2 * n"),
    "a call of the result": told(tests="assert sorted(f(2)) == 4"),
    "a reference that loops": told(tests="assert f(2) == 4", reference="def f(a):\n    return sum([a, a])"),
    "a prefix": told(tests="assert f(2) == 4", prefix="def f(a):\n"),
}


@pytest.mark.parametrize("problem", BEYOND.values(), ids=BEYOND)
def test_problems_that_need_a_program_to_run_are_refused_where_none_may(problem):
    """S-D14: exit 4, and the way out is named."""
    with Grading(sandbox="none") as grading:
        for ask in (
            lambda: grading.grade_all([TWICE, problem], ["def f(a): return a+a"] * 2),
            lambda: grading.self_checks([TWICE, problem]),
            lambda: grading.ready([TWICE, problem]),
        ):
            with pytest.raises(MissingNeed, match='code_tasks = "expression"') as caught:
                ask()
            assert caught.value.code == 4
            assert "no file of code" in str(caught.value)


def test_the_built_in_expression_tasks_need_no_sandbox():
    """S-D14: every gold and every solution of the world's expression tasks is right without any program run."""
    problems = worlds.draw("code", "train", 60, 3, expression_only=True)
    asked = [(problem, solution.text) for problem in problems for solution in problem.solutions]
    with Grading(sandbox="none") as grading:
        assert all(grading.self_checks(problems))
        grades = grading.grade_all([problem for problem, _ in asked], [text for _, text in asked])
    assert len(grades) >= 120 and all(grade.correct for grade in grades)


ELSEWHERE = """
import sys
for name in ("fcntl", "resource", "marshal"):
    sys.modules[name] = None  # as on a machine that has no such thing
from posttrain.graders.registry import Grading
class Problem:
    answer, answer_type, prompt = '{"entry": "f", "tests": "assert f(2) == 4"}', "code", ""
with Grading(sandbox="none") as grading:
    grades = grading.grade_all([Problem()] * 2, ["def f(a): return a+2", "def f(a): return a"])
print([grade.outcome for grade in grades])
print([name for name in sys.modules if name.endswith(("sandbox.pool", "sandbox.server", "jail.zygote"))])
"""


def test_expressions_are_graded_on_machines_that_cannot_load_the_sandbox():
    ran = subprocess.run([sys.executable, "-c", ELSEWHERE], capture_output=True, text=True)
    assert ran.stdout.split("\n")[:2] == ["['right', 'wrong']", "[]"], ran.stderr
