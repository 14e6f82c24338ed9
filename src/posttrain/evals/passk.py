"""Which checkpoint of a trajectory is taken: F4 (VibeThinker-1.5B §3.3), with how clearly it leads."""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

from posttrain.algos.passk import mean_pass_at_k
from posttrain.algos.stats import Interval, bootstrap_mean, paired_gain
from posttrain.evals.tally import SEED, Item, as_metric, summary
from posttrain.spec.errors import StageFailed
from posttrain.spec.gate import Metric

By = Literal["pass@k", "pass@1", "last"]
Lead = Literal["any", "clear"]

_STEP = re.compile(r"step-(\d+)")


@dataclass(frozen=True)
class Candidate:
    """A checkpoint as the probe scored it."""

    step: int
    """Its number; 0 where the model has no `steps/` and is taken as it stands."""
    items: Sequence[Item]

    def score(self, k: int) -> Fraction:
        """Mean Pass@k over the probe's problems, exact: equal scores are equal."""
        return mean_pass_at_k([(item.n, item.c) for item in self.items], k)

    def scores(self, k: int) -> list[float]:
        """Pass@k of each problem."""
        return [item.score(k) for item in self.items]


@dataclass(frozen=True)
class Choice:
    """The checkpoint taken, and the evidence."""

    chosen: int
    best: int
    """The highest score, ties broken by pass@1, then by the smaller step."""
    runner_up: int | None
    """The best of the others; None where there is no other."""
    lead: Interval | None
    """Score of the chosen over the runner-up, paired by problem; below zero where the last is kept against a better."""
    over_last: Interval | None
    """Score of the best over the last."""
    why: str


def checkpoints(model: Path) -> dict[int, Path]:
    """Step → folder, in order of the step's number; the model's own folder as step 0 where it has no `steps/`."""
    found = [(_STEP.fullmatch(folder.name), folder) for folder in (model / "steps").glob("step-*")]
    return dict(sorted((int(match[1]), folder) for match, folder in found if match)) or {0: model}


def paired(candidates: Sequence[Candidate], k: int) -> list[Candidate]:
    """The candidates on the problems of which each has k graded samples or more: only those are compared.

    StageFailed where there is none: then nothing is known of any of them.
    """
    lacking = {(item.suite, item.id) for each in candidates for item in each.items if item.n < k}
    if not lacking:
        return list(candidates)
    left = [Candidate(c.step, [i for i in c.items if (i.suite, i.id) not in lacking]) for c in candidates]
    if not all(each.items for each in left):
        raise StageFailed(
            f"no problem has {k} samples that could be graded from every checkpoint",
            remedy="Look at the outcomes in scores.jsonl, and at what the graders need: `posttrain doctor`.",
        )
    return left


def choose(candidates: Sequence[Candidate], *, k: int, by: By = "pass@k", lead: Lead = "any") -> Choice:
    """Take the checkpoint with the best Pass@k (or pass@1, or the last), ties by pass@1, then the smaller step.

    `lead = clear` takes the last unless the best leads it outside the paired 95 % interval over problems. Only problems
    of which every checkpoint has k graded samples count.
    """
    of = _of(k, by)
    candidates = paired(candidates, max(of, k))
    last = max(candidates, key=lambda each: each.step)
    best = _ranked(candidates, of)[0]
    over_last = None if best is last else _gain(last, best, of)
    taken, why = best, f"the highest pass@{of} of {len(candidates)}"
    if by == "last":
        taken, why = last, "the last, as asked"
    elif over_last and lead == "clear" and over_last.low <= 0:
        taken = last
        why = f"the last: step {best.step} leads it in pass@{of} by {_says(over_last)}, which is not clear"
    rival = runner_up(candidates, taken, k=k, by=by)
    return Choice(
        chosen=taken.step,
        best=best.step,
        runner_up=rival.step if rival else None,
        lead=_gain(rival, taken, of) if rival else None,
        over_last=over_last,
        why=why,
    )


def runner_up(candidates: Sequence[Candidate], taken: Candidate, *, k: int, by: By) -> Candidate | None:
    """The best of the others; None where there is none."""
    others = [each for each in candidates if each is not taken]
    return _ranked(others, _of(k, by))[0] if others else None


def _of(k: int, by: By) -> int:
    return 1 if by == "pass@1" else k


def _ranked(candidates: Sequence[Candidate], k: int) -> list[Candidate]:
    return sorted(candidates, key=lambda each: (-each.score(k), -each.score(1), each.step))


def _gain(over: Candidate, of: Candidate, k: int) -> Interval:
    return paired_gain(over.scores(k), of.scores(k), seed=SEED)


def _says(lead: Interval) -> str:
    return f"{lead.value:+.3f} [{lead.low:+.3f}, {lead.high:+.3f}]"


def held_out(candidates: Sequence[Candidate], *, k: int, by: By = "pass@k", lead: Lead = "any") -> Metric:
    """What the choice is worth on problems it did not see: chosen on one half of the problems, scored on the other.

    Halves are every other problem, both ways round, so each problem is scored once. What the chosen checkpoint's own
    score exceeds this by is what picking the best of several flatters it.
    """
    candidates = paired(candidates, k)
    if min(len(each.items) for each in candidates) < 2:
        return Metric(None, "fewer than two problems cannot be halved")
    values: list[float] = []
    for seen, unseen in ((0, 1), (1, 0)):
        half = [Candidate(each.step, each.items[seen::2]) for each in candidates]
        step = choose(half, k=k, by=by, lead=lead).chosen
        (taken,) = (each for each in candidates if each.step == step)
        values += taken.scores(k)[unseen::2]
    return as_metric(bootstrap_mean(values, seed=SEED))


def metrics(
    candidates: Sequence[Candidate], chosen: int, ks: Sequence[int], *, by: By, lead: Lead
) -> dict[str, Metric]:
    """The chosen checkpoint's metrics, its step, lead and held-out worth; every checkpoint's as NAME/step-N."""
    found = summary(next(each.items for each in candidates if each.step == chosen), ks)
    alike = paired(candidates, ks[0])
    (taken,) = (each for each in alike if each.step == chosen)
    rival = runner_up(alike, taken, k=ks[0], by=by)
    found["step"] = Metric(chosen)
    found["lead"] = as_metric(_gain(rival, taken, _of(ks[0], by))) if rival else Metric(None, "the only candidate")
    found["held_out"] = held_out(candidates, k=ks[0], by=by, lead=lead)
    for each in candidates:
        found |= {f"{name}/step-{each.step}": value for name, value in summary(each.items, ks).items()}
    return found


def record(candidates: Sequence[Candidate], choice: Choice, ks: Sequence[int], *, by: By, lead: Lead) -> dict[str, Any]:
    """`choice.json`: the rule, the checkpoint taken and why, every candidate with its counts per problem."""
    return {
        "chosen": choice.chosen,
        "by": by,
        "k": ks[0],
        "lead_rule": lead,
        "why": choice.why,
        "best": choice.best,
        "runner_up": choice.runner_up,
        "lead": choice.lead and asdict(choice.lead),
        "best_over_last": choice.over_last and asdict(choice.over_last),
        "held_out": asdict(held_out(candidates, k=ks[0], by=by, lead=lead)),
        "candidates": [_tried(each, ks) for each in candidates],
    }


def _tried(candidate: Candidate, ks: Sequence[int]) -> dict[str, Any]:
    found = summary(candidate.items, ks)
    return {
        "step": candidate.step,
        **{name: metric.value for name, metric in found.items()},
        "intervals": {name: [metric.low, metric.high] for name, metric in found.items()},
        "problems": {item.id: [item.n, item.c] for item in candidate.items},
    }
