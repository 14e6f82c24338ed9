"""The engine on nodes that do nothing, beside make and doit on the same graph, each as its user starts it.

    python bench/pipeline.py [--rounds 5]

plan      1,000 nodes of which nothing is made: what would run? (make -n; doit list --status)
no-op     a finished recipe of 50 nodes, run again
per node  a recipe of 50 nodes run for the first time, less a run of one: what a node costs beyond its work. Ours
          forks a process of its own, writes records, digests, fsyncs and judges; make starts a shell; doit calls a
          function
events    records a second that one process writes to the ledger, and their share of a training step of 10 ms

Seconds are the median of the rounds on a clock on the wall; arms take turns, so that a neighbour's load falls on all.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from posttrain import api
from posttrain.api import Asked
from posttrain.engine.local import LocalExecutor
from posttrain.spec.knobs import Knobs
from posttrain.spec.stage import Estimate, Kind, Outcome, Role
from posttrain.store.ledger import Ledger


class Text(Knobs):
    """The one knob of a node that does nothing."""

    domain: str = ""


def _write(ctx: Any) -> Outcome:
    above = "".join(part.file("out.txt").read_text() for part in ctx.inputs("of"))
    (ctx.out / "out.txt").write_text(ctx.knobs.domain + above)
    return Outcome({})


class Nothing:
    """Kinds as the engine looks them up: one, which writes a line."""

    def names(self) -> tuple[str, ...]:
        """The one name."""
        return ("write",)

    def kind(self, name: str, /) -> Kind:
        """The one kind."""
        return Kind(
            name=name,
            version=1,
            knobs=Text,
            roles={"of": Role(("data",), "parts", many=True, optional=True)},
            makes="data",
            gates=lambda knobs, given: {},
            estimate=lambda knobs, inputs: Estimate(seconds=0.0),
            run=_write,
            measure=lambda artifact, knobs: {},
            says="Writes a line.",
        )


def work(run: str, node: str, **options: Any) -> dict[str, str]:
    """What our worker calls."""
    return api.work(run, node, kinds=Nothing(), **options)


def recipe(stages: int, width: int) -> str:
    """`stages` stages of `width` members, each reading its own member above."""
    members = ", ".join(f'"d{i}"' for i in range(width))
    lines = ["format = 1", 'name = "bench"']
    for i in range(stages):
        above = f'inputs = {{ of = "s{i - 1}" }}' if i else ""
        lines += [f"[stage.s{i}]", 'kind = "write"', f"each = {{ domain = [{members}] }}", above]
    return "\n".join(lines) + "\n"


def makefile(stages: int, width: int) -> str:
    """The same graph for make."""
    last = " ".join(f"s{stages - 1}.d{d}" for d in range(width))
    rules = [f"all: {last}\n"]
    for i in range(stages):
        for d in range(width):
            above = f"s{i - 1}.d{d}" if i else ""
            rules.append(f"s{i}.d{d}: {above}\n\t@echo d{d} | cat - {above} > $@\n")
    return "".join(rules)


def dodo(stages: int, width: int) -> str:
    """The same graph for doit: tasks that are functions."""
    return f"""
from pathlib import Path
DOIT_CONFIG = {{"verbosity": 0, "default_tasks": ["s"]}}
def write(name, above, d):
    Path(name).write_text(d + (Path(above).read_text() if above else ""))
def task_s():
    for i in range({stages}):
        for d in range({width}):
            name, above = f"s{{i}}.d{{d}}", f"s{{i - 1}}.d{{d}}" if i else ""
            yield {{"name": name, "actions": [(write, [name, above, f"d{{d}}"])], "targets": [name],
                   "file_dep": [above] if above else []}}
"""


def ours(verb: str, folder: Path) -> list[str]:
    """The command of our arm: this file as `posttrain VERB` with the bench's kind."""
    return [sys.executable, __file__, "--as", verb, str(folder)]


def commands(verb: str, folder: Path) -> dict[str, list[str]]:
    """Each arm's command in its own folder."""
    doit = [sys.executable, "-m", "doit", *(["list", "--all", "--status"] if verb == "plan" else [])]
    return {"posttrain": ours(verb, folder), "make": ["make", "-s", *(["-n"] if verb == "plan" else [])], "doit": doit}


def lay(root: Path, stages: int, width: int) -> dict[str, Path]:
    """A fresh folder for each arm with its description of the graph."""
    shutil.rmtree(root, ignore_errors=True)
    texts = {"posttrain": ("bench.toml", recipe), "make": ("Makefile", makefile), "doit": ("dodo.py", dodo)}
    found: dict[str, Path] = {}
    for arm, (name, text) in texts.items():
        found[arm] = root / arm
        found[arm].mkdir(parents=True)
        (found[arm] / name).write_text(text(stages, width))
    return found


def timed(command: list[str], folder: Path) -> float:
    """Seconds that a command takes."""
    before = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - before


def measure(rounds: int, verb: str, prepare: Callable[[], dict[str, Path]]) -> dict[str, float]:
    """The median seconds of each arm; `prepare` gives the folders of a round."""
    seconds: dict[str, list[float]] = {}
    for _ in range(rounds):
        for arm, folder in prepare().items():
            seconds.setdefault(arm, []).append(timed(commands(verb, folder)[arm], folder))
    return {arm: statistics.median(found) for arm, found in seconds.items()}


def say(title: str, found: dict[str, float], unit: float = 1.0, name: str = "s") -> None:
    """One line per arm, with how many times our seconds each peer takes."""
    for arm, seconds in found.items():
        print(f"{title:28s} {arm:10s} {seconds * unit:9.3f} {name}   x{seconds / found['posttrain']:6.2f} of ours")


def per_node(rounds: int, root: Path) -> None:
    """First runs of 50 nodes less first runs of one; and the bare fork."""
    many = measure(rounds, "run", lambda: lay(root / "many", 5, 10))
    one = measure(rounds, "run", lambda: lay(root / "one", 1, 1))
    found = {arm: (many[arm] - one[arm]) / 49 for arm in many}
    say("per node, one at a time", found, 1000, "ms")
    before = time.perf_counter()
    for _ in range(100):
        if (pid := os.fork()) == 0:
            os._exit(0)
        os.waitpid(pid, 0)
    print(f"{'per node, bare fork':28s} {'':10s} {(time.perf_counter() - before) * 10:9.3f} ms")


def events(root: Path, count: int = 50_000) -> None:
    """Records a second."""
    ledger = Ledger(root / "ledger.jsonl", run="bench")
    before = time.perf_counter()
    for step in range(count):
        ledger.write("step", node="sft/algebra", fingerprint="0" * 64, metrics={"step": step, "loss": 0.5, "lr": 1e-3})
    seconds = time.perf_counter() - before
    each = seconds / count
    print(
        f"{'events':28s} {'posttrain':10s} {1 / each:9.0f} /s   {each * 1e6:.1f} µs each, {each / 0.01:.2%} of a step"
    )


def act(verb: str, folder: Path) -> None:
    """Our arm, as its process."""
    asked = Asked(folder / "bench.toml", run=folder / "run", jobs=1)
    if verb == "plan":
        api.plan(asked, kinds=Nothing())
        return
    finished = api.run(asked, kinds=Nothing(), executor=LocalExecutor("pipeline:work", warm=("torch",)))
    sys.exit(finished.code)


def main() -> None:
    """Print seconds of every arm and ratios to ours."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--as", dest="verb", nargs=2, metavar=("VERB", "DIR"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.verb:
        act(options.verb[0], Path(options.verb[1]))
        return
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        fresh = lay(root / "thousand", 10, 100)
        say("plan, 1,000 nodes", measure(options.rounds, "plan", lambda: fresh))
        done = lay(root / "fifty", 5, 10)
        measure(1, "run", lambda: done)
        say("no-op run, 50 nodes", measure(options.rounds, "run", lambda: done))
        per_node(options.rounds, root)
        events(root)


if __name__ == "__main__":
    main()
