"""What is written while an artifact is digested does not go unnoticed; what is known is not read again."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from posttrain.spec.errors import StageFailed
from posttrain.store import artifact
from posttrain.store.artifact import Manifest
from posttrain.store.fingerprint import file_digest
from posttrain.store.run import Store
from posttrain.store.scan import GRAIN, FileEntry, Stamp, scan, stamp
from store.test_artifacts import MARK, described, made


def committed(root: Path, meanwhile: Callable[[Path, int], None], files: dict[str, bytes]) -> tuple[Path, int]:
    """An artifact of files to which something happens each time its manifest is made, and how often that was."""
    store, times = Store(root), 0
    out = store.out(MARK)
    out.mkdir(parents=True)
    for name, data in files.items():
        (out / name).write_bytes(data)

    def describe(found: tuple[FileEntry, ...]) -> Manifest:
        nonlocal times
        times += 1
        meanwhile(out, times)
        return described(found)

    artifact.commit(out, store.artifact(MARK), describe, replaced=store.replaced(MARK))
    return store.artifact(MARK), times


def swap(out: Path, times: int) -> None:
    """Put another file of the same size and time in place of `a`."""
    if times == 1:
        old = (out / "a").stat()
        (out / "fresh").write_bytes(b"other")
        os.utime(out / "fresh", ns=(old.st_atime_ns, old.st_mtime_ns))
        (out / "fresh").replace(out / "a")


MEANWHILE: dict[str, Callable[[Path, int], object]] = {
    "written": lambda out, times: (out / "a").write_bytes(b"other") if times == 1 else None,
    "longer": lambda out, times: (out / "a").write_bytes(b"longer") if times == 1 else None,
    "added": lambda out, times: (out / "c").write_bytes(b"new") if times == 1 else None,
    "gone": lambda out, times: (out / "b").unlink() if times == 1 else None,
    "swapped": swap,
}


@pytest.mark.parametrize("case", MEANWHILE)
def test_what_changes_before_the_rename_is_digested_again(tmp_path: Path, case: str) -> None:
    folder, times = committed(tmp_path, MEANWHILE[case], {"a": b"12345", "b": b"b"})
    assert times == 2
    assert artifact.verify(folder) == ()


def test_a_writer_that_does_not_end_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StageFailed, match="still being written"):
        committed(tmp_path, lambda out, times: (out / "a").write_text("x" * times), {"a": b""})
    assert not Store(tmp_path).artifact(MARK).exists()


def test_a_file_that_is_written_while_it_is_read_is_not_digested(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(1_000_000))
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            with (tmp_path / "a").open("r+b") as file:
                file.write(b"x")
            time.sleep(0.0005)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        with pytest.raises(StageFailed, match="still being written"):
            scan(tmp_path)
    finally:
        stop.set()
        writer.join()
    assert scan(tmp_path).entries[0].sha256 == file_digest(tmp_path / "a")


def test_a_write_right_after_the_digest_has_another_stamp(tmp_path: Path) -> None:
    """A file system's clock is coarse: a file is digested when a later write must change its time."""
    for number in range(20):
        (tmp_path / "a").write_bytes(b"%05d" % number)
        found = scan(tmp_path)
        (tmp_path / "a").write_bytes(b"other")
        assert not found.holds(tmp_path)


def test_known_files_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "b").write_bytes(b"b")
    known = {stamp(tmp_path / "a"): "0" * 64}
    first, second = scan(tmp_path, known=known).entries
    assert first.sha256 == "0" * 64, "it was taken from what is known"
    assert second.sha256 == file_digest(tmp_path / "b")
    time.sleep(GRAIN)
    (tmp_path / "a").write_bytes(b"x")
    assert scan(tmp_path, known=known).entries[0].sha256 == file_digest(tmp_path / "a")


def test_opening_an_input_makes_its_digests_known(tmp_path: Path) -> None:
    """A linked file of an input that was opened is not read again; one that is too young to tell is."""
    _, folder = made(tmp_path)
    known: dict[Stamp, str] = {}
    young = time.time_ns() + 10**9
    os.utime(folder / "deep" / "b.txt", ns=(young, young))
    os.utime(folder / "a.bin", ns=(10**18, 10**18))
    artifact.opened(folder, node="n", axes={}, known=known)
    out = tmp_path / "out"
    out.mkdir()
    os.link(folder / "a.bin", out / "a.bin")
    assert known == {stamp(out / "a.bin"): file_digest(folder / "a.bin")}


def test_an_artifact_holds_plain_files_alone(tmp_path: Path) -> None:
    store = Store(tmp_path / "one")
    (store.out(MARK) / "nothing" / "below").mkdir(parents=True)
    (store.out(MARK) / "a").write_text("a")
    artifact.commit(store.out(MARK), store.artifact(MARK), described, replaced=store.replaced(MARK))
    assert {path.name for path in store.artifact(MARK).iterdir()} == {"a", "manifest.json"}
    for number, strange in enumerate((lambda at: at.symlink_to("a"), os.mkfifo)):
        store = Store(tmp_path / str(number))
        store.out(MARK).mkdir(parents=True)
        (store.out(MARK) / "a").write_text("a")
        strange(store.out(MARK) / "b")
        with pytest.raises(StageFailed, match="b is no file"):
            artifact.commit(store.out(MARK), store.artifact(MARK), described, replaced=store.replaced(MARK))
