"""The state of a training run on disk: whole or not there, restored bit for bit, in safetensors and JSON."""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from posttrain.spec.errors import Mismatch
from posttrain.train.optim import Optimiser

TENSORS, FACTS = "state.safetensors", "state.json"


class State(NamedTuple):
    """What is kept after a step."""

    step: int
    """Steps done."""
    tensors: dict[str, Tensor]
    facts: dict[str, Any]
    seconds: float = 0.0
    """Time the steps took, over all resumes; measured, never a fact."""
    measured: Mapping[str, float] = {}
    """What else the method measured until then."""


def write(folder: Path, state: State) -> None:
    """Put a state below `folder`, then drop the states before it; a kill leaves one of them whole.

    A state of that step which is there already stays: it is the same.
    """
    folder.mkdir(parents=True, exist_ok=True)
    whole = folder / f"state-{state.step}"
    if whole.exists():
        return
    fresh = folder / f".state-{state.step}"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    save_file({name: t.detach().cpu().contiguous() for name, t in state.tensors.items()}, fresh / TENSORS)
    told = {"step": state.step, "facts": state.facts, "seconds": state.seconds, "measured": dict(state.measured)}
    text = json.dumps(told, sort_keys=True)
    (fresh / FACTS).write_text(json.dumps({"told": text, "sha256": _digest(fresh, text)}), encoding="utf-8")
    for path in (fresh / TENSORS, fresh / FACTS, fresh):
        sync(path)
    fresh.rename(whole)
    sync(folder)
    for other in folder.iterdir():
        if other != whole and other.name.lstrip(".").startswith("state-"):
            shutil.rmtree(other)


def read(folder: Path) -> State | None:
    """The newest whole state below `folder`; None where there is none. Mismatch for one that changed on the disk."""
    steps = sorted(int(p.name.removeprefix("state-")) for p in folder.glob("state-*"))
    if not steps:
        return None
    whole = folder / f"state-{steps[-1]}"
    text = _told(whole)
    if text is None:
        remedy = "Delete this folder: the node then begins anew, and ends with the same bytes."
        raise Mismatch("the kept state has changed since it was written.", where=str(whole), remedy=remedy)
    held = json.loads(text)
    return State(held["step"], load_file(whole / TENSORS), held["facts"], held["seconds"], held["measured"])


def _told(whole: Path) -> str | None:
    """What is told beside the tensors; None where either is not as it was written."""
    try:
        kept = json.loads((whole / FACTS).read_bytes())
        return kept["told"] if kept["sha256"] == _digest(whole, kept["told"]) else None
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _digest(folder: Path, text: str) -> str:
    """Over the tensors and what is told beside them."""
    with (folder / TENSORS).open("rb") as file:
        total = hashlib.file_digest(file, "sha256")
    total.update(text.encode())
    return total.hexdigest()


def sync(path: Path) -> None:
    """Bring a file or a folder's names to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class Keeper:
    """Keeps and restores the state of a loop: trainable weights, optimiser, step, and the method's own `facts`.

    Without `every` a save happens when the time since the last one is 1/`share` times what that one took, so that
    saving costs at most `share` of the run whatever the model's size. When it happens never changes a result.
    """

    def __init__(self, folder: Path, *, every: int | None = None, share: float = 0.02) -> None:
        """Keep states below `folder`, every `every` steps or at `share` of the run's time."""
        self.folder, self.every, self.share = folder, every, share
        self.facts: dict[str, Any] = {}
        """Whatever JSON the method must find again; restored before the loop starts."""
        self.tensors: dict[str, Tensor] = {}
        """The same for tensors."""
        self.measured: dict[str, float] = {}
        """Seconds and counts of the method's own, to go on with after a resume; never read by what is computed."""
        self._next = 0.0
        self._before, self._since = 0.0, time.monotonic()

    @property
    def seconds(self) -> float:
        """Time the kept steps and those since took, over all resumes."""
        return self._before + time.monotonic() - self._since

    def restore(self, model: nn.Module, optimiser: Optimiser) -> int:
        """Load the kept state into model, optimiser and `facts`; the number of steps done, 0 where none is kept."""
        state = read(self.folder)
        self._since = time.monotonic()
        if state is None:
            return 0
        step, tensors, self.facts, self._before, measured = state
        self.measured = dict(measured)
        groups: dict[str, dict[str, Tensor]] = {"model": {}, "optimiser": {}, "own": {}}
        for key, value in tensors.items():
            group, name = key.split("/", 1)
            groups[group][name] = value
        with torch.no_grad():
            for name, p in _trainable(model).items():
                p.copy_(groups["model"][name])
        optimiser.load(groups["optimiser"])
        self.tensors = groups["own"]
        return step

    def keep(self, step: int, model: nn.Module, optimiser: Optimiser, *, last: bool = False) -> bool:
        """Save the state after `step` steps if it is time to, or if it is the last; whether it did."""
        due = step % self.every == 0 if self.every else time.monotonic() >= self._next
        if not (due or last):
            return False
        start = time.monotonic()
        tensors = {f"model/{name}": p for name, p in _trainable(model).items()}
        tensors |= {f"optimiser/{name}": t for name, t in optimiser.tensors().items()}
        tensors |= {f"own/{name}": t for name, t in self.tensors.items()}
        write(self.folder, State(step, tensors, self.facts, self.seconds, self.measured))
        end = time.monotonic()
        self._next = end + (end - start) / self.share
        return True


def _trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    return {name: p for name, p in model.named_parameters() if p.requires_grad}
