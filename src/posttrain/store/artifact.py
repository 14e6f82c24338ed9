"""Finished, immutable folders: how they are committed, opened and checked.

An artifact exists once its folder carries a manifest under its fingerprint; before that it is scratch. It holds plain
files in folders, nothing else. Opening one re-digests every file; a run that keeps everything compares names and sizes.
"""

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, ValidationError

from posttrain.spec.errors import Mismatch, MissingNeed, StageFailed, UsageError
from posttrain.spec.gate import Metric
from posttrain.spec.knobs import Closed
from posttrain.spec.stage import Artifact, ArtifactType
from posttrain.store import damage
from posttrain.store.fingerprint import Facts, fingerprint
from posttrain.store.run import MANIFEST, at, is_place, locate
from posttrain.store.scan import GRAIN, STILL, FileEntry, Known, Stamp, digest, scan, stamp, sync_to_disk

FORMAT = 1
"""Version of the manifest's own shape."""


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
    """sha256 over the file with an empty seal: a metric that changed on disk is seen like a file that did."""


class NewerFormat(Mismatch):
    """A manifest that only a newer version reads: nothing is wrong with it."""


class _Format(BaseModel):
    format: int = 0


def manifest(folder: Path) -> Manifest | None:
    """The manifest of an artifact's folder; None where it has none.

    Mismatch for one that cannot be read or has changed.
    """
    try:
        text = (folder / MANIFEST).read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    try:
        made = Manifest.model_validate_json(text)
    except ValidationError as error:
        raise _unreadable(folder, text, error) from error
    if _changed(made, text):
        raise Mismatch(f"{MANIFEST} has changed since it was made.", where=str(folder), remedy=_REBUILD)
    return made


def commit(
    out: Path,
    target: Path,
    describe: Callable[[tuple[FileEntry, ...]], Manifest],
    *,
    replaced: Path,
    known: Known | None = None,
) -> Manifest:
    """Turn a finished `out` into the artifact `target`: manifest last, sealed, then one rename; the manifest written.

    `describe` makes the manifest of the files; a file that changes before the rename is digested again. An artifact
    that is there already goes to `replaced` first. Files whose stamps are `known` are not read.
    """
    with _disk(target):
        damage.only_files(out)
        scanned = scan(out, sync=True, known=known)
        sealed = _seal_in(out, describe(scanned.entries))
        if not scanned.holds(out):
            scanned = scan(out, sync=True, known=scanned.known)
            sealed = _seal_in(out, describe(scanned.entries))
        if not scanned.holds(out):
            raise StageFailed("its files are still being written.", where=str(out), remedy=STILL)
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            shutil.rmtree(replaced, ignore_errors=True)
            target.rename(replaced)
        out.rename(target)
        sync_to_disk(target.parent)
    return sealed


def glance(folder: Path) -> Manifest | None:
    """The manifest of an artifact whose facts hold and whose files have their sizes; None where there is no folder.

    The check of a run that keeps everything. Mismatch naming the first damage.
    """
    return _whole(folder, damage.outline, node="") if folder.is_dir() else None


def verify(folder: Path) -> tuple[str, ...]:
    """Every damage of an artifact: its manifest changed; a file or folder changed, missing, added or made a link."""
    if not folder.is_dir():
        return ("its folder is gone",)
    try:
        made = manifest(folder)
    except Mismatch as error:
        return (error.what,)
    return tuple(damage.all_of(folder, made.files)) if made else (f"{MANIFEST} is missing",)


def opened(folder: Path, *, node: str, axes: Mapping[str, str], known: dict[Stamp, str] | None = None) -> Artifact:
    """An artifact as a stage sees it, every file re-digested; Mismatch naming the file that changed.

    `known` learns the digests that were found.
    """
    before = time.time() - GRAIN
    made = _whole(folder, damage.all_of, node=node)
    if known is not None:
        told = {stamp(folder / entry.name): entry.sha256 for entry in made.files}
        known.update({found: sha256 for found, sha256 in told.items() if found.time < before * 1e9})
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
    if not is_place(folder.resolve()) and not _is_artifact(folder):
        type, entries = _type(folder), scan(folder).entries
        found = Artifact(
            node=str(path),
            type=type,
            path=folder,
            digest=digest(entries),
            files=tuple(e.name for e in entries),
        )
    else:
        made = _whole(folder, damage.contents, node=str(path))
        found = seen(folder, made, node=str(path), axes=made.axes)
    if expected and found.digest != expected.removeprefix("sha256:"):
        raise Mismatch(
            f"its digest is {found.digest}, the recipe says {expected}.",
            where=str(path),
            remedy="Give the folder that the recipe means, or its new digest.",
        )
    return found


_REBUILD = "Restore it from a copy, or make it again: `posttrain run … --again` with the name of its stage."


Check = Callable[[Path, tuple[FileEntry, ...]], Iterable[str]]
"""Says what is wrong with a folder that is to hold these files."""


def _whole(folder: Path, check: Check, *, node: str) -> Manifest:
    """The manifest of a folder in which a check finds nothing; Mismatch naming the first damage."""
    made = manifest(folder)
    if made is None:
        raise Mismatch(f"{MANIFEST} is missing.", where=str(folder), remedy=_REBUILD)
    first = next(iter(check(folder, made.files)), "")
    if first:
        raise Mismatch(f"{first} since it was made.", where=f"{node or made.node} ({folder})", remedy=_REBUILD)
    return made


def _seal_in(out: Path, made: Manifest) -> Manifest:
    """Write the manifest, sealed, and bring it and the folders to the disk."""
    sealed = made.model_copy(update={"seal": hashlib.sha256(_text(made.model_copy(update={"seal": ""}))).hexdigest()})
    with (out / MANIFEST).open("wb") as file:
        file.write(_text(sealed))
        file.flush()
        os.fsync(file.fileno())
    for folder in sorted({(out / entry.name).parent for entry in made.files} | {out}):
        sync_to_disk(folder)
    return sealed


def _text(made: Manifest) -> bytes:
    return made.model_dump_json(indent=1).encode() + b"\n"


def _changed(made: Manifest, text: bytes) -> bool:
    """Whether any byte is another than when it was sealed: the seal is over the text with an empty seal in it."""
    head, seal, tail = text.rpartition(f'"seal": "{made.seal}"'.encode())
    sealed = bool(seal) and hashlib.sha256(head + b'"seal": ""' + tail).hexdigest() == made.seal
    return not sealed or fingerprint(made.facts) != made.fingerprint or digest(made.files) != made.digest


def _is_artifact(folder: Path) -> bool:
    """Whether the folder's `manifest.json` is ours, be it damaged: other tools use that name too."""
    try:
        text = (folder / MANIFEST).read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return False
    return sum(key in text for key in (b'"fingerprint"', b'"facts"', b'"seal"')) > 1


def _type(folder: Path) -> ArtifactType:
    run = at(folder)
    if run.recipe.is_file() and run.ledger.is_file():
        nodes = ", ".join(run.current_nodes()) or "none yet"
        raise UsageError("this folder is a whole run.", where=str(folder), remedy=f"Name one of its nodes: {nodes}.")
    if any((folder / name).is_file() for name in ("config.json", "adapter_config.json")) or _weighs(folder):
        return "model"
    if any(folder.glob("*.jsonl")):
        return "data"
    raise UsageError(
        "this folder is no artifact, no model (config.json) and no data (*.jsonl).",
        where=str(folder),
        remedy="Give the folder that holds these files itself.",
    )


def _weighs(folder: Path) -> bool:
    """Whether it holds weights: a model without its config is a damaged model, and no data."""
    return any(folder.glob("*.safetensors"))


def _unreadable(folder: Path, text: bytes, error: ValidationError) -> Mismatch:
    try:
        newer = _Format.model_validate_json(text).format > FORMAT
    except ValidationError:
        newer = False
    if newer:
        return NewerFormat(f"{MANIFEST} was made by a newer posttrain.", where=str(folder), remedy="Update posttrain.")
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"]))
    return Mismatch(f"{MANIFEST} cannot be read ({where}: {first['msg']}).", where=str(folder), remedy=_REBUILD)


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
