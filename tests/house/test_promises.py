"""docs/promises.md states each promise beside tests that exist and that run."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "promises.md").read_text(encoding="utf-8")
ROWS = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith(("| promise", "|--"))]
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`( \(nightly\))?")


def _marks(test: ast.FunctionDef) -> str:
    return " ".join(ast.unparse(mark) for mark in test.decorator_list)


def _tests(file: str) -> dict[str, ast.FunctionDef]:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    return {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_every_promise_names_a_test():
    assert len(ROWS) > 20
    for row in ROWS:
        assert NAMED.search(row), row


def test_every_test_named_exists_and_runs_when_the_page_says():
    for file, name, nightly in NAMED.findall(PAGE):
        test = _tests(file).get(name)
        assert test is not None, (file, name)
        module = (ROOT / file).read_text(encoding="utf-8")
        marked = "nightly" in _marks(test) or "pytestmark = pytest.mark.nightly" in module
        assert marked == bool(nightly), (file, name, "the page and the test disagree on nightly")
        assert "skip" not in _marks(test).replace("skipif", ""), (file, name)
