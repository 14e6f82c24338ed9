import gzip
import hashlib
from pathlib import Path

import pytest
from pydantic import ValidationError

from posttrain.data import rows
from posttrain.data.records import Problem, Rollout, Solution
from posttrain.spec.errors import Mismatch, UsageError


def problem(number: int) -> Problem:
    return Problem(
        id=f"p{number}",
        domain="algebra",
        prompt=f"What is {number}+\N{MINUS SIGN}1?\n\u2028end",
        answer=str(number - 1),
        solutions=(Solution(style="worked", text=f"\\boxed{{{number - 1}}}"),),
    )


@pytest.mark.parametrize("name", ["step-4.jsonl", "00000004.gz"])
def test_what_is_kept_is_found_whole_or_named(tmp_path: Path, name: str) -> None:
    """S-A7: an interrupted work never goes on with rows that were cut or changed, however well they read."""
    place, written = tmp_path / name, [problem(n) for n in range(5)]
    assert rows.kept(place) is None
    rows.write(place, written)
    assert rows.kept(place) is None, "a kill between writing and naming keeps nothing"
    for _ in range(2):
        rows.keep(place, written)
    file = rows.kept(place)
    assert file is not None and rows.read_all(file, Problem) == written
    assert [path.name for path in tmp_path.iterdir()] == [file.name]
    rows.write(file, written[:4])
    with pytest.raises(Mismatch, match="changed since"):
        rows.kept(place)


@pytest.mark.parametrize("name", ["train.jsonl", "train.jsonl.gz"])
def test_what_is_written_is_read(tmp_path: Path, name: str) -> None:
    written = [problem(n) for n in range(5)]
    assert rows.write(tmp_path / name, iter(written)) == 5
    assert rows.read_all(tmp_path / name, Problem) == written
    assert [p.name for p in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_equal_rows_give_equal_bytes(tmp_path: Path, suffix: str) -> None:
    """S-B7: neither time nor name of a file enters its bytes."""
    digests = set()
    for name in ("one", "two"):
        rows.write(tmp_path / f"{name}{suffix}", [problem(1), problem(2)])
        digests.add(hashlib.sha256((tmp_path / f"{name}{suffix}").read_bytes()).hexdigest())
    assert len(digests) == 1


@pytest.mark.parametrize(
    ("line", "field"),
    [
        (b'{"id": "x", "domain": "algebra", "prompt": "p"}', "answer"),
        (b'{"id": "x", "domain": "algebra", "prompt": "p", "answer": 3}', "answer"),
        (b'{"id": "x", "domain": "algebra", "prompt": "p", "answer": "3", "hint": "h"}', "hint"),
        (
            b'{"id": "x", "domain": "a", "prompt": "p", "answer": "3", "solutions": [{"style": "worked"}]}',
            "solutions.0.text",
        ),
        (b'{"id": "x", ', "whole line"),
        (b"", "whole line"),
        (b'{"id": "\xff"}', "whole line"),
    ],
)
def test_an_error_names_file_line_and_field(tmp_path: Path, line: bytes, field: str) -> None:
    """S-A11: errors name file, line, field."""
    path = tmp_path / "val.jsonl"
    path.write_bytes(problem(1).model_dump_json().encode() + b"\n" + line + b"\n")
    with pytest.raises(Mismatch) as stop:
        rows.read_all(path, Problem)
    assert stop.value.code == 6
    assert "val.jsonl line 2" in str(stop.value)
    assert field in str(stop.value)


def test_a_missing_or_cut_file_is_a_mismatch(tmp_path: Path) -> None:
    with pytest.raises(Mismatch, match="no such file"):
        rows.read_all(tmp_path / "train.jsonl", Problem)
    rows.write(tmp_path / "a.jsonl.gz", [problem(n) for n in range(50)])
    (tmp_path / "a.jsonl.gz").write_bytes((tmp_path / "a.jsonl.gz").read_bytes()[:-20])
    with pytest.raises(Mismatch, match="cut or damaged"):
        rows.read_all(tmp_path / "a.jsonl.gz", Problem)
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(b"x")[::-1])
    with pytest.raises(Mismatch, match="cut or damaged"):
        rows.read_all(tmp_path / "a.jsonl.gz", Problem)


def test_a_failed_writer_leaves_no_file(tmp_path: Path) -> None:
    def breaks():
        yield problem(1)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        rows.write(tmp_path / "train.jsonl", breaks())
    assert not (tmp_path / "train.jsonl").exists()


def test_a_row_holds_no_number_that_json_cannot_say() -> None:
    fields = {"step": 0, "id": "x", "domain": "d", "sample": 0, "prompt_ids": (1,), "ids": (2,), "text": "t"}
    with pytest.raises(ValidationError):
        Rollout(
            **fields, logprobs=(float("nan"),), finish="stop", outcome="right", reward=1, p=0.5, weight=1, advantage=0
        )


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b'{"prompt": "a \\ud800"}', "prompt: it holds half a character"),
        (b'{"prompt": null}', "prompt: it holds no text"),
        (b'{"text": "a"}', "prompt: there is no such field"),
        (b"[" * 100_000, "the whole line: it is not JSON"),
        (b"\xff\xfe{", "the whole line: it is not JSON: 'utf-8' codec"),
        (b"3", "the whole line: it is not a table"),
    ],
)
def test_lines_of_anybodys_file_are_refused_by_name(tmp_path: Path, line: bytes, says: str) -> None:
    """S-A11: file, line and field, whatever the line holds."""
    path = tmp_path / "any.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"prompt": "a", "n": 1}\n' + line + b"\n")
    found = rows.read_fields(path, ["prompt"])
    assert next(found) == {"prompt": "a"}
    with pytest.raises(Mismatch) as refused:
        next(found)
    assert refused.value.where == f"{path} line 2" and refused.value.what.startswith(says)


def test_a_folder_in_place_of_a_file_is_a_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        next(rows.read_fields(tmp_path, ["prompt"]))
