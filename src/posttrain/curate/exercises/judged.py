"""Exercises whose tests are data, inputs and what must come of them: rows in the shapes of APPS and LiveCodeBench.

Their questions hold samples. Nothing is added to these, and a row whose samples are all of its tests hides nothing.
"""

import json
from collections.abc import Sequence
from itertools import chain
from typing import Any, cast

from posttrain.curate.exercises import python
from posttrain.curate.exercises.line import EQUAL, Exercise, Line, Ungradable, says, tidy
from posttrain.curate.exercises.packed import unpack

STDIN = "Read stdin, print to stdout."
SHOWN = "its question shows every test"
LEVELS = {"introductory": 1, "interview": 2, "competition": 3, "easy": 1, "medium": 2, "hard": 3}
NEAR = 1e-6
"""How far a printed fraction may be off in an exercise of APPS, whose own judge allows 1e-5."""


def apps(line: Line) -> Exercise:
    """A row of APPS: `question`, `solutions` and `input_output` (JSON as text), `starter_code`, `difficulty`.

    `fn_name` says that the tests call a function; without it programs read stdin. Its judge (Hendrycks et al.,
    arXiv 2105.09938) takes a tuple for a list, and what a list of one holds for the list: the latter only where
    every expected value is such a list, and the row's own programs must then agree.
    """
    question, tests = line.text("question").strip(), line.table("input_output")
    inputs, outputs = (cast("object", tests.get(name) or []) for name in ("inputs", "outputs"))
    if not isinstance(inputs, list) or not isinstance(outputs, list):
        line.wrong("input_output", "its inputs and outputs are no lists")
    given, expected = cast("list[Any]", inputs), cast("list[Any]", outputs)
    if not given and not expected:
        raise Ungradable(python.NO_TESTS)
    if len(given) != len(expected):
        raise Ungradable("it has not as many outputs as inputs")
    programs, dropped = _programs(line)
    entry = tests.get("fn_name")
    if entry:
        answer = _calls(str(entry), given, _unwrapped(expected, programs))
    else:
        pairs = [(_lines(a), _lines(b)) for a, b in zip(given, expected, strict=True)]
        answer = _stdin(pairs, NEAR if _has_fractions(pairs) else 0)
    if programs:
        answer["reference"] = programs[0]
    return Exercise(
        question=question,
        call=_call(str(entry or ""), _starter(line)),
        answer=_hidden(answer, question),
        programs=programs,
        difficulty=_level(line),
        dropped=dropped,
    )


def livecodebench(line: Line) -> Exercise:
    """A row of LiveCodeBench: `question_content`, `starter_code`, public and private test cases, `metadata`.

    Both kinds of tests decide, as in its own evaluation (Jain et al., arXiv 2403.07974), the public ones first.
    """
    public, private = _cases(line, "public_test_cases"), _cases(line, "private_test_cases")
    question, starter, cases = line.text("question_content").strip(), _starter(line), [*public, *private]
    if not cases:
        raise Ungradable(python.NO_TESTS)
    kinds = {case["testtype"] for case in cases}
    if kinds == {"functional"}:
        entry = line.table("metadata").get("func_name") or _only(python.methods(starter))
        answer = _calls(str(entry), [_arguments(case["input"]) for case in cases], [_value(c["output"]) for c in cases])
    elif kinds == {"stdin"}:
        entry, answer = "", _stdin([(tidy(case["input"]), tidy(case["output"])) for case in cases], EQUAL)
    else:
        raise Ungradable("its tests are neither all calls nor all of stdin")
    return Exercise(
        question=question,
        call=_call(str(entry), starter),
        answer=_hidden(answer, question),
        difficulty=_level(line),
    )


def _level(line: Line) -> int:
    return LEVELS.get(str(line.fields.get("difficulty", "")).casefold(), 0)


def _starter(line: Line) -> str:
    return "\n".join(text for text in line.text("starter_code", default="").split("\n") if text.strip())


def _call(entry: str, starter: str) -> str:
    return "\n".join([f"Write {entry}." if entry else STDIN, *([f"Begin with:\n{starter}"] if starter else [])])


def _programs(line: Line) -> tuple[tuple[str, ...], int]:
    """The row's own solutions that are Python, each once, and how many are none. Ungradable where none is."""
    given = list(dict.fromkeys(text.strip() for text in line.texts("solutions", ()) if text.strip()))
    programs = tuple(text for text in given if python.parsed(text) is not None)
    if given and not programs:
        raise Ungradable(python.NO_PROGRAM)
    return programs, len(given) - len(programs)


def _calls(entry: str, given: Sequence[Any], expected: Sequence[Any]) -> dict[str, Any]:
    if not entry.isidentifier():
        raise Ungradable("the function that it tests has no name")
    if not all(isinstance(args, list) for args in given):
        raise Ungradable("an input is no list of arguments")
    cases = [{"args": args, "returns": value} for args, value in zip(given, expected, strict=True)]
    return {"calls": cases, "entry": entry, "sequences": True, "tolerance": EQUAL}


def _unwrapped(expected: list[Any], programs: Sequence[str]) -> list[Any]:
    if not all(isinstance(value, list) and len(cast("list[Any]", value)) == 1 for value in expected):
        return expected
    if not programs:
        raise Ungradable("its expected values can be read in two ways, and no program says which")
    return [value[0] for value in expected]


def _stdin(pairs: list[tuple[str, str]], tolerance: float) -> dict[str, Any]:
    return {"stdin": [list(pair) for pair in pairs], **({"tolerance": tolerance} if tolerance else {})}


def _has_fractions(pairs: list[tuple[str, str]]) -> bool:
    return any("." in token for _, output in pairs for token in output.split() if _is_number(token))


def _is_number(token: str) -> bool:
    return token.lstrip("+-").replace(".", "", 1).isdigit()


def _lines(value: object) -> str:
    """An input or output of stdin: a text, or a list of its lines."""
    lines = cast("list[object]", value) if isinstance(value, list) else [value]
    texts = [text for text in lines if isinstance(text, str)]
    if len(texts) != len(lines):
        raise Ungradable("an input or output of stdin is no text")
    return tidy("\n".join(texts))


def _arguments(text: str) -> list[Any]:
    """The arguments of a call, a JSON value on each line."""
    return [_value(part) for part in text.split("\n") if part.strip()]


def _value(text: str) -> Any:
    try:
        return says(text)
    except ValueError as error:
        raise Ungradable("an argument or a value of its tests is no JSON") from error


def _hidden(answer: dict[str, Any], question: str) -> dict[str, Any]:
    """The answer; Ungradable where each of its tests, input and output, stands in the question, whatever the spaces."""
    written = "".join(question.split())
    pairs = (text for given, output in answer.get("stdin", ()) for text in (given + "\n" + output).split("\n"))
    calls = (json.dumps(v) for case in answer.get("calls", ()) for v in (*case["args"], case["returns"]))
    if all("".join(text.split()) in written for text in chain(pairs, calls)):
        raise Ungradable(SHOWN)
    return answer


def _only(names: Sequence[str]) -> str:
    if len(names) != 1:
        raise Ungradable("the function that it tests has no name")
    return names[0]


def _cases(line: Line, name: str) -> list[dict[str, str]]:
    """Test cases: JSON as text, or that packed by base64 and zlib, as the hub has it."""
    value = line.fields.get(name)
    try:
        packed = isinstance(value, str) and value.strip()[:1] not in ("", "[", "{")
        cases = says(unpack(str(value))) if packed else line.json(name) or []
    except ValueError as error:
        what = "it holds neither JSON nor JSON packed by base64 and zlib; write its test cases as JSON"
        line.wrong(name, f"{what} ({error})")
    if not isinstance(cases, list):
        line.wrong(name, "it holds no list of test cases")
    for case in cast("list[Any]", cases):
        if not isinstance(case, dict) or not all(isinstance(case.get(k), str) for k in ("input", "output", "testtype")):  # pyright: ignore[reportUnknownMemberType]
            line.wrong(name, "a test case has no input, output and testtype as texts")
    return cast("list[dict[str, str]]", cases)
