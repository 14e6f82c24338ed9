"""What is in a folder: every file digested while the disk takes it, and seen when it changes afterwards."""

import os
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from posttrain.spec.errors import StageFailed
from posttrain.spec.knobs import Closed
from posttrain.store.fingerprint import content_digest, file_digest
from posttrain.store.run import MANIFEST

GRAIN = 0.01
"""Seconds within which some file systems give two writes one time: a file is digested when it is older."""

HANDS = 4
"""Files digested at a time, at most."""

TRIES = 3
"""Times that files are digested before a writer that does not end is an error."""

STILL = "What a stage writes must be whole when it returns: look for a process or thread that it left behind."

LARGE = 1 << 22
"""Bytes in all from which a folder is worth a thread for each hand."""


class FileEntry(Closed):
    """One file of an artifact."""

    name: str
    """Path below the artifact, with slashes."""
    sha256: str
    size: int


class Stamp(NamedTuple):
    """What changes when a file is written: equal stamps, equal bytes."""

    device: int
    inode: int
    size: int
    time: int
    """Nanoseconds."""


Known = Mapping[Stamp, str]
"""Digests of files that this process has read, by their stamps."""


@dataclass(frozen=True)
class Scan:
    """The files of a folder as they were when they were digested."""

    entries: tuple[FileEntry, ...]
    """In order of name."""
    stamps: Mapping[str, Stamp]

    @property
    def known(self) -> dict[Stamp, str]:
        """The digests by stamp."""
        return {self.stamps[entry.name]: entry.sha256 for entry in self.entries}

    def holds(self, folder: Path) -> bool:
        """Whether the folder has these files still, none written, added or taken away since."""
        try:
            return stamps(folder, names(folder)) == self.stamps
        except FileNotFoundError:
            return False


def scan(folder: Path, *, sync: bool = False, known: Known | None = None) -> Scan:
    """Every file below a folder, digested; `sync` brings them to the disk meanwhile.

    A file whose stamp is `known` is not read; one that is written meanwhile is read again. StageFailed where that
    does not end.
    """
    for _ in range(TRIES):
        before = stamps(folder, names(folder))
        _settle(before.values())
        with ThreadPoolExecutor(1) as disk:
            synced = disk.submit(_sync_all, [folder / name for name in before]) if sync else None
            digests = _digests(folder, before, known or {})
            if synced is not None:
                synced.result()
        entries = tuple(FileEntry(name=name, sha256=digests[name], size=before[name].size) for name in before)
        found = Scan(entries, before)
        if found.holds(folder):
            return found
    raise StageFailed("its files are still being written.", where=str(folder), remedy=STILL)


def digest(files: Iterable[FileEntry]) -> str:
    """The content digest over files."""
    return content_digest((file.name, file.sha256, file.size) for file in files)


def names(folder: Path) -> list[str]:
    """Every file below a folder but its own manifest, links followed, in order of name."""
    found: list[str] = []
    for below, _, files in os.walk(folder, followlinks=True):
        found += [(Path(below) / name).relative_to(folder).as_posix() for name in files]
    return sorted(name for name in found if name != MANIFEST and (folder / name).is_file())


def stamps(folder: Path, files: Iterable[str]) -> dict[str, Stamp]:
    """The stamps of files as they are now."""
    return {name: stamp(folder / name) for name in files}


def stamp(path: Path) -> Stamp:
    """The stamp of a file as it is now."""
    told = path.stat()
    return Stamp(told.st_dev, told.st_ino, told.st_size, told.st_mtime_ns)


def sync_to_disk(path: Path) -> None:
    """Return when a file or folder is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _settle(found: Iterable[Stamp]) -> None:
    """Wait until a write to any of these files would change its time."""
    newest = max((one.time for one in found), default=0)
    time.sleep(min(GRAIN, max(0.0, newest / 1e9 + GRAIN - time.time())))


def _digests(folder: Path, found: Mapping[str, Stamp], known: Known) -> dict[str, str]:
    told = {name: known[one] for name, one in found.items() if one in known}
    unread = sorted(found.keys() - told.keys(), key=lambda name: -found[name].size)
    many = sum(found[name].size for name in unread) >= LARGE
    with ThreadPoolExecutor(min(HANDS, os.cpu_count() or 1) if many else 1) as hands:
        read = hands.map(file_digest, [folder / name for name in unread])
        return told | dict(zip(unread, read, strict=True))


def _sync_all(paths: Iterable[Path]) -> None:
    for path in paths:
        sync_to_disk(path)
