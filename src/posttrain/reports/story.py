"""What the report says in words, the same in every form: outcome, machine and date, time, remarks."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from posttrain.reports import wording
from posttrain.reports.learning import Learning
from posttrain.reports.view import EXIT_MEANS, NodeView, View
from posttrain.spec.gate import Metric, Verdict
from posttrain.store.artifact import Remark

VERDICT_WORDS: Mapping[str, str] = {
    "pass": "pass",
    "fail": "fail",
    "inconclusive": "inconclusive",
    "not_run": "not run",
}
"""The four verdicts as people read them."""


_LONG = 240
"""Characters of a failure in the headline."""


@dataclass(frozen=True)
class Outcome:
    """How the run ended: a class for colour, a title, a sentence, and a sentence on its gates."""

    verdict: str
    title: str
    says: str
    gates: str


def outcome(view: View) -> Outcome:
    """How the run ended, from its exit code; a run that did not say is unfinished."""
    if view.exit_code is None:
        says = "The ledger has no end of this run: it is still going, or was killed."
        return Outcome("inconclusive", "Unfinished", says, gates_said(view.verdicts))
    fallen = (view.nodes.get(view.fell_first), *view.nodes.values())
    failed = next((node for node in fallen if node and node.state == "failed" and node.failure), None)
    told = ending(view.exit_code, view.verdicts, f"{failed.id} failed: {failed.failure}" if failed else _trouble(view))
    if view.exit_code == 0 and view.lapsed:
        says = f"Exit code 0 rested on a waiver that no longer counts: {view.lapsed[0]}. {AGAIN}"
        return Outcome("inconclusive", "A waiver has lapsed", wording.line(says), told.gates)
    return told


AGAIN = "`posttrain gate` judges it again."


def _trouble(view: View) -> str:
    return view.troubles[0] if view.troubles else ""


def ending(code: int, verdicts: Sequence[Verdict], failure: str = "") -> Outcome:
    """How something judged ended: what its exit code means, what kept it from passing, what it rests on."""
    title = {0: "Passed", 1: "Refused", 3: "Inconclusive", 130: "Interrupted"}.get(code, "Stopped")
    kind = {0: "pass", 3: "inconclusive", 130: "inconclusive", 5: "inconclusive"}.get(code, "fail")
    means = EXIT_MEANS.get(code, "unknown")
    waived = [v for v in verdicts if v.waived and v.severity == "stop"]
    if code == 0 and not any(v.severity == "stop" for v in verdicts):
        title, kind, means = "Finished", "inconclusive", "no gate that stops a run was judged"
    if code == 0 and waived:
        title, kind, means = "Passed with waivers", "inconclusive", "every stop gate passed or is waived"
    cause = _cause(verdicts, failure)
    if code in (1, 3) and waived and not cause and not any(v.refuses for v in verdicts):
        cause = f"What refused is waived since. {AGAIN}"
    says = f"{means[0].upper()}{means[1:]} (exit code {code})."
    return Outcome(kind, title, f"{says} {cause}".strip(), gates_said(verdicts))


def _cause(verdicts: Sequence[Verdict], failure: str) -> str:
    """What first kept a run from passing: a failure, else a stop gate; empty where nothing did."""
    if failure:
        cause = wording.line(failure)
        cause = cause if cause.endswith((".", "!", "?", "…")) else f"{cause}."
        return cause if len(cause) <= _LONG else f"{cause[: _LONG - 1]}…"
    refused = next((v for v in unsettled(verdicts) if v.refuses), None)
    return (
        wording.line(f"Gate {refused.gate} of {refused.node}: {refused.reason.removesuffix('.')}.") if refused else ""
    )


def gates_said(verdicts: Sequence[Verdict]) -> str:
    """How many gates said what."""
    if not verdicts:
        return "No gate has been judged."
    said_ = [f"{_counted(verdicts, 'stop')} of the gates that stop a run"]
    if any(verdict.severity == "warn" for verdict in verdicts):
        said_.append(f"{_counted(verdicts, 'warn')} of those that warn")
    return "; ".join(said_) + "."


def _counted(verdicts: Sequence[Verdict], severity: str) -> str:
    found = Counter((verdict.value, bool(verdict.waived)) for verdict in verdicts if verdict.severity == severity)
    order = [(value, waived) for value in ("pass", "fail", "inconclusive", "not_run") for waived in (False, True)]
    named = [f"{found[key]} {VERDICT_WORDS[key[0]]}{' but waived' if key[1] else ''}" for key in order if found[key]]
    return ", ".join(named) or "none"


def said(verdict: Verdict) -> str:
    """A verdict in a word or three: `fail (warn)`, `fail (waived)`; never a pass where it is a waiver."""
    marks = ["warn"] * (verdict.severity == "warn") + ["waived"] * bool(verdict.waived)
    return VERDICT_WORDS[verdict.value] + (f" ({', '.join(marks)})" if marks else "")


def why(verdict: Verdict) -> str:
    """Why a verdict is what it is, and by whose word it may stand."""
    return f"{verdict.reason}; {verdict.waived}" if verdict.waived else verdict.reason


def rests_on(verdicts: Iterable[Verdict]) -> str:
    """The waivers that a pass rests on, in a sentence; empty where it rests on none."""
    stops = [v for v in verdicts if v.waived and v.severity == "stop"]
    found = dict.fromkeys(f"{v.gate}, {v.waived}" for v in stops)
    return f"rests on {wording.counted(len(found), 'waiver')}: {'; '.join(found)}." if found else ""


def unsettled(verdicts: Iterable[Verdict]) -> tuple[Verdict, ...]:
    """What a reader must see: failed, undecided, waived, not run for what this machine lacks; stop gates first."""
    order = ("fail", "inconclusive", "not_run")
    found = [v for v in verdicts if v.value in ("fail", "inconclusive") or v.absent or v.waived]
    return tuple(sorted(found, key=lambda v: (v.severity != "stop", bool(v.waived), order.index(v.value))))


def rejudged(view: View) -> str:
    """That gates were judged under other thresholds after the run; empty where they were not."""
    last = view.rejudged
    if last is None:
        return ""
    asked = ", ".join([*(f"only {name}" for name in last.only), *last.sets])
    return wording.line(f"Judged again on {wording.moment(last.when)} ({asked}): exit code {last.code}.")


def facts(view: View) -> tuple[tuple[str, str], ...]:
    """Recipe, machine and date, as the ledger has them."""
    states = Counter(node.state for node in view.nodes.values())
    machine = view.environment
    named = [str(machine[key]) for key in ("processor", "platform", "device") if machine.get(key)]
    cores = [f"{machine['cores']} cores"] if machine.get("cores") else []
    ran = programs(view)
    versions = [f"{name} {machine[name]}" for name in ("posttrain", "torch", "python") if machine.get(name)]
    return (
        ("Profiles", " + ".join(view.profiles) or "none"),
        ("Seed", wording.UNKNOWN if view.seed is None else str(view.seed)),
        ("Started", wording.moment(view.started)),
        ("Took", wording.seconds(view.took)),
        ("Nodes", ", ".join(f"{number} {state}" for state, number in states.items()) or "none"),
        ("Machine", ", ".join([*named, *cores]) or wording.UNKNOWN),
        ("Versions", ", ".join(versions) or wording.UNKNOWN),
        *((("Programs", ran.says),) if ran else ()),
        *((("Ledger", view.unread),) if view.unread else ()),
    )


@dataclass(frozen=True)
class Programs:
    """How programs of models were run in a sentence; `lowered` where a reader must know before anything else."""

    says: str
    lowered: bool


def programs(view: View) -> Programs | None:
    """At which levels of the sandbox programs were run; None where the run had none to grade."""
    at = Counter(node.sandbox for node in view.nodes.values() if node.sandbox)
    if not at:
        return None
    says = [_ran(level, wording.counted(at[level], "node")) for level in sorted(at)]
    return Programs(" ".join(says), lowered=any(level in at for level in ("L1", "none")))


def _ran(level: str, where: str) -> str:
    if level == "none":
        return f"No program was run in {where}: of the code domain, expression tasks alone, graded by evaluating them."
    low = ", lower than the default requires" if level == "L1" else ""
    comma = "," if "," in level else ""
    return f"Programs ran at sandbox level {wording.line(level)}{comma} in {where}{low}."


def evidence(metric: Metric | None) -> str:
    """A verdict's evidence: the fraction, the value, its interval; or why there is none."""
    if metric is None:
        return "none"
    if metric.value is None:
        return metric.reason or wording.UNKNOWN
    fraction = f" ({wording.count(metric.k)}/{wording.count(metric.n)})" if metric.k is not None and metric.n else ""
    span = wording.interval(metric.low, metric.high)
    unit = f" {metric.unit}" if metric.unit else ""
    value = wording.share(metric.value) if span and abs(metric.value) < 10 else wording.number(metric.value)
    return f"{value}{unit}{fraction}{f' {span}' if span else ''}"


def headline(table: Learning) -> str:
    """The first and the last model of the learning table in a sentence; empty where there are not two."""
    whole = [row for row in table.rows if not row.own and row.scores]
    if len(whole) < 2:
        return ""
    k = table.ks[0]
    first, last = whole[0], whole[-1]
    return (
        f"Pass@{k} on held-out problems: {wording.share(first.scores[k].value)} ({first.label}) → "
        f"{wording.share(last.scores[k].value)} ({last.label})."
    )


@dataclass(frozen=True)
class StageTime:
    """What the nodes of one stage took together; None is not measured."""

    stage: str
    nodes: int
    wall: float | None
    cpu: float | None
    tokens: float | None
    memory: float | None

    @property
    def rate(self) -> float | None:
        """Tokens per second of wall time."""
        return self.tokens / self.wall if self.tokens is not None and self.wall else None


def times(view: View) -> tuple[StageTime, ...]:
    """Time, tokens and memory of every stage that made something."""
    found: list[StageTime] = []
    for stage in view.stages:
        nodes = [node for node in view.members(stage) if node.manifest is not None]
        peaks = [peak for node in nodes if (peak := node.took("peak_memory")) is not None]
        wall, cpu = _sum(n.took("wall_s") for n in nodes), _sum(n.took("cpu_s") for n in nodes)
        tokens = _sum(_tokens(node) for node in nodes)
        if nodes:
            found.append(StageTime(stage, len(nodes), wall, cpu, tokens, max(peaks, default=None)))
    return tuple(found)


def _sum(values: Iterable[float | None]) -> float | None:
    """The sum; None where one is unknown."""
    given = list(values)
    known = [value for value in given if value is not None]
    return sum(known) if known and len(known) == len(given) else None


def _tokens(node: NodeView) -> float | None:
    """Tokens sampled and trained on, as the node counted them."""
    names = ("generated_tokens", "trained_tokens", "tokens")
    counted = [m.value for name in names if (m := node.metrics.get(name)) and m.value is not None]
    return float(sum(counted)) if counted else node.took("tokens")


def timing(view: View) -> str:
    """Where the time went, in a sentence."""
    if view.total("wall_s") is None:
        return f"Not measured: no node has finished. So far it took {wording.seconds(view.took)}."
    peaks = [peak for node in view.nodes.values() if (peak := node.took("peak_memory")) is not None]
    return (
        f"Nodes together: {wording.seconds(view.total('wall_s'))} of wall time, "
        f"{wording.seconds(view.total('cpu_s'))} of CPU time. The run took {wording.seconds(view.took)}. "
        f"Most memory of one node: {wording.size(max(peaks, default=None))}."
    )


def remarks(view: View) -> tuple[tuple[str, Remark], ...]:
    """Every remark with its node."""
    return tuple((node.id, remark) for node in view.nodes.values() for remark in node.remarks)
