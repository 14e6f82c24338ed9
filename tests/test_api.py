"""The functions that the command line calls, on the kinds that ship."""

import subprocess
import sys
from pathlib import Path

import pytest

from posttrain import api
from posttrain.api import Asked
from posttrain.spec.errors import RecipeError, UsageError

DATA = """
format = 1
name = "data"
[stage.prepare]
kind = "prepare"
each = { domain = ["algebra", "geometry"] }
max_problems = 20
probe_size = 2
val_size = 2
test_size = 2
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Asked:
    """Two domains, prepared by the real kind in forked children."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "data.toml").write_text(DATA)
    asked = Asked(folder / "data.toml", run=folder / "run")
    heard: list[str] = []
    executor = api.LocalExecutor(api.WORK, warm=())
    finished = api.run(asked, executor=executor, watch=lambda record: heard.append(record["event"]))
    assert (finished.code, finished.failures) == (0, ())
    assert (heard[0], heard[-1], heard.count("node_finished")) == ("run_started", "run_finished", 2)
    return asked


def test_what_is_finished_is_kept_and_shown(made: Asked) -> None:
    """S-B1: a second run does no work; S-A6: nor one from the saved recipe."""
    assert made.run is not None
    assert api.plan(made).plan.idle
    assert api.plan(Asked(made.run / "recipe.json")).plan.idle
    shown = api.show(made.run / "prepare" / "algebra")
    assert (shown.manifest.node, shown.manifest.type) == ("prepare/algebra", "data")
    assert api.verify(made.run) == {"prepare/algebra": (), "prepare/geometry": ()}
    view = api.status(made.run)
    assert set(view.nodes) == set(api.verify(made.run))
    assert {node.state for node in view.nodes.values()} <= {"ran", "kept"}
    assert {verdict.value for verdict in api.judge(made.run).verdicts} == {"pass"}
    assert len(api.judge(made.run).verdicts) == len(view.verdicts)
    assert api.report(made.run).read_text().startswith("<!")


def test_working_one_node_alone_takes_what_is_there(made: Asked) -> None:
    """Every executor calls `work`."""
    assert made.run is not None
    value = api.work(str(made.run), "prepare/algebra")
    assert value["fingerprint"] == api.show(made.run / "prepare" / "algebra").manifest.fingerprint


def test_checking_reads_files_and_folders(made: Asked, tmp_path: Path) -> None:
    """`check` writes nothing and finds a folder that is not there."""
    assert made.run is not None
    given = tmp_path / "given.toml"
    given.write_text(DATA + f'inputs = {{ ready = {{ path = "{made.run / "prepare" / "algebra"}" }} }}\n')
    checked = api.check(Asked(given, run=tmp_path / "run"))
    assert set(checked.graph.nodes) == {"prepare/algebra", "prepare/geometry"}
    assert not (tmp_path / "run").exists()
    given.write_text(DATA + f'inputs = {{ ready = {{ path = "{tmp_path / "nowhere"}" }} }}\n')
    with pytest.raises(UsageError, match="nowhere"):
        api.check(Asked(given, run=tmp_path / "run"))


def test_a_recipe_that_does_not_hold_is_refused(made: Asked, tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(DATA.replace("max_problems", "max_problem"))
    for verb in (api.check, api.plan, api.run):
        with pytest.raises(RecipeError, match="max_problems"):
            verb(Asked(path, run=tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_the_environment_reaches_a_recipe(made: Asked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """S-A5: a variable of [env]."""
    path = tmp_path / "env.toml"
    path.write_text(DATA + '[env]\nPROBLEMS = "stage.prepare.max_problems"\n')
    monkeypatch.setenv("PROBLEMS", "21")
    recipe = api.check(Asked(path, run=tmp_path / "run")).recipe
    assert recipe.origins["stage.prepare.max_problems"] == "env PROBLEMS"


def test_what_is_no_run_or_artifact_is_a_usage_error(tmp_path: Path) -> None:
    for verb in (api.judge, api.verify, api.status, api.report, api.show):
        with pytest.raises(UsageError):
            verb(tmp_path)
    with pytest.raises(UsageError, match="no such folder"):
        api.show(tmp_path / "nowhere")


def test_planning_knows_no_torch(made: Asked) -> None:
    """S-A12: plan, a run that keeps everything, and a gate whose numbers need none, import no torch."""
    script = (
        "import sys; from pathlib import Path; from posttrain import api\n"
        f"asked = api.Asked(Path({str(made.source)!r}), run=Path({str(made.run)!r}))\n"
        "assert api.plan(asked).plan.idle\n"
        "assert api.run(asked).code == 0\n"
        "assert api.judge(asked.run).code == 0\n"
        "assert not {'torch', 'transformers', 'rich', 'jinja2'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_a_run_with_a_lower_sandbox_is_refused_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """S-D14: below L2 the environment must agree, or check, plan and run end with exit 2 before the first node."""
    monkeypatch.delenv("POSTTRAIN_SANDBOX_L1", raising=False)
    (tmp_path / "data.toml").write_text(DATA + '\n[resources]\nsandbox = "L1"\n')
    asked = Asked(tmp_path / "data.toml", run=tmp_path / "run")
    for verb in (api.check, api.plan, api.run):
        with pytest.raises(UsageError, match="POSTTRAIN_SANDBOX_L1 is not 1") as caught:
            verb(asked)
        assert caught.value.code == 2 and caught.value.what.startswith('resources.sandbox = "L1" (recipe) runs')
    assert not (tmp_path / "run" / "prepare").exists()
    monkeypatch.setenv("POSTTRAIN_SANDBOX_L1", "1")
    assert api.check(asked).graph.nodes and not api.plan(asked).plan.idle


def test_where_a_lower_sandbox_was_set_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """S-D14: the key and who set it, be it of one stage."""
    monkeypatch.delenv("POSTTRAIN_SANDBOX_L1", raising=False)
    (tmp_path / "data.toml").write_text(DATA)
    for key in ("resources.sandbox", "stage.prepare.resources.sandbox"):
        with pytest.raises(UsageError) as caught:
            api.plan(Asked(tmp_path / "data.toml", sets=(f"{key}=L1",), run=tmp_path / "run"))
        assert caught.value.what.startswith(f'{key} = "L1" (command line) runs')
