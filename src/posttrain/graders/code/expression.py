"""Grades expression tasks where no program may be run: a checked evaluator of whole-number expressions.

A solution is `def f(a, b): return EXPRESSION`, comments before it, over its arguments, whole numbers, `+ - * // %`,
`min`, `max`, comparisons, `and`, `or`, `not` and `x if c else y`. It is parsed, checked node by node and computed here;
Python itself never runs any of it. There are no loops: a text of LONGEST characters has no more steps than that.
"""

import ast
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from posttrain.graders.sandbox.cases import Calls, Tests, same
from posttrain.graders.sandbox.jail import wire

LONGEST = 1000
"""Characters of a solution, without the comments before it."""
DEEPEST = 100
"""Levels of nesting of an expression."""
LARGEST = 1 << 14
"""Bits of any number on the way."""

_ALPHABET = re.compile(r"[A-Za-z0-9_ \t\n()+\-*/%,:<>=!]*")
_GLUED = re.compile(r"(?<![A-Za-z0-9_])\d\w*[A-Za-z]")
"""A number with a letter: hexadecimal, complex, or a word too near, of which the parser warns."""
_COMMENTS = re.compile(r"(?:[ \t]*(?:#[^\r\n]*)?\n)*")

_BINARY: Mapping[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_UNARY: Mapping[type[ast.unaryop], Callable[[int], int]] = {
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Not: operator.not_,
}
_COMPARE: Mapping[type[ast.cmpop], Callable[[int, int], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_FUNCTIONS: Mapping[str, Callable[[Sequence[int]], int]] = {"min": min, "max": max}


Wanted = tuple[tuple[int, ...], wire.Tree]
"""The arguments of a call and the value it must have."""


class Unsupported(Exception):
    """A program that is more than an expression."""


class TooLarge(Exception):
    """A number of more bits than are computed with."""


@dataclass(frozen=True)
class Formula:
    """A checked solution."""

    arguments: tuple[str, ...]
    body: ast.expr

    def of(self, *values: int) -> int:
        """Its value, as Python has it. ZeroDivisionError; TypeError on other arguments than it has; TooLarge."""
        if len(values) != len(self.arguments):
            raise TypeError(f"{len(self.arguments)} arguments are wanted")
        return _value(self.body, dict(zip(self.arguments, values, strict=True)))


def parse(source: str, entry: str) -> Formula:
    """A solution as a formula. Unsupported where it is more than that; SyntaxError where it is no Python."""
    text = source[_found(_COMMENTS.match(source)).end() :].rstrip()
    if len(text) > LONGEST or not _ALPHABET.fullmatch(text) or _GLUED.search(text):
        raise Unsupported
    try:
        body = ast.parse(text).body
    except (ValueError, RecursionError, MemoryError) as error:
        raise Unsupported from error
    if len(body) != 1 or not isinstance(body[0], ast.FunctionDef):
        raise Unsupported
    function, given = body[0], body[0].args
    names = tuple(item.arg for item in given.args)
    extras = (given.posonlyargs, given.kwonlyargs, given.defaults, given.vararg, given.kwarg)
    notes = (function.decorator_list, function.returns, *(item.annotation for item in given.args))
    statement = function.body[0]
    if any((*extras, *notes)) or function.name != entry or len({*names}) < len(names):
        raise Unsupported
    if {entry, *names} & {*_FUNCTIONS}:
        raise Unsupported
    if len(function.body) != 1 or not isinstance(statement, ast.Return) or statement.value is None:
        raise Unsupported
    _check(statement.value, frozenset(names), 0)
    return Formula(names, statement.value)


def cases(tests: Tests) -> list[Wanted] | None:
    """The arguments and the value of every call, where all are whole numbers; None where the tests are others."""
    if not isinstance(tests, Calls):
        return None
    found: list[Wanted] = []
    for case in tests.cases:
        call = ast.parse(case.call, mode="eval").body
        if not isinstance(call, ast.Call) or call.keywords or not isinstance(call.func, ast.Name):
            return None
        values = [_whole(item) for item in call.args]
        if not isinstance(case.expected, int) or any(value is None for value in values):
            return None
        found.append((tuple(value for value in values if value is not None), case.expected))
    return found


def outcome(source: str, tests: Calls, wanted: Sequence[Wanted]) -> str:
    """What a program is worth: right, wrong, runtime_error, memory, or `unsupported` where it is no expression.

    `wanted` are the `cases` of the tests.
    """
    try:
        formula = parse(source, tests.entry)
        right = [
            same(expected, formula.of(*values), case.rule)
            for case, (values, expected) in zip(tests.cases, wanted, strict=True)
        ]
    except Unsupported:
        return "unsupported"
    except (SyntaxError, ZeroDivisionError, TypeError):
        return "runtime_error"
    except TooLarge:
        return "memory"
    return "right" if all(right) else "wrong"


def _check(node: ast.expr, names: frozenset[str], depth: int) -> None:
    """Unsupported where the expression holds anything but what is known to be harmless."""
    if depth > DEEPEST:
        raise Unsupported
    if isinstance(node, ast.Constant):
        below, known = [], type(node.value) is int
    elif isinstance(node, ast.Name):
        below, known = [], node.id in names
    elif isinstance(node, ast.Call):
        below = node.args
        known = isinstance(node.func, ast.Name) and node.func.id in _FUNCTIONS and not node.keywords
    else:
        below, known = _operation(node)
    if not known:
        raise Unsupported
    for item in below:
        _check(item, names, depth + 1)


def _operation(node: ast.expr) -> tuple[Sequence[ast.expr], bool]:
    """The operands of an operation, and whether it is one of ours."""
    if isinstance(node, ast.BinOp):
        return (node.left, node.right), type(node.op) in _BINARY
    if isinstance(node, ast.UnaryOp):
        return (node.operand,), type(node.op) in _UNARY
    if isinstance(node, ast.Compare):
        return (node.left, *node.comparators), all(type(item) in _COMPARE for item in node.ops)
    if isinstance(node, ast.BoolOp):
        return node.values, True
    if isinstance(node, ast.IfExp):
        return (node.test, node.body, node.orelse), True
    return (), False


def _value(node: ast.expr, given: Mapping[str, int]) -> int:
    """The value of a checked expression."""
    if isinstance(node, ast.Constant):
        found = node.value
    elif isinstance(node, ast.Name):
        found = given[node.id]
    elif isinstance(node, ast.BinOp):
        found = _BINARY[type(node.op)](_value(node.left, given), _value(node.right, given))
    elif isinstance(node, ast.UnaryOp):
        found = _UNARY[type(node.op)](_value(node.operand, given))
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        found = _called(node.func.id, [_value(item, given) for item in node.args])
    else:
        found = _chosen(node, given)
    assert isinstance(found, int)
    if found.bit_length() > LARGEST:
        raise TooLarge
    return found


def _called(name: str, values: Sequence[int]) -> int:
    if len(values) < 2:
        raise TypeError(f"{name} of one whole number")
    return _FUNCTIONS[name](values)


def _chosen(node: ast.expr, given: Mapping[str, int]) -> int:
    """Comparisons and what hangs on them: only what Python would compute is computed."""
    if isinstance(node, ast.IfExp):
        return _value(node.body if _value(node.test, given) else node.orelse, given)
    if isinstance(node, ast.BoolOp):
        found = 0
        for item in node.values:
            found = _value(item, given)
            if bool(found) == isinstance(node.op, ast.Or):
                break
        return found
    assert isinstance(node, ast.Compare)
    left = _value(node.left, given)
    for sign, item in zip(node.ops, node.comparators, strict=True):
        right = _value(item, given)
        if not _COMPARE[type(sign)](left, right):
            return False
        left = right
    return True


def _whole(node: ast.expr) -> int | None:
    sign = 1
    while isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        node, sign = node.operand, -sign
    return sign * node.value if isinstance(node, ast.Constant) and type(node.value) is int else None


def _found(match: "re.Match[str] | None") -> "re.Match[str]":
    assert match is not None  # the pattern matches the empty text
    return match
