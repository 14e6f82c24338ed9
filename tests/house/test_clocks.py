"""Durations are measured by clocks that never jump; the clock on the wall is for stamps alone."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import posttrain

SRC = Path(posttrain.__file__).parent
WALL = {
    *("time.time", "time.time_ns", "time.gmtime", "time.localtime", "time.ctime", "time.strftime"),
    *("datetime.now", "datetime.utcnow", "datetime.today", "datetime.fromtimestamp", "date.today"),
}
"""Calls that ask the clock on the wall, or read it."""

STAMPS = {
    ("store/ledger.py", "Ledger.write"): "when a record was written",
    ("store/scan.py", "_settle"): "whether a file's time is that of this moment; it sleeps for a grain at most",
    ("store/artifact.py", "opened"): "whether a file's time is that of this moment",
    ("store/lock.py", "Lock.take"): "since when a lock is held",
    ("engine/worker/child.py", "_become_node"): "when an attempt began, in its log",
    ("spec/waiver.py", "*"): "the day on which a waiver ends",
    ("reports/wording.py", "moment"): "a stamp of the ledger, as people read it",
    ("cli/tables.py", "_alive"): "how long ago another process's heartbeat was: its stamp is all there is",
}
"""Module and function → what it asks the wall for."""


def asks(path: Path) -> Iterator[tuple[str, str]]:
    """Function and call, for every question to the clock on the wall in a file."""

    def walk(tree: ast.AST, within: tuple[str, ...]) -> Iterator[tuple[str, str]]:
        for child in ast.iter_child_nodes(tree):
            named = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            yield from walk(child, (*within, child.name) if named else within)
            if isinstance(child, ast.Call):
                called = ".".join(ast.unparse(child.func).split(".")[-2:])
                if called in WALL:
                    yield ".".join(within), called

    yield from walk(ast.parse(path.read_text(encoding="utf-8")), ())


def strangers(folder: Path) -> set[tuple[str, str, str]]:
    found = {(path.relative_to(folder).as_posix(), *ask) for path in folder.rglob("*.py") for ask in asks(path)}
    return {one for one in found if (one[0], one[1]) not in STAMPS and (one[0], "*") not in STAMPS}


def test_no_duration_is_read_off_the_wall() -> None:
    """A clock that jumps moves stamps and nothing else."""
    assert not strangers(SRC)


def test_clocks_are_called_by_their_full_names() -> None:
    """`from time import time` would hide the question."""
    for path in SRC.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module == "time":
                raise AssertionError(f"{path} imports from time")


@pytest.mark.parametrize(
    "line", ["began = time.time()", "now = datetime.datetime.now(UTC)", "return date.today() - self.day"]
)
def test_a_duration_off_the_wall_is_seen(tmp_path: Path, line: str) -> None:
    (tmp_path / "engine").mkdir()
    (tmp_path / "engine" / "x.py").write_text(f"class A:\n    def b(self):\n        {line}\n")
    ((file, function, _),) = strangers(tmp_path)
    assert (file, function) == ("engine/x.py", "A.b")


def test_every_stamp_is_one() -> None:
    """What is allowed is asked for."""
    for module, function in STAMPS:
        path = SRC / module
        if function != "*":
            names = {name for name, _ in asks(path)}
            assert function in names, (module, function)
