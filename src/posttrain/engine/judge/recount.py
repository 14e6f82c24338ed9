"""Metrics counted again from an artifact's own files, by the same function that its run ended with."""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from posttrain.engine.expand import Node
from posttrain.spec.gate import Metric
from posttrain.spec.stage import Artifact
from posttrain.store import artifact
from posttrain.store.artifact import Manifest


def recounted(node: Node, folder: Path, made: Manifest) -> dict[str, Metric]:
    """Every metric of an artifact from its files; the kind sees no number that the manifest holds."""
    return _measured(node, _bare(node, folder, made))


def recounted_with(node: Node, folder: Path, made: Manifest, *, file: str, data: bytes) -> dict[str, Metric]:
    """The same with other bytes in one of the files."""
    with tempfile.TemporaryDirectory(prefix="posttrain-") as temporary:
        room = Path(temporary)
        for entry in made.files:
            place = room / entry.name
            place.parent.mkdir(parents=True, exist_ok=True)
            if entry.name == file:
                place.write_bytes(data)
            else:
                place.symlink_to((folder / entry.name).absolute())
        return _measured(node, _bare(node, room, made))


class Traced(Artifact):
    """An artifact that remembers which of its files are asked for."""

    def __init__(self, plain: Artifact) -> None:
        """Stand for another."""
        super().__init__(**vars(plain))
        object.__setattr__(self, "asked", dict[str, None]())

    def file(self, name: str) -> Path:
        """The path of one of its files."""
        self._seen()[name] = None
        return object.__getattribute__(self, "path") / name

    def __getattribute__(self, name: str) -> Any:
        """Whoever takes the folder itself may read every file in it."""
        if name == "path":
            self._seen().update(dict.fromkeys(object.__getattribute__(self, "files")))
        return object.__getattribute__(self, name)

    def _seen(self) -> dict[str, None]:
        return object.__getattribute__(self, "asked")


def traced(node: Node, folder: Path, made: Manifest) -> tuple[dict[str, Metric], tuple[str, ...]]:
    """Every metric counted again, and the files that this took."""
    seen = Traced(_bare(node, folder, made))
    metrics = _measured(node, seen)
    asked = object.__getattribute__(seen, "asked")
    return metrics, tuple(entry.name for entry in made.files if entry.name in asked)


def _bare(node: Node, folder: Path, made: Manifest) -> Artifact:
    return replace(artifact.seen(folder, made, node=node.id, axes=node.axes), metrics={})


def _measured(node: Node, given: Artifact) -> dict[str, Metric]:
    return {name: metric.finite() for name, metric in node.kind.measure(given, node.knobs).items()}
