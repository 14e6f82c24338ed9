"""A toy exam: rows, a report that states its rate, metrics counted from the rows; and a recipe with views of it."""

import json
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from engine.toy_kinds import TOYS, Bed, Make, toy_kind
from posttrain import api
from posttrain.engine.judge.again import Judged
from posttrain.spec.gate import Gate, Metric
from posttrain.spec.stage import Artifact, Kind, Outcome, Role

ROWS, REPORT, TEXT = "rows.jsonl", "report.json", "text.txt"


class Exam(Make):
    """What the toy model gets right."""

    right: int = 97
    asked: int = 100
    state: bool = True
    """The report states the rate."""


def sit(ctx: Any) -> Outcome:
    """One row per item, then what they come to."""
    knobs: Exam = ctx.knobs
    rows = "".join(json.dumps({"id": i, "right": i < knobs.right}) + "\n" for i in range(knobs.asked))
    (ctx.out / ROWS).write_text(rows)
    found = rate([i < knobs.right for i in range(knobs.asked)])
    stated = {"rate": {"value": found.value, "k": found.k, "n": found.n, "low": found.low, "high": found.high}}
    report = {"made_by": "a toy", "metrics": stated if knobs.state else {}, "errors": knobs.asked - knobs.right}
    (ctx.out / REPORT).write_text(json.dumps(report, indent=1))
    (ctx.out / TEXT).write_text(f"{knobs.text}\n")
    return Outcome(measure(Artifact("", "scores", ctx.out, ""), knobs))


def rate(right: list[bool]) -> Metric:
    """A share with an interval of ± 0.05."""
    if not right:
        return Metric(None, "no rows", n=0)
    value = sum(right) / len(right)
    return Metric(value, k=sum(right), n=len(right), low=value - 0.05, high=value + 0.05)


def measure(artifact: Artifact, knobs: Exam) -> Mapping[str, Metric]:
    """Rate and errors from the rows, and what the report says of its maker."""
    right = [json.loads(line)["right"] for line in artifact.file(ROWS).read_text().splitlines()]
    maker = json.loads(artifact.file(REPORT).read_text())["made_by"]
    return {"rate": rate(right), "errors": Metric(len(right) - sum(right)), "letters": Metric(len(maker))}


def exam_kind(counts: Callable[..., Mapping[str, Metric]] = measure) -> Kind:
    gates = {"passes": Gate(metric="rate", at_least=Decimal("0.95"), min_n=50)}
    plain = toy_kind("exam", {"one": Role(("data",), "what is examined")})
    changed = {"knobs": Exam, "makes": "scores", "run": sit, "measure": counts, "gates": lambda knobs, given: gates}
    return Kind(**{**vars(plain), **changed})


class ExamKinds:
    """The toys, and the exam."""

    def __init__(self, counts: Callable[..., Mapping[str, Metric]] = measure) -> None:
        self._exam = exam_kind(counts)

    def names(self) -> tuple[str, ...]:
        return (*TOYS.names(), "exam")

    def kind(self, name: str, /) -> Kind:
        return self._exam if name == "exam" else TOYS.kind(name)


KINDS = ExamKinds()

RECIPE = """
format = 1
name = "exams"
seed = 7

[stage.model]
kind = "make"

[stage.exam]
kind = "exam"
inputs = { one = "model" }

[stage.after]
kind = "exam"
inputs = { one = "model" }
wait = ["exam"]
right = 99

[views]
"results/exam.json" = "exam:report.json"
"results/rows_{fp}.jsonl" = "exam:rows.jsonl"
"text.txt" = "exam:text.txt"
"""


class Room(Bed):
    """A run of the exam recipe with its views."""

    def __init__(self, root: Path, text: str = RECIPE) -> None:
        super().__init__(root, text)
        self.sets: tuple[str, ...] = ()

    def examine(self, *sets: str, **more: Any) -> tuple[int, dict[str, str]]:
        """Run; the exit code and every verdict by `node.gate`."""
        finished, _ = self.run(*self.sets, *sets, kinds=KINDS, **more)
        return finished.code, said(finished.verdicts)

    def gate(self, *sets: str, only: tuple[str, ...] = ()) -> Judged:
        return api.judge(self.folder, only=only, sets=sets, kinds=KINDS)

    @property
    def report(self) -> Path:
        return self.folder / "results" / "exam.json"

    @property
    def rows(self) -> Path:
        (path,) = (self.folder / "results").glob("rows_*.jsonl")
        return path

    def edit(self, **changes: Any) -> None:
        """Change what the view of the report says; `rate` changes parts of the stated rate."""
        told = json.loads(self.report.read_text())
        rate_ = changes.pop("rate", {})
        told["metrics"]["rate"] = {**told["metrics"]["rate"], **rate_} if isinstance(rate_, dict) else rate_
        self.report.write_text(json.dumps({**told, **changes}))

    def events(self, name: str) -> list[dict[str, Any]]:
        lines = (self.folder / "ledger.jsonl").read_text().splitlines()
        return [record for record in map(json.loads, lines) if record["event"] == name]


def said(verdicts: Any) -> dict[str, str]:
    return {f"{verdict.node}.{verdict.gate}": verdict.value for verdict in verdicts}


def reasons(judged: Judged) -> str:
    return " | ".join(verdict.reason for verdict in judged.verdicts)
