import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from posttrain import stages
from posttrain.curate import worlds
from posttrain.data import rows
from posttrain.data.records import SPLITS, Problem
from posttrain.graders.maths import grade
from posttrain.spec.errors import Mismatch
from posttrain.spec.gate import Metrics
from posttrain.spec.stage import Foreseen
from posttrain.stages import prepare
from posttrain.stages.prepare import Knobs
from support import FolderContext, artifact, folder_digest

SMALL: dict[str, Any] = {"domain": "algebra", "max_problems": 40, "n_solutions": 2}
SMALL |= {"probe_size": 6, "val_size": 5, "test_size": 8}
SHARED = Path(__file__).parents[2].parent / "shared" / "data"


def made(root: Path, *, seed: int = 17, ready: Path | None = None, **knobs: Any) -> FolderContext:
    inputs = {"ready": (artifact(ready, "data"),)} if ready else {}
    ctx = FolderContext(root, Knobs(**{**SMALL, **knobs}), inputs, seed=seed)
    prepare.run(ctx)
    return ctx


def judged(ctx: FolderContext) -> Metrics:
    """The metrics of the files as they lie there now."""
    return prepare.measure(artifact(ctx.out, "data"), ctx.knobs)


def split(ctx: FolderContext, name: str) -> list[Problem]:
    return rows.read_all(ctx.out / f"{name}.jsonl", Problem)


def lines(path: Path, *items: dict) -> Path:
    path.write_text("".join(json.dumps(item) + "\n" for item in items), encoding="utf-8")
    return path


def passes(metrics: Metrics) -> dict[str, bool | None]:
    """What the default gates say: None where the metric has no value."""
    kind = stages.kind("prepare")
    gates = kind.gates(Knobs(**SMALL), frozenset())
    values = {name: metrics[gate.metric].value for name, gate in gates.items()}
    return {name: None if value is None else value == gates[name].equals for name, value in values.items()}


def test_every_split_has_exactly_what_was_asked(tmp_path: Path) -> None:
    """S-B3, S-B7, S-B11: exact counts, sides by digest, disjoint, probe size a knob."""
    ctx = made(tmp_path)
    sizes = {name: len(split(ctx, name)) for name in SPLITS}
    assert sizes == {"train": 40, "probe": 6, "val": 5, "test": 8, "rejects": 0}
    ids = [p.id for name in SPLITS for p in split(ctx, name)]
    assert len(ids) == len(set(ids))
    for name in ("train", "probe", "val", "test"):
        assert {worlds.side(p.prompt) for p in split(ctx, name)} == {name}
    metrics = judged(ctx)
    assert {name: metrics[f"rows/{name}"].value for name in SPLITS} == sizes
    assert passes(metrics) == {"overlap": True, "golds": True}


@pytest.mark.parametrize(("count", "styles"), [(1, ["worked"]), (2, ["worked", "terse"])])
def test_solutions_stand_where_training_needs_them(tmp_path: Path, count: int, styles: list[str]) -> None:
    """S-B7: exactly n_solutions, each verified; probe and test have golds alone."""
    ctx = made(tmp_path, n_solutions=count)
    for name, expected in {"train": styles, "val": styles, "probe": [], "test": []}.items():
        for problem in split(ctx, name):
            assert [s.style for s in problem.solutions] == expected
            assert all(s.verified and grade(problem, s.text).correct for s in problem.solutions)
    assert judged(ctx)["verified_share"].value == 1


def test_equal_seeds_give_equal_bytes(tmp_path: Path) -> None:
    """S-B7: same seed, same bytes; another seed, other problems."""
    one, same, other = (made(tmp_path / str(n), seed=seed) for n, seed in enumerate((1, 1, 2)))
    assert folder_digest(one.out) == folder_digest(same.out)
    assert folder_digest(one.out) != folder_digest(other.out)


def test_a_size_moves_no_problem_to_another_side(tmp_path: Path) -> None:
    """Issue item 4: the side is independent of any size knob; a larger split begins with the smaller."""
    small, large = made(tmp_path / "a"), made(tmp_path / "b", max_problems=80, test_size=20, val_size=9)
    for name in ("train", "val", "test", "probe"):
        assert split(large, name)[: len(split(small, name))] == split(small, name)


def test_too_few_problems_are_a_mismatch(tmp_path: Path) -> None:
    """Issue item 4: exit 6 naming domain, needed, available."""
    with pytest.raises(Mismatch, match=r"domain algebra: 99999 problems are needed on the probe side, \d+ are") as stop:
        made(tmp_path, **{**_local(tmp_path), "n_solutions": 1, "probe_size": 99_999})
    assert stop.value.code == 6


def _file(folder: Path) -> Path:
    """300 problems in GSM8K's format."""
    items = [
        {"question": f"Tom has {n} cards and buys {n + 2}. How many?", "answer": f"{n}+{n + 2}=<<1>>{s}\n#### {s}"}
        for n in range(300)
        for s in [2 * n + 2]
    ]
    return lines(folder / "problems.jsonl", *items)


def _local(folder: Path, **source) -> dict:
    fields = {"prompt": "question"}
    return {"source": {"type": "jsonl", "path": _file(folder), "fields": fields, **source}, "n_solutions": 1}


def test_a_file_of_the_users_is_a_source(tmp_path: Path) -> None:
    r"""S-B2: JSONL with a field map; gold after `####`, its trace ends in `\boxed{}`; no network."""
    ctx = made(tmp_path, **_local(tmp_path), max_problems=None)
    train = split(ctx, "train")
    assert len(train) > 200
    first = train[0]
    assert first.solutions[0].text.endswith(f"={first.answer}\n\\boxed{{{first.answer}}}")
    assert "<<" not in first.solutions[0].text
    assert judged(ctx)["verified_share"].value == 1
    again = made(tmp_path / "again", **_local(tmp_path), max_problems=None)
    assert folder_digest(ctx.out) == folder_digest(again.out)
    assert [p.id for p in train] != sorted(p.id for p in train)


def test_golds_of_the_maths_format_are_read_from_their_box(tmp_path: Path) -> None:
    """S-B2, S-B3: the MATH format, its categories mapped to domains, unmapped rows counted."""
    items = [
        {
            "problem": f"What is $\\frac{{{n}}}{{7}}$ of 1?",
            "solution": f"It is \\boxed{{\\frac{{{n}}}{{7}}}}.",
            "type": "Intermediate algebra" if n % 2 else "Number Theory",
        }
        for n in range(400)
    ]
    source = {
        "type": "jsonl",
        "path": lines(tmp_path / "maths.jsonl", *items),
        "fields": {"prompt": "problem", "answer": "solution", "category": "type"},
    }
    ctx = made(tmp_path, source=source, n_solutions=1)
    assert judged(ctx)["unmapped"].value == 200
    assert all(p.answer.startswith("\\frac{") for p in split(ctx, "test"))
    assert ("left out", "rows of another category are left out", 200) in ctx.notes


def test_equal_problems_are_taken_once_and_counted(tmp_path: Path) -> None:
    knobs = _local(tmp_path)
    path: Path = knobs["source"]["path"]
    path.write_text(path.read_text() + path.read_text().replace("Tom has", "TOM  HAS"))
    ctx = made(tmp_path, **knobs)
    assert judged(ctx)["duplicates"].value == 300


def test_solutions_that_fail_their_grader_are_rejected(tmp_path: Path) -> None:
    """S-B5: nothing unverified is trained on; what fails lies in rejects."""
    items = [
        {"prompt": f"What is {n} plus 1?", "answer": str(n + 1), "why": f"So \\boxed{{{n + 1 + (n % 5 == 0)}}}"}
        for n in range(300)
    ]
    items += [{"prompt": f"What is {n} minus 1?", "answer": "}", "why": ""} for n in range(20)]
    source = {"type": "jsonl", "path": lines(tmp_path / "p.jsonl", *items), "fields": {"solution": "why"}}
    ctx = made(tmp_path, source=source, max_problems=None, n_solutions=1)
    rejects = split(ctx, "rejects")
    wrong = [p for p in rejects if p.solutions]
    assert wrong
    assert all(not s.verified and not grade(p, s.text).correct for p in wrong for s in p.solutions)
    assert any(p.answer == "}" for p in rejects)
    metrics = judged(ctx)
    assert passes(metrics) == {"overlap": True, "golds": True}
    share = metrics["verified_share"]
    assert share.n - share.k == len(wrong)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ({"question": "Why?"}, "line 301: answer: there is no such field"),
        ({"question": ["Why?"], "answer": "3"}, "line 301: question: it holds no text"),
        (["question"], "line 301: the whole line: it is not a table"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: object, said: str) -> None:
    """S-A11: schema errors name file, line, field."""
    knobs = _local(tmp_path)
    path: Path = knobs["source"]["path"]
    path.write_text(path.read_text() + json.dumps(line))
    with pytest.raises(Mismatch, match=said):
        made(tmp_path, **knobs)
    path.write_text(path.read_text() + "\n{")
    with pytest.raises(Mismatch, match=r"line 30[12]"):
        made(tmp_path, **knobs)


@pytest.mark.parametrize("content", ["", "\n"])
def test_an_empty_file_is_a_mismatch(tmp_path: Path, content: str) -> None:
    """S-A9: an empty domain fails before any training, exit 6."""
    (tmp_path / "none.jsonl").write_text(content)
    with pytest.raises(Mismatch):
        made(tmp_path, source={"type": "jsonl", "path": tmp_path / "none.jsonl"})
    with pytest.raises(Mismatch, match="no problem of the domain algebra"):
        fields = {"prompt": "question", "category": "question"}
        made(tmp_path, **_local(tmp_path, fields=fields))


def test_leaks_are_removed_and_reported(tmp_path: Path) -> None:
    """S-B8: an exam's problems leave training in any dress; the report has ids and n-grams."""
    plain = made(tmp_path / "plain")
    leaks = [p.prompt for p in split(plain, "train")[:3]] + [p.prompt for p in split(plain, "val")[:1]]
    dressed = [{"question": leak.upper().replace("=", " \\,=\\; ") + "!!"} for leak in leaks]
    exam = lines(tmp_path / "exam.jsonl", *dressed)
    ctx = made(tmp_path / "clean", decontam={"against": [{"path": exam, "field": "question"}]})
    kept = {p.prompt for name in ("train", "probe", "val") for p in split(ctx, name)}
    assert not kept & set(leaks)
    assert len(split(ctx, "train")) == 40
    metrics = judged(ctx)
    assert (metrics["overlap"].value, metrics["overlap_removed"].value) == (0, 4)
    removed = json.loads((ctx.out / "report.json").read_text())["overlap_removed"]
    assert {leak["id"] for leak in removed} == {worlds.identity(leak) for leak in leaks}
    assert all(leak["shared"] for leak in removed)
    assert exam.name not in "".join(p.read_text() for p in ctx.out.iterdir())


def test_a_leak_within_a_solution_is_removed(tmp_path: Path) -> None:
    items = [
        {
            "prompt": f"Recite {n}",
            "answer": str(n),
            "why": f"tell me of eleven old ships that sailed in {m} \\boxed{{{n}}}",
        }
        for n in range(200)
        for m in ["winter" if n % 2 else "spring"]
    ]
    source = {"type": "jsonl", "path": lines(tmp_path / "p.jsonl", *items), "fields": {"solution": "why"}}
    exam = lines(tmp_path / "e.jsonl", {"prompt": "Tell me of eleven old ships that sailed in winter, please."})
    sizes = {"max_problems": None, "probe_size": 1, "val_size": 1, "test_size": 1, "n_solutions": 1}
    ctx = made(tmp_path, source=source, decontam={"against": [str(exam)]}, **sizes)
    assert all("spring" in p.solutions[0].text for p in split(ctx, "train"))


def test_an_exam_without_words_is_an_error(tmp_path: Path) -> None:
    """Spectrum §6: decontamination that loaded zero n-grams is an error."""
    with pytest.raises(Mismatch, match="no words to compare"):
        made(tmp_path, decontam={"against": [lines(tmp_path / "e.jsonl", {"prompt": "?!"})]})
    with pytest.raises(Mismatch, match="no such field"):
        made(tmp_path, decontam={"against": [lines(tmp_path / "e.jsonl", {"question": "What?"})]})


def test_without_decontamination_overlap_has_no_value(tmp_path: Path) -> None:
    """Spectrum §2.1: unknown is not zero; the gate is inconclusive."""
    metrics = judged(made(tmp_path, decontam={"enabled": False}))
    assert metrics["overlap"].value is None
    assert metrics["overlap"].reason == "decontamination is off"
    assert passes(metrics) == {"overlap": None, "golds": True}


def _plant(ctx: FolderContext, name: str, *problems: Problem) -> None:
    rows.write(ctx.out / f"{name}.jsonl", [*split(ctx, name), *problems])


def test_an_exam_problem_planted_after_the_filter_fails_overlap_alone(tmp_path: Path) -> None:
    """S-B8: the second pass reads what was written; case and spacing do not hide a leak."""
    ctx = made(tmp_path)
    leak = split(ctx, "test")[0]
    _plant(ctx, "train", leak.model_copy(update={"prompt": leak.prompt.upper().replace(" ", "  ")}))
    metrics = judged(ctx)
    assert metrics["overlap"].value == 1
    assert passes(metrics) == {"overlap": False, "golds": True}


def test_a_leak_from_a_users_exam_fails_overlap_without_the_exams_file(tmp_path: Path) -> None:
    exam = lines(tmp_path / "e.jsonl", {"prompt": "A question that only the exam of the year has, and no one else."})
    ctx = made(tmp_path, decontam={"against": [exam]})
    text = rows.read_fields(exam, ["prompt"]).__next__()["prompt"].lower()
    exam.unlink()
    leak = split(ctx, "train")[0].model_copy(update={"prompt": text, "solutions": ()})
    _plant(ctx, "probe", leak)
    assert judged(ctx)["overlap"].value == 1


@pytest.mark.parametrize(("name", "gold"), [("train", "987654"), ("train", "12}"), ("test", ""), ("probe", "{3")])
def test_a_corrupted_gold_fails_golds_alone(tmp_path: Path, name: str, gold: str) -> None:
    ctx = made(tmp_path)
    first, *rest = split(ctx, name)
    rows.write(ctx.out / f"{name}.jsonl", [first.model_copy(update={"answer": gold}), *rest])
    metrics = judged(ctx)
    assert metrics["bad_golds"].value == 1
    assert passes(metrics) == {"overlap": True, "golds": False}


@pytest.mark.parametrize("enabled", [True, False])
@pytest.mark.parametrize(
    ("source", "target"), [("probe", "train"), ("val", "probe"), ("test", "train"), ("test", "val")]
)
def test_a_problem_on_two_sides_is_a_mismatch(tmp_path: Path, source: str, target: str, enabled: bool) -> None:
    """S-A11: disjoint, or exit 6 naming both files and lines."""
    ctx = made(tmp_path, decontam={"enabled": enabled})
    _plant(ctx, target, split(ctx, source)[2])
    with pytest.raises(Mismatch, match="one problem stands on two sides") as stop:
        judged(ctx)
    assert f"{source}.jsonl line 3" in str(stop.value)
    assert f"{target}.jsonl line {len(split(ctx, target))}" in str(stop.value)


@pytest.mark.parametrize(
    ("knobs", "said"),
    [
        ({"domain": None}, "domain: which one"),
        ({"domain": "algebr"}, "domain = algebr: no built-in world; known: algebra"),
        ({"n_solutions": 3}, "n_solutions = 3"),
        ({"max_problems": None}, "max_problems"),
    ],
)
def test_knobs_that_cannot_be_are_refused_before_any_work(knobs: dict, said: str) -> None:
    kind = stages.kind("prepare")
    (found,) = kind.check(Knobs(**{**SMALL, **knobs}), {})
    assert said in found


def test_a_file_without_categories_for_the_domain_is_refused(tmp_path: Path) -> None:
    source = {"type": "jsonl", "path": "p.jsonl", "fields": {"category": "type"}}
    (found,) = prepare.check(Knobs(domain="logic", source=source), {})
    assert "logic" in found
    assert prepare.check(Knobs(domain="logic", source={"type": "jsonl", "path": "p.jsonl"}), {}) == ()
    assert prepare.check(Knobs(**SMALL), {}) == ()


def test_the_tag_alone_is_a_source_and_unknown_keys_are_refused() -> None:
    assert Knobs(source="built-in") == Knobs()
    for wrong in ({"source": "hub"}, {"source": {"type": "built-in", "level": 2}}, {"decontam": {"ngram": 3}}):
        with pytest.raises(ValidationError):
            Knobs(**wrong)


def test_the_estimate_is_known_before_the_data() -> None:
    kind = stages.kind("prepare")
    assert kind.estimate(Knobs(**SMALL), {}).seconds < 5
    maths, code, computed = (
        kind.estimate(Knobs(**SMALL | {"domain": domain, "max_problems": 2000, "code_tasks": tasks}), {}).seconds
        for domain, tasks in (("algebra", "all"), ("code", "all"), ("code", "expression"))
    )
    assert maths == computed < code / 4, "programs are run"
    assert kind.estimate(Knobs(domain="algebra", max_problems=None), {}).seconds is None


@pytest.mark.skipif(not SHARED.exists(), reason="the shared public data is not here")
def test_public_problems_are_prepared_and_kept_from_their_exam(tmp_path: Path) -> None:
    """S-B2, S-B8: GSM8K as it is published, its test set as the exam."""
    source = {"type": "jsonl", "path": SHARED / "gsm8k_train.jsonl", "fields": {"prompt": "question"}}
    against = [{"path": SHARED / "gsm8k_test.jsonl", "field": "question"}]
    ctx = made(tmp_path, source=source, decontam={"against": against}, max_problems=500, n_solutions=1)
    metrics = judged(ctx)
    assert metrics["rows/train"].value == 500
    assert metrics["verified_share"].value == 1
    assert passes(metrics) == {"overlap": True, "golds": True}


def _ready(folder: Path, **sides: range) -> Path:
    """A user's folder with a file of plain sums for each side given."""
    folder.mkdir(exist_ok=True)
    for name, span in sides.items():
        lines(
            folder / f"algebra{name}.jsonl", *({"prompt": f"What is {n} plus {n}?", "answer": str(2 * n)} for n in span)
        )
    return folder


def test_ready_files_are_adopted_and_missing_ones_made(tmp_path: Path) -> None:
    """S-A2, spectrum §2.1: the user's train and probe files, whole; val and test from the built-in world."""
    ready = _ready(tmp_path / "mine", _train=range(30), _probe=range(30, 50))
    ctx = made(tmp_path, ready=ready)
    assert [p.prompt for p in split(ctx, "train")] == [f"What is {n} plus {n}?" for n in range(30)]
    assert len(split(ctx, "probe")) == 20
    assert {p.domain for p in split(ctx, "probe")} == {"algebra"}
    assert (len(split(ctx, "val")), len(split(ctx, "test"))) == (5, 8)
    assert passes(judged(ctx)) == {"overlap": True, "golds": True}
    assert ("ready", "adopted for algebra: train, probe", 1) in ctx.notes


def test_what_another_run_wrote_is_adopted_unchanged(tmp_path: Path) -> None:
    """The views `data/DOMAIN_train.jsonl` of one run are what another adopts."""
    first = made(tmp_path / "first")
    folder = tmp_path / "views"
    folder.mkdir()
    for name in ("train", "val", "probe", "test"):
        rows.write(folder / f"algebra_{name}.jsonl", split(first, name))
    again = made(tmp_path / "again", ready=folder, max_problems=3)
    assert {n: (again.out / f"{n}.jsonl").read_bytes() for n in SPLITS} == {
        n: (first.out / f"{n}.jsonl").read_bytes() for n in SPLITS
    }


def test_one_bare_file_is_split_by_digest(tmp_path: Path) -> None:
    """S-A2: DOMAIN.jsonl, for a domain that has no world of its own either."""
    folder = _ready(tmp_path / "mine", **{"": range(200)})
    (folder / "algebra.jsonl").rename(folder / "sums.jsonl")
    ctx = made(tmp_path, ready=folder, domain="sums")
    assert sum(len(split(ctx, name)) for name in ("train", "val", "probe", "test")) == 200
    assert all(worlds.side(p.prompt) == name for name in ("train", "val") for p in split(ctx, name))
    assert prepare.check(ctx.knobs, {"ready": (Foreseen("x", "", {}, {}),)}) == ()


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"prompt": "Why?"}, "algebra_train.jsonl line 31: answer"),
        ({"prompt": "Why?", "answer": 3}, "algebra_train.jsonl line 31: answer"),
        ({"prompt": "Why?", "answer": "3", "domain": "logic"}, "line 31: domain: this is a problem of logic"),
        ({"prompt": "WHAT is 41 plus 41", "answer": "82"}, "algebra_train.jsonl and algebra_probe.jsonl ask"),
    ],
)
def test_ready_files_are_checked_line_by_line(tmp_path: Path, row: dict, said: str) -> None:
    """S-A11: schema-valid and disjoint; errors name file, line, field."""
    ready = _ready(tmp_path / "mine", _train=range(30), _probe=range(30, 50))
    with (ready / "algebra_train.jsonl").open("a") as file:
        file.write(json.dumps(row) + "\n")
    with pytest.raises(Mismatch) as stop:
        made(tmp_path, ready=ready)
    assert said in str(stop.value)


def test_an_empty_ready_file_is_a_mismatch(tmp_path: Path) -> None:
    """S-A9: an empty file of a domain fails before any training."""
    ready = _ready(tmp_path / "mine", _train=range(30), _val=range(0))
    with pytest.raises(Mismatch, match=r"algebra_val\.jsonl: the file has no row"):
        made(tmp_path, ready=ready)


def test_a_ready_row_that_an_exam_holds_is_left_out(tmp_path: Path) -> None:
    """S-B8: adopted rows are decontaminated like any others."""
    ready = _ready(tmp_path / "mine", _train=range(30))
    exam = lines(tmp_path / "e.jsonl", {"prompt": "what is 7 plus 7"})
    ctx = made(tmp_path, ready=ready, decontam={"against": [exam]})
    assert len(split(ctx, "train")) == 29
    assert judged(ctx)["overlap_removed"].value == 1
