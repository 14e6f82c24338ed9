"""The procedural code domain: golds that hold, tests that tell near misses, prompts that show none of them."""

import ast
import hashlib
import json
import re
from collections import Counter, defaultdict
from functools import cache
from itertools import islice
from random import Random

import pytest
from code_oracles import CODE_ORACLES, hidden, near_misses, passes
from oracles import numbers, sums

from posttrain.algos import overlap
from posttrain.curate import worlds
from posttrain.curate.worlds import code
from posttrain.data.records import Problem
from posttrain.graders.code import grade_all
from posttrain.models.presets import preset
from posttrain.models.tokens import train_tokenizer
from posttrain.train import material

TEMPLATES = {template.__name__: template for template in code.TEMPLATES}
EXPRESSIONS = {template.__name__ for template in code.EXPRESSIONS}
MATHS = ("algebra", "geometry", "calculus", "statistics")


@cache
def sample(level: int) -> tuple[Problem, ...]:
    """60 problems of every template."""
    return tuple(islice(worlds.generate("code", 5, difficulty=level), 60 * len(TEMPLATES)))


def program(problem: Problem) -> str:
    return json.loads(problem.answer)["reference"]


@pytest.mark.parametrize("level", worlds.LEVELS)
@pytest.mark.parametrize("name", TEMPLATES)
def test_every_code_template_has_two_thousand_prompts(name: str, level: int) -> None:
    """S-B9: at least 2,000 distinct prompts per template, compared as their digests compare them."""
    rng, seen = Random(1), set()
    for _ in range(60_000):
        seen.add(overlap.normalise(TEMPLATES[name](rng, level).prompt))
        if len(seen) == 2000:
            return
    pytest.fail(f"{len(seen)} distinct prompts")


@pytest.mark.parametrize("level", worlds.LEVELS)
def test_hidden_tests_are_what_the_words_ask_for(level: int) -> None:
    """S-B9: every expected value is found again from the prompt's text alone."""
    for problem in sample(level):
        function = CODE_ORACLES[problem.template](problem.prompt)
        tests = hidden(problem)
        assert 3 <= len(tests) <= 10
        for given, expected in tests:
            assert function(*given) == expected, (problem.prompt, given)


@pytest.mark.parametrize("level", worlds.LEVELS)
def test_every_solution_passes_its_tests_and_ends_in_the_reference(level: int) -> None:
    """S-B9: worked is a comment of steps and the program, terse the program alone."""
    for problem in sample(level):
        assert problem.answer_type == "code"
        worked, terse = problem.solutions
        assert (worked.style, terse.style) == ("worked", "terse")
        steps, rest = worked.text.split("\n", 1)
        assert rest == terse.text == program(problem)
        assert steps.startswith("# ") and not rest.startswith("#")
        assert passes(problem, worked.text) and passes(problem, terse.text), problem


@pytest.mark.parametrize("level", worlds.LEVELS)
def test_near_misses_fail(level: int) -> None:
    """S-B9: off by one, max for min, plus for minus, a for b: one hidden test tells each from the right program."""
    tried: Counter[str] = Counter()
    for problem in sample(level):
        for other in near_misses(program(problem)):
            tried[problem.template] += 1
            assert not passes(problem, other), (problem.prompt, ast.unparse(other), problem.answer)
    assert tried.keys() == TEMPLATES.keys()
    assert min(tried.values()) >= 60 * 4


@pytest.mark.parametrize("level", worlds.LEVELS)
def test_every_step_before_a_program_is_true_or_a_part_of_it(level: int) -> None:
    for problem in sample(level):
        parts = {ast.dump(node) for node in ast.walk(ast.parse(program(problem))) if isinstance(node, ast.expr)}
        for step in problem.solutions[0].text.splitlines()[0].removeprefix("# ").split("; "):
            if re.fullmatch(r"[-+*/\d]+(=[-+*/\d]+)+", step):
                assert len(set(sums(step, numbers(step)[0]))) == 1, (problem.prompt, step)
            else:
                assert ast.dump(ast.parse(step, mode="eval").body) in parts, (problem.prompt, step)


@pytest.mark.parametrize("level", worlds.LEVELS)
def test_a_prompt_shows_no_hidden_test_and_all_its_numbers_in_every_ten_words(level: int) -> None:
    """S-B9: the values that a prompt gives are not tested, and ten words hold every number of a prompt."""
    for problem in sample(level):
        words = overlap.normalise(problem.prompt)
        assert len(words) <= 10, problem.prompt
        assert "assert" not in words
        if problem.template in {"induce", "echo", "induce_two"}:
            size = 2 if problem.template == "induce_two" else 1
            given = numbers(problem.prompt)
            shown = {tuple(given[i : i + size]) for i in range(0, len(given), size + 1)}
            assert shown.isdisjoint(arguments for arguments, _ in hidden(problem)), problem


def test_a_prompt_has_one_set_of_tests() -> None:
    """S-B7: whoever draws a prompt again draws the same problem."""
    answers: defaultdict[str, set[str]] = defaultdict(set)
    drawn: Counter[str] = Counter()
    for seed in range(2):
        for name, template in TEMPLATES.items():
            rng = Random(f"{seed}{name}")
            for _ in range(1000):
                made = template(rng, 1)
                answers[made.prompt].add(made.answer)
                drawn[made.prompt] += 1
    assert sum(count > 1 for count in drawn.values()) >= 20
    assert {len(found) for found in answers.values()} == {1}


@pytest.mark.parametrize("level", worlds.LEVELS)
def test_expression_tasks_are_one_expression_of_the_whitelist(level: int) -> None:
    """S-B9: drawn for a machine that may run no program: arithmetic, min and max over arguments and numbers."""
    found = worlds.draw("code", "train", 300, 5, difficulty=level, expression_only=True)
    assert {p.template for p in found} == EXPRESSIONS == set(worlds.templates("code", expression_only=True))
    allowed = (ast.BinOp, ast.UnaryOp, ast.Call, ast.Name, ast.Constant, ast.Load)
    allowed += (ast.Add, ast.Sub, ast.Mult, ast.FloorDiv, ast.Mod, ast.USub)
    for problem in found:
        assert list(json.loads(problem.answer)) == ["entry", "reference", "tests"]
        (function,) = ast.parse(program(problem)).body
        assert isinstance(function, ast.FunctionDef)
        names = {argument.arg for argument in function.args.args}
        (returned,) = function.body
        assert isinstance(returned, ast.Return) and returned.value
        for node in ast.walk(returned.value):
            assert isinstance(node, allowed), ast.dump(node)
            assert not isinstance(node, ast.Call) or ast.unparse(node.func) in {"min", "max"}
            assert not isinstance(node, ast.Name) or node.id in names | {"min", "max"}
            assert not isinstance(node, ast.Constant) or type(node.value) is int
    assert worlds.draw("algebra", "val", 40, 5, expression_only=True) == worlds.draw("algebra", "val", 40, 5)


def test_both_kinds_of_tests_stand_on_every_side() -> None:
    """S-B9: calls and standard input, on train and on every held-out side."""
    for side in ("train", "probe", "val", "test"):
        kinds = Counter("stdin" in json.loads(p.answer) for p in worlds.draw("code", side, 240, 3))
        assert kinds == {False: 180, True: 60}


def test_harder_code_has_larger_numbers() -> None:
    sizes = [sum(abs(n) for p in sample(level) for n in numbers(p.prompt)) for level in worlds.LEVELS]
    assert sizes[0] < sizes[1] < sizes[2]


def test_the_worlds_of_mathematics_are_as_they_were() -> None:
    """S-B7: a fifth domain leaves every problem of the four others where it was, byte for byte."""
    found = hashlib.sha256()
    for level in worlds.LEVELS:
        problems = [p for d in MATHS for p in _of_every_kind(d, level)]
        problems += islice(worlds.stream_train(17, domains=MATHS, difficulty=level), 230)
        for p in problems:
            found.update("\n".join((p.id, p.prompt, p.answer, p.template, *(s.text for s in p.solutions))).encode())
    assert found.hexdigest() == "728f82ecb3c437c4444876813ccbca71b6df2713671879cb2e6bafb71b13c958"


def _of_every_kind(domain: str, level: int) -> list[Problem]:
    drawn = worlds.draw(domain, "train", 120, 17, difficulty=level)
    drawn += worlds.draw(domain, "test", 30, 17, difficulty=level)
    return drawn + list(islice(worlds.generate(domain, 17, difficulty=level), 60))


def test_code_fits_the_windows_of_the_tokenizer_made_on_the_spot() -> None:
    """S-B9: prompts of at most 64 tokens, responses of 62 with their end, whole words, and every text comes back."""
    texts = [f"{t.prompt}\n{t.response}" for t in islice(material.one_each(worlds.stream_train(3), seed=3), 6000)]
    tokenizer = train_tokenizer(texts, preset("tiny:base").tokenizer)

    def size(text: str) -> int:
        ids = tokenizer(text)["input_ids"]
        assert tokenizer.decode(ids) == text
        return len(ids)

    for level in worlds.LEVELS:
        asked = sorted(size(f"{p.prompt}\n") for p in sample(level))
        answered = sorted(size(s.text) + 1 for p in sample(level) for s in p.solutions)
        assert asked[-1] <= 64
        assert answered[int(0.99 * len(answered))] <= 62, level
        assert answered[-1] <= 64, level
    quoted = "def f(s):\n x='#'\n return [x, \"{}\"]  # s\n\tpass"
    assert size(quoted) > 0


def test_the_sandbox_finds_what_a_plain_run_finds() -> None:
    """S-B9: solutions are right and a near miss of each is wrong when they are graded as responses are."""
    problems = sample(2)[: 2 * len(TEMPLATES)]
    right = grade_all([p for p in problems for _ in p.solutions], [s.text for p in problems for s in p.solutions])
    assert {grade.outcome for grade in right} == {"right"}
    missed = grade_all(problems, [ast.unparse(next(iter(near_misses(program(p))))) for p in problems])
    assert not any(grade.correct for grade in missed)
    assert {grade.outcome for grade in missed} <= {"wrong", "runtime_error"}
