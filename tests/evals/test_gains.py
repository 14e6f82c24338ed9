"""Two exams held against each other, on rows made by hand."""

import pytest

from posttrain.data.records import Score
from posttrain.evals.compare import Pair, gains, largest_k, summary
from posttrain.evals.tally import Item, items, standard_errors
from posttrain.evals.tally import summary as exam_summary
from posttrain.spec.errors import Mismatch, UsageError


def exam(counts: dict[str, int], domain: str = "algebra", n: int = 8) -> list[Item]:
    return [Item("problems", name, domain, n, c, 20.0, 0.0, 2, float(2 * c > n)) for name, c in counts.items()]


def score(id: str, sample: int, correct: bool, *, answer: str | None = "7", finish: str = "stop") -> Score:
    outcome = "right" if correct else ("truncated" if finish == "length" else "wrong")
    return Score.model_validate(
        {
            "id": id,
            "domain": "algebra",
            "sample": sample,
            "correct": correct,
            "outcome": outcome,
            "answer": answer,
            "text": f"={answer}",
            "tokens": 10 + sample,
            "finish": finish,
        }
    )


def test_rows_become_one_item_per_problem():
    rows = [score("a", 0, True), score("a", 1, False, answer="8"), score("b", 0, False, answer=None, finish="length")]
    first, second = items([*rows, score("b", 1, False, answer="9")])
    assert (first.id, first.n, first.c, first.length, first.distinct) == ("a", 2, 1, 10.5, 2)
    assert (second.truncated, second.distinct, second.consensus) == (0.5, 1, 0.0)


def test_pass_at_1_is_accuracy():
    rows = [score(str(p), s, (p + s) % 3 == 0) for p in range(12) for s in range(4)]
    found = exam_summary(items(rows), (1, 4))
    assert found["pass@1"].value == pytest.approx(sum(r.correct for r in rows) / len(rows))
    assert found["pass@1"].n == 12
    any_right = [any(r.correct for r in rows if r.id == str(p)) for p in range(12)]
    assert found["pass@4"].value == pytest.approx(sum(any_right) / 12)
    assert found["length"].unit == "tokens"
    assert found["pass@1"].low is not None
    assert found["pass@1"].low < found["pass@1"].value


def test_a_k_that_the_rows_cannot_give_has_a_reason_and_no_value():
    found = exam_summary(items([score("a", 0, True), score("a", 1, True), score("b", 0, True)]), (2,))
    assert found["pass@2"].value is None
    assert found["pass@2"].reason == "a problem has only 1 samples"
    assert exam_summary([], (8,))["pass@8"].value is None


def test_the_standard_error_is_clustered_by_problem():
    rows = exam({"a": 8, "b": 0, "c": 8, "d": 0})
    assert standard_errors(rows)[""] == pytest.approx(0.57735 / 2, abs=1e-5)
    assert standard_errors(rows[:1]) == {"": None, "algebra": None}


def test_the_gain_is_paired_by_item_whatever_the_order():
    """S-C10: gain = after - before, item by item."""
    before, after = exam({"a": 1, "b": 2, "c": 0}), exam({"c": 4, "a": 3, "b": 2})
    rows = gains([Pair("", before, after)], k=1)
    assert {row.id: row.after - row.before for row in rows} == {"a": 0.25, "b": 0.0, "c": 0.5}
    found = summary(rows)
    assert found["gain"].value == pytest.approx(0.25)
    assert found["gain"].n == 3
    assert found["after"].value == pytest.approx(found["before"].value + found["gain"].value)


def test_a_model_held_against_itself_gains_exactly_nothing():
    same = exam({str(i): i % 9 for i in range(50)})
    for k in (1, 3, 8):
        gain = summary(gains([Pair("", same, same)], k=k))["gain"]
        assert (gain.value, gain.low, gain.high) == (0.0, 0.0, 0.0)


def test_exchanging_before_and_after_turns_the_sign():
    one, two = exam({str(i): i % 5 for i in range(40)}), exam({str(i): i % 7 for i in range(40)})
    there, back = (summary(gains([pair], k=1))["gain"] for pair in (Pair("", one, two), Pair("", two, one)))
    assert there.low > 0 > back.high
    assert back.value == pytest.approx(-there.value)


def test_other_items_are_a_mismatch_that_names_the_first():
    """S-C10: before and after on other items is an error, never a smaller comparison."""
    whole = exam({"a": 1, "b": 2})
    for pair, side in ((Pair("", whole, whole[1:]), "before"), (Pair("", whole[1:], whole), "after")):
        with pytest.raises(Mismatch, match=f"a of suite problems stands only on the side {side}"):
            gains([pair], k=1)
    with pytest.raises(Mismatch, match="neither side has an item of the domain geometry"):
        gains([Pair("geometry", whole, whole, domains=("geometry",))], k=1)


def test_own_members_are_pooled_over_their_own_domains():
    before = exam({"a1": 2, "a2": 2}) + exam({"g1": 4, "g2": 4}, "geometry")
    algebra = exam({"a1": 4, "a2": 4}) + exam({"g1": 0, "g2": 0}, "geometry")
    geometry = exam({"a1": 0, "a2": 0}) + exam({"g1": 8, "g2": 8}, "geometry")
    own = [Pair("algebra", before, algebra, ("algebra",)), Pair("geometry", before, geometry, ("geometry",))]
    rows = gains(own, k=1)
    assert [(row.member, row.id) for row in rows] == [
        ("algebra", "a1"),
        ("algebra", "a2"),
        ("geometry", "g1"),
        ("geometry", "g2"),
    ]
    found = summary(rows)
    assert found["gain"].value == pytest.approx(0.375)
    assert found["gain/algebra"].value == pytest.approx(0.25)
    assert found["gain/geometry"].value == pytest.approx(0.5)
    every = summary(gains([Pair(pair.member, pair.before, pair.after) for pair in own], k=1))
    assert every["gain"].n == 4, "an item asked of two members is one item"
    assert every["gain"].value == pytest.approx((0.25 - 0.5 - 0.25 + 0.5) / 4)


def test_only_the_items_of_some_domains_are_compared():
    """S-C10: items of other domains do not count, and need not be the same; a domain without items is a mismatch."""
    before = exam({"a1": 2}) + exam({"g1": 4}, "geometry") + exam({"c1": 8, "c2": 8}, "code")
    after = exam({"a1": 4}) + exam({"g1": 8}, "geometry") + exam({"c1": 0}, "code")
    rows = gains([Pair("", before, after, ("algebra", "geometry"))], k=1)
    assert [row.id for row in rows] == ["a1", "g1"]
    assert summary(rows)["gain"].value == pytest.approx(0.375)
    with pytest.raises(Mismatch, match=r"c2 .*3 items before, 2 after of the domains algebra, code"):
        gains([Pair("", before, after, ("algebra", "code"))], k=1)
    with pytest.raises(Mismatch, match=r"neither side has an item of the domain statistics"):
        gains([Pair("", before, after, ("algebra", "statistics"))], k=1)


def test_k_is_the_largest_both_sides_have_samples_for():
    pair = Pair("", exam({"a": 1}, n=16), exam({"a": 1}, n=8))
    assert largest_k([pair]) == 8
    with pytest.raises(UsageError, match="only 8 samples"):
        gains([pair], k=9)


def test_nothing_before_is_no_value_rather_than_zero():
    gain = summary([])["gain"]
    assert gain.value is None
    assert gain.reason == "there is nothing to compare with"
