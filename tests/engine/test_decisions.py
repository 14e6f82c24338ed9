"""Plan, keep, reasons and selections, on toys worked in this process."""

import os
import shutil
import sys
from collections import Counter
from pathlib import Path

import pytest

from engine.toy_kinds import TOYS, Bed, ToyKinds
from posttrain import api
from posttrain.spec.errors import Mismatch, MissingNeed, RecipeError, UsageError

ALL = ["prepare/algebra", "prepare/geometry", "train/algebra", "train/geometry", "fuse", "exam"]


@pytest.fixture
def bed(tmp_path: Path) -> Bed:
    return Bed(tmp_path)


def test_first_run_makes_everything_and_the_second_keeps_it(bed: Bed) -> None:
    """S-B1: a second run does no work."""
    first, worked = bed.run()
    assert (first.code, worked) == (0, ALL)
    second, worked = bed.run()
    assert (second.code, worked) == (0, [])
    assert set(second.fates.values()) == {"kept"}


def test_a_plan_writes_nothing(bed: Bed, tmp_path: Path) -> None:
    """S-A12: planning leaves no trace."""
    before = sorted(tmp_path.rglob("*"))
    assert {action for action, _ in bed.actions().values()} == {"run"}
    assert sorted(tmp_path.rglob("*")) == before


def test_a_changed_knob_reruns_its_node_and_what_depends_on_it(bed: Bed) -> None:
    """S-A7: a changed knob re-runs its node and dependants only, naming the knob."""
    bed.run()
    change = "stage.train.k=4"
    found = bed.actions(change)
    assert found["prepare/algebra"] == ("keep", "nothing changed")
    assert found["train/algebra"] == ("run", "knob k: 1 → 4")
    assert found["fuse"] == ("maybe", "waits for train/algebra, train/geometry")
    assert found["exam"] == ("maybe", "waits for fuse")
    result, worked = bed.run(change)
    assert (result.code, worked) == (0, ALL[2:])
    assert result.decisions["fuse"].reasons == ("input parts changed (train/algebra, train/geometry)",)


def test_a_knob_set_back_finds_the_old_artifacts(bed: Bed) -> None:
    bed.run()
    bed.run("stage.fuse.k=4")
    result, worked = bed.run()
    assert worked == []
    assert result.fates["fuse"] == "kept"
    assert bed.actions()["exam"] == ("keep", "nothing changed")


def test_equal_bytes_stop_the_change(bed: Bed) -> None:
    bed.run("stage.prepare.constant=true")
    result, worked = bed.run("stage.prepare.constant=true", "stage.prepare.k=2")
    assert worked == ALL[:2]
    assert result.fates["train/algebra"] == result.fates["exam"] == "kept"


def test_an_own_change_is_known_although_an_input_is_not(bed: Bed) -> None:
    bed.run()
    found = bed.actions("stage.prepare.k=2", "stage.fuse.text=b")
    assert found["train/algebra"] == ("maybe", "waits for prepare/algebra")
    assert found["fuse"] == ("run", "knob text: a → b")


def test_another_version_of_a_kind_is_a_reason(bed: Bed) -> None:
    bed.run()
    assert bed.actions(kinds=ToyKinds(version=2))["prepare/algebra"] == ("run", "kind version 1 → 2")


def test_another_seed_is_a_reason(bed: Bed) -> None:
    bed.run()
    bed.recipe.write_text(bed.recipe.read_text().replace("seed = 7", "seed = 8"))
    assert bed.actions()["prepare/algebra"] == ("run", "seed 7 → 8")
    assert bed.actions("stage.train.stream=other")["train/algebra"] == (
        "run",
        "seed 7 → 8, stream train/algebra → other",
    )


def test_another_stream_is_a_reason(bed: Bed) -> None:
    bed.run()
    assert bed.actions("stage.fuse.stream=other")["fuse"] == ("run", "stream fuse → other")
    bed.run("stage.fuse.stream=other", only=("fuse",))
    bed.run("seed=8", until=("prepare",))
    assert bed.actions("seed=9")["fuse"] == ("run", "seed"), "the record is of a run that did not make it"


def test_a_file_knob_counts_by_content_not_by_path(bed: Bed, tmp_path: Path) -> None:
    rules = tmp_path / "rules.txt"
    rules.write_text("be kind")
    bed.run(f"stage.prepare.rules={rules}")
    moved = tmp_path / "moved.txt"
    rules.rename(moved)
    assert bed.actions(f"stage.prepare.rules={moved}")["prepare/algebra"][0] == "keep"
    moved.write_text("be kinder")
    assert bed.actions(f"stage.prepare.rules={moved}")["prepare/algebra"] == ("run", "file rules changed")


def test_a_missing_file_is_a_usage_error(bed: Bed, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as error:
        bed.actions(f"stage.prepare.rules={tmp_path / 'nowhere'}")
    assert error.value.code == 2


def test_resources_are_no_facts(bed: Bed) -> None:
    bed.run()
    bed.recipe.write_text(bed.recipe.read_text() + "\n[resources]\ncpus = 2\n")
    assert {action for action, _ in bed.actions().values()} == {"keep"}


def test_a_removed_artifact_is_made_again_alone(bed: Bed) -> None:
    """S-B1: deleting one domain rebuilds that one."""
    bed.run()
    shutil.rmtree((bed.folder / "nodes" / "prepare.algebra").resolve())
    assert bed.actions()["prepare/algebra"] == ("run", "its artifact was removed")
    _, worked = bed.run()
    assert worked == ["prepare/algebra"]


def test_a_shorter_file_blocks_and_is_never_rebuilt_by_itself(bed: Bed) -> None:
    bed.run()
    target = bed.folder / "nodes" / "prepare.algebra" / "out.json"
    target.write_text(target.read_text()[:-1])
    action, reason = bed.actions()["prepare/algebra"]
    assert action == "blocked"
    assert "out.json has changed" in reason
    result, worked = bed.run()
    assert (result.code, worked) == (6, [])
    assert result.fates["train/algebra"] == "blocked"
    result, worked = bed.run(again=("prepare/algebra",))
    assert (result.code, worked) == (0, ["prepare/algebra"])


def test_a_flipped_byte_stops_the_node_that_reads_it(bed: Bed) -> None:
    """T20: a byte changed inside an input is exit 6, naming the file."""
    bed.run()
    target = bed.folder / "nodes" / "train.algebra" / "out.json"
    data = bytearray(target.read_bytes())
    data[3] ^= 1
    target.write_bytes(data)
    assert bed.actions()["fuse"][0] == "keep", "sizes agree: what is kept is not read"
    result, _ = bed.run("stage.fuse.k=2")
    assert result.code == 6
    assert "out.json has changed" in result.failures[0].error.what


def test_a_doctored_manifest_is_refused(bed: Bed) -> None:
    bed.run()
    target = bed.folder / "nodes" / "prepare.algebra" / "manifest.json"
    target.write_text(target.read_text().replace('"k":1', '"k":2').replace('"k": 1', '"k": 2'))
    assert bed.actions()["prepare/algebra"] == ("blocked", "damaged: manifest.json has changed since it was made.")


def test_again_works_a_kept_node_once_more(bed: Bed) -> None:
    """S-A7: --again."""
    bed.run()
    found = bed.actions(again=("fuse",))
    assert found["fuse"] == ("run", "asked for")
    assert found["exam"] == ("maybe", "waits for fuse")
    result, worked = bed.run(again=("fuse",))
    assert worked == ["fuse"]
    assert result.fates["exam"] == "kept"


def test_until_runs_a_stage_and_what_it_needs(bed: Bed) -> None:
    """S-A2: --until."""
    _, worked = bed.run(until=("train/algebra",))
    assert worked == ["prepare/algebra", "train/algebra"]


def test_only_runs_on_what_exists(bed: Bed) -> None:
    """S-C4: a stage runs alone."""
    bed.run(until=("train",))
    _, worked = bed.run(only=("fuse",))
    assert worked == ["fuse"]


def test_only_refuses_what_is_not_made(bed: Bed) -> None:
    with pytest.raises(UsageError, match="left out of this run: nothing made yet"):
        bed.run(only=("fuse",))
    assert not (bed.folder / "ledger.jsonl").exists()


def test_from_takes_what_is_above_as_it_is(bed: Bed) -> None:
    """S-A7: --from."""
    bed.run(until=("train",))
    _, worked = bed.run(from_=("fuse",))
    assert worked == ["fuse", "exam"]
    with pytest.raises(UsageError, match="knob k: 1 → 2"):
        bed.run("stage.prepare.k=2", from_=("fuse",))


def test_a_wrong_name_in_a_selection_is_a_usage_error(bed: Bed) -> None:
    with pytest.raises(UsageError, match='Did you mean "fuse"'):
        bed.run(only=("fuze",))


def test_a_kind_refuses_its_knobs_before_anything_runs(bed: Bed) -> None:
    """A kind's own check is a recipe error: exit 2."""
    for verb in (lambda: bed.actions("stage.fuse.k=13"), lambda: bed.run("stage.fuse.k=13")):
        with pytest.raises(RecipeError, match="k must not be 13"):
            verb()
    with pytest.raises(RecipeError):
        api.check(bed.asked("stage.fuse.k=13"), kinds=TOYS)


def test_estimates_follow_what_nodes_took(bed: Bed) -> None:
    """S-A14: actual rates correct the estimates of the same kind."""
    planned = api.plan(bed.asked(), kinds=TOYS).plan
    assert (planned.total.seconds, planned.total.tokens, planned.unknown) == (6.0, 60, ())
    bed.run()
    planned = api.plan(bed.asked("stage.exam.k=2"), kinds=TOYS).plan
    assert planned.decisions["fuse"].estimate.seconds is None, "what is kept takes nothing"
    assert planned.total.seconds is not None


def test_a_refused_gate_blocks_what_is_below(bed: Bed) -> None:
    bed.run("stage.train.score=0.25")
    found = bed.actions("stage.train.score=0.25")
    assert found["train/algebra"][0] == "keep"
    assert found["fuse"] == ("blocked", "gate good of train/algebra is fail")
    assert found["exam"] == ("blocked", "fuse is blocked")


def test_only_chosen_gates_exist(bed: Bed) -> None:
    result, worked = bed.run("stage.train.score=0.25", "gates=[]")
    assert (result.code, worked) == (0, ALL)
    assert result.verdicts == ()


def test_the_users_folder_is_recognised_and_digested(tmp_path: Path) -> None:
    data = tmp_path / "mine"
    data.mkdir()
    (data / "out.json").write_text("mine")
    (data / "train.jsonl").write_text("{}\n")
    text = f'format = 1\nname = "own"\n[stage.exam]\nkind = "pass"\ninputs = {{ one = {{ path = "{data}" }} }}\n'
    bed = Bed(tmp_path, text)
    assert bed.run()[1] == ["exam"]
    assert bed.actions()["exam"][0] == "keep"
    (data / "train.jsonl").write_text("[]\n")
    assert bed.actions()["exam"] == ("run", f"input one changed ({data})")
    digest = 'digest = "' + "0" * 64
    bed.recipe.write_text(text.replace(f'"{data}"', f'"{data}", {digest}"'))
    with pytest.raises(Mismatch, match="its digest is"):
        bed.actions()
    (data / "train.jsonl").rename(data / "config.json")
    bed.recipe.write_text(text)
    with pytest.raises(RecipeError, match=r"takes data, and .* holds model"):
        bed.actions()
    shutil.rmtree(data)
    with pytest.raises(UsageError, match="no such folder"):
        bed.actions()


def test_a_node_of_another_run_is_an_input(tmp_path: Path) -> None:
    """`{ path = "RUN/NODE" }`."""
    (tmp_path / "first").mkdir()
    first = Bed(tmp_path / "first")
    first.run()
    path = first.folder / "train" / "algebra"
    text = f'format = 1\nname = "own"\n[stage.exam]\nkind = "pass"\ninputs = {{ one = {{ path = "{path}" }} }}\n'
    bed = Bed(tmp_path, text)
    result, worked = bed.run()
    assert (result.code, worked) == (0, ["exam"])
    facts = api.show(bed.folder / "exam").manifest.facts
    assert facts.inputs["one"][0].digest == first.digests()["train.algebra"]


def test_the_resolved_recipe_gives_equal_fingerprints(bed: Bed, tmp_path: Path) -> None:
    """S-A6: running from the saved configuration gives equal fingerprints."""
    bed.run("stage.train.k=3")
    again = api.plan(api.Asked(bed.folder / "recipe.json"), kinds=TOYS)
    assert again.plan.idle
    other = api.plan(api.Asked(bed.folder / "recipe.json", run=tmp_path / "other"), kinds=TOYS).plan
    mine = {id: one.fingerprint for id, one in other.decisions.items() if one.fingerprint}
    assert mine == {id: again.plan.decisions[id].fingerprint for id in mine} != {}


def test_two_runs_share_a_store(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    store = tmp_path / "store"
    one, two = Bed(tmp_path / "one"), Bed(tmp_path / "two")
    assert len(one.run(store=store)[1]) == 6
    result, worked = two.run(store=store)
    assert (result.code, worked) == (0, [])
    assert one.digests() == two.digests()
    assert not (one.folder / "artifacts").exists()
    assert one.actions()["exam"][0] == "keep", "the run remembers its store"


def test_a_store_that_is_gone_is_told_and_not_begun_anew(bed: Bed, tmp_path: Path) -> None:
    """A disk that is not mounted: nothing is made at its place, and the run goes on where its store lies."""
    store, moved = tmp_path / "store", tmp_path / "moved"
    bed.run(store=store)
    store.rename(moved)
    with pytest.raises(MissingNeed, match="the store of this run is gone") as refused:
        bed.run()
    assert refused.value.where == str(store) and not store.exists()
    assert bed.run(store=moved)[1] == []
    assert bed.run()[1] == [], "the run remembers the store that it was given last"
    assert not any(api.verify(bed.folder).values())


def test_another_store_given_is_the_one_that_is_used(bed: Bed, tmp_path: Path) -> None:
    stores = (tmp_path / "one", tmp_path / "two", bed.folder)
    for store in stores:
        assert len(bed.run(store=store)[1]) == 6
        assert len(list((store / "artifacts").iterdir())) == 6
        assert bed.run()[1] == [] and not any(api.verify(bed.folder).values())


def test_a_run_can_move(bed: Bed, tmp_path: Path) -> None:
    bed.run()
    bed.folder.rename(tmp_path / "moved")
    bed.folder = tmp_path / "moved"
    assert {action for action, _ in bed.actions().values()} == {"keep"}
    assert len(bed.digests()) == 6


def wide(nodes: int) -> str:
    values = ", ".join(f'"n{number}"' for number in range(nodes // 2))
    return (
        f'format = 1\nname = "wide"\n[stage.first]\nkind = "make"\neach = {{ domain = [{values}] }}\n'
        '[stage.second]\nkind = "pass"\neach = "first"\ninputs = { one = "first" }\n'
    )


def calls(bed: Bed) -> Counter[str]:
    """How often Python functions are called, and files opened, in a plan."""
    found: Counter[str] = Counter()

    def count(frame: object, event: str, argument: object) -> None:
        if event == "call":
            found["calls"] += 1
        elif event == "c_call" and getattr(argument, "__name__", "") in ("open", "stat", "readlink"):
            found["files"] += 1

    recipe = api.load_recipe(bed.asked(), kinds=TOYS)
    graph = api.expand(recipe, TOYS)
    sys.setprofile(count)
    try:
        outlook = api.Outlook(graph, api.wanted(recipe.run), None)
        plan = api.planning.make(outlook, api.Bench(graph), api.Views(recipe, outlook.run))
    finally:
        sys.setprofile(None)
    assert len(plan.decisions) == len(graph.nodes)
    return found


def test_planning_grows_with_the_number_of_nodes_and_not_faster(tmp_path: Path) -> None:
    """S-A12: a plan of 1,000 nodes is 10 plans of 100, with a handful of file accesses per node."""
    counted: dict[int, Counter[str]] = {}
    for size in (100, 1000):
        folder = tmp_path / str(size)
        folder.mkdir()
        counted[size] = calls(Bed(folder, wide(size)))
    assert counted[1000]["calls"] < 11 * counted[100]["calls"]
    assert counted[1000]["files"] <= 8 * 1000


def test_a_kept_plan_reads_each_manifest_once(tmp_path: Path) -> None:
    bed = Bed(tmp_path, wide(40))
    bed.run()
    opened: list[str] = []
    hook_on = [True]

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if hook_on[0] and event == "open" and str(arguments[0]).startswith(os.fspath(bed.folder)):
            opened.append(str(arguments[0]))

    sys.addaudithook(hook)
    assert api.plan(bed.asked(), kinds=TOYS).plan.idle
    hook_on[0] = False
    assert Counter(Path(name).name for name in opened) == {"manifest.json": 40, "recipe.json": 1, "ledger.jsonl": 1}
