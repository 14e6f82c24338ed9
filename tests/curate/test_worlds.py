import re
import subprocess
import sys
from collections import Counter
from fractions import Fraction
from functools import cache
from itertools import islice
from random import Random

import pytest
from oracles import ORACLES, curve, sums

from posttrain.algos import overlap
from posttrain.curate import worlds
from posttrain.curate.worlds import algebra, calculus, geometry, statistics
from posttrain.curate.worlds.template import Template, polynomial, product
from posttrain.data.records import Problem
from posttrain.graders.maths import number
from posttrain.graders.registry import grader, self_check
from posttrain.spec.errors import Mismatch, UsageError

TEMPLATES = {
    template.__name__: template for world in (algebra, geometry, calculus, statistics) for template in world.TEMPLATES
}
MATHS = ("algebra", "geometry", "calculus", "statistics")
"""The domains whose answers are numbers; code has tests of its own."""
PIECE = re.compile(r"\\boxed\{| ?[A-Za-z]+|\d|\s|[^\w\s]")
"""A stand-in for the tokenizer trained on the spot: digits and symbols alone, words whole, `\\boxed{` one token."""


def tokens(text: str) -> int:
    return len(PIECE.findall(text))


@cache
def sample(level: int) -> tuple[Problem, ...]:
    """100 problems of every template of mathematics."""
    found: list[Problem] = []
    for domain in MATHS:
        found += islice(worlds.generate(domain, 5, difficulty=level), 100 * len(worlds.templates(domain)))
    return tuple(found)


@pytest.mark.parametrize("level", worlds.LEVELS)
@pytest.mark.parametrize("name", TEMPLATES)
def test_every_template_has_two_thousand_prompts(name: str, level: int) -> None:
    """Issue item 4: at least 2,000 distinct prompts per template, compared as their digests compare them."""
    make: Template = TEMPLATES[name]
    rng, seen = Random(1), set()
    for _ in range(60_000):
        seen.add(overlap.normalise(make(rng, level).prompt))
        if len(seen) == 2000:
            return
    pytest.fail(f"{len(seen)} distinct prompts")


@pytest.mark.parametrize("level", worlds.LEVELS)
def test_every_gold_is_what_an_independent_solver_finds(level: int) -> None:
    for problem in sample(level):
        expected = Fraction(ORACLES[problem.template](problem.prompt))
        given = number(problem.answer)
        assert given is not None
        assert given.value == expected, problem
        assert problem.answer == str(expected), "integers and fractions in lowest terms"


@pytest.mark.parametrize("level", worlds.LEVELS)
def test_every_gold_and_every_solution_grades_right(level: int) -> None:
    for problem in sample(level):
        assert self_check(problem)
        assert [s.style for s in problem.solutions] == ["worked", "terse"]
        assert all(grader("maths")(problem, s.text).outcome == "right" for s in problem.solutions)


@pytest.mark.parametrize("level", worlds.LEVELS)
def test_every_step_of_a_worked_solution_is_true(level: int) -> None:
    """Sums on both sides of every `=` agree, with the answer for x where x is what is asked."""
    for problem in sample(level):
        steps, _, stated = problem.solutions[0].text.rpartition(" ")
        assert stated == f"\\boxed{{{problem.answer}}}"
        x = re.search(r"at x=(-?\d+)", problem.prompt)
        asked = Fraction(x[1]) if x else Fraction(problem.answer)
        for step in steps.split("; "):
            if step.startswith(("f'", "F", "max", "min")) or "<" in step:
                continue
            values = sums(step, asked)
            assert len(set(values)) == 1, (problem.prompt, step, values)


@pytest.mark.parametrize("level", worlds.LEVELS)
def test_steps_that_name_something_name_it_rightly(level: int) -> None:
    for problem in sample(level):
        inner = re.search(r"(?:f\(x\)=|Integrate |Where is )([-+x^\d]+)", problem.prompt)
        for step in problem.solutions[0].text.split("; "):
            name, _, said = step.partition("=")
            said = said.split(" ")[0]
            if name == "f'" and inner:
                f, g = curve(inner[1]), curve(said)
                assert all(g(x) == (f(x + 1) - f(x - 1)) / 2 for x in (-3, 0, 5))
            elif name == "f''" and inner:
                f, g = curve(inner[1]), curve(said)
                assert all(g(x) == f(x + 1) - 2 * f(x) + f(x - 1) for x in (-3, 0, 5))
            elif name == "F" and inner:
                f, g = curve(inner[1]), curve(said)
                assert all((g(x + 1) - g(x - 1)) / 2 == f(x) for x in (-3, 0, 5))
            elif name in {"max", "min"}:
                given = [int(n) for n in re.findall(r"\d+", problem.prompt)]
                assert int(said) == {"max": max, "min": min}[name](given)
            elif "<" in step:
                ordered = [int(n) for n in step.split(" ")[0].split("<")]
                assert ordered == sorted(int(n) for n in re.findall(r"\d+", problem.prompt))


@pytest.mark.parametrize("level", worlds.LEVELS)
def test_every_ten_words_of_a_prompt_hold_its_numbers(level: int) -> None:
    """Spectrum §2.3: decontamination by 10-grams cannot confuse two problems that differ in a number."""
    for problem in sample(level):
        words = overlap.normalise(problem.prompt)
        assert all(Counter(gram) == Counter(words) for gram in overlap.grams(words, 10)), problem.prompt


def test_lengths_fit_the_windows() -> None:
    """A prompt fits 48 tokens, prompt and worked solution 96, most solutions the rest of the short window."""
    asked = [tokens(p.prompt) + 1 for p in sample(2)]
    worked = [tokens(p.solutions[0].text) + 1 for p in sample(2)]
    assert max(asked) <= 48
    assert max(a + w for a, w in zip(asked, worked, strict=True)) <= 96
    assert sum(w <= 48 for w in worked) >= 0.95 * len(worked)
    assert 18 <= sum(asked) / len(asked) <= 26
    assert 20 <= sum(worked) / len(worked) <= 45
    assert sum(len(p.answer.lstrip("-")) <= 3 for p in sample(2)) >= 0.9 * len(sample(2))


def test_a_higher_difficulty_has_larger_numbers() -> None:
    sizes = [
        sum(int(n) for p in sample(level) for n in re.findall(r"\d+", p.prompt)) / len(sample(level))
        for level in worlds.LEVELS
    ]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[1] < sizes[2]


def test_sides_have_their_shares_and_depend_on_the_words_alone() -> None:
    """S-B3: 80, 5, 5 and 10 in 100; the same in any dress, whatever is asked for."""
    shares = Counter(worlds.side(f"What is {n} and {n * n}?") for n in range(20_000))
    for name, share in {"train": 0.80, "probe": 0.05, "val": 0.05, "test": 0.10}.items():
        assert shares[name] / 20_000 == pytest.approx(share, abs=0.01)
    assert worlds.side("Solve 2x+1=5 for x.") == worlds.side("SOLVE  2X + 1 = 5, for $x$!")


@pytest.mark.parametrize("domain", worlds.DOMAINS)
@pytest.mark.parametrize("side", ["train", "probe", "val", "test"])
def test_drawn_problems_are_distinct_balanced_and_on_their_side(domain: str, side: worlds.Side) -> None:
    """S-B11, S-B7: exact counts, one side, no problem twice, every template as often as any other."""
    found = worlds.draw(domain, side, 240, 3)
    assert len(found) == len({p.id for p in found}) == 240
    assert {worlds.side(p.prompt) for p in found} == {side}
    assert {p.id for p in found} == {worlds.identity(p.prompt) for p in found}
    counts = Counter(p.template for p in found)
    assert counts.keys() == set(worlds.templates(domain))
    assert max(counts.values()) - min(counts.values()) <= 1
    assert worlds.draw(domain, side, 100, 3) == found[:100], "a larger draw begins with the smaller"


def test_too_few_problems_name_domain_need_and_supply() -> None:
    """Issue item 4: too few on a side is exit 6."""
    with pytest.raises(Mismatch) as stop:
        worlds.draw("calculus", "val", 5000, 1)
    assert stop.value.code == 6
    said = str(stop.value)
    assert "calculus" in said
    assert "5000 problems are needed on the val side" in said
    available = int(re.search(r"(\d+) are available", said)[1])
    assert 600 < available < 5000


def test_an_unknown_domain_is_named() -> None:
    with pytest.raises(UsageError, match=r"algebr.*Known: algebra"):
        worlds.draw("algebr", "train", 1, 1)


def test_pre_training_text_is_of_the_train_side_over_all_domains() -> None:
    """Issue item 4: the base's text comes from the train side of the same split; code stands in it half as often."""
    found = list(islice(worlds.stream_train(1), 2700))
    assert {worlds.side(p.prompt) for p in found} == {"train"}
    assert {p.domain for p in found} == set(worlds.DOMAINS) == {*MATHS, "code"}
    dealt = Counter((p.domain == "code", p.template) for p in found)
    assert {(coded, times) for (coded, _), times in dealt.items()} == {(False, 100), (True, 50)}
    assert [p.domain for p in found[:27]] != [p.domain for p in found[27:54]]
    only = list(islice(worlds.stream_train(1, domains=("geometry",)), 60))
    assert {p.domain for p in only} == {"geometry"}


def test_equal_seeds_give_equal_problems_in_any_process() -> None:
    """S-B7: same seed, same problems, whatever PYTHONHASHSEED is."""
    code = (
        "from itertools import islice; from posttrain.curate import worlds;"
        "import hashlib; h = hashlib.sha256();"
        "[h.update(p.model_dump_json().encode()) for p in islice(worlds.stream_train(7), 300)];"
        "[h.update(p.model_dump_json().encode()) for p in worlds.draw('algebra', 'test', 50, 7)];"
        "import sys; sys.stdout.write(h.hexdigest())"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("0", "123")
    }
    assert len(digests) == 1
    assert list(islice(worlds.stream_train(7), 50)) != list(islice(worlds.stream_train(8), 50))


@pytest.mark.parametrize(
    ("terms", "written"),
    [
        (((2, "x^2"), (-5, "x"), (3, "")), "2x^2-5x+3"),
        (((-1, "x^2"), (0, "x"), (-1, "")), "-x^2-1"),
        (((1, "x"),), "x"),
        (((0, "x"), (0, "")), "0"),
        (((0, "x"), (4, "")), "4"),
    ],
)
def test_polynomials_are_written_as_one_writes_them(terms: tuple[tuple[int, str], ...], written: str) -> None:
    assert polynomial(*terms) == written


@pytest.mark.parametrize(
    ("left", "right", "step"),
    [
        (6, 47, "6*47=240+42=282"),
        (11, -4, "11*-4=-40-4=-44"),
        (3, 4, "3*4=12"),
        (30, 7, "30*7=210"),
        (1, 25, "1*25=25"),
        (-12, 13, "-12*13=-120-36=-156"),
    ],
)
def test_products_go_by_way_of_tens(left: int, right: int, step: str) -> None:
    assert product(left, right) == step
