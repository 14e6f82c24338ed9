"""`posttrain doctor`: what works here, tried live; what a recipe needs and is not here is exit code 4."""

import json
import subprocess
import sys
from pathlib import Path
from threading import Thread

import pytest

from cli.door import Said, posttrain
from posttrain.engine import machine
from posttrain.graders.sandbox import level
from posttrain.graders.sandbox.service import Service
from posttrain.models.load import compute_format
from posttrain.store import disk

RECIPE = """
format = 1
name = "coded"
{top}
[stage.prepare]
kind = "prepare"
domain = "code"
{knobs}
"""
NO_PROGRAM = ('resources.sandbox = "none"', 'code_tasks = "expression"')
WITHOUT = """
import json, sys
from posttrain.graders.sandbox.jail import kernel, seccomp
lost = json.loads(sys.argv.pop(1))
kernel.no_new_privileges()
kernel.Filter(seccomp.assemble([number for number in range(600) if number not in lost], [])).install()
from posttrain.cli.main import main
main()
"""
"""A kernel without some system calls, for this process and all it starts, and the command in it."""
LANDLOCK, UNSHARE, SECCOMP = [444, 445, 446], [272], [317]


def without(calls: list[int], *arguments: object) -> "subprocess.CompletedProcess[str]":
    line = [sys.executable, "-c", WITHOUT, json.dumps(calls), *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, timeout=120)


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    return coded(tmp_path)


def coded(folder: Path, top: str = "", knobs: str = "") -> Path:
    path = folder / "coded.toml"
    path.write_text(RECIPE.format(top=top, knobs=knobs), encoding="utf-8")
    return path


def told(said: Said) -> dict:
    return json.loads(said.out)


def test_the_doctor_tells_level_and_live_checks(recipe, tmp_path):
    """S-D14: reports the level and each live self-test."""
    before = sorted(tmp_path.iterdir())
    said = posttrain("doctor", recipe, "--run", tmp_path)
    assert said.code == 0, said.out
    best = level.describe()["level"]
    assert f"Sandbox: {best} works" in said.out and "runs programs at L2 or better" in said.out
    for check in level.trial("L2").checks:
        assert f"\n    {check.name} " in said.out
    assert "FAILED" not in said.out and said.out.rstrip().endswith("needs works here.")
    assert max(map(len, said.out.splitlines())) <= 100
    assert sorted(tmp_path.iterdir()) == before


def test_the_doctor_tells_machines_the_same(recipe, tmp_path):
    found = told(posttrain("doctor", recipe, "--run", tmp_path, "--json"))
    assert found["code"] == 0 and found["missing"] == [] and found["wanted"] == "L2"
    assert found["sandbox"] == json.loads(json.dumps(level.describe()))
    assert found["machine"]["cores"] == machine.cores()
    assert {"posttrain", "python", "torch"} <= set(found["versions"])
    assert "math-verify" in {package["name"] for package in found["packages"]}


def test_the_shipped_recipe_is_examined_without_a_name():
    """S-A12: the default recipe's needs are met where its tests run."""
    assert posttrain("doctor").code == 0


def test_a_kernel_without_landlock_is_refused_with_what_to_do(recipe, tmp_path):
    """S-D14: the level that is missing, what the kernel lacks, and the profile that needs none."""
    done = without(LANDLOCK, "doctor", recipe, "--run", tmp_path)
    assert done.returncode == 4, done.stdout + done.stderr
    assert "\n  L2  fails  Landlock, CONFIG_SECURITY_LANDLOCK" in done.stdout
    assert "--profile nojail" in done.stdout.split("lacks something here:")[1]


def test_a_recipe_that_runs_no_program_needs_no_sandbox(tmp_path):
    """S-D14: without a level, what runs no program is well."""
    path = coded(tmp_path, *NO_PROGRAM)
    done = without(SECCOMP, "doctor", path, "--run", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no level works" in done.stdout and "runs no program" in done.stdout
    assert "CONFIG_SECCOMP_FILTER" in done.stdout


def test_code_that_must_be_run_is_missed_where_no_program_may(tmp_path):
    """S-D14: what a run of the recipe would stop at is told before, with the node and the way out."""
    said = posttrain("doctor", coded(tmp_path, 'resources.sandbox = "none"'), "--run", tmp_path)
    assert said.code == 4 and "runs no program" in said.out
    assert 'prepare: resources.sandbox = "none" lets no program run' in said.out and "--profile nojail" in said.out
    run = posttrain("run", tmp_path / "coded.toml", "--run", tmp_path / "run")
    assert run.code == 4


def test_a_kernel_without_namespaces_shows_which_level_is_left(recipe, tmp_path):
    done = without(UNSHARE, "doctor", recipe, "--run", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Sandbox: L2 works" in done.stdout and "namespaces" in done.stdout


def test_a_level_that_the_recipe_asks_for_is_the_one_that_counts(tmp_path):
    path = coded(tmp_path, 'resources.sandbox = "L3"')
    done = without(UNSHARE, "doctor", path, "--run", tmp_path)
    assert done.returncode == 4 and "L3 is required" in done.stdout


def test_a_server_that_runs_programs_elsewhere_is_asked(tmp_path):
    """S-D14: the sandbox over HTTP is there or named as missing."""
    with Service("127.0.0.1", 0, token="", servers=1) as service:
        Thread(target=service.serve_forever, daemon=True).start()
        path = coded(tmp_path, f'resources.sandbox = "http://127.0.0.1:{service.server_address[1]}"')
        said = posttrain("doctor", path, "--run", tmp_path)
        assert said.code == 0, said.out
        assert f"runs programs by http://127.0.0.1:{service.server_address[1]}" in said.out
        service.shutdown()
    gone = posttrain("doctor", path, "--run", tmp_path)
    assert gone.code == 4 and "--profile nojail" in gone.out


ELSEWHERE = """
import fcntl, sys
import posttrain.api, zoneinfo
sys.platform = "darwin"
for name in [name for name in dir(fcntl) if name.startswith("F_SEAL")]:
    delattr(fcntl, name)
from posttrain.cli.main import main
main()
"""
"""A platform that is not Linux, as far as a program can tell without trying."""


@pytest.mark.parametrize(("said", "code"), [((), 4), (NO_PROGRAM, 0)])
def test_elsewhere_than_on_linux_only_what_runs_no_program_is_well(tmp_path, said, code):
    """S-D14: the doctor works where no sandbox can, and names the profile that needs none."""
    line = [sys.executable, "-c", ELSEWHERE, "doctor", str(coded(tmp_path, *said)), "--run", str(tmp_path)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=120)
    assert done.returncode == code, done.stdout + done.stderr
    assert "no level works" in done.stdout and "support for darwin" in done.stdout
    assert ("--profile nojail" in done.stdout) == bool(code)


def test_a_disk_without_locks_is_refused(recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(disk.fcntl, "flock", lambda *_: None)
    said = posttrain("doctor", recipe, "--run", tmp_path / "not" / "yet")
    assert said.code == 4 and "locks (two hold one lock)" in said.out and f"Disk under {tmp_path}" in said.out


def test_a_disk_without_hard_links_will_do(recipe, tmp_path, monkeypatch):
    def refuses(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(disk.os, "link", refuses)
    said = posttrain("doctor", recipe, "--run", tmp_path)
    assert said.code == 0 and "files are copied instead" in said.out


def test_a_device_that_is_named_and_absent_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "NVIDIA", (f"{tmp_path}/nvidia[0-9]*",))
    said = posttrain("doctor", coded(tmp_path, 'resources.device = "cuda"'), "--run", tmp_path)
    assert said.code == 4 and "the device cuda, which is not here" in said.out


def test_a_recipe_that_does_not_hold_is_refused(tmp_path):
    assert posttrain("doctor", tmp_path / "none.toml").code == 2


def test_the_formats_told_are_those_the_loader_takes(tmp_path):
    assert bool(machine.bf16()) == (compute_format("auto", "cpu") == "bf16")
    planted = tmp_path / "cpuinfo"
    planted.write_text("model name\t: Some Chip 9\nflags\t\t: fpu amx_bf16 sse\n", encoding="utf-8")
    assert (machine.processor(planted), machine.bf16(planted)) == ("Some Chip 9", ("amx_bf16",))
    assert machine.bf16(tmp_path / "none") == ()


def test_the_lowest_level_needs_the_word_of_the_environment(tmp_path, monkeypatch):
    """S-D14: a recipe that lowers the level is told what else that takes."""
    path = coded(tmp_path, 'resources.sandbox = "L1"')
    monkeypatch.delenv("POSTTRAIN_SANDBOX_L1", raising=False)
    said = posttrain("doctor", path, "--run", tmp_path)
    assert said.code == 4 and "POSTTRAIN_SANDBOX_L1" in said.out
    monkeypatch.setenv("POSTTRAIN_SANDBOX_L1", "1")
    assert posttrain("doctor", path, "--run", tmp_path).code == 0
