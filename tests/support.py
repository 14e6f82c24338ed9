"""Real small things that tests share: a stage context over a temporary folder, without an engine."""

import hashlib
import shutil
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from posttrain.spec.knobs import Knobs, Resources
from posttrain.spec.stage import Artifact, ArtifactType


def folder_digest(folder: Path) -> str:
    """sha256 over names and bytes of every file below a folder, in order of name."""
    total = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        total.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    return total.hexdigest()


def artifact(folder: Path, type: ArtifactType, **fields: Any) -> Artifact:
    """A folder as a stage sees it."""
    names = tuple(sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()))
    node = fields.pop("node", folder.name)
    return Artifact(node=node, type=type, path=folder, digest=folder_digest(folder), files=names, **fields)


class FolderContext:
    """A context whose out and scratch lie in one temporary folder; emitted steps and notes are kept in lists."""

    def __init__(
        self,
        root: Path,
        knobs: Knobs,
        inputs: Mapping[str, tuple[Artifact, ...]] | None = None,
        *,
        axes: Mapping[str, str] | None = None,
        seed: int = 17,
        resources: Resources | None = None,
    ) -> None:
        self.knobs, self.axes, self.seed = knobs, dict(axes or {}), seed
        self.resources = resources or Resources(device="cpu", compute="fp32")
        self.out, self.scratch, self._cache = root / "out", root / "scratch", root / "cache"
        self._inputs = dict(inputs or {})
        self.steps: list[dict[str, Any]] = []
        self.notes: list[tuple[str, str, int]] = []
        self.found: dict[str, str] = {}
        for folder in (self.out, self.scratch, self._cache):
            folder.mkdir(parents=True, exist_ok=True)

    def input(self, role: str) -> Artifact:
        (only,) = self._inputs[role]
        return only

    def inputs(self, role: str) -> tuple[Artifact, ...]:
        return self._inputs.get(role, ())

    def cache(self, name: str) -> Path:
        folder = self._cache / name
        folder.mkdir(exist_ok=True)
        return folder

    def link(self, source: Path, name: str) -> None:
        target = self.out / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)

    def emit(self, **metrics: Any) -> None:
        self.steps.append(metrics)

    def progress(self, done: int, total: int, unit: str) -> None:
        assert 0 <= done <= total, (done, total, unit)

    def note(self, kind: str, text: str, count: int = 1) -> None:
        self.notes.append((kind, text, count))

    def under(self, **facts: str) -> None:
        self.found.update(facts)

    def spend(self, *, tokens: int = 0, money: Decimal = Decimal(0)) -> None:
        assert tokens >= 0, tokens
