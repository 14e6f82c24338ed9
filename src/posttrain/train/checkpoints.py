"""Checkpoints of a run: written whole below the scratch folder, placed in the artifact when the run is over."""

import hashlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from posttrain.models import load
from posttrain.spec.errors import Mismatch
from posttrain.train.state import sync


def save(loaded: load.Loaded, steps: Path, step: int) -> str:
    """Write the model as `steps/step-N`, the digest of its files; a folder of that name is whole, and replaced.

    It is on the disk when this returns: the state that is kept next says that it need not be written again.
    """
    fresh, whole = steps / f".step-{step}", steps / f"step-{step}"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    load.save(loaded, fresh)
    for path in (*fresh.iterdir(), fresh):
        sync(path)
    shutil.rmtree(whole, ignore_errors=True)
    fresh.rename(whole)
    sync(steps)
    return digest(whole)


def place(steps: Path, out: Path, saved: Mapping[int, str]) -> None:
    """Put every checkpoint under `out/steps`, and the files of the last one, by number, in `out` itself.

    `saved` has the digest of each as it was written; Mismatch where one is missing or has changed since.
    """
    found = [steps / f"step-{step}" for step in sorted(saved)]
    for folder in found:
        if digest(folder) != saved[number(folder)]:
            remedy = f"Delete {steps.parent}: the node then begins anew, and ends with the same bytes."
            raise Mismatch("the kept checkpoint has changed since it was written.", where=str(folder), remedy=remedy)
        _copy(folder, out / "steps" / folder.name)
    _copy(found[-1], out)


def digest(folder: Path) -> str:
    """Over the names and bytes of a checkpoint's files."""
    total = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        with path.open("rb") as file:
            told = hashlib.file_digest(file, "sha256").hexdigest()
        total.update(f"{told} {path.relative_to(folder).as_posix()}\n".encode())
    return total.hexdigest()


def number(folder: Path) -> int:
    """The step a checkpoint's folder is named after."""
    return int(folder.name.removeprefix("step-"))


def _copy(source: Path, target: Path) -> None:
    for path in sorted(p for p in source.rglob("*") if p.is_file()):
        to = target / path.relative_to(source)
        to.parent.mkdir(parents=True, exist_ok=True)
        to.unlink(missing_ok=True)
        try:
            os.link(path, to)
        except OSError:
            shutil.copyfile(path, to)
