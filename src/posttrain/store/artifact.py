"""Finished, immutable folders: how they are committed, opened and checked.

An artifact exists once its folder carries a manifest under its fingerprint; before that it is scratch. Opening one
re-digests every file; a run that keeps everything compares sizes only.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, ValidationError

from posttrain.spec.errors import Mismatch, MissingNeed, UsageError
from posttrain.spec.gate import Metric
from posttrain.spec.knobs import Closed
from posttrain.spec.stage import Artifact, ArtifactType
from posttrain.store.fingerprint import Facts, canonical, content_digest, file_digest, fingerprint
from posttrain.store.run import MANIFEST, at, locate

FORMAT = 1
"""Version of the manifest's own shape."""


class FileEntry(Closed):
    """One file of an artifact."""

    name: str
    """Path below the artifact, with slashes."""
    sha256: str
    size: int


class Remark(Closed):
    """Something a stage noted, counted."""

    kind: str
    text: str
    count: int = 1


class Manifest(Closed):
    """What proves where an artifact came from."""

    format: Literal[1] = FORMAT
    node: str
    kind: str
    type: ArtifactType
    fingerprint: str
    digest: str
    """Content digest: over the files, not over this manifest."""
    facts: Facts
    axes: dict[str, str] = Field(default_factory=dict)
    files: tuple[FileEntry, ...]
    metrics: dict[str, Metric] = Field(default_factory=dict)
    remarks: tuple[Remark, ...] = ()
    measured: dict[str, Any] = Field(default_factory=dict)
    """Times, memory, rates, environment: nothing here is a function of the bytes."""
    seal: str = ""
    """sha256 over all of the above: a metric that changed on disk is seen like a file that did."""


class _Format(BaseModel):
    format: int = 0


def manifest(folder: Path) -> Manifest | None:
    """The manifest of an artifact's folder; None where it has none. Mismatch for one that cannot be read."""
    try:
        text = (folder / MANIFEST).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        return Manifest.model_validate_json(text)
    except ValidationError as error:
        raise _unreadable(folder, text, error) from error


def scan(folder: Path, *, sync: bool = False) -> tuple[FileEntry, ...]:
    """Every file below a folder but its manifest, digested; `sync` brings them to the disk."""
    entries: list[FileEntry] = []
    for name in _names(folder):
        path = folder / name
        entries.append(FileEntry(name=name, sha256=file_digest(path), size=path.stat().st_size))
        if sync:
            _sync(path)
    return tuple(entries)


def digest(files: Iterable[FileEntry]) -> str:
    """The content digest over files."""
    return content_digest((file.name, file.sha256, file.size) for file in files)


def commit(out: Path, target: Path, made: Manifest, *, replaced: Path) -> Manifest:
    """Turn a finished `out` into the artifact `target`: manifest last, sealed, then one rename; the manifest written.

    An artifact that is there already goes to `replaced` first.
    """
    sealed = made.model_copy(update={"seal": _seal(made)})
    with _disk(target):
        text = sealed.model_dump_json(indent=1).encode() + b"\n"
        with (out / MANIFEST).open("wb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        for folder in sorted({(out / entry.name).parent for entry in made.files} | {out}):
            _sync(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            shutil.rmtree(replaced, ignore_errors=True)
            target.rename(replaced)
        out.rename(target)
        _sync(target.parent)
    return sealed


def glance(folder: Path) -> Manifest | None:
    """The manifest of an artifact whose facts hold and whose files have their sizes; None where there is no folder.

    The check of a run that keeps everything. Mismatch naming the first damage.
    """
    if not folder.is_dir():
        return None
    made = manifest(folder)
    if made is None:
        raise Mismatch(f"{MANIFEST} is missing.", where=str(folder), remedy=_REBUILD)
    damage = _changed(made) or next((said for entry in made.files if (said := _size_damage(folder, entry))), "")
    if damage:
        raise Mismatch(f"{damage} since it was made.", where=f"{made.node} ({folder})", remedy=_REBUILD)
    return made


def verify(folder: Path) -> tuple[str, ...]:
    """Every damage of an artifact: facts that give another fingerprint, files changed, missing or extra."""
    try:
        made = manifest(folder)
    except Mismatch as error:
        return (error.what,)
    if made is None:
        return (f"{MANIFEST} is missing",)
    return tuple(_damages(folder, made))


def opened(folder: Path, *, node: str, axes: Mapping[str, str]) -> Artifact:
    """An artifact as a stage sees it, every file re-digested; Mismatch naming the file that changed."""
    made = manifest(folder)
    if made is None:
        raise Mismatch(f"{MANIFEST} is missing.", where=str(folder), remedy=_REBUILD)
    damage = next(_damages(folder, made), None)
    if damage:
        raise Mismatch(f"{damage} since it was made.", where=f"{node} ({folder})", remedy=_REBUILD)
    return seen(folder, made, node=node, axes=axes)


def seen(folder: Path, made: Manifest, *, node: str, axes: Mapping[str, str]) -> Artifact:
    """An artifact as its manifest describes it, its files not checked."""
    return Artifact(
        node=node,
        type=made.type,
        path=folder,
        digest=made.digest,
        kind=made.kind,
        axes=dict(axes),
        knobs=made.facts.knobs,
        metrics=made.metrics,
        files=tuple(entry.name for entry in made.files),
    )


def adopted(path: Path, expected: str | None = None) -> Artifact:
    """The user's own folder, or `RUN/NODE`, as an input: recognised by its files and digested.

    UsageError where there is none or it is of no known type; Mismatch where its digest is not the one expected.
    """
    folder = locate(path)
    made = manifest(folder) if _is_artifact(folder) else None
    if made is None:
        type, entries = _type(folder), scan(folder)
        found = Artifact(
            node=str(path),
            type=type,
            path=folder,
            digest=digest(entries),
            files=tuple(e.name for e in entries),
        )
    else:
        found = opened(folder, node=str(path), axes=made.axes)
    if expected and found.digest != expected.removeprefix("sha256:"):
        raise Mismatch(
            f"its digest is {found.digest}, the recipe says {expected}.",
            where=str(path),
            remedy="Give the folder that the recipe means, or its new digest.",
        )
    return found


_REBUILD = "Restore it from a copy, or make it again: `posttrain run … --again` with the name of its stage."


def _damages(folder: Path, made: Manifest) -> Iterator[str]:
    if _changed(made):
        yield _changed(made)
    for entry in made.files:
        damage = _size_damage(folder, entry)
        if damage:
            yield damage
        elif file_digest(folder / entry.name) != entry.sha256:
            yield f"{entry.name} has changed"
    known = {entry.name for entry in made.files}
    yield from (f"{name} was added" for name in _names(folder) if name not in known)


def _changed(made: Manifest) -> str:
    whole = fingerprint(made.facts) == made.fingerprint and digest(made.files) == made.digest
    sealed = made.seal in ("", _seal(made))
    return "" if whole and sealed else f"{MANIFEST} has changed"


def _seal(made: Manifest) -> str:
    """Over the manifest as it is read back."""
    return hashlib.sha256(canonical(json.loads(made.model_dump_json(exclude={"seal"})))).hexdigest()


def _size_damage(folder: Path, entry: FileEntry) -> str:
    try:
        size = (folder / entry.name).stat().st_size
    except OSError:
        return f"{entry.name} is missing"
    return "" if size == entry.size else f"{entry.name} has changed ({entry.size} → {size} bytes)"


def _names(folder: Path) -> list[str]:
    """Every file below a folder but its own manifest, in order of name."""
    found: list[str] = []
    for below, _, files in os.walk(folder, followlinks=True):
        found += [(Path(below) / name).relative_to(folder).as_posix() for name in files]
    return sorted(name for name in found if name != MANIFEST and (folder / name).is_file())


def _is_artifact(folder: Path) -> bool:
    """Whether the folder's `manifest.json` is ours: other tools use that name too."""
    try:
        return b'"fingerprint"' in (folder / MANIFEST).read_bytes()
    except OSError:
        return False


def _type(folder: Path) -> ArtifactType:
    run = at(folder)
    if run.recipe.is_file() and run.ledger.is_file():
        nodes = ", ".join(run.current_nodes()) or "none yet"
        raise UsageError("this folder is a whole run.", where=str(folder), remedy=f"Name one of its nodes: {nodes}.")
    if (folder / "config.json").is_file():
        return "model"
    if any(folder.glob("*.jsonl")):
        return "data"
    raise UsageError(
        "this folder is no artifact, no model (config.json) and no data (*.jsonl).",
        where=str(folder),
        remedy="Give the folder that holds these files itself.",
    )


def _unreadable(folder: Path, text: bytes, error: ValidationError) -> Mismatch:
    try:
        newer = _Format.model_validate_json(text).format > FORMAT
    except ValidationError:
        newer = False
    if newer:
        return Mismatch(f"{MANIFEST} was made by a newer posttrain.", where=str(folder), remedy="Update posttrain.")
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"]))
    return Mismatch(f"{MANIFEST} cannot be read ({where}: {first['msg']}).", where=str(folder), remedy=_REBUILD)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _disk(target: Path) -> Generator[None]:
    """Turns a disk that refuses into an error that says so."""
    try:
        yield
    except OSError as error:
        raise MissingNeed(
            f"the artifact cannot be written ({error.strerror}).",
            where=str(target),
            remedy="Free space or give a folder that can be written, and run the same command: the work is kept.",
        ) from error
