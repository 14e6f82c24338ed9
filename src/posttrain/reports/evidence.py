"""Rows of artifacts that a reader should see: how the probes chose, and the same problems before and after."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard, cast

from posttrain.data import rows
from posttrain.data.records import Problem, Score
from posttrain.reports.learning import Learning
from posttrain.reports.view import STEP, NodeView, View
from posttrain.reports.wording import interval, signed
from posttrain.spec.errors import Stop

PER_DOMAIN = 2
"""Problems of each domain that are shown."""


SIGNS = {
    "frames": "reads its callers' frames, code or objects",
    "exits": "ends its process before there is a result",
    "equals": "makes an object that is equal to everything",
    "patches": "replaces builtins, modules or test machinery",
    "channel": "writes to descriptors it was not given",
    "system": "asks the system for what no task needs",
    "payload": "makes an object that carries code to whoever unpickles it",
}
"""What a program does that shows a sign of being after the grader, by the sign's name in an exam's report."""


@dataclass(frozen=True)
class Tried:
    """One checkpoint on a probe set."""

    step: int
    scores: Mapping[str, float]
    """Metric → value: `pass@8`, `pass@1`, `truncated`, `distinct`."""
    chosen: bool


@dataclass(frozen=True)
class ProbeView:
    """How one probe chose its checkpoint; `reason` says why there is nothing to show."""

    node: str
    domain: str
    by: str
    """The score it selects by."""
    tried: tuple[Tried, ...] = ()
    lead: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Answered:
    """What a model answered to one problem: its first sample, and how many of those that were graded were right."""

    text: str
    outcome: str
    correct: bool
    tokens: int
    right: int
    samples: int


@dataclass(frozen=True)
class Sample:
    """One problem before and after."""

    domain: str
    id: str
    prompt: str
    gold: str
    before: Answered | None
    after: Answered | None


@dataclass(frozen=True)
class Samples:
    """Problems of two exams; `reason` says why there are none."""

    before: str = ""
    after: str = ""
    shown: tuple[Sample, ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class Breakdown:
    """How the answers of one domain were graded, exam by exam."""

    domain: str
    outcomes: tuple[str, ...]
    """Right and wrong first, then the commonest."""
    rows: tuple[tuple[str, Mapping[str, int]], ...]
    """Label of an exam → outcome → answers."""
    undecided: Mapping[str, int]
    """Label → answers that the grader could not find out about: they count in no score."""


@dataclass(frozen=True)
class Sign:
    """A sign that programs are after the grader, and how many showed it."""

    where: str
    """The label of an exam, or a node of reinforcement learning."""
    name: str
    programs: int
    right: int | None
    """Of those, graded right; None where nobody counted it."""


def graded(view: View, table: Learning) -> tuple[tuple[Breakdown, ...], tuple[Sign, ...]]:
    """How each whole exam was graded, domain by domain, and the signs its programs show; code first."""
    found: dict[str, dict[str, Mapping[str, int]]] = {}
    signs: list[Sign] = []
    undecided: dict[str, dict[str, int]] = {}
    for row in table.rows:
        node = next(iter(view.members(row.exam)), None)
        if row.own or node is None or node.folder is None:
            continue
        told = _report(node.folder / "report.json")
        for domain, counted in _counts(told.get("outcomes")).items():
            found.setdefault(domain, {})[row.label] = counted
            metric = node.metrics.get(f"undecided/{domain}")
            undecided.setdefault(domain, {})[row.label] = int(metric.value or 0) if metric else 0
        for name, counted in _counts(told.get("signatures")).items():
            signs.append(Sign(row.label, name, sum(counted.values()), counted.get("right", 0)))
    signs += [sign for node in view.of_kind("rl") for sign in _learning(node.id, view.steps.get(node.id, ()))]
    first = sorted(found, key=lambda domain: (domain != "code", domain))
    return tuple(_breakdown(domain, found[domain], undecided[domain]) for domain in first), tuple(signs)


def _learning(node: str, steps: Iterable[STEP]) -> list[Sign]:
    """The signs that programs showed while a model learned, over all steps."""
    counted = Counter[str]()
    for step in steps:
        told = step.get("signs")
        counted.update(told if _numbers(told) else {})
    return [Sign(node, name, number, None) for name, number in sorted(counted.items())]


def _report(path: Path) -> Mapping[str, Any]:
    """The facts of an exam; empty where they cannot be read: rows and metrics say so elsewhere."""
    try:
        told = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return cast("Mapping[str, Any]", told) if isinstance(told, dict) else {}


def _counts(told: Any) -> dict[str, Mapping[str, int]]:
    """Name → outcome → number, as far as a table is that."""
    found = cast("dict[str, Any]", told) if isinstance(told, dict) else {}
    return {name: given for name, given in found.items() if _numbers(given)}


def _numbers(given: Any) -> TypeGuard[Mapping[str, int]]:
    return isinstance(given, dict) and all(type(number) is int for number in cast("dict[str, Any]", given).values())


def _breakdown(domain: str, rows: Mapping[str, Mapping[str, int]], undecided: Mapping[str, int]) -> Breakdown:
    total = Counter[str]()
    for counted in rows.values():
        total.update(counted)
    order = sorted(total, key=lambda name: (name != "right", name != "wrong", -total[name], name))
    return Breakdown(domain, tuple(order), tuple(rows.items()), undecided)


def probes(view: View) -> tuple[ProbeView, ...]:
    """How every probe of the run chose."""
    return tuple(_probe(node) for node in view.of_kind("probe"))


def _probe(node: NodeView) -> ProbeView:
    domain = node.axes.get("domain", node.member or node.id)
    if node.folder is None:
        return ProbeView(node.id, domain, "", reason="not measured")
    try:
        choice = cast(dict[str, Any], json.loads((node.folder / "choice.json").read_text("utf-8")))
        chosen = int(choice["chosen"])
        tried = tuple(_tried(entry, chosen) for entry in cast(list[dict[str, Any]], choice["candidates"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        return ProbeView(node.id, domain, "", reason=f"choice.json cannot be read: {error}")
    by = str(choice.get("by", ""))
    selected = f"pass@{choice['k']}" if by != "pass@1" and "k" in choice else by
    return ProbeView(node.id, domain, selected, tried, _why(choice))


def _why(choice: Mapping[str, Any]) -> str:
    """The rule's reason, and how far the chosen one leads the runner-up."""
    why, lead = str(choice.get("why", "")), cast(Mapping[str, float] | None, choice.get("lead"))
    if not lead:
        return why
    span = interval(lead.get("low"), lead.get("high"), sign=True)
    return f"{why}; lead over step {choice.get('runner_up')}: {signed(lead.get('value'))} {span}".strip()


def _tried(entry: Mapping[str, Any], chosen: int) -> Tried:
    step = int(entry["step"])
    scores = {name: float(value) for name, value in entry.items() if name != "step" and isinstance(value, int | float)}
    return Tried(step, scores, step == chosen)


def shown_samples(view: View, table: Learning) -> tuple[str, str, Samples]:
    """The first and the last model that sat the whole exam: their labels, and what they answered."""
    whole = [row for row in table.rows if not row.own and row.scores]
    if len(whole) < 2:
        return "before", "after", Samples()
    return whole[0].label, whole[-1].label, samples(view, whole[0].exam, whole[-1].exam)


def samples(view: View, before: str, after: str) -> Samples:
    """The first problems of each domain by id, as two exam stages answered them: not picked by anybody."""
    pair = [next(iter(view.members(stage)), None) for stage in (before, after)]
    if any(node is None or node.folder is None for node in pair):
        return Samples(before, after, reason="not measured: one of the two exams has not run")
    first, second = cast(list[NodeView], pair)
    try:
        answers = [_answers(cast(Path, node.folder) / "scores.jsonl") for node in (first, second)]
        wanted = _wanted(answers[0])
        problems = _problems(view, second, wanted)
    except Stop as stop:
        return Samples(before, after, reason=f"the rows cannot be read: {stop}")
    shown = [
        Sample(
            p.domain, p.id, p.prompt, _gold(p), _answered(answers[0].get(p.id, ())), _answered(answers[1].get(p.id, ()))
        )
        for p in problems
    ]
    return Samples(before, after, tuple(sorted(shown, key=lambda s: (s.domain, s.id))))


def _gold(problem: Problem) -> str:
    """What a right answer is: of code a program that is known to pass the tests, or that there are tests."""
    if problem.answer_type != "code":
        return problem.answer
    try:
        reference = json.loads(problem.answer).get("reference")
    except (ValueError, AttributeError):
        return problem.answer
    return reference if isinstance(reference, str) else "hidden tests"


def _answers(path: Path) -> dict[str, list[Score]]:
    found: dict[str, list[Score]] = {}
    for row in rows.read(path, Score):
        found.setdefault(row.id, []).append(row)
    return found


def _wanted(answers: Mapping[str, Sequence[Score]]) -> set[str]:
    by_domain: dict[str, list[str]] = {}
    for id, given in answers.items():
        by_domain.setdefault(given[0].domain, []).append(id)
    return {id for ids in by_domain.values() for id in sorted(ids)[:PER_DOMAIN]}


def _problems(view: View, exam: NodeView, wanted: set[str]) -> Iterable[Problem]:
    found: dict[str, Problem] = {}
    for source in exam.sources:
        node = view.nodes.get(source.node)
        if source.role == "data" and node is not None and node.folder is not None:
            found.update((p.id, p) for p in rows.read(node.folder / "test.jsonl", Problem) if p.id in wanted)
    return found.values()


def _answered(given: Sequence[Score]) -> Answered | None:
    if not given:
        return None
    first = min(given, key=lambda row: row.sample)
    right = sum(row.correct for row in given)
    return Answered(first.text, first.outcome, first.correct, first.tokens, right, sum(row.decided for row in given))
