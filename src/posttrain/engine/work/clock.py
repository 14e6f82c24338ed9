"""What a node took: time, memory and attempts, over all attempts at it."""

import json
import platform
import resource
import time
from pathlib import Path
from typing import Any, cast

from posttrain.store.run import put

SAVED = 1.0
"""Seconds between two records of the time spent: what a kill may lose of the count."""


class Clock:
    """What a node took, over all attempts at it."""

    def __init__(self, path: Path) -> None:
        """Go on counting where the attempts before stopped; `path` keeps the count."""
        self._path, self._saved = path, 0.0
        self._before = _read_time(path)
        self._wall, self._cpu = time.monotonic(), _cpu_seconds()

    def note(self) -> None:
        """Keep the count, at most once a second."""
        if time.monotonic() - self._saved >= SAVED:
            self._saved = time.monotonic()
            self.keep()

    def keep(self) -> None:
        """Keep the count as it is now."""
        put(self._path, json.dumps(self.total()))

    def total(self) -> dict[str, Any]:
        """Seconds, bytes at the peak, and attempts."""
        before = self._before
        return {
            "wall_s": round(before.get("wall_s", 0.0) + time.monotonic() - self._wall, 3),
            "cpu_s": round(before.get("cpu_s", 0.0) + _cpu_seconds() - self._cpu, 3),
            "peak_memory": max(before.get("peak_memory", 0), _peak_bytes()),
            "attempts": before.get("attempts", 0) + 1,
        }


def seconds_before(path: Path) -> float:
    """Wall-clock seconds that earlier attempts at a node took, as its clock kept them."""
    return float(_read_time(path).get("wall_s", 0.0))


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
