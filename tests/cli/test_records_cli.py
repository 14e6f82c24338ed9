"""status, report and show on a run's records, through the real command line."""

import json
import re
import time

import pytest

from cli.door import posttrain
from reports.recorded import refused, spectrum


@pytest.fixture
def run(tmp_path):
    return spectrum(tmp_path / "runs" / "spectrum")


def test_status_tells_nodes_gates_and_time(run):
    said = posttrain("status", run)
    assert said.code == 0
    lines = said.out.splitlines()
    assert lines[0] == f"spectrum in {run}: profiles tiny, seed 17"
    assert lines[1].startswith("Passed: Every stop gate passed (exit code 0). Started 2026-11-18 11:06 UTC, took 11 ")
    assert "  base                        ran    3 min 24 s  pass: sound" in lines
    assert "inconclusive (warn)  kept  spectrum_kept/calculus" in said.out
    assert lines[-1].startswith("30 pass of the gates that stop a run; 1 pass, 3 inconclusive of those that warn.")
    assert lines[-1].endswith("Nodes took 10 min 04 s together.")


def test_status_tells_that_a_running_node_lives(tmp_path):
    folder = spectrum(tmp_path / "runs" / "spectrum")
    now = time.time()
    beat = {"pid": 5, "cpu_s": 2.0, "memory": 3 << 29, "quiet_s": 75.0}
    records = [
        (now - 80, "node_started", {"node": "base", "fingerprint": "f", "attempt": 1}),
        (now - 60, "progress", {"node": "base", "done": 30, "total": 700, "unit": "steps"}),
        (now - 3, "heartbeat", {"node": "base", **beat}),
    ]
    lines = [json.dumps({"t": t, "run": "later", "event": event, **fields}) for t, event, fields in records]
    with (folder / "ledger.jsonl").open("a") as ledger:
        ledger.write("\n".join(lines) + "\n")
    told = posttrain("status", folder).out
    assert re.search(r"base +running +30 of 700 steps, alive \d s ago, 1\.5 GiB, quiet for 1 min 15 s", told), told


def test_status_without_a_folder_takes_the_newest_run(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert posttrain("status").out.startswith("spectrum in runs/spectrum")
    monkeypatch.chdir(run)
    assert posttrain("status").out.startswith("spectrum in .")


def test_status_for_machines(run):
    told = json.loads(posttrain("status", run, "--json").out)
    assert told["code"] == 0 and len(told["nodes"]) == 30 and len(told["verdicts"]) == 34


def test_a_refused_run_reads_as_refused(tmp_path):
    said = posttrain("status", refused(tmp_path / "run"))
    assert said.code == 0 and "Refused: A gate refused (exit code 1)." in said.out
    assert "fail" in said.out and "final" in said.out


def test_report_prints_the_path(run, tmp_path):
    assert posttrain("report", run).out == f"{run / 'report.html'}\n"
    assert (run / "report.html").read_text().startswith("<!doctype html>")
    out = tmp_path / "told.md"
    assert posttrain("report", run, "--out", out).out == f"{out}\n"
    assert out.read_text().startswith("# spectrum: passed")
    said = posttrain("report", run, "--out", tmp_path / "told.pdf")
    assert said.code == 2 and "a report is .html, .md, .json" in said.err


def test_show_goes_back_to_the_data(run):
    """S-A1: lineage, metrics with intervals, files with digests, why it was made."""
    said = posttrain("show", run / "probe" / "algebra")
    assert said.code == 0
    for line in (
        "  made because  never made",
        "  model: specialist/algebra (sft)",
        "    model: base (base)",
        "      data: prepare/algebra (prepare)",
        "  pass@8   0.62  [0.575, 0.665]  n 250",
        "  choice.json",
    ):
        assert line in said.out


def test_show_for_machines(run):
    told = json.loads(posttrain("show", run / "fuse", "--json").out)
    assert told["manifest"]["node"] == "fuse" and told["ran_because"] == ["never made"]
    nodes = {one["node"] for one in told["lineage"].values()}
    assert {"fuse", "base", "probe/algebra", "specialist/geometry", "prepare/statistics"} <= nodes


def test_show_of_what_was_not_made_tells_why(run):
    ledger = run / "ledger.jsonl"
    decision = {"node": "later", "stage": "base", "kind": "rl", "action": "blocked", "reasons": ["gate final is fail"]}
    with ledger.open("a") as out:
        out.write(json.dumps({"t": 1, "event": "plan", "decisions": [decision]}) + "\n")
    said = posttrain("show", run / "later")
    assert said.code == 0 and "later: nothing made" in said.out and "gate final is fail" in said.out


def test_terminal_control_in_records_does_not_act(run):
    """A record cannot move the cursor or change colours."""
    decision = {"node": "base", "stage": "base", "kind": "base", "action": "blocked", "reasons": ["\x1b[2J\u202egone"]}
    with (run / "ledger.jsonl").open("a") as out:
        out.write(json.dumps({"t": 1, "event": "plan", "decisions": [decision]}) + "\n")
    said = posttrain("status", run)
    assert "\x1b" not in said.out and "⟨U+001B⟩[2J⟨U+202E⟩gone" in said.out
