"""The labelled set, and what nothing may do to the grader: hang it, be evaluated by it, or kill it for good."""

import json
import os
import shutil
import signal
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import pytest

from posttrain.cli.verbs import grading
from posttrain.graders import maths
from posttrain.graders.answers import ANYWHERE, box
from posttrain.graders.maths import symbolic
from posttrain.graders.maths.audit import Audit, audit, first_sight
from posttrain.graders.registry import self_check
from posttrain.spec.errors import MissingNeed

DATA = Path(__file__).parents[3] / "shared" / "data"


@dataclass(frozen=True)
class Question:
    answer: str
    prompt: str = "?"
    answer_type: str = "maths"


@pytest.fixture(scope="module")
def audited() -> Audit:
    return audit(maths.grade)


def test_the_labelled_set_bounds_both_errors(audited: Audit) -> None:
    """S-D9, S-B5: fractions, roots, sets, tuples, intervals, matrices, units, several answers; wrong ones refused."""
    labels = Counter(told.pair.right for told in audited.told)
    assert min(labels.values()) >= 150 and sum(labels.values()) >= 300
    assert audited.false_positives.value == 0 and audited.false_negatives.value <= 0.02
    first = first_sight()
    assert min(first.false_negatives.n, first.false_positives.n) >= 70
    assert first.false_negatives.value <= 0.05 and first.false_positives.value <= 0.02


def test_every_gold_of_the_set_grades_itself(audited: Audit) -> None:
    """S-D9: golds grade themselves 1, of every class."""
    assert len(audited.golds) > 100
    assert [told.pair.gold for told in audited.golds if told.outcome != "right"] == []


def test_the_page_quotes_what_the_audit_prints(audited: Audit) -> None:
    """S-D9: the rates in docs/graders.md are those of the grader as it is."""
    page = (Path(__file__).parents[2] / "docs" / "graders.md").read_text(encoding="utf-8")
    quoted = next(block for block in page.split("```") if "labelled pairs, " in block).strip().splitlines()
    printed = grading.told(audited, first_sight()).splitlines()
    assert quoted == printed[: len(quoted)] and "at first sight" in quoted[-1]


def test_a_labelled_set_that_is_wrong_shows(audited: Audit) -> None:
    turned = Audit(
        tuple(type(t)(type(t.pair)(**{**vars(t.pair), "right": not t.pair.right}), t.outcome) for t in audited.told), ()
    )
    assert turned.false_negatives.value > 0.9 and turned.false_positives.value > 0.9


def test_what_cannot_be_decided_is_not_wrong(audited: Audit) -> None:
    """S-D9: huge powers and (1+x)^5000 end at the limit, as an outcome of their own."""
    undecided = {told.pair.answer for told in audited.told if told.outcome == "timeout"}
    assert {"9^{9^{9}}", "(1+x)^{5000}"} <= undecided
    assert audited.undecided == len([t for t in audited.told if t.outcome == "timeout"])
    assert not any(told.mistaken for told in audited.told if told.outcome == "timeout")
    assert maths.BUDGET_S < 2 and symbolic.SECONDS < 2


def test_a_limit_is_an_outcome_of_the_grade() -> None:
    spent = maths.Maths()
    grade = spent(Question("x+1"), box("10^{9^{9^{9}}}"))
    assert (grade.correct, grade.outcome, grade.decided) == (False, "timeout", False)
    assert spent(Question("x+1"), box("x-1")).decided


def test_text_is_never_evaluated(tmp_path: Path) -> None:
    """S-D9: `__import__` and its like are letters, on either side, in the grader and in the process that compares."""
    mark = tmp_path / "evaluated"
    for hostile in (
        f"__import__('pathlib').Path('{mark}').touch()",
        f"\\operatorname{{__import__}}('os').system('touch {mark}')",
        f"open('{mark}','w')",
    ):
        assert symbolic.equal("x+1", hostile) != "equal"
        assert symbolic.equal(hostile, "x+1") != "equal"
        assert not maths.grade(Question("x+1"), box(hostile)).correct
    assert not mark.exists()


def test_memory_is_a_limit_too() -> None:
    pair = ("(x+1)^{40}-(x-1)^{40}", "(1+x)^{40}-(1-x)^{40}")
    assert symbolic.equal(*pair, seconds=30.0) == "equal"
    small = symbolic.Pool(workers=1, memory=1 << 20)
    assert small.ask(*pair, seconds=30.0) == "exhausted"
    small.close()


def test_a_dead_process_is_replaced_between_two_grades() -> None:
    """A worker that is killed from outside costs nobody a reward."""
    pool = symbolic.Pool(workers=1)
    assert pool.ask("x+1", "1+x", 30.0) == "equal"
    (first,) = pool.processes()
    os.kill(first, signal.SIGKILL)
    assert pool.ask("x+2", "2+x", 30.0) == "equal"
    (second,) = pool.processes()
    assert second != first
    pool.close()
    assert pool.processes() == []


def test_a_process_that_cannot_start_stops_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without the worker is no reward of 0."""
    monkeypatch.setattr(symbolic.sys, "executable", shutil.which("false"))
    with pytest.raises(MissingNeed, match="math-verify"):
        symbolic.Pool(workers=1).ask("x+1", "1+x", 30.0)


@pytest.mark.parametrize(
    ("gold", "answer", "prompt", "outcome"),
    [
        ("90", "1.5 hours", "How many minutes does it take?", "right"),
        ("90", "90 hours", "How many minutes does it take?", "wrong"),
        ("90", "90 hours", "How long does it take?", "right"),
        ("90", "90 hours", "How many minutes is it, or how many days?", "unparsable"),
        ("18", "18 cents", "A pen costs $2. How much do nine cost?", "wrong"),
        ("18", "1800 cents", "A pen costs $2. How much do nine cost?", "right"),
        ("18", "18 pens", "How many pens?", "right"),
        ("18", "18 pens", "How many books?", "unparsable"),
        ("18", "18\\text{ m}", "How far?", "right"),
        ("18", "18m", "How far?", "unparsable"),
    ],
)
def test_a_unit_is_read_beside_the_question(gold: str, answer: str, prompt: str, outcome: str) -> None:
    """S-D9: a unit that the question does not ask for is no match; a thing counts where the question names it."""
    assert maths.grade(Question(gold, prompt), box(answer)).outcome == outcome


def test_a_slow_comparison_does_not_hold_up_another() -> None:
    pairs = [("x+1", "(1+x)^{4999}"), ("x^2-4", "(x-2)(x+2)"), ("x^2-9", "(x-3)(x+3)"), ("x^2", "x^3")]
    with ThreadPoolExecutor(4) as threads:
        told = list(threads.map(lambda pair: symbolic.equal(*pair, seconds=1.0 if "{" in pair[1] else 30.0), pairs))
    assert told == ["exhausted", "equal", "equal", "different"]


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_compares_by_processes_of_its_own() -> None:
    """A stage is forked from a warm worker; two processes on one pipe would take each other's verdicts."""
    assert symbolic.equal("x-1", "-1+x", seconds=30.0) == "equal"
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, symbolic.equal("x-2", "-2+x", seconds=30.0).encode())
        symbolic._pool().close()  # pyright: ignore[reportPrivateUsage]
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as told:
        assert told.read() == "equal"
    assert os.waitpid(child, 0)[1] == 0
    assert symbolic.equal("x-3", "-3+x", seconds=30.0) == "equal"


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("6 * 3 = <<6*3=18>>18\n#### 18", "18"),
        ("#### 1\nno, wait\n#### 2 \nend", "2"),
        ("The answer is 18.", "18"),
        ("so the final answer is: $\\frac{1}{2}$.", "\\frac{1}{2}"),
        ("**Answer:** 12 eggs", "12 eggs"),
        ("I said the answer is 3. But the answer is 4 because 2+2=4.", "4"),
        ("The answer is \\(x=5\\).", "x=5"),
        ("  $12$ ", "$12$"),
        ("The answer is 5. #### 6", "6"),
        ("#### 6 or \\boxed{7}", "7"),
        ("the answer is 3, \\boxed{3", None),
        ("first 1\nthen 2", None),
        ("", None),
    ],
)
def test_an_answer_is_found_where_it_is_stated(text: str, answer: str | None) -> None:
    """S-D9: the surest place that a response uses, the last time it uses it; an open box is no answer."""
    assert maths.Maths(reads=ANYWHERE)(Question("18"), text).answer == answer


def test_recipes_read_a_box_alone() -> None:
    assert maths.grade(Question("18"), "#### 18").outcome == "no_answer"
    assert maths.Maths(reads=ANYWHERE)(Question("18"), "#### 18").correct


def test_a_tolerance_is_declared() -> None:
    near = maths.Maths(tolerance=Fraction(1, 100))
    assert near(Question("3.14"), box("3.1416")).correct and not maths.grade(Question("3.14"), box("3.1416")).correct
    assert not near(Question("3.14"), box("3.2")).correct and not near(Question("0"), box("0.001")).correct


def test_nesting_of_any_depth_is_read_in_one_go() -> None:
    """S-D9: ten thousand nested parentheses."""
    for opening, closing in (
        ("(", ")"),
        ("{", "}"),
        ("[", "]"),
        ("\\left(", "\\right)"),
        ("\\frac{1}{", "}"),
        ("\\text{", "}"),
    ):
        text = opening * 10_000 + "1" + closing * 10_000
        assert maths.grade(Question("x+1"), box(text)).outcome in {"wrong", "unparsable", "no_answer"}
        assert maths.grade(Question(text[:900]), box("x")).outcome in {"wrong", "unparsable", "timeout"}


@pytest.mark.skipif(not DATA.is_dir(), reason="the public data is not beside this checkout")
def test_public_golds_grade_themselves() -> None:
    """S-D9: every gold of GSM8K's test side, and every twentieth of college mathematics."""

    def lines(name: str) -> list[str]:
        return (DATA / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()

    school = [json.loads(line)["answer"].rpartition("####")[2].strip() for line in lines("gsm8k_test")]
    college = [json.loads(line)["answer"] for line in lines("college_math")][::20]
    assert len(school) > 1000 and len(college) > 100
    assert [gold for gold in (*school, *college) if not self_check(Question(gold))] == []
