"""Which modules a program can import: a tier loaded beforehand, and pure Python that an index finds.

Inside the jail paths cannot be asked about (`stat` is closed), so the index remembers what importing needs to know.
"""

import importlib.util
import os
import struct
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib.machinery import (
    EXTENSION_SUFFIXES,
    BuiltinImporter,
    ExtensionFileLoader,
    FrozenImporter,
    ModuleSpec,
    SourceFileLoader,
)
from types import ModuleType
from typing import NamedTuple

_LEAN = """
    abc array binascii bisect cmath collections.abc contextlib copy datetime decimal enum fractions functools heapq io
    itertools json math numbers operator random re select string struct threading time types typing unicodedata zlib
    _blake2 _contextvars _csv _json _md5 _opcode _pickle _posixsubprocess _queue _sha1 _sha2 _sha256 _sha3 _sha512
    _socket _statistics ctypes fcntl mmap pyexpat resource
"""
LEAN = tuple(_LEAN.split())
"""What every program finds loaded: what most import, and the extension modules that others need."""

_NUMPY = ("numpy", "numpy.random", "numpy.linalg", "numpy.fft", "numpy.ma", "numpy.polynomial")
TIERS: Mapping[str, tuple[str, ...]] = {"lean": (), "numpy": _NUMPY, "sympy": (*_NUMPY, "sympy", "mpmath")}
"""Name of a tier → what it loads beyond the lean one."""

_LEFT_OUT = {
    "site-packages",
    "dist-packages",
    "test",
    "tests",
    "idlelib",
    "ensurepip",
    "tkinter",
    "turtledemo",
    "lib2to3",
}
_NO_FILES = {"__pycache__", "lib-dynload"}


class Found(NamedTuple):
    """A module on the disk, as it was when the server started."""

    file: str
    package: bool
    changed: int
    size: int


class _Loader(SourceFileLoader):
    """Reads source and its cache without asking the disk about them."""

    def __init__(self, name: str, found: Found, held: Mapping[str, bytes]) -> None:
        super().__init__(name, found.file)
        self.found, self.held = found, held

    def get_data(self, path: str) -> bytes:
        return self.held[path] if path in self.held else super().get_data(path)

    def path_stats(self, path: str) -> Mapping[str, int]:
        return {"mtime": self.found.changed, "size": self.found.size}

    def is_package(self, fullname: str) -> bool:
        return self.found.package


class Index:
    """An entry of `sys.meta_path` that knows every module there is."""

    def __init__(self, folders: Sequence[str], packages: Sequence[str]) -> None:
        """Modules right beneath `folders`, and these packages, each a folder of its own."""
        self.known: dict[str, Found] = {}
        self.held: dict[str, bytes] = {}
        """Files in memory."""
        for folder in folders:
            self._scan(folder, "")
        for package in packages:
            self._scan(package, os.path.basename(package) + ".")  # noqa: PTH119

    def find_spec(self, name: str, path: object = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Where the module is; None where the index does not hold it."""
        found = self.known.get(name)
        if found is None:
            return None
        plain = found.file.endswith(".py")
        loader = _Loader(name, found, self.held) if plain else ExtensionFileLoader(name, found.file)
        inside = [os.path.dirname(found.file)] if found.package else None  # noqa: PTH120
        return importlib.util.spec_from_file_location(
            name, found.file, loader=loader, submodule_search_locations=inside
        )

    def hold(self) -> None:
        """Take into memory what importing any of them reads: the cached file where it is valid, else the source."""
        for found in self.known.values():
            if found.file.endswith(".py"):
                cached = importlib.util.cache_from_source(found.file)
                data = _content(cached)
                head = struct.pack("<4sIII", importlib.util.MAGIC_NUMBER, 0, found.changed & _LOW, found.size & _LOW)
                path = cached if data[:16] == head else found.file
                self.held[path] = data if path == cached else _content(path)

    def _scan(self, folder: str, prefix: str) -> None:
        with os.scandir(folder) as entries:
            listed = list(entries)
        for entry in listed:
            if _left_out(entry) or entry.name in _NO_FILES:
                continue
            if "." not in entry.name and entry.is_dir():
                self._scan(entry.path, f"{prefix}{entry.name}.")
            elif entry.name.endswith(".py") or entry.name.endswith(EXTENSION_SUFFIXES[0]):
                self._add(entry, prefix)

    def _add(self, entry: os.DirEntry[str], prefix: str) -> None:
        stem = entry.name.partition(".")[0]
        package = stem == "__init__"
        name = prefix.rstrip(".") if package else prefix + stem
        status = entry.stat()
        if name:
            self.known[name] = Found(entry.path, package, int(status.st_mtime), status.st_size)


_LOW = 0xFFFFFFFF


def _content(path: str) -> bytes:
    """A file's bytes; none where it cannot be read."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - pathlib is not loaded here
            return file.read()
    except OSError:
        return b""


def install(folders: Sequence[str], packages: Sequence[str], *, held: bool = False) -> None:
    """Let the index answer every import of this process; from memory alone where `held`."""
    index = Index(folders, packages)
    if held:
        index.hold()
    sys.meta_path[:] = [BuiltinImporter, FrozenImporter, index]  # pyright: ignore[reportArgumentType]
    sys.path_importer_cache.clear()


def preload(names: Iterable[str]) -> None:
    """Import what programs will want; one that this Python lacks is left out."""
    for name in names:
        if importlib.util.find_spec(name.partition(".")[0]) is not None:
            try:
                importlib.import_module(name)
            except ModuleNotFoundError as error:
                if error.name != name:
                    raise


def warm() -> None:
    """Let the preloaded modules do what they put off until first used."""
    if "sympy" in sys.modules:
        sympy = sys.modules["sympy"]
        x = sympy.Symbol("x")
        sympy.solve(x**2 - 4, x)
        str(sympy.factor(sympy.expand((x + 1) ** 2)) + sympy.simplify(sympy.sin(x) ** 2 + sympy.cos(x) ** 2))
        sympy.integrate(sympy.diff(x * sympy.exp(x), x), x)
        sympy.core.random.seed(0)
    if "numpy" in sys.modules:
        numpy = sys.modules["numpy"]
        numpy.random.mtrand._rand.seed(0)  # programs draw the same everywhere
        repr(numpy.arange(4.0).reshape(2, 2) @ numpy.eye(2))


def readable(folder: str) -> list[str]:
    """The entries of the standard library's folder that a program may read."""
    with os.scandir(folder) as entries:
        return [
            entry.path
            for entry in entries
            if not _left_out(entry) and not entry.name.startswith(("config-", "lib-dynload"))
        ]


def _left_out(entry: os.DirEntry[str]) -> bool:
    """No part of the library, or a link that leads out of it."""
    away = entry.is_symlink() and os.path.dirname(os.path.realpath(entry.path)) != os.path.dirname(entry.path)  # noqa: PTH120
    return away or entry.name in _LEFT_OUT or entry.name.startswith(".")
