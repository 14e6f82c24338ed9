"""Tests of a program as data: calls and what they must return, apart, so that only the calls enter the jail.

Test code comes from a data set and is trusted; a program never reaches this module, what it returned does, as a tree.
"""

import ast
import builtins
import math
import re
import warnings
from dataclasses import dataclass

from posttrain.graders.sandbox.jail import wire
from posttrain.spec.errors import Mismatch


@dataclass(frozen=True)
class Rule:
    """What counts as equal beyond equality of type and value."""

    tolerance: float = 0.0
    """Floats may differ by this much, absolutely or relative to the expected; above 0, ints compare with floats.

    Two whole numbers are equal or not.
    """
    sequences: bool = False
    """A tuple and a list with equal items are equal."""
    relative: bool = True
    """False: absolutely alone, as an assertion has it that states the difference."""


@dataclass(frozen=True)
class Case:
    """A call, as an expression, and the value it must have."""

    call: str
    expected: wire.Tree
    rule: Rule = Rule()


@dataclass(frozen=True)
class Calls:
    """Tests in values mode: the comparison happens outside."""

    cases: tuple[Case, ...]
    entry: str = ""
    """The function that the calls name; a method of `class Solution` is found under it too."""


@dataclass(frozen=True)
class Stdin:
    """Tests in stdio mode: pairs of input and the whole output."""

    pairs: tuple[tuple[str, str], ...]
    rule: Rule = Rule()


@dataclass(frozen=True)
class Code:
    """Tests as code, for a judge in a jail of its own; `check(entry)` is called at the end where `check`."""

    tests: str
    entry: str
    setup: str = ""
    check: bool = False


Tests = Calls | Stdin | Code


def size(tests: Tests) -> int:
    """How many tests there are; Mismatch where there is none."""
    count = len(tests.cases) if isinstance(tests, Calls) else len(tests.pairs) if isinstance(tests, Stdin) else 1
    if not count or (isinstance(tests, Code) and not tests.tests.strip()):
        raise Mismatch("a problem has no tests", remedy="A program cannot be right by nothing; drop the problem.")
    return count


def split(text: str, entry: str, rule: Rule | None = None, *, setup: str = "") -> Calls | Code:
    """Test code in values mode where every assertion is `call == literal`; else as it is, for the judge.

    Reads plain assertions, and those in `def check(candidate)`. `setup` is run before the tests, where the judge runs
    them; a literal needs none. Mismatch where nothing is asserted, or on no Python.
    """
    tree = _parsed(text, entry)
    _parsed(setup, entry)
    if not any(isinstance(node, ast.Assert) for node in ast.walk(tree)):
        raise Mismatch(
            f"the tests of {entry!r} assert nothing", remedy="A problem without tests cannot be graded; drop it."
        )
    checks = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "check"]
    asserts, renamed = tree.body, ""
    if checks:
        asserts, renamed = checks[0].body, checks[0].args.args[0].arg if checks[0].args.args else ""
        if any(not isinstance(node, ast.FunctionDef) and not _idle(node) for node in tree.body):
            asserts = tree.body
    cases = [_case(node, renamed, entry, rule or Rule()) for node in asserts if not _idle(node)]
    if cases and all(cases):
        return Calls(tuple(case for case in cases if case), entry)
    return Code(f"{setup}\n{text}" if setup else text, entry, check=bool(checks) and not _calls_check(tree))


def _parsed(text: str, entry: str) -> ast.Module:
    try:
        with warnings.catch_warnings(action="ignore"):  # a test's odd escape is no error of ours
            return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise Mismatch(
            f"the tests of {entry!r} are no Python: {error}", remedy="Correct or drop the problem."
        ) from error


def same(expected: wire.Tree, given: wire.Tree, rule: Rule) -> bool:
    """Whether a returned tree is the expected one. NaN equals nothing, an opaque value equals nothing."""
    if isinstance(expected, bool | str) or expected is None:
        return type(given) is type(expected) and given == expected
    number = _number(expected)
    if number is not None:
        other = _number(given)
        return other is not None and _close(number, other, rule)
    tag, items = _items(expected)
    given_tag, given_items = _items(given)
    alike = {tag, given_tag} <= ({"", "t"} if rule.sequences else set()) or {tag, given_tag} <= {"s", "z"}
    if items is None or given_items is None or (tag != given_tag and not alike) or len(items) != len(given_items):
        return tag == given_tag and tag in ("b", "B", "c") and expected == given and not _holds_nan(expected)
    if tag in ("s", "z", "d"):
        items, given_items = sorted(items, key=wire.canonical), sorted(given_items, key=wire.canonical)
    return all(same(one, other, rule) for one, other in zip(items, given_items, strict=True))


def same_output(expected: str, given: str, rule: Rule) -> bool:
    """Whether a whole output is the expected one: as many lines, and token by token the same."""
    want, have = expected.rstrip().split("\n"), given.rstrip().split("\n")
    return len(want) == len(have) and all(
        _same_line(a.split(), b.split(), rule) for a, b in zip(want, have, strict=True)
    )


def _same_line(want: list[str], have: list[str], rule: Rule) -> bool:
    return len(want) == len(have) and all(
        a == b or (rule.tolerance > 0 and _near(a, b, rule)) for a, b in zip(want, have, strict=True)
    )


_WHOLE = re.compile(r"[+-]?[0-9]+")


def _near(want: str, have: str, rule: Rule) -> bool:
    if len(have) >= 400:
        return False
    try:
        if _WHOLE.fullmatch(want) and _WHOLE.fullmatch(have):
            return int(want) == int(have)
        return _close(float(want), float(have), rule)
    except ValueError:
        return False


def _number(tree: wire.Tree) -> int | float | None:
    if isinstance(tree, int) and not isinstance(tree, bool):
        return tree
    if isinstance(tree, dict) and len(tree) == 1:
        text = tree.get("f", tree.get("i"))
        try:
            return (float.fromhex(text) if "f" in tree else int(text, 16)) if isinstance(text, str) else None
        except (ValueError, OverflowError):
            return None
    return None


def _close(want: int | float, have: int | float, rule: Rule) -> bool:
    if isinstance(want, int) and isinstance(have, float) and not rule.tolerance:
        return False
    if want == have or (isinstance(want, int) and isinstance(have, int)):
        return want == have
    try:
        a, b = float(want), float(have)
    except OverflowError:
        return False
    scale = max(1.0, abs(a)) if rule.relative else 1.0
    return math.isfinite(a) and math.isfinite(b) and abs(a - b) <= rule.tolerance * scale


def _items(tree: wire.Tree) -> tuple[str, list[wire.Tree] | None]:
    """The tag and the items of a container."""
    if isinstance(tree, list):
        return "", tree
    if isinstance(tree, dict) and len(tree) == 1:
        ((tag, body),) = tree.items()
        return tag, body if isinstance(body, list) and tag in ("t", "s", "z", "d") else None
    return "?", None


def _holds_nan(tree: wire.Tree) -> bool:
    return isinstance(tree, dict) and "nan" in str(tree.get("c", ""))


def _idle(node: ast.stmt) -> bool:
    """A statement that tests nothing and that no test needs: a docstring, `pass`, `assert True`, a metadata table."""
    if isinstance(node, ast.Assign):
        return all(isinstance(target, ast.Name) and target.id == "METADATA" for target in node.targets)
    if isinstance(node, ast.Assert):
        return isinstance(node.test, ast.Constant) and node.test.value is True
    return isinstance(node, ast.Pass) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))


def _calls_check(tree: ast.Module) -> bool:
    return any(
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Call)
        and isinstance(node.value.func, ast.Name)
        and node.value.func.id == "check"
        for node in tree.body
    )


def _case(node: ast.stmt, renamed: str, entry: str, rule: Rule) -> Case | None:
    """The case that an assertion states; None where it states anything but a call's value."""
    if not isinstance(node, ast.Assert):
        return None
    test = node.test
    if isinstance(test, ast.Compare) and len(test.ops) == 1 and isinstance(test.ops[0], ast.Eq | ast.Is):
        for call, literal in ((test.left, test.comparators[0]), (test.comparators[0], test.left)):
            if _mentions(call, {entry, renamed}) and not _names(literal):
                return _built(call, literal, renamed, entry, rule)
    tolerance = _tolerance(test)
    return None if tolerance is None else _built(*tolerance[:2], renamed, entry, Rule(tolerance[2], relative=False))


def _tolerance(test: ast.expr) -> tuple[ast.expr, ast.expr, float] | None:
    """The parts of `abs(call - literal) < 1e-6`."""
    if not (isinstance(test, ast.Compare) and len(test.ops) == 1 and isinstance(test.ops[0], ast.Lt | ast.LtE)):
        return None
    inner, bound = test.left, test.comparators[0]
    if not (isinstance(inner, ast.Call) and isinstance(inner.func, ast.Name) and inner.func.id == "abs"):
        return None
    if len(inner.args) != 1 or not isinstance(inner.args[0], ast.BinOp) or not isinstance(inner.args[0].op, ast.Sub):
        return None
    difference = inner.args[0]
    if not (isinstance(bound, ast.Constant) and isinstance(bound.value, float) and 0 < bound.value < 1):
        return None
    return difference.left, difference.right, bound.value


_BUILTINS = frozenset(dir(builtins))


def _built(call: ast.expr, literal: ast.expr, renamed: str, entry: str, rule: Rule) -> Case | None:
    try:
        expected = wire.encode(ast.literal_eval(literal))
    except (ValueError, TypeError, RecursionError):
        return None
    if not _mentions(call, {entry, renamed}) or not _names(call) <= _BUILTINS | {entry, renamed, *_bound(call)}:
        return None
    if _reckons(call, {entry, renamed}, _bound(call)):
        return None
    if renamed:
        call = _Rename(renamed, entry).visit(call)
    return Case(ast.unparse(call), expected, rule)


class _Rename(ast.NodeTransformer):
    def __init__(self, old: str, new: str) -> None:
        self.old, self.new = old, new

    def visit_Name(self, node: ast.Name) -> ast.Name:
        """The tested function under its own name."""
        return ast.Name(self.new, node.ctx) if node.id == self.old else node


def _names(node: ast.AST) -> set[str]:
    return {item.id for item in ast.walk(node) if isinstance(item, ast.Name)}


def _bound(node: ast.AST) -> set[str]:
    """Names that an expression binds itself."""
    stored = {item.id for item in ast.walk(node) if isinstance(item, ast.Name) and isinstance(item.ctx, ast.Store)}
    return stored | {item.arg for item in ast.walk(node) if isinstance(item, ast.arg)}


def _reckons(node: ast.AST, tested: set[str], bound: set[str]) -> bool:
    """Whether an expression works on what the function returned by operators, which are then the program's own.

    `(f(1) == 2) == True` and `f(1) - 2 == 0` would let a program say what is equal, and tell it what is expected. What
    the function is given may be reckoned.
    """
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in tested:
        given = [*node.args, *node.keywords]
        return any(_names(item) & tested and _reckons(item, tested, bound) for item in given)
    if isinstance(node, ast.Compare | ast.BoolOp | ast.BinOp) and _names(node) & (tested | bound):
        return True
    if isinstance(node, ast.UnaryOp) and _names(node) & tested:
        return True
    return any(_reckons(item, tested, bound) for item in ast.iter_child_nodes(node))


def _mentions(node: ast.AST, names: set[str]) -> bool:
    return bool(_names(node) & names) and any(isinstance(item, ast.Call) for item in ast.walk(node))
