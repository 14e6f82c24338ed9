"""What the disk under a folder can do: what the store asks of it, done live in a folder that is removed again."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Ability:
    """One thing that the disk was asked to do."""

    name: str
    works: bool
    needed: bool
    """Whether a run cannot do without."""
    saw: str = ""
    """Why it does not work; empty where it does."""


@dataclass(frozen=True)
class Disk:
    """The disk under a folder."""

    folder: Path
    """The nearest folder that exists."""
    free: int
    """Bytes that this user may still fill."""
    abilities: tuple[Ability, ...]


def tried(wanted: Path) -> Disk:
    """What the disk can do where a folder lies or would lie; nothing is left behind."""
    folder = next(path for path in (wanted.absolute(), *wanted.absolute().parents) if path.is_dir())
    return Disk(folder, shutil.disk_usage(folder).free, tuple(_ability(folder, *ask) for ask in _ASKED))


def _ability(folder: Path, name: str, needed: bool, act: Callable[[Path], str]) -> Ability:
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix=".tried-") as place:
            saw = act(Path(place))
    except OSError as error:
        saw = error.strerror or str(error)
    return Ability(name, not saw, needed, saw)


def _written(place: Path) -> Path:
    file = place / "file"
    file.write_bytes(b"new")
    return file


def _sync(place: Path) -> str:
    with _written(place).open("rb") as file:
        os.fsync(file.fileno())
    opened = os.open(place, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
    return ""


def _rename(place: Path) -> str:
    target = place / "target"
    target.write_bytes(b"old")
    _written(place).replace(target)
    return "" if target.read_bytes() == b"new" else "the old file is still there"


def _link(place: Path) -> str:
    link = place / "link"
    link.symlink_to(_written(place).name)
    return "" if link.read_bytes() == b"new" else "the link leads elsewhere"


def _lock(place: Path) -> str:
    file = _written(place)
    with file.open("rb+") as first, file.open("rb+") as second:
        fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return ""
    return "two hold one lock"


def _hard_link(place: Path) -> str:
    file = _written(place)
    os.link(file, place / "link")
    return "" if file.stat().st_nlink == 2 else "the link is a copy"


_ASKED: tuple[tuple[str, bool, Callable[[Path], str]], ...] = (
    ("sync to disk", True, _sync),
    ("atomic rename", True, _rename),
    ("links", True, _link),
    ("locks", True, _lock),
    ("hard links", False, _hard_link),
)
"""Name, whether a run needs it, and the act: what is wrong, or nothing. Without hard links files are copied."""
