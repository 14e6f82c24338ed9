"""The spectrum recipe where no sandbox can be: refused with what to do, and with `nojail` run to its end."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from posttrain.graders.sandbox import level, protocol
from posttrain.graders.sandbox.service import Service

LANDLOCK = [444, 445, 446]
KERNEL = """
import json, sys
from posttrain.graders.sandbox.jail import kernel, seccomp
lost = json.loads(sys.argv.pop(1))
kernel.no_new_privileges()
kernel.Filter(seccomp.assemble([number for number in range(600) if number not in lost], [])).install()
from posttrain.cli.main import main
main()
"""
"""A kernel without some system calls, for this process and all it starts, and the command in it."""
UNABLE = """
import fcntl
for name in [name for name in dir(fcntl) if name.startswith("F_SEAL")]:
    delattr(fcntl, name)
"""
"""Imported by every Python that starts: one that could not load what runs programs, as on another system."""
TOKEN = "a-token-of-nobody-else"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of a machine that has a sandbox."""
    service = Service("127.0.0.1", 0, token=TOKEN, servers=2)
    answering = threading.Thread(target=service.serve_forever)
    answering.start()
    yield f"http://127.0.0.1:{service.server_address[1]}"
    service.shutdown()
    service.server_close()
    answering.join()


def command(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    place = folder / "python"
    place.mkdir(exist_ok=True)
    (place / "sitecustomize.py").write_text(UNABLE if "nojail" in words else "", encoding="utf-8")
    path = os.pathsep.join(filter(None, (str(place), os.environ.get("PYTHONPATH"))))
    line = [sys.executable, "-c", KERNEL, json.dumps(LANDLOCK), *words]
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True, timeout=900)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    done = command(folder, "run", "spectrum", "--profile", "smoke", "--profile", "nojail")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def made(folder: Path) -> dict[str, dict]:
    places = (folder / "runs" / "spectrum" / "nodes").iterdir()
    return {told["node"]: told for told in (json.loads((place / "manifest.json").read_text()) for place in places)}


def test_with_nojail_every_stage_runs_where_no_program_can(home):
    """S-D14: without a sandbox the run goes to its end, and its record says that nothing was run."""
    found = made(home)
    assert {"prepare/code", "rl_code", "exam_final", "gain_code"} <= set(found)
    level = {node: told["measured"]["environment"].get("sandbox") for node, told in found.items()}
    graded = {node for node, said in level.items() if said == "none"}
    assert {"prepare/code", "probe/code", "rl_code", "exam_base", "exam_final"} <= graded
    assert set(level.values()) == {"none", None}
    assert found["prepare/code"]["facts"]["knobs"]["code_tasks"] == "expression"
    assert found["prepare/code"]["metrics"]["bad_golds"]["value"] == 0


def test_what_was_not_run_is_told_at_the_top(home):
    """S-D14: the report says loudly that no program was run."""
    page = (home / "runs" / "spectrum" / "report.html").read_text(encoding="utf-8")
    assert "Not the default sandbox" in page.partition("<dl")[0] and "No program was run in" in page
    assert "Not the default sandbox: No program was run" in command(home, "status", "runs/spectrum").stdout


def test_no_answer_failed_for_want_of_a_sandbox(home):
    report = (home / "runs" / "spectrum" / "nodes" / "exam_final" / "report.json").read_text(encoding="utf-8")
    assert "sandbox_error" not in json.loads(report)["outcomes"]["code"]


def test_without_it_nothing_trains_and_the_profile_is_named(tmp_path):
    """S-D14: exit 4 names what is lacking and `nojail`, before anything is trained."""
    done = command(tmp_path, "run", "spectrum", "--profile", "smoke")
    assert done.returncode == 4, done.stdout + done.stderr
    assert "--profile nojail" in done.stdout + done.stderr
    assert "base" not in made(tmp_path)


def test_a_lower_level_is_taken_only_where_it_is_asked_for_twice_and_is_told_aloud(tmp_path, monkeypatch):
    """S-D14: below L2 a run needs the environment's word too; manifest, remarks, status and report say the level."""
    words = ("run", "spectrum", "--profile", "smoke", "--set", "resources.sandbox=L1", "--only", "prepare/code")
    monkeypatch.delenv("POSTTRAIN_SANDBOX_L1", raising=False)
    refused = command(tmp_path, *words)
    assert refused.returncode == 2 and "POSTTRAIN_SANDBOX_L1" in refused.stderr + refused.stdout
    monkeypatch.setenv("POSTTRAIN_SANDBOX_L1", "1")
    done = command(tmp_path, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    (told,) = made(tmp_path).values()
    assert told["measured"]["environment"]["sandbox"] == "L1"
    assert [remark["kind"] for remark in told["remarks"]].count("sandbox") == 1
    assert "Not the default sandbox: Programs ran at sandbox level L1" in done.stdout
    page = (tmp_path / "runs" / "spectrum" / "report.html").read_text(encoding="utf-8")
    assert "Not the default sandbox" in page.partition("<dl")[0]


def test_a_run_whose_programs_ran_elsewhere_is_judged_where_no_program_can(tmp_path, server, monkeypatch):
    """S-D14, C-S1: who judges names the server; unnamed, code alone is inconclusive: its record names none to ask."""
    monkeypatch.delenv("POSTTRAIN_SANDBOX", raising=False)
    monkeypatch.setenv(protocol.TOKEN, TOKEN)
    done = command(
        tmp_path,
        *("run", "spectrum", "--profile", "smoke", "--set", f"resources.sandbox={server}"),
        *("--only", "prepare/code", "--only", "prepare/algebra"),
    )
    there = f"{level.find('L2')}, elsewhere"
    assert done.returncode == 0 and f"Programs ran at sandbox level {there}, in 1 node." in done.stdout, done.stderr
    record = made(tmp_path)["prepare/code"]
    assert record["measured"]["environment"]["sandbox"] == there
    assert record["measured"].pop("resources")["sandbox"] == server
    assert server not in json.dumps(record)
    assert TOKEN not in command(tmp_path, "show", "runs/spectrum/prepare/code").stdout
    judged = command(tmp_path, "gate", "runs/spectrum", "--json")
    told = json.loads(judged.stdout)
    assert judged.returncode == 3, judged.stderr
    assert (
        list(told["uncounted"]) == ["prepare/code"] and "Set POSTTRAIN_SANDBOX to" in told["uncounted"]["prepare/code"]
    )
    values = {(verdict["node"], verdict["value"]) for verdict in told["verdicts"]}
    assert values == {("prepare/algebra", "pass"), ("prepare/code", "inconclusive")}
    said = command(tmp_path, "gate", "runs/spectrum").stdout
    assert "Not counted again" in said and "Set POSTTRAIN_SANDBOX to" in said
    monkeypatch.setenv("POSTTRAIN_SANDBOX", server)
    judged = command(tmp_path, "gate", "runs/spectrum", "--json")
    assert judged.returncode == 0 and not json.loads(judged.stdout)["uncounted"], judged.stdout + judged.stderr
