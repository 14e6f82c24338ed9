"""What is wrong in a recipe is told by place, cause and remedy, all of it at once, with exit code 2."""

import re
import tomllib
from pathlib import Path

import pytest
from toys import TOYS

from posttrain.spec import words
from posttrain.spec.errors import RecipeError
from posttrain.spec.load import load
from posttrain.spec.load.document import read

HEAD = 'format = 1\nname = "toy"\n'
STAGES = """
[stage.base]
kind = "base"
id = "x"
[stage.prepare]
kind = "prepare"
each = { domain = ["algebra", "geometry"] }
[stage.train]
kind = "sft"
each = "prepare"
model = "base"
data = "prepare"
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def refused(text: str = HEAD + STAGES, **options) -> str:
    Path("toy.toml").write_text(text)
    with pytest.raises(RecipeError) as raised:
        load("toy.toml", kinds=TOYS, **options)
    assert raised.value.code == 2
    return str(raised.value)


def top(line: str) -> str:
    return refused(HEAD + line + "\n" + STAGES)


def added(line: str) -> str:
    return refused(HEAD + STAGES + line + "\n")


KNOBS = "Known: domain, steps, lr, schedule, stages_of, packing, precision."
STAGE_NAMES = "Known: base, prepare, train."


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "stps = 3",
            f'toy.toml: stage.train.stps is not a knob of `sft`.\n  {KNOBS}  Did you mean "steps"?',
        ),
        ("modle = 3", f'toy.toml: stage.train.modle is not a knob of `sft`.\n  {KNOBS}  Did you mean "model"?'),
        ("steps = 0", "toy.toml: stage.train.steps = 0 must be more than 0."),
        ('steps = "7"', 'toy.toml: stage.train.steps = "7" must be a whole number.'),
        ("steps = 7.0", "toy.toml: stage.train.steps = 7.0 must be a whole number."),
        ("steps = true", "toy.toml: stage.train.steps = true must be a whole number."),
        ("packing = 1", "toy.toml: stage.train.packing = 1 must be true or false."),
        ("lr = inf", "toy.toml: stage.train.lr = Infinity must be a finite number."),
        (
            'precision = "fp23"',
            "toy.toml: stage.train.precision = \"fp23\" must be 'fp32' or 'bf16'.\n  Did you mean \"fp32\"?",
        ),
        (
            'schedule = "cosin"',
            'toy.toml: stage.train.schedule = "cosin" is none of its choices.\n'
            '  Known: constant, cosine.  Did you mean "cosine"?',
        ),
        (
            "schedule.flor = 1",
            "toy.toml: stage.train.schedule.flor is not a knob of `sft`.\n"
            '  Known: type, floor, warmup.  Did you mean "floor"?',
        ),
        (
            'stages_of = ["constant", { type = "cosine", floor = "low" }]',
            'toy.toml: stage.train.stages_of = ["constant", {"type": "cosine", "floor": "low"}]: '
            "item 2 must be a number.",
        ),
        (
            'domain = "algebra"',
            "toy.toml: stage.train.domain is set twice: the axis `domain` of `each` sets it too.\n"
            "  Remove it, or take the axis out of `stage.train.each`.",
        ),
        ('wait = "base"', 'toy.toml: stage.train.wait = "base" must be a list.'),
        (
            'wait = ["bas"]',
            f'toy.toml: stage.train.wait = "bas": there is no such stage.\n  {STAGE_NAMES}  Did you mean "base"?',
        ),
        ("timeout = 0", "toy.toml: stage.train.timeout = 0 must be more than 0."),
        (
            'replay = "prepar/*"',
            f'toy.toml: stage.train.replay = "prepar/*": there is no such stage.\n  {STAGE_NAMES}'
            '  Did you mean "prepare"?',
        ),
        (
            'replay = ["prepare/", 3]',
            'toy.toml: stage.train.replay = "prepare/" is not an input.\n'
            '  Write "stage", "stage/member", "stage/*", { path = "..." } or a list of these.\n'
            "toy.toml: stage.train.replay = 3 is not an input.\n"
            '  Write "stage", "stage/member", "stage/*", { path = "..." } or a list of these.',
        ),
        (
            'inputs.modle = "base"',
            "toy.toml: stage.train.inputs.modle is not a role of `sft`.\n"
            '  Known: model, data, replay.  Did you mean "model"?',
        ),
        (
            'inputs.data = "base"',
            "toy.toml: stage.train.data is given twice.\n  Keep `data` or `inputs.data`, not both.",
        ),
        (
            'replay = { path = "x", digest = "12" }',
            'toy.toml: stage.train.replay.digest = "12" is not a digest.\n  It has 64 hex digits.',
        ),
        (
            'replay = { pth = "x" }',
            "toy.toml: stage.train.replay.pth is not a key of an input.\n  Known: path, digest.",
        ),
        (
            "gate.row_kept.at_least = 1",
            "toy.toml: stage.train.gate.row_kept is not a gate of `sft`.\n"
            '  Known: sound, rows_kept.  Did you mean "rows_kept"?  A gate of your own names its `metric`.',
        ),
        (
            "gate.sound.at_leest = 1",
            "toy.toml: stage.train.gate.sound.at_leest is not a key of a gate.\n"
            "  Known: metric, at_least, at_most, equals, min_n, decide, unmet, needs, requires, severity, says, off."
            '  Did you mean "at_least"?',
        ),
        (
            "gate.sound = { at_least = 1, at_most = 2 }",
            "toy.toml: stage.train.gate.sound: a gate has exactly one of at_least, at_most, equals; this one has 2.",
        ),
        (
            'gate.sound.needs = ["rows"]',
            "toy.toml: stage.train.gate.sound.needs names `rows`, no gate here.\n"
            '  Known: sound, rows_kept.  Did you mean "rows_kept"?',
        ),
        (
            'gate.sound.needs = ["rows_kept"]',
            "toy.toml: stage.train.gate.sound.needs comes back to this gate.\n  Gates need one another in one order.\n"
            "toy.toml: stage.train.gate.rows_kept.needs comes back to this gate.\n"
            "  Gates need one another in one order.",
        ),
        (
            'gate.sound.requires = ["mac"]',
            "toy.toml: stage.train.gate.sound.requires names `mac`.\n"
            '  Known: macos, cuda, nodejs, llama.cpp.  Did you mean "macos"?',
        ),
        (
            "resources.cpu = 1",
            "toy.toml: stage.train.resources.cpu is not a resource.\n"
            '  Known: device, cpus, memory, compute, sandbox.  Did you mean "cpus"?',
        ),
    ],
)
def test_one_wrong_line_in_a_stage(line, said):
    """S-A5: unknown key, wrong role and wrong value are told with the nearest name."""
    assert added(line) == said


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "sed = 3",
            "toy.toml: sed is not known at the top of a recipe.\n  Known: format, name, default_profile, seed, run,"
            " strict, gates, keep_going, budget, stage, resources, views, paths,"
            ' env, profile.  Did you mean "seed"?',
        ),
        ("seed = 1.5", "toy.toml: seed = 1.5 must be a whole number."),
        ("stage = 3\n[x]", "toy.toml cannot be parsed: Cannot overwrite a value (at line 6, column 12)"),
        (
            'gates = ["sond"]',
            'toy.toml: gates names "sond", and no stage has that gate.\n'
            '  Known: rows_kept, sound.  Did you mean "sound"?',
        ),
        (
            'default_profile = "tiny"',
            'toy.toml: default_profile = "tiny": there is no such profile.\n  This recipe has no profiles.',
        ),
        ("resources = 3", "toy.toml: resources must be a table."),
        (
            'env = { STEPS = "stage.trian.steps" }',
            'toy.toml: env.STEPS = "stage.trian.steps" is no key of a stage.\n  Known: base, prepare, train.',
        ),
        (
            'env = { STEPS = "stage.train.stps" }',
            f'toy.toml: env.STEPS = "stage.train.stps" is not a knob of `sft`.\n  {KNOBS}  Did you mean "steps"?',
        ),
        (
            "env = { STEPS = 3 }",
            "toy.toml: env.STEPS = 3 is not a key.\n"
            "  Known: seed, run, strict, gates, keep_going, budget, stage, resources, views, paths.",
        ),
    ],
)
def test_one_wrong_line_at_the_top(line, said):
    assert top(line) == said


@pytest.mark.parametrize(
    ("each", "said"),
    [
        ("{ domain = [] }", "toy.toml: stage.prepare.each.domain = [] has no values."),
        ("{ domain = 'algebra' }", 'toy.toml: stage.prepare.each.domain = "algebra" has no values.'),
        ("{ domain = ['a b'] }", 'toy.toml: stage.prepare.each.domain = ["a b"]: "a b" cannot name a member.'),
        ("{ domain = ['a', 'a'] }", 'toy.toml: stage.prepare.each.domain = ["a", "a"] names a value twice.'),
        ("['algebra']", 'toy.toml: stage.prepare.each = ["algebra"] is not a table of axes.'),
        ("'trian'", 'toy.toml: stage.prepare.each = "trian": there is no such stage.'),
        ("'train'", 'toy.toml: stage.train.each = "prepare" goes in a circle: prepare → train → prepare.'),
    ],
)
def test_axes(each, said):
    assert said in refused((HEAD + STAGES).replace('{ domain = ["algebra", "geometry"] }', each))


def test_everything_wrong_is_told_at_once():
    text = (
        HEAD + STAGES + 'lr = "fast"\nstps = 1\n[stage.fuse]\nkind = "fus"\n[stage.probe]\nkind = "probe"\nk = "many"\n'
    )
    said = refused(
        text + "[profile.tiny.stage.trian]\nsteps = 1\n", profiles=["tiny", "small"], sets=["x=1", "stage.train.steps"]
    )
    for part in (
        "stage.train.lr =",
        "stage.train.stps is",
        'stage.fuse.kind = "fus" is no kind of stage.\n  Known: base, compare',
        "stage.probe.k =",
        "stage.probe needs an input for its role `model` (the model).",
        "stage.probe needs an input for its role `data` (the rows).",
        "profile.tiny.stage.trian.steps names the stage `trian`, and there is none.\n"
        '  Known: base, prepare, train, fuse, probe.  Did you mean "train"?',
        'command line: --profile = "small": there is no such profile.\n  Known: tiny.',
        "command line: --set x cannot be set.",
        "command line: --set stage.train.steps is not KEY=VALUE.",
    ):
        assert part in said
    assert len(re.findall(r"(?m)^\S", said)) == 10


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ('name = "toy"', "toy.toml does not say its format.\n  This program reads `format = 1`."),
        ('format = 2\nname = "toy"', "toy.toml is written in format 2.\n  This program reads `format = 1`."),
        ("format = 1\nname = ", "toy.toml cannot be parsed: Invalid value (at end of document)"),
        (
            "format = 1",
            "toy.toml has no stages.\n  Write [stage.NAME] with its kind = "
            '"...".\ntoy.toml: name is missing.\n  It has no default.',
        ),
    ],
)
def test_another_format(source, said):
    assert refused(source) == said


def test_a_bad_variable_is_named():
    """S-A5: a value that cannot be read exits 2 and names the variable."""
    text = HEAD + STAGES + '[env]\nSTEPS = "stage.train.steps"\nDEVICE = "resources.cpus"\n'
    said = refused(text, environ={"STEPS": "seven", "DEVICE": "one"})
    assert 'environment: STEPS = "seven" must be a whole number.\n  It sets stage.train.steps.' in said
    assert 'environment: DEVICE = "one" must be a whole number.\n  It sets resources.cpus.' in said


def test_a_bad_setting_is_named():
    assert (
        refused(sets=["stage.train.steps=many"]) == 'command line: stage.train.steps = "many" must be a whole number.'
    )
    assert (
        refused(sets=["train.steps=3"])
        == 'command line: --set train.steps is not a key.\n  Did you mean "stage.train.steps"?'
    )
    assert "cannot be set" in refused(sets=["format=2"]) and "cannot be set" in refused(sets=["profile.x.seed=2"])
    assert refused(sets=["stage=3"]) == "command line: stage must be a table."


def test_none_stands_alone():
    said = refused(HEAD + STAGES + "[profile.tiny]\nseed = 1", profiles=["none", "tiny"])
    assert said.startswith("command line: --profile: `none` stands alone.")


LATER = tomllib.loads((Path(words.__file__).parent / "refused.toml").read_text())["later"]


@pytest.mark.parametrize("word", sorted(LATER))
def test_what_comes_later_is_refused_by_name(word):
    """Words of the grammar without code exit 2 with a sentence, wherever they stand."""
    said = f"{word} comes later and is refused until then.\n  {LATER[word]}"
    assert f"toy.toml: {said}" == top(f"{word} = {{ a = 1 }}")
    assert f"toy.toml: stage.train.{said}" == added(f"{word} = 1")
    assert f"command line: stage.train.{said}" == refused(sets=[f"stage.train.{word}=true"])
    assert f"toy.toml: profile.tiny.{said}" == added(f"[profile.tiny]\n{word} = 1")


@pytest.mark.parametrize(
    ("word", "use"),
    [
        ("learning_rate", "`lr`"),
        ("num_train_epochs", "`epochs`"),
        ("max_length", "`max_seq_length`"),
        ("output_dir", "`run`"),
    ],
)
def test_words_of_older_tools_are_explained(word, use):
    said = added(f"{word} = 1")
    assert said.startswith(f"toy.toml: stage.train.{word} is not a knob of `sft`.\n") and use in said


def test_a_profile_that_is_not_chosen_is_checked_too():
    assert "profile.big.sed is not known in a profile" in added("[profile.big]\nsed = 1")
    assert "profile.none is no name for a profile" in added("[profile.none]\nseed = 1")


def test_a_missing_file_is_told():
    assert 'source = "rows.jsonl": there is no such file.\n  Looked at' in refused(
        HEAD + STAGES.replace('kind = "prepare"\n', 'kind = "prepare"\nsource = "rows.jsonl"\n')
    )


def test_a_file_that_is_no_text_is_told():
    Path("bad.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(RecipeError, match="cannot be parsed"):
        read("bad.toml")
