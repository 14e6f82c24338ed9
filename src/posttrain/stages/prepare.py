"""Make one domain's data: problems with golds on four sides that share nothing, solutions where training needs them."""

import json
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field, NonNegativeInt, PositiveInt

from posttrain.spec.errors import Mismatch, MissingNeed
from posttrain.spec.gate import Gate, Metric, Metrics
from posttrain.spec.knobs import Closed, File, Variant, tagged
from posttrain.spec.knobs import Knobs as BaseKnobs
from posttrain.spec.stage import Artifact, Context, Estimate, Foreseen, Outcome, Role

if TYPE_CHECKING:
    from posttrain.algos.overlap import Index
    from posttrain.curate.filters import Log
    from posttrain.curate.select import Want
    from posttrain.curate.sources import Source
    from posttrain.curate.worlds import Side
    from posttrain.graders.registry import Grading

VERSION = 1
MAKES = "data"
ROLES = {
    "ready": Role(
        ("data",),
        "files that are adopted: DOMAIN_train, _val, _probe, _test or DOMAIN.jsonl; as code also livecodebench*",
        optional=True,
    )
}
GATES = {
    "overlap": Gate(metric="overlap", equals=Decimal(0)),
    "golds": Gate(metric="bad_golds", equals=Decimal(0)),
}
EXAMS = "exam_grams.txt"
REPORT = "report.json"
_PER_SECOND = 1_500
"""Problems chosen, checked, written and read again in a second."""
_RUN_PER_SECOND = 200
"""The same of problems whose programs are run."""


class BuiltIn(Variant):
    """The procedural world of the domain."""

    type: Literal["built-in"] = "built-in"
    difficulty: Literal[1, 2, 3] = 2
    """How large its numbers are."""


class FieldNames(Closed):
    """What the fields of a file are called."""

    prompt: str = "prompt"
    """The question."""
    answer: str = "answer"
    """The gold; of a whole solution, what stands after `####` or in the last box."""
    solution: str | None = None
    """A solution, where it is a field of its own."""
    category: str | None = None
    """The topic, which `categories` maps to domains; none: every row is of this domain."""


class Jsonl(Variant):
    """A file of the user's own, one problem a line with its gold; for the domain `code` there are exercises."""

    type: Literal["jsonl"] = "jsonl"
    path: File
    """The file."""
    fields: FieldNames = FieldNames()
    """What its fields are called."""
    categories: dict[str, tuple[str, ...]] = Field(
        default_factory=lambda: {
            "algebra": ("Prealgebra", "Algebra", "Intermediate Algebra"),
            "geometry": ("Geometry",),
            "calculus": ("Precalculus", "Calculus"),
            "statistics": ("Counting & Probability", "Counting", "Probability", "Combinatorics", "Statistics"),
        }
    )
    """The categories of each domain; rows of any other are counted and left out."""


class Exercises(Variant):
    """A file of programming exercises with their tests, one a line; of the domain `code`."""

    type: Literal["exercises"] = "exercises"
    path: File
    """The file."""
    shape: Literal["mbpp", "humaneval", "apps", "livecodebench", "problems"]
    """The set whose rows its rows look like; `problems`: rows as this program writes them, of any domain."""


class Same(Variant):
    """As `source`."""

    type: Literal["same"] = "same"


def _named(value: Any) -> Any:
    return {"path": value} if isinstance(value, str | Path) else value


class ExamFile(Closed):
    """An exam that no training problem may share words with."""

    path: File
    """A JSONL file."""
    field: str = "prompt"
    """The field that holds the question."""


class Decontam(Closed):
    """Which problems are dropped because an exam has them."""

    enabled: bool = True
    """Compare with exams at all; without it the gate `overlap` has no value."""
    n: PositiveInt = 10
    """Words in a row that may not be shared; shorter problems are compared whole."""
    against: tuple[Annotated[ExamFile, BeforeValidator(_named)], ...] = ()
    """Exams beside the test side: paths, or tables of path and field."""


if TYPE_CHECKING:
    AnySource = BuiltIn | Jsonl | Exercises
    CodeSource = AnySource | Same
else:
    AnySource = tagged(BuiltIn | Jsonl | Exercises)
    CodeSource = tagged(Same | BuiltIn | Jsonl | Exercises)


class Knobs(BaseKnobs):
    """What is asked of the data."""

    domain: str | None = None
    """The domain; an axis of that name sets it."""
    source: AnySource = BuiltIn()
    """Where problems come from."""
    code_source: CodeSource = Same()
    """Where those of the domain `code` come from; other domains have no use for it."""
    code_tasks: Literal["all", "expression"] = "all"
    """Of the built-in world of code: all of it, or only functions of one expression, which no program must be run for
    (profile `nojail`). Other domains and sources have no use for it."""
    max_problems: PositiveInt | None = 500
    """Training problems; none: all that a file has."""
    n_solutions: PositiveInt = 1
    """Solutions of each problem; of the built-in world 1 is worked, 2 worked and terse."""
    probe_size: NonNegativeInt = 64
    """Problems on the probe side, beside those for training."""
    val_size: PositiveInt = 50
    """Problems on the validation side."""
    test_size: NonNegativeInt = 100
    """Problems on the exam side."""
    decontam: Decontam = Decontam()
    """Which problems are dropped because an exam has them."""


def _source_of(knobs: Knobs) -> "AnySource":
    own = knobs.code_source
    return knobs.source if knobs.domain != "code" or isinstance(own, Same) else own


def check(knobs: Knobs, inputs: Mapping[str, tuple[Foreseen, ...]]) -> tuple[str, ...]:
    """A domain that is missing, of another source or without a world, more than the world has to give."""
    from posttrain.curate import worlds

    source = _source_of(knobs)
    if knobs.domain is None:
        return ('domain: which one? An axis sets it: each = { domain = ["algebra", "geometry"] }',)
    if isinstance(source, Jsonl):
        unmapped = source.fields.category and knobs.domain not in source.categories
        wrong = {
            "source.type = jsonl holds golds in maths, and the domain code has tests: its rows are exercises"
            ' (code_source = { type = "exercises", path = …, shape = … }), or built-in': knobs.domain == "code",
            f"source.categories: there is none for the domain {knobs.domain}": unmapped and knobs.domain != "code",
        }
        return tuple(says for says, is_so in wrong.items() if is_so)
    if isinstance(source, Exercises):
        foreign = source.shape != "problems" and knobs.domain != "code"
        return (f"domain = {knobs.domain}: rows in the shape {source.shape} are of the domain code",) if foreign else ()
    wrong = {
        f"domain = {knobs.domain}: no built-in world; known: {', '.join(worlds.DOMAINS)}": not inputs.get("ready")
        and knobs.domain not in worlds.DOMAINS,
        f"n_solutions = {knobs.n_solutions}: the built-in world has 2, worked and terse": knobs.n_solutions > 2,
        "max_problems: the built-in world has no end, say how many": knobs.max_problems is None,
    }
    return tuple(says for says, is_so in wrong.items() if is_so)


def estimate(knobs: Knobs, inputs: Mapping[str, tuple[Foreseen, ...]]) -> Estimate:
    """Seconds and bytes by the sizes asked for; unknown where all of a file is taken."""
    if knobs.max_problems is None:
        return Estimate()
    problems = knobs.max_problems + knobs.probe_size + knobs.val_size + knobs.test_size
    run = knobs.domain == "code" and knobs.code_tasks == "all"
    return Estimate(seconds=1 + problems / (_RUN_PER_SECOND if run else _PER_SECOND), disk=400 * problems)


def run(ctx: Context[Knobs]) -> Outcome:
    """Choose problems for every side, write them, then read all of it again and count what is wrong."""
    from posttrain.runners.judging import grading

    with grading(ctx, remembers=True) as judge:
        return _made(ctx, judge)


def _made(ctx: Context[Knobs], judge: "Grading") -> Outcome:
    from posttrain.curate.filters import Log
    from posttrain.curate.select import select
    from posttrain.data import rows

    knobs, log = ctx.knobs, Log()
    assert knobs.domain is not None
    exams = _exams(knobs.decontam)
    source, wants = _wanted(ctx, log, judge)
    sides = select(source, wants, exams=exams, log=log, grading=judge, domain=knobs.domain)
    for name, problems in {**sides, "rejects": log.rejected}.items():
        rows.write(ctx.out / f"{name}.jsonl", problems)
    if exams is not None:
        (ctx.out / EXAMS).write_text("".join(f"{gram}\n" for gram in sorted(exams.digests)), encoding="utf-8")
    report = {
        "domain": knobs.domain,
        "templates": dict(sorted(Counter(p.template for p in sides["train"]).items())),
        "unmapped": log.unmapped,
        "ungradable": [{"where": row.where.rpartition("/")[2], "why": row.why} for row in log.unread],
        "no_python": log.no_python,
        "duplicates": log.duplicates,
        "overlap_removed": [{"id": leak.id, "shared": leak.shared} for leak in log.leaks],
        "rejected": [problem.id for problem in log.rejected],
    }
    (ctx.out / REPORT).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    _remark(ctx, log)
    made = Artifact(node="", type=MAKES, path=ctx.out, digest="")
    return Outcome(_measured(made, knobs, judge))


def measure(artifact: Artifact, knobs: Knobs) -> Metrics:
    """Every metric from the files; `overlap` and `bad_golds` by a second pass over the rows as written.

    Expression tasks are computed where that is all there is: their metrics can be counted where no program may run.
    """
    from posttrain.graders.registry import Grading
    from posttrain.runners.judging import anew

    if knobs.code_tasks == "expression":
        with suppress(MissingNeed):
            return _measured(artifact, knobs, Grading(sandbox="none"))
    with anew() as judge:
        return _measured(artifact, knobs, judge)


def _measured(artifact: Artifact, knobs: Knobs, judge: "Grading") -> Metrics:
    from posttrain.algos.overlap import Index
    from posttrain.curate.audit import audit

    decontam, exams = knobs.decontam, None
    if decontam.enabled:
        grams = artifact.file(EXAMS).read_text(encoding="utf-8").split()
        exams = Index(decontam.n, frozenset(grams))
    found = audit(artifact.path, exams, judge)
    report = json.loads(artifact.file(REPORT).read_text(encoding="utf-8"))
    solved = found.solutions + found.rejected_solutions
    off = "decontamination is off"
    return {
        **{f"rows/{name}": Metric(count, unit="rows") for name, count in found.counts.items()},
        "unmapped": Metric(report["unmapped"], unit="rows"),
        "ungradable": Metric(len(report["ungradable"]), unit="rows"),
        "duplicates": Metric(report["duplicates"], unit="rows"),
        "overlap_removed": Metric(len(report["overlap_removed"]), unit="rows") if exams else Metric(None, off),
        "overlap": Metric(found.overlapping, unit="rows") if exams else Metric(None, off),
        "verified_share": Metric(found.solutions / solved, k=found.solutions, n=solved)
        if solved
        else Metric(None, "there are no solutions"),
        "bad_golds": Metric(found.bad_golds, k=found.bad_golds, n=found.problems, unit="rows"),
    }


def _wanted(ctx: Context[Knobs], log: "Log", grading: "Grading") -> "tuple[Source, Mapping[Side, Want]]":
    """Where problems come from and how many a side takes; an adopted side takes all its file has."""
    from posttrain.curate import ready
    from posttrain.curate.select import Want

    knobs = ctx.knobs
    source = _source(knobs, ctx.seed, log, grading)
    wants: dict[Side, Want] = {
        "train": Want(knobs.max_problems, knobs.n_solutions),
        "probe": Want(knobs.probe_size),
        "val": Want(knobs.val_size, knobs.n_solutions),
        "test": Want(knobs.test_size),
    }
    for given in ctx.inputs("ready"):
        assert knobs.domain is not None
        adopted = ready.adopt(given.path, knobs.domain, log)
        ctx.note("ready", f"adopted for {knobs.domain}: {', '.join(adopted) or 'nothing; all of it is made'}")
        source = ready.beside(adopted, source)
        wants |= {side: Want(None, None if wants[side].solutions else 0) for side in adopted}
    return source, wants


def _source(knobs: Knobs, seed: int, log: "Log", grading: "Grading") -> "Source":
    from posttrain.curate import sources
    from posttrain.curate.exercises.tried import settled

    assert knobs.domain is not None
    source = _source_of(knobs)
    if isinstance(source, BuiltIn):
        only = knobs.code_tasks == "expression"
        return sources.built_in(knobs.domain, seed, difficulty=source.difficulty, expression_only=only)
    if isinstance(source, Exercises):
        settle = partial(settled, grading=grading, log=log, solutions=knobs.n_solutions)
        return sources.exercised(source.path, source.shape, domain=knobs.domain, seed=seed, log=log, settle=settle)
    fields = sources.Fields(**source.fields.model_dump())
    categories = frozenset(name.casefold() for name in source.categories.get(knobs.domain, ()))
    return sources.local(source.path, fields, domain=knobs.domain, categories=categories, seed=seed, log=log)


def _exams(decontam: Decontam) -> "Index | None":
    """The n-grams of the user's exams; Mismatch where one has none."""
    from posttrain.algos.overlap import Index, index
    from posttrain.data import rows

    if not decontam.enabled:
        return None
    digests: set[str] = set()
    for exam in decontam.against:
        found = index((row[exam.field] for row in rows.read_fields(exam.path, [exam.field])), n=decontam.n)
        if not found.digests:
            raise Mismatch("the exam has no words to compare with", where=str(exam.path))
        digests |= found.digests
    return Index(decontam.n, frozenset(digests))


def _remark(ctx: Context[Knobs], log: "Log") -> None:
    for count, text in (
        (log.unmapped, "rows of another category are left out"),
        (len(log.unread), "rows cannot be graded and are left out; report.json says why"),
        (log.no_python, "solutions are no Python and are left out"),
        (log.duplicates, "rows equal an earlier one and are left out"),
        (len(log.leaks), "problems share words with an exam and are left out"),
        (len(log.rejected), "problems or solutions fail their grader and are left out"),
    ):
        if count:
            ctx.note("left out", text, count)
