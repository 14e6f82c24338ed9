"""Commit, open, verify: an artifact is whole or it is not there."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posttrain.spec.errors import Mismatch, MissingNeed, UsageError
from posttrain.spec.gate import Metric
from posttrain.store import artifact
from posttrain.store.artifact import Manifest
from posttrain.store.fingerprint import Facts, fingerprint
from posttrain.store.run import Run, Store, at, existing, file_name, locate, node_id
from posttrain.store.scan import FileEntry, digest, scan

FACTS = Facts(kind="toy", version=1, knobs={"k": 1}, seed=3, inputs={}, files={})
MARK = fingerprint(FACTS)


def described(files: tuple[FileEntry, ...], **changes: Any) -> Manifest:
    fields: dict[str, Any] = {
        "node": "n",
        "kind": "toy",
        "type": "data",
        "fingerprint": MARK,
        "digest": digest(files),
        "facts": FACTS,
        "files": files,
        "metrics": {"m": Metric(0.5, k=1, n=2), "none": Metric(None, "not measured")},
    }
    return Manifest(**fields | changes)


def made(root: Path, files: dict[str, bytes] | None = None) -> tuple[Store, Path]:
    store = Store(root)
    out = store.out(MARK)
    for name, data in (files or {"a.bin": b"12345", "deep/b.txt": b"b"}).items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_bytes(data)
    artifact.commit(out, store.artifact(MARK), described, replaced=store.replaced(MARK))
    return store, store.artifact(MARK)


def test_a_committed_artifact_reads_back(tmp_path: Path) -> None:
    """S-A1: the manifest lists each file's sha256, parents, fingerprint."""
    store, folder = made(tmp_path)
    read = artifact.manifest(folder)
    assert read is not None and len(read.seal) == 64
    assert read.model_copy(update={"seal": ""}) == described(scan(folder).entries)
    assert [entry.name for entry in read.files] == ["a.bin", "deep/b.txt"]
    assert artifact.verify(folder) == ()
    assert not store.out(MARK).exists()
    opened = artifact.opened(folder, node="n", axes={"x": "1"})
    assert (opened.digest, opened.axes, opened.files) == (read.digest, {"x": "1"}, ("a.bin", "deep/b.txt"))
    assert opened.metrics["m"] == Metric(0.5, k=1, n=2)


KILLED = """
import json, os, sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from store.test_artifacts import CALLS, made

def killed_at(steps):
    seen = [0]
    def die(frame, event, argument):
        if event == "c_call" and argument.__name__ in CALLS:
            seen[0] += 1
            if seen[0] == steps:
                os._exit(9)
    sys.setprofile(die)
    made(Path(sys.argv[1]) / str(steps))
    os._exit(0)

codes = {}
for steps in range(1, 200):
    pid = os.fork() or killed_at(steps)
    codes[steps] = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if codes[steps] == 0:
        break
print(json.dumps(codes))
"""
CALLS = ("rename", "fsync", "write", "open", "mkdir", "close", "flush")


def test_a_half_written_folder_is_never_seen(tmp_path: Path) -> None:
    """S-A7: killed at any system call of a commit there is a whole artifact, or none."""
    command = [sys.executable, "-c", KILLED, str(tmp_path), str(Path(__file__).parents[1])]
    codes = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert list(codes.values()) == [9] * (len(codes) - 1) + [0]
    assert len(codes) > 20
    there = {steps: Store(tmp_path / steps).artifact(MARK).exists() for steps in codes}
    assert set(there.values()) == {True, False}
    assert all(artifact.verify(Store(tmp_path / steps).artifact(MARK)) == () for steps in codes if there[steps])


def test_working_the_same_facts_again_replaces_the_artifact(tmp_path: Path) -> None:
    _, folder = made(tmp_path, {"a": b"1"})
    made(tmp_path, {"a": b"2"})
    assert (folder / "a").read_bytes() == b"2"
    assert artifact.verify(folder) == ()


@given(at_byte=st.integers(0, 4), bit=st.integers(0, 7))
def test_any_flipped_bit_is_found(tmp_path_factory: pytest.TempPathFactory, at_byte: int, bit: int) -> None:
    _, folder = made(tmp_path_factory.mktemp("store"))
    data = bytearray((folder / "a.bin").read_bytes())
    data[at_byte] ^= 1 << bit
    (folder / "a.bin").write_bytes(data)
    assert artifact.verify(folder) == ("a.bin has changed",)
    assert artifact.glance(folder) is not None, "sizes agree"
    with pytest.raises(Mismatch, match=r"a\.bin has changed since it was made"):
        artifact.opened(folder, node="n", axes={})


def test_verify_names_what_changed_is_missing_or_was_added(tmp_path: Path) -> None:
    _, folder = made(tmp_path)
    (folder / "a.bin").unlink()
    (folder / "deep/b.txt").write_text("longer")
    (folder / "new").write_text("new")
    assert artifact.verify(folder) == ("a.bin is missing", "deep/b.txt has changed (1 → 6 bytes)", "new was added")
    with pytest.raises(Mismatch, match=r"a\.bin is missing"):
        artifact.glance(folder)


def test_a_folder_without_manifest_is_no_artifact(tmp_path: Path) -> None:
    """Bad input: an artifact folder without manifest."""
    _, folder = made(tmp_path)
    (folder / "manifest.json").unlink()
    assert artifact.manifest(folder) is None
    assert artifact.verify(folder) == ("manifest.json is missing",)
    for opening in (artifact.glance, lambda at: artifact.opened(at, node="n", axes={})):
        with pytest.raises(Mismatch, match=r"manifest\.json is missing"):
            opening(folder)
    assert artifact.glance(tmp_path / "nowhere") is None


def test_a_store_of_a_newer_version_says_so(tmp_path: Path) -> None:
    """Bad input: a store made by a newer version."""
    _, folder = made(tmp_path)
    path = folder / "manifest.json"
    path.write_text(path.read_text().replace('"format": 1', '"format": 2'))
    with pytest.raises(Mismatch, match="made by a newer posttrain"):
        artifact.manifest(folder)


@pytest.mark.parametrize("text", ["", "{", '{"format": 1}', "[]"])
def test_an_unreadable_manifest_is_a_mismatch(tmp_path: Path, text: str) -> None:
    _, folder = made(tmp_path)
    (folder / "manifest.json").write_text(text)
    with pytest.raises(Mismatch, match="cannot be read"):
        artifact.manifest(folder)


def test_changed_facts_are_found(tmp_path: Path) -> None:
    _, folder = made(tmp_path)
    path = folder / "manifest.json"
    path.write_text(path.read_text().replace('"seed": 3', '"seed": 4'))
    assert artifact.verify(folder) == ("manifest.json has changed since it was made.",)
    with pytest.raises(Mismatch, match=r"manifest\.json has changed"):
        artifact.glance(folder)


def test_every_flipped_byte_of_a_manifest_is_found(tmp_path: Path) -> None:
    """S-A8: a metric, a remark or a time that changed on disk is damage like a changed file."""
    _, folder = made(tmp_path)
    path = folder / "manifest.json"
    good = path.read_bytes()
    for place in range(len(good) - 1):
        path.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
        assert artifact.verify(folder), (place, good[max(0, place - 20) : place + 20])
    path.write_bytes(good)
    assert artifact.verify(folder) == ()


def test_a_disk_that_refuses_is_an_error_of_the_environment(tmp_path: Path) -> None:
    store = Store(tmp_path)
    out = store.out(MARK)
    out.mkdir(parents=True)
    (out / "a").write_text("a")
    (tmp_path / "artifacts").write_text("a file where a folder must be")
    with pytest.raises(MissingNeed, match="cannot be written"):
        artifact.commit(out, store.artifact(MARK), described, replaced=store.replaced(MARK))
    assert (out / "a").exists(), "the work is kept"


def test_the_digest_depends_on_names_and_bytes_alone() -> None:
    one = FileEntry(name="a", sha256="1", size=1)
    two = FileEntry(name="b", sha256="2", size=2)
    assert digest([one, two]) == digest([two, one])
    assert len({digest(files) for files in ([one], [two], [one, two], [])}) == 4


def test_the_users_folder_is_recognised_by_its_files(tmp_path: Path) -> None:
    for name, file, type in (("m", "config.json", "model"), ("d", "train.jsonl", "data")):
        folder = tmp_path / name
        folder.mkdir()
        (folder / file).write_text("{}")
        (folder / "manifest.json").write_text('{"made by": "another tool"}')
        found = artifact.adopted(folder)
        assert (found.type, found.node, found.kind) == (type, str(folder), "")
    assert artifact.adopted(folder, "sha256:" + found.digest) == found
    with pytest.raises(Mismatch, match="its digest is"):
        artifact.adopted(folder, "0" * 64)
    (folder / "train.jsonl").write_text("[]")
    assert artifact.adopted(folder).digest != found.digest
    (folder / "train.jsonl").unlink()
    with pytest.raises(UsageError, match="no artifact, no model"):
        artifact.adopted(folder)
    with pytest.raises(UsageError, match="no such folder"):
        artifact.adopted(tmp_path / "nowhere")


def test_an_artifact_given_as_a_folder_keeps_its_type_and_is_checked(tmp_path: Path) -> None:
    _, folder = made(tmp_path)
    assert artifact.adopted(folder).type == "data"
    (folder / "a.bin").write_bytes(b"54321")
    with pytest.raises(Mismatch, match=r"a\.bin has changed"):
        artifact.adopted(folder)


def test_a_pointer_moves_at_once_and_stays_inside_a_run_that_moves(tmp_path: Path) -> None:
    store, _ = made(tmp_path / "run")
    run = Run(tmp_path / "run", store)
    assert run.current("probe/algebra") is None
    run.point("probe/algebra", MARK)
    assert run.current("probe/algebra") == MARK
    assert run.current_nodes() == ("probe/algebra",)
    (tmp_path / "run").rename(tmp_path / "moved")
    moved = at(tmp_path / "moved")
    assert artifact.verify(moved.pointer("probe/algebra")) == ()
    assert locate(tmp_path / "moved" / "probe" / "algebra") == moved.store.artifact(MARK)
    with pytest.raises(UsageError, match="no run here"):
        existing(tmp_path / "moved")


def test_a_run_remembers_a_store_elsewhere(tmp_path: Path) -> None:
    store, folder = made(tmp_path / "store")
    run = at(tmp_path / "run", store.root)
    run.folder.mkdir()
    run.remember_store()
    run.point("base", MARK)
    assert at(tmp_path / "run").store.root == store.root
    assert run.pointer("base").resolve() == folder


@given(st.from_regex(r"[a-z_]{1,8}(/[A-Za-z0-9_.+,-]{1,12})?", fullmatch=True))
def test_node_names_and_file_names_are_one_to_one(id: str) -> None:
    assert node_id(file_name(id)) == id
    assert "/" not in file_name(id)


def test_a_linked_file_is_digested_like_any_file(tmp_path: Path) -> None:
    _, folder = made(tmp_path)
    out = tmp_path / "scratch" / "other" / "out"
    out.mkdir(parents=True)
    os.link(folder / "a.bin", out / "a.bin")
    assert scan(out).entries[0].sha256 == scan(folder).entries[0].sha256
    assert (out / "a.bin").stat().st_nlink == 2


def test_a_link_that_leads_nowhere_is_no_file_of_a_folder(tmp_path: Path) -> None:
    """S-A8: the user's folder is recognised before it is digested, and what is not there is not digested."""
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "gone").symlink_to("nowhere")
    assert artifact.adopted(tmp_path).files == ("config.json",)
    (tmp_path / "config.json").unlink()
    with pytest.raises(UsageError, match="no artifact, no model"):
        artifact.adopted(tmp_path)
