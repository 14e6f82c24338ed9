"""The verbs by which the product attacks itself."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from posttrain.cli.options import Json, Many, Recipe

if TYPE_CHECKING:
    from posttrain.trials.chaos import Kill, Report


def add(app: typer.Typer) -> None:
    """Give the command line its verbs."""
    app.command()(chaos)


def chaos(
    recipe: Recipe,
    *,
    kills: Annotated[int, typer.Option(metavar="N", min=1, help="How often the run is killed.")] = 12,
    profile: Annotated[Many, typer.Option(metavar="NAME", help="A profile of the recipe; repeat to stack.")] = None,
    set_: Annotated[
        Many, typer.Option("--set", metavar="KEY=VALUE", help="Change a key: longer stages give more to kill.")
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Which kills are drawn.")] = 0,
    run: Annotated[Path, typer.Option(metavar="DIR", help="A new folder for the runs.")] = Path("runs/chaos"),
    as_json: Json = False,
) -> None:
    """Kill a run at random, give the same command again, compare every byte with an undisturbed run."""
    import json

    from posttrain.trials import chaos as trial

    words = [recipe]
    for option, values in (("--profile", profile), ("--set", set_)):
        words += [word for value in values or () for word in (option, value)]
    asked = trial.Asked(tuple(words), kills, run, seed)
    report = trial.chaos(asked, tell=lambda kill, number: typer.echo(_line(kill, number, kills), err=True))
    typer.echo(json.dumps(plain(report), indent=1, ensure_ascii=False) if as_json else text(report))
    raise typer.Exit(report.code)


def _line(kill: "Kill", number: int, of: int) -> str:
    """One kill as it lands."""
    hit = ", ".join(kill.at) or "no node at work"
    return f"kill {number} of {of} in {kill.round}, aimed at {kill.moment}: {hit}"


def text(report: "Report") -> str:
    """What a chaos found, for people."""
    from posttrain.cli.tables import columns
    from posttrain.reports import wording

    landed = wording.counted(len(report.kills), "kill")
    head = (
        f"{landed} in {wording.counted(report.rounds, 'run')}, {wording.seconds(report.wall_s)}: "
        f"nodes went on where they were stopped {report.resumed} times, started again {report.restarted} times."
    )
    rows = [("kind", "kills while it worked"), *((kind, str(hits)) for kind, hits in report.kinds.items())]
    parts = [head, columns(rows, right=(1,))]
    if report.differences:
        parts.append("Not equal to the undisturbed run:\n" + columns([(said,) for said in report.differences]))
    elif report.code:
        never = f"never killed at work: {', '.join(report.never_hit)}. " if report.never_hit else ""
        parts.append(f"Inconclusive: {never}Give more --kills, or longer stages with --set.")
    else:
        parts.append("Every file, metric, remark, verdict and step is equal to the undisturbed run; nothing is left.")
    return "\n\n".join(parts)


def plain(report: "Report") -> dict[str, Any]:
    """The same for machines."""
    from dataclasses import asdict

    told = {"resumed": report.resumed, "restarted": report.restarted, "never_hit": list(report.never_hit)}
    return {"code": report.code, **told, **asdict(report)}
