"""What the ledger holds of judging: verdicts, waivers as they count today, judgements after the run, views."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

from posttrain.reports.view import Rejudged
from posttrain.spec.gate import Metric, Verdict
from posttrain.spec.waiver import Waivers, standing

Record = Mapping[str, Any]


@dataclass
class Judgements:
    """What gates said, folded in order; a later record replaces an earlier one."""

    found: dict[tuple[str, str], Verdict] = field(default_factory=dict[tuple[str, str], Verdict])
    last: Rejudged | None = None
    """The last `gate` under other thresholds or of some gates alone, since the run was last driven or judged whole."""
    waivers: list[Record] = field(default_factory=list[Record])
    views: dict[str, str] = field(default_factory=dict[str, str])
    """Path → why the view there could not be written; empty where it could."""

    def verdict(self, record: Record) -> None:
        """What a gate says."""
        evidence = cast(dict[str, Any] | None, record.get("evidence"))
        found = Verdict(
            gate=str(record["gate"]),
            node=str(record["node"]),
            value=record["value"],
            severity=record.get("severity", "stop"),
            metric=str(record.get("metric", "")),
            condition=str(record.get("condition", "")),
            evidence=Metric(**evidence) if evidence else None,
            reason=str(record.get("reason", "")),
            absent=str(record.get("absent") or ""),
            waived=str(record.get("waived") or ""),
        )
        self.found[found.node, found.gate] = found

    def forget(self, node: str) -> None:
        """A node that is kept or worked anew is judged again: gates that the run has no more say nothing of it."""
        self.found = {key: verdict for key, verdict in self.found.items() if key[0] != node}

    def judged(self, record: Record) -> int | None:
        """A judgement after the run: its exit code where it is of the whole run under its own recipe."""
        only, sets = (tuple(map(str, cast(Iterable[Any], record.get(key) or ()))) for key in ("only", "sets"))
        code = int(record["code"])
        whole = not only and not sets
        self.last = None if whole else Rejudged(only, sets, code, float(record["t"]))
        return code if whole else None

    def waiver(self, record: Record) -> None:
        """A waiver, or its end."""
        self.waivers.append(record)

    def view(self, record: Record) -> None:
        """A view that was written, or could not be."""
        self.views[str(record.get("path"))] = str(record.get("error") or "")

    def of(self, nodes: Iterable[str]) -> tuple[tuple[Verdict, ...], tuple[str, ...]]:
        """The verdicts on some nodes with the waivers that count today, and each waiver that no longer does."""
        now = standing(self.waivers)
        verdicts: list[Verdict] = []
        lapsed: list[str] = []
        for id in nodes:
            for told in (verdict for (node, _), verdict in self.found.items() if node == id):
                verdict = _today(told, now)
                verdicts.append(verdict)
                if told.waived and not verdict.waived:
                    lapsed.append(f"gate {told.gate} of {told.node} was {told.waived}")
        return tuple(verdicts), tuple(lapsed)


def _today(verdict: Verdict, now: Waivers) -> Verdict:
    """A verdict with the waiver that counts today, if one does."""
    if verdict.value == "pass":
        return verdict
    waiver = now.on(verdict.node, verdict.gate)
    if waiver is not None:
        return replace(verdict, waived=str(waiver))
    lapsed = now.lapsed(verdict.node, verdict.gate) or ("its waiver was withdrawn" if verdict.waived else "")
    said = f"{verdict.reason}; {lapsed}" if lapsed and lapsed not in verdict.reason else verdict.reason
    return replace(verdict, waived="", reason=said)
