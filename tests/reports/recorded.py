"""A finished spectrum run as its records tell it: ledger, manifests, rows. No stage runs; the numbers are made up."""

import atexit
import hashlib
import json
import math
import random
import shutil
import socket
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from posttrain.data import rows
from posttrain.data.records import Problem, Score
from posttrain.spec.gate import Metric
from posttrain.store import artifact, run, scan
from posttrain.store.fingerprint import Facts, InputFact, fingerprint
from posttrain.store.ledger import Ledger

DOMAINS = ("algebra", "calculus", "geometry", "statistics")
BEGAN = 1_795_000_000.0
ENVIRONMENT = {
    "machine": "x86_64",
    "platform": "Linux-6.12-x86_64-with-glibc2.36",
    "cores": 2,
    "memory": 8 * 2**30,
    "system": "Linux 6.12",
    "python": "3.11.7",
    "torch": "2.13.0",
    "posttrain": "0.1.0",
}

Inputs = Mapping[str, Sequence[str]]


class Recorder:
    """Writes a run folder node by node, through the store's own writers."""

    def __init__(self, folder: Path, *, seed: int = 17) -> None:
        self.run = run.at(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.chance = random.Random(seed)
        self.made: dict[str, artifact.Manifest] = {}
        self.plan: list[dict[str, Any]] = []
        self.events: list[tuple[str, str | None, dict[str, Any]]] = []
        self.stages: dict[str, dict[str, Any]] = {}

    def node(self, id: str, kind: str, inputs: Inputs, **told: Any) -> Path:
        """Make a node's artifact; `told`: metrics, files, knobs, measured, remarks, steps, type."""
        stage, _, member = id.partition("/")
        facts = Facts(
            kind=kind,
            version=1,
            knobs=told.get("knobs", {}),
            seed=int.from_bytes(hashlib.sha256(id.encode()).digest()[:4]),
            inputs={role: tuple(self._fact(name) for name in names) for role, names in inputs.items()},
            files={},
        )
        mark = fingerprint(facts)
        out = self.run.store.out(mark)
        out.mkdir(parents=True)
        for name, content in told.get("files", {"result.txt": id}).items():
            _write(out / name, content)
        files = scan.scan(out).entries
        manifest = artifact.Manifest(
            node=id,
            kind=kind,
            type=told.get("type", "model"),
            fingerprint=mark,
            digest=scan.digest(files),
            facts=facts,
            axes={"domain": member} if member else {},
            files=files,
            metrics=told.get("metrics", {}),
            remarks=tuple(artifact.Remark(**remark) for remark in told.get("remarks", ())),
            measured=told.get("measured", {"wall_s": 1.0, "cpu_s": 0.9}),
        )
        artifact.commit(out, self.run.store.artifact(mark), lambda _: manifest, replaced=self.run.store.replaced(mark))
        self.run.point(id, mark)
        self.made[id] = manifest
        entry = {
            "node": id,
            "stage": stage,
            "kind": kind,
            "action": "run",
            "reasons": ["never made"],
            "fingerprint": mark,
        }
        self.plan.append({**entry, "estimate": {"seconds": manifest.measured.get("wall_s")}})
        self.events.append(("node_started", id, {"fingerprint": mark, "reasons": ["never made"], "attempt": 1}))
        for step in told.get("steps", ()):
            self.events.append(("step", id, {"fingerprint": mark, "metrics": step}))
        self.events.append(("node_finished", id, {"fingerprint": mark, "digest": manifest.digest}))
        self.stages.setdefault(stage, {"kind": kind, "inputs": {role: list(names) for role, names in inputs.items()}})
        return self.run.store.artifact(mark)

    def verdict(self, id: str, gate: str, value: str, **told: Any) -> None:
        """Record what a gate says."""
        told.setdefault("severity", "stop")
        evidence = told.pop("evidence", None)
        fields = {"gate": gate, "value": value, **told, "evidence": vars(evidence) if evidence else None}
        self.events.append(("verdict", id, fields))

    def finish(self, *, code: int | None = 0, name: str = "spectrum") -> Path:
        """Write recipe and ledger."""
        recipe = {"format": 1, "name": name, "seed": 17, "profiles": ["tiny"], "stage": self.stages}
        self.run.recipe.write_text(json.dumps(recipe))
        ledger = Ledger(self.run.ledger, run="01")
        ledger.write(
            "run_started", recipe=name, seed=17, profiles=["tiny"], host=socket.gethostname(), environment=ENVIRONMENT
        )
        ledger.write("plan", decisions=self.plan, off=["rl_code"])
        for event, node, fields in self.events:
            ledger.write(event, node=node, **fields)
        if code is not None:
            ledger.write("run_finished", code=code, wall_s=702.4)
        ledger.close()
        _set_times(self.run.ledger)
        return self.run.folder

    def _fact(self, id: str) -> InputFact:
        made = self.made[id]
        return InputFact(node=id, digest=made.digest, fingerprint=made.fingerprint)


def _write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, str):
        path.write_text(content)
    elif isinstance(content, dict):
        path.write_text(json.dumps(content))
    else:
        rows.write(path, content)


def _set_times(ledger: Path) -> None:
    """Spread the records over twelve minutes of a fixed day."""
    records = [json.loads(line) for line in ledger.read_text().splitlines()]
    for i, record in enumerate(records):
        record["t"] = BEGAN + 702.4 * i / max(len(records) - 1, 1)
    ledger.write_text("".join(json.dumps(record) + "\n" for record in records))


def share(value: float, n: int = 500, *, spread: float = 0.36) -> Metric:
    """A mean over n problems with the interval such a mean has."""
    half = 1.96 * spread / math.sqrt(n)
    return Metric(round(value, 4), n=n, low=round(value - half, 4), high=round(value + half, 4))


def problem(domain: str, i: int) -> Problem:
    id = hashlib.sha256(f"{domain}{i}".encode()).hexdigest()[:16]
    a, b = i % 7 + 2, i % 11 + 3
    return Problem(
        id=id, domain=domain, prompt=f"solve {a}x + {b} = {3 * a + b}", answer="3", template="linear", difficulty=1
    )


def scores(problems: Sequence[Problem], rate: float, chance: random.Random, *, samples: int = 8) -> Iterator[Score]:
    for one in problems:
        for sample in range(samples):
            correct = chance.random() < rate
            answer = "3" if correct else str(chance.randrange(4, 30))
            worked = f"{one.prompt.removeprefix('solve ')}; x = \\boxed{{{answer}}}"
            yield Score(
                id=one.id,
                domain=one.domain,
                sample=sample,
                correct=correct,
                outcome="right" if correct else "wrong",
                answer=answer,
                text=worked,
                tokens=len(worked) // 2,
                finish="stop",
            )


def losses(
    steps: int, start: float, end: float, chance: random.Random, **more: tuple[float, float]
) -> Iterator[dict[str, Any]]:
    for step in range(1, steps + 1):
        done = 1 - math.exp(-4 * step / steps)
        told = {
            "step": step,
            "loss": start + (end - start) * done + chance.gauss(0, 0.02),
            "grad_norm": 0.5 + chance.random() / 5,
        }
        told |= {name: a + (b - a) * done + chance.gauss(0, abs(a - b) / 12 + 1e-4) for name, (a, b) in more.items()}
        yield told


def measured(wall: float, tokens: float | None = None) -> dict[str, Any]:
    rate = {"tokens": tokens} if tokens else {}
    return {"wall_s": wall, "cpu_s": wall * 0.93, "peak_memory": 6.2e8, "environment": ENVIRONMENT, **rate}


def exam(
    recorder: Recorder, id: str, model: str, rates: Mapping[str, float], *, problems: Mapping[str, list[Problem]]
) -> None:
    metrics = {"pass@1": share(sum(rates.values()) / len(rates), 500 * len(rates)), "unfair": Metric(0, n=2000)}
    metrics["pass@8"] = share(min(1.6 * metrics["pass@1"].value + 0.15, 0.98), 500 * len(rates), spread=0.45)
    for domain, rate in rates.items():
        metrics[f"pass@1/{domain}"] = share(rate)
        metrics[f"pass@8/{domain}"] = share(min(1.6 * rate + 0.15, 0.98), spread=0.45)
    asked = [row for domain in rates for row in scores(problems[domain], rates[domain], recorder.chance)]
    data = [f"prepare/{domain}" for domain in rates]
    recorder.node(
        id, "evaluate", {"model": [model], "data": data}, type="scores", metrics=metrics, files={"scores.jsonl": asked},
        measured=measured(21.0 if "/" not in id else 17.0, 250_000), knobs={"samples": 8, "k": [1, 2, 4, 8]},
    )  # fmt: skip
    recorder.verdict(
        id, "fair", "pass", metric="unfair", condition="equals 0", evidence=metrics["unfair"], reason="0 equals 0"
    )


def gain(recorder: Recorder, id: str, before: Sequence[str], after: Sequence[str], found: Metric, **told: Any) -> None:
    knobs = {"metric": told.pop("of", "pass@1"), "own": "specialist" in id or "kept" in id}
    sides = {"before": list(before), "after": list(after)}
    recorder.node(id, "compare", sides, type="scores", metrics={"gain": found}, knobs=knobs, measured=measured(0.9))
    told = {"metric": "gain", "evidence": found, **told}
    recorder.verdict(id, told.pop("gate"), told.pop("value"), **told)


BASE = {"algebra": 0.221, "calculus": 0.174, "geometry": 0.248, "statistics": 0.131}
SPECIALISTS = {"algebra": 0.303, "calculus": 0.262, "geometry": 0.297, "statistics": 0.205}


def spectrum(folder: Path) -> Path:
    """A tiny run: four domains, everything made, three warn gates undecided. Made once a session, copied each time."""
    shutil.copytree(_made(), folder, symlinks=True, dirs_exist_ok=True)
    return folder


@cache
def _made() -> Path:
    return refused(Path(_KEPT.name) / "spectrum", code=0, final="pass")


_KEPT = tempfile.TemporaryDirectory()
atexit.register(_KEPT.cleanup)


def refused(folder: Path, *, code: int = 1, final: str = "fail") -> Path:
    """The same with another verdict of the last gate."""
    recorder = Recorder(folder)
    problems = {domain: [problem(domain, i) for i in range(20)] for domain in DOMAINS}
    _data(recorder, problems)
    _models(recorder)
    _exams(recorder, problems)
    _gains(recorder, final)
    return recorder.finish(code=code)


def _data(recorder: Recorder, problems: Mapping[str, list[Problem]]) -> None:
    for domain in DOMAINS:
        metrics = {"overlap": Metric(0, n=7000), "bad_golds": Metric(0, n=7000), "train": Metric(2000, n=2000)}
        recorder.node(
            f"prepare/{domain}", "prepare", {}, type="data", metrics=metrics, measured=measured(3.1),
            files={"test.jsonl": problems[domain], "report.json": {"train": 2000}},
        )  # fmt: skip
        for gate, metric in (("overlap", "overlap"), ("golds", "bad_golds")):
            told = {"metric": metric, "condition": "equals 0", "evidence": metrics[metric], "reason": "0 equals 0"}
            recorder.verdict(f"prepare/{domain}", gate, "pass", **told)


def _models(recorder: Recorder) -> None:
    chance, sound = recorder.chance, {"damages": Metric(0, n=1)}
    data = [f"prepare/{domain}" for domain in DOMAINS]

    def model(id: str, kind: str, inputs: Inputs, **told: Any) -> None:
        metrics = sound | told.pop("metrics", {})
        recorder.node(id, kind, inputs, metrics=metrics, **told)
        says = {"metric": "damages", "condition": "equals 0", "evidence": sound["damages"], "reason": "0 equals 0"}
        recorder.verdict(id, "sound", "pass", **says)

    model("base", "base", {"data": data}, steps=losses(600, 5.9, 1.32, chance), measured=measured(204.0, 5_000_000))
    for domain in DOMAINS:
        steps = [
            s | ({"val_loss": s["loss"] + 0.05} if s["step"] % 40 == 0 else {}) for s in losses(200, 1.0, 0.42, chance)
        ]
        inputs = {"model": ["base"], "data": [f"prepare/{domain}"], "replay": data}
        model(
            f"specialist/{domain}", "sft", inputs, steps=steps, measured=measured(27.0, 380_000),
            remarks=[{"kind": "dropped", "text": "a row longer than the window of 128 tokens", "count": 3}],
        )  # fmt: skip
        _probe(recorder, domain)
    model("fuse", "fuse", {"models": [f"probe/{d}" for d in DOMAINS], "base": ["base"]}, measured=measured(0.4))
    for id, before in (("rl_math_short", "fuse"), ("rl_math_long", "rl_math_short")):
        low = 0.27 if before == "fuse" else 0.36
        more = {
            "reward": (low, low + 0.1),
            "kl": (0.0, 0.03),
            "entropy": (0.9, 0.7),
            "length": (22.0, 33.0),
            "truncated": (0.05, 0.02),
        }
        steps = [
            s | ({"val_pass@1": s["reward"] + 0.01} if s["step"] % 40 == 0 else {})
            for s in losses(80, 0.0, -0.02, chance, **more)
        ]
        model(id, "rl", {"model": [before], "data": data}, steps=steps, measured=measured(47.0, 600_000))


def _probe(recorder: Recorder, domain: str) -> None:
    steps = [40, 80, 120, 160, 200]
    best = recorder.chance.choice(steps[2:])
    candidates = [
        {
            "step": step,
            "pass@1": SPECIALISTS[domain] - abs(best - step) / 2000,
            "pass@8": 0.62 - abs(best - step) / 900,
            "truncated": 0.01,
        }
        for step in steps
    ]
    choice = {
        "chosen": best,
        "by": "pass@k",
        "k": 8,
        "why": "its lead over the last is clear",
        "candidates": candidates,
    }
    metrics = {"pass@8": share(0.62, 250), "damages": Metric(0, n=1)}
    recorder.node(
        f"probe/{domain}", "probe", {"model": [f"specialist/{domain}"], "data": [f"prepare/{domain}"]},
        metrics=metrics, files={"choice.json": choice, "config.json": {}}, measured=measured(12.0, 180_000),
    )  # fmt: skip
    told = {
        "metric": "pass@8",
        "condition": "at_least 0.001",
        "evidence": metrics["pass@8"],
        "reason": "its interval lies above 0.001",
    }
    recorder.verdict(f"probe/{domain}", "signal", "pass", **told)


def _exams(recorder: Recorder, problems: Mapping[str, list[Problem]]) -> None:
    exam(recorder, "exam_base", "base", BASE, problems=problems)
    for domain in DOMAINS:
        rates = {d: SPECIALISTS[d] if d == domain else BASE[d] - 0.03 for d in DOMAINS}
        exam(recorder, f"exam_specialist/{domain}", f"probe/{domain}", rates, problems=problems)
    fused = {d: (BASE[d] + SPECIALISTS[d]) / 2 + 0.01 for d in DOMAINS}
    exam(recorder, "exam_fused", "fuse", fused, problems=problems)
    exam(recorder, "exam_final", "rl_math_long", {d: fused[d] + 0.11 for d in DOMAINS}, problems=problems)


def _gains(recorder: Recorder, final: str) -> None:
    above = {"condition": "at_least 0", "reason": "the whole interval lies at or above 0"}
    members = [f"exam_specialist/{domain}" for domain in DOMAINS]
    gain(
        recorder,
        "gain_specialist",
        ["exam_base"],
        members,
        share(0.073, 2000, spread=0.31),
        gate="learned",
        value="pass",
        **above,
    )
    gain(
        recorder,
        "gain_fused",
        ["exam_base"],
        ["exam_fused"],
        share(0.047, 2000, spread=0.3),
        gate="fused",
        value="pass",
        **above,
    )
    for i, domain in enumerate(DOMAINS):
        value, kept = share(-0.02 - 0.04 * i, 500, spread=0.4), {"condition": "at_least -0.08", "severity": "warn"}
        said = (
            ("pass", "the whole interval lies at or above -0.08")
            if i == 0
            else ("inconclusive", "-0.08 lies inside the interval")
        )
        gain(
            recorder, f"spectrum_kept/{domain}", [f"exam_specialist/{domain}"], ["exam_fused"], value,
            gate="kept", value=said[0], reason=said[1], of="pass@8", **kept,
        )  # fmt: skip
    said = above if final == "pass" else {"condition": "at_least 0", "reason": "0 lies inside the interval"}
    value = share(0.11 if final == "pass" else 0.004, 2000, spread=0.3)
    gain(recorder, "gain_rl", ["exam_fused"], ["exam_final"], value, gate="final", value=final, **said)
