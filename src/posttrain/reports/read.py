"""From the records of a run to its view: recipe, ledger and manifests, read once each."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from posttrain.reports import wording
from posttrain.reports.judged import Judgements
from posttrain.reports.view import STEP, Beat, NodeView, Setting, State, View
from posttrain.spec.errors import Mismatch, Stop
from posttrain.store import ledger
from posttrain.store.artifact import Manifest, glance, manifest
from posttrain.store.run import Run, existing

Record = Mapping[str, Any]


SILENCE = 600.0
"""Seconds without a record after which the clock was set, or the machine slept: heartbeats come far more often."""


@dataclass
class _Invocation:
    """One `posttrain run`."""

    began: Record
    last: float
    """When it was last heard of."""
    heard: float = 0.0
    """Seconds between its records; one that goes back, or is further from the one before than SILENCE, adds none."""
    wall: float | None = None
    """Seconds it took by its own count, where it came to its end."""
    code: int | None = None
    worked: bool = False
    """Whether it started a node."""


@dataclass
class _Told:
    """What the ledger says, folded in order; a later record replaces an earlier one."""

    plan: dict[str, Record] = field(default_factory=dict[str, Record])
    state: dict[str, State] = field(default_factory=dict[str, State])
    reasons: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    ran: dict[tuple[str, str], tuple[str, ...]] = field(default_factory=dict[tuple[str, str], tuple[str, ...]])
    failed: dict[str, Record] = field(default_factory=dict[str, Record])
    fell_first: str = ""
    progress: dict[str, str] = field(default_factory=dict[str, str])
    beats: dict[str, Beat] = field(default_factory=dict[str, Beat])
    steps: dict[tuple[str, str], dict[Any, STEP]] = field(default_factory=dict[tuple[str, str], dict[Any, STEP]])
    judged: Judgements = field(default_factory=Judgements)
    invocations: list[_Invocation] = field(default_factory=list["_Invocation"])
    odd: int = 0
    """Records that lack what their event has."""

    def run_started(self, record: Record) -> None:
        """A new invocation: what it says counts."""
        self.judged.last = None
        self.fell_first = ""
        self.invocations.append(_Invocation(record, float(record["t"])))

    def run_finished(self, record: Record) -> None:
        """How the invocation ended."""
        if self.invocations:
            self.invocations[-1].code = record.get("code")
            self.invocations[-1].wall = record.get("wall_s")

    def judged_again(self, record: Record) -> None:
        """A judgement of the whole run says how it stands now."""
        code = self.judged.judged(record)
        if code is not None and self.invocations:
            self.invocations[-1].code = code

    def time(self, record: Record) -> None:
        """The last that was heard of an invocation; what is judged or waived afterwards adds no time."""
        if self.invocations and record["event"] != "run_started":
            now = self.invocations[-1]
            if record.get("run") != now.began.get("run"):
                return
            step, now.last = float(record["t"]) - now.last, float(record["t"])
            now.heard += step if 0 < step <= SILENCE else 0.0
            now.worked = now.worked or record["event"] == "node_started"

    def plan_(self, record: Record) -> None:
        """What was decided, node by node."""
        for decision in cast(Iterable[Record], record["decisions"]):
            node = str(decision["node"])
            action = str(decision["action"])
            self.plan[node] = decision
            self.state[node] = "kept" if action == "keep" else "blocked" if action == "blocked" else "waiting"
            self.reasons[node] = _texts(decision.get("reasons"))

    def node_kept(self, record: Record) -> None:
        """Its artifact is the one wanted."""
        self._becomes(record, "kept")

    def node_blocked(self, record: Record) -> None:
        """It may not run."""
        self._becomes(record, "blocked")

    def node_started(self, record: Record) -> None:
        """It runs."""
        self._becomes(record, "running")
        self.beats.pop(str(record["node"]), None)
        self.ran[str(record["node"]), str(record.get("fingerprint", ""))] = _texts(record.get("reasons"))

    def node_finished(self, record: Record) -> None:
        """Its artifact is made."""
        self.state[str(record["node"])] = "ran"

    def node_failed(self, record: Record) -> None:
        """It did not end well."""
        node, again = str(record["node"]), bool(record.get("again"))
        self.state[node] = "running" if again else "failed"
        self.failed[node] = record
        self.fell_first = self.fell_first or ("" if again else node)

    def step(self, record: Record) -> None:
        """One step's numbers; the last of equal (node, fingerprint, step) counts."""
        metrics = cast(STEP, record.get("metrics") or {})
        key = (str(record["node"]), str(record.get("fingerprint", "")))
        self.steps.setdefault(key, {})[metrics.get("step")] = metrics

    def heartbeat(self, record: Record) -> None:
        """It lives."""
        quiet = float(record.get("quiet_s", 0.0))
        self.beats[str(record["node"])] = Beat(float(record["t"]), int(record.get("memory", 0)), quiet)

    def progress_(self, record: Record) -> None:
        """How far a node is."""
        self.progress[str(record["node"])] = f"{record['done']} of {record['total']} {record.get('unit', '')}".strip()

    def _becomes(self, record: Record, state: State) -> None:
        node = str(record["node"])
        self.state[node] = state
        self.judged.forget(node)
        self.reasons[node] = _texts(record.get("reasons")) or self.reasons.get(node, ())


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(str(part) for part in cast(Iterable[Any], value or ()))


def fold(records: Iterable[Record]) -> _Told:
    """What a ledger says in the end."""
    told = _Told()
    readers: dict[str, Callable[[Record], None]] = {
        "run_started": told.run_started,
        "run_finished": told.run_finished,
        "plan": told.plan_,
        "node_kept": told.node_kept,
        "node_blocked": told.node_blocked,
        "node_started": told.node_started,
        "node_finished": told.node_finished,
        "node_failed": told.node_failed,
        "step": told.step,
        "progress": told.progress_,
        "heartbeat": told.heartbeat,
        "verdict": told.judged.verdict,
        "judged": told.judged_again,
        "waived": told.judged.waiver,
        "withdrawn": told.judged.waiver,
        "view": told.judged.view,
    }
    for record in records:
        told.time(record)
        reader = readers.get(str(record["event"]))
        try:
            if reader is not None:
                reader(record)
        except (KeyError, TypeError, ValueError, AttributeError):
            told.odd += 1
    return told


def read(folder: Path) -> View:
    """The view of the run in a folder; UsageError where the folder holds no run."""
    run = existing(folder)
    resolved = cast(dict[str, Any], json.loads(run.recipe.read_text("utf-8")))
    stages = cast(dict[str, Record], resolved.get("stage", {}))
    told = fold(ledger.read(run.ledger))
    worked = [one for one in told.invocations if one.worked] or told.invocations[-1:]
    last = told.invocations[-1] if told.invocations else None
    nodes = {id: _node(run, id, told) for id, entry in told.plan.items() if _stage(entry) in stages}
    verdicts, lapsed = told.judged.of(nodes)
    return View(
        folder=folder,
        name=str(resolved.get("name", folder.name)),
        seed=resolved.get("seed"),
        profiles=_texts(resolved.get("profiles")),
        settings=_settings(resolved),
        nodes=nodes,
        edges=_edges(nodes, stages),
        verdicts=verdicts,
        steps={id: found for id, node in nodes.items() if (found := _steps(told, node))},
        exit_code=last.code if last else None,
        started=float(worked[0].began["t"]) if worked else None,
        took=sum(one.heard if one.wall is None else float(one.wall) for one in worked) if worked else None,
        environment=cast(Record, worked[-1].began.get("environment") or {}) if worked else {},
        unread="; ".join(filter(None, (str(ledger.unread(run.ledger)), _odd(told)))),
        lapsed=lapsed,
        rejudged=told.judged.last,
        fell_first=told.fell_first,
        troubles=tuple(error for error in told.judged.views.values() if error),
    )


def _odd(told: _Told) -> str:
    return wording.counted(told.odd, "record") + " without what their event must say" if told.odd else ""


def _stage(entry: Record) -> str:
    return str(entry.get("stage") or str(entry["node"]).partition("/")[0])


def _settings(resolved: Record) -> tuple[Setting, ...]:
    """Keys that somebody set: their value and who said so."""
    origins = cast(dict[str, str], resolved.get("origins", {}))
    return tuple(
        Setting(key, json.dumps(_at(resolved, key), ensure_ascii=False), origin)
        for key, origin in origins.items()
        if origin not in ("kind default", "recipe")
    )


def _at(tree: Any, key: str) -> Any:
    """The value at a dotted key; what cannot be found is null."""
    for part in key.split("."):
        tree = cast(dict[str, Any], tree).get(part) if isinstance(tree, dict) else None
    return tree


def _node(run: Run, id: str, told: _Told) -> NodeView:
    decision, failed = told.plan[id], told.failed.get(id, {})
    made, damage = _manifest(run.pointer(id))
    stage, _, member = id.partition("/")
    estimate = cast(Record, decision.get("estimate") or {})
    state = told.state[id]
    return NodeView(
        id=id,
        stage=str(decision.get("stage", stage)),
        member=member,
        kind=str(decision.get("kind") or (made.kind if made else "")),
        state=state,
        reasons=told.reasons.get(id, ()),
        ran_because=told.ran.get((id, made.fingerprint), ()) if made else (),
        estimate=estimate.get("seconds"),
        manifest=made,
        folder=run.pointer(id).resolve() if made else None,
        failure=(_failure(failed) if state == "failed" else "") or damage,
        log=str(failed.get("log") or ""),
        progress=_progress(told, id) if state == "running" else "",
        beat=told.beats.get(id) if state == "running" else None,
    )


def _progress(told: _Told, id: str) -> str:
    """How far a running node is: what it said, else its last step."""
    if id in told.progress:
        return told.progress[id]
    steps = [step for (node, _), found in told.steps.items() if node == id for step in found if step is not None]
    return f"step {steps[-1]}" if steps else ""


def _manifest(pointer: Path) -> tuple[Manifest | None, str]:
    """The manifest of a node, where it can be read, and what is damaged at a glance."""
    if pointer.is_symlink() and not pointer.exists():
        return None, f"its artifact is gone: {pointer} leads to {pointer.readlink()}."
    try:
        return glance(pointer), ""
    except Mismatch as damage:
        said = str(damage)
    try:
        return manifest(pointer), said
    except Mismatch:
        return None, said


def _failure(record: Record) -> str:
    where, what, remedy = (str(record.get(name) or "") for name in ("where", "what", "remedy"))
    return Stop(what, where="" if where == record["node"] else where, remedy=remedy).paragraph()


def _steps(told: _Told, node: NodeView) -> tuple[STEP, ...]:
    """The steps of the artifact that is there; of a node that has none, those of its last attempt."""
    made = node.manifest.fingerprint if node.manifest else ""
    found = told.steps.get((node.id, made))
    if found is None:
        others = [steps for (id, _), steps in told.steps.items() if id == node.id]
        found = others[-1] if others and not made else {}
    return tuple(found.values())


def _edges(nodes: Mapping[str, NodeView], stages: Mapping[str, Record]) -> tuple[tuple[str, str], ...]:
    """Stage → stage: from manifests, and from the recipe where nothing is made yet."""
    known = {node.stage for node in nodes.values()}
    found: dict[tuple[str, str], None] = {}
    for node in nodes.values():
        named = [source.node.partition("/")[0] for source in node.sources]
        for stage in named or _named(stages, node.stage, known):
            if stage in known:
                found[stage, node.stage] = None
    return tuple(found)


def _named(stages: Mapping[str, Record], stage: str, known: set[str]) -> list[str]:
    """The stages that a recipe names as inputs of a stage, and through one that is off its model."""
    found: list[str] = []
    for role, given in cast(dict[str, Any], stages.get(stage, {}).get("inputs") or {}).items():
        for name in cast(list[Any], given) if isinstance(given, list) else [given]:
            above = str(name).partition("/")[0]
            if above in known:
                found.append(above)
            elif above in stages and role == "model":
                found += _named(stages, above, known)
    return found
