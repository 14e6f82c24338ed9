"""Planted defects of the kind evaluate: golds that fail themselves, option keys that are all `A`."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from posttrain.trials.planted import Change, Planted, Seat
from posttrain.trials.planted.prepare import corrupted, failing

if TYPE_CHECKING:
    from posttrain.data.records import Problem

_LETTERS = "ABCD"
_ITEMS = 24
"""Of each data artifact."""


def _spoilt_gold(answer_type: str, spoil: "Callable[[Problem], Problem]") -> Callable[[Seat], None]:
    """The first gold of an answer type is spoilt in every data artifact that has one."""

    def spoilt(seat: Seat) -> None:
        from posttrain.data import rows
        from posttrain.data.records import Problem

        problems = rows.read_all(seat.folder / "test.jsonl", Problem)
        first = next((at for at, problem in enumerate(problems) if problem.answer_type == answer_type), None)
        if first is not None:
            problems[first] = spoil(problems[first])
            rows.write(seat.folder / "test.jsonl", problems)

    return spoilt


def _asked(seat: Seat, keys: str) -> None:
    """Questions with four options on the exam side, their keys in turn."""
    from posttrain.data import rows
    from posttrain.data.records import Problem

    domain = seat.domains[seat.place % len(seat.domains)]
    rows.write(
        seat.folder / "test.jsonl",
        [
            Problem(
                id=f"{domain}-{number}",
                domain=domain,
                prompt=f"Question {number}: A, B, C or D?",
                answer=keys[number % len(keys)],
                answer_type="options",
            )
            for number in range(_ITEMS)
        ],
    )


def _every_key(seat: Seat) -> None:
    _asked(seat, _LETTERS)


def _only_a(seat: Seat) -> None:
    _asked(seat, "A")


PLANTED = (
    Planted(
        "evaluate", "fair", "one gold that fails itself", Change(inputs={"data": _spoilt_gold("maths", corrupted)})
    ),
    Planted(
        "evaluate",
        "fair",
        "one code gold that fails its own tests",
        Change(inputs={"data": _spoilt_gold("code", failing)}),
        domain="code",
    ),
    Planted(
        "evaluate",
        "fair",
        "every option key A",
        Change(inputs={"data": _only_a}),
        honest=Change(inputs={"data": _every_key}),
    ),
)
