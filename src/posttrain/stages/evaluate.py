"""Sit an exam: sample answers to held-out problems, grade them, count with intervals over problems."""

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Literal

from pydantic import Field, NonNegativeFloat, PositiveInt

from posttrain.data.records import AnswerType
from posttrain.spec.errors import Mismatch
from posttrain.spec.gate import Gate, Metrics
from posttrain.spec.knobs import Counts, Variant, tagged
from posttrain.spec.knobs import Knobs as BaseKnobs
from posttrain.spec.stage import Artifact, Context, Estimate, Foreseen, Outcome, Role

if TYPE_CHECKING:
    from posttrain.data.records import Problem, Score
    from posttrain.evals.exam import Paper
    from posttrain.graders.registry import Grading

VERSION = 1
MAKES = "scores"
ROLES = {
    "model": Role(("model",), "the model that is examined", optional=True),
    "data": Role(("data",), "where the suite `problems` takes its items from", many=True, optional=True),
}
GATES = {"fair": Gate(metric="unfair", equals=Decimal(0))}
REPORT = "report.json"


class Problems(Variant):
    """Held-out problems of the role `data`."""

    type: Literal["problems"] = "problems"
    split: Literal["test", "val", "probe", "train"] = "test"
    """Which side is asked; `val` while tuning."""


if TYPE_CHECKING:
    Suite = Problems
else:
    Suite = tagged(Problems)


class Knobs(BaseKnobs):
    """What is asked, and how."""

    suites: tuple[Suite, ...] = Field((Problems(),), min_length=1)
    """What is asked."""
    max_problems: PositiveInt | None = None
    """Of each domain only the first so many; none: all."""
    k: Counts | None = None
    """K of each Pass@K; none: 1, 2, 4, … up to `samples`."""
    samples: PositiveInt = 8
    """Answers drawn to each problem."""
    temperature: NonNegativeFloat | dict[AnswerType, NonNegativeFloat] = 1.0
    """One number, or one for each type of answer; 0 is greedy."""
    top_p: float = Field(1.0, gt=0, le=1)
    """Share of the probability that answers are drawn from."""
    max_new_tokens: PositiveInt = 1024
    """Tokens an answer may have; one that is cut there is wrong."""

    def ks(self) -> tuple[int, ...]:
        """Every K, rising."""
        powers = tuple(1 << bit for bit in range(self.samples.bit_length()))
        return tuple(sorted(set(self.k or powers)))


def check(knobs: Knobs, inputs: Mapping[str, tuple[Foreseen, ...]]) -> tuple[str, ...]:
    """A K beyond the samples, one suite twice, no model, no data, many greedy samples."""
    heats = knobs.temperature.values() if isinstance(knobs.temperature, dict) else (knobs.temperature,)
    suites = [suite.type for suite in knobs.suites]
    wrong = {
        f"k = {max(knobs.ks())} is more than samples = {knobs.samples}: Pass@K needs K of them, so raise samples or "
        "lower k": max(knobs.ks()) > knobs.samples,
        "suites: one suite stands there twice": len(set(suites)) < len(suites),
        "inputs.model: nobody is there to sit the exam": not inputs.get("model"),
        "inputs.data: the suite `problems` takes its items from there": not inputs.get("data"),
        "temperature = 0 is greedy: all samples are equal, samples = 1 says as much": knobs.samples > 1 and 0 in heats,
    }
    return tuple(says for says, is_so in wrong.items() if is_so)


def estimate(knobs: Knobs, inputs: Mapping[str, tuple[Foreseen, ...]]) -> Estimate:
    """How many answers will be drawn, where the knobs of the data say it."""
    from posttrain.evals.foresee import item_count

    exam = Foreseen(node="", kind="evaluate", knobs=dict(knobs), axes={}, inputs=inputs)
    n = item_count(exam, None)
    if n is None:
        return Estimate()
    return Estimate(remarks=(f"{n * knobs.samples} answers of at most {knobs.max_new_tokens} tokens",))


def run(ctx: Context[Knobs]) -> Outcome:
    """Ask every suite, write one row per sample, and the facts that rows do not hold.

    After a resume nobody has measured the time of all the samples: then it is not told.
    """
    from posttrain.data import rows
    from posttrain.evals import breakdown, exam, tally
    from posttrain.runners.judging import grading

    papers = _papers(ctx)
    with grading(ctx) as judge:
        judge.ready([problem for paper in papers for problem in paper.problems])
        facts = exam.fairness(papers, judge)
        resumed, started = any(ctx.scratch.glob("*.jsonl")), time.perf_counter()
        scored = _sit(ctx, papers, judge)
    seconds = {} if resumed else {"sampling_s": time.perf_counter() - started}
    rows.write(ctx.out / "scores.jsonl", scored)
    items = tally.items(scored)
    programs = {p.id for paper in papers for p in paper.problems if p.answer_type == "code"}
    report = {
        "suites": {paper.suite: len(paper.problems) for paper in papers},
        "fairness": asdict(facts),
        "standard_errors": tally.standard_errors(items),
        **({"programs": "computed" if ctx.resources.sandbox == "none" else "run"} if programs else {}),
        "outcomes": breakdown.outcomes(scored),
        "signatures": breakdown.shown(scored, programs),
        "items": [[item.suite, item.id, item.domain, item.n, item.c] for item in items],
    }
    (ctx.out / REPORT).write_text(json.dumps(report) + "\n", encoding="utf-8")
    made = Artifact(node="", type=MAKES, path=ctx.out, digest="")
    tokens = sum(row.tokens for row in scored)
    return Outcome(measure(made, ctx.knobs), {**seconds, "tokens": tokens})


def measure(artifact: Artifact, knobs: Knobs) -> Metrics:
    """Every metric from the rows; `unfair` from the facts about the golds."""
    from posttrain.data import rows
    from posttrain.data.records import Score
    from posttrain.evals import exam, tally

    report = json.loads(artifact.file(REPORT).read_text(encoding="utf-8"))
    facts = exam.Fairness(**report["fairness"])
    return exam.metrics(tally.items(rows.read(artifact.file("scores.jsonl"), Score)), knobs.ks(), facts)


def _papers(ctx: Context[Knobs]) -> "list[Paper]":
    from posttrain.evals.exam import paper

    papers: list[Paper] = []
    for suite in ctx.knobs.suites:
        files = [data.file(f"{suite.split}.jsonl") for data in ctx.inputs("data")]
        found = paper(suite.type, files, most=ctx.knobs.max_problems)
        if not found.problems:
            where = ", ".join(data.node for data in ctx.inputs("data"))
            remedy = f"Make the data with {suite.split} problems, or ask another split."
            raise Mismatch(f"the split {suite.split} of the data is empty.", where=where, remedy=remedy)
        if found.repeated:
            ctx.note("problems", "a problem with the id of an earlier one is asked once", found.repeated)
        papers.append(found)
    return papers


def _sit(ctx: Context[Knobs], papers: "list[Paper]", grading: "Grading") -> "list[Score]":
    """The rows of every suite and domain; those that an interrupted run finished are read, not drawn again."""
    from posttrain.data import rows
    from posttrain.data.records import Score
    from posttrain.evals.ask import Asking, ask
    from posttrain.models.load import load

    knobs = ctx.knobs
    loaded = load(ctx.input("model").path, device=ctx.resources.device, compute=ctx.resources.compute)
    asking = Asking(knobs.samples, knobs.max_new_tokens, knobs.temperature, knobs.top_p, ctx.seed)
    found: list[Score] = []
    total = sum(len(paper.problems) for paper in papers) * knobs.samples
    for name, suite, problems in _parts(papers):
        place, before = ctx.scratch / f"{name}.jsonl", len(found)
        kept = rows.kept(place)
        if kept is None:
            told = partial(_tell, ctx, before, total)
            drawn = ask(loaded, problems, asking, grading=grading, suite=suite, progress=told)
            ctx.spend(tokens=sum(row.tokens for row in drawn))
            rows.keep(place, drawn)
            found += drawn
        else:
            found += rows.read(kept, Score)
    return found


def _parts(papers: "list[Paper]") -> "Iterator[tuple[str, str, list[Problem]]]":
    """The problems of each suite and domain, under a name for their file of rows."""
    for paper in papers:
        for number, domain in enumerate(dict.fromkeys(problem.domain for problem in paper.problems)):
            yield f"{paper.suite}-{number}", paper.suite, [p for p in paper.problems if p.domain == domain]


def _tell(ctx: Context[Knobs], before: int, total: int, done: int, _: int) -> None:
    ctx.progress(before + done, total, "samples")
