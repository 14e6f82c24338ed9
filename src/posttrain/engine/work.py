"""One node's work, in its own process: the context a stage sees, and the way from its folder to an artifact."""

import contextlib
import importlib.metadata
import json
import math
import os
import platform
import resource
import shutil
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import posttrain
from posttrain.engine.expand import Graph, Node, Source
from posttrain.engine.judge import inputs
from posttrain.engine.plan import facts, in_order, own_folders
from posttrain.spec.errors import Mismatch, StageFailed
from posttrain.spec.gate import Metric
from posttrain.spec.knobs import Knobs, Resources
from posttrain.spec.stage import Artifact, Outcome
from posttrain.store import artifact, lock
from posttrain.store.artifact import Manifest, Remark
from posttrain.store.fingerprint import Facts, fingerprint
from posttrain.store.ledger import Ledger
from posttrain.store.run import Run
from posttrain.store.scan import FileEntry, Stamp, digest

FALLBACK = "fallback"
"""The kind of note that counts as a failure where the recipe is strict."""

QUIET = 0.2
"""Seconds between two records of progress."""

SAVED = 1.0
"""Seconds between two records of the time spent: what a kill may lose of the count."""


@dataclass(frozen=True)
class Order:
    """How a node is worked."""

    invocation: str = ""
    """The `run` of ledger records."""
    strict: bool = False
    """A counted fallback is a failure."""
    again: bool = False
    """Work even where the artifact is there."""


def work_node(graph: Graph, id: str, run: Run, order: Order) -> Manifest:
    """Make one node's artifact from the current artifacts of its inputs, and point the node at it.

    Where another process is at the same artifact, waits for it and takes what it made.
    """
    node = graph.nodes[id]
    own = own_folders(node)
    now = facts(node, _current(node, run), own)
    mark = fingerprint(now)
    ledger = Ledger(run.ledger, run=order.invocation)

    def notice(holder: lock.Holder) -> None:
        ledger.write("note", node=id, kind="waits", text=f"{holder} is making the same artifact", count=1)

    with contextlib.closing(ledger), lock.waiting(run.store.lock(mark), notice):
        folder = run.store.artifact(mark)
        made = None if order.again else artifact.glance(folder)
        if made is None:
            clock = Clock(run.store.time(mark))
            room = Room(node, run, mark, axes={n.id: n.axes for n in graph.nodes.values()}, own=own)
            room.report_to(ledger, clock, strict=order.strict)
            _use_threads(node.resources.cpus)
            outcome = node.kind.run(room)
            made = artifact.commit(
                room.out,
                folder,
                lambda files: _made(room, outcome, now, clock, files),
                replaced=run.store.replaced(mark),
                known=room.digests,
            )
            shutil.rmtree(run.store.scratch(mark), ignore_errors=True)
        run.point(id, mark)
    return made


class Room:
    """The whole world of a running stage: implements `spec.stage.Context`."""

    def __init__(
        self,
        node: Node,
        run: Run,
        mark: str,
        *,
        axes: Mapping[str, Mapping[str, str]],
        own: Mapping[Source, Artifact],
    ) -> None:
        """`out` begins empty; `scratch` is as an earlier attempt left it."""
        self.node, self.mark = node, mark
        self.axes: Mapping[str, str] = node.axes
        self.knobs: Knobs = node.knobs
        self.seed: int = node.seed
        self.resources: Resources = node.resources
        self.out, self.scratch = run.store.out(mark), run.store.work(mark)
        self.remarks: dict[tuple[str, str], int] = {}
        self.digests: dict[Stamp, str] = {}
        """Of the input files that were opened: a file that is linked need not be read again."""
        self._run, self._axes, self._opened = run, axes, dict(own)
        self._told = 0.0
        shutil.rmtree(self.out, ignore_errors=True)
        for folder in (self.out, self.scratch):
            folder.mkdir(parents=True, exist_ok=True)

    def report_to(self, ledger: Ledger, clock: "Clock", *, strict: bool) -> None:
        """Where events and time go."""
        self._ledger, self._clock, self._strict = ledger, clock, strict

    def input(self, role: str) -> Artifact:
        """Exactly one input."""
        given = self.inputs(role)
        assert len(given) == 1, f"{self.node.id} has {len(given)} inputs of role {role}; ask for inputs()"
        return given[0]

    def inputs(self, role: str) -> tuple[Artifact, ...]:
        """All inputs of the role in the order of their facts, each re-digested when it is first opened."""
        sources = self.node.inputs.get(role, ())
        for source in sources:
            if source.node is not None and source not in self._opened:
                folder = self._run.pointer(source.node).resolve()
                self._opened[source] = artifact.opened(
                    folder, node=source.node, axes=self._axes[source.node], known=self.digests
                )
        return tuple(self._opened[source] for source in in_order(sources, self._opened))

    def cache(self, name: str) -> Path:
        """A folder that outlives the node."""
        folder = self._run.store.cache(name)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def link(self, source: Path, name: str) -> None:
        """Make a file of an input a file of the output: one copy on disk where the store has it already."""
        target, source = self.out / name, source.resolve()
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        if not source.is_relative_to(self._run.store.root.resolve()):
            shutil.copyfile(source, target)
            return
        try:
            target.hardlink_to(source)
        except OSError:
            shutil.copyfile(source, target)

    def emit(self, **metrics: float | int | str | list[Any] | dict[str, Any] | None) -> None:
        """One step's numbers."""
        self._ledger.write("step", node=self.node.id, fingerprint=self.mark, metrics=metrics)
        self._clock.note()

    def progress(self, done: int, total: int, unit: str) -> None:
        """How far the node is; told a few times a second, and at the end."""
        now = time.monotonic()
        if done >= total or now - self._told >= QUIET:
            self._told = now
            self._ledger.write("progress", node=self.node.id, done=done, total=total, unit=unit)
            self._clock.note()

    def note(self, kind: str, text: str, count: int = 1) -> None:
        """A remark or a counted fallback; StageFailed for a fallback where the recipe is strict."""
        self.remarks[kind, text] = self.remarks.get((kind, text), 0) + count
        self._ledger.write("note", node=self.node.id, kind=kind, text=text, count=count)
        if self._strict and kind == FALLBACK:
            remedy = "Mend the cause, or take `strict` out of the recipe."
            raise StageFailed(f"a fallback was taken, and the recipe is strict: {text}", remedy=remedy)

    def spend(self, *, tokens: int = 0, money: Decimal = Decimal(0)) -> None:
        """Count tokens and money."""
        self._clock.spend(tokens, money)


class Clock:
    """What a node took, over all attempts at it."""

    def __init__(self, path: Path) -> None:
        """Go on counting where the attempts before stopped; `path` keeps the count."""
        self._path, self._saved = path, 0.0
        self._before = _read_time(path)
        self._wall, self._cpu = time.monotonic(), _cpu_seconds()
        self._tokens, self._money = 0, Decimal(0)

    def spend(self, tokens: int, money: Decimal) -> None:
        """Count tokens and money."""
        self._tokens, self._money = self._tokens + tokens, self._money + money
        self.note()

    def note(self) -> None:
        """Keep the count, at most once a second."""
        if time.monotonic() - self._saved >= SAVED:
            self._saved = time.monotonic()
            self._path.parent.mkdir(parents=True, exist_ok=True)
            fresh = self._path.with_suffix(".new")
            fresh.write_text(json.dumps(self.total()))
            fresh.replace(self._path)

    def total(self) -> dict[str, Any]:
        """Seconds, bytes at the peak, attempts, and what was spent."""
        before = self._before
        spent = {"tokens": before.get("tokens", 0) + self._tokens}
        money = Decimal(before.get("money", "0")) + self._money
        return {
            "wall_s": round(before.get("wall_s", 0.0) + time.monotonic() - self._wall, 3),
            "cpu_s": round(before.get("cpu_s", 0.0) + _cpu_seconds() - self._cpu, 3),
            "peak_memory": max(before.get("peak_memory", 0), _peak_bytes()),
            "attempts": before.get("attempts", 0) + 1,
            **({key: value for key, value in spent.items() if value}),
            **({"money": str(money)} if money else {}),
        }


def _made(room: Room, outcome: Outcome, now: Facts, clock: Clock, files: tuple[FileEntry, ...]) -> Manifest:
    assert files, f"{room.node.id} made no file"
    node = room.node
    return Manifest(
        node=node.id,
        kind=node.kind.name,
        type=node.kind.makes,
        fingerprint=room.mark,
        digest=digest(files),
        facts=now,
        axes=dict(node.axes),
        files=files,
        metrics={name: _finite(metric) for name, metric in outcome.metrics.items()},
        remarks=tuple(Remark(kind=kind, text=text, count=n) for (kind, text), n in room.remarks.items()),
        measured={
            **clock.total(),
            **outcome.measured,
            "resources": node.resources.model_dump(mode="json"),
            "environment": environment(node.resources),
        },
    )


def environment(resources: Resources) -> dict[str, Any]:
    """The machine and the versions that a result depends on."""
    return {
        "posttrain": posttrain.__version__,
        "python": platform.python_version(),
        "torch": importlib.metadata.version("torch"),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": resources.cpus,
        "device": _device(resources.device),
    }


def _current(node: Node, run: Run) -> dict[str, Manifest]:
    """The manifests of a node's inputs as they are now."""
    found: dict[str, Manifest] = {}
    for id in inputs(node):
        made = artifact.manifest(run.pointer(id))
        if made is None:
            raise Mismatch(f"its input {id} is not made.", where=node.id, remedy="Run the recipe, not the node alone.")
        found[id] = made
    return found


def _finite(metric: Metric) -> Metric:
    """Unknown is not a number: a value that is not finite is none."""
    if metric.value is None or math.isfinite(metric.value):
        return metric
    return Metric(None, f"the value is {metric.value}", n=metric.n, unit=metric.unit)


def _use_threads(cpus: int) -> None:
    """Let torch and what it calls use so many cores; torch is told only where it is loaded already."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(cpus)
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(cpus)


def _device(asked: str) -> str:
    torch = sys.modules.get("torch")
    if asked != "auto" or torch is None:
        return "cpu" if asked == "auto" else asked
    return "cuda" if torch.cuda.is_available() else "cpu"


def _processor() -> str:
    """The processor's name; empty where the system does not tell it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def _read_time(path: Path) -> dict[str, Any]:
    try:
        return cast("dict[str, Any]", json.loads(path.read_text()))
    except (OSError, ValueError):
        return {}


def _cpu_seconds() -> float:
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def _peak_bytes() -> int:
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return peak if platform.system() == "Darwin" else peak * 1024
