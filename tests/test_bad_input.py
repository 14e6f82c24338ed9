"""Bad input through the real command line: each case has its paragraph and exit code, and loses nothing finished."""

import ctypes
import json
import re
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.door import Said, posttrain

RECIPE = """
format = 1
name = "mine"
seed = 3
gates = ["sound", "overlap", "golds"]
[resources]
compute = "fp32"
[stage.base]
kind = "base"
id = "init:0.1m"
[stage.prepare]
kind = "prepare"
domain = "algebra"
max_problems = 12
probe_size = 2
val_size = 2
test_size = 4
[stage.tune]
kind = "sft"
model = "base"
data = "prepare"
steps = 2
batch = 4
max_seq_length = 96
[stage.probe]
kind = "probe"
off = true
model = "tune"
data = "prepare"
k = 2
samples = 2
max_new_tokens = 8
[stage.sharp]
kind = "rl"
off = true
model = "tune"
data = "prepare"
steps = 1
prompts = 2
group = 2
max_seq_length = 64
max_prompt_length = 48
[stage.exam]
kind = "evaluate"
model = "tune"
data = "prepare"
samples = 2
max_new_tokens = 8
[env]
TUNE_STEPS = "stage.tune.steps"
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A folder with the recipe and a run of it in which everything is made."""
    home = tmp_path_factory.mktemp("home")
    (home / "mine.toml").write_text(RECIPE)
    command = [sys.executable, "-m", "posttrain", "run", "mine.toml", "--run", "run"]
    done = subprocess.run(command, cwd=home, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return home


@pytest.fixture
def home(finished, monkeypatch) -> Path:
    monkeypatch.chdir(finished)
    return finished


def actions(home: Path, *options: object) -> dict[str, str]:
    """Node → what a plan of the good recipe would do with it."""
    said = posttrain("plan", home / "mine.toml", "--run", home / "run", "--json", *options)
    assert said.code == 0, said
    return {one["node"]: one["action"] for one in json.loads(said.out)["decisions"]}


def traces(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file of a folder with its size and time."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): (path.stat().st_size, path.stat().st_mtime_ns) for path in paths}


def artifacts(home: Path) -> set[str]:
    return {path.name for path in (home / "run" / "artifacts").iterdir()}


def refused(home: Path, *arguments: object, code: int = 2) -> str:
    """The paragraph of a command that is refused before anything is written; all that was finished stays."""
    before = traces(home / "run")
    said = posttrain(*arguments)
    assert (said.code, said.out) == (code, ""), said
    assert traces(home / "run") == before
    assert set(actions(home).values()) == {"keep"}
    return said.err


def run_of(*options: object) -> tuple[object, ...]:
    return ("run", "mine.toml", "--run", "run", *options)


def setting(*pairs: str) -> list[str]:
    return [word for pair in pairs for word in ("--set", pair)]


NAMES = {
    "unknown key": (
        ["stage.tune.stps=3"],
        ("command line: stage.tune.stps is not a knob of `sft`.\n  Known: ", 'Did you mean "steps"?\n'),
    ),
    "unknown stage": (
        ["stage.tun.steps=3"],
        ("command line: stage.tun.steps names the stage `tun`, and there is none.\n", 'Did you mean "tune"?\n'),
    ),
    "stage left out": (
        ["tune.steps=3"],
        ("command line: --set tune.steps is not a key.\n", 'Did you mean "stage.tune.steps"?\n'),
    ),
    "unknown role": (
        ["stage.tune.inputs.teacher=base"],
        ("command line: stage.tune.inputs.teacher is not a role of `sft`.\n", "Known: model, data, replay.\n"),
    ),
    "wrong role": (
        ["stage.tune.data=base"],
        (
            "mine.toml: stage.tune.inputs.data takes data, and `base` makes model.\n",
            "The role is problems with solutions (split train), and val for the held-out loss.\n",
        ),
    ),
    "folder of another type": (
        ['stage.tune.data={path="run/base"}'],
        ("mine.toml: stage.tune.inputs.data takes data, and ", "The role is problems with solutions"),
    ),
    "cycle": (
        ['stage.base.wait=["exam"]'],
        (
            "mine.toml: stage.base is part of a circle: base → exam → tune → base (each reads or waits for the next).",
            "Take one of these inputs away.\n",
        ),
    ),
    "missing file": (
        ['stage.prepare.source={type="jsonl",path="nowhere.jsonl"}'],
        (
            'command line: stage.prepare.source.path = "nowhere.jsonl": there is no such file.\n  Looked at ',
            "/nowhere.jsonl.\n",
        ),
    ),
    "missing folder": (
        ['stage.tune.data={path="nowhere"}'],
        ("mine.toml: stage.tune.inputs.data = ", "there is no such folder.\n", "Give a folder, or RUN/NODE"),
    ),
    "a whole run as data": (
        ['stage.tune.data={path="run"}'],
        (": this folder is a whole run.\n", "Name one of its nodes: base, exam, prepare, tune.\n"),
    ),
    "no domain left": (
        ["stage.prepare.each={domain=[]}"],
        ("command line: stage.prepare.each.domain = [] has no values.\n", "a stage that is not wanted is `off = true`"),
    ),
    "domain without a world": (
        ["stage.prepare.domain=klingon"],
        ("mine.toml: stage.prepare: domain = klingon: no built-in world; known: algebra, geometry, calculus",),
    ),
    "domain of no data": (
        ["stage.sharp.off=false", 'stage.sharp.domains=["calculus"]'],
        ("mine.toml: stage.sharp: domains: calculus is in none of the data, which has algebra\n",),
    ),
}


@pytest.mark.parametrize("case", NAMES)
def test_names_that_mean_nothing_here(home, case):
    """S-A5, S-A9, S-A12: keys, stages, roles, files and domains are refused with the place and the nearest name."""
    sets, pieces = NAMES[case]
    said = refused(home, *run_of(*setting(*sets)))
    assert said.startswith(pieces[0]) or pieces[0].startswith(":"), said
    assert all(piece in said for piece in pieces), said


NUMBERS = {
    "K > N": (
        ["stage.probe.off=false", "stage.probe.k=5"],
        "stage.probe: k = 5 is more than samples = 2: Pass@K needs",
    ),
    "K > N in an exam": (["stage.exam.k=[1, 9]"], "stage.exam: k = 9 is more than samples = 2: Pass@K needs K of them"),
    "K of nothing": (["stage.exam.k=0"], 'stage.exam.k = "0" must be more than 0.\n'),
    "nucleus": (
        ["stage.sharp.off=false", "stage.sharp.top_p=0.9"],
        "stage.sharp: top_p = 0.9 and top_k = 0: rollouts take no nucleus, only top_p = 1 and top_k = 0, for the ratio",
    ),
    "window": (
        ["stage.tune.max_seq_length=9999"],
        "stage.tune: max_seq_length = 9999 is more than the 256 positions of the model: make it 256 or less, or take",
    ),
    "window of rl": (
        ["stage.sharp.off=false", "stage.sharp.max_seq_length=9999"],
        "stage.sharp: max_seq_length = 9999 is more than the 256 positions of the model: make it 256 or less, or take",
    ),
    "not a number": (["stage.tune.steps=soon"], 'stage.tune.steps = "soon" must be a whole number.\n'),
    "no number at all": (["stage.tune.lr=nan"], 'stage.tune.lr = "nan" must be a finite number.\n'),
    "no cores": (["resources.cpus=0"], 'resources.cpus = "0" must be more than 0.\n'),
    "no device": (["resources.device=tpu"], 'resources.device = "tpu" must be auto, cpu, mps, cuda or cuda:NUMBER.\n'),
    "suite": (["stage.exam.suites=['gpqa']"], "item 1 is none of its choices.\n  Known: problems.\n"),
    "template": (['stage.base.template={maths="hi"}'], "stage.base: template.maths must hold {prompt} once"),
}


@pytest.mark.parametrize("case", NUMBERS)
def test_values_that_cannot_be(home, case):
    """S-A5, S-C4: K beyond the samples, a nucleus in rollouts, a window beyond the model; before anything runs."""
    sets, says = NUMBERS[case]
    assert says in refused(home, *run_of(*setting(*sets)))


def test_a_variable_that_cannot_be_read(home, monkeypatch):
    """S-A5: exit 2 naming the variable and the key it sets."""
    monkeypatch.setenv("TUNE_STEPS", "many")
    before = traces(home / "run")
    said = posttrain(*run_of())
    assert (said.code, traces(home / "run")) == (2, before)
    assert said.err == ('environment: TUNE_STEPS = "many" must be a whole number.\n  It sets stage.tune.steps.\n')


BROKEN: dict[str, tuple[bytes, str]] = {
    "other.toml": (
        b'format = 7\nname = "x"',
        "other.toml is written in format 7.\n  This program reads `format = 1`.\n",
    ),
    "old.toml": (b'name = "x"', "old.toml does not say its format.\n  This program reads `format = 1`.\n"),
    "empty.toml": (b'format = 1\nname = "x"', "empty.toml has no stages.\n  Write [stage.NAME] with its kind = "),
    "binary.toml": (b"\xff\xfe\x00", "binary.toml cannot be parsed: 'utf-8' codec can't decode"),
    "deep.json": (b"[" * 100_000, "deep.json cannot be parsed: too many brackets inside each other.\n"),
    "list.json": (b"[1]", "list.json: is not a table of keys.\n"),
    "record.json": (
        b'{"format": 1, "name": "x", "profiles": 3}',
        "record.json: profiles is not as a run records it.\n",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_recipes_that_are_none(home, tmp_path, name, monkeypatch):
    """S-A5, S-A12: another format, an empty or broken file."""
    data, says = BROKEN[name]
    (tmp_path / name).write_bytes(data)
    monkeypatch.chdir(tmp_path)
    assert says.replace(": is", " is") in refused(home, "run", name)


def test_recipes_that_are_not_there(home):
    """S-A5: a path that leads nowhere, a folder, a profile the recipe does not have."""
    assert refused(home, "run", "nowhere.toml") == (
        "nowhere.toml: there is no such recipe.  Shipped recipes: exam, rl, sft, spectrum.\n"
    )
    assert refused(home, "run", "run") == (
        "run: this is a folder, not a recipe.  The recipe of that run is run/recipe.json.\n"
    )
    assert refused(home, *run_of("--profile", "tiny")) == (
        'command line: --profile = "tiny": there is no such profile.\n  This recipe has no profiles.\n'
    )
    assert refused(home, *run_of("--only", "tuna")) == 'there is no stage or node "tuna".  Did you mean "tune"?\n'


def test_a_real_process_says_the_same(home):
    """S-E3: in a process of its own: nothing on stdout, one paragraph on stderr, exit 2."""
    command = [sys.executable, "-m", "posttrain", *map(str, run_of("--set", "stage.tune.stps=3"))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == posttrain(*run_of("--set", "stage.tune.stps=3")).err


def model(home: Path, folder: Path, damage: Callable[[Path], None]) -> Path:
    """A copy of the base's folder with something wrong."""
    files = [
        path for path in (home / "run" / "nodes" / "base").iterdir() if path.name not in ("manifest.json", "base.json")
    ]
    folder.mkdir()
    for path in files:
        shutil.copyfile(path, folder / path.name)
    damage(folder)
    return folder


def config(**changes: object) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return damage


NO_MODEL: dict[str, tuple[Callable[[Path], None], str]] = {
    "empty": (lambda folder: shutil.rmtree(folder) or folder.mkdir(), "it has no config.json: it is no model folder."),
    "no config": (lambda folder: (folder / "config.json").unlink(), "it has no config.json: it is no model folder."),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "it holds no weights (*.safetensors)"),
    "half a config": (lambda folder: (folder / "config.json").write_text("{"), "config.json cannot be read: "),
    "family": (
        config(model_type="rwkv"),
        "model_type 'rwkv' is not one of the supported families: llama, qwen2, qwen3.",
    ),
    "layers": (config(num_hidden_layers="two"), "num_hidden_layers is 'two' and must be a whole number above zero."),
    "quantised": (config(quantization_config={"bits": 4}), "quantised weights are not read."),
}


@pytest.mark.parametrize("case", NO_MODEL)
def test_a_base_that_is_no_model(home, tmp_path, case):
    """S-A10, S-C3: what cannot be taken over is refused before anything runs."""
    damage, says = NO_MODEL[case]
    folder = model(home, tmp_path / "model", damage)
    said = refused(home, *run_of("--set", f"stage.base.id={folder}"))
    assert said.startswith(f"mine.toml: stage.base: id = {folder}: ") and says in said


def test_a_base_that_is_elsewhere(home):
    """S-C3: a file, a name that is nowhere, a hub's name, a preset that does not exist."""
    for value, says in (
        ("mine.toml", "mine.toml: it has no config.json: it is no model folder."),
        ("nowhere", '"nowhere": there is no such file.'),
        ("some/model", "'some/model' is a hub id; models come from presets (init:0.1m, tiny:base) and folders"),
        ("init:9b", "no preset is called 'init:9b'; known: init:0.1m, tiny:base"),
    ):
        assert says in refused(home, "check", "mine.toml", "--set", f"stage.base.id={value}")


def no_number(folder: Path) -> None:
    """Write NaN over the first four bytes of the weights."""
    path = folder / "model.safetensors"
    data = bytearray(path.read_bytes())
    (header,) = struct.unpack("<Q", data[:8])
    data[8 + header : 12 + header] = struct.pack("<f", float("nan"))
    path.write_bytes(data)


def no_tokenizer(folder: Path) -> None:
    for path in folder.glob("tokenizer*"):
        path.unlink()


def cut_weights(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:20000])


def only_an_adapter(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "gone"}')


UNSOUND = {
    "cut": (cut_weights, "damages is 1 and must be 0: the weights cannot be read: is not a whole safetensors file"),
    "adapter": (
        only_an_adapter,
        "damages is 1 and must be 0: it holds an adapter without the base the adapter belongs to",
    ),
    "no tokenizer": (no_tokenizer, "damages is 1 and must be 0: the tokenizer cannot be used: it holds no tokenizer."),
    "NaN": (no_number, "damages is 1 and must be 0: model.embed_tokens.weight holds numbers that are not finite"),
}


@pytest.mark.parametrize("case", UNSOUND)
def test_a_model_that_is_not_sound(home, tmp_path, case):
    """S-A10: gate `sound` fails with the damage in words, exit 1; nothing is trained on it."""
    damage, says = UNSOUND[case]
    folder, run = model(home, tmp_path / "model", damage), tmp_path / "run"
    options = ("--store", home / "run", "--set", f"stage.base.id={folder}", "--until", "tune")
    said = posttrain("run", home / "mine.toml", "--run", run, *options)
    assert said.code == 1, said
    assert says in said.out and "blocked tune" in said.out and f"Gate sound of base: {says}" in said.out
    assert ".." not in said.out.partition("Gate sound of base: ")[2].partition("\n")[0]
    assert not (run / "nodes" / "tune").exists()
    assert set(actions(home).values()) == {"keep"}
    assert says in posttrain("status", run).out


def failed(home: Path, node: str, *options: object, code: int) -> str:
    """What a run says whose node fails; cause, log and next command are there, all that was finished stays."""
    before, run = artifacts(home), Path("run")
    said = posttrain(*run_of("--only", node, *options))
    assert said.code == code, said
    assert "Traceback" not in said.out + said.err
    (cause,) = {line for line in said.out.splitlines() if line.startswith(f"{node} failed: ")}
    log = run / "logs" / f"{node}.log"
    assert f"log: {log}" in said.out and f"posttrain run {run / 'recipe.json'}" in said.out
    assert cause.removeprefix(f"{node} failed: ") in log.read_text()
    assert "Traceback" not in log.read_text()
    assert f"{node} failed: " in posttrain("status", run).out
    assert artifacts(home) == before
    assert set(actions(home).values()) == {"keep"}
    return cause


def test_a_loss_that_is_no_number(home):
    """S-A8: NaN stops before the optimiser step, exit 7; nothing finished is lost, no half artifact."""
    assert failed(home, "tune", *setting("stage.tune.lr=1e30", "stage.tune.steps=6"), code=7) == (
        "tune failed: step 2: the loss is nan; no weight was changed by this step.  "
        "Lower lr or clip, or look at the rows of this step; the state before it is kept."
    )


def problems(path: Path, *prompts: str, answer: object = "#### 2") -> str:
    rows = [{"prompt": prompt, "answer": answer} for prompt in prompts]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return f'stage.prepare.source={{type="jsonl",path="{path}"}}'


def test_data_that_is_not_there(home, tmp_path):
    """S-A9, S-A11: an empty domain, too few problems on a side, a bad line: exit 6 with domain, numbers, field."""
    empty, few, bare = (tmp_path / f"{name}.jsonl" for name in ("empty", "few", "bare"))
    for source, cause in (
        (
            problems(empty),
            f"prepare failed: {empty}: the file has no problem of the domain algebra.  "
            "A problem is a line with the fields prompt, answer.",
        ),
        (
            problems(few, "What is 1+1?"),
            "prepare failed: domain algebra: 4 problems are needed on the test side, 0 are available.  "
            "Ask for fewer, or bring a larger source: of a file, about 10 in 100 problems lie on that side.",
        ),
        (
            problems(bare, "What is 1+1?", answer=None),
            f"prepare failed: {bare} line 1: answer: it holds no text.  The line has prompt, answer.",
        ),
    ):
        assert failed(home, "prepare", "--set", source, code=6) == cause


@pytest.fixture
def copied(home, tmp_path) -> Path:
    """A copy of the finished run."""
    shutil.copytree(home / "run", tmp_path / "run", symlinks=True)
    return tmp_path / "run"


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def test_one_flipped_byte_in_an_input(home, copied):
    """S-A8: the node that opens it stops with 6 and names node and file; verify finds it; the rest is kept."""
    weights = (copied / "nodes" / "tune").resolve() / "model.safetensors"
    flip(weights, -1)
    said = posttrain("run", "mine.toml", "--run", copied, "--set", "stage.exam.samples=1")
    assert said.code == 6, said
    assert f"exam failed: tune ({weights.parent}): model.safetensors has changed since it was made." in said.out
    assert "Restore it from a copy, or make it again" in said.out
    assert posttrain("verify", copied).code == 6
    flip(weights, -1)
    assert posttrain("verify", copied).code == 0
    assert set(actions(home, "--run", copied).values()) == {"keep"}


def test_one_flipped_byte_in_a_manifest(home, copied):
    """S-A8: a metric that changed on disk is damage: the plan names it, and exit 6."""
    manifest = (copied / "nodes" / "base").resolve() / "manifest.json"
    flip(manifest, manifest.read_bytes().index(b'"value"') + len(b'"value": '))
    said = posttrain("plan", "mine.toml", "--run", copied)
    assert said.code == 6 and "damaged: manifest.json has changed since it was made." in said.out
    assert posttrain("verify", copied).code == 6


def test_folders_where_no_run_can_be(home, tmp_path):
    """S-A6: a file, below a file, a name too long: refused by plan and run alike."""
    (tmp_path / "file").write_text("mine")
    for verb in ("plan", "run"):
        for place in (tmp_path / "file", tmp_path / "file" / "below"):
            said = refused(home, verb, "mine.toml", "--run", place)
            assert said == (
                f"{tmp_path / 'file'}: this is a file, and a folder is needed here.  "
                "Give another folder with --run or --store.\n"
            )
        assert "no folder can have this name" in refused(home, verb, "mine.toml", "--run", "x" * 300)
    assert (tmp_path / "file").read_text() == "mine"
    assert "is a file" in refused(home, "run", "mine.toml", "--run", "run", "--store", tmp_path / "file")


RECORDS = {
    "foreign": ('{"dishes": ["soup"]}', "recipe.json is not the record of a run."),
    "damaged": ('{"format": 1, "sta', "recipe.json is not the record of a run."),
    "old": ('{"format": 0, "stage": {}}', "this run was made in format 0, and this program reads format 1."),
}


@pytest.mark.parametrize("case", RECORDS)
def test_a_folder_that_holds_something_else(home, tmp_path, case):
    """S-A6: an old or foreign recipe.json is never written over, and no verb stumbles over it."""
    text, says = RECORDS[case]
    (tmp_path / "recipe.json").write_text(text)
    for verb in ("plan", "run"):
        said = refused(home, verb, "mine.toml", "--run", tmp_path)
        assert said == f"{tmp_path / 'recipe.json'}: {says}  Give this run another folder with --run.\n"
    for verb in ("status", "report", "verify"):
        said = refused(home, verb, tmp_path)
        assert said == f"{tmp_path}: {says}  Name a folder that `posttrain run` made.\n"
    assert [path.name for path in tmp_path.iterdir()] == ["recipe.json"]
    assert (tmp_path / "recipe.json").read_text() == text


def without_privilege() -> None:
    """Give up what lets root write where nobody may (CAP_DAC_OVERRIDE) for the program that comes next."""
    drop_from_bounding_set, override = 24, 1
    ctypes.CDLL(None).prctl(drop_from_bounding_set, override, 0, 0, 0)


def unprivileged(*command: object) -> Said:
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, timeout=60, preexec_fn=without_privilege
    )
    return Said(done.returncode, done.stdout, done.stderr)


@pytest.mark.skipif(sys.platform != "linux", reason="gives up privileges the Linux way")
def test_a_run_that_must_not_be_written(home, copied):
    """S-A8: a read-only folder is planned and shown; to run in it is exit 4 with place and cause."""
    copied.chmod(0o555)
    try:
        if unprivileged("touch", copied / "probe").code == 0:
            pytest.skip("this user may write everywhere")
        said = unprivileged(sys.executable, "-m", "posttrain", "run", "mine.toml", "--run", copied)
        assert (said.code, said.out) == (4, ""), said
        assert said.err == (
            f"{copied / 'lock'}: the disk refuses (Permission denied).  Free space, or use a folder that you may read "
            "and write; then give the same command again.\n"
        )
        assert set(actions(home, "--run", copied).values()) == {"keep"}
        assert posttrain("status", copied).code == 0
    finally:
        copied.chmod(0o755)


HOSTILE = "<script>alert({0})</script> What is {0}+{0}? \x1b[2J\u202e</style><img src=x onerror=alert(1)>"


def test_hostile_text_in_data_does_not_act(home, tmp_path):
    """S-E4: markup and terminal codes in problems stand escaped in terminal, page and Markdown."""
    run, path = tmp_path / "run", tmp_path / "rows.jsonl"
    source = problems(path, *map(HOSTILE.format, range(300)), answer="<b>one\x1b[2J</b>\n#### 2")
    options = setting(source, "stage.tune.max_seq_length=250")
    said = posttrain("run", "mine.toml", "--run", run, "--store", "run", *options)
    assert said.code == 0, said
    posttrain("report", run, "--out", tmp_path / "told.md")
    page, told = (run / "report.html").read_text(), (tmp_path / "told.md").read_text()
    assert "&lt;script&gt;alert(" in page and "\\<script\\>alert(" in told
    for text in (page, told):
        assert not re.search(r"(?<!\\)<(script>alert|img src=x)", text)
    for text in (page, told, said.out, posttrain("status", run).out, posttrain("show", run / "tune").out):
        assert "\x1b" not in text and "\u202e" not in text
    assert set(actions(home).values()) == {"keep"}


def by_path(folder: Path) -> tuple[str, ...]:
    """The exam of a model that is no node but a folder."""
    return ("--only", "exam", *setting(f'stage.exam.model={{path="{folder}"}}'))


def no_config(folder: Path) -> None:
    (folder / "config.json").unlink()


DAMAGED: dict[str, tuple[Callable[[Path], None], str]] = {
    "config": (no_config, "the config is not usable: it has no config.json"),
    "cut": (cut_weights, "the weights cannot be read: is not a whole safetensors file"),
    "tokenizer": (no_tokenizer, "the tokenizer cannot be used: it holds no tokenizer."),
    "NaN": (no_number, "model.embed_tokens.weight holds numbers that are not finite."),
    "adapter": (only_an_adapter, "it holds an adapter without the base the adapter belongs to"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_model_is_not_used(home, tmp_path, case):
    """S-A10: given as a folder it is checked where it is used: exit 6, each damage in its own words."""
    damage, says = DAMAGED[case]
    folder = model(home, tmp_path / "model", damage)
    if case == "adapter":
        (folder / "config.json").unlink()
    cause = failed(home, "exam", *by_path(folder)[2:], code=6)
    assert says in cause and str(folder) in cause and "nothing is built on a damaged one" in cause


def test_a_sound_model_is_used(home, tmp_path):
    """The same folder without damage sits the exam."""
    folder = model(home, tmp_path / "model", lambda folder: None)
    said = posttrain("run", "mine.toml", "--run", tmp_path / "run", "--store", "run", *by_path(folder)[2:])
    assert said.code == 0, said


def add(folder: Path) -> None:
    (folder / "extra").write_text("x")


def make_link(folder: Path) -> None:
    (folder / "config.json").rename(folder.parent / "aside.json")
    (folder / "config.json").symlink_to(folder.parent / "aside.json")


SHOWN: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda folder: (folder / "config.json").unlink(), "config.json is missing"),
    "added": (add, "extra was added"),
    "folder": (lambda folder: (folder / "extra").mkdir(), "extra was added"),
    "link": (make_link, "config.json is a link and was a file"),
    "cut": (cut_weights, "model.safetensors has changed ("),
    "no manifest": (lambda folder: (folder / "manifest.json").unlink(), "manifest.json is missing"),
}


@pytest.mark.parametrize("case", SHOWN)
def test_a_damaged_artifact_is_never_used_and_never_rebuilt_unasked(home, copied, case):
    """S-A8: plan, gate, show, verify and run name it, exit 6; --again makes it anew, with equal bytes."""
    damage, says = SHOWN[case]
    assert posttrain("run", "mine.toml", "--run", copied).code == 0, "whatever another test asked of the run before"
    folder = (copied / "nodes" / "tune").resolve()
    digest = json.loads((folder / "manifest.json").read_text())["digest"]
    damage(folder)
    here = ("mine.toml", "--run", copied)
    for words in (("plan", *here), ("gate", copied), ("verify", copied), ("show", copied / "tune")):
        said = posttrain(*words)
        assert said.code == 6 and says in said.out + said.err, (words, said)
        assert "Traceback" not in said.out + said.err
    assert says in posttrain("status", copied).out
    if case not in ("missing", "no manifest"):
        return
    for words in (("run", *here), ("run", *here, *by_path(copied / "tune"))):
        said = posttrain(*words)
        assert said.code == 6 and says in said.out + said.err, (words, said)
    again = posttrain("run", *here, "--again", "tune")
    assert again.code == 0, again
    assert json.loads((copied / "nodes" / "tune" / "manifest.json").read_text())["digest"] == digest
    assert posttrain("verify", copied).code == 0
    assert set(actions(home, "--run", copied).values()) == {"keep"}


def test_a_store_of_a_newer_version(home, copied):
    """Bad input: a store made by a newer version: exit 6, update; nothing of it is called damaged or made again."""
    for manifest in (copied / "artifacts").glob("*/manifest.json"):
        manifest.write_text(manifest.read_text().replace('"format": 1', '"format": 2', 1))
    before = traces(copied / "artifacts")
    for words in (("plan", "mine.toml", "--run", copied), ("run", "mine.toml", "--run", copied), ("verify", copied)):
        said = posttrain(*words)
        told = said.out + said.err
        assert said.code == 6 and "manifest.json was made by a newer posttrain." in told, said
        assert "damaged" not in told.replace("damages", "") and "--again" not in told
    assert "Update posttrain." in posttrain("run", "mine.toml", "--run", copied).out
    assert traces(copied / "artifacts") == before


def test_a_ledger_with_a_torn_last_line(home, copied):
    """Bad input: status tells it, the next run begins a line of its own, nothing is lost."""
    ledger = copied / "ledger.jsonl"
    whole = ledger.read_bytes()
    ledger.write_bytes(whole[:-40])
    lines = whole.count(b"\n")
    assert f"Ledger: 1 line is torn by a kill ({lines})." in posttrain("status", copied).out
    assert posttrain("verify", copied).code == 0
    assert posttrain("run", "mine.toml", "--run", copied).code == 0
    assert posttrain("status", copied).code == 0
    assert ledger.read_bytes().startswith(whole[:-40] + b"\n{")


def test_a_ledger_with_garbage_in_the_middle(home, copied):
    """Bad input: counted and named by status, report and verify; what the other lines say is told."""
    ledger = copied / "ledger.jsonl"
    lines = ledger.read_bytes().splitlines(keepends=True)
    before = posttrain("status", copied).out
    odd = [
        b"garbage\n",
        b"\xff\x00\n",
        b'{"t": 1, "event": "verdict"}\n',
        b'{"t": 1, "event": "plan", "decisions": 3}\n',
    ]
    said_of_odd = "2 lines are no record of ours (4, 5); 2 records without what their event must say"
    ledger.write_bytes(b"".join([*lines[:3], *odd, *lines[3:]]))
    said = posttrain("status", copied)
    assert said.code == 0 and f"Ledger: {said_of_odd}.\n" in said.out
    assert said.out.replace(f"Ledger: {said_of_odd}.\n", "") == before
    said = posttrain("verify", copied)
    assert said.code == 6 and "2 lines are no record of ours (4, 5)" in said.out
    assert posttrain("report", copied, "--out", copied / "told.md").code == 0
    assert "2 lines are no record of ours" in (copied / "told.md").read_text()
    assert posttrain("run", "mine.toml", "--run", copied).code == 0


def test_a_lock_of_a_process_that_is_dead(home, copied):
    """Bad input: a lock file left by a dead pid, or by a host that is gone, holds nobody up."""
    for pid, host in ((999_999_999, "here"), (1, "a-host-that-is-gone")):
        held = json.dumps({"pid": pid, "host": host, "since": 1.0})
        (copied / "lock").write_text(held)
        (copied / "locks").mkdir(exist_ok=True)
        for artifact in (copied / "artifacts").iterdir():
            (copied / "locks" / artifact.name).write_text(held)
        said = posttrain("run", "mine.toml", "--run", copied, "--again", "exam")
        assert said.code == 0, said
        assert host not in said.out + said.err
        assert not (copied / "lock").exists()


def test_a_resume_with_another_seed(home, copied):
    """Bad input: the plan names the seed; the first seed's artifacts stay, and going back finds them."""
    first = {path.name for path in (copied / "artifacts").iterdir()}
    said = posttrain("plan", "mine.toml", "--run", copied, "--set", "seed=4", "--json")
    decisions = {one["node"]: one for one in json.loads(said.out)["decisions"]}
    assert said.code == 0 and decisions["base"]["action"] == "run"
    assert any("seed" in reason for reason in decisions["base"]["reasons"]), decisions["base"]
    said = posttrain("run", "mine.toml", "--run", copied, "--set", "seed=4", "--until", "base")
    assert said.code == 0, said
    assert first < {path.name for path in (copied / "artifacts").iterdir()}
    assert set(actions(home, "--run", copied).values()) == {"keep"}
    assert posttrain("verify", copied).code == 0


def test_a_file_where_a_folder_must_be(home, copied):
    """Bad input: exit 4 before anything runs, and the same command goes on when it is moved away."""
    folders = (("ledger.jsonl", "folder"), ("account.json", "folder"))
    for name, here in (("artifacts", "file"), ("scratch", "file"), ("locks", "file"), *folders):
        path = copied / name
        if path.exists():
            path.rename(copied / "aside")
        path.write_text("mine") if here == "file" else path.mkdir()
        said = posttrain("run", "mine.toml", "--run", copied)
        assert (said.code, said.out) == (4, ""), said
        assert said.err.startswith(f"{path}: this is a {here}, and a ") and "Move it away" in said.err
        path.unlink() if here == "file" else path.rmdir()
        if (copied / "aside").exists():
            (copied / "aside").rename(path)
    assert posttrain("run", "mine.toml", "--run", copied).code == 0
    assert set(actions(home, "--run", copied).values()) == {"keep"}


@pytest.mark.skipif(sys.platform != "linux", reason="gives up privileges the Linux way")
def test_a_store_that_must_not_be_written(home, copied, tmp_path):
    """S-A8: also for root: exit 4 with the place; allowed again, the same command goes on."""
    folders = [copied, *(copied / name for name in ("artifacts", "scratch", "locks") if (copied / name).exists())]
    command = (sys.executable, "-m", "posttrain", "run", "mine.toml", "--run", tmp_path / "new", "--store", copied)
    command += ("--set", "stage.exam.samples=1")
    for folder in folders:
        folder.chmod(0o555)
    try:
        if unprivileged("touch", copied / "probe").code == 0:
            pytest.skip("this user may write everywhere")
        said = unprivileged(*command)
        assert said.code == 4, said
        assert "Permission denied" in said.out + said.err and "Traceback" not in said.out + said.err
    finally:
        for folder in folders:
            folder.chmod(0o755)
    done = unprivileged(*command)
    assert done.code == 0, done
