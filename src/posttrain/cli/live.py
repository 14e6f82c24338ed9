"""What a run shows while it goes: one line per event in a log, bars on a terminal."""

import sys
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast

import typer

from posttrain.reports import wording
from posttrain.reports.story import VERDICT_WORDS

if TYPE_CHECKING:
    from rich.progress import TaskID

Record = Mapping[str, Any]

EVERY = 20.0
"""Seconds between two lines on the progress of one node in a log."""
WIDEST = 120
"""Characters of a line's text; the ledger has it whole."""
_WATCHED = ("reward", "loss", "pass@1")
"""The number of a step that is shown, the first that there is."""


class Live:
    """Hears the ledger's records of one run; this one says nothing."""

    @staticmethod
    def of(*, quiet: bool) -> "Live":
        """Silence, bars where the output is a terminal, else lines."""
        if quiet:
            return Live()
        return Bars() if sys.stdout.isatty() else Lines()

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close, whatever happened."""
        self.close()

    def hear(self, record: Record) -> None:
        """One record, as soon as it is written."""

    def close(self) -> None:
        """The run is over."""


class Lines(Live):
    """One line per event that a reader of a log wants to know of."""

    def __init__(self, write: Callable[[str], None] = typer.echo) -> None:
        """`write` takes a line."""
        self._write = write
        self._began: float | None = None
        self._told: dict[str, float] = {}
        self._width = 0
        self.latest: dict[str, str] = {}

    def hear(self, record: Record) -> None:
        """Tell it where it is worth a line."""
        node, event = str(record.get("node", "")), record["event"]
        self._began = float(record["t"]) if self._began is None else self._began
        if event == "plan":
            self._width = max((len(decision["node"]) for decision in record["decisions"]), default=0)
        if event == "step":
            self.latest[node] = watched(cast(Record, record.get("metrics") or {}))
        elif event == "progress":
            self._progress(record, node)
        elif told := told_of(record, self._width):
            self._line(record, told)

    def _progress(self, record: Record, node: str) -> None:
        now = float(record["t"])
        if now - self._told.setdefault(node, now) >= EVERY:
            self._told[node] = now
            self._line(record, f"{'':8}{node:{self._width}}  {reached(record)}{self.latest.get(node, '')}")

    def _line(self, record: Record, told: str) -> None:
        past = max(0, int(float(record["t"]) - (self._began or 0.0)))
        self._write(f"{past // 60:3}:{past % 60:02}  {told}")


class Bars(Live):
    """Running nodes as bars below the lines of what is done."""

    def __init__(self) -> None:
        """Draw on standard output."""
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        told = TextColumn("{task.fields[told]}")
        columns = (TextColumn("{task.description}"), BarColumn(32), told, TimeElapsedColumn())
        self._bars: Progress = Progress(*columns, refresh_per_second=4)
        self._lines = Lines(self._above)
        self._tasks: dict[str, TaskID] = {}
        self._bars.start()

    def hear(self, record: Record) -> None:
        """Move the bar of a node, or tell a line above the bars."""
        node, event = str(record.get("node", "")), record["event"]
        if event == "node_started":
            self._tasks[node] = self._bars.add_task(node, total=None, told="")
        elif event == "progress" and node in self._tasks:
            told = f"{reached(record)}{self._lines.latest.get(node, '')}"
            self._bars.update(self._tasks[node], completed=record["done"], total=record["total"], told=told)
            return
        elif event in ("node_finished", "node_failed") and node in self._tasks:
            self._bars.remove_task(self._tasks.pop(node))
        self._lines.hear(record)

    def close(self) -> None:
        """Take the bars away."""
        self._bars.stop()

    def _above(self, told: str) -> None:
        self._bars.console.print(told, markup=False, highlight=False, soft_wrap=True)


def told_of(record: Record, width: int = 0) -> str:
    """The line of an event, the node padded to a width; empty where it has none."""
    event, node = str(record["event"]), str(record.get("node", ""))
    reader = _READERS.get(event)
    told = reader(record) if reader else None
    if told is None:
        return ""
    word, text = told
    about = f"{wording.line(node):{width}}  " if node else ""
    shown = wording.line(text)
    whole = len(shown) <= WIDEST or record.get("kind") == "hang"  # where a node stands is told to the end
    return f"{word:8}{about}{shown if whole else shown[: WIDEST - 1] + '…'}".rstrip()


def reached(record: Record) -> str:
    """How far a node is: `120 of 600 steps`."""
    return wording.line(f"{record.get('done')} of {record.get('total')} {record.get('unit', '')}")


def watched(metrics: Record) -> str:
    """The number of a step worth watching: `, loss 1.23`."""
    name = next((name for name in _WATCHED if isinstance(metrics.get(name), int | float)), None)
    return f", {name} {wording.number(float(metrics[name]))}" if name else ""


def _began(record: Record) -> tuple[str, str]:
    profiles = " + ".join(record.get("profiles") or ()) or "none"
    jobs = record.get("jobs", 1)
    at_a_time = f"{wording.counted(jobs, 'node')} at a time"
    return "run", f"{record.get('recipe')}: profiles {profiles}, seed {record.get('seed')}, {at_a_time}"


def _plan(record: Record) -> tuple[str, str]:
    actions = [decision["action"] for decision in record["decisions"]]
    said = ", ".join(f"{actions.count(a)} {a}" for a in ("run", "maybe", "keep", "blocked") if a in actions)
    return "plan", f"{wording.counted(len(actions), 'node')}: {said}"


def _started(record: Record) -> tuple[str, str]:
    again = f" (attempt {record['attempt']})" if record.get("attempt", 1) > 1 else ""
    return "start", "; ".join(record.get("reasons") or ()) + again


def _finished(record: Record) -> tuple[str, str]:
    wall = cast(Record, record.get("measured") or {}).get("wall_s")
    return "done", wording.seconds(wall) if wall is not None else ""


def _failed(record: Record) -> tuple[str, str]:
    return ("retry" if record.get("again") else "FAILED"), str(record.get("what", ""))


def _blocked(record: Record) -> tuple[str, str]:
    return "blocked", "; ".join(record.get("reasons") or ())


def _verdict(record: Record) -> tuple[str, str] | None:
    if record["value"] in ("pass", "not_run"):
        return None
    warn = ", a warning" if record.get("severity") == "warn" else ""
    warn += ", waived" if record.get("waived") else ""
    return "gate", f"{record['gate']}: {VERDICT_WORDS[record['value']]}{warn}: {record.get('reason', '')}"


def _noted(record: Record) -> tuple[str, str]:
    count = record.get("count", 1)
    return "note", f"{record.get('text', '')}{f' ({wording.count(count)})' if count > 1 else ''}"


_READERS: Mapping[str, Callable[[Record], tuple[str, str] | None]] = {
    "run_started": _began,
    "plan": _plan,
    "node_started": _started,
    "node_finished": _finished,
    "node_failed": _failed,
    "node_blocked": _blocked,
    "verdict": _verdict,
    "note": _noted,
}
