"""Every state in which a kill can leave a folder: it is copied before each operation that changes it.

The kernel keeps what a process has handed over, so a kill leaves exactly what another process could read at that
moment. An audit hook of the interpreter sees every opening for writing, renaming, linking, making and removing; what
compiled code writes in between shows as a difference and is also left half written. A power cut leaves less: files
that nobody synced are empty.
"""

import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
CHANGES = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate")
MOVES = ("os.rename", "os.link")


@dataclass(frozen=True)
class Kept:
    """One thing in a folder: a file's bytes, a link's target, or a folder (neither)."""

    content: bytes | None = None
    link: str | None = None
    synced: bool = False


Image = Mapping[str, Kept]


@dataclass(frozen=True)
class Crash:
    """What a kill leaves."""

    name: str
    image: Image


class _Recorder:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.images: list[tuple[str, Image]] = []
        self.moved: list[str] = []
        """Where the operation after each image puts what is there already; empty for one that makes."""
        self.synced: dict[int, tuple[int, int]] = {}
        self._known: dict[bytes, bytes] = {}
        self.busy = False
        for path in folder.rglob("*"):
            if path.is_file():
                self.settled(path.stat())

    def hear(self, event: str, args: tuple[object, ...]) -> None:
        if self.busy or not (event in CHANGES or (event == "open" and _writes(args))):
            return
        self.busy = True
        try:
            self.take(event, args)
        finally:
            self.busy = False

    def take(self, event: str, args: tuple[object, ...] = ()) -> None:
        image = self._image()
        target = os.fspath(args[1]) if event in MOVES and isinstance(args[1], str | os.PathLike) else ""
        into = os.path.relpath(target, self.folder) if target else ""
        if self.images and self.images[-1][1] == image:
            self.moved[-1] = into
            return
        named = Path(os.fspath(args[0])).name if args and isinstance(args[0], str | os.PathLike) else ""
        self.images.append((f"{len(self.images)}, before {event} {named}", image))
        self.moved.append(into)

    def sync(self, file: int) -> None:
        self.settled(os.fstat(file))

    def settled(self, told: os.stat_result) -> None:
        self.synced[told.st_ino] = (told.st_mtime_ns, told.st_size)

    def _image(self) -> Image:
        found: dict[str, Kept] = {}
        for below, folders, files in os.walk(self.folder):
            for name in (*folders, *files):
                path = Path(below) / name
                key = path.relative_to(self.folder).as_posix()
                if path.is_symlink():
                    found[key] = Kept(link=str(path.readlink()))
                elif path.is_dir():
                    found[key] = Kept()
                else:
                    content, told = path.read_bytes(), path.stat()
                    content = self._known.setdefault(content, content)
                    synced = self.synced.get(told.st_ino) == (told.st_mtime_ns, told.st_size)
                    found[key] = Kept(content, synced=synced)
        return found


_listening: list[_Recorder] = []
_hooked: list[bool] = []


def _writes(args: tuple[object, ...]) -> bool:
    mode, flags = args[1], args[2]
    return any(letter in mode for letter in "wax+") if isinstance(mode, str) else bool(int(str(flags or 0)) & WRITES)


def _hook(event: str, args: tuple[object, ...]) -> None:
    for recorder in _listening:
        recorder.hear(event, args)


@contextmanager
def _recorded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[_Recorder]:
    if not _hooked:
        sys.addaudithook(_hook)
        _hooked.append(True)
    recorder, fsync = _Recorder(folder), os.fsync

    def noted(file: int) -> None:
        fsync(file)
        recorder.sync(file)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", noted)
        _listening.append(recorder)
        try:
            yield recorder
        finally:
            _listening.remove(recorder)
    recorder.take("the end")


def crashes(folder: Path, work: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> list[Crash]:
    """Do the work once, and tell every state of the folder that a kill can leave."""
    with _recorded(folder, monkeypatch) as recorder:
        work()
    found: list[Crash] = []
    before: Image | None = None
    came = ""
    for (name, image), moved in zip(recorder.images, recorder.moved, strict=True):
        found.append(Crash(name, image))
        if before is not None and (fresh := _half(before, image, came)):
            found.append(Crash(f"{name}, half written", fresh))
        before, came = image, moved
    return found


def surviving(found: Iterable[Crash], *, without: str) -> list[Crash]:
    """The crashes, and the same moments with the power lost, that differ in more than a folder that is thrown away."""
    chosen: list[Crash] = []
    seen: set[frozenset[tuple[str, bytes | str | None]]] = set()
    for crash in (cut for each in found for cut in (each, power_cut(each))):
        kept = {key: one for key, one in crash.image.items() if not f"{key}/".startswith(f"{without}/")}
        mark = frozenset((key, one.link if one.content is None else one.content) for key, one in kept.items())
        if mark not in seen:
            seen.add(mark)
            chosen.append(Crash(crash.name, kept))
    return chosen


def power_cut(crash: Crash) -> Crash:
    """The same moment without power: what was not synced has no content."""
    lost = {key: one if one.synced or not one.content else Kept(b"") for key, one in crash.image.items()}
    return Crash(f"{crash.name}, power lost", lost)


def restore(crash: Crash, folder: Path) -> None:
    """Make the folder what the crash left."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for key, one in crash.image.items():
        path = folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        if one.link is not None:
            path.symlink_to(one.link)
        elif one.content is None:
            path.mkdir(exist_ok=True)
        else:
            path.write_bytes(one.content)


def _half(before: Image, image: Image, came: str) -> Image | None:
    """The image with half of every file that was written since the one before."""
    fresh = {
        key: one
        for key, one in image.items()
        if one.content
        and before.get(key, Kept()).content != one.content
        and not (came and (key == came or key.startswith(f"{came}/")))
    }
    if not fresh:
        return None
    return {**image, **{key: Kept(_cut(before.get(key, Kept()).content or b"", one)) for key, one in fresh.items()}}


def _cut(before: bytes, now: Kept) -> bytes:
    """Half of what was written: of a file that grew, half of its growth."""
    content = now.content or b""
    kept = len(before) if content.startswith(before) else 0
    return content[: kept + (len(content) - kept) // 2]
