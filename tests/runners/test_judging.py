"""What a stage grades with, and what it leaves on record of it."""

import contextlib
import json
import threading
from collections.abc import Iterator

import pytest

from posttrain.data.records import Problem
from posttrain.graders.sandbox import level, protocol
from posttrain.graders.sandbox.service import Service
from posttrain.runners.judging import anew, grading
from posttrain.spec.errors import MissingNeed, UsageError
from posttrain.spec.knobs import Knobs, Resources
from support import FolderContext

TOKEN = "a-token-of-nobody-else"
TESTS = {"entry": "f", "tests": "assert f(1) == 4\nassert f(2) == 5", "reference": "def f(a): return a + 3"}
CODE = Problem(id="p", domain="code", prompt="add three", answer=json.dumps(TESTS), answer_type="code")
MATHS = Problem(id="q", domain="algebra", prompt="1 + 2", answer="3")


@contextlib.contextmanager
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a sandbox server whose token the environment holds."""
    service = Service("127.0.0.1", 0, token=TOKEN, servers=1)
    answering = threading.Thread(target=service.serve_forever)
    answering.start()
    monkeypatch.setenv(protocol.TOKEN, TOKEN)
    try:
        yield f"http://127.0.0.1:{service.server_address[1]}"
    finally:
        service.shutdown()
        service.server_close()
        answering.join()


def told(folder, problem, text, **resources) -> tuple[dict[str, str], bool]:
    ctx = FolderContext(folder, Knobs(), resources=Resources(**resources))
    with grading(ctx) as judge:
        (grade,) = judge.grade_all([problem], [text])
    return ctx.found, grade.correct


def test_the_level_that_programs_ran_at_is_on_record(tmp_path):
    """S-D14: the level stands in the record of the node that graded code."""
    assert told(tmp_path, CODE, "def f(a): return a + 3") == ({"sandbox": level.find("L2")}, True)


def test_that_programs_ran_on_another_machine_is_on_record(tmp_path, monkeypatch):
    """S-D14: the level there, and that it was elsewhere; neither address nor token."""
    with served(monkeypatch) as url:
        (found, right) = told(tmp_path, CODE, "def f(a): return a + 3", sandbox=url)
    assert right and found == {"sandbox": f"{level.find('L2')}, elsewhere"}


def test_that_nothing_was_run_is_on_record(tmp_path):
    """S-D14: graded without a program, and said so."""
    assert told(tmp_path, CODE, "def f(a): return a + 3", sandbox="none") == ({"sandbox": "none"}, True)


def test_who_grades_no_code_tells_no_level(tmp_path):
    assert told(tmp_path, MATHS, r"\boxed{3}") == ({}, True)
    assert told(tmp_path, MATHS, r"\boxed{3}", sandbox="none") == ({}, True)


def counted(text: str = "def f(a): return a + 3") -> tuple[bool, str | None]:
    with anew() as judge:
        (grade,) = judge.grade_all([CODE], [text])
        return grade.correct, judge.level


def test_who_counts_again_names_the_sandbox(monkeypatch):
    """S-D14, C-S1: POSTTRAIN_SANDBOX names the server or level where metrics are counted again; unset: what works."""
    monkeypatch.delenv("POSTTRAIN_SANDBOX", raising=False)
    here = level.find("L2")
    assert counted() == (True, here)
    with served(monkeypatch) as url:
        monkeypatch.setenv("POSTTRAIN_SANDBOX", url)
        assert counted() == (True, here)
        assert counted("def f(a): return a") == (False, here)
    with pytest.raises(MissingNeed, match="no sandbox answers") as caught:
        counted()
    assert "POSTTRAIN_SANDBOX" in caught.value.remedy and "resources.sandbox" not in caught.value.paragraph()
    monkeypatch.setenv("POSTTRAIN_SANDBOX", "L2")
    assert counted() == (True, here)


@pytest.mark.parametrize("said", ["L4", "10.0.0.7:80", "http://name:secret@host", "ftp://host"])
def test_what_names_no_sandbox_is_refused_unseen(said, monkeypatch):
    monkeypatch.setenv("POSTTRAIN_SANDBOX", said)
    with pytest.raises(UsageError) as caught:
        counted()
    assert "POSTTRAIN_SANDBOX" in caught.value.paragraph() and "secret" not in caught.value.paragraph()


def test_a_level_below_the_second_needs_the_second_word_there_too(monkeypatch):
    monkeypatch.setenv("POSTTRAIN_SANDBOX", "L1")
    monkeypatch.delenv("POSTTRAIN_SANDBOX_L1", raising=False)
    with pytest.raises(UsageError, match=r"^POSTTRAIN_SANDBOX = L1 runs"):
        counted()
