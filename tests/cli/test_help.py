"""Help is instant and says what a newcomer needs; nothing heavy is imported before work begins."""

import json
import os
import subprocess
import sys

import pytest

from cli.door import posttrain
from posttrain import __version__
from reports.recorded import spectrum

HEAVY = ("torch", "transformers", "numpy", "tokenizers", "safetensors", "jinja2", "rich")
PROBE = """
import json, sys
from posttrain.cli.main import main
sys.argv = ["posttrain", *sys.argv[1:]]
try:
    main()
except SystemExit as ended:
    print("\\n@@" + json.dumps({"code": ended.code or 0, "modules": sorted(sys.modules)}))
"""


def fresh(*arguments):
    """A command in a process of its own: its exit code and every module it imported."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *map(str, arguments)], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout.rpartition("@@")[2])


@pytest.mark.parametrize(
    "arguments", [["--help"], ["run", "--help"], ["--version"], ["kinds"], ["plan", "sft"], ["doctor"]]
)
def test_nothing_heavy_is_imported(arguments, tmp_path, monkeypatch):
    """S-A12, S-E3: help, version, kinds, plan and doctor start without torch, numpy or drawing."""
    monkeypatch.chdir(tmp_path)
    found = fresh(*arguments)
    assert found["code"] == 0
    assert not set(HEAVY) & set(found["modules"])


def test_status_reads_records_alone(tmp_path):
    found = fresh("status", spectrum(tmp_path))
    assert found["code"] == 0 and not set(HEAVY) & set(found["modules"])


def test_help_imports_no_part_of_the_machine():
    found = fresh("--help")
    assert not [name for name in found["modules"] if name.startswith(("posttrain.api", "posttrain.engine", "pydantic"))]


def test_help_names_every_verb_and_the_exit_codes():
    """S-E3: the verbs of this version, each with one line."""
    said = posttrain("--help")
    assert said.code == 0
    for verb in ("check", "plan", "run", "status", "report", "show", "kinds", "verify", "doctor"):
        assert f"\n  {verb} " in said.out
        assert posttrain(verb, "--help").code == 0
    assert "Exit codes: 0 pass, 1 a gate refused" in said.out and "..." not in said.out.partition("Commands:")[2]


@pytest.mark.parametrize("verb", ["check", "plan", "run"])
def test_the_three_verbs_of_a_recipe_share_their_options(verb):
    """S-E3, S-A5."""
    options = "--profile --set --only --from --until --again --jobs --run --store --dry-run --json"
    said = posttrain(verb, "--help").out
    assert all(f"{option} " in said for option in options.split())


def test_the_version():
    assert posttrain("--version").out == f"posttrain {__version__}\n"


def test_python_m_posttrain_is_the_same_command():
    done = subprocess.run([sys.executable, "-m", "posttrain", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"posttrain {__version__}\n"


def test_a_typing_slip_is_answered():
    said = posttrain("plan", "sft", "--profil", "tiny")
    assert said.code == 2 and "--profile" in said.err
    assert posttrain("plann").code == 2
    assert posttrain("run").code == 2


def test_a_reader_that_leaves_early_is_no_error(tmp_path):
    """`posttrain status RUN | head -1` prints no traceback."""
    command = f"{sys.executable} -m posttrain status {spectrum(tmp_path)} | head -1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, env=os.environ, check=True)
    assert "Traceback" not in done.stderr
