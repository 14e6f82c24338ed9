"""Which problems reinforcement learning asks, and in which order."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

import rl_world as world
from posttrain.data import rows
from posttrain.data.records import Score
from posttrain.graders.base import Grade
from posttrain.graders.registry import Grading
from posttrain.models.sample import Sampling
from posttrain.spec.errors import Mismatch, StageFailed
from posttrain.train.rl.journal import Journal
from posttrain.train.rl.prompts import Prompts, read, screen, sift

SIZES = {"algebra": 5, "geometry": 3, "calculus": 7}


def prompts(seed: int = 0) -> Prompts:
    problems = [p for domain, n in SIZES.items() for p in world.problems(n, domain)]
    return Prompts(problems, domains=tuple(SIZES), seed=seed)


def test_domains_are_drawn_equally_often():
    """S-D15: uniform over domains, whatever their sizes; each goes through all of its problems before any returns."""
    order = prompts()
    drawn = [order.at(i) for i in range(3 * 35)]
    assert set(Counter(p.domain for p in drawn).values()) == {35}
    for domain, n in SIZES.items():
        own = [p.id for p in drawn if p.domain == domain]
        for start in range(0, 35 - n, n):
            assert len(set(own[start : start + n])) == n


def test_epochs_are_shuffled_anew_and_by_the_seed():
    order = prompts()
    own = [order.at(i).id for i in range(3 * 21) if order.at(i).domain == "calculus"]
    assert own[:7] != own[7:14] and sorted(own[:7]) == sorted(own[7:14])
    assert [prompts(1).at(i).id for i in range(9)] != [order.at(i).id for i in range(9)]


@given(st.lists(st.integers(1, 8), min_size=1, max_size=6))
def test_a_cursor_is_the_whole_state(counts):
    """Draws in pieces are those of one who starts from the cursor alone, and no step asks a problem twice."""
    order, cursor = prompts(), 0
    for count in counts:
        taken = order.take(cursor, count)
        again = prompts().take(cursor, count)
        assert taken == again
        assert len({p.id for p in taken.problems}) == count
        cursor = taken.cursor


def test_take_leaves_out_what_it_is_told_and_ends_when_all_are_asked():
    order = prompts()
    first = order.take(0, 10)
    rest = order.take(first.cursor, 10, without={p.id for p in first.problems})
    assert len(order) == 15 and len(rest.problems) == 5
    assert not {p.id for p in rest.problems} & {p.id for p in first.problems}


def test_a_domain_without_problems_is_a_mismatch():
    """S-A9: no silent loss of a domain."""
    with pytest.raises(Mismatch, match="statistics"):
        Prompts(world.problems(3), domains=("algebra", "statistics"), seed=0)


def test_a_problem_that_comes_twice_counts_once(tmp_path):
    for name in ("a", "b"):
        rows.write(tmp_path / name, [*world.problems(3), *world.problems(2, "geometry")])
    assert len(read([tmp_path / "a", tmp_path / "b"], ())) == 5
    assert [p.domain for p in read([tmp_path / "a"], ("geometry",))] == ["geometry"] * 2


def test_long_prompts_and_bad_golds_are_dropped_and_counted():
    loaded = world.model()
    problems = world.problems(40)
    problems[0] = problems[0].model_copy(update={"answer": " "})
    problems[1] = problems[1].model_copy(update={"prompt": "what " * 40})
    found = screen(loaded, problems, grading=Grading(), max_prompt_length=40)
    assert (found.bad_golds, found.too_long, len(found.kept)) == (1, 1, 38)


def test_too_many_bad_golds_refuse_the_data():
    """§2.7: over 5 % of golds failing their own grader is exit 6."""
    problems = [p.model_copy(update={"answer": " "}) if i < 3 else p for i, p in enumerate(world.problems(40))]
    with pytest.raises(Mismatch, match="3 of 40 golds") as refused:
        screen(world.model(), problems, grading=Grading(), max_prompt_length=40)
    assert refused.value.code == 6


def test_the_prefilter_keeps_what_is_solved_sometimes(tmp_path):
    """§2.7: prompts solved always or never by the start are left out; its answers are kept and not drawn again."""
    sampling = Sampling(max_new_tokens=5)
    how = {"samples": 2, "seed": 2, "grading": world.LIKES_WORDS}
    journal, problems = Journal(tmp_path), world.problems(12)
    kept = sift(world.model(), problems, sampling, journal=journal, **how)
    told = journal.get("prefilter.jsonl.gz", 0, Score)
    assert told is not None
    right = Counter(row.id for row in told if row.correct)
    assert [p.id for p in kept] == [p.id for p in problems if right[p.id] == 1]
    assert 0 < len(kept) < 12
    assert sift(world.model(1), problems, sampling, journal=journal, **how) == kept


def test_a_prefilter_whose_sandbox_was_lost_is_asked_again(tmp_path):
    """S-D14: which problems are asked does not depend on a machine's bad hour."""
    problems, journal = world.problems(8), Journal(tmp_path)
    how = {"samples": 4, "seed": 3, "journal": journal}
    bad = world.By(lambda *_: Grade(correct=False, outcome="sandbox_error", answer=None, decided=False))
    with pytest.raises(StageFailed, match="the sandbox was lost"):
        sift(world.model(), problems, Sampling(max_new_tokens=6), grading=bad, **how)
    assert sift(world.model(), problems, Sampling(max_new_tokens=6), grading=world.LIKES_WORDS, **how)
