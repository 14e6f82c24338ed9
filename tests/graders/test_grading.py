"""Grading in batches: answers of every type at once, order kept, golds that grade themselves."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from posttrain.graders.code import LONGEST
from posttrain.graders.registry import Grading, self_check
from posttrain.graders.sandbox.pool import Pool
from posttrain.graders.sandbox.service import Service
from posttrain.spec.errors import Mismatch, StageFailed, UsageError
from posttrain.spec.knobs import Resources, permit


@dataclass
class Problem:
    answer: str
    answer_type: str = "code"
    prompt: str = "Write f."


TESTS = {"entry": "f", "tests": "assert f(2) == 4\nassert f(0) == 0"}
DOUBLE = Problem(json.dumps(TESTS))
RIGHT, WRONG = "def f(n):\n    return n + n\n", "def f(n):\n    return n * n * n\n"


def test_answers_of_every_type_are_graded_together_in_the_order_given():
    """S-D13: one batch, each grade at its answer's place."""
    problems = [Problem("12", "maths"), DOUBLE, Problem("B", "options"), DOUBLE, Problem("12", "maths"), DOUBLE]
    texts = ["\\boxed{12}", WRONG, "\\boxed{B}", RIGHT, "\\boxed{13}", "no idea"]
    with Grading() as grading:
        assert grading.level is None
        grades = grading.grade_all(problems, texts)
        assert grading.level in ("L3", "L2")
    assert [grade.outcome for grade in grades] == ["right", "wrong", "right", "right", "wrong", "no_answer"]
    assert [grade.correct for grade in grades] == [True, False, True, True, False, False]
    assert all(grade.decided for grade in grades)


def test_golds_of_code_grade_themselves():
    """S-D13: a reference that fails its tests is no gold; without one the tests must be sound."""
    golds = {
        "right": {**TESTS, "reference": RIGHT},
        "tests that it fails": {**TESTS, "reference": WRONG},
        "no reference": TESTS,
        "zero tests": {"entry": "f", "tests": ""},
        "no tests": {"entry": "f"},
        "broken tests": {"entry": "f", "tests": "assert f( =="},
    }
    with Grading() as grading:
        held = grading.self_checks([Problem(json.dumps(gold)) for gold in golds.values()] + [Problem("7", "maths")])
    assert dict(zip(golds, held, strict=False)) == {name: name in ("right", "no reference") for name in golds}
    assert held[-1]
    assert self_check(Problem(json.dumps(golds["right"])))


@pytest.mark.parametrize("sandbox", ["L3", "L2", "L1", "none", "http://10.0.0.7:8731", "https://boxes.example/run"])
def test_resources_name_a_level_an_address_or_none(sandbox):
    assert Resources(sandbox=sandbox).sandbox == sandbox


@pytest.mark.parametrize(
    "sandbox", ["L4", "l2", "", "http://", "ftp://a", "http:// b", "off", "http://name:word@a", "http://a?b"]
)
def test_other_texts_are_no_sandbox(sandbox):
    with pytest.raises(ValueError, match=r'must be "L3", "L2", "L1", the address'):
        Resources(sandbox=sandbox)


def test_below_l2_the_environment_must_agree():
    """S-D14: a lower level is never taken in silence."""
    for sandbox in ("L3", "L2", "none", "http://host:1"):
        permit(sandbox, {})
    permit("L1", {"POSTTRAIN_SANDBOX_L1": "1"})
    for environ in ({}, {"POSTTRAIN_SANDBOX_L1": ""}, {"POSTTRAIN_SANDBOX_L1": "0"}):
        with pytest.raises(UsageError, match="POSTTRAIN_SANDBOX_L1 is not 1") as caught:
            permit("L1", environ)
        assert caught.value.code == 2


def test_a_server_that_dies_in_a_batch_loses_and_misplaces_no_grade():
    """S-D14: what was running runs again; each grade stands beside its answer."""
    slow = "import time\ndef f(n):\n    time.sleep(0.1)\n    return n + n"
    texts = [f"# {n}\n{slow}{' + 1' * (n % 3 == 0)}" for n in range(12)]
    wanted = ["wrong" if n % 3 == 0 else "right" for n in range(12)]
    with Grading() as grading:
        found: list[str] = []
        grading.ready([DOUBLE])
        pool = grading._opened()
        asking = threading.Thread(
            target=lambda: found.extend(g.outcome for g in grading.grade_all([DOUBLE] * len(texts), texts))
        )
        asking.start()
        while not pool.servers():
            time.sleep(0.01)
        time.sleep(0.2)
        (server,) = pool.servers()
        os.kill(server.process.pid, signal.SIGKILL)
        asking.join()
        assert pool.servers()[0] is not server
    assert found == wanted


def losing(pool: Pool, ask: Callable[[], object]) -> object:
    """What a question gives, or raises, while every server of the pool is killed soon after it is up."""
    found: list[object] = []

    def asked() -> None:
        try:
            found.append(ask())
        except StageFailed as error:
            found.append(error)

    asking, killed = threading.Thread(target=asked), set()
    asking.start()
    while asking.is_alive():
        for server in pool.servers():
            if server.process.pid not in killed:
                time.sleep(0.1)
                killed.add(server.process.pid)
                os.kill(server.process.pid, signal.SIGKILL)
        time.sleep(0.01)
    assert len(killed) >= 4
    return found[0]


def test_what_loses_every_server_is_undecided_and_never_wrong():
    """S-D14: an infrastructure failure is no verdict: its sample is masked, and no gold is dropped for it."""
    slow = "import time\ndef f(n):\n    time.sleep(1)\n    return n + n"
    gold = Problem(json.dumps({**TESTS, "reference": slow}))
    with Grading() as grading:
        grading.ready([DOUBLE])
        grades = losing(grading._opened(), lambda: grading.grade_all([DOUBLE], [slow]))
        assert [(grade.outcome, grade.correct, grade.decided) for grade in grades] == [("sandbox_error", False, False)]
        for ask in (lambda: grading.self_checks([gold]), lambda: grading.grade_all([DOUBLE], [slow], sure=True)):
            error = losing(grading._opened(), ask)
            assert isinstance(error, StageFailed) and "1 of 1 programs" in str(error)
        assert grading.grade_all([DOUBLE], [RIGHT], sure=True)[0].correct


def test_equal_programs_of_a_batch_run_once():
    """A program that draws by the clock says the same for every copy of it: it ran once."""
    clock = "import time\nT = time.monotonic_ns()\ndef f(n):\n    return T"
    apart = Problem(json.dumps({"entry": "f", "tests": "x = f(0)\nprint(x)\nassert x != x or f(1) == x"}))
    with Grading() as grading:
        grading.ready([apart])
        pool = grading._opened()
        ran, submit = [], pool.submit
        pool.submit = lambda job: ran.append(job) or submit(job)
        grades = grading.grade_all([apart] * 40 + [DOUBLE] * 2, [clock] * 40 + [RIGHT, WRONG])
    assert len(ran) == 3
    assert [grade.outcome for grade in grades] == ["right"] * 41 + ["wrong"]


BAD = {
    "truncated": (RIGHT[: len(RIGHT) // 2], "runtime_error"),
    "truncated in a fence": ("```python\n" + RIGHT[:-2], "runtime_error"),
    "1 MB of program": ("x = '" + "a" * (1 << 20) + "'\n" + RIGHT, "right"),
    "1 MB of lines": ("# x\n" * (1 << 18) + RIGHT, "right"),
    "1 MB of nesting": ("def f(n): return " + "(" * (1 << 20), "runtime_error"),
    "more than is run": (RIGHT + "#" * LONGEST, "unparsable"),
    "binary garbage": ("\x00\x01\ufffd\udcff\x7f" * 1000, "no_answer"),
    "binary garbage in a fence": ("```python\n" + "\x00\x01\ufffd\udcff\x7f" * 1000 + "\n```", "runtime_error"),
    "half a character": (RIGHT + "# \udcff", "runtime_error"),
    "empty": ("", "no_answer"),
    "an empty fence": ("```python\n```", "runtime_error"),
}


def test_bad_programs_are_graded_beside_good_ones():
    """S-D14: truncated, 1 MB, binary garbage: a grade each, and none of its neighbours'."""
    texts = [text for bad, _ in BAD.values() for text in (bad, RIGHT)]
    with Grading() as grading:
        grades = grading.grade_all([DOUBLE] * len(texts), texts)
    assert dict(zip(BAD, [grade.outcome for grade in grades[::2]], strict=True)) == {
        name: outcome for name, (_, outcome) in BAD.items()
    }
    assert all(grade.correct for grade in grades[1::2])


def test_a_batch_with_a_problem_without_tests_is_an_error():
    """S-D13: zero tests is an error, reward 0 is not said of it."""
    with Grading() as grading, pytest.raises(Mismatch, match="no tests"):
        grading.grade_all([DOUBLE, Problem('{"stdin": []}')], [RIGHT, RIGHT])


def test_an_empty_batch_opens_nothing():
    with Grading() as grading:
        assert grading.grade_all([], []) == [] and grading.self_checks([]) == []
        assert grading.grade_all([DOUBLE], ["no program"])[0].outcome == "no_answer"
        assert grading.level is None


WITHOUT = """
from posttrain.graders.registry import Grading
from posttrain.graders.sandbox.jail import kernel, seccomp
from posttrain.spec.errors import MissingNeed
class Problem:
    def __init__(self, answer, answer_type): self.answer, self.answer_type, self.prompt = answer, answer_type, ""
kernel.no_new_privileges()
kernel.Filter(seccomp.assemble([n for n in range(600) if n not in (444, 445, 446)], [])).install()
maths, code = Problem("12", "maths"), Problem('{"entry": "f", "tests": "assert f(2) == 4"}', "code")
with Grading() as grading:
    print(grading.grade_all([maths], [r"\\boxed{12}"])[0].outcome)
    for ask in (lambda: grading.grade_all([code], ["def f(a): return a+a"]), lambda: grading.ready([code])):
        try:
            ask()
        except MissingNeed as error:
            print(error.code, error)
with Grading(sandbox="none") as grading:
    print(grading.grade_all([code], ["def f(a): return a+a"])[0].outcome)
"""


def test_a_kernel_without_landlock_grades_no_program_and_says_what_to_do():
    """S-D14: refuses below the required level with exit 4; maths and expressions are graded all the same."""
    ran = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True)
    lines = ran.stdout.splitlines()
    assert [line.split(" ")[0] for line in lines] == ["right", "4", "4", "right"], ran.stdout + ran.stderr
    assert all("LANDLOCK" in line and "nojail" in line for line in lines[1:3])


def test_what_passed_once_is_not_run_again_where_that_is_asked_for():
    """S-D13: the same program under other comments opens no sandbox; one that failed is run again."""
    gold = Problem(json.dumps({**TESTS, "reference": RIGHT}))
    with Grading(remembers=True) as grading:
        assert grading.self_checks([gold]) == [True]
        grading.close()
        told = f"# 2+2=4\n\n  # so twice\n{RIGHT}\n"
        assert [g.outcome for g in grading.grade_all([gold, gold, gold], [told, f"```\n{RIGHT}```", "none"])] == [
            "right",
            "right",
            "no_answer",
        ]
        assert grading.level is None
        assert [g.outcome for g in grading.grade_all([gold, DOUBLE], [WRONG, "# no more\n# than comments"])] == [
            "wrong",
            "no_answer",
        ]
        assert grading.level is not None
        grading.close()
        assert [g.outcome for g in grading.grade_all([gold], [WRONG])] == ["wrong"]
        assert grading.level is not None
    with Grading() as plain:
        assert plain.grade_all([gold], [RIGHT])[0].correct
        plain.close()
        assert plain.grade_all([gold], [RIGHT])[0].correct
        assert plain.level is not None


def test_what_could_not_be_run_is_told_apart_from_nothing():
    """S-D13: a program of comments alone is run and fails; a text without a program is no answer."""
    texts = ["```python\n# nothing\n```", "I do not know."]
    with Grading() as grading:
        grades = grading.grade_all([DOUBLE] * 2, texts)
    assert [grade.outcome for grade in grades] == ["runtime_error", "no_answer"]
    assert [grade.answer is None for grade in grades] == [False, True]


def test_programs_run_on_the_machine_that_the_resource_names():
    """S-D14: external sandboxes plug in."""
    with Service("127.0.0.1", 0, token="", servers=1) as service:
        answering = threading.Thread(target=service.serve_forever)
        answering.start()
        with Grading(sandbox=f"http://127.0.0.1:{service.server_address[1]}") as grading:
            grades = grading.grade_all([DOUBLE] * 3, [RIGHT, WRONG, "def f(n): return g(n)"])
            assert grading.self_checks([Problem(json.dumps({**TESTS, "reference": RIGHT}))]) == [True]
            assert grading.level == service.level
        service.shutdown()
        answering.join()
    assert [grade.outcome for grade in grades] == ["right", "wrong", "runtime_error"]


def test_a_level_below_the_second_is_refused_before_any_program():
    """S-D14: exit 2, and the variable is named."""
    with Grading(sandbox="L1") as grading:
        assert grading.grade_all([Problem("12", "maths")], ["\\boxed{12}"])[0].correct
        with pytest.raises(UsageError, match="POSTTRAIN_SANDBOX_L1"):
            grading.ready([DOUBLE])
