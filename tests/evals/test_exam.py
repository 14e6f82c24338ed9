"""Which problems an exam asks, and whether its golds are fair."""

from pathlib import Path

import pytest

from posttrain.data import rows
from posttrain.data.records import Problem
from posttrain.evals.exam import Fairness, fairness, metrics, paper, unfair
from posttrain.evals.tally import Item
from posttrain.graders.registry import Grading


def problem(id: str, answer: str = "7", domain: str = "algebra") -> Problem:
    return Problem(id=id, domain=domain, prompt=f"Which number is {id}?", answer=answer)


def test_each_problem_is_asked_once_and_max_problems_counts_by_domain(tmp_path: Path):
    first = [problem(f"a{i}") for i in range(4)]
    second = [problem("a0"), *(problem(f"g{i}", domain="geometry") for i in range(3))]
    rows.write(tmp_path / "one.jsonl", first)
    rows.write(tmp_path / "two.jsonl", second)
    files = [tmp_path / "one.jsonl", tmp_path / "two.jsonl"]
    whole = paper("problems", files, most=None)
    assert [p.id for p in whole.problems] == ["a0", "a1", "a2", "a3", "g0", "g1", "g2"]
    assert whole.repeated == 1
    assert [p.id for p in paper("problems", files, most=2).problems] == ["a0", "a1", "g0", "g1"]


def test_a_gold_that_fails_itself_is_unfair(tmp_path: Path):
    """S-D9: golds grade themselves right, or gate fair says which do not."""
    rows.write(tmp_path / "test.jsonl", [problem("good"), problem("empty", " "), problem("lost", "7}")])
    facts = fairness([paper("problems", [tmp_path / "test.jsonl"], most=None)], Grading())
    assert facts.golds == 3
    assert facts.bad_golds == ("empty", "lost")
    assert unfair(facts).value == 2


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"A": 198}, 1),
        ({"A": 50, "B": 47, "C": 52, "D": 49}, 0),
        ({"A": 120, "B": 26, "C": 26, "D": 26}, 1),
        ({"B": 30, "D": 31}, 1),
        ({"A": 3}, 0),
    ],
)
def test_option_keys_that_chance_does_not_explain_are_unfair(keys: dict[str, int], expected: int):
    """S-E5: options are shuffled and balanced; a suite whose key is always "A" is not."""
    assert unfair(Fairness(golds=sum(keys.values()), bad_golds=(), keys={"gpqa": keys})).value == expected


def test_metrics_stand_pooled_and_by_domain():
    """S-C10: every domain's score beside the pooled one."""
    asked = [Item("problems", f"{d}{i}", d, 8, i, 20.0, 0.0, 2, 0.0) for d in ("algebra", "geometry") for i in range(8)]
    found = metrics(asked, (1, 2, 4, 8), Fairness(16, (), {}))
    assert found["pass@1"].n == 16
    assert found["pass@8/algebra"].n == 8
    assert {f"{name}/geometry" for name in ("pass@1", "pass@4", "cons@8", "truncated", "length")} <= set(found)
    assert found["unfair"].value == 0
