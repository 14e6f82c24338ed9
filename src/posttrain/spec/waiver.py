"""Waivers: that a gate which has not passed may stand, by name, with a reason, until a day. The verdict stays."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, ValidationError

from posttrain.spec.errors import UsageError
from posttrain.spec.knobs import Closed
from posttrain.spec.words import suggest

Reason = Literal[
    "security_fix",
    "outage",
    "external_dependency",
    "missing_device",
    "missing_measurement",
    "known_regression",
    "experiment",
    "migration",
]
"""Why a gate may be waived."""

REASONS: tuple[str, ...] = get_args(Reason)


def _on_one_line(value: Any) -> Any:
    return " ".join(value.split()) if isinstance(value, str) else value


Words = Annotated[str, BeforeValidator(_on_one_line), Field(min_length=1)]
"""Text that says something, on one line."""


class Waiver(Closed):
    """One gate, or one gate of one stage or node, that may stand although it has not passed."""

    gate: Words
    """NAME, STAGE.NAME or NODE.NAME."""
    reason: Reason
    """The kind of reason, one of eight."""
    text: Words
    """The reason in words."""
    approved_by: Words
    """Who answers for it."""
    expires: date
    """The last day on which it counts, in UTC."""

    def __str__(self) -> str:
        """As a verdict carries it."""
        return f"waived by {self.approved_by} until {self.expires}: {self.text} ({self.reason})"

    def covers(self, node: str, gate: str) -> bool:
        """Whether it speaks of that gate of that node."""
        return self.gate in (gate, f"{node.partition('/')[0]}.{gate}", f"{node}.{gate}")


@dataclass(frozen=True)
class Waivers:
    """The waivers of a run on one day."""

    live: tuple[Waiver, ...] = ()
    expired: tuple[Waiver, ...] = ()
    """They count as absent; verdicts name them."""

    def on(self, node: str, gate: str) -> Waiver | None:
        """The live waiver of a gate."""
        return next((waiver for waiver in self.live if waiver.covers(node, gate)), None)

    def lapsed(self, node: str, gate: str) -> str:
        """That a waiver of this gate has expired; empty where none has."""
        found = next((waiver for waiver in self.expired if waiver.covers(node, gate)), None)
        return f"the waiver by {found.approved_by} expired on {found.expires}" if found else ""


NONE = Waivers()
"""A run in which nothing is waived."""


def today() -> date:
    """The day on which waivers are looked at, in UTC."""
    return datetime.now(UTC).date()


def standing(records: Iterable[Mapping[str, Any]], day: date | None = None) -> Waivers:
    """The waivers that a ledger holds, on a day: the last word on each gate counts.

    A record that is no whole waiver waives nothing.
    """
    found: dict[str, Waiver] = {}
    for record in records:
        if record.get("event") == "withdrawn":
            found.pop(str(record.get("gate")), None)
        elif record.get("event") == "waived" and (waiver := _recorded(record)) is not None:
            found[waiver.gate] = waiver
    now = day or today()
    given = sorted(found.values(), key=lambda waiver: -waiver.gate.count("."))
    return Waivers(tuple(w for w in given if w.expires >= now), tuple(w for w in given if w.expires < now))


def _recorded(record: Mapping[str, Any]) -> Waiver | None:
    try:
        return Waiver(**{key: record[key] for key in Waiver.model_fields})
    except (KeyError, ValidationError):
        return None


def asked(gate: str, *, by: str, because: str, reason: str, until: str, day: date | None = None) -> Waiver:
    """A waiver as a person asks for it; UsageError for a reason nobody knows, a day that is past, or empty words."""
    if reason not in REASONS:
        raise UsageError(f'"{reason}" is no reason for a waiver.', where="--reason", remedy=suggest(reason, REASONS))
    for option, words in (("GATE", gate), ("--by", by), ("--because", because)):
        if not words.split():
            raise UsageError("it is empty.", where=option, remedy="A waiver stands on a name and a reason in words.")
    given = {"gate": gate, "reason": reason, "text": because, "approved_by": by}
    return Waiver.model_validate({**given, "expires": _future(until, day or today())})


def _future(text: str, now: date) -> date:
    try:
        day = date.fromisoformat(text) if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text) else None
    except ValueError:
        day = None
    if day is None:
        raise UsageError(f'"{text}" is no day.', where="--until", remedy=f"Write it like {now}.")
    if day <= now:
        raise UsageError(f"{day} is not in the future (today is {now} in UTC).", where="--until", remedy=_EXPIRES)
    return day


_EXPIRES = "A waiver names the last day on which it counts."
