"""Planted defects of comparisons, on rows that ship with them: exams of 128 problems of each domain, written here."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from posttrain.trials.planted import Change, Mismatched, Planted, Seat

if TYPE_CHECKING:
    from posttrain.data.records import Score

ITEMS, SAMPLES = 128, 4
BEFORE, AFTER = 0.35, 0.60
"""Share of the samples that are right."""
RANDOM, NEGATED, DAMAGED = 0.0, 0.05, 0.15
"""Of random weights, of a merge with one layer of an expert negated, of weights with noise on them."""
LOST, GAINED = 0.15, 0.95
"""Of what a model forgot, and of what it learned meanwhile: together they are more than before."""
CODE = "code"

Share = Callable[[str], float]
"""Domain → share of the samples that are right."""


def _scores(domain: str, share: float) -> Iterator["Score"]:
    """Rows of an exam; problem and sample alone say which answers are right, so that exams are paired."""
    from posttrain.data.records import Score
    from posttrain.runners.rollout import stream

    for item in range(ITEMS):
        for sample in range(SAMPLES):
            right = stream(0, domain, item, sample) < share * 2**63
            yield Score(
                id=f"{domain}-{item}",
                domain=domain,
                sample=sample,
                correct=right,
                outcome="right" if right else "wrong",
                answer=str(item) if right else "-1",
                text=f"\\boxed{{{item if right else -1}}}",
                tokens=6,
                finish="stop",
            )


def _exam(share: float | Share, *, left_out: int = 0) -> Callable[[Seat], None]:
    """An exam in place of the artifact; `left_out` rows are cut from its end."""

    def sat(seat: Seat) -> None:
        from posttrain.data import rows

        shares = {domain: share(domain) if callable(share) else share for domain in seat.domains}
        found = [row for domain in seat.domains for row in _scores(domain, shares[domain])]
        rows.write(seat.folder / "scores.jsonl", found[: len(found) - left_out])

    return sat


def _code_lost(domain: str) -> float:
    return LOST if domain == CODE else GAINED


def _maths_lost(domain: str) -> float:
    return GAINED if domain == CODE else LOST


def _sides(before: float, after: float | Share) -> Change:
    return Change(inputs={"before": _exam(before), "after": _exam(after)}, blank=True)


def _planted(gate: str, says: str, change: Change) -> Planted:
    return Planted("compare", gate, says, change, honest=_sides(BEFORE, AFTER))


PLANTED = (
    _planted("learned", "before and after exchanged", _sides(AFTER, BEFORE)),
    _planted("fused", "rows of a random model as the fused model's", _sides(BEFORE, RANDOM)),
    _planted("kept", "rows of a merge with one expert's layer negated", _sides(BEFORE, NEGATED)),
    _planted("final", "rows of damaged final weights", _sides(BEFORE, DAMAGED)),
    _planted("coded", "rows of a model that forgot code and gained in maths", _sides(BEFORE, _code_lost)),
    _planted("maths_kept", "rows of a model that forgot maths and gained in code", _sides(BEFORE, _maths_lost)),
)
MISMATCHES = (
    Mismatched(
        "compare",
        "items",
        "an item dropped from one side",
        Change(inputs={"before": _exam(BEFORE), "after": _exam(AFTER, left_out=SAMPLES)}, blank=True),
        "other items",
    ),
)
