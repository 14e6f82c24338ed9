"""The context a stage sees: its knobs, its inputs, its folders, and where it tells what it does."""

import shutil
import time
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from posttrain.engine.expand import Node, Source
from posttrain.engine.plan import in_order
from posttrain.engine.work.clock import Clock
from posttrain.engine.work.limits import Limits
from posttrain.spec.errors import StageFailed
from posttrain.spec.knobs import Knobs, Resources
from posttrain.spec.stage import Artifact
from posttrain.store import artifact
from posttrain.store.ledger import Ledger
from posttrain.store.run import Run
from posttrain.store.scan import Stamp

FALLBACK = "fallback"
"""The kind of note that counts as a failure where the recipe is strict."""

QUIET = 0.2
"""Seconds between two records of progress."""


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
        self.found: dict[str, str] = {}
        """What the stage told of its machine."""
        self.digests: dict[Stamp, str] = {}
        """Of the input files that were opened: a file that is linked need not be read again."""
        self._run, self._axes, self._opened = run, axes, dict(own)
        self._told = 0.0
        shutil.rmtree(self.out, ignore_errors=True)
        for folder in (self.out, self.scratch):
            folder.mkdir(parents=True, exist_ok=True)

    def report_to(self, ledger: Ledger, clock: Clock, limits: Limits, *, strict: bool) -> None:
        """Where events and time go, and the caps that hold."""
        self._ledger, self._clock, self._limits, self._strict = ledger, clock, limits, strict

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
        """One step's numbers; BudgetReached, once they are told, where the time is over."""
        self._ledger.write("step", node=self.node.id, fingerprint=self.mark, metrics=metrics)
        self._clock.note()
        self._limits.check()

    def progress(self, done: int, total: int, unit: str) -> None:
        """How far the node is, told a few times a second and at the end; BudgetReached where the time is over."""
        now = time.monotonic()
        if done >= total or now - self._told >= QUIET:
            self._told = now
            self._ledger.write("progress", node=self.node.id, done=done, total=total, unit=unit)
            self._clock.note()
        self._limits.check()

    def note(self, kind: str, text: str, count: int = 1) -> None:
        """A remark or a counted fallback; StageFailed for a fallback where the recipe is strict."""
        self.remarks[kind, text] = self.remarks.get((kind, text), 0) + count
        self._ledger.write("note", node=self.node.id, kind=kind, text=text, count=count)
        if self._strict and kind == FALLBACK:
            remedy = "Mend the cause, or take `strict` out of the recipe."
            raise StageFailed(f"a fallback was taken, and the recipe is strict: {text}", remedy=remedy)

    def under(self, **facts: str) -> None:
        """What only the stage knows of its machine, for the manifest's environment."""
        self.found.update(facts)

    def spend(self, *, tokens: int = 0, money: Decimal = Decimal(0)) -> None:
        """Count tokens and money; BudgetReached, with nothing counted, where that would pass a cap."""
        self._limits.spend(tokens, money)
        self._clock.note()
