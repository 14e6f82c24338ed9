"""Where everything lies: the only file that builds a path of a run, its store, its artifacts.

RUN/ledger.jsonl  recipe.json  account.json  lock  report.html  logs/STAGE.MEMBER.log
RUN/nodes/STAGE.MEMBER  ->  STORE/artifacts/FINGERPRINT/  (+ manifest.json)
RUN/store               ->  STORE, where that is another folder
RUN/TARGET              a view, or FOLDER/TARGET where [paths] moves it; TARGET.edited is one kept beside
STORE/scratch/FINGERPRINT/{out,work,time.json,account.json,conditions.json}  cache/NAME  locks/FINGERPRINT
"""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path, PurePosixPath
from typing import Any, cast

from posttrain.spec.errors import MissingNeed, UsageError
from posttrain.spec.recipe import FORMAT

MANIFEST = "manifest.json"
"""The file that makes a folder an artifact; written last."""


@dataclass(frozen=True)
class Store:
    """The folder that artifacts, unfinished work and caches lie in."""

    root: Path

    def artifact(self, fingerprint: str) -> Path:
        """The folder of a finished artifact."""
        return self.root / "artifacts" / fingerprint

    def out(self, fingerprint: str) -> Path:
        """Where a node makes what becomes the artifact."""
        return self.scratch(fingerprint) / "out"

    def work(self, fingerprint: str) -> Path:
        """What a node keeps to resume from."""
        return self.scratch(fingerprint) / "work"

    def time(self, fingerprint: str) -> Path:
        """The record of what earlier attempts at a node took."""
        return self.scratch(fingerprint) / "time.json"

    def account(self, fingerprint: str) -> Path:
        """What the attempts at a node spent."""
        return self.scratch(fingerprint) / "account.json"

    def conditions(self, fingerprint: str) -> Path:
        """The resources that the unfinished work of a node was begun under."""
        return self.scratch(fingerprint) / "conditions.json"

    def replaced(self, fingerprint: str) -> Path:
        """Where an artifact goes when the same facts are worked again."""
        return self.scratch(fingerprint) / "replaced"

    def scratch(self, fingerprint: str) -> Path:
        """Everything of an unfinished node."""
        return self.root / "scratch" / fingerprint

    def dropped(self, fingerprint: str) -> Path:
        """Where unfinished work goes to be removed: what is half removed is never taken for work to go on with."""
        return self.root / "scratch" / f".{fingerprint}"

    def cache(self, name: str) -> Path:
        """A folder that outlives nodes."""
        return self.root / "cache" / name

    def lock(self, fingerprint: str) -> Path:
        """The lock of whoever makes that artifact."""
        return self.root / "locks" / fingerprint


@dataclass(frozen=True)
class Run:
    """A folder with one recipe's ledger, nodes and report, and the store its artifacts lie in."""

    folder: Path
    store: Store

    @property
    def ledger(self) -> Path:
        """The append-only record of what happened."""
        return self.folder / "ledger.jsonl"

    @property
    def recipe(self) -> Path:
        """The resolved recipe."""
        return self.folder / "recipe.json"

    @property
    def lock(self) -> Path:
        """The lock of the process that drives this run."""
        return self.folder / "lock"

    @property
    def account(self) -> Path:
        """What the run spent for good, over all its invocations."""
        return self.folder / "account.json"

    @property
    def report(self) -> Path:
        """The page to read or send."""
        return self.folder / "report.html"

    @property
    def nodes(self) -> Path:
        """The folder of pointers, one per node."""
        return self.folder / "nodes"

    def log(self, node: str) -> Path:
        """What a node printed."""
        return self.folder / "logs" / f"{file_name(node)}.log"

    def pointer(self, node: str) -> Path:
        """The link to a node's current artifact."""
        return self.nodes / file_name(node)

    def current(self, node: str) -> str | None:
        """The fingerprint of a node's current artifact; None where nothing was made."""
        try:
            return self.pointer(node).readlink().name
        except OSError:
            return None

    def current_nodes(self) -> tuple[str, ...]:
        """Every node that has a current artifact."""
        links = sorted(link.name for link in self.nodes.iterdir()) if self.nodes.is_dir() else []
        return tuple(node_id(name) for name in links if not name.startswith("."))

    def point(self, node: str, fingerprint: str) -> None:
        """Make an artifact the current one of a node, atomically."""
        target, link = self.store.artifact(fingerprint), self.pointer(node)
        if link.is_symlink() and link.exists() and link.resolve() == target.resolve():
            return
        link.parent.mkdir(parents=True, exist_ok=True)
        fresh = link.with_name(f".{link.name}.{os.getpid()}")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(_from(link.parent, target, inside=self.folder))
        fresh.replace(link)

    def tidy(self) -> None:
        """Remove pointers that a kill left half made; for the process that drives this run."""
        for link in self.nodes.glob(".*"):
            link.unlink(missing_ok=True)

    def view(self, target: str, fingerprint: str, paths: Mapping[str, str]) -> Path:
        """Where a view lies: below this folder, or below the folder that `[paths]` puts for its first one."""
        first, *rest = PurePosixPath(target).parts
        moved = Path(paths[first]) if rest and first in paths else self.folder / first
        return Path(str(moved.joinpath(*rest)).replace("{fp}", fingerprint[:8]))

    def remember_store(self) -> None:
        """Leave a link to a store that is another folder, so that the work of nodes and later commands find it."""
        link = self.folder / "store"
        root = self.store.root.resolve()
        if link.is_symlink() and link.resolve() != root:
            link.unlink()
        if root != self.folder.resolve() and not os.path.lexists(link):
            link.symlink_to(root)


def at(folder: Path, store: Path | None = None) -> Run:
    """The run in a folder; its store is the one given, else the one it remembers, else the folder itself."""
    known = folder / "store"
    if store is None and known.is_symlink():
        store = known.resolve()
    return Run(folder, Store(store or folder))


def wanted(folder: Path, store: Path | None = None) -> Run:
    """The run that a folder has or shall have.

    UsageError where something else stands there; MissingNeed where the store that it remembers is gone.
    """
    for place in (folder, *((store,) if store else ())):
        _check_place(place)
    run = at(folder, store)
    strange = _strange(run)
    if strange and run.recipe.exists():
        raise UsageError(strange, where=str(run.recipe), remedy="Give this run another folder with --run.")
    if store is None and run.current_nodes() and not run.store.root.exists():
        remedy = "Bring it back (a disk that is not mounted?), or say where it lies now with --store."
        raise MissingNeed("the store of this run is gone.", where=str(run.store.root), remedy=remedy)
    _check_layout(run)
    return run


def existing(folder: Path) -> Run:
    """The run in a folder that has one; UsageError where there is none."""
    run = at(folder)
    strange = _strange(run)
    if strange:
        raise UsageError(strange, where=str(folder), remedy="Name a folder that `posttrain run` made.")
    return run


def _check_place(folder: Path) -> None:
    """UsageError where no folder can be made at a path."""
    name, remedy = repr(str(folder)[:40]), "Give another folder with --run or --store."
    try:
        there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    except OSError as error:
        raise UsageError(f"no folder can have this name ({error.strerror}).", where=name, remedy=remedy) from error
    if "\0" in str(folder):
        raise UsageError("no folder can have this name (it holds a null byte).", where=name, remedy=remedy)
    if not there.is_dir():
        raise UsageError("this is a file, and a folder is needed here.", where=str(there), remedy=remedy)


def _check_layout(run: Run) -> None:
    """MissingNeed where a file stands in place of a folder of ours, or a folder in place of a file or a link."""
    folders = [run.store.root / name for name in ("artifacts", "scratch", "cache", "locks")]
    folders += [run.nodes, run.folder / "logs"]
    for path in folders:
        if path.exists() and not path.is_dir():
            raise _in_the_way(path, "file", "folder")
    links = map(run.pointer, run.current_nodes())
    for path in (run.ledger, run.lock, run.report, run.account, *links):
        if path.is_dir() and not path.is_symlink():
            raise _in_the_way(path, "folder", "link" if path.parent == run.nodes else "file")


def _in_the_way(path: Path, here: str, needed: str) -> MissingNeed:
    remedy = "Move it away, then give the same command again: what is finished is kept."
    return MissingNeed(f"this is a {here}, and a {needed} is needed here.", where=str(path), remedy=remedy)


def _strange(run: Run) -> str:
    """Why a folder's recipe.json is not the record of a run; empty where it is."""
    try:
        found = json.loads(run.recipe.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return "there is no run here (no recipe.json)."
    except (IsADirectoryError, ValueError, RecursionError):
        return "recipe.json is not the record of a run."
    told = cast("dict[str, Any]", found) if isinstance(found, dict) else {}
    if not isinstance(told.get("stage"), dict) or "format" not in told:
        return "recipe.json is not the record of a run."
    if told["format"] != FORMAT:
        return f"this run was made in format {told['format']}, and this program reads format {FORMAT}."
    return ""


def newest(folder: Path) -> Path | None:
    """The run whose ledger was written last: the folder itself, or one below its `runs/`; None where there is none."""
    found = [run for run in (at(folder), *map(at, folder.glob("runs/*"))) if run.recipe.is_file()]
    told = [run for run in found if run.ledger.is_file()]
    return max(told, key=lambda run: run.ledger.stat().st_mtime_ns).folder if told else None


def run_of(path: Path) -> Run | None:
    """The run that `RUN/NODE` lies in; None where the path names a folder of its own."""
    return next((at(folder) for folder in path.parents if at(folder).recipe.is_file()), None)


def is_place(folder: Path) -> bool:
    """Whether a folder lies where a store keeps artifacts."""
    return folder.parent.name == "artifacts" and re.fullmatch("[0-9a-f]{64}", folder.name) is not None


def put(path: Path, text: str) -> None:
    """Write a file whole or leave what is there; OSError names the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.new")
    try:
        fresh.write_text(text, encoding="utf-8", errors="backslashreplace")
        fresh.replace(path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def holds_files(folder: Path) -> bool:
    """Whether there is a file anywhere below a folder."""
    return any(files for _, _, files in os.walk(folder))


def neighbour(artifact: Path, fingerprint: str) -> Path:
    """Another artifact of the store that an artifact's folder lies in."""
    return artifact.parent / fingerprint


def aside(path: Path) -> Path:
    """Where a file that is not ours to write over goes: `x.json.edited`, or the next such name that is free."""
    names = (path.with_name(f"{path.name}.edited{f'-{number}' if number > 1 else ''}") for number in count(1))
    return next(name for name in names if not os.path.lexists(name))


def file_name(node: str) -> str:
    """A node's name as a file: `probe/algebra` is `probe.algebra`."""
    return node.replace("/", ".", 1)


def node_id(name: str) -> str:
    """The node of a file name: `probe.algebra` is `probe/algebra`."""
    return name.replace(".", "/", 1)


def locate(path: Path) -> Path:
    """The folder that a path or `RUN/NODE` means; UsageError where there is none."""
    if path.is_dir():
        return path
    for run in path.parents:
        pointer = at(run).pointer(path.relative_to(run).as_posix())
        if pointer.is_dir():
            return pointer.resolve()
    raise UsageError(
        "there is no such folder.", where=str(path), remedy="Give a folder, or RUN/NODE of a finished node."
    )


def _from(folder: Path, target: Path, *, inside: Path) -> Path:
    """The target as a link in a folder holds it: relative where both lie in one tree, so that the tree can move."""
    folder, target, inside = folder.resolve(), target.resolve(), inside.resolve()
    return Path(os.path.relpath(target, folder)) if target.is_relative_to(inside) else target
