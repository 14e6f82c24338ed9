"""prepare from files of programming exercises, of every shape: sides that share nothing, and a count of the rest."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from exercise_rows import Row, apps, humaneval, live, mbpp
from posttrain.curate import exercises, filters, worlds
from posttrain.data import rows
from posttrain.data.records import SPLITS, Problem
from posttrain.graders.registry import Grading
from posttrain.spec.errors import Mismatch
from posttrain.spec.gate import Metrics
from posttrain.spec.stage import Foreseen
from posttrain.stages import prepare
from posttrain.stages.prepare import Knobs
from support import FolderContext, artifact, folder_digest

SMALL: dict[str, Any] = {"domain": "code", "max_problems": None, "n_solutions": 1}
SMALL |= {"probe_size": 2, "val_size": 3, "test_size": 5}
SIDES = ("train", "probe", "val", "test")
NOUNS = ["apples", "boats", "cups", "doors", "eggs", "fans", "gates", "hats", "inns", "jars"]


def _mbpp(n: int, noun: str) -> Row:
    code = f"def with_{noun}_{n}(a):\r\n    return a + {n}"
    return mbpp(f"Add {n} {noun} to a.", code, *(f"assert with_{noun}_{n}({k}) == {k + n}" for k in (1, 5)))


def _humaneval(n: int, noun: str) -> Row:
    name = f"with_{noun}_{n}"
    head = f'def {name}(a):\n    """Add {n} {noun} to a."""\n'
    return humaneval(head, f"    return a + {n}\n", f"assert candidate(4) == {4 + n}", entry=name)


def _apps(n: int, noun: str) -> Row:
    wrong, right = "print(int(input()) - 1)", f"print(int(input()) + {n})"
    return apps(f"Add {n} {noun} to the number given.", [wrong, right], ["4\n", "9\n"], [f"{4 + n}\n", f"{9 + n}\n"])


def _live(n: int, noun: str) -> Row:
    question = f"Add {n} {noun} to the number given."
    if n % 2:
        return live(question, [("1\n", f"{1 + n}\n")], [("4\n", f"{4 + n}\n"), ("9\n", f"{9 + n}\n")])
    name = f"with_{noun}_{n}"
    starter = f"class Solution:\n    def {name}(self, a: int) -> int:\n        "
    return live(question, [("1", f"{1 + n}")], [("4", f"{4 + n}")], name=name, starter=starter)


MAKERS: dict[str, Callable[[int, str], Row]] = {
    "mbpp": _mbpp,
    "humaneval": _humaneval,
    "apps": _apps,
    "livecodebench": _live,
}


def some(shape: str, count: int = 20) -> Iterator[Row]:
    """Exercises of a shape, ten for each number."""
    return (MAKERS[shape](n, noun) for n in range(3, 3 + count) for noun in NOUNS)


def file(path: Path, *items: Row) -> Path:
    path.write_text("".join(json.dumps(item) + "\n" for item in items), encoding="utf-8")
    return path


def made(root: Path, path: Path | None, shape: str = "", *, ready: Path | None = None, **knobs: Any) -> FolderContext:
    source = {"source": {"type": "exercises", "path": path, "shape": shape}} if path else {}
    inputs = {"ready": (artifact(ready, "data"),)} if ready else {}
    ctx = FolderContext(root / "made", Knobs(**{**SMALL, **source, **knobs}), inputs)
    prepare.run(ctx)
    return ctx


def judged(ctx: FolderContext) -> Metrics:
    return prepare.measure(artifact(ctx.out, "data"), ctx.knobs)


def split(ctx: FolderContext, name: str) -> list[Problem]:
    return rows.read_all(ctx.out / f"{name}.jsonl", Problem)


@pytest.mark.parametrize("shape", MAKERS)
def test_a_file_of_exercises_becomes_sides_that_share_nothing(tmp_path: Path, shape: str) -> None:
    """S-B9, S-B2, S-B3: train and val non-empty, disjoint, by digest; golds hold; what is dropped is counted."""
    items = [*some(shape), MAKERS[shape](3, "apples")]
    empty = {"test_list": [], "test": "", "input_output": "", "private_test_cases": "[]", "public_test_cases": "[]"}
    blank = {name: value for name, value in empty.items() if name in items[0]}
    ctx = made(tmp_path, file(tmp_path / "rows.jsonl", *items, items[0] | blank), shape)
    sides = {name: split(ctx, name) for name in SIDES}
    assert all(sides.values())
    assert len(sides["train"]) >= 140
    ids = [problem.id for problems in sides.values() for problem in problems]
    assert len(ids) == len(set(ids))
    assert all(worlds.side(problem.prompt) == name for name, problems in sides.items() for problem in problems)
    metrics = judged(ctx)
    assert (metrics["ungradable"].value, metrics["duplicates"].value) == (1, 1)
    assert (metrics["overlap"].value, metrics["bad_golds"].value) == (0, 0)
    (told,) = json.loads((ctx.out / "report.json").read_text())["ungradable"]
    assert told == {"where": "rows.jsonl line 202", "why": "it has no tests"}
    assert ("left out", "rows cannot be graded and are left out; report.json says why", 1) in ctx.notes
    kept = 0 if shape == "livecodebench" else 1
    assert {len(problem.solutions) for problem in sides["train"]} == {kept}
    assert not any(problem.solutions for problem in sides["test"])
    assert len(split(ctx, "rejects")) >= (100 if shape == "apps" else 0)
    with Grading() as grading:
        assert all(grading.self_checks(sides["test"]))


def test_equal_seeds_give_equal_bytes(tmp_path: Path) -> None:
    """S-B7: same seed, same bytes, where programs were run too."""
    path = file(tmp_path / "rows.jsonl", *some("apps"))
    one, two = (made(tmp_path / name, path, "apps") for name in ("one", "two"))
    assert folder_digest(one.out) == folder_digest(two.out)


def test_exercises_whose_own_program_fails_are_rejected(tmp_path: Path) -> None:
    """S-B5, S-B9: a program that fails its own tests is no gold; the exercise is left out and counted."""
    items = [row | ({"code": row["code"] + " + 1"} if n % 7 == 0 else {}) for n, row in enumerate(some("mbpp"))]
    ctx = made(tmp_path, file(tmp_path / "rows.jsonl", *items), "mbpp")
    rejects = split(ctx, "rejects")
    assert len(rejects) >= 20
    assert all(problem.solutions[0].text.endswith(" + 1") for problem in rejects if problem.solutions)
    assert judged(ctx)["bad_golds"].value == 0
    kept = {problem.id for name in SIDES for problem in split(ctx, name)}
    assert not kept & {problem.id for problem in rejects}


@pytest.mark.parametrize(
    ("shape", "field"), [("mbpp", "text"), ("apps", "question"), ("livecodebench", "question_content")]
)
def test_questions_of_an_exam_are_never_trained_on(tmp_path: Path, shape: str, field: str) -> None:
    """S-B8, S-B9: a short question is compared whole, without what a solver is told beside it; others by n-grams."""
    items = list(some(shape))
    long = "Of all the ways in which one may count what lies upon a table, take the slowest and say so."
    items[0][field] = f"{long} There are {items[0][field]}"
    path = file(tmp_path / "rows.jsonl", *items)
    plain = made(tmp_path / "plain", path, shape)
    leaks = [problem.prompt.rpartition("\n\n")[0] for problem in split(plain, "train")[:4]]
    exam = file(tmp_path / "exam.jsonl", *({"q": leak.upper().replace(" ", "  ") + "!"} for leak in leaks), {"q": long})
    ctx = made(tmp_path / "clean", path, shape, decontam={"against": [{"path": exam, "field": "q"}]})
    trained = [problem.prompt for name in SIDES[:3] for problem in split(ctx, name)]
    assert trained
    assert not any(prompt.startswith((*(f"{leak}\n" for leak in leaks), long)) for prompt in trained)
    metrics = judged(ctx)
    assert metrics["overlap"].value == 0
    removed = json.loads((ctx.out / "report.json").read_text())["overlap_removed"]
    assert len(removed) == metrics["overlap_removed"].value
    assert {worlds.identity(p.prompt) for p in split(plain, "train")[:4]} <= {leak["id"] for leak in removed}
    assert all(leak["shared"] for leak in removed)


def test_what_a_solver_is_told_is_no_overlap(tmp_path: Path) -> None:
    """S-B8: questions that end alike, and are called alike, share nothing of what this program adds."""
    for shape in ("apps", "livecodebench"):
        ctx = made(tmp_path / shape, file(tmp_path / f"{shape}.jsonl", *some(shape, 12)), shape, max_problems=20)
        assert judged(ctx)["overlap_removed"].value == 0, shape
    assert set(MAKERS) == set(exercises.SHAPES) == filters.CALLED


def test_problems_that_another_run_wrote_are_a_source(tmp_path: Path) -> None:
    """S-B2: our own rows, in one file; of any domain."""
    first = made(tmp_path / "first", file(tmp_path / "rows.jsonl", *some("humaneval")), "humaneval")
    together = tmp_path / "all.jsonl"
    together.write_text("".join((first.out / f"{name}.jsonl").read_text(encoding="utf-8") for name in SIDES))
    again = made(tmp_path / "again", together, "problems")
    assert {p.id for name in SIDES for p in split(again, name)} <= {p.id for name in SIDES for p in split(first, name)}
    assert {p.answer_type for p in split(again, "train")} == {"code"}
    ways = [{"style": style, "text": f"{style}: \\boxed{{8}}", "source": "file"} for style in ("worked", "terse")]
    sums = ({"prompt": f"What is 8 after {n}?", "answer": "8", "solutions": ways} for n in range(200))
    path = file(tmp_path / "sums.jsonl", *sums)
    train = split(made(tmp_path / "sums", path, "problems", domain="algebra", n_solutions=2), "train")
    assert {(p.answer, p.answer_type, len(p.solutions)) for p in train} == {("8", "maths", 2)}


@pytest.mark.parametrize("shape", MAKERS)
def test_exercises_are_of_the_domain_code(tmp_path: Path, shape: str) -> None:
    source = {"type": "exercises", "path": tmp_path / "x.jsonl", "shape": shape}
    (said,) = prepare.check(Knobs(domain="algebra", source=source), {})
    assert said == f"domain = algebra: rows in the shape {shape} are of the domain code"
    assert prepare.check(Knobs(domain="code", source=source), {}) == ()


def test_code_may_come_from_elsewhere_than_other_domains(tmp_path: Path) -> None:
    """S-B2, S-B3: one stage for all domains, exercises for code beside a file, or a world, for the rest."""
    source = {"type": "exercises", "path": file(tmp_path / "rows.jsonl", *some("humaneval")), "shape": "humaneval"}
    sums = file(tmp_path / "sums.jsonl", *({"prompt": f"What is {n}+{n}?", "answer": str(2 * n)} for n in range(300)))
    for name, other in (("file", {"type": "jsonl", "path": sums}), ("world", {"type": "built-in"})):
        knobs: dict[str, Any] = {"source": other, "code_source": source, "max_problems": 9}
        for domain, templates in (("code", {"humaneval"}), ("algebra", None)):
            assert prepare.check(Knobs(**{**SMALL, **knobs, "domain": domain}), {}) == ()
            train = split(made(tmp_path / name / domain, None, domain=domain, **knobs), "train")
            assert templates is None or {problem.template for problem in train} == templates
            assert {problem.answer_type for problem in train} == {"code" if domain == "code" else "maths"}
    for given in ({"source": {"type": "jsonl", "path": sums}}, {"code_source": {"type": "jsonl", "path": sums}}):
        (said,) = prepare.check(Knobs(domain="code", **given), {})
        assert said.startswith("source.type = jsonl holds golds in maths, and the domain code has tests")
    assert Knobs(code_source="built-in").code_source.type == "built-in"
    assert Knobs().code_source.type == "same"


def test_rows_of_another_shape_are_named(tmp_path: Path) -> None:
    """S-A11: file, line, field, and what the row has."""
    path = file(tmp_path / "rows.jsonl", *some("mbpp", 1), _apps(3, "owls"))
    with pytest.raises(Mismatch, match=r"rows\.jsonl line 11: text or prompt: there is no such field") as stop:
        made(tmp_path, path, "mbpp")
    assert "The line has problem_id, question, solutions" in str(stop.value)
    assert stop.value.code == 6


def test_too_few_exercises_say_what_was_left_out_and_how_a_file_is_split(tmp_path: Path) -> None:
    """S-A11, S-B9: numbers, why rows are gone, and how many of a file lie on the side that is short."""
    items = [row | {"code": row["code"] + " + 1"} for row in some("mbpp", 3)]
    path = file(tmp_path / "rows.jsonl", *items, items[0], items[1] | {"test_list": []})
    with pytest.raises(Mismatch, match="1 problems are needed on the test side, 0 are available") as stop:
        made(tmp_path, path, "mbpp", test_size=1)
    assert "1 cannot be graded, 1 equal an earlier one, 3 fail their grader" in str(stop.value)
    assert "of a file, about 10 in 100 problems lie on that side" in str(stop.value)


def test_a_file_without_a_row_is_never_to_be_taken_away_where_it_is_the_source(tmp_path: Path) -> None:
    """S-A11: the remedy holds for a source; only a file that was ready is made when it is gone."""
    with pytest.raises(Mismatch, match=r"the file has no row.  Fill it, or name another; one of the role ready"):
        made(tmp_path, file(tmp_path / "rows.jsonl"), "mbpp")


def test_livecodebench_files_are_adopted_as_code(tmp_path: Path) -> None:
    """S-A2, S-B9, spectrum §2.1: by side, in the shape of the set; the other sides are made."""
    ready = tmp_path / "mine"
    ready.mkdir()
    items = list(some("livecodebench"))
    file(ready / "livecodebench_train.jsonl", *items[:20], live("Why?", [], []))
    file(ready / "livecodebench_val.jsonl", *items[20:26])
    ctx = made(tmp_path, None, ready=ready, max_problems=10)
    assert {name: len(split(ctx, name)) for name in SIDES} == {"train": 20, "probe": 2, "val": 6, "test": 5}
    assert {p.template for p in split(ctx, "train")} == {"livecodebench"}
    assert ("ready", "adopted for code: train, val", 1) in ctx.notes
    assert judged(ctx)["ungradable"].value == 1


def test_every_bare_livecodebench_file_is_split(tmp_path: Path) -> None:
    """S-A2: `livecodebench*.jsonl`, of whatever release; our own rows are known by their fields."""
    ready = tmp_path / "mine"
    ready.mkdir()
    items = list(some("livecodebench"))
    file(ready / "livecodebench_v5.jsonl", *items[:80])
    own = {"prompt": "Say yes.\n\nRead stdin, print to stdout.", "answer": '{"stdin": [["", "yes"]]}'}
    file(ready / "livecodebench_v6.jsonl", *items[75:])
    file(ready / "livecodebench.jsonl", own)
    ctx = made(tmp_path, None, ready=ready)
    found = [problem for name in SIDES for problem in split(ctx, name)]
    assert len(found) == 201
    assert {problem.answer_type for problem in found} == {"code"}
    assert judged(ctx)["duplicates"].value == 5


def test_problems_of_ones_own_are_adopted_as_code(tmp_path: Path) -> None:
    """S-A2: code_train.jsonl and its like, before any livecodebench file; rows without tests are counted."""
    ready = tmp_path / "mine"
    ready.mkdir()
    answers = [
        json.dumps({"entry": "f", "tests": f"assert f(1) == {n}", "reference": f"def f(a): return {n}"})
        for n in range(9)
    ]
    own = [{"prompt": f"f(a) is always {n}.", "answer": answer} for n, answer in enumerate(answers)]
    file(ready / "code_train.jsonl", *own, {"prompt": "Why?", "answer": '{"entry": "f", "tests": ""}'})
    file(ready / "livecodebench.jsonl", *some("livecodebench", 1))
    ctx = made(tmp_path, None, ready=ready)
    assert [p.prompt for p in split(ctx, "train")] == [row["prompt"] for row in own]
    assert judged(ctx)["ungradable"].value == 1
    assert ("ready", "adopted for code: train", 1) in ctx.notes
    only = tmp_path / "only"
    only.mkdir()
    file(only / "code.jsonl", {"prompt": "Why?", "answer": "42"})
    with pytest.raises(Mismatch, match=r"none of its 1 rows can be graded"):
        made(tmp_path / "none", None, ready=only)


def test_a_ready_exercise_that_an_exam_holds_is_left_out(tmp_path: Path) -> None:
    """S-B9: exam problems are never in training, whoever brought them; the exam is a file of the set itself."""
    ready = tmp_path / "mine"
    ready.mkdir()
    items = list(some("livecodebench"))
    file(ready / "livecodebench_train.jsonl", *items[:20])
    exam = file(tmp_path / "exam.jsonl", *items[15:30])
    against = [{"path": exam, "field": "question_content"}]
    ctx = made(tmp_path, None, ready=ready, max_problems=10, decontam={"against": against})
    assert len(split(ctx, "train")) == 15
    assert judged(ctx)["overlap_removed"].value == 5


def test_a_check_names_the_foreseen_inputs() -> None:
    """A domain without a world may come from ready files alone."""
    assert prepare.check(Knobs(domain="code"), {"ready": (Foreseen("x", "", {}, {}),)}) == ()
    assert set(SIDES) < set(SPLITS)
