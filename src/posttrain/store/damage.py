"""What is wrong with a folder that is to hold certain files and nothing else, one sentence each."""

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from posttrain.spec.errors import StageFailed
from posttrain.store.fingerprint import file_digest
from posttrain.store.run import MANIFEST
from posttrain.store.scan import FileEntry, names


def outline(folder: Path, files: Sequence[FileEntry]) -> list[str]:
    """What names, sizes and sorts of entries show; no file is read."""
    found, added = _outline(folder, files)
    return [*found.values(), *added]


def all_of(folder: Path, files: Sequence[FileEntry]) -> Iterator[str]:
    """What the outline shows, and files whose bytes are others."""
    found, added = _outline(folder, files)
    if MANIFEST in found:
        yield found[MANIFEST]
    for entry in files:
        if said := found.get(entry.name) or _content(folder, entry):
            yield said
    yield from added


def contents(folder: Path, files: Sequence[FileEntry]) -> Iterator[str]:
    """Files that are missing, added or whose bytes are others; a link counts as the file it leads to."""
    yield from (said for entry in files if (said := _content(folder, entry)))
    listed = {entry.name for entry in files}
    yield from (f"{name} was added" for name in names(folder) if name not in listed)


def only_files(out: Path) -> None:
    """Take away folders that hold nothing; StageFailed for a link or anything else that is no file."""
    for name, entry in list(_below(out, ""))[::-1]:
        if entry.is_dir(follow_symlinks=False):
            with suppress(OSError):
                Path(entry.path).rmdir()
        elif not entry.is_file(follow_symlinks=False):
            remedy = "Write the file, or take it over with ctx.link."
            raise StageFailed(f"{name} is no file, and an artifact holds files alone.", where=str(out), remedy=remedy)


def _outline(folder: Path, files: Sequence[FileEntry]) -> tuple[dict[str, str], list[str]]:
    """Damages by the name of the file, in the order of files; then what does not belong there."""
    sizes = {entry.name: entry.size for entry in files}
    above = {name[:end] for name in sizes for end, letter in enumerate(name) if letter == "/"}
    there, added = dict[str, str](), list[str]()
    for name, entry in _below(folder, ""):
        if name in sizes or name == MANIFEST:
            there[name] = _entry_damage(name, entry, sizes.get(name))
        elif name not in above:
            added.append(f"{name} was added")
        elif not entry.is_dir(follow_symlinks=False):
            added.append(f"{name} is {'a link' if entry.is_symlink() else 'no folder'} and was a folder")
    found = {name: there.get(name, f"{name} is missing") for name in (MANIFEST, *sizes)}
    return {name: said for name, said in found.items() if said}, added


def _below(folder: Path, prefix: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Everything below a folder by its name from there, a folder before what it holds; links are not followed."""
    with os.scandir(folder) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        yield f"{prefix}{entry.name}", entry
        if entry.is_dir(follow_symlinks=False):
            yield from _below(Path(entry.path), f"{prefix}{entry.name}/")


def _entry_damage(name: str, entry: os.DirEntry[str], size: int | None) -> str:
    if not entry.is_file(follow_symlinks=False):
        return f"{name} is {'a link' if entry.is_symlink() else 'no file'} and was a file"
    now = entry.stat(follow_symlinks=False).st_size if size is not None else None
    return "" if now == size else f"{name} has changed ({size} → {now} bytes)"


def _content(folder: Path, entry: FileEntry) -> str:
    try:
        same = file_digest(folder / entry.name) == entry.sha256
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return f"{entry.name} is missing"
    except OSError as error:
        return f"{entry.name} cannot be read ({error.strerror})"
    return "" if same else f"{entry.name} has changed"
