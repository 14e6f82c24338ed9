"""gate, waive and show through the door, on a real run of the data stage."""

import json
import shutil
from datetime import timedelta

import pytest

from cli.door import posttrain
from posttrain.spec.waiver import today
from reports.recorded import spectrum

RECIPE = """
format = 1
name = "data"
[stage.prepare]
kind = "prepare"
each = { domain = ["algebra", "geometry"] }
max_problems = 20
probe_size = 2
val_size = 2
test_size = 2
[stage.prepare.gate.size]
metric = "rows/train"
at_least = 20
[views]
"results/algebra.json" = "prepare/algebra:report.json"
"""
LATER = str(today() + timedelta(days=9))
ADA = ("--by", "Ada", "--because", "we know", "--reason", "experiment", "--until", LATER)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("judged")
    (folder / "data.toml").write_text(RECIPE)
    said = posttrain("run", folder / "data.toml", "--run", folder / "run")
    assert said.code == 0, said
    return folder / "run"


@pytest.fixture
def run(made, tmp_path):
    """A copy of the run; links inside a run lead inside it."""
    shutil.copytree(made, tmp_path / "run", symlinks=True)
    return tmp_path / "run"


def test_gate_judges_again_and_says_how_it_ended(run):
    """C-S1: gate runs alone, from rows."""
    said = posttrain("gate", run)
    assert said.code == 0
    assert said.out.splitlines() == [
        f"{run}: judged again from its rows",
        "Passed: Every stop gate passed (exit code 0).",
        "6 pass of the gates that stop a run.",
        f"Report: {run}/report.html",
    ]


def test_gate_under_another_threshold(run):
    """C-S1: the threshold is settable without a re-run."""
    said = posttrain("gate", run, "--set", "stage.prepare.gate.size.at_least=21")
    assert said.code == 1
    assert said.out.startswith("Under stage.prepare.gate.size.at_least=21; the run's own verdicts stay what they are.")
    assert "fail  size  prepare/algebra   rows/train ≥ 21  rows/train is 20 and must be 21 or more" in said.out
    assert "Refused: A gate refused (exit code 1). Gate size of prepare/algebra: " in said.out
    assert "stage.prepare.gate.size.at_least=21): exit code 1." in posttrain("status", run).out
    assert "Passed: " in posttrain("status", run).out
    told = json.loads(posttrain("gate", run, "--only", "prepare/algebra.size", "--json").out)
    assert (told["code"], [(v["node"], v["gate"], v["value"]) for v in told["verdicts"]]) == (
        0,
        [("prepare/algebra", "size", "pass")],
    )


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--set", "stage.prepare.max_problems=3"), "To compute anew: posttrain run"),
        (("--only", "sise"), 'Did you mean "size"?'),
        (("--set", "stage.prepare.gate.sise.at_least=3"), "is not a gate of `prepare`"),
    ],
)
def test_what_gate_cannot_do_is_refused_with_a_way_out(run, words, sentence):
    said = posttrain("gate", run, *words)
    assert said.code == 2 and sentence in said.err, said


def test_an_edited_view_through_the_door(run):
    """C-T3: a view edited in a number that no gate looks at, in nothing that can be read, then deleted."""
    view = run / "results" / "algebra.json"
    told = json.loads(view.read_text())
    view.write_text(json.dumps({**told, "duplicates": 7}))
    said = posttrain("gate", run)
    assert said.code == 0
    assert "Edited views:\n  results/algebra.json says duplicates 7, the rows give 0\n" in said.out
    view.write_text(json.dumps({**told, "domain": "algebraic"}))
    said = posttrain("gate", run)
    assert said.code == 3 and "the view results/algebra.json was edited, and no metric shows what changed" in said.out
    assert "Inconclusive: A stop gate could not be decided (exit code 3)." in said.out
    view.unlink()
    assert "results/algebra.json is missing: `posttrain run` writes it again" in posttrain("gate", run).out
    again = posttrain("run", run / "recipe.json", "--run", run)
    assert again.code == 0 and json.loads(view.read_text()) == told


def test_a_changed_file_is_a_mismatch(run):
    file = (run / "nodes" / "prepare.algebra").resolve() / "train.jsonl"
    file.write_text(file.read_text().replace("0", "1", 1))
    said = posttrain("gate", run)
    assert said.code == 6
    assert "Mismatch at prepare/algebra: train.jsonl has changed since it was made." in said.out
    assert "not run" in said.out and "Stopped: " in said.out


def test_what_is_stale_is_named_with_what_reads_it(tmp_path):
    """Old rows prove nothing of a changed recipe: exit 3, the cause once, what follows in one line."""
    folder = tmp_path / "run"
    (tmp_path / "two.toml").write_text(
        RECIPE + '[stage.more]\nkind = "prepare"\ndomain = "algebra"\ninputs = { ready = "prepare/algebra" }\n'
    )
    made = posttrain("run", tmp_path / "two.toml", "--run", folder)
    assert made.code == 0, made
    recipe = json.loads((folder / "recipe.json").read_text())
    recipe["stage"]["prepare"]["n_solutions"] = 2
    (folder / "recipe.json").write_text(json.dumps(recipe))
    said = posttrain("gate", folder)
    assert said.code == 3
    assert "Not judged:\n  prepare/algebra   is stale: knob n_solutions: 1 → 2\n" in said.out
    assert "\n  what reads them: more\n" in said.out
    assert "(exit code 3). prepare/algebra is stale: knob n_solutions: 1 → 2." in said.out


def test_what_acts_in_a_name_is_shown_and_bytes_that_are_no_text_are_kept(run):
    strict = ("run", run / "recipe.json", "--run", run, "--set", "stage.prepare.gate.size.at_least=21")
    assert posttrain(*strict).code == 1
    said = posttrain("waive", run, "prepare.size", *ADA, "--by", "A\x07\udcff")
    assert said.code == 0 and "prepare.size: waived by A⟨U+0007⟩⟨U+DCFF⟩ until" in said.out, said
    assert "A⟨U+0007⟩⟨U+DCFF⟩" in posttrain("status", run).out


def test_a_waiver_from_word_to_word(run):
    """By name, reason and day; shown by run, status and report; never an unqualified pass; withdrawn on the record."""
    strict = ("run", run / "recipe.json", "--run", run, "--set", "stage.prepare.gate.size.at_least=21")
    assert posttrain(*strict).code == 1
    said = posttrain("waive", run, "prepare.size", *ADA)
    assert said.code == 0 and f"prepare.size: waived by Ada until {LATER}: we know (experiment).\n" in said.out
    assert "What refused is waived since." in posttrain("status", run).out
    again = posttrain(*strict)
    assert again.code == 0 and "Passed: " not in again.out
    last = again.out.splitlines()[-2:]
    assert last[0] == f"Exit code 0 rests on 1 waiver: size, waived by Ada until {LATER}: we know (experiment)."
    assert last[1].startswith("Report: ")
    for form in ("html", "md", "json"):
        page = run / f"page.{form}"
        assert posttrain("report", run, "--out", page).code == 0
        text = page.read_text()
        assert "passed with waivers" in text.lower() and "waived by Ada until" in text
        shown = {"html": 'fail <span class="warn">(waived)', "md": "fail (waived)", "json": '"waived": "waived by'}
        assert shown[form] in text
    assert "size: fail (waived)" in posttrain("status", run).out
    assert "fail (waived)" in posttrain("show", run / "prepare" / "algebra").out
    assert json.loads(posttrain("plan", *strict[1:], "--json").out)["verdicts"][2]["waived"].startswith("waived by Ada")
    ended = posttrain("waive", run, "prepare.size", "--withdraw", "--by", "Bob", "--because", "mended")
    assert ended.code == 0 and "The waiver of prepare.size is withdrawn" in ended.out
    assert "A waiver has lapsed: Exit code 0 rested on a waiver" in posttrain("status", run).out
    assert "A waiver has lapsed" in (run / "report.html").read_text(), "the page never tells what no longer stands"
    assert posttrain("gate", run).code == 1
    assert "Refused" in (run / "report.html").read_text()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("prepare.size", *ADA), "gate prepare.size: it passes (prepare/algebra, prepare/geometry), and what passes"),
        (("prepare.sise", *ADA), 'Did you mean "prepare.size"?'),
        (("prepare.size", *ADA[:-1], "2020-01-01"), "2020-01-01 is not in the future"),
        (("prepare.size", *ADA[:4]), "a waiver needs --reason and --until"),
        (("prepare.size", *ADA[2:]), "Missing option '--by'"),
        (("prepare.size", "--withdraw", *ADA[:4]), 'there is no waiver of "prepare.size"'),
    ],
)
def test_a_waiver_that_cannot_be_is_refused(run, words, sentence):
    said = posttrain("waive", run, *words)
    assert said.code == 2 and sentence in said.err, said


def test_show_says_whether_an_artifact_is_current_and_why_it_was_kept(run):
    node = run / "prepare" / "algebra"
    said = posttrain("show", node).out
    assert "made because  nothing made yet" in said and "now           current: nothing changed" in said
    assert "  pass  size     prepare/algebra  rows/train ≥ 20" in said
    recipe = json.loads((run / "recipe.json").read_text())
    recipe["stage"]["prepare"]["max_problems"] = 21
    (run / "recipe.json").write_text(json.dumps(recipe))
    assert "now           stale: knob max_problems: 20 → 21" in posttrain("show", node).out
    told = json.loads(posttrain("show", node, "--json").out)
    assert told["now"] == {"state": "stale", "why": "stale: knob max_problems: 20 → 21"}
    assert told["last_run"]["state"] == "ran" and len(told["verdicts"]) == 3
    recipe["stage"]["prepare"]["max_problems"] = -1
    (run / "recipe.json").write_text(json.dumps(recipe))
    assert "now           cannot be told: " in posttrain("show", node).out


def test_show_leads_from_a_number_to_its_rows_and_their_seed(run):
    """From any number back to data in one command: value, k/n, files with rows, and what they were made from."""
    node = run / "prepare" / "algebra"
    said = posttrain("show", node, "--metric", "verified_share")
    assert said.code == 0
    head, files, below = said.out.rstrip().split("\n\n")
    assert head.startswith("prepare/algebra: verified_share = 1") and "22/22" in head
    assert [line.split()[1:3] for line in files.splitlines() if "train.jsonl" in line] == [["20", "rows"]]
    assert files.endswith("counted again from its files: the same")
    assert below.startswith("Sources\n  prepare/algebra (prepare)  ") and "  seed " in below
    told = json.loads(posttrain("show", node, "--metric", "rows/train", "--json").out)
    assert told["metric"]["value"] == 20 and told["chain"][0]["reads"] == []
    assert 'Did you mean "verified_share"?' in posttrain("show", node, "--metric", "verified").err
    file = node.parent.parent / "nodes" / "prepare.algebra" / "train.jsonl"
    file.resolve().write_text("")
    assert posttrain("show", node, "--metric", "rows/train").code == 6


def test_a_folder_of_the_users_is_a_source(made, tmp_path):
    given = made / "prepare" / "algebra"
    (tmp_path / "own.toml").write_text(
        'format = 1\nname = "own"\n[stage.more]\nkind = "prepare"\ndomain = "algebra"\n'
        f'inputs = {{ ready = {{ path = "{given}" }} }}\n'
    )
    folder = tmp_path / "run"
    assert posttrain("run", tmp_path / "own.toml", "--run", folder).code == 0
    said = posttrain("show", folder / "more", "--metric", "rows/train").out
    assert "more (prepare)  " in said and f"reads {given}\n" in said
    assert f"Sources\n  {given} (a folder of yours)  " in said
    assert f"ready: {given} (a folder of yours)  " in posttrain("show", folder / "more").out


def test_a_number_of_a_recipe_that_cannot_be_read_now_is_not_counted_again(tmp_path):
    """The records alone still lead back: every file is named, and that nothing was counted."""
    run = spectrum(tmp_path / "run")
    said = posttrain("show", run / "exam_final", "--metric", "pass@1")
    assert said.code == 0 and "not counted again: the recipe has it otherwise now" in said.out
    assert "  exam_final (evaluate)  " in said.out and "  prepare/algebra (prepare)" in said.out
    assert posttrain("show", (run / "nodes" / "exam_final").resolve(), "--metric", "pass@1").code == 0
    assert "cannot be told: " in posttrain("show", run / "exam_final").out


def test_a_gate_that_the_run_has_no_more_is_not_told(run):
    """Its verdict was of an artifact of before: neither a pass nor a refusal of this run."""
    said = posttrain("run", run / "recipe.json", "--run", run, "--set", 'gates=["overlap"]')
    assert said.code == 0 and "2 pass of the gates that stop a run." in said.out, said
    assert "size" not in posttrain("status", run).out
