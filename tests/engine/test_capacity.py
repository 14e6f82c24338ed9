"""Claims: what runs together never asks for more than the machine has, and results do not depend on it."""

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.toy_kinds import RECIPE, TOYS, Bed, Make, toy_kind
from posttrain import api
from posttrain.engine import machine
from posttrain.engine.capacity import Capacity
from posttrain.engine.expand import Node
from posttrain.engine.local import LocalExecutor
from posttrain.engine.run import Ended, Finished, Task
from posttrain.spec.knobs import Resources
from posttrain.spec.stage import Kind, Outcome, Role
from posttrain.store import ledger

GIB = 1 << 30


def node(id: str = "n", **resources: Any) -> Node:
    kind = toy_kind("toy", {})
    return Node(id, id, kind, {}, Make(), {}, 1, id, {}, (), Resources(**resources), None, 0)


def test_cores_bound_what_runs_together() -> None:
    has = Capacity(jobs=4, cores=4, memory=8 * GIB)
    assert has.fits(node(cpus=2), [node(cpus=2)])
    assert not has.fits(node(cpus=2), [node(cpus=2), node(cpus=1)])
    assert not has.fits(node(), [node() for _ in range(4)])
    assert not replace(has, jobs=1).fits(node(), [node()])


def test_memory_bounds_what_runs_together() -> None:
    has = Capacity(jobs=4, cores=4, memory=8 * GIB)
    assert has.fits(node(memory=5 * GIB), [node(), node(memory="3GiB")])
    assert not has.fits(node(memory=5 * GIB), [node(memory=3 * GIB + 1)])


def test_what_is_too_large_runs_alone() -> None:
    has = Capacity.of_machine([node("wide", cpus=1024), node("big", memory="4096GiB"), node()], None)
    assert has.fits(node(cpus=1024), []) and not has.fits(node(cpus=1024), [node()])
    assert has.fits(node(memory="4096GiB"), []) and not has.fits(node(memory="4096GiB"), [node(memory=1)])
    assert has.remarks == (
        f"wide claims 1024 cores and runs alone: there {'is 1 core' if has.cores == 1 else f'are {has.cores} cores'}",
        f"big claims 4.0 TiB and runs alone: the machine has {machine.amount(machine.memory())}",
    )


def test_one_accelerator_takes_one_node_at_a_time() -> None:
    has = Capacity(jobs=8, cores=8, memory=GIB)
    assert not has.fits(node(device="cuda"), [node(device="cuda:0")])
    assert not has.fits(node(device="mps"), [node(device="mps")])
    assert has.fits(node(device="cuda:1"), [node(device="cuda:0")])
    assert has.fits(node(device="cpu"), [node(device="cuda:0"), node(device="cpu")])


def test_auto_is_an_accelerator_only_where_there_is_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(machine, "NVIDIA", (f"{tmp_path}/nvidia[0-9]*",))
    monkeypatch.setattr(machine.importlib.metadata, "version", lambda name: "2.13.0+cu130")
    assert machine.accelerator("auto", {}) == ""
    (tmp_path / "nvidiactl").touch()
    assert machine.accelerator("auto", {}) == ""
    (tmp_path / "nvidia0").touch()
    assert machine.accelerator("auto", {}) == machine.accelerator("cuda", {}) == "cuda:0"
    assert machine.accelerator("auto", {"CUDA_VISIBLE_DEVICES": ""}) == ""
    assert machine.accelerator("cpu", {}) == ""
    monkeypatch.setattr(machine.importlib.metadata, "version", lambda name: "2.13.0+cpu")
    assert machine.accelerator("auto", {}) == ""


def test_jobs_bound_nodes_and_never_cores() -> None:
    cores = machine.cores()
    nodes = [node(str(n)) for n in range(cores + 2)]
    assert Capacity.of_machine(nodes, None).jobs == cores
    assert Capacity.of_machine(nodes, 1).jobs == 1
    more = Capacity.of_machine(nodes, cores + 2)
    assert (more.jobs, more.cores) == (cores, cores)
    assert more.remarks[0].startswith(f"{cores} of the {cores + 2} nodes asked for run at a time: there ")
    assert Capacity.of_machine([*nodes, node("wide", cpus=cores)], None).jobs == 1


class Watched:
    """The real executor, which counts what runs together."""

    def __init__(self, work: str) -> None:
        self._hands = LocalExecutor(work, warm=())
        self._running: dict[str, Resources] = {}
        self.most_cpus, self.most_nodes = 0, 0

    def prepare(self) -> None:
        self._hands.prepare()

    def start(self, task: Task) -> None:
        self._running[task.node] = task.resources
        self.most_nodes = max(self.most_nodes, len(self._running))
        self.most_cpus = max(self.most_cpus, sum(one.cpus for one in self._running.values()))
        self._hands.start(task)

    def wait(self, seconds: float) -> tuple[Ended, ...]:
        ended = self._hands.wait(seconds)
        for one in ended:
            del self._running[one.node]
        return ended

    def close(self) -> None:
        self._hands.close()


WIDE = RECIPE.replace('["algebra", "geometry"]', '["a", "b", "c", "d", "e", "f"]')


def run(folder: Path, jobs: int) -> tuple[Bed, Finished, Watched]:
    folder.mkdir()
    bed, hands = Bed(folder, WIDE), Watched("engine.toy_kinds:work")
    asked = bed.asked("stage.train.steps=3", "stage.prepare.wait_s=0.1", jobs=jobs)
    return bed, api.run(asked, kinds=TOYS, executor=hands), hands


def test_more_jobs_than_cores_changes_no_byte(tmp_path: Path) -> None:
    """S-A16: one job and more jobs than cores give the same bytes; cores are never oversubscribed, and it is said."""
    cores = machine.cores()
    one, first, alone = run(tmp_path / "one", 1)
    many, second, together = run(tmp_path / "many", cores + 2)
    assert (first.code, second.code) == (0, 0)
    assert one.digests() == many.digests()
    assert alone.most_nodes == 1
    assert together.most_nodes == together.most_cpus == min(cores, 6)
    records = list(ledger.read(many.folder / "ledger.jsonl"))
    assert records[0]["jobs"] == cores
    notes = [record["text"] for record in records if record["event"] == "note" and record["kind"] == "capacity"]
    assert len(notes) == 1 and "run at a time" in notes[0]


def measure_threads(ctx: Any) -> Outcome:
    """What a node may use, as it sees it, and what it uses."""
    import torch

    side = torch.ones(512, 512)
    (side @ side).sum().item()
    told = {name: os.environ[name] for name in machine.THREADS}
    task = Path("/proc/self/task")
    used = len(list(task.iterdir())) if task.exists() else None
    (ctx.out / "out.json").write_text(json.dumps({"torch": torch.get_num_threads(), "used": used, **told}))
    return Outcome({})


class ThreadKinds:
    """One kind, which tells its threads."""

    def names(self) -> tuple[str, ...]:
        return ("make",)

    def kind(self, name: str, /) -> Kind:
        roles: Mapping[str, Role] = {}
        return replace(toy_kind(name, roles), run=measure_threads, gates=lambda knobs, given: {})


def work(run: str, node: str, **options: Any) -> dict[str, str]:
    return api.work(run, node, kinds=ThreadKinds(), **options)


THREADED = """
format = 1
name = "threads"
seed = 7

[stage.one]
kind = "make"

[stage.two]
kind = "make"
text = "b"
resources = { cpus = 2 }
"""


@pytest.mark.parametrize("warm", [(), ("torch",)])
def test_a_node_uses_exactly_the_threads_it_claims(tmp_path: Path, warm: tuple[str, ...]) -> None:
    bed = Bed(tmp_path, THREADED)
    hands = LocalExecutor("engine.test_capacity:work", warm=warm)
    assert api.run(bed.asked(), kinds=ThreadKinds(), executor=hands).code == 0
    for stage, cpus in (("one", 1), ("two", 2)):
        told = json.loads((bed.folder / "nodes" / stage / "out.json").read_text())
        assert told.pop("torch") == cpus
        assert told.pop("used") in (None, *range(cpus, 2 * cpus)), "torch keeps a second pool, which sleeps"
        assert set(told.values()) == {str(cpus)}
