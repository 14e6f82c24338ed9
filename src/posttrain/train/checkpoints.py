"""Checkpoints of a run: written whole below the scratch folder, placed in the artifact when the run is over."""

import os
import shutil
from pathlib import Path

from posttrain.models import load
from posttrain.train.state import sync


def save(loaded: load.Loaded, steps: Path, step: int) -> None:
    """Write the model as `steps/step-N`; a folder of that name is whole, and one that is there is replaced.

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


def place(steps: Path, out: Path) -> None:
    """Put every checkpoint under `out/steps`, and the files of the last one, by number, in `out` itself."""
    found = sorted(steps.glob("step-*"), key=number)
    for folder in found:
        _copy(folder, out / "steps" / folder.name)
    _copy(found[-1], out)


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
