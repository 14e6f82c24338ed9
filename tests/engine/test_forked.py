"""The real executor: forked children, kills, deadlines, failures beside work that is kept."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engine.toy_kinds import TOYS, Bed, forked
from posttrain import api
from posttrain.engine.local import LocalExecutor
from posttrain.engine.run import Ended, Finished, Task
from posttrain.spec.errors import UsageError
from posttrain.store import ledger
from posttrain.store.lock import Lock


@pytest.fixture
def bed(tmp_path: Path) -> Bed:
    return Bed(tmp_path)


def run(bed: Bed, *sets: str, **more: object) -> Finished:
    return api.run(bed.asked(*sets, **more), kinds=TOYS, executor=forked())


def alive(pid: int) -> bool:
    """Whether a process runs: one that is dead and not yet collected does not."""
    try:
        os.kill(pid, 0)
        status = Path(f"/proc/{pid}/stat")
        return not status.exists() or status.read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def wait_until(true: object, seconds: float = 20.0) -> None:
    assert callable(true)
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def living(folder: Path, name: str) -> list[Path]:
    """The files of this name in a folder that a run is changing: rglob breaks off where one goes while it looks."""
    return [Path(place) / name for place, _, files in os.walk(folder) if name in files]


def test_looking_into_a_folder_that_a_run_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that goes between being listed and being entered is not there, and that is all."""
    for path in (tmp_path / "gone" / "grandchild", tmp_path / "stays" / "grandchild"):
        path.parent.mkdir()
        path.write_text("1")
    entered = os.scandir

    def too_late(path: str) -> object:
        if str(path).endswith("gone"):
            raise FileNotFoundError(path)
        return entered(path)

    monkeypatch.setattr(os, "scandir", too_late)
    assert living(tmp_path, "grandchild") == [tmp_path / "stays" / "grandchild"]


def test_parallel_nodes_give_the_bytes_of_sequential_ones(tmp_path: Path) -> None:
    """S-A16: --jobs N gives the digests of one job, with separate logs."""
    beds = []
    for jobs in (1, 3):
        (tmp_path / str(jobs)).mkdir()
        beds.append(Bed(tmp_path / str(jobs)))
        result = run(beds[-1], "stage.train.steps=3", jobs=jobs)
        assert result.code == 0
    assert beds[0].digests() == beds[1].digests()
    assert {path.name for path in (beds[1].folder / "logs").iterdir()} >= {"train.algebra.log", "train.geometry.log"}


def test_two_nodes_run_side_by_side(bed: Bed) -> None:
    run(bed, "stage.prepare.wait_s=0.5", jobs=2, until=("prepare",))
    records = [r for r in ledger.read(bed.folder / "ledger.jsonl") if r["event"] in ("node_started", "node_finished")]
    assert [record["event"] for record in records[:2]] == ["node_started", "node_started"]


def test_one_failure_keeps_the_others_work(bed: Bed) -> None:
    """S-A16, S-A8: exit 7, one-line cause, log path, exact resume command, dependants blocked, the rest done."""
    result = run(bed, "stage.fuse.trouble=crash")
    assert result.code == 7
    assert result.fates == {
        **{f"{stage}/{domain}": "ran" for stage in ("prepare", "train") for domain in ("algebra", "geometry")},
        "fuse": "failed",
        "exam": "blocked",
    }
    (failure,) = result.failures
    assert failure.error.what == "ValueError: a defect of ours"
    assert "Traceback" in failure.log.read_text()
    assert result.resume == f"posttrain run {bed.folder / 'recipe.json'}"

    failed = [record for record in ledger.read(bed.folder / "ledger.jsonl") if record["event"] == "node_failed"]
    assert [(record["node"], record["code"]) for record in failed] == [("fuse", 7)]


def test_what_was_asked_for_again_and_is_not_made_is_asked_for_again(bed):
    """S-A8: without it the command that goes on would keep the artifact that was not wanted any more."""
    bed.run()
    result = run(bed, "stage.train.trouble=failed", again=("train",))
    assert result.code == 7
    assert result.resume.endswith("recipe.json --again train/algebra --again train/geometry")


def test_a_failing_stage_stops_what_is_below(bed: Bed) -> None:
    """S-A9: nothing is fused from what is left."""
    result = run(bed, "stage.train.trouble=mismatch")
    assert result.code == 6
    assert {result.fates[id] for id in ("train/algebra", "train/geometry")} == {"failed"}
    assert result.fates["fuse"] == "blocked"


@pytest.mark.parametrize(
    ("trouble", "code"), [("usage", 2), ("need", 4), ("budget", 5), ("mismatch", 6), ("failed", 7), ("crash", 7)]
)
def test_an_error_of_a_node_is_the_exit_code(bed: Bed, trouble: str, code: int) -> None:
    """S-A8: its own code."""
    result = run(bed, f"stage.prepare.trouble={trouble}", until=("prepare/algebra",))
    assert (result.code, [failure.node for failure in result.failures]) == (code, ["prepare/algebra"])


def test_a_killed_node_goes_on_from_its_scratch_folder(tmp_path: Path) -> None:
    """S-A7: kill -9 in the middle, the same command, the bytes of an uninterrupted run."""
    folders = {name: tmp_path / name for name in ("killed", "whole")}
    beds = {}
    for name, folder in folders.items():
        folder.mkdir()
        beds[name] = Bed(folder)
    killed, steps = beds["killed"], "stage.fuse.steps=8"
    first = run(killed, steps, "stage.fuse.trouble=kill")
    assert first.code == 7
    assert "SIGKILL" in first.failures[0].error.what
    planned = api.plan(killed.asked(steps, "stage.fuse.trouble=kill"), kinds=TOYS).plan
    assert planned.decisions["fuse"].reasons == ("nothing made yet", "goes on where it was stopped")
    second = run(killed, steps, "stage.fuse.trouble=kill")
    assert second.code == 0
    assert [id for id, fate in second.fates.items() if fate == "ran"] == ["fuse", "exam"]
    whole = run(beds["whole"], steps)
    assert whole.code == 0
    assert killed.digests() == beds["whole"].digests()
    seen = [
        (record["fingerprint"], record["metrics"]["step"])
        for record in ledger.read(killed.folder / "ledger.jsonl")
        if record["event"] == "step"
    ]
    assert len(seen) == len(set(seen)) == 8, "no step is done twice"
    measured = api.show(killed.folder / "fuse").manifest.measured
    assert measured["attempts"] == 2
    assert not any((killed.folder / "scratch").iterdir())


def test_retries(bed: Bed) -> None:
    bed.recipe.write_text(
        bed.recipe.read_text().replace("[stage.fuse]", '[stage.fuse]\ntrouble = "flaky"\nretries = 1')
    )
    assert run(bed).code == 0
    events = [r["event"] for r in ledger.read(bed.folder / "ledger.jsonl") if r.get("node") == "fuse"]
    assert events[:3] == ["node_started", "node_failed", "node_started"]


def test_a_timeout_ends_the_whole_group(bed: Bed) -> None:
    """Exit 8; a grandchild that ignores TERM is gone too."""
    bed.recipe.write_text(
        bed.recipe.read_text().replace("[stage.fuse]", '[stage.fuse]\ntrouble = "hang"\ntimeout = 0.5')
    )
    result = run(bed)
    assert result.code == 8
    (pid_file,) = (bed.folder / "scratch").rglob("grandchild")
    wait_until(lambda: not alive(int(pid_file.read_text())))
    assert "most recent call first" in result.failures[0].log.read_text(), "the log says where it hung"


SCRIPT = """
import signal
import sys
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job inherits it as ignored
from engine.toy_kinds import TOYS, Bed, forked
from posttrain import api
bed = Bed(Path(sys.argv[1]))
result = api.run(bed.asked(*sys.argv[2:]), kinds=TOYS, executor=forked())
sys.exit(result.code)
"""


def started(bed: Bed, *sets: str) -> tuple[subprocess.Popen[bytes], int]:
    """A run in a process of its own, and the grandchild of its hanging node."""
    tests = Path(__file__).parents[1]
    command = [sys.executable, "-c", SCRIPT, str(bed.recipe.parent), *sets]
    process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(tests)})
    try:
        wait_until(lambda: any(path.read_text() for path in living(bed.folder, "grandchild")))
    except BaseException:
        process.kill()
        process.wait()
        raise
    (pid_file,) = living(bed.folder, "grandchild")
    return process, int(pid_file.read_text())


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])


@pytest.mark.skipif(not Path("/proc").exists(), reason="reads /proc")
def test_the_death_of_the_parent_ends_every_child(bed: Bed) -> None:
    process, grandchild = started(bed, "stage.prepare.trouble=hang", "stage.prepare.each={}", "stage.prepare.domain=x")
    child = parent_of(grandchild)
    assert alive(child)
    process.kill()
    process.wait()
    wait_until(lambda: not alive(child) and not alive(grandchild))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_is_130_and_leaves_nothing_running(bed: Bed, number: int) -> None:
    """Exit 130: children gone, finished work kept, on record."""
    process, grandchild = started(bed, "stage.fuse.trouble=hang")
    process.send_signal(number)
    assert process.wait() == 130
    assert not alive(grandchild)
    records = list(ledger.read(bed.folder / "ledger.jsonl"))
    assert (records[-1]["event"], records[-1]["code"]) == ("run_finished", 130)
    assert run(bed).code == 0


def test_a_second_driver_of_a_run_is_told_who_holds_it(bed: Bed) -> None:
    """S-A19: a second run on one folder exits naming the holder's pid; a dead one's lock is no lock."""
    lock = Lock(bed.folder / "lock")
    assert lock.take() is None
    with pytest.raises(UsageError, match=f"process {os.getpid()} on "):
        run(bed)
    lock.release()
    (bed.folder / "lock").write_text(json.dumps({"pid": 1, "host": "elsewhere", "since": 0}))
    assert run(bed, until=("prepare",)).code == 0


def test_two_runs_of_one_store_make_an_artifact_once(tmp_path: Path) -> None:
    """S-A19: the second waits for the first and takes what it made."""
    store, beds = tmp_path / "store", []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        beds.append(Bed(tmp_path / name))
    sets = ("stage.prepare.wait_s=0.6",)
    tests = Path(__file__).parents[1]
    script = SCRIPT.replace("bed.asked(*sys.argv[2:])", f"bed.asked(*sys.argv[2:], store=Path({str(store)!r}))")
    commands = [[sys.executable, "-c", script, str(bed.recipe.parent), *sets] for bed in beds]
    environment = {**os.environ, "PYTHONPATH": str(tests)}
    processes = [subprocess.Popen(command, env=environment) for command in commands]
    assert [process.wait() for process in processes] == [0, 0]
    assert beds[0].digests() == beds[1].digests()
    assert len(list((store / "artifacts").iterdir())) == 6
    assert not list((store / "locks").iterdir())


def test_nothing_to_do_starts_no_worker(bed: Bed) -> None:
    run(bed)
    started: list[Task] = []

    class Refusing(LocalExecutor):
        def prepare(self) -> None:
            raise AssertionError("the worker must not start")

    result = api.run(bed.asked(), kinds=TOYS, executor=Refusing("engine.toy_kinds:work"))
    assert (result.code, started) == (0, [])


def test_a_worker_that_dies_fails_what_ran(tmp_path: Path) -> None:
    executor = LocalExecutor("engine.no_such_module:work", warm=())
    executor.start(Task("node", tmp_path / "node.log", None, ()))
    ended: tuple[Ended, ...] = ()
    while not ended:
        ended = executor.wait(5)
    assert ended[0].error is not None
    assert "worker process died" in ended[0].error.what
    executor.close()


def test_the_ledger_tells_the_story(bed: Bed) -> None:
    """S-A13: events of a run, steps and measured numbers included."""
    result = run(bed, "stage.fuse.steps=2")
    records = list(ledger.read(bed.folder / "ledger.jsonl"))
    assert len({record["run"] for record in records}) == 1
    assert [records[0]["event"], records[1]["event"], records[-1]["event"]] == ["run_started", "plan", "run_finished"]
    (finished,) = [r for r in records if r["event"] == "node_finished" and r["node"] == "fuse"]
    assert finished["measured"]["rate"] == 3.5
    assert {"wall_s", "cpu_s", "peak_memory", "attempts", "environment", "resources"} <= finished["measured"].keys()
    steps = [record["metrics"] for record in records if record["event"] == "step"]
    assert steps == [{"step": 0, "loss": 1.0}, {"step": 1, "loss": 0.5}]
    verdicts = [record for record in records if record["event"] == "verdict"]
    assert len(verdicts) == len(result.verdicts) == 6


def test_no_measured_number_stands_in_a_file_of_an_artifact(bed: Bed) -> None:
    run(bed, "stage.fuse.steps=2")
    for node in ("fuse", "exam"):
        shown = api.show(bed.folder / node)
        assert [entry.name for entry in shown.manifest.files] == ["out.json"]
