"""What every prompt of the code world asks for, read from its words alone, and programs that almost do it."""

import ast
import copy
import io
import json
import re
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from fractions import Fraction
from typing import Any

from oracles import numbers

from posttrain.data.records import Problem

Function = Callable[..., Any]


def _inside(text: str, x: int) -> int:
    """`3(a-2)` at x, whatever its letter: added up as often as it says."""
    times, more = re.fullmatch(r"(\d+)\([a-z]([+-]\d+)\)", text).groups()
    return sum(x + int(more) for _ in range(int(times)))


def _express(prompt: str) -> Function:
    bound = re.fullmatch(r"f: the (\w+) of (\d+\(([ab]).+\)) and ([ab])\.", prompt)
    if bound:
        kind, text, one, other = bound.groups()
        best = {"larger": lambda u, v: u if u > v else v, "smaller": lambda u, v: u if u < v else v}[kind]
        return lambda a, b: best(_inside(text, {"a": a, "b": b}[one]), {"a": a, "b": b}[other])
    text, one, word, inner = re.fullmatch(r"f: (\d+\(([ab]).+\)) (plus|minus) (.+)\.", prompt).groups()
    kind, other, number = re.fullmatch(r"(?:the )?(\w+) of ([ab])(?: by|,) (\d+)", inner).groups()
    n = int(number)

    def right(y: int) -> int:
        if kind in {"larger", "smaller"}:
            return sorted((y, n))[kind == "larger"]
        whole = 0
        while y >= n:
            y, whole = y - n, whole + 1
        return y if kind == "remainder" else whole

    def value(a: int, b: int) -> int:
        given = {"a": a, "b": b}
        return _inside(text, given[one]) + (right(given[other]) if word == "plus" else -right(given[other]))

    return value


def _induce(prompt: str) -> Function:
    x, left, y, right = numbers(prompt)
    return lambda a: left + Fraction(right - left, y - x) * (a - x)


def _induce_two(prompt: str) -> Function:
    x, y, here, x2, y2, across, x3, y3, up = numbers(prompt)
    assert (x2 - x, y2, x3, y3 - y) == (1, y, x, 1)
    return lambda a, b: here + (across - here) * (a - x) + (up - here) * (b - y)


def _choose(prompt: str) -> Function:
    pattern = r"f: (.+) if (above|below|at least|at most) (\d+), else (\d+)\."
    text, word, bound, other = re.fullmatch(pattern, prompt).groups()
    n = int(bound)
    fits = {
        "above": lambda a: a not in range(-200, n + 1),
        "below": lambda a: a in range(-200, n),
        "at least": lambda a: a not in range(-200, n),
        "at most": lambda a: a in range(-200, n + 1),
    }[word]
    return lambda a: _inside(text, a) if fits(a) else int(other)


def _gather(prompt: str) -> Function:
    if "count" in prompt:
        reach, middle = numbers(prompt)
        return lambda s: sum(abs(x - middle) <= reach for x in s)
    text, word, bound = re.fullmatch(r"f: sum of (.+) over x (above|below) (\d+)\.", prompt).groups()
    side = 1 if word == "above" else -1
    return lambda s: sum(_inside(text, x) for x in s if (x - int(bound)) * side > 0)


def _rounds(prompt: str) -> Function:
    start, text = re.fullmatch(r"f\(n\): from (\d+), n rounds of (.+)\.", prompt).groups()

    def value(n: int) -> int:
        x = int(start)
        while n:
            x, n = _inside(text, x), n - 1
        return x

    return value


def _read(prompt: str) -> Function:
    pattern = r"Read numbers\. Print (\d+) times \((\d+) (more|less) than their (\w+)\)\."
    times, more, sign, word = re.fullmatch(pattern, prompt).groups()

    def value(*s: int) -> int:
        ordered = sorted(s)
        taken = {
            "total": sum(s), "largest": ordered[-1], "smallest": ordered[0],
            "count": len(s), "first": s[0], "last": s[-1],
        }[word]  # fmt: skip
        return sum(taken + (int(more) if sign == "more" else -int(more)) for _ in range(int(times)))

    return value


CODE_ORACLES: dict[str, Callable[[str], Function]] = {
    "express": _express,
    "induce": _induce,
    "induce_two": _induce_two,
    "choose": _choose,
    "gather": _gather,
    "rounds": _rounds,
    "line": _read,
    "echo": _induce,
}
"""Template → what a prompt's program must compute."""


def hidden(problem: Problem) -> list[tuple[tuple[Any, ...], Any]]:
    """The hidden tests of a problem: arguments, and what is returned or printed."""
    said = json.loads(problem.answer)
    if "stdin" in said:
        return [(tuple(map(int, given.split())), int(out)) for given, out in said["stdin"]]
    found = []
    for text in said["tests"].splitlines():
        call, expected = re.fullmatch(rf"assert {said['entry']}\((.*)\) == (.*)", text).groups()
        found.append((ast.literal_eval(f"({call},)"), ast.literal_eval(expected)))
    return found


def passes(problem: Problem, program: str | ast.Module) -> bool:
    """Whether a program passes the hidden tests; it is run as it is, so it must be one of ours."""
    said, code = json.loads(problem.answer), compile(program, "program", "exec")
    try:
        if "stdin" in said:
            return all(_printed(code, given) == out for given, out in said["stdin"])
        space: dict[str, Any] = {}
        exec(code, space)
        found = [(space[said["entry"]](*given), expected) for given, expected in hidden(problem)]
    except (ArithmeticError, IndexError, NameError, TypeError, ValueError):
        return False
    return all(type(value) is type(expected) and value == expected for value, expected in found)


def _printed(code: Any, given: str) -> str:
    lines, out = io.StringIO(given), io.StringIO()
    with redirect_stdout(out):
        exec(code, {"input": lambda: lines.readline().rstrip("\n")})
    return out.getvalue()


_SWAPS: dict[type, tuple[type, ...]] = {
    ast.Add: (ast.Sub, ast.Mult),
    ast.Sub: (ast.Add,),
    ast.Mult: (ast.Add, ast.FloorDiv),
    ast.FloorDiv: (ast.Div, ast.Mod),
    ast.Mod: (ast.FloorDiv,),
    ast.Gt: (ast.GtE, ast.Lt),
    ast.GtE: (ast.Gt, ast.LtE),
    ast.Lt: (ast.LtE, ast.Gt),
    ast.LtE: (ast.Lt, ast.GtE),
}
_NAMES = {"max": "min", "min": "max", "sum": "len", "len": "sum", "a": "b", "b": "a"}


def near_misses(program: str) -> Iterator[ast.Module]:
    """The program with one number off by one, one operator for another, one name for another, no minus."""
    for place, node in enumerate(ast.walk(ast.parse(program))):
        for changed in _changes(node):
            tree = ast.parse(program)
            holder = list(ast.walk(tree))[place]
            holder.__dict__.update(copy.deepcopy(changed.__dict__))
            yield ast.fix_missing_locations(tree)


def _changes(node: ast.AST) -> Iterator[ast.AST]:
    def but(**fields: Any) -> ast.AST:
        changed = copy.copy(node)
        changed.__dict__.update(fields)
        return changed

    if isinstance(node, ast.Constant) and isinstance(node.value, int):
        yield from (but(value=node.value + step) for step in (-1, 1))
    elif isinstance(node, ast.BinOp):
        yield from (but(op=other()) for other in _SWAPS[type(node.op)])
    elif isinstance(node, ast.Compare):
        for place, operator in enumerate(node.ops):
            ops = list(node.ops)
            yield from (but(ops=[*ops[:place], other(), *ops[place + 1 :]]) for other in _SWAPS[type(operator)])
    elif isinstance(node, ast.Name) and node.id in _NAMES:
        yield but(id=_NAMES[node.id])
    elif isinstance(node, ast.UnaryOp):
        yield but(op=ast.UAdd())
