"""The verbs that judge what is saved, and let a gate stand by name: gate and waive."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from posttrain.cli.options import Json, Many, RunFolder

if TYPE_CHECKING:
    from posttrain.engine.judge.again import Judged
    from posttrain.spec.gate import Verdict

Gate = Annotated[
    str, typer.Argument(metavar="GATE", help="NAME, STAGE.NAME or NODE.NAME, as `gate` lists them.", show_default=False)
]


def add(app: typer.Typer) -> None:
    """Give the command line its verbs."""
    app.command()(gate)
    app.command()(waive)


def gate(
    run: RunFolder,
    *,
    only: Annotated[
        Many, typer.Option(metavar="GATE", help="Only this gate: NAME, STAGE.NAME or NODE.NAME. Repeatable.")
    ] = None,
    set_: Annotated[
        Many,
        typer.Option("--set", metavar="KEY=VALUE", help="Another threshold: stage.exam.gate.lift.at_least=0.9."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Judge again from saved rows; no stage runs.

    Digests are checked, metrics counted again, views read back. To count those of code, its golds are run again: in the
    sandbox of this machine, or in the one that POSTTRAIN_SANDBOX names. Under --set the run's own verdicts stay.
    """
    from posttrain import api

    judged = api.judge(run, only=tuple(only or ()), sets=tuple(set_ or ()))
    page = _page(run)
    told = text(run, judged) + f"\nReport: {page}"
    typer.echo(json.dumps(plain(judged), indent=1, ensure_ascii=False) if as_json else told)
    raise typer.Exit(judged.code)


def _page(run: Path) -> Path:
    """The page of the run, written anew: it never tells a verdict that no longer stands."""
    from posttrain.reports import publish
    from posttrain.reports.read import read

    return publish.write(read(run))


def text(run: Path, judged: "Judged") -> str:
    """A judgement for people: what has not passed and why, then how it ended."""
    from posttrain.cli.tables import columns, resting, verdict_rows
    from posttrain.reports import wording
    from posttrain.reports.story import ending
    from posttrain.spec.errors import INCONCLUSIVE

    parts: list[str] = []
    if judged.sets:
        parts.append(f"Under {', '.join(judged.sets)}; the run's own verdicts stay what they are.")
    for node, mismatch in judged.mismatches.items():
        parts.append(wording.visible(f"Mismatch at {node}: {mismatch.paragraph()}"))
    if judged.remarks:
        parts.append("Edited views:\n" + columns((remark,) for remark in judged.remarks))
    if judged.unjudged:
        parts.append(_unjudged(judged.unjudged))
    if judged.uncounted:
        told = ((node, wording.line(why)) for node, why in judged.uncounted.items())
        parts.append("Not counted again:\n" + columns(told))
    shown = judged.verdicts if judged.only else _open(judged.verdicts)
    if shown:
        head = "" if judged.only else "Gates that have not passed:\n"
        parts.append(head + columns(verdict_rows(shown)))
    failure = next((f"{node}: {m.what}" for node, m in judged.mismatches.items()), "")
    if judged.code == INCONCLUSIVE:
        failure = next((f"{why}." for why in judged.unjudged.values()), "")
    end = ending(judged.code, judged.verdicts, failure)
    last = [f"{run}: judged again from its rows", f"{end.title}: {end.says}", end.gates]
    parts.append("\n".join([*last, *resting(judged.code, judged.verdicts)]))
    return "\n\n".join(parts)


def _unjudged(found: Mapping[str, str]) -> str:
    """Nodes that could not be judged, and in one line those that only read them."""
    from posttrain.cli.tables import columns

    below = [node for node, why in found.items() if why.startswith(f"{node} reads ")]
    rows = [(node, why.removeprefix(f"{node} ")) for node, why in found.items() if node not in below]
    parts = [columns(rows)] if rows else []
    parts += [f"  what reads {'them' if len(rows) > 1 else 'it'}: {', '.join(below)}"] if below else []
    return "Not judged:\n" + "\n".join(parts)


def _open(verdicts: "tuple[Verdict, ...]") -> "list[Verdict]":
    """What has not passed; of what did not run because its node was not judged, nothing: the node is listed."""
    order = ("fail", "inconclusive", "not_run")
    found = [v for v in verdicts if v.value != "pass" and (v.evidence is not None or v.waived or v.value != "not_run")]
    return sorted(found, key=lambda v: (v.severity != "stop", bool(v.waived), order.index(v.value)))


def plain(judged: "Judged") -> dict[str, Any]:
    """The same for machines."""
    return {
        "code": judged.code,
        "only": list(judged.only),
        "sets": list(judged.sets),
        "verdicts": [asdict(verdict) for verdict in judged.verdicts],
        "remarks": list(judged.remarks),
        "unjudged": dict(judged.unjudged),
        "uncounted": dict(judged.uncounted),
        "mismatches": {node: mismatch.paragraph() for node, mismatch in judged.mismatches.items()},
    }


def waive(
    run: RunFolder,
    gate: Gate,
    *,
    by: Annotated[str, typer.Option(metavar="NAME", help="Who answers for it.", show_default=False)],
    because: Annotated[str, typer.Option(metavar="TEXT", help="The reason in words.", show_default=False)],
    reason: Annotated[
        str | None,
        typer.Option(
            metavar="CODE",
            help="security_fix, outage, external_dependency, missing_device, missing_measurement, known_regression, "
            "experiment or migration.",
        ),
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="YYYY-MM-DD", help="The last day on which it counts.")] = None,
    withdraw: Annotated[bool, typer.Option("--withdraw", help="Take the waiver of this gate back.")] = False,
) -> None:
    """Let a gate stand that has not passed, on the record.

    By name, with a reason, until a day. The gate does not pass: it is shown as waived wherever it stands.
    """
    from posttrain import api
    from posttrain.cli.tables import columns, verdict_rows
    from posttrain.reports import wording
    from posttrain.spec.errors import UsageError
    from posttrain.spec.waiver import asked

    if withdraw:
        api.withdraw(run, gate, by=by, because=because)
        _page(run)
        typer.echo(f"The waiver of {gate} is withdrawn, on the record of {run}.")
        return
    missing = [name for name, value in (("--reason", reason), ("--until", until)) if not value]
    if missing or reason is None or until is None:
        raise UsageError(f"a waiver needs {' and '.join(missing)}.", remedy="Say which kind of reason, and until when.")
    waiver = asked(gate, by=by, because=because, reason=reason, until=until)
    told = api.waive(run, waiver)
    _page(run)
    rows = columns(verdict_rows(told)) if told else "  no gate of that name has been judged yet"
    typer.echo(
        f"{wording.line(f'{gate}: {waiver}')}.\n{rows}\nIt counts from the next `posttrain run` or `posttrain gate` on."
    )
