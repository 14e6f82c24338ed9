"""What a fine-tune reads: turns, replay, rows that fit, and the check that sees a label on a prompt."""

import pytest
from little import model, problems

from posttrain.data.pack import Example, micro_batches
from posttrain.data.records import Solution
from posttrain.spec.errors import Mismatch
from posttrain.train import material

ASKED = material.asked(model())
TURNS = material.turns(problems("algebra", 10))
OTHERS = material.turns(problems("geometry", 30))


def batches(packing: bool, examples=None):
    return micro_batches(examples or ASKED.examples(TURNS), max_tokens=400, packing=packing, window=128)


def test_a_turn_per_solution_and_only_verified_ones():
    """S-B10: verified-only is honoured."""
    problem = problems("algebra", 1)[0]
    doubtful = problem.model_copy(update={"solutions": (Solution(style="x", text="y", verified=False),)})
    assert [t.response for t in material.turns([problem, doubtful])] == [s.text for s in problem.solutions]
    assert len(material.turns([problem, doubtful], verified_only=False)) == 3


@pytest.mark.parametrize(("share", "count"), [(0.0, 0), (0.3, 6), (2.0, 40), (9.0, 60)])
def test_replay_draws_its_share_of_other_rows(share: float, count: int):
    drawn = material.replayed(TURNS, [*TURNS, *OTHERS], share, seed=1)
    assert len(drawn) == len(set(drawn)) == count
    assert not set(drawn) & set(TURNS)
    assert drawn == material.replayed(TURNS, [*TURNS, *OTHERS], share, seed=1)


def test_long_rows_are_dropped_and_counted():
    """S-B10: a row over the window is left out whole, never cut."""
    lengths = sorted(len(e.ids) for e in ASKED.examples(TURNS))
    window = lengths[len(lengths) // 2]
    rows = material.tokenised(TURNS, OTHERS[:4], TURNS[:2], asked=ASKED, window=window, seed=1)
    kept = [e for e in ASKED.examples([*TURNS, *OTHERS[:4]]) if len(e.ids) <= window]
    assert list(rows.train) == kept
    assert (rows.own, rows.replayed, rows.given) == (20, 4, 24)
    assert set(rows.fixed) <= set(rows.train)


def test_no_row_left_shows_the_lengths():
    """S-A9: exit code 6 with the histogram of lengths."""
    with pytest.raises(Mismatch, match=r"none has at most 4 tokens.*≤64: \d+") as caught:
        material.tokenised(TURNS, [], [], asked=ASKED, window=4, seed=1)
    assert caught.value.code == 6
    with pytest.raises(Mismatch, match="no row"):
        material.tokenised([], [], [], asked=ASKED, window=4, seed=1)


def test_histogram_counts_by_powers_of_two():
    assert material.histogram([1, 2, 3, 4, 5, 64, 65, 128]) == "≤1: 1, ≤2: 1, ≤4: 2, ≤8: 1, ≤64: 1, ≤128: 2"


@pytest.mark.parametrize("packing", [True, False])
def test_right_masks_pass(packing: bool):
    """S-C1: labels read back as text are the response and the end token, the rest is the prompt."""
    assert material.bad_masks(batches(packing), TURNS, ASKED) == 0


@pytest.mark.parametrize("packing", [True, False])
def test_labels_on_the_prompt_are_seen(packing: bool):
    """Planted defect of gate masks: labels on the prompt."""
    planted = [Example(e.ids, (True,) * len(e.ids), e.key) for e in ASKED.examples(TURNS)]
    assert material.bad_masks(batches(packing, planted), TURNS, ASKED) == len(TURNS)


def test_other_wrong_masks_are_seen():
    examples = ASKED.examples(TURNS)
    no_end = [Example(e.ids[:-1], e.mask[:-1]) for e in examples]
    late = [Example(e.ids, (*e.mask[: e.mask.index(True)], False, *e.mask[e.mask.index(True) + 1 :])) for e in examples]
    for planted in (no_end, late):
        assert material.bad_masks(batches(True, planted), TURNS, ASKED) == len(TURNS)
    padded = batches(False)
    for batch in padded:
        batch.targets[:, -1] = True
    short = sum(int((batch.ids[:, -1] == 0).sum()) for batch in padded)
    assert short > 0
    assert material.bad_masks(padded, TURNS, ASKED) == short
    assert material.bad_masks(batches(True), TURNS[:5], ASKED) == len(TURNS) - 5


def test_problems_come_again_in_another_order_and_one_solution_each():
    source = material.again(problems("algebra", 5), seed=1)
    rounds = [[next(source).id for _ in range(5)] for _ in range(3)]
    assert all(sorted(r) == sorted(rounds[0]) for r in rounds) and rounds[0] != rounds[1]
    assert list(material.again([], seed=1)) == []
    styles = [t.key.rsplit("/")[-1] for t in material.one_each(problems("algebra", 200), seed=1)]
    assert len(styles) == 200
    assert 70 < styles.count("0") < 130
