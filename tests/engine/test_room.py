"""What a stage sees while it works, and what of it ends in the manifest."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from engine.toy_kinds import Make, toy_kind
from posttrain.engine.expand import Graph, Node, Source
from posttrain.engine.work import Order, work_node
from posttrain.spec.errors import Mismatch, StageFailed
from posttrain.spec.gate import Metric
from posttrain.spec.knobs import Resources
from posttrain.spec.stage import Outcome, Role
from posttrain.store import artifact, ledger
from posttrain.store.artifact import Manifest
from posttrain.store.run import Run, at

PARTS = {"parts": Role(("data",), "parts", many=True)}
Work = Callable[[Any], Outcome]


def node(id: str, run: Work, *sources: Source, axes: Mapping[str, str] | None = None) -> Node:
    kind = replace(toy_kind("toy", PARTS), run=run)
    knobs = Make(text=id)
    return Node(
        id, id.partition("/")[0], kind, axes or {}, knobs, {"parts": sources}, 1, id, {}, (), Resources(), None, 0
    )


def write(ctx: Any) -> Outcome:
    (ctx.out / "f").write_text(ctx.knobs.text)
    return Outcome({})


def worked(run: Run, *nodes: Node, **order: Any) -> Manifest:
    """Work nodes one after the other; the manifest of the last."""
    graph = Graph({one.id: one for one in nodes}, ())
    return [work_node(graph, one.id, run, Order(**order)) for one in nodes][-1]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return at(tmp_path / "run")


def test_inputs_come_in_order_of_their_facts_with_their_own_axes(run: Run, tmp_path: Path) -> None:
    """Nodes by id, then the user's folders; equal bytes made once still have the axes of their own node."""
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "train.jsonl").write_text("{}")
    seen: list[tuple[str, dict[str, str]]] = []

    def read(ctx: Any) -> Outcome:
        seen.extend((given.node, dict(given.axes)) for given in ctx.inputs("parts"))
        return write(ctx)

    def same(ctx: Any) -> Outcome:
        (ctx.out / "f").write_text("same")
        return Outcome({})

    first, second = node("make/a", same, axes={"domain": "a"}), node("make/b", same, axes={"domain": "b"})
    last = node("last", read, Source(path=mine), Source(node="make/b"), Source(node="make/a"))
    made = worked(run, first, second, last)
    assert seen == [("make/a", {"domain": "a"}), ("make/b", {"domain": "b"}), (str(mine), {})]
    assert [given.node for given in made.facts.inputs["parts"]] == [name for name, _ in seen]


def test_one_input_is_asked_for_as_one(run: Run) -> None:
    def one(ctx: Any) -> Outcome:
        assert ctx.input("parts").file("f").read_text() == "a"
        assert ctx.inputs("nothing") == ()
        return write(ctx)

    worked(run, node("a", write), node("b", one, Source(node="a")))
    with pytest.raises(AssertionError, match="2 inputs of role parts"):
        worked(run, node("a", write), node("c", write), node("d", one, Source(node="a"), Source(node="c")))


def test_a_flipped_byte_is_found_when_the_input_is_opened(run: Run) -> None:
    """T20: exit 6, naming the file."""
    first, second = node("a", write), node("b", lambda ctx: write(ctx) if ctx.input("parts") else Outcome({}))
    worked(run, first)
    (run.pointer("a") / "f").write_text("b")
    with pytest.raises(Mismatch, match="f has changed since it was made"):
        worked(run, replace(second, inputs={"parts": (Source(node="a"),)}), first)


def test_a_link_shares_the_bytes_of_the_store_and_copies_the_users(run: Run, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "train.jsonl").write_text("{}")

    def link(ctx: Any) -> Outcome:
        for given in ctx.inputs("parts"):
            for name in given.files:
                ctx.link(given.file(name), f"deep/{name}")
        return Outcome({})

    made = worked(run, node("a", write), node("b", link, Source(node="a"), Source(path=mine)))
    assert [entry.name for entry in made.files] == ["deep/f", "deep/train.jsonl"]
    folder = run.pointer("b") / "deep"
    assert (folder / "f").stat().st_ino == (run.pointer("a") / "f").stat().st_ino
    assert (folder / "train.jsonl").stat().st_ino != (mine / "train.jsonl").stat().st_ino


def test_a_cache_outlives_nodes(run: Run) -> None:
    def pay(ctx: Any) -> Outcome:
        answers = ctx.cache("teacher") / "answers"
        answers.write_text("paid" if not answers.exists() else answers.read_text() + " twice")
        return write(ctx)

    worked(run, node("a", pay), node("b", pay))
    assert (run.store.cache("teacher") / "answers").read_text() == "paid twice"


def test_remarks_are_counted_and_strict_turns_fallbacks_into_failures(run: Run) -> None:
    def note(ctx: Any) -> Outcome:
        for _ in range(3):
            ctx.note("dropped", "rows over the window", 2)
        ctx.note("fallback", "no embedder: MinHash")
        return write(ctx)

    made = worked(run, node("a", note))
    assert [(one.kind, one.text, one.count) for one in made.remarks] == [
        ("dropped", "rows over the window", 6),
        ("fallback", "no embedder: MinHash", 1),
    ]
    with pytest.raises(StageFailed, match="the recipe is strict: no embedder"):
        worked(run, node("b", note), strict=True)


def test_what_was_spent_is_measured_over_all_attempts(run: Run) -> None:
    """S-A13: counts accumulate over resumes."""
    fail = [True]

    def spend(ctx: Any) -> Outcome:
        ctx.spend(tokens=10, money=Decimal("0.25"))
        if fail.pop() if fail else False:
            raise StageFailed("the first time")
        return Outcome({"m": Metric(float("nan"))}, {"tokens_per_s": 5.0}) if write(ctx) else Outcome({})

    with pytest.raises(StageFailed):
        worked(run, node("a", spend))
    made = worked(run, node("a", spend))
    told = {name: made.measured[name] for name in ("tokens", "money", "attempts", "tokens_per_s")}
    assert told == {"tokens": 20, "money": "0.50", "attempts": 2, "tokens_per_s": 5.0}
    assert made.metrics["m"] == Metric(None, "the value is nan"), "unknown is not a number"


def test_what_only_the_stage_knows_of_its_machine_is_on_record(run: Run) -> None:
    """S-D14: the level of the sandbox stands in the manifest beside processor and versions, and decides no digest."""

    def graded(level: str) -> Callable[[Any], Outcome]:
        def grade(ctx: Any) -> Outcome:
            ctx.under(sandbox=level)
            return write(ctx)

        return grade

    first = worked(run, node("a", graded("L3")))
    told = first.measured["environment"]
    assert told["sandbox"] == "L3" and {"processor", "torch", "cores"} <= set(told)
    again = worked(run, node("a", graded("L2")), again=True)
    assert again.measured["environment"]["sandbox"] == "L2"
    assert (again.fingerprint, again.digest) == (first.fingerprint, first.digest)


def test_progress_is_told_a_few_times_a_second_and_at_the_end(run: Run) -> None:
    def walk(ctx: Any) -> Outcome:
        for done in range(1, 501):
            ctx.progress(done, 500, "steps")
        return write(ctx)

    worked(run, node("a", walk))
    told = [record["done"] for record in ledger.read(run.ledger) if record["event"] == "progress"]
    assert told[-1] == 500
    assert len(told) < 100


def test_what_is_made_already_is_taken(run: Run) -> None:
    count = [0]

    def counted(ctx: Any) -> Outcome:
        count[0] += 1
        (ctx.out / "f").write_text(str(count[0]))
        return Outcome({})

    first = worked(run, node("a", counted))
    assert worked(run, node("a", counted)) == first
    assert count == [1]
    again = worked(run, node("a", counted), again=True)
    assert count == [2]
    assert (again.fingerprint, again.digest == first.digest) == (first.fingerprint, False)
    assert artifact.verify(run.pointer("a")) == ()
