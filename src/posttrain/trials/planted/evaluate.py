"""Planted defects of the kind evaluate: golds that fail themselves, option keys that are all `A`."""

from posttrain.trials.planted import Change, Planted, Seat

_LETTERS = "ABCD"
_ITEMS = 24
"""Of each data artifact."""


def _spoilt_gold(seat: Seat) -> None:
    from posttrain.data import rows
    from posttrain.data.records import Problem

    problems = rows.read_all(seat.folder / "test.jsonl", Problem)
    rows.write(seat.folder / "test.jsonl", [problems[0].model_copy(update={"answer": "\\frac{3"}), *problems[1:]])


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
    Planted("evaluate", "fair", "one gold that fails itself", Change(inputs={"data": _spoilt_gold})),
    Planted(
        "evaluate",
        "fair",
        "every option key A",
        Change(inputs={"data": _only_a}),
        honest=Change(inputs={"data": _every_key}),
    ),
)
