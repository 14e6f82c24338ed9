"""Why a node is made: the facts that differ, in words a user typed."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from posttrain.engine.expand import TRIAL, Node, seed_of
from posttrain.store.fingerprint import Facts, differences


class Reasons:
    """What differs from the last time, the recipe of the last time at hand."""

    def __init__(self, seed: int, recipe: Path) -> None:
        """`seed`: the recipe's now; `recipe`: the resolved recipe that the run's folder holds, if it has one."""
        self._seed, self._path = seed, recipe
        self._before: Mapping[str, Any] | None = None

    def changed(self, node: Node, old: Facts, new: Facts, *, inputs: bool = True) -> tuple[str, ...]:
        """The facts that differ, each as a reason."""
        found = differences(old, new, inputs=inputs)
        return tuple(self._seeded(node, old.seed) if reason == "seed" else reason for reason in found)

    def _seeded(self, node: Node, was: int) -> str:
        """Which of recipe seed and stream gave another seed; `seed` where the record of the last run does not tell."""
        before = self._recorded()
        seed = before.get("seed")
        stage = cast("dict[str, Any]", before.get("stage", {})).get(node.stage, {})
        stream, trial = stage.get("stream") or node.id, node.axes.get(TRIAL)
        seeds = [] if seed in (None, self._seed) else [f"seed {seed} → {self._seed}"]
        streams = [] if stream == node.stream else [f"stream {stream} → {node.stream}"]
        for given, name, said in (
            (seed, node.stream, seeds),
            (self._seed, stream, streams),
            (seed, stream, [*seeds, *streams]),
        ):
            if said and isinstance(given, int) and seed_of(given, str(name), trial) == was:
                return ", ".join(said)
        return "seed"

    def _recorded(self) -> Mapping[str, Any]:
        if self._before is None:
            try:
                self._before = cast("dict[str, Any]", json.loads(self._path.read_text(encoding="utf-8")))
            except (OSError, ValueError):
                self._before = {}
        return self._before
