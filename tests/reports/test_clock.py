"""A clock that was set while a run was on: what happened, in which order and how long it took is told as ever."""

import json
from pathlib import Path

import pytest

from posttrain.cli import tables
from posttrain.reports.read import read
from reports.recorded import spectrum

YEARS = 20 * 365 * 86_400.0
JUMPS = {
    "back an hour": (-3600.0,),
    "back for years": (-YEARS,),
    "forth for years": (YEARS,),
    "to and fro": (YEARS, -2 * YEARS, 3600.0, YEARS, -60.0),
}


def set_clock(folder: Path, jumps: tuple[float, ...]) -> None:
    """Move every record by what the clock was set before it."""
    path = folder / "ledger.jsonl"
    records = [json.loads(line) for line in path.read_text().splitlines()]
    at = {len(records) * (number + 1) // (len(jumps) + 1): jump for number, jump in enumerate(jumps)}
    shift = 0.0
    for number, record in enumerate(records):
        shift += at.get(number, 0.0)
        record["t"] += shift
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


@pytest.mark.parametrize("case", JUMPS)
def test_a_clock_that_jumps_changes_no_order_and_no_duration(tmp_path: Path, case: str) -> None:
    """Issue: clock jumps; of a finished run the whole view and what status prints are equal."""
    folder = spectrum(tmp_path)
    before, shown = read(folder), tables.status(read(folder))
    set_clock(folder, JUMPS[case])
    after = read(folder)
    assert after.took == before.took == 702.4
    assert list(after.nodes) == list(before.nodes)
    assert after == before
    assert tables.status(after) == shown


@pytest.mark.parametrize("case", JUMPS)
def test_a_run_that_was_killed_took_what_was_heard_of_it(tmp_path: Path, case: str) -> None:
    """Without a last word a jump costs the count no more than the time between two records."""
    folder = spectrum(tmp_path)
    path = folder / "ledger.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    before = read(folder)
    set_clock(folder, JUMPS[case])
    after = read(folder)
    assert before.took == pytest.approx(702.4, abs=1)
    assert after.took is not None and before.took - 4 <= after.took <= before.took
    assert after.nodes == before.nodes
