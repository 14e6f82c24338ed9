"""What the answer of a code problem states: its tests, a program known to be right, what stands before a program."""

import json
import keyword
import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

from posttrain.graders.base import Graded
from posttrain.graders.sandbox.cases import Calls, Case, Rule, Stdin, Tests, size, split
from posttrain.graders.sandbox.jail import wire
from posttrain.spec.errors import Mismatch

_DEEPEST = wire.DEEPEST - 10
"""Levels of nesting of a JSON argument or result: deeper ones do not travel."""
_FORMS = (
    'Write {"entry": …, "tests": …}, {"entry": …, "calls": [{"args": […], "returns": …}, …]} or '
    '{"stdin": [[input, output], …]}.'
)


@dataclass(frozen=True)
class Stated:
    """A code problem's answer, read."""

    tests: Tests
    reference: str | None = None
    """A program known to be right."""
    prefix: str = ""
    """Text that a response may go on from: imports and helpers, the head of the function, its docstring."""

    @property
    def entry(self) -> str:
        """The function that is called; empty where programs read their standard input."""
        return "" if isinstance(self.tests, Stdin) else self.tests.entry


def stated(problem: Graded) -> Stated:
    """What a problem's answer states; Mismatch, naming the problem where it has an id, where that is no tests."""
    try:
        return read(problem.answer)
    except Mismatch as error:
        id = getattr(problem, "id", "")
        raise Mismatch(error.what, where=f"problem {id}" if id else "", remedy=error.remedy) from error


def tests_of(answer: str) -> Tests:
    """The tests that a problem's answer states; Mismatch where it states none."""
    return read(answer).tests


@lru_cache(maxsize=1024)
def read(answer: str) -> Stated:
    """A problem's answer, read; Mismatch where it states no tests. The last ones are kept: taking tests apart costs."""
    try:
        said = json.loads(answer)
        rule = Rule(_tolerance(said.get("tolerance", 0)), _flag(said, "sequences", "calls" in said))
        tests = _tests(said, rule)
        reference, prefix = said.get("reference"), _text(said.get("prefix", ""))
        found = Stated(tests, None if reference is None else _text(reference), prefix)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        what = f"the answer of a code problem does not state its tests ({type(error).__name__}: {error})"
        raise Mismatch(what, remedy=_FORMS) from error
    size(tests)
    return found


def _tests(said: dict[str, Any], rule: Rule) -> Tests:
    if sum(form in said for form in ("stdin", "calls", "tests")) > 1:
        raise ValueError("tests of more than one form")
    if "stdin" in said:
        pairs = tuple((_text(given), _text(output)) for given, output in said["stdin"])
        if pairs and not any(output.strip() for _, output in pairs):
            raise ValueError("no test wants any output, and every program that prints nothing would be right")
        return Stdin(pairs, rule)
    entry = _text(said["entry"])
    if not entry.isidentifier() or keyword.iskeyword(entry):
        raise ValueError(f"{entry!r} is no name of a function")
    if "calls" in said:
        return Calls(tuple(_case(entry, call, rule) for call in said["calls"]), entry)
    return split(_text(said["tests"]), entry, rule, setup=_text(said.get("setup", "")))


def _case(entry: str, call: dict[str, Any], rule: Rule) -> Case:
    unknown = set(call) - {"args", "returns"}
    if unknown:
        raise ValueError(f"a call has `args` and `returns`, not `{sorted(unknown)[0]}`")
    arguments = call["args"]
    if not isinstance(arguments, list):
        raise TypeError("`args` must be a list")
    texts = ", ".join(_literal(item) for item in cast("list[Any]", arguments))
    _literal(call["returns"], result=True)
    return Case(f"{entry}({texts})", wire.encode(call["returns"]), rule)


def _literal(value: Any, depth: int = 0, *, result: bool = False) -> str:
    """A JSON value as a Python expression."""
    if depth > _DEEPEST:
        raise ValueError(f"a value nested more than {_DEEPEST} deep")
    if isinstance(value, list):
        return f"[{', '.join(_literal(item, depth + 1, result=result) for item in cast('list[Any]', value))}]"
    if isinstance(value, dict):
        pairs = cast("dict[str, Any]", value).items()
        return f"{{{', '.join(f'{key!r}: {_literal(item, depth + 1, result=result)}' for key, item in pairs)}}}"
    if isinstance(value, float) and not math.isfinite(value):
        if result and math.isnan(value):
            raise ValueError("NaN equals nothing, and no program can return it rightly")
        return f"float({str(value)!r})"
    return repr(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"a text is wanted, not {str(value)[:40]!r}")
    value.encode()  # half a character has no bytes: no program can read or print it
    return value


def _tolerance(value: Any) -> float:
    if not 0 <= float(value) < 1:
        raise ValueError(f"`tolerance` must be from 0 to below 1, not {value}; with 1 every number is near 0")
    return float(value)


def _flag(said: dict[str, Any], name: str, otherwise: bool) -> bool:
    value = said.get(name, otherwise)
    if not isinstance(value, bool):
        raise TypeError(f"`{name}` must be true or false")
    return value
