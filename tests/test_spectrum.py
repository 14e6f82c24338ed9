"""The spectrum recipe from end to end as a user runs it: real command, small model, smoke profile."""

import gzip
import hashlib
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

import posttrain

PACKAGE = Path(posttrain.__file__).parent
ROOT = Path(__file__).parents[1]


def command(*words: str, cwd: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    line, told = [sys.executable, "-m", "posttrain", *words], {**os.environ, **environ}
    return subprocess.run(line, cwd=cwd, capture_output=True, text=True, check=False, timeout=900, env=told)


def package_digest() -> str:
    total = hashlib.sha256()
    for path in sorted(p for p in PACKAGE.rglob("*") if p.is_file() and "__pycache__" not in p.parts):
        total.update(path.as_posix().encode() + path.read_bytes())
    return total.hexdigest()


def manifests(run: Path) -> dict[str, dict]:
    found = {}
    for place in (run / "nodes").iterdir():
        manifest = json.loads((place / "manifest.json").read_text())
        found[manifest["node"]] = manifest
    return found


def digests(run: Path) -> dict[str, str]:
    return {node: manifest["digest"] for node, manifest in manifests(run).items()}


def records(run: Path, event: str) -> list[dict]:
    found = [json.loads(line) for line in (run / "ledger.jsonl").read_text().splitlines()]
    return [record for record in found if record["event"] == event]


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A folder that is not the repository, with a space and an accent in its name."""
    folder = tmp_path_factory.mktemp("far away é")
    before = package_digest()
    done = command("run", "spectrum", "--profile", "smoke", cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert package_digest() == before
    return folder


@pytest.fixture(scope="module")
def run(home) -> Path:
    return home / "runs" / "spectrum"


def test_one_command_makes_every_stage(run):
    """S-A1, S-A4, S-E1: from any directory, prepare to exam, exit 0; the package stays byte-identical."""
    made = manifests(run)
    domains = ["algebra", "geometry", "calculus", "statistics", "code"]
    expected = {"base", "fuse", "rl_math_short", "rl_math_long", "rl_math_longer", "rl_code"}
    expected |= {"exam_base", "exam_fused", "exam_maths", "exam_final"}
    expected |= {"gain_specialist", "gain_fused", "gain_rl", "gain_code", "maths_kept"}
    for stage in ("prepare", "specialist", "probe", "exam_specialist", "spectrum_kept"):
        expected |= {f"{stage}/{domain}" for domain in domains}
    assert set(made) == expected
    for manifest in made.values():
        assert len(manifest["fingerprint"]) == 64
        for file in manifest["files"]:
            assert len(file["sha256"]) == 64
        for parents in manifest["facts"]["inputs"].values():
            assert all(made[parent["node"]]["digest"] == parent["digest"] for parent in parents)
    verdicts = records(run, "verdict")
    assert {v["gate"] for v in verdicts} == {"overlap", "golds", "sound", "averaged"}
    assert {v["value"] for v in verdicts} == {"pass"}
    assert (run / "report.html").stat().st_size > 10_000


def test_stock_classes_load_the_result(run):
    """S-A1: AutoModelForCausalLM and AutoTokenizer load the final model and generate."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = run / "nodes" / "rl_code"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    asked = tokenizer("Solve 9x-29=-137 for x.\n", return_tensors="pt")
    out = model.generate(**asked, max_new_tokens=4, do_sample=False)
    assert out.shape[1] > asked["input_ids"].shape[1]


def test_the_second_run_keeps_everything(home, run):
    """S-B1, S-A12: nothing re-runs, nothing of torch is imported, the plan says keep for every node."""
    before = digests(run)
    planned = command("plan", "spectrum", "--profile", "smoke", "--json", cwd=home)
    decisions = json.loads(planned.stdout)["decisions"]
    assert len(decisions) == len(before)
    assert {decision["action"] for decision in decisions} == {"keep"}
    started = len(records(run, "node_started"))
    done = command("run", "spectrum", "--profile", "smoke", cwd=home)
    assert done.returncode == 0
    assert len(records(run, "node_started")) == started
    assert digests(run) == before


def test_gate_finds_in_the_rows_what_the_run_said(home, run):
    """C-S1: gate alone counts every metric again and gives the run's verdicts; a number leads back to its data."""
    said = {(v["node"], v["gate"]): v["value"] for v in records(run, "verdict")}
    judged = command("gate", str(run), "--json", cwd=home)
    told = json.loads(judged.stdout)
    assert (judged.returncode, told["unjudged"], told["mismatches"], told["remarks"]) == (0, {}, {}, [])
    assert {(v["node"], v["gate"]): v["value"] for v in told["verdicts"]} == said
    shown = command("show", str(run / "exam_final"), "--metric", "pass@1", "--json", cwd=home)
    traced = json.loads(shown.stdout)
    assert [file["name"] for file in traced["files"]] == ["report.json", "scores.jsonl"]
    assert traced["files"][1]["rows"] == 40 and traced["recount"] == "counted again from its files: the same"
    sources = {link["node"] for link in traced["chain"] if not link["reads"]}
    domains = ("algebra", "geometry", "calculus", "statistics", "code")
    assert sources == {"base", *(f"prepare/{domain}" for domain in domains)}


def test_running_the_resolved_recipe_keeps_everything(home, run, tmp_path):
    """S-A6: recipe.json of a run gives equal fingerprints."""
    copy = tmp_path / "recipe.json"
    copy.write_bytes((run / "recipe.json").read_bytes())
    planned = command("plan", str(copy), "--run", str(run), "--json", cwd=home)
    assert planned.returncode == 0, planned.stderr
    assert {decision["action"] for decision in json.loads(planned.stdout)["decisions"]} == {"keep"}


def test_a_changed_knob_names_itself_and_what_follows(home):
    """S-A7: only what depends on a knob runs again, with the reason."""
    planned = command("plan", "spectrum", "--profile", "smoke", "--set", "stage.fuse.dtype=bf16", "--json", cwd=home)
    decisions = {d["node"]: d for d in json.loads(planned.stdout)["decisions"]}
    kept = {node for node, decision in decisions.items() if decision["action"] == "keep"}
    assert decisions["fuse"]["action"] == "run"
    assert any("dtype" in reason for reason in decisions["fuse"]["reasons"])
    assert {"base", "exam_base", "probe/algebra", "gain_specialist"} <= kept
    after = {n for n in decisions if n.startswith("rl_")} | {"exam_maths", "exam_final"}
    assert {decisions[node]["action"] for node in after} == {"maybe"}


OTHERWISE = {"PYTHONHASHSEED": "7", "TZ": "Asia/Kathmandu", "LC_ALL": "C", "HOME": "/nowhere", "USER": "somebody"}


@pytest.mark.long
def test_from_scratch_again_gives_equal_bytes(run, tmp_path):
    """S-A7: another folder, other surroundings, one node at a time: equal bytes, though what is measured differs."""
    done = command("run", "spectrum", "--profile", "smoke", "--jobs", "1", cwd=tmp_path, **OTHERWISE)
    assert done.returncode == 0, done.stdout + done.stderr
    other = tmp_path / "runs" / "spectrum"
    assert digests(other) == digests(run)
    again = manifests(other)
    for node, manifest in manifests(run).items():
        assert manifest["files"] == again[node]["files"]
        assert manifest["measured"] != again[node]["measured"], "two runs never take the same time"


def named(value: object) -> Iterator[tuple[str, object]]:
    """Every key of nested JSON with its value; the items of a list under the list's key."""
    pairs = (
        value.items() if isinstance(value, dict) else [("", item) for item in value] if isinstance(value, list) else ()
    )
    for key, inner in pairs:
        yield key, inner
        yield from named(inner)


def told(path: Path) -> list[object]:
    """What a file of an artifact says in JSON: the header of weights, the lines of rows."""
    data = path.read_bytes()
    if path.suffix == ".safetensors":
        (size,) = struct.unpack("<Q", data[:8])
        return [json.loads(data[8 : 8 + size])]
    if path.suffix == ".gz":
        assert data[4:8] == bytes(4), f"{path}: gzip's own time"
        data = gzip.decompress(data)
    if ".jsonl" in path.suffixes:
        return [json.loads(line) for line in data.splitlines()]
    return [json.loads(data) if path.suffix == ".json" else {"": data.decode()}]


MOMENT = re.compile(r"\b20\d\d-\d\d-\d\d[T ]\d\d:\d\d")
MEASURED = re.compile(r"(^|_)(wall|cpu|time|date|elapsed|seconds|host|pid|memory|rate|peak|attempts)(_|$)|_s$")


def test_no_measured_number_stands_in_a_file_of_an_artifact(run):
    """S-A7: no key that names a measurement, no moment, no place, no number that the manifest has as measured."""
    began = records(run, "run_started")[0]["t"]
    for node, manifest in manifests(run).items():
        measured = {value for _, value in named(manifest["measured"]) if isinstance(value, float) and value * 1000 % 1}
        for file in manifest["files"]:
            where = (node, file["name"])
            content = told(run / "nodes" / node.replace("/", ".", 1) / file["name"])
            for key, value in (pair for part in content for pair in named(part)):
                assert not MEASURED.search(key), (*where, key)
                if isinstance(value, float | int) and not isinstance(value, bool):
                    assert value not in measured, (*where, key, value)
                    assert abs(value - began) > 2 * 86_400, (*where, key, value)
                if isinstance(value, str):
                    assert not MOMENT.search(value) and str(run.parent) not in value, (*where, key, value)


LONG = ("run", "spectrum", "--profile", "smoke", "--until", "specialist/algebra", "--set", "stage.specialist.steps=60")


@pytest.mark.nightly
def test_killed_in_training_and_resumed_gives_equal_bytes(tmp_path):
    """S-A7, S-E2: kill -9 of every process in the middle of SFT, then the same command: equal digests."""
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    for folder in (whole, broken):
        folder.mkdir()
    assert command(*LONG, cwd=whole).returncode == 0
    run = broken / "runs" / "spectrum"
    process = subprocess.Popen([sys.executable, "-m", "posttrain", *LONG], cwd=broken, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while not any(r["metrics"].get("step") == 30 for r in steps(run)):
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.05)
    for member in [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]:
        os.kill(member.pid, signal.SIGKILL)
    process.wait()
    assert not (run / "nodes" / "specialist.algebra").exists()
    before = len(steps(run))
    assert command(*LONG, cwd=broken).returncode == 0
    assert digests(run) == digests(whole / "runs" / "spectrum")
    assert steps(run)[before]["metrics"]["step"] > 1, "it went on where it was, and did not start again"


def steps(run: Path) -> list[dict]:
    if not (run / "ledger.jsonl").exists():
        return []
    return [r for r in records(run, "step") if r["node"] == "specialist/algebra"]


def test_an_empty_domain_stops_the_run_before_anything_trains(tmp_path):
    """S-A9: exit 6 naming the domain, and no node but data was started."""
    (tmp_path / "empty.jsonl").touch()
    source = 'stage.prepare.source={ type = "jsonl", path = "empty.jsonl" }'
    code = 'stage.prepare.code_source="built-in"'
    done = command("run", "spectrum", "--profile", "smoke", "--set", source, "--set", code, cwd=tmp_path)
    assert done.returncode == 6, done.stdout + done.stderr
    assert "no problem of the domain algebra" in done.stdout
    started = {record["node"] for record in records(tmp_path / "runs" / "spectrum", "node_started")}
    assert started and all(node.startswith("prepare/") for node in started)


def shown_commands() -> list[str]:
    """The posttrain lines of three pages; the tiny run and the browser are left to nightly and to people."""
    pages = [ROOT / "README.md", ROOT / "docs" / "walkthrough.md", ROOT / "docs" / "graders.md"]
    lines = [line[2:].split("#")[0].strip() for page in pages for line in page.read_text().splitlines()]
    found = [line.removeprefix("posttrain ") for line in lines if line.startswith("posttrain ")]
    return sorted({line.replace("runs/smoke", "runs/spectrum") for line in found} - {"run spectrum"})


@pytest.mark.parametrize("line", shown_commands())
def test_documented_commands_run(home, run, line):
    """S-E7: every command of README, walkthrough and graders runs as written, on a finished smoke run."""
    done = command(*[word for word in line.split() if word != "--open"], cwd=home)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_flipped_byte_stops_the_run(home, tmp_path):
    """S-A8: an input that changed on disk is never used: exit 6, naming the file; nothing finished is lost."""
    place = tmp_path / "copy"
    shutil.copytree(home, place, symlinks=True)
    victim = (place / "runs" / "spectrum" / "nodes" / "exam_base").resolve() / "scores.jsonl"
    good = victim.read_bytes()
    victim.chmod(0o644)
    victim.write_bytes(good.replace(b"0", b"1", 1))
    done = command("run", "spectrum", "--profile", "smoke", "--only", "gain_fused", "--again", "gain_fused", cwd=place)
    assert done.returncode == 6, done.stdout + done.stderr
    assert "scores.jsonl" in done.stdout + done.stderr
    assert command("verify", "runs/spectrum", cwd=place).returncode == 6
    victim.write_bytes(good)
    assert command("verify", "runs/spectrum", cwd=place).returncode == 0
