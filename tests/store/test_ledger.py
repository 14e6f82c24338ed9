"""One line per event, whole or not at all, from any number of writers."""

import json
import multiprocessing
import os
import random
import time
from itertools import count
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from posttrain.store.ledger import Ledger, Tail, Unread, read, unread


def test_records_read_back_in_order(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "ledger.jsonl"
    ledger = Ledger(path, run="r")
    ledger.write("node_started", node="a", attempt=1)
    ledger.write("run_finished", code=0)
    first, second = read(path)
    assert (first["event"], first["node"], first["run"], first["attempt"]) == ("node_started", "a", "r", 1)
    assert "node" not in second
    assert first["t"] <= second["t"]
    ledger.close()


def test_no_ledger_is_no_records(tmp_path: Path) -> None:
    assert list(read(tmp_path / "none")) == []
    assert Tail(tmp_path / "none").new() == []


def test_a_torn_last_line_is_skipped_and_does_not_spoil_the_next(tmp_path: Path) -> None:
    """Bad input: a ledger with a torn last line."""
    path = tmp_path / "ledger.jsonl"
    ledger = Ledger(path)
    ledger.write("one")
    with path.open("ab") as file:
        file.write(b'{"t": 1, "event": "to')
    assert [record["event"] for record in read(path)] == ["one"]
    ledger.write("two")
    assert [record["event"] for record in read(path)] == ["one", "two"]
    ledger.close()


GARBAGE = (b"garbage", b"\xff\xfe\x00", b"[]", b"{}", b'{"event": "plan"}', b'{"event": "e", "t": "x"}', b"[" * 100_000)


def test_what_is_no_record_is_counted_and_not_hidden(tmp_path: Path) -> None:
    """Bad input: a ledger with garbage in the middle, and with a line that a kill tore."""
    path = tmp_path / "ledger.jsonl"
    ledger = Ledger(path)
    ledger.write("one")
    assert (unread(path), str(unread(path))) == (Unread(), "")
    with path.open("ab") as file:
        file.write(b"".join(line + b"\n" for line in GARBAGE) + b"\n" + b'{"t":1,"run":"x"')
    ledger.write("two")
    ledger.close()
    assert [record["event"] for record in read(path)] == ["one", "two"]
    assert unread(path) == Unread((10,), tuple(range(2, 9)))
    told = "1 line is torn by a kill (10); 7 lines are no record of ours (2, 3, 4, 5, 6, …)"
    assert str(unread(path)) == told
    assert unread(tmp_path / "none") == Unread()


@given(cut=st.integers(0, 200))
def test_any_cut_loses_at_most_the_line_it_cuts(cut: int) -> None:
    path = Path(os.environ.get("TMPDIR", "/tmp")) / f"ledger-{os.getpid()}.jsonl"
    path.unlink(missing_ok=True)
    ledger = Ledger(path)
    for number in range(4):
        ledger.write("e", number=number)
    whole = path.read_bytes()
    os.truncate(path, min(cut, len(whole)))
    lines = whole[:cut].count(b"\n")
    assert [record["number"] for record in read(path)][:lines] == list(range(lines))
    ledger.write("after")
    found = list(read(path))
    assert found[-1]["event"] == "after"
    assert len(found) in (lines + 1, lines + 2), "a cut that spares a whole line may keep it"
    ledger.close()
    path.unlink()


def test_numbers_that_are_not_finite_become_null(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "l")
    ledger.write("step", metrics={"loss": float("nan"), "list": [float("inf"), 1.0]})
    (record,) = read(tmp_path / "l")
    assert record["metrics"] == {"loss": None, "list": [None, 1.0]}
    ledger.close()


def test_a_tail_sees_what_is_new_and_whole(tmp_path: Path) -> None:
    path = tmp_path / "l"
    ledger = Ledger(path)
    ledger.write("old")
    from_end, from_start = Tail(path, from_end=True), Tail(path)
    ledger.write("new")
    with path.open("ab") as file:
        file.write(b'{"t": 1, "event": "half')
    assert [record["event"] for record in from_end.new()] == ["new"]
    assert [record["event"] for record in from_start.new()] == ["old", "new"]
    with path.open("ab") as file:
        file.write(b'"}\n')
    assert [record["event"] for record in from_end.new()] == ["half"]
    assert from_end.new() == []
    ledger.close()


def write_many(path: Path, writer: int, many: int) -> None:
    ledger = Ledger(path, run=str(writer))
    for number in range(many):
        ledger.write("e", number=number, padding="x" * (writer * 37 % 5000))
    ledger.close()


def test_concurrent_writers_never_mix_lines(tmp_path: Path) -> None:
    """S-A19: every line of four processes is whole, each writer's in order."""
    path, many = tmp_path / "l", 300
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=write_many, args=(path, number * 40, many)) for number in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    lines = path.read_bytes().splitlines()
    assert len(lines) == 4 * many
    records = [json.loads(line) for line in lines]
    for number in range(4):
        assert [r["number"] for r in records if r["run"] == str(number * 40)] == list(range(many))


def test_records_of_some_events_alone(tmp_path: Path) -> None:
    """What asks for waivers does not parse ten thousand steps; an event's name inside another record is no event."""
    ledger = Ledger(tmp_path / "ledger.jsonl")
    for event, fields in (("step", {"loss": 1}), ("waived", {"gate": "g"}), ("verdict", {"waived": ""}), ("view", {})):
        ledger.write(event, **fields)
    ledger.close()
    assert [record["event"] for record in read(tmp_path / "ledger.jsonl", ("waived", "view"))] == ["waived", "view"]
    assert len(list(read(tmp_path / "ledger.jsonl"))) == 4


def write_on(path: Path, writer: int) -> None:
    """Write until killed; long lines, so that a kill finds one half written."""
    ledger = Ledger(path, run=str(writer))
    for number in count():
        ledger.write("e", number=number, padding="x" * (number * 7919 % 60_000))


def test_writers_that_are_killed_tear_at_most_a_line_each(tmp_path: Path) -> None:
    """S-A19: of a dozen writers half are killed at any moment: every other line is whole and in order, none mixed."""
    path, most, draw = tmp_path / "l", 1000, random.Random(5)
    path.touch()
    context = multiprocessing.get_context("fork")
    whole = [context.Process(target=write_many, args=(path, number, most)) for number in range(6)]
    killed = [context.Process(target=write_on, args=(path, number)) for number in range(6, 12)]
    for writer in (*whole, *killed):
        writer.start()
    for writer in killed:
        while path.stat().st_size < draw.randint(1, 40) * 100_000:
            time.sleep(0.001)
        writer.kill()
    for writer in (*whole, *killed):
        writer.join()
    assert [writer.exitcode for writer in (*whole, *killed)] == [0] * 6 + [-9] * 6
    records = list(read(path))
    lost = unread(path)
    assert lost.strange == () and len(lost.torn) <= 6
    assert path.read_bytes().count(b"\n") == len(records) + len(lost.torn) - (not path.read_bytes().endswith(b"\n"))
    for number in range(12):
        mine = [record["number"] for record in records if record["run"] == str(number)]
        assert mine == list(range(most if number < 6 else len(mine)))
