"""Files of programming exercises: what each shape of row becomes, and what is left out and why."""

import base64
import io
import json
import pickle
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exercise_rows import APPS, HUMANEVAL, LIVE, MBPP, Row, apps, humaneval, live, mbpp
from posttrain.curate import exercises
from posttrain.curate.exercises.tried import settled
from posttrain.curate.filters import Log
from posttrain.data.records import Problem
from posttrain.graders import code
from posttrain.graders.registry import Grading
from posttrain.graders.sandbox.cases import Calls, Code, Stdin
from posttrain.spec.errors import Mismatch

SHAPES = {"mbpp": MBPP, "humaneval": HUMANEVAL, "apps": APPS, "livecodebench": LIVE}
ROWS = [(shape, name) for shape, rows in SHAPES.items() for name in rows]


def read(folder: Path, shape: str, *rows: Row) -> tuple[list[Problem], Log]:
    path, log = folder / "rows.jsonl", Log()
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return exercises.read(path, shape, domain="code", log=log), log


def only(folder: Path, shape: str, row: Row) -> Problem:
    (problem,), _ = read(folder, shape, row)
    return problem


def said(problem: Problem) -> dict[str, Any]:
    return json.loads(problem.answer)


@pytest.mark.parametrize(("shape", "name"), ROWS)
def test_a_row_is_a_problem_that_the_sandbox_grades(tmp_path: Path, shape: str, name: str) -> None:
    """S-B9, S-D13: through the file and back, own programs are right, others wrong, and the gold holds."""
    row, *programs = SHAPES[shape][name]
    problem = only(tmp_path, shape, row)
    with Grading() as grading:
        (problem,) = settled([problem], grading, Log(), solutions=None)
        again = Problem.model_validate_json(problem.model_dump_json())
        right, wrong = programs if len(programs) == 2 else (problem.solutions[0].text, programs[0])
        grades = grading.grade_all([again] * 3, [right, f"So:\n```python\n{right}\n```", wrong])
        assert [grade.correct for grade in grades] == [True, True, False], grades
        assert grading.self_checks([again]) == [True]
    assert (problem.domain, problem.answer_type, problem.template) == ("code", "code", shape)
    assert all(s.style == "source" and s.source == "file" for s in problem.solutions)
    assert not any(asked in problem.prompt for asked in said(problem).get("tests", "").splitlines() if asked.strip())


def test_answers_are_compact_json_with_sorted_keys(tmp_path: Path) -> None:
    for shape, rows in SHAPES.items():
        problems, _ = read(tmp_path, shape, *(row for row, *_ in rows.values()))
        for problem in problems:
            assert problem.answer == json.dumps(
                said(problem), ensure_ascii=False, separators=(",", ":"), sort_keys=True
            )


def test_the_first_test_of_mbpp_is_shown_and_the_others_decide(tmp_path: Path) -> None:
    """S-B9: a solver knows name and arguments; no test that decides is shown, and of one test nothing is."""
    problem = only(tmp_path, "mbpp", MBPP["none"][0])
    assert problem.prompt == (
        "First even number of a list, if there is one.\n\n"
        "Write def first_even(xs).\nFor example: assert first_even([1, 4]) == 4"
    )
    assert said(problem)["tests"] == "assert first_even([1, 3]) == None\nassert first_even([]) is None"
    alone = only(tmp_path, "mbpp", MBPP["one test alone"][0])
    assert "assert" not in alone.prompt
    assert "def upto(n)" in alone.prompt


def test_a_test_said_twice_is_not_shown_and_hidden_too(tmp_path: Path) -> None:
    row = mbpp("Add.", "def f(a):\n    return a", "assert f(1) == 1", "assert f( 1 ) == 1  # again", "assert f(2)==2")
    problem = only(tmp_path, "mbpp", row)
    assert said(problem)["tests"] == "assert f(2)==2"


def test_every_function_that_tests_call_is_named(tmp_path: Path) -> None:
    problem = only(tmp_path, "mbpp", MBPP["two functions, one within the other"][0])
    assert "Write def once(n), def twice(n)." in problem.prompt
    assert said(problem)["entry"] == "once"


def test_setup_that_uses_the_program_is_part_of_the_tests(tmp_path: Path) -> None:
    source = "def start():\n    return [1]\ndef more(xs):\n    return [*xs, 2]"
    row = mbpp(
        "Grow.", source, "assert more([]) == [2]", "assert more(first) == [1, 2]", test_setup_code="first = start()"
    )
    problem = only(tmp_path, "mbpp", row)
    assert said(problem)["tests"].startswith("first = start()\n")
    with Grading() as grading:
        assert grading.self_checks([problem]) == [True]


def test_a_completion_goes_on_from_the_prompt_of_humaneval(tmp_path: Path) -> None:
    """S-B9: the body alone, and the whole program, are both right."""
    row, _ = HUMANEVAL["a list, with imports"]
    problem = only(tmp_path, "humaneval", row)
    assert said(problem)["prefix"] == row["prompt"]
    assert problem.prompt == f"{row['prompt'].strip()}\n\nWrite the whole function rises."
    with Grading() as grading:
        grades = grading.grade_all(
            [problem] * 2, [row["canonical_solution"], row["prompt"] + row["canonical_solution"]]
        )
    assert [grade.correct for grade in grades] == [True, True], grades


def test_a_prompt_of_humaneval_may_lack_its_last_line_end(tmp_path: Path) -> None:
    """S-B9: a completion is right whether it begins with the end of that line or with its own."""
    row = humaneval('def f(a):\n    """Halve."""', "\n    return a / 2\n", "assert candidate(8) == 4", entry="f")
    problem = only(tmp_path, "humaneval", row)
    with Grading() as grading:
        grades = grading.grade_all([problem] * 2, ["\n    return a / 2", "    return a / 2"])
        assert grading.self_checks([problem]) == [True]
    assert [grade.correct for grade in grades] == [True, True], grades


def test_public_tests_that_the_question_does_not_show_decide(tmp_path: Path) -> None:
    """S-B9: converted sets have all tests among the public ones; a row counts where one of them is not shown."""
    row = live("Echo. Sample: 12", [("12\n", "12\n"), ("15\n", "15\n")], [])
    assert len(said(only(tmp_path, "livecodebench", row))["stdin"]) == 2


NUMBERS = {
    "mbpp": mbpp("Halve.", "def f(a):\n    return a / 2", "assert f(0) == 0", "assert f(8) == 4"),
    "humaneval": humaneval("def f(a):\n", "    return a / 2\n", "assert candidate(8) == 4", entry="f"),
    "apps": apps("Halve.", ["def f(a):\n    return a / 2"], [[8]], [4], "f"),
    "livecodebench": live("Halve.", [("2", "1")], [("8", "4")], name="f"),
}


@pytest.mark.parametrize("shape", NUMBERS)
def test_numbers_are_compared_as_the_sets_do(tmp_path: Path, shape: str) -> None:
    """S-D13: 4.0 is 4, as by `==`; no whole number is its neighbour, and no list a number."""
    problem = only(tmp_path, shape, NUMBERS[shape])
    whole = "def f(a):\n    return {}"
    with Grading() as grading:
        assert grading.self_checks([problem]) == [True]
        texts = [whole.format(value) for value in ("a // 2", "a / 2", "a / 2 + 1e-9", "a // 2 + 1", "[a // 2]")]
        grades = grading.grade_all([problem] * 5, texts)
    assert [grade.correct for grade in grades] == [True, True, False, False, False]


def test_printed_numbers_are_compared_as_the_sets_do(tmp_path: Path) -> None:
    """S-D13: decimals in LiveCodeBench, fractions to a millionth in APPS, whole numbers to the last digit in both."""
    large = 10**17
    sums = live("Echo.", [("1\n", "1\n")], [(f"{large}\n", f"{large}\n")])
    problem = only(tmp_path, "livecodebench", sums)
    mean = only(tmp_path, "apps", apps("Halve.", ["print(int(input()) / 2)"], ["1", "3"], ["0.5", "1.50"]))
    with Grading() as grading:
        texts = ["print(input())", "print(input() + '.0')", "print(int(input()) // 10 * 10 + 1)"]
        assert [g.correct for g in grading.grade_all([problem] * 3, texts)] == [True, True, False]
        texts = ["print(int(input()) / 2 + 1e-8)", "print(int(input()) / 2 + 1e-4)"]
        assert [g.correct for g in grading.grade_all([mean] * 2, texts)] == [True, False]


def test_starter_code_and_levels_are_kept(tmp_path: Path) -> None:
    """S-B9: function name and starter code are in the prompt."""
    problem = only(tmp_path, "apps", APPS["class Solution with starter code"][0])
    assert problem.prompt.endswith(
        "\n\nWrite keep.\nBegin with:\nclass Solution:\n    def keep(self, xs: List[int]) -> List[int]:"
    )
    assert problem.difficulty == 1
    for level, number in (("hard", 3), (2, 0), (None, 0), ("?", 0)):
        row = LIVE["stdin of several lines"][0] | {"difficulty": level}
        assert only(tmp_path, "livecodebench", row).difficulty == number
    assert only(tmp_path, "livecodebench", LIVE["stdin of several lines"][0]).prompt == (
        "Sum n numbers.\n\nRead stdin, print to stdout."
    )


def test_the_forms_of_tests(tmp_path: Path) -> None:
    """S-B9: call-based and stdin."""
    kinds = {"mbpp/none": Calls, "humaneval/a helper that the tests call": Code, "apps/printed fractions": Stdin}
    kinds |= {"livecodebench/a method": Calls, "livecodebench/stdin of several lines": Stdin}
    for place, kind in kinds.items():
        shape, name = place.split("/")
        assert isinstance(code.tests_of(only(tmp_path, shape, SHAPES[shape][name][0]).answer), kind), place


def test_of_several_programs_the_wrong_ones_are_rejected(tmp_path: Path) -> None:
    """S-B5: the reference is a program that passes; one that fails is told and left out, and so is another language."""
    (problem,), log = read(tmp_path, "apps", APPS["several solutions, the first wrong, one of another language"][0])
    assert len(problem.solutions) == 2
    assert log.no_python == 1
    with Grading() as grading:
        (found,) = settled([problem], grading, log, solutions=1)
    assert [s.text for s in found.solutions] == ["print(max(map(int, input().split())))"]
    assert said(found)["reference"] == found.solutions[0].text
    assert {k: v for k, v in said(found).items() if k != "reference"} == {
        k: v for k, v in said(problem).items() if k != "reference"
    }
    ((rejected,),) = [problem.solutions for problem in log.rejected]
    assert not rejected.verified
    assert rejected.text.endswith("print(a)")


def test_no_more_programs_are_run_than_are_needed(tmp_path: Path) -> None:
    right = [f"print(int(input()) + {n} - {n})" for n in range(5)]
    problem = only(tmp_path, "apps", apps("Echo.", ["print(0)", *right], ["1", "2"], ["1", "2"]))
    with Grading() as grading:
        for wanted, kept in ((1, 5), (3, 5), (None, 5)):
            log = Log()
            (found,) = settled([problem], grading, log, solutions=wanted)
            assert [s.text for s in found.solutions] == right[:kept]
            assert len(log.rejected) == 1
        hopeless = only(tmp_path, "apps", apps("Echo.", ["print(0)", "print(9)"], ["1"], ["1"]))
        log = Log()
        assert list(settled([hopeless], grading, log, solutions=1)) == [hopeless]
        assert not log.rejected
        assert grading.self_checks([hopeless]) == [False]


FENCED = 'def f(a):\n    """Doubles:\n    ```\n    f(2)\n    ```\n    """\n    return 2 * a'


@pytest.mark.parametrize(
    ("shape", "row", "source"),
    [
        ("mbpp", mbpp("Double.", FENCED, "assert f(2) == 4", "assert f(0) == 0"), FENCED),
        ("apps", apps("Echo.", ["[print(a) for a in input()]"], ["12"], ["1\n2"]), "[print(a) for a in input()]"),
        ("apps", apps("Echo.", ["print(0)", "(print)(input())"], ["12"], ["12"]), "(print)(input())"),
    ],
)
def test_a_program_that_would_be_misread_is_fenced(tmp_path: Path, shape: str, row: Row, source: str) -> None:
    """S-D13: what looks like prose, or holds a fence of its own, is still the program when it is a response."""
    problem = only(tmp_path, shape, row)
    with Grading() as grading:
        (problem,) = settled([problem], grading, Log(), solutions=1)
        assert grading.self_checks([problem]) == [True]
        assert grading.grade_all([problem], [problem.solutions[0].text])[0].correct
    assert said(problem)["reference"].strip() == source
    assert problem.solutions[0].text.startswith("```")


LEFT_OUT: dict[str, tuple[str, Row, str]] = {
    "no tests": ("mbpp", mbpp("Why?", "def f(): pass"), "no tests"),
    "blank tests": ("mbpp", mbpp("Why?", "def f(): pass", " ", "\n"), "no tests"),
    "tests that are no Python": ("mbpp", mbpp("Why?", "def f(): pass", "assert f( == 1"), "its tests are no Python"),
    "a program of another language": ("mbpp", mbpp("Why?", "print 1", "assert f(1) == 1"), "program is no Python"),
    "tests of nothing": ("mbpp", mbpp("Why?", "def f(): pass", "assert 1 == 1"), "call nothing that its program"),
    "tests of something else": ("mbpp", mbpp("Why?", "def f(): pass", "assert g(1) == 1"), "call nothing that its"),
    "tests that assert nothing": ("mbpp", mbpp("Why?", "def f(): pass", "f(1)"), "assert nothing"),
    "no function in common": (
        "mbpp",
        mbpp("Why?", "def f(a): pass\ndef g(a): pass", "assert f(1) == 1", "assert g(1) == 1"),
        "no function in common",
    ),
    "no question": ("mbpp", mbpp("  ", "def f(a): return a", "assert f(1) == 1"), "asks nothing"),
    "half a character": ("mbpp", mbpp("Why \ud800?", "def f(a): return a", "assert f(1) == 1"), "half a character"),
    "half a character in a test": ("apps", apps("Why?", [], ["\ud800"], ["1"]), "half a character"),
    "no entry": (
        "humaneval",
        humaneval("def f(a):\n", "    return a\n", "assert candidate(1) == 1", entry="g"),
        "call nothing",
    ),
    "no check": ("humaneval", {**HUMANEVAL["a truth"][0], "test": " "}, "no tests"),
    "a check of nothing": (
        "humaneval",
        {**HUMANEVAL["a truth"][0], "test": "def check(c):\n    pass"},
        "assert nothing",
    ),
    "a body that is no Python": ("humaneval", {**HUMANEVAL["a truth"][0], "canonical_solution": "  }"}, "no Python"),
    "tests that are empty text": ("apps", apps("Why?", ["print(1)"], [], []), "no tests"),
    "no test at all": ("apps", apps("Why?", ["print(1)"], [], [], input_output=""), "no tests"),
    "fewer outputs": ("apps", apps("Why?", ["print(1)"], ["1", "2"], ["1"]), "as many outputs"),
    "only another language": ("apps", apps("Why?", ["print 1", "int main() {}"], ["1"], ["1"]), "is no Python"),
    "stdin that is no text": ("apps", apps("Why?", ["print(1)"], [[1]], ["1"]), "no text"),
    "arguments that are no list": ("apps", apps("Why?", ["def f(a): pass"], [1], [1], "f"), "no list of arguments"),
    "a name that is none": ("apps", apps("Why?", ["def f(a): pass"], [[1]], [1], "f g"), "has no name"),
    "two readings": ("apps", apps("Why?", [], [[1], [2]], [[1], [2]], "f"), "read in two ways"),
    "tests that the question shows": (
        "livecodebench",
        live("Add.\n\nSample:\n1  2\n3\n->\n6\nAnother:\n7", [("1 2\n3\n", "6\n"), ("7", "7")], []),
        "shows every test",
    ),
    "calls that the question shows": (
        "livecodebench",
        live("Input: xs = [1,2], k = 3\nOutput: 6", [("[1, 2]\n3", "6")], [], name="f"),
        "shows every test",
    ),
    "a number of too many digits": (
        "apps",
        apps("Why?", [], [], [], input_output='{"inputs": ["1"], "outputs": [' + "9" * 5000 + "]}"),
        "cannot be said in JSON",
    ),
    "a number that is none": (
        "apps",
        apps("Why?", [], [], [], input_output='{"fn_name": "f", "inputs": [[1]], "outputs": [NaN]}'),
        "cannot be said in JSON",
    ),
    "samples that are all tests": (
        "apps",
        apps("Add. Sample: 1 2 -> 3", ["print(3)"], ["1 2\n"], ["3\n"]),
        "shows every test",
    ),
    "no case": ("livecodebench", live("Why?", [], []), "no tests"),
    "no name": ("livecodebench", live("Why?", [], [("1", "1")], name="f", metadata="{}"), "has no name"),
    "two methods and no name": (
        "livecodebench",
        live(
            "Why?",
            [],
            [("1", "1")],
            name="f",
            metadata="",
            starter="class Solution:\n    def f(self): ...\n    def g(self): ...",
        ),
        "has no name",
    ),
    "an argument that is no JSON": ("livecodebench", live("Why?", [], [("{1", "1")], name="f"), "no JSON"),
    "a value that is no number": ("livecodebench", live("Why?", [], [("1", "NaN")], name="f"), "no JSON"),
    "a value beyond numbers": ("livecodebench", live("Why?", [], [("1e999", "1")], name="f"), "no JSON"),
}


@pytest.mark.parametrize(("shape", "row", "why"), LEFT_OUT.values(), ids=LEFT_OUT)
def test_rows_that_cannot_be_graded_are_left_out_with_the_reason(
    tmp_path: Path, shape: str, row: Row, why: str
) -> None:
    """S-B9, S-A11: counted and told, never guessed."""
    good = next(iter(SHAPES[shape].values()))[0]
    problems, log = read(tmp_path, shape, good, row)
    assert len(problems) == 1
    ((where, said),) = [(row.where, row.why) for row in log.unread]
    assert where.endswith("rows.jsonl line 2")
    assert why in said
    with pytest.raises(Mismatch, match=r"none of its 2 rows can be graded") as stop:
        read(tmp_path, shape, row, row)
    assert stop.value.code == 6


WRONG: dict[str, tuple[str, Row, str]] = {
    "another shape": ("mbpp", HUMANEVAL["a truth"][0], "code: there is no such field"),
    "no question": ("mbpp", {"code": ""}, "text or prompt: there is no such field"),
    "tests that are a number": ("mbpp", mbpp("A", "B") | {"test_list": 3}, "test_list: it holds no list of texts"),
    "tests that are numbers": ("mbpp", mbpp("A", "B") | {"test_list": [3]}, "test_list: it holds no list of texts"),
    "a program that is none": ("mbpp", mbpp("A", "B") | {"code": None}, "code: it holds no text"),
    "no entry point": ("humaneval", {"prompt": "", "canonical_solution": "", "test": ""}, "entry_point: there is no"),
    "tests that are no JSON": ("apps", apps("A", [], [], [], input_output="{"), "input_output: it holds no JSON"),
    "tests that are a list": ("apps", apps("A", [], [], [], input_output="[1]"), "input_output: it holds no table"),
    "inputs that are a table": ("apps", apps("A", [], {"a": 1}, []), "its inputs and outputs are no lists"),  # type: ignore[arg-type]
    "solutions that are no list": (
        "apps",
        apps("A", [], ["1"], ["1"]) | {"solutions": '"x"'},
        "solutions: it holds no list",
    ),
    "no cases": ("livecodebench", live("A", [], [], public_test_cases='{"a": 1}'), "no list of test cases"),
    "cases without output": ("livecodebench", live("A", [], [], public_test_cases='[{"input": ""}]'), "has no input"),
    "cases packed in nothing": ("livecodebench", live("A", [], [], private_test_cases="eJw"), "neither JSON nor"),
    "no metadata": (
        "livecodebench",
        live("A", [], [("1", "1")], name="f", metadata="7"),
        "metadata: it holds no table",
    ),
}


@pytest.mark.parametrize(("shape", "row", "what"), WRONG.values(), ids=WRONG)
def test_rows_of_another_shape_are_an_error_that_names_the_place(
    tmp_path: Path, shape: str, row: Row, what: str
) -> None:
    """S-A11: file, line, field, and what the row has."""
    good = next(iter(SHAPES[shape].values()))[0]
    with pytest.raises(Mismatch) as stop:
        read(tmp_path, shape, good, row)
    told = str(stop.value)
    assert f"rows.jsonl line 2: {what}" in told or ("rows.jsonl line 2: " in told and what in told), told
    assert f"The line has {', '.join(row)}; its file is read in the shape {shape}." in told


def packed(data: bytes) -> str:
    return base64.b64encode(zlib.compress(data)).decode()


CASES = json.dumps([{"input": f"{n}\n", "output": f"{n}ß\n", "testtype": "stdin"} for n in range(3)])


@pytest.mark.parametrize("text", [CASES, CASES.replace("ß", "ß" * 70_000), CASES.replace("[", " [", 1)], ids=len)
@pytest.mark.parametrize("protocol", [None, 2, 3, 4, 5])
def test_packed_cases_are_read_without_loading_anything(tmp_path: Path, text: str, protocol: int | None) -> None:
    """S-B9: the form of the hub's files, whatever wrote it."""
    data = text.encode() if protocol is None else pickle.dumps(text, protocol)
    row = live("Echo.", [], [], private_test_cases=packed(data))
    assert said(only(tmp_path, "livecodebench", row))["stdin"] == [
        [case["input"], case["output"]] for case in json.loads(text)
    ]


class Evil:
    def __reduce__(self) -> tuple:
        return (print, ("loaded",))


def _two_texts() -> bytes:
    out = io.BytesIO()
    pickle.Pickler(out, 4).dump([CASES])
    return out.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        pickle.dumps(Evil()),
        pickle.dumps(json.loads(CASES)),
        pickle.dumps(CASES, 0),
        pickle.dumps(CASES)[:-1],
        pickle.dumps(CASES)[:40],
        pickle.dumps(CASES) + b"x",
        _two_texts(),
        b"",
        b"\x80\x04\x8c\xff",
        b"\x80\x04\x8c\x02\xff\xff.",
    ],
)
def test_anything_else_that_is_packed_is_refused(
    tmp_path: Path, data: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    """S-B9: nothing is loaded; the error says what to do."""
    with pytest.raises(Mismatch, match=r"private_test_cases: it holds neither .* write its test cases as JSON"):
        read(tmp_path, "livecodebench", live("Echo.", [], [], private_test_cases=packed(data)))
    assert not capsys.readouterr().out


def test_packed_cases_that_are_cut_are_refused(tmp_path: Path) -> None:
    cut = base64.b64encode(zlib.compress(CASES.encode())[:-9]).decode()
    with pytest.raises(Mismatch, match="cut, or over 1 GB"):
        read(tmp_path, "livecodebench", live("Echo.", [], [], private_test_cases=cut))


def test_programs_that_python_warns_of_are_read(tmp_path: Path) -> None:
    row = mbpp("Dots.", "def f(s):\n    return s.count('\\.')", "assert f('\\.') == 1", "assert f('') == 0")
    with Grading() as grading:
        assert grading.self_checks([only(tmp_path, "mbpp", row)]) == [True]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def _typed(value: Any) -> Any:
    """A value that equals another only where all types do."""
    if isinstance(value, list):
        return [_typed(item) for item in value]
    if isinstance(value, dict):
        return {key: _typed(item) for key, item in value.items()}
    return (type(value).__name__, repr(value))


@settings(max_examples=80, deadline=None)
@given(args=st.lists(VALUES, max_size=3), value=VALUES)
def test_types_survive_the_json_of_a_row(tmp_path_factory: pytest.TempPathFactory, args: list, value: Any) -> None:
    """S-B9: whatever JSON can say reaches the tests with its type: 2 is no 2.0, true no 1, null no text."""
    pair = ("\n".join(map(json.dumps, args)), json.dumps(value))
    for shape, row in (
        ("livecodebench", live("Why?", [], [pair], name="f")),
        ("apps", apps("Why?", ["def f(*a): return 1"], [args, []], [value, None], "f")),
    ):
        case = said(only(tmp_path_factory.mktemp("rows"), shape, row))["calls"][0]
        assert _typed(case["args"]) == _typed(args)
        assert _typed(case["returns"]) == _typed(value)


LITERALS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.tuples(inner, inner) | st.dictionaries(st.integers(), inner, max_size=2)
    ),
    max_leaves=6,
)


@settings(max_examples=15, deadline=None)
@given(value=LITERALS)
def test_literals_of_tests_reach_a_program_and_come_back(tmp_path_factory: pytest.TempPathFactory, value: Any) -> None:
    """S-B9: tuples, bytes, tables with whole numbers for keys: what Python can write in a test."""
    row = mbpp("Hand it back.", "def f(a):\n    return a", "assert f(0) == 0", f"assert f({value!r}) == {value!r}")
    (problem,), log = read(tmp_path_factory.mktemp("rows"), "mbpp", row, MBPP["a float"][0])[0][:1], Log()
    wrong = "def f(a):\n    return [a]"
    with Grading() as grading:
        assert grading.self_checks([problem]) == [True]
        assert not grading.grade_all([problem], [wrong])[0].correct
    assert not log.unread
