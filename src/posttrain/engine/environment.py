"""The machine and the versions that a result depends on, and whether unfinished work may go on here."""

import importlib.metadata
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any, cast

import posttrain
from posttrain.engine.machine import accelerator, processor
from posttrain.spec.knobs import Resources


def environment(resources: Resources) -> dict[str, Any]:
    """The machine and the versions that a result depends on."""
    return {
        "posttrain": posttrain.__version__,
        "python": platform.python_version(),
        "torch": importlib.metadata.version("torch"),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": resources.cpus,
        "device": _device(resources.device),
    }


def _device(asked: str) -> str:
    torch = sys.modules.get("torch")
    if asked != "auto" or torch is None:
        return "cpu" if asked == "auto" else asked
    return "cuda" if torch.cuda.is_available() else "cpu"


def conditions(resources: Resources) -> dict[str, str | int]:
    """What the bits of unfinished work depend on beside its facts; the same in every process of one machine."""
    return {
        "device": accelerator(resources.device) or "cpu",
        "cpus": resources.cpus,
        "compute": resources.compute,
        "programs": "computed" if resources.sandbox == "none" else "run",
        "torch": importlib.metadata.version("torch"),
        "machine": platform.machine(),
        "processor": processor(),
    }


def anew(record: Path, resources: Resources) -> str:
    """Why work that was begun under the conditions on record cannot go on here; empty where it can."""
    now = conditions(resources)
    try:
        before: Any = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        before = None
    if not isinstance(before, dict):
        return "under which resources it was begun is not on record"
    before = cast("dict[str, Any]", before)
    return ", ".join(f"{key} {before.get(key)} → {now[key]}" for key in now if before.get(key) != now[key])


def record_conditions(record: Path, resources: Resources) -> None:
    """Leave on record what the work that begins depends on."""
    record.parent.mkdir(parents=True, exist_ok=True)
    fresh = record.with_suffix(".new")
    fresh.write_text(json.dumps(conditions(resources)), encoding="utf-8")
    fresh.replace(record)
