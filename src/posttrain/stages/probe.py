"""Probe every checkpoint of a model with the same problems and draws, and take the one that reaches most solutions."""

import json
from collections.abc import Callable, Mapping
from decimal import Decimal
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field, NonNegativeFloat, PositiveInt

from posttrain.spec.errors import Mismatch
from posttrain.spec.gate import Gate, Metrics
from posttrain.spec.knobs import Counts
from posttrain.spec.knobs import Knobs as BaseKnobs
from posttrain.spec.stage import Artifact, Context, Estimate, Foreseen, Outcome, Role

if TYPE_CHECKING:
    from posttrain.data.records import Problem, Score
    from posttrain.evals.passk import Candidate
    from posttrain.graders.registry import Grading

VERSION = 1
MAKES = "model"
ROLES = {
    "model": Role(("model",), "the trajectory: its `steps/` are the candidates, the last one always"),
    "data": Role(("data",), "probe problems (split probe)", many=True),
}
CHOICE, SCORES = "choice.json", "scores.jsonl"


class Knobs(BaseKnobs):
    """How checkpoints are scored and chosen."""

    domain: str | None = None
    """Only probe problems of this domain; none: all."""
    k: Counts = (8,)
    """K of Pass@K, or a list of them; the first selects."""
    samples: PositiveInt = 16
    """Answers drawn to each problem from each checkpoint."""
    max_problems: PositiveInt | None = None
    """Of each domain only the first so many; none: all."""
    max_new_tokens: PositiveInt = 1024
    """Tokens an answer may have; one that is cut there is wrong."""
    temperature: NonNegativeFloat = Field(1.0, gt=0)
    """Of the draws."""
    top_p: float = Field(0.95, gt=0, le=1)
    """Share of the probability that answers are drawn from."""
    select_by: Literal["pass@k", "pass@1", "last"] = "pass@k"
    """What the chosen checkpoint is best at; the last two are for ablation."""
    lead: Literal["any", "clear"] = "any"
    """`clear`: the last checkpoint, unless the best leads it outside the paired 95 % interval."""


def _gates(knobs: Knobs, roles: frozenset[str]) -> dict[str, Gate]:
    """The chosen checkpoint solves something, and is not cut short."""
    return {
        "signal": Gate(metric=f"pass@{knobs.k[0]}", at_least=Decimal("0.001"), decide="interval"),
        "uncut": Gate(metric="truncated", at_most=Decimal("0.2")),
    }


GATES = _gates


def check(knobs: Knobs, inputs: Mapping[str, tuple[Foreseen, ...]]) -> tuple[str, ...]:
    """A K beyond the samples."""
    most = max(knobs.k)
    if most > knobs.samples:
        return (
            f"k = {most} is more than samples = {knobs.samples}: Pass@K needs K of them, so raise samples or lower k",
        )
    return ()


def estimate(knobs: Knobs, inputs: Mapping[str, tuple[Foreseen, ...]]) -> Estimate:
    """How many answers each checkpoint gives, where the knobs of the data say it."""
    from posttrain.evals.foresee import item_count

    asked = {"suites": ({"split": "probe"},), "max_problems": knobs.max_problems}
    n = item_count(Foreseen(node="", kind="probe", knobs=asked, axes={}, inputs=inputs), knobs.domain)
    if n is None:
        return Estimate()
    return Estimate(remarks=(f"{n * knobs.samples} answers of at most {knobs.max_new_tokens} tokens per checkpoint",))


def run(ctx: Context[Knobs]) -> Outcome:
    """Score every checkpoint, choose one, hand on its files."""
    from posttrain.data import rows
    from posttrain.evals import passk, tally
    from posttrain.runners.judging import grading

    knobs, model = ctx.knobs, ctx.input("model")
    problems = _problems(ctx)
    folders = passk.checkpoints(model.path)
    alone = model.path in folders.values()
    if alone:
        ctx.note("candidates", "the model has no steps/: it is its own only candidate")
    scored: list[Score] = []
    candidates: list[Candidate] = []
    total = len(folders) * len(problems) * knobs.samples
    with grading(ctx) as judge:
        judge.ready(problems)
        for step, folder in folders.items():
            told = partial(_tell, ctx, len(scored), total)
            drawn = _drawn(ctx, (step, folder), problems, grading=judge, progress=told)
            scored += drawn
            candidates.append(passk.Candidate(step, tally.items(drawn)))
            found = tally.summary(candidates[-1].items, knobs.k)
            ctx.emit(step=step, **{name: metric.value for name, metric in found.items()})
    rows.write(ctx.out / SCORES, scored)
    choice = passk.choose(candidates, k=knobs.k[0], by=knobs.select_by, lead=knobs.lead)
    record = passk.record(candidates, choice, knobs.k, by=knobs.select_by, lead=knobs.lead)
    (ctx.out / CHOICE).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    _hand_on(ctx, folders[choice.chosen], whole=not alone)
    made = Artifact(node="", type=MAKES, path=ctx.out, digest="")
    return Outcome(measure(made, knobs), {"tokens": sum(row.tokens for row in scored)})


def measure(artifact: Artifact, knobs: Knobs) -> Metrics:
    """Metrics of every checkpoint from the rows; which one was chosen stands in `choice.json`."""
    from posttrain.data import rows
    from posttrain.data.records import Score
    from posttrain.evals import passk, tally

    by_step: dict[int, list[Score]] = {}
    for row in rows.read(artifact.file(SCORES), Score):
        by_step.setdefault(row.step or 0, []).append(row)
    candidates = [passk.Candidate(step, tally.items(found)) for step, found in sorted(by_step.items())]
    chosen = json.loads(artifact.file(CHOICE).read_text(encoding="utf-8"))["chosen"]
    return passk.metrics(candidates, chosen, knobs.k, by=knobs.select_by, lead=knobs.lead)


def _problems(ctx: Context[Knobs]) -> "list[Problem]":
    from posttrain.evals.exam import paper

    domain = ctx.knobs.domain
    asked = paper("problems", [data.file("probe.jsonl") for data in ctx.inputs("data")], most=ctx.knobs.max_problems)
    problems = [problem for problem in asked.problems if domain in (None, problem.domain)]
    if not problems:
        of = f" of the domain {domain}" if domain else ""
        raise Mismatch(f"there is no probe problem{of}", where="probe.data", remedy="Raise prepare.probe_size.")
    return problems


def _drawn(
    ctx: Context[Knobs],
    checkpoint: tuple[int, Path],
    problems: "list[Problem]",
    *,
    grading: "Grading",
    progress: Callable[[int, int], None],
) -> "list[Score]":
    """The rows of one checkpoint; those that an interrupted run finished are read, not drawn again.

    Rows over which the sandbox was lost are not kept: a next attempt may know more.
    """
    from posttrain.data import rows
    from posttrain.data.records import Score
    from posttrain.evals.ask import Asking, ask_folder
    from posttrain.graders.code import LOST

    step, folder = checkpoint
    knobs, place = ctx.knobs, ctx.scratch / f"step-{step}.jsonl"
    kept = rows.kept(place)
    if kept is None:
        asking = Asking(knobs.samples, knobs.max_new_tokens, knobs.temperature, knobs.top_p, ctx.seed)
        where = {"resources": ctx.resources, "grading": grading}
        drawn = ask_folder(folder, problems, asking, **where, step=step, progress=progress)
        ctx.spend(tokens=sum(row.tokens for row in drawn))
        if all(row.outcome != LOST for row in drawn):
            rows.keep(place, drawn)
        return drawn
    return rows.read_all(kept, Score)


def _tell(ctx: Context[Knobs], before: int, total: int, done: int, _: int) -> None:
    ctx.progress(before + done, total, "samples")


def _hand_on(ctx: "Context[Knobs]", chosen: Path, *, whole: bool) -> None:
    """Every file of a checkpoint; of a model that is its own candidate, the files of a model alone."""
    from posttrain.models.weights import COMPANIONS

    model_files = ("*.safetensors", "*.safetensors.index.json", *COMPANIONS)
    for source in sorted(path for path in chosen.rglob("*") if path.is_file()):
        name = source.relative_to(chosen).as_posix()
        if whole or any(fnmatchcase(name, pattern) for pattern in model_files):
            ctx.link(source, name)
