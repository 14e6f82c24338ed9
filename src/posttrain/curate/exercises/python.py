"""What the text of a program defines and what the text of tests calls, by reading both; neither is run."""

import ast
import builtins
import warnings
from collections.abc import Iterable, Sequence

from posttrain.curate.exercises.line import Ungradable

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef

NO_PROGRAM = "its own program is no Python"
NO_PYTHON = "its tests are no Python"
NO_TESTS = "it has no tests"
NO_ENTRY = "its tests call nothing that its program defines"


def parsed(text: str) -> ast.Module | None:
    """The tree of a text; None where it is no Python of this interpreter's version."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def tree_of(text: str, reason: str) -> ast.Module:
    """The tree of a text; Ungradable, for the reason given, where there is none."""
    tree = parsed(text)
    if tree is None:
        raise Ungradable(reason)
    return tree


def defined(tree: ast.Module) -> dict[str, Definition | None]:
    """The names that a program binds at its top level, with the definition of each that is a function or a class."""
    names: dict[str, Definition | None] = {}
    for node in tree.body:
        if isinstance(node, Definition):
            names[node.name] = node
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {target.id: None for target in targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {(alias.asname or alias.name).partition(".")[0]: None for alias in node.names}
    return names


def calls(tree: ast.AST) -> list[str]:
    """The names that are called, from the outermost call inwards, each once."""
    found = [node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    return list(dict.fromkeys(found))


def uses(tree: ast.AST) -> set[str]:
    """The names that are read."""
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}


def tested(tests: Sequence[ast.AST], program: ast.Module) -> list[str]:
    """The functions and classes of a program that its tests call, the one that is tested first.

    That is the one which every test calls; of several, the outermost call of the first test. Ungradable without any.
    """
    known = {name for name in defined(program) if not hasattr(builtins, name)} | _shadowing(program)
    called = [[name for name in calls(test) if name in known] for test in tests]
    everywhere = [name for name in called[0] if all(name in names for names in called)]
    rest = list(dict.fromkeys(name for names in called for name in names))
    if not everywhere:
        raise Ungradable(NO_ENTRY if not rest else "its tests have no function in common")
    return list(dict.fromkeys([everywhere[0], *rest]))


def headline(program: ast.Module, name: str) -> str:
    """How a function or a class of a program is called: `def f(a, b=1)`, `class A`; the name of anything else."""
    node = defined(program).get(name)
    if isinstance(node, ast.ClassDef):
        return f"class {name}"
    if node is None:
        return name
    return f"def {name}({ast.unparse(node.args)})"


def methods(starter: str) -> list[str]:
    """The functions that starter code begins, of class Solution or at its top level; it may end without a body."""
    tree = parsed(starter) or parsed(f"{starter.rstrip()}\n        pass\n") or parsed(f"{starter.rstrip()}\n    pass\n")
    if tree is None:
        return []
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Solution"]
    bodies: Iterable[ast.stmt] = classes[0].body if classes else tree.body
    return [node.name for node in bodies if isinstance(node, ast.FunctionDef) and not node.name.startswith("__")]


def _shadowing(program: ast.Module) -> set[str]:
    """Builtin names that a program defines as functions of its own."""
    return {name for name, node in defined(program).items() if node is not None}
