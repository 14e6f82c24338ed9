"""What the digests of an artifact cost beside writing it: our commit, and sha256sum after the write as the peer.

    python bench/hashing.py [--size 1024] [--files 4] [--rounds 4] [--folder .] [--reuse]

Every arm writes the same number of MB of random bytes into so many files of a fresh folder and brings them to the disk.
`write` does nothing else. `posttrain` commits the folder as an artifact: files digested while the disk takes them,
manifest, renames. `sha256sum` reads everything again when it is on the disk. The arms take turns; the times told are
medians over the rounds after the first. A store grows, so nothing is deleted before the end and every file takes fresh
blocks of the disk; with `--reuse` it takes those of the round before. The ratio is one of a machine: where the disk
takes bytes faster than a core digests them, the digest cannot hide behind it.
"""

import argparse
import hashlib
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from posttrain.store import artifact
from posttrain.store.artifact import Manifest
from posttrain.store.fingerprint import Facts, fingerprint
from posttrain.store.run import Store
from posttrain.store.scan import FileEntry, digest, sync_to_disk

BLOCK = 1 << 24
FACTS = Facts(kind="bench", version=1, knobs={}, seed=0, inputs={}, files={})
MARK = fingerprint(FACTS)


def described(files: tuple[FileEntry, ...]) -> Manifest:
    """The manifest of the bench's artifact."""
    return Manifest(
        node="n", kind="bench", type="data", fingerprint=MARK, digest=digest(files), facts=FACTS, files=files
    )


def fill(folder: Path, block: bytes, blocks: int, files: int) -> None:
    """Write so many blocks into so many files."""
    folder.mkdir(parents=True)
    for number in range(files):
        with (folder / f"{number}.bin").open("wb") as file:
            for _ in range(blocks // files):
                file.write(block)


def synced(folder: Path) -> None:
    """Bring every file of a folder to the disk."""
    for path in folder.iterdir():
        sync_to_disk(path)


def committed(folder: Path) -> None:
    """Commit the folder as an artifact."""
    store = Store(folder.parent / "store")
    artifact.commit(folder, store.artifact(MARK), described, replaced=store.replaced(MARK))


def summed(folder: Path) -> None:
    """Bring every file to the disk, then read and digest it with the system's own program."""
    synced(folder)
    subprocess.run(["sha256sum", *map(str, folder.iterdir())], check=True, stdout=subprocess.DEVNULL)


def main() -> None:
    """Print MB/s of every arm, and its time as a multiple of writing alone."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=1024, help="MB")
    parser.add_argument("--files", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--folder", type=Path, default=Path())
    parser.add_argument("--reuse", action="store_true", help="delete each folder before the next is written")
    options = parser.parse_args()
    block, blocks = os.urandom(BLOCK), options.size * 2**20 // BLOCK
    arms: dict[str, Callable[[Path], None]] = {"write": synced, "posttrain": committed, "sha256sum": summed}
    spent: dict[str, list[float]] = {name: [] for name in arms}
    home = Path(tempfile.mkdtemp(prefix=".hashing-", dir=options.folder))
    try:
        for number in range(options.rounds + 1):
            for name, arm in arms.items():
                root = home / f"{name}-{number}"
                before = time.perf_counter()
                fill(root / "out", block, blocks, options.files)
                arm(root / "out")
                spent[name].append(time.perf_counter() - before)
                if options.reuse:
                    shutil.rmtree(root)
    finally:
        shutil.rmtree(home)
    before = time.perf_counter()
    hashlib.sha256(block)
    one_core = BLOCK / 1e6 / (time.perf_counter() - before)
    seconds = {name: statistics.median(times[1:]) for name, times in spent.items()}
    bytes_ = blocks * BLOCK
    print(f"{bytes_ / 1e6:.0f} MB in {options.files} files; one core digests {one_core:.0f} MB/s")
    for name, took in seconds.items():
        print(f"{name:12s} {bytes_ / 1e6 / took:6.0f} MB/s   x{took / seconds['write']:5.2f} of writing alone")


if __name__ == "__main__":
    main()
