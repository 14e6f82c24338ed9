"""Whatever happens to one file of a finished artifact is named by verify and refused where the artifact is used."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from posttrain.spec.errors import Mismatch
from posttrain.store import artifact, verify
from posttrain.store.ledger import Ledger
from posttrain.store.run import Run, at
from store.test_artifacts import MARK, made

FILES = {"a.bin": b"12345", "b.bin": b"54321", "deep/c.txt": b"some text", "deep/er/d": b"\0" * 40, "empty": b""}
NAMES = (*FILES, "manifest.json")


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place % len(data)] ^= 1 + place % 255
    path.write_bytes(data)


def to_link(path: Path, place: int) -> None:
    """The same bytes, behind a link."""
    aside = next(folder for folder in path.parents if folder.name == "artifacts") / "aside"
    path.rename(aside)
    path.symlink_to(aside)


def to_folder(path: Path, place: int) -> None:
    path.unlink()
    path.mkdir()


def truncate(path: Path, place: int) -> None:
    os.truncate(path, place % path.stat().st_size)


ONE: dict[str, Callable[[Path, int], object]] = {
    "flip": flip,
    "truncate": truncate,
    "append": lambda path, place: path.write_bytes(path.read_bytes() + b"x"),
    "delete": lambda path, place: path.unlink(),
    "link": to_link,
    "folder": to_folder,
}


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """Makes copies of one finished artifact."""
    _, whole = made(tmp_path_factory.mktemp("whole"), FILES)

    def copy() -> Path:
        return shutil.copytree(whole, tmp_path_factory.mktemp("store") / "artifacts" / MARK)

    return copy


def refused(folder: Path, *, links: bool = False) -> None:
    """No use of the artifact is possible; `links`: through a path its bytes are what counts."""
    with pytest.raises(Mismatch):
        artifact.opened(folder, node="n", axes={})
    if not links:
        with pytest.raises(Mismatch):
            artifact.adopted(folder)


@example(how="flip", name="manifest.json", place=295)  # a space becomes a tab: the same JSON, another file
@given(how=st.sampled_from(sorted(ONE)), name=st.sampled_from(NAMES), place=st.integers(0, 10_000))
def test_any_damage_of_one_file(fresh: Callable[[], Path], how: str, name: str, place: int) -> None:
    """S-A8: a byte, the length, the file itself, or a link or folder in its place."""
    folder = fresh()
    path = folder / name
    if how in ("flip", "truncate") and not path.stat().st_size:
        how = "append"
    ONE[how](path, place)
    found = artifact.verify(folder)
    assert len(found) == 1 and name in found[0], (how, name, found)
    refused(folder, links=how == "link")


@given(pair=st.permutations(sorted(FILES)).map(lambda names: names[:2]))
def test_any_two_files_swapped(fresh: Callable[[], Path], pair: list[str]) -> None:
    """S-A8: both are named."""
    folder = fresh()
    one, two = (folder / name for name in pair)
    one.rename(folder / "aside")
    two.rename(one)
    (folder / "aside").rename(two)
    assert sorted(said.partition(" ")[0] for said in artifact.verify(folder)) == sorted(pair)
    refused(folder)


ADDED: dict[str, Callable[[Path], object]] = {
    "extra": lambda path: path.write_text("x"),
    "deep/extra": lambda path: path.write_text("x"),
    "folder": lambda path: path.mkdir(),
    "link": lambda path: path.symlink_to("a.bin"),
    "nowhere": lambda path: path.symlink_to("gone"),
    "pipe": os.mkfifo,
    ".hidden": lambda path: path.write_text("x"),
    "deep/manifest.json": lambda path: path.write_text("x"),
}


@pytest.mark.parametrize("name", ADDED)
def test_whatever_is_added(tmp_path: Path, name: str) -> None:
    """S-A8: a file, a folder, a link, a pipe, anywhere: named by plan and verify."""
    _, folder = made(tmp_path, FILES)
    ADDED[name](folder / name)
    assert artifact.verify(folder) == (f"{name} was added",)
    with pytest.raises(Mismatch, match="was added"):
        artifact.glance(folder)
    refused(folder, links=name in ("folder", "nowhere", "pipe"))


def test_a_folder_of_files_behind_a_link(tmp_path: Path) -> None:
    _, folder = made(tmp_path, FILES)
    (folder / "deep").rename(tmp_path / "deep")
    (folder / "deep").symlink_to(tmp_path / "deep")
    told = ("deep/c.txt is missing", "deep/er/d is missing", "deep is a link and was a folder")
    assert artifact.verify(folder) == told
    refused(folder, links=True)


def test_what_cannot_be_read_is_damage(tmp_path: Path) -> None:
    """An I/O error while an artifact is read: the file is named, the artifact is not used."""
    _, folder = made(tmp_path, {"a": b""})
    (folder / "a").unlink()
    (folder / "a").symlink_to("/proc/self/mem")
    with pytest.raises(Mismatch, match=r"a cannot be read \(Input/output error\)"):
        artifact.adopted(folder)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run with one node and its ledger."""
    store, _ = made(tmp_path, FILES)
    run = Run(tmp_path, store)
    run.point("one", MARK)
    ledger = Ledger(run.ledger)
    ledger.write("node_finished", node="one", fingerprint=MARK)
    ledger.close()
    return run


def test_a_run_that_is_whole(run: Run) -> None:
    assert verify.damages(run) == {"one": ()}


def test_links_of_nodes(run: Run, tmp_path: Path) -> None:
    """S-A8: a node's link that is gone, dangles, leads elsewhere or is no link is named."""
    link = run.pointer("one")
    link.unlink()
    assert verify.damages(run) == {"one": ("its link one is gone",)}
    link.mkdir()
    assert verify.damages(run) == {"one": ("its link one is no link any more",)}
    link.rmdir()
    link.symlink_to(tmp_path / "artifacts" / ("0" * 64))
    found = verify.damages(run)["one"]
    assert found == (
        "its link leads to 000000000000, which the ledger does not know as this node's",
        "its folder is gone",
    )
    link.unlink()
    shutil.copytree(run.store.artifact(MARK), tmp_path / "elsewhere")
    link.symlink_to(tmp_path / "elsewhere")
    assert "no artifact of this store" in verify.damages(run)["one"][0]


def test_an_artifact_that_is_gone_and_one_without_manifest(run: Run) -> None:
    """Bad input: an artifact folder without manifest."""
    folder = run.store.artifact(MARK)
    (folder / "manifest.json").rename(folder.parent / "aside")
    assert verify.damages(run) == {"one": ("manifest.json is missing",)}
    with pytest.raises(Mismatch, match="is missing"):
        artifact.adopted(folder)
    with pytest.raises(Mismatch, match="is missing"):
        artifact.adopted(at(run.folder).pointer("one"))
    shutil.rmtree(folder)
    assert verify.damages(run) == {"one": ("its folder is gone",)}


def test_garbage_in_the_ledger_is_damage_and_a_torn_line_is_not(run: Run) -> None:
    """Bad input: a ledger with garbage in the middle."""
    with run.ledger.open("ab") as file:
        file.write(b'{"t":1,"run')
    assert verify.damages(run) == {"one": ()}
    with run.ledger.open("ab") as file:
        file.write(b"\ngarbage\n")
    found = verify.damages(run)
    told = "1 line is torn by a kill (2); 1 line is no record of ours (3)"
    assert found == {"one": (), "ledger.jsonl": (told,)}
