"""Views: copies of artifacts' files where people and other tools look; written after a node, read back before a gate.

A view that nobody edited says nothing. An edited one is judged beside the rows, at the worse of the two; one that
says better than the rows is a mismatch; one that cannot be read lets no gate pass.
"""

import errno
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from posttrain.engine.expand import Node
from posttrain.engine.judge import Claim, Reading, told, too_good
from posttrain.engine.judge.recount import recounted_with
from posttrain.engine.judge.stated import changed, equal, parsed
from posttrain.spec.errors import Mismatch, MissingNeed, Stop, UsageError
from posttrain.spec.gate import Gate, Metric, Metrics
from posttrain.spec.recipe import Recipe, viewed
from posttrain.store import ledger
from posttrain.store.artifact import Manifest
from posttrain.store.fingerprint import file_digest
from posttrain.store.ledger import Ledger
from posttrain.store.run import Run, aside
from posttrain.store.scan import FileEntry

State = Literal["missing", "same", "earlier", "edited", "foreign"]
"""A view beside its artifact: `earlier` is as we wrote it of another artifact, `edited` is ours and was changed,
`foreign` is what we never wrote, or of another artifact and changed."""

_ABSENT: Mapping[State, str] = {"missing": "is missing", "earlier": "shows an artifact of before"}

_MALFORMED = (Stop, OSError, ValueError, LookupError, TypeError, ArithmeticError, AttributeError, RuntimeError)
"""What counting with a file that a stranger wrote may raise."""


@dataclass(frozen=True)
class _Window:
    """One view of one artifact."""

    target: str
    """As the recipe names it."""
    path: Path
    name: str
    """Its path as messages and the ledger have it: from the run's folder where it lies there."""
    source: Path
    """The artifact's own file."""
    entry: FileEntry


class _UnreadError(Exception):
    """Why an edited view cannot be judged by."""


class Views:
    """The views of a run."""

    def __init__(self, recipe: Recipe, run: Run) -> None:
        """Know which node has which views; nothing is read yet."""
        self._run, self._paths = run, recipe.paths
        self._asked: dict[str, list[tuple[str, str]]] = {}
        for target, said in recipe.views.items():
            source = viewed(said)
            if source is not None:
                self._asked.setdefault(source.node, []).append((target, source.file))

    def write(self, node: str, made: Manifest, record: Ledger) -> tuple[Stop, ...]:
        """Write what is missing or shows an artifact of before; what somebody else wrote there is kept beside.

        An edited view stays. Gives what could not be written; the artifact is not touched.
        """
        troubles: list[Stop] = []
        for target, file in self._asked.get(node, ()):
            path = self._run.view(target, made.fingerprint, self._paths)
            try:
                self._refresh(node, self._window(target, file, made), record)
            except UsageError as error:
                troubles.append(error)
            except OSError as error:
                remedy = "Free that place, or move the view with [paths], and run again: the artifact is kept."
                what = f"it cannot be written ({error.strerror})."
                troubles.append(MissingNeed(what, where=str(path), remedy=remedy))
            else:
                continue
            record.write("view", node=node, path=self._name(path), digest="", error=troubles[-1].paragraph())
        return tuple(troubles)

    def read(self, node: Node, made: Manifest, gates: Mapping[str, Gate], *, alone: bool = False) -> Reading:
        """What the views of a node say beside its artifact; Mismatch where one says better than the rows.

        `alone`: nobody writes a view that is missing, so no gate passes without it.
        """
        claims: dict[str, list[Claim]] = {}
        unread: list[str] = []
        remarks: dict[tuple[str, str, str], str] = {}
        for target, file in self._asked.get(node.id, ()):
            name = self._name(self._run.view(target, made.fingerprint, self._paths))
            try:
                for metric, claim in self._said(node, made, self._window(target, file, made), alone=alone):
                    _refuse_better(gates, made.metrics, metric, claim)
                    claims.setdefault(metric, []).append(claim)
                    key, rows = (name, metric, told(claim.metric)), told(made.metrics.get(metric))
                    remarks.setdefault(key, f"{claim.by} {metric} {told(claim.metric)}, the rows give {rows}")
            except _UnreadError as why:
                unread.append(f"the view {name} {why}")
            except (IsADirectoryError, NotADirectoryError) as error:
                if alone:
                    unread.append(f"the view {name} cannot be there: {error.strerror}")
            except (UsageError, OSError) as error:
                unread.append(f"the view {name} cannot be read: {getattr(error, 'strerror', '') or error}")
        found = {metric: tuple(given) for metric, given in claims.items()}
        return Reading(found, "; ".join(unread), tuple(remarks.values()))

    @cached_property
    def _written(self) -> dict[str, str]:
        """What was last written at each place: its name → sha256."""
        records = ledger.read(self._run.ledger, ("view",))
        return {str(record.get("path")): str(record["digest"]) for record in records if record.get("digest")}

    def _name(self, path: Path) -> str:
        return path.relative_to(self._run.folder).as_posix() if path.is_relative_to(self._run.folder) else str(path)

    def _window(self, target: str, file: str, made: Manifest) -> _Window:
        entry = next((entry for entry in made.files if entry.name == file), None)
        if entry is None:
            known = ", ".join(entry.name for entry in made.files)
            what = f"the artifact of {made.node} has no file {file}."
            raise UsageError(what, where=f"views.{target}", remedy=f"It has {known}.")
        path = self._run.view(target, made.fingerprint, self._paths)
        return _Window(target, path, self._name(path), self._run.store.artifact(made.fingerprint) / file, entry)

    def _state(self, window: _Window) -> State:
        _refuse_endless(window.path)
        try:
            digest = file_digest(window.path)
        except FileNotFoundError:
            return "missing"
        if digest == window.entry.sha256 or _equal_by_value(window):
            return "same"
        last = self._written.get(window.name)
        return "earlier" if digest == last else "edited" if last == window.entry.sha256 else "foreign"

    def _refresh(self, node: str, window: _Window, record: Ledger) -> None:
        state, mark, beside = self._state(window), window.entry.sha256, dict[str, str]()
        if state == "edited" or (state == "same" and self._written.get(window.name) == mark):
            return
        if state == "foreign":
            kept = aside(window.path)
            window.path.rename(kept)
            beside["aside"] = self._name(kept)
            said = f"{window.name} is not what this run wrote there last: kept as {beside['aside']}"
            record.write("note", node=node, kind="view", text=said, count=1)
        if state != "same":
            _copy(window.source, window.path)
        self._written[window.name] = mark
        record.write("view", node=node, path=window.name, digest=mark, **beside)

    def _said(self, node: Node, made: Manifest, window: _Window, *, alone: bool) -> Iterator[tuple[str, Claim]]:
        """What a view says that its artifact does not."""
        state = self._state(window)
        if state == "edited" or (state == "foreign" and alone):
            yield from _claims(node, made, window, self._run.store.artifact(made.fingerprint))
        elif alone and state in _ABSENT:
            raise _UnreadError(f"{_ABSENT[state]}: `posttrain run` writes it again")


def _refuse_endless(path: Path) -> None:
    """OSError for a pipe or a device: whoever reads one may wait for ever."""
    if path.exists() and not path.is_file() and not path.is_dir():
        raise OSError(errno.ENXIO, "it is no plain file", str(path))


def _claims(node: Node, made: Manifest, window: _Window, folder: Path) -> list[tuple[str, Claim]]:
    """Metrics counted again with an edited view in its file's place, and numbers it states itself."""
    own, data = made.metrics, window.path.read_bytes()
    names = {*own, *(gate.metric for gate in node.gates.values())}
    try:
        counted = recounted_with(node, folder, made, file=window.entry.name, data=data)
        before = _json_or_none(window.source.read_bytes())
        stated = [] if before is None else list(changed(parsed(data), before, names))
    except _MALFORMED as error:
        said = error.what if isinstance(error, Stop) else str(error).partition("\n")[0] or type(error).__name__
        raise _UnreadError(f"was edited and cannot be read: {said}") from error
    lost = {name: Metric(None, f"{window.name} does not give it") for name in own if name not in counted}
    found = [(name, Claim(f"{window.name} says", metric)) for name, metric in stated]
    found += [(name, Claim(f"{window.name} gives", metric)) for name, metric in {**counted, **lost}.items()]
    told_ = [(name, claim) for name, claim in found if not claim.metric.agrees(own.get(name))]
    if not told_:
        raise _UnreadError("was edited, and no metric shows what changed: put it back, or delete it and run again")
    return told_


def _refuse_better(gates: Mapping[str, Gate], own: Metrics, metric: str, claim: Claim) -> None:
    for name, gate in gates.items():
        if gate.metric == metric and too_good(gate, own.get(metric), claim.metric):
            what = f"{claim.by} {metric} {told(claim.metric)}, the rows give {told(own.get(metric))} (gate {name})."
            raise Mismatch(what, remedy="Put the view back as it was, or delete it and run again: it is written anew.")


def _equal_by_value(window: _Window) -> bool:
    """Whether both are JSON and say the same in another layout."""
    try:
        return equal(parsed(window.path.read_bytes()), parsed(window.source.read_bytes()))
    except (ValueError, RecursionError):
        return False


def _json_or_none(data: bytes) -> object:
    try:
        return parsed(data)
    except ValueError:
        return None


def _copy(source: Path, target: Path) -> None:
    """Put a copy at a place, whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_name(f".{target.name}.new")
    try:
        with source.open("rb") as read, fresh.open("wb") as written:
            shutil.copyfileobj(read, written)
            written.flush()
            os.fsync(written.fileno())
        fresh.replace(target)
    finally:
        fresh.unlink(missing_ok=True)
