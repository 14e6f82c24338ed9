"""Kill a run at random moments, give the same command again, and compare every byte with a run that nobody killed.

Everything is done from outside, with the real command in processes of its own: kills are aimed by what the ledger and
the scratch folders show, and are spread so that every kind of stage is hit. Which kills are drawn follows from a seed;
when they land is as exact as the clock.
"""

import math
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from posttrain.spec.errors import BY_CODE, INCONCLUSIVE, PASS, REFUSED, Mismatch, StageFailed, TimedOut, UsageError
from posttrain.store import ledger
from posttrain.store.run import Run, at
from posttrain.trials import equal, processes
from posttrain.trials.aim import Moment, Targets, Watch

COMMAND = (sys.executable, "-P", "-m", "posttrain", "run")

TICK = 0.001
"""Seconds between two looks at a run that is to be killed."""

MISSES = 5
"""Runs in a row that end before what is to be hit can be hit; then it cannot be."""

PATIENCE, TIMES = 120.0, 10.0
"""Seconds that a command may take beyond so many times the calm run: then it hangs."""


@dataclass(frozen=True)
class Asked:
    """What is run, how often it is killed, and where."""

    words: tuple[str, ...]
    """The recipe and its options, as `posttrain run` takes them, without `--run`."""
    kills: int
    folder: Path
    seed: int = 0
    command: Sequence[str] = COMMAND


@dataclass(frozen=True)
class Kill:
    """One kill that landed."""

    round: str
    """The folder of the run."""
    moment: Moment
    """What it was aimed at."""
    at: tuple[str, ...]
    """The nodes that worked, and had not ended."""
    kept: tuple[str, ...]
    """Those of them that left something to go on from."""
    made: tuple[str, ...]
    """Those whose artifact was committed already, and only not yet told of; the others start again."""
    programs: tuple[str, ...] = ()
    """Those that ran programs apart from themselves, in a sandbox."""


@dataclass(frozen=True)
class Report:
    """What became of it."""

    asked: int
    """Kills that were to land."""
    kills: tuple[Kill, ...]
    kinds: Mapping[str, int]
    """Kind → kills that landed while it worked; every kind that does work stands here."""
    nodes: Mapping[str, int]
    """The same by node, without those never hit."""
    differences: tuple[str, ...]
    rounds: int
    """Runs that were killed, each compared with the calm one."""
    torn: int
    """Ledger lines that a kill cut."""
    wall_s: float

    @property
    def resumed(self) -> int:
        """Times a node went on where it was stopped."""
        return sum(len(kill.kept) for kill in self.kills)

    @property
    def amid_programs(self) -> int:
        """Kills that landed while programs ran in a sandbox."""
        return sum(bool(kill.programs) for kill in self.kills)

    @property
    def restarted(self) -> int:
        """Times a node had nothing to go on from, and started again."""
        return sum(len(kill.at) - len(kill.kept) - len(kill.made) for kill in self.kills)

    @property
    def never_hit(self) -> tuple[str, ...]:
        """Kinds that do work and were never killed at it."""
        return tuple(kind for kind, hits in self.kinds.items() if hits == 0)

    @property
    def code(self) -> int:
        """6 for any difference; 3 where a kind was never hit or a kill did not land: unknown is no pass; else 0."""
        if self.differences:
            return Mismatch.code
        return INCONCLUSIVE if self.never_hit or len(self.kills) < self.asked else PASS


@dataclass
class _Trial:
    """A trial under way."""

    asked: Asked
    tell: Callable[[Kill, int], None]
    draw: Random
    patience: float = math.inf
    """Seconds a command may take; the calm run may take any time."""
    kills: list[Kill] = field(default_factory=list[Kill])
    sessions: set[int] = field(default_factory=set[int])
    outlived: list[str] = field(default_factory=list[str])
    """What did not end with the node it belonged to."""
    programs: set[str] = field(default_factory=set[str])
    """The nodes of the calm run that ran something apart from themselves."""
    running: "subprocess.Popen[bytes] | None" = None

    def start(self, run: Run, watch: Watch) -> "subprocess.Popen[bytes]":
        """Give the command, and let `watch` begin."""
        words = [*self.asked.command, *self.asked.words, "--run", str(run.folder)]
        told = run.folder.with_suffix(".txt")
        told.touch()
        since = told.stat().st_ctime
        with told.open("ab") as log:
            process = subprocess.Popen(words, stdout=log, stderr=log, start_new_session=True)  # noqa: S603
        self.sessions.add(process.pid)
        self.running = process
        watch.begin(process.pid, since)
        return process

    def undisturbed(self, run: Run, *, spied: bool = False) -> tuple[int, float]:
        """Run to the end: the exit code, and how long it took until the first node worked.

        `spied`: note which nodes run programs.
        """
        watch, began, begins = Watch(run), time.monotonic(), 0.0
        process = self.start(run, watch)
        while process.poll() is None:
            watch.look()
            if not begins and watch.at_work():
                begins = time.monotonic() - began
            if spied:
                self.programs |= set(watch.programs().values()) - {""}
            self.check(began)
            time.sleep(TICK if not begins else 0.05 if spied else 0.02)
        return process.returncode, begins

    def disturbed(self, run: Run, targets: Targets) -> int:
        """Kill and give the same command again, until it ends or the kills are used up; its exit code in the end."""
        watch = Watch(run)
        while len(self.kills) < self.asked.kills:
            process, began = self.start(run, watch), time.monotonic()
            hit = [node for kill in self.kills if kill.round == run.folder.name for node in kill.at]
            aim = targets.next(watch.done, hit, self.draw)
            while process.poll() is None and not (aim and watch.due(aim, targets)):
                self.check(began)
                time.sleep(TICK if aim else 0.02)
                watch.look()
                if aim and aim.node in watch.done:
                    aim = targets.next(watch.done, hit, self.draw)
            if process.poll() is not None or aim is None:
                return process.returncode
            self.strike(process, watch, targets, aim.moment)
        return self.undisturbed(run)[0]

    def strike(self, process: "subprocess.Popen[bytes]", watch: Watch, targets: Targets, moment: Moment) -> None:
        """Kill everything, and note what it hit; aimed at programs, leave them to their own end."""
        apart = watch.programs()
        spared = tuple(apart) if moment == "programs" else ()
        self.sessions |= processes.end(process.pid, known=watch.pids, spared=spared) | apart.keys()
        process.wait()
        watch.look()
        hit = watch.at_work()
        programs = tuple(node for node in hit if node in apart.values())
        targets.hit(hit, programs)
        number = len(self.kills) + 1
        self.outlived += [f"process {pid} outlived kill {number}" for pid in processes.outlived(spared)]
        made = tuple(node for node in hit if watch.made(watch.marks[node]))
        kept = tuple(node for node in hit if node not in made and watch.keeps(watch.marks[node]))
        self.kills.append(Kill(watch.run.folder.name, moment, hit, kept, made, programs))
        self.tell(self.kills[-1], len(self.kills))

    def check(self, began: float) -> None:
        """TimedOut where a command hangs."""
        if time.monotonic() - began > self.patience:
            raise TimedOut(f"a command did not end in {self.patience:.0f} s.", where=str(self.asked.folder))

    def close(self) -> None:
        """Leave nothing running, whatever ended the trial."""
        if self.running is not None and self.running.poll() is None:
            processes.end(self.running.pid)
            self.running.wait()


def chaos(asked: Asked, *, tell: Callable[[Kill, int], None] = lambda kill, number: None) -> Report:
    """Run undisturbed, then disturbed until all kills have landed; compare every run with the first.

    Raises UsageError where the folder is in use, what the undisturbed run raises where it cannot be done, and TimedOut
    where a command hangs.
    """
    _begin(asked)
    trial = _Trial(asked, tell, Random(asked.seed))  # noqa: S311
    try:
        return _tried(trial)
    finally:
        trial.close()


def _tried(trial: _Trial) -> Report:
    asked, began = trial.asked, time.monotonic()
    calm = at(asked.folder / "calm")
    code, begins = trial.undisturbed(calm, spied=True)
    _refuse(asked, code)
    targets = _targets(calm, begins, trial)
    trial.patience = PATIENCE + TIMES * (time.monotonic() - began)
    found: list[str] = []
    rounds = torn = idle = 0
    while len(trial.kills) < asked.kills and idle < MISSES:
        rounds += 1
        before = len(trial.kills)
        run = at(asked.folder / f"round-{rounds}")
        ended = trial.disturbed(run, targets)
        wrong = [] if ended == code else [f"it ended with exit code {ended}, undisturbed with {code}"]
        wrong += equal.differences(calm, run)
        torn += equal.torn(run)
        idle = idle + 1 if before == len(trial.kills) else 0
        if not wrong:
            shutil.rmtree(run.folder)
        found += [f"{run.folder.name}: {said}" for said in wrong]
    found += trial.outlived
    found += [f"process {pid} still runs" for pid in processes.survivors(trial.sessions)]
    hit = Counter(node for kill in trial.kills for node in kill.at)
    kinds = {kind: targets.hits.get(kind, 0) for kind in dict.fromkeys(targets.kinds.values())}
    wall = time.monotonic() - began
    return Report(asked.kills, tuple(trial.kills), kinds, dict(hit), tuple(found), rounds, torn, wall)


def _begin(asked: Asked) -> None:
    folder = asked.folder
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError("there is something here already.", where=str(folder), remedy="Give a new folder with --run.")
    folder.mkdir(parents=True, exist_ok=True)


def _refuse(asked: Asked, code: int) -> None:
    """An undisturbed run that failed is nothing to compare with."""
    if code in (PASS, REFUSED, INCONCLUSIVE):
        return
    said = (asked.folder / "calm.txt").read_text(encoding="utf-8", errors="replace").strip().splitlines()
    kind = BY_CODE.get(code, StageFailed)
    raise kind(
        f"the undisturbed run ended with exit code {code}: {said[-1] if said else 'it said nothing'}",
        where=str(asked.folder / "calm.txt"),
    )


def _targets(calm: Run, begins: float, trial: _Trial) -> Targets:
    """Every node that the calm run worked, in its order."""
    kinds: dict[str, str] = {}
    seconds: dict[str, float] = {}
    for record in ledger.read(calm.ledger):
        if record["event"] == "plan":
            kinds = {one["node"]: one["kind"] for one in record["decisions"]}
        elif record["event"] == "node_finished":
            seconds[record["node"]] = float(record["measured"]["wall_s"])
    if not seconds:
        raise UsageError("nothing of this recipe ran.", where=str(calm.folder), remedy="Give a recipe that does work.")
    worked = {node: kinds[node] for node in kinds if node in seconds}
    return Targets(worked, seconds, begins, frozenset(trial.programs), together=1 + trial.asked.kills // 48)
