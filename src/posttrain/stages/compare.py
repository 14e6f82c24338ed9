"""Hold two exams of the same items against each other: the paired gain with its interval."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Literal, TypeVar

from pydantic import PositiveInt

from posttrain.spec.errors import Mismatch, UsageError
from posttrain.spec.gate import Gate, Metrics
from posttrain.spec.knobs import Knobs as BaseKnobs
from posttrain.spec.stage import Artifact, Context, Estimate, Foreseen, Outcome, Role

if TYPE_CHECKING:
    from posttrain.evals.compare import Pair

VERSION = 1
MAKES = "scores"
ROLES = {
    "before": Role(("scores",), "the exam to beat, or one of each member", many=True, optional=True),
    "after": Role(("scores",), "the exam that should be better, or several members", many=True),
}
GATES: dict[str, Gate] = {}

Exam = TypeVar("Exam", Artifact, Foreseen)


class Knobs(BaseKnobs):
    """What is compared."""

    metric: Literal["pass@1", "pass@k"] = "pass@1"
    """The score of an item: the share of its samples that are right, or Pass@K."""
    k: PositiveInt | None = None
    """K of pass@k; none: the largest that both sides have samples for."""
    own: bool = False
    """Each member only on the items of its own domain, then pooled."""
    domains: tuple[str, ...] = ()
    """Only the items of these domains; empty: all."""


def check(knobs: Knobs, inputs: Mapping[str, tuple[Foreseen, ...]]) -> tuple[str, ...]:
    """A K beyond the samples, a member without counterpart, `own` without a domain or beside `domains`."""
    found: list[str] = []
    if knobs.own and knobs.domains:
        found.append("own = true asks each member about its own domain only: give it or `domains`, not both")
    if len(set(knobs.domains)) < len(knobs.domains):
        found.append("domains: one domain stands there twice")
    for exam in (*inputs.get("before", ()), *inputs.get("after", ())):
        found += _absent(knobs.domains, exam)
        samples = exam.knobs.get("samples")
        if knobs.metric == "pass@k" and knobs.k and isinstance(samples, int) and knobs.k > samples:
            found.append(f"k = {knobs.k} is more than the {samples} samples of {exam.node}")
    befores = inputs.get("before", ())
    for after in inputs.get("after", ()) if befores else ():
        counterparts = _counterparts(after, befores)
        if len(counterparts) != 1:
            found.append(_not_one(after, befores))
        elif knobs.own and _domain(after, *counterparts) is None:
            found.append(f"own = true, and neither {after.node} nor {befores[0].node} has an axis `domain`")
    return tuple(dict.fromkeys(found))


def _absent(domains: Sequence[str], exam: Foreseen) -> list[str]:
    """The domains that an exam has no data of, where all of its data say whose they are."""
    held = {data.axes.get("domain") or data.knobs.get("domain") for data in exam.inputs.get("data", ())}
    known = sorted(str(domain) for domain in held)
    missing = [domain for domain in domains if held and None not in held and domain not in held]
    return [f"domains: {', '.join(missing)} is not asked by {exam.node}, but {', '.join(known)}"] if missing else []


def estimate(knobs: Knobs, inputs: Mapping[str, tuple[Foreseen, ...]]) -> Estimate:
    """It costs nothing; its remark is the difference that it can tell from none."""
    from posttrain.evals.foresee import Expected, power

    befores = inputs.get("before", ())
    pairs = [
        Expected(before, after, _asked(knobs, after, before))
        for after in inputs.get("after", ())
        for before in _counterparts(after, befores)
    ]
    return Estimate(remarks=(power(pairs, k=1 if knobs.metric == "pass@1" else knobs.k),) if pairs else ())


def run(ctx: Context[Knobs]) -> Outcome:
    """Pair the exams item by item and write one row per item."""
    from posttrain.data import rows
    from posttrain.evals.compare import gains, largest_k

    knobs, pairs = ctx.knobs, _pairs(ctx)
    if not pairs:
        ctx.note("compare", "there is no exam before: the gain has no value")
    k = 1 if knobs.metric == "pass@1" else knobs.k or largest_k(pairs)
    rows.write(ctx.out / "gains.jsonl", gains(pairs, k=k))
    metrics = measure(Artifact(node="", type=MAKES, path=ctx.out, digest=""), knobs)
    members = [{"member": pair.member, "domains": pair.domains} for pair in pairs]
    report = {"k": k, "members": members, "metrics": {name: asdict(found) for name, found in metrics.items()}}
    (ctx.out / "report.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return Outcome(metrics)


def measure(artifact: Artifact, knobs: Knobs) -> Metrics:
    """Gain, before and after over the rows, pooled and by domain."""
    from posttrain.data import rows
    from posttrain.data.records import Gain
    from posttrain.evals.compare import summary

    return summary(rows.read_all(artifact.file("gains.jsonl"), Gain))


def _pairs(ctx: Context[Knobs]) -> "list[Pair]":
    from posttrain.data import rows
    from posttrain.data.records import Score
    from posttrain.evals.compare import Pair
    from posttrain.evals.tally import Item, items

    read: dict[str, list[Item]] = {}
    befores, afters = ctx.inputs("before"), ctx.inputs("after")
    _graded_alike((*befores, *afters))
    for exam in (*befores, *afters):
        if exam.digest not in read:
            read[exam.digest] = items(rows.read(exam.file("scores.jsonl"), Score))
    pairs: list[Pair] = []
    for after in afters if befores else ():
        counterparts = _counterparts(after, befores)
        if len(counterparts) != 1:
            raise UsageError(_not_one(after, befores), where="compare.inputs.before")
        (before,) = counterparts
        domains = _asked(ctx.knobs, after, before)
        if ctx.knobs.own and not domains:
            raise UsageError("own = true, and neither side has an axis `domain`", where="compare.own")
        member = ",".join(after.axes.values())
        pairs.append(Pair(member=member, before=read[before.digest], after=read[after.digest], domains=domains))
    return pairs


def _graded_alike(exams: Sequence[Artifact]) -> None:
    """Mismatch where one exam's programs were run, and another's only computed: they are graded by other measures."""
    how: dict[str, str] = {}
    for exam in exams:
        report = exam.file("report.json")
        told = json.loads(report.read_text(encoding="utf-8")).get("programs") if report.is_file() else None
        if told is not None:
            how.setdefault(told, exam.node)
    if len(how) > 1:
        told = ", ".join(f"those of {node} {way}" for way, node in sorted(how.items()))
        raise Mismatch(
            f"the programs of these exams were graded in different ways: {told}",
            where="compare",
            remedy='Sit all of them with programs run, or all under resources.sandbox = "none" (--again).',
        )


def _counterparts(after: Exam, befores: Sequence[Exam]) -> list[Exam]:
    """One exam before is held against every member; of several, those that agree with it on all shared axes."""
    if len(befores) == 1:
        return list(befores)
    shared = [(b, b.axes.keys() & after.axes.keys()) for b in befores]
    return [b for b, axes in shared if all(b.axes[axis] == after.axes[axis] for axis in axes)]


def _not_one(after: Artifact | Foreseen, befores: Sequence[Artifact | Foreseen]) -> str:
    names = ", ".join(before.node for before in befores)
    return f"{after.node} must have exactly one counterpart among the exams before, by its axes ({names})"


def _asked(knobs: Knobs, after: Exam, before: Exam) -> tuple[str, ...]:
    """The domains whose items are compared: a member's own, or those of the knob."""
    own = _domain(after, before) if knobs.own else None
    return (own,) if own else knobs.domains


def _domain(*of: Artifact | Foreseen) -> str | None:
    """The domain of the first of these that has one: the member after, its counterpart."""
    return next((each.axes["domain"] for each in of if "domain" in each.axes), None)
