"""The verbs by which the product attacks itself."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from posttrain.cli.options import Json, Many, Recipe

if TYPE_CHECKING:
    from posttrain.trials.chaos import Kill, Report
    from posttrain.trials.found import Trial, Tried


def add(app: typer.Typer) -> None:
    """Give the command line its verbs."""
    app.command()(chaos)
    app.command()(mutants)


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
    """Kill a run at random, give the command again, compare every byte."""
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
        f"nodes went on where they were stopped {report.resumed} times, started again {report.restarted} times; "
        f"{wording.counted(report.amid_programs, 'kill')} landed while programs ran in a sandbox."
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
    told |= {"amid_programs": report.amid_programs}
    return {"code": report.code, **told, **asdict(report)}


def mutants(
    recipe: Recipe,
    *,
    profile: Annotated[
        Many, typer.Option(metavar="NAME", help="A profile of the recipe; repeat to stack. Default: smoke.")
    ] = None,
    set_: Annotated[Many, typer.Option("--set", metavar="KEY=VALUE", help="Change a key, the ground's too.")] = None,
    only: Annotated[Many, typer.Option(metavar="GATE", help="Only this gate or mismatch. Repeatable.")] = None,
    run: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of the trials. Default: the recipe's, with -mutants.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Plant every defect: only its own gate may fail."""
    import json

    from posttrain.api import Asked
    from posttrain.cli.live import Live
    from posttrain.trials import mutants as trials

    asked = Asked(recipe, profiles=tuple(profile or ()), sets=tuple(set_ or ()), run=run)
    with Live.of(quiet=as_json) as live:

        def told(side: str, done: int, of: int) -> None:
            live.close()
            typer.echo(f"{done} of {of}: {side}", err=True)

        tried = trials.mutants(asked, only=only or (), watch=live.hear, told=told)
    typer.echo(json.dumps(tried_plain(tried), indent=1, ensure_ascii=False) if as_json else tried_text(tried))
    raise typer.Exit(tried.code)


def tried_text(tried: "Tried") -> str:
    """Every trial as a row, what went wrong in sentences, and the ground it all stands on."""
    from posttrain.cli.tables import columns
    from posttrain.reports import wording

    head = ("gate", "node", "planted defect", "honest", "planted", "")
    rows = [(t.gate, t.node, t.defect, t.honest, t.planted, t.outcome) for t in tried.trials]
    parts = [columns([head, *rows])]
    wrong = [t for t in tried.trials if t.outcome != "caught"]
    if wrong:
        parts.append("\n".join(_went_wrong(trial) for trial in wrong))
    if tried.ground:
        parts.append("Honest ground:\n" + "\n".join(f"  --set {key}" for key in tried.ground))
    caught = f"{wording.counted(len(tried.trials), 'defect')}, {len(tried.trials) - len(wrong)} caught"
    parts.append(f"{caught} by exactly the gate or mismatch they belong to (exit code {tried.code}).")
    return "\n\n".join(parts)


def _went_wrong(trial: "Trial") -> str:
    moved = f" Changed too: {', '.join(trial.moved)}." if trial.moved else ""
    return f"{trial.gate} of {trial.node}: {trial.outcome}. {trial.why.rstrip('.')}.{moved}"


def tried_plain(tried: "Tried") -> dict[str, Any]:
    """The same for machines."""
    from dataclasses import asdict

    trials = [asdict(trial) for trial in tried.trials]
    return {"code": tried.code, "run": str(tried.folder), "ground": list(tried.ground), "trials": trials}
