"""What a run says while it goes: one plain line per event in a log, bars on a terminal."""

import io

import pytest

from posttrain.cli.live import Bars, Lines, Live


def record(t, event, node=None, **fields):
    return {"t": float(t), "run": "1", "event": event, **({"node": node} if node else {}), **fields}


STORY = [
    record(0, "run_started", recipe="spectrum", profiles=["tiny"], seed=17, jobs=2),
    record(0, "plan", decisions=[{"node": "prepare/algebra", "action": "keep"}, {"node": "base", "action": "run"}]),
    record(1, "node_started", "base", reasons=["knob steps: 8 → 4"], attempt=1),
    record(2, "step", "base", metrics={"step": 1, "loss": 2.345678}),
    record(3, "progress", "base", done=1, total=4, unit="steps"),
    record(25, "progress", "base", done=3, total=4, unit="steps"),
    record(26, "note", "base", kind="dropped", text="a row too long", count=3),
    record(70, "node_finished", "base", measured={"wall_s": 69.0}),
    record(70, "verdict", "base", gate="sound", value="pass", severity="stop", reason="0 equals 0"),
    record(71, "verdict", "base", gate="kept", value="inconclusive", severity="warn", reason="too few"),
    record(72, "verdict", "fuse", gate="sound", value="not_run", severity="stop", reason="base failed"),
    record(73, "node_blocked", "fuse", reasons=["gate sound of base is fail"]),
    record(74, "node_failed", "rl", what="the loss is nan", again=True),
    record(75, "node_failed", "rl", what="the loss is nan", again=False),
    record(76, "run_finished", code=7),
]


def test_a_log_has_a_line_for_what_matters():
    """S-A8: readable in CI: when, what, which node, why; passes and single steps are not told."""
    told: list[str] = []
    with Lines(told.append) as live:
        for event in STORY:
            live.hear(event)
    assert told == [
        "  0:00  run     spectrum: profiles tiny, seed 17, 2 nodes at a time",
        "  0:00  plan    2 nodes: 1 run, 1 keep",
        "  0:01  start   base             knob steps: 8 → 4",
        "  0:25          base             3 of 4 steps, loss 2.346",
        "  0:26  note    base             a row too long (3)",
        "  1:10  done    base             1 min 09 s",
        "  1:11  gate    base             kept: inconclusive, a warning: too few",
        "  1:13  blocked fuse             gate sound of base is fail",
        "  1:14  retry   rl               the loss is nan",
        "  1:15  FAILED  rl               the loss is nan",
    ]


def test_a_hang_is_told_to_its_end_and_heartbeats_are_silent():
    told: list[str] = []
    live = Lines(told.append)
    where = " ← ".join(f"stages/sft.py:{line} run" for line in range(9))
    for kind in ("hang", "sample"):
        live.hear(record(1, "note", "base", kind=kind, text=f"hangs? Quiet for 120 s: it stands in {where}", count=1))
    live.hear(record(2, "heartbeat", "base", pid=5, cpu_s=1.0, memory=1, quiet_s=0.0))
    live.hear(record(3, "note", kind="capacity", text="2 of the 4 nodes asked for run at a time", count=1))
    whole, cut, last = told
    assert whole.endswith("stages/sft.py:8 run") and cut.endswith("…")
    assert last == "  0:02  note    2 of the 4 nodes asked for run at a time"


def test_progress_is_told_now_and_then_only():
    told: list[str] = []
    live = Lines(told.append)
    for second in range(100):
        live.hear(record(second, "progress", "base", done=second, total=100, unit="steps"))
    assert len(told) == 4


def test_a_record_cannot_act_on_the_terminal():
    told: list[str] = []
    Lines(told.append).hear(record(0, "node_failed", "base", what="\x1b[2Jgone\nnext"))
    (line,) = told
    assert "\x1b" not in line and "\n" not in line


@pytest.mark.parametrize("wide", [60, 140])
def test_bars_come_and_go(monkeypatch, wide):
    monkeypatch.setenv("COLUMNS", str(wide))
    bars = Bars()
    bars._bars.console.file = io.StringIO()
    with bars as live:
        for event in STORY:
            live.hear(event)
    shown = bars._bars.console.file.getvalue()
    assert "FAILED  rl" in shown and "done    base" in shown
    assert not bars._tasks


def test_a_pipe_gets_lines_and_json_gets_silence(capsys):
    assert isinstance(Live.of(quiet=False), Lines)
    with Live.of(quiet=True) as live:
        live.hear(STORY[1])
    assert capsys.readouterr().out == ""
