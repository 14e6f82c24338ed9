"""A step in numbers, kept as a row and told as metrics; and a finished run in numbers, made from its rows alone."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import torch

from posttrain.data.records import RlStep, Score
from posttrain.spec.gate import Metric
from posttrain.train.loop import StepReport
from posttrain.train.rl import validate
from posttrain.train.rl.collect import Batch
from posttrain.train.rl.objective import Tally


def in_numbers(
    step: int, batch: Batch, tallies: Sequence[Tally], *, report: StepReport, lr: float, read: int
) -> RlStep:
    """The row of a step; `tallies` holds one per update, `read` the tokens that an update read."""
    w, group = batch.weighed, len(batch.groups[0].samples)
    first = tallies[0] if tallies else Tally()
    every = [value for t in tallies if (value := t.mean("clip_fraction")) is not None]
    tops = [t.ratio_max.item() for t in tallies if t.ratio_max is not None]
    right_P, binary = w.correct_PG.sum(-1), w.correct_PG[w.decided_PG].double()
    return RlStep(
        step=step,
        loss=report.loss if tallies else None,
        kl=first.mean("kl"),
        reward=binary.mean().item() if len(binary) else None,
        reward_std=binary.std(correction=0).item() if len(binary) else None,
        weight_mean=w.weight_P.mean().item(),
        p=tuple(torch.bincount(right_P, minlength=group + 1).tolist()),
        groups=len(batch.groups),
        flat=int(w.flat_P.sum()),
        trained=int(batch.used_P.sum()),
        clip_fraction=sum(every) / len(every) if every else None,
        ratio_max=max(tops) if tops else None,
        logprob_gap=first.mean("logprob_gap"),
        entropy=first.mean("entropy"),
        length=w.length_PG.double().mean().item(),
        truncated=int(w.truncated_PG.sum()),
        responses=w.correct_PG.numel(),
        grad_norm=report.grad_norm if tallies else None,
        lr=lr,
        prompts=batch.counts,
        generated_tokens=int(w.length_PG.sum()),
        trained_tokens=read,
        undecided=int((~w.decided_PG).sum()),
        outcomes=batch.outcomes,
        parts=batch.parts,
        signs=batch.signs,
    )


def emitted(row: RlStep) -> dict[str, Any]:
    """A step as it is told: shares instead of counts, and the names of the specification."""
    told = row.model_dump(mode="json")
    counts = {name: told.pop(name) for name in ("flat", "groups", "truncated", "responses", "weight_mean")}
    return told | {
        "weight.mean": counts["weight_mean"],
        "zero_variance": counts["flat"] / counts["groups"],
        "truncated": counts["truncated"] / counts["responses"],
        "groups": counts["groups"],
    }


def metrics(steps: Sequence[RlStep], validations: Iterable[Score], *, select_best: bool) -> dict[str, Metric]:
    """What the gates judge (spectrum §2.9) and what a reader asks first; `steps` in order, one or more."""
    last = steps[-max(1, len(steps) // 4) :]
    flat, groups = sum(row.flat for row in last), sum(row.groups for row in last)
    cut, responses = sum(row.truncated for row in last), sum(row.responses for row in last)
    gaps = [row.logprob_gap for row in steps if row.logprob_gap is not None]
    rewards = [row.reward for row in last if row.reward is not None]
    drift = next((row.kl for row in steps if row.kl is not None), None)
    nothing = "no group was trained"
    return {
        "logprob_gap": Metric(sum(gaps) / len(gaps), n=len(gaps), unit="nats") if gaps else Metric(None, nothing),
        "zero_variance": Metric(flat / groups, k=flat, n=groups),
        "truncated": Metric(cut / responses, k=cut, n=responses),
        "kl_start": Metric(drift, unit="nats") if drift is not None else Metric(None, f"no reference, or {nothing}"),
        "reward": Metric(sum(rewards) / len(rewards)) if rewards else Metric(None, "no answer could be graded"),
        "undecided": Metric(sum(row.undecided for row in steps), n=sum(row.responses for row in steps), unit="answers"),
        "signs": Metric(sum(sum(row.signs.values()) for row in steps), n=sum(row.responses for row in steps)),
        "generated_tokens": Metric(sum(row.generated_tokens for row in steps), unit="tokens"),
        "trained_tokens": Metric(sum(row.trained_tokens for row in steps), unit="tokens"),
        **_validated(validations, select_best=select_best),
    }


def _validated(rows: Iterable[Score], *, select_best: bool) -> dict[str, Metric]:
    by_step: dict[int, list[Score]] = defaultdict(list)
    for row in rows:
        by_step[row.step or 0].append(row)
    if not by_step:
        return {"val_gain": Metric(None, "there was nothing to validate on")}
    chosen = validate.best(by_step) if select_best else max(by_step)
    gain = validate.gain(by_step[0], by_step[chosen])
    now = validate.standing(by_step[chosen])
    lacking = "no problem has every sample graded"
    found = {
        name: Metric(None, lacking) if value is None else Metric(value, n=now.n)
        for name, value in now.told().items()
        if "/" not in name
    }
    start = validate.standing(by_step[0])
    asked = len({row.id for row in by_step[0]})
    few = f"only {gain.n} of {asked} problems could be graded both times"
    return found | {
        "val_gain": Metric(gain.value, low=gain.low, high=gain.high, n=gain.n)
        if 2 * gain.n >= asked  # of fewer, what was lost could say anything
        else Metric(None, few, n=gain.n),
        "val_start": Metric(start.pass_1, n=start.n),
        "chosen_step": Metric(chosen),
    }
