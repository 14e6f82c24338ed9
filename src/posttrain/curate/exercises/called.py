"""Exercises whose tests are Python that calls a function: rows in the shapes of MBPP and HumanEval."""

import ast
from typing import Any

from posttrain.curate.exercises import python
from posttrain.curate.exercises.line import EQUAL, Exercise, Line, Ungradable


def mbpp(line: Line) -> Exercise:
    """A row of MBPP: `text` (sanitised: `prompt`), `code`, `test_list`; setup and further tests where it has them.

    The benchmark shows its tests (Austin et al., arXiv 2108.07732). Here the first is shown, since without it no
    solver knows types and order of arguments, and the others decide; of a single test nothing is shown.
    """
    question, program = line.text("text", "prompt").strip(), line.text("code").strip()
    setup = "\n".join((*line.texts("test_imports", ()), line.text("test_setup_code", default=""))).strip()
    given = (*line.texts("test_list"), *line.texts("challenge_test_list", ()))
    tests = {ast.dump(python.tree_of(test, python.NO_PYTHON)): test.strip() for test in given if test.strip()}
    if not tests:
        raise Ungradable(python.NO_TESTS)
    tree = python.tree_of(program, python.NO_PROGRAM)
    needed = python.tested([python.tree_of(test, python.NO_PYTHON) for test in tests.values()], tree)
    shown, hidden = (list(tests.values())[:1], list(tests.values())[1:]) if len(tests) > 1 else ([], [*tests.values()])
    asks = [f"Write {', '.join(python.headline(tree, name) for name in needed)}."]
    return Exercise(
        question=question,
        call="\n".join([*asks, *(f"For example: {test}" for test in shown)]),
        answer={"entry": needed[0], "reference": program, "tolerance": EQUAL, **_set_up(setup, hidden, tree)},
        programs=(program,),
    )


def humaneval(line: Line) -> Exercise:
    """A row of HumanEval: `prompt` (a function without its body), `canonical_solution`, `test`, `entry_point`.

    A solution is the whole program, the prompt included. What the prompt defines beside the function, and the tests
    call, stands before the tests too (Chen et al., arXiv 2107.03374, run prompt and completion as one program).
    """
    prefix, body = line.text("prompt"), line.text("canonical_solution")
    if body.startswith("\n"):  # the end of the prompt's last line, which an answer need not begin with
        prefix, body = f"{prefix}\n", body[1:]
    entry, tests = line.text("entry_point").strip(), line.text("test").strip()
    if not tests:
        raise Ungradable(python.NO_TESTS)
    program = f"{prefix}{body}".strip() if body.strip() else ""
    whole = python.tree_of(program or f"{prefix.rstrip()}\n    pass", python.NO_PROGRAM)
    if entry not in python.defined(whole):
        raise Ungradable(python.NO_ENTRY)
    beside = [node for node in whole.body if node.lineno <= prefix.count("\n") and getattr(node, "name", "") != entry]
    helpers = ast.Module([node for node in beside if not isinstance(node, ast.Expr)], [])
    answer: dict[str, Any] = {"entry": entry, "prefix": prefix, "tests": tests, "tolerance": EQUAL}
    if set(python.defined(helpers)) & python.uses(python.tree_of(tests, python.NO_PYTHON)):
        answer["setup"] = ast.unparse(helpers)
    if program:
        answer["reference"] = program
    return Exercise(
        question=prefix.strip(),
        call=f"Write the whole function {entry}.",
        answer=answer,
        programs=(program,) if program else (),
    )


def _set_up(setup: str, tests: list[str], program: ast.Module) -> dict[str, str]:
    """Tests and what stands before them; a setup that uses names of the program is a part of the tests."""
    if not setup:
        return {"tests": "\n".join(tests)}
    tree = python.tree_of(setup, python.NO_PYTHON)
    if python.uses(tree) & set(python.defined(program)) - set(python.defined(tree)):
        return {"tests": "\n".join((setup, *tests))}
    return {"setup": setup, "tests": "\n".join(tests)}
