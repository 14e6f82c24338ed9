"""The verbs of the command line. Each reads records or runs a recipe; none has logic of its own.

Whatever is heavy is imported inside the verb that needs it, so that help is instant.
"""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from posttrain.cli.options import AnyRun, Choices, Json, Recipe, RunFolder, with_choices
from posttrain.cli.verbs import doctor, grading, judging, sandbox, trials

if TYPE_CHECKING:
    from posttrain.api import Asked
    from posttrain.engine.run import Finished
    from posttrain.spec.errors import Stop

app = typer.Typer(
    help="A small base language model through a whole post-training pipeline, with verdicts that mean it.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

EXIT_CODES = (
    "Exit codes: 0 pass, 1 a gate refused, 2 usage or recipe, 3 inconclusive, 4 environment, 5 budget, 6 mismatch, "
    "7 a stage failed, 8 timed out, 130 interrupted."
)


def main() -> None:
    """Run the command line; an error a user can cause is one paragraph and its exit code."""
    from posttrain.spec.errors import Stop, refused_by_system

    try:
        app(prog_name="posttrain")
    except Stop as stop:
        _stop(stop)
    except OSError as error:
        refused = refused_by_system(error)
        if refused is None:
            raise
        _stop(refused)
    except KeyboardInterrupt:
        sys.exit(130)


def _stop(error: "Stop") -> NoReturn:
    typer.echo(error.paragraph(), err=True)
    sys.exit(error.code)


def _version(wanted: bool) -> None:
    if wanted:
        from posttrain import __version__

        typer.echo(f"posttrain {__version__}")
        raise typer.Exit


@app.callback(epilog=EXIT_CODES)
def _posttrain(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


@app.command()
@with_choices
def check(recipe: Recipe, choices: Choices) -> None:
    """Is the recipe sound? Names, knobs, roles, files."""
    from posttrain import api
    from posttrain.cli import plans

    found = api.check(_asked(recipe, choices))
    _say(plans.checked_plain(found) if choices.json else plans.checked(found))


@app.command()
@with_choices
def plan(recipe: Recipe, choices: Choices) -> None:
    """What would run, why, and how long it takes. Writes nothing."""
    from posttrain import api
    from posttrain.cli import plans

    found = api.plan(_asked(recipe, choices))
    _say(plans.planned_plain(found) if choices.json else plans.planned(found))
    raise typer.Exit(plans.plan_code(found.plan))


@app.command()
@with_choices
def run(recipe: Recipe, choices: Choices) -> None:
    """Do it: resume, reuse what is there, stop at a refused gate."""
    if choices.dry_run:
        plan(recipe=recipe, **vars(choices))
        return
    from posttrain import api
    from posttrain.cli.live import Live

    with Live.of(quiet=choices.json) as live:
        finished = api.run(_asked(recipe, choices), watch=live.hear)
    _close(finished, as_json=choices.json)
    raise typer.Exit(finished.code)


def _close(finished: "Finished", *, as_json: bool) -> None:
    """Write the report and tell how the run ended."""
    from posttrain.cli import tables
    from posttrain.reports import publish
    from posttrain.reports.read import read

    view = read(finished.folder)
    page = publish.write(view)
    if as_json:
        _say({**publish.plain(view), "resume": finished.resume, "report": str(page)})
    else:
        _say("\n" + tables.ended(view, finished, page))


@app.command()
def status(run: AnyRun = None, *, as_json: Json = False) -> None:
    """What became of every node, its verdicts, its time."""
    from posttrain.cli import tables
    from posttrain.reports import publish
    from posttrain.reports.read import read

    view = read(run or _newest())
    _say(publish.plain(view) if as_json else tables.status(view))


@app.command()
def report(
    run: RunFolder,
    *,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Where to write it: .html, .md or .json. Default: RUN/report.html."),
    ] = None,
    open_: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
) -> None:
    """The page to read or send."""
    from posttrain.reports import publish
    from posttrain.reports.read import read

    page = publish.write(read(run), out)
    _say(str(page))
    if open_:
        typer.launch(page.resolve().as_uri())


@app.command()
def show(
    node: Annotated[Path, typer.Argument(metavar="RUN/NODE", help="A node of a run, or an artifact's folder.")],
    *,
    metric: Annotated[
        str | None, typer.Option(metavar="NAME", help="One number of it, back to the data it comes from.")
    ] = None,
    as_json: Json = False,
) -> None:
    """One artifact: why it ran, whether it is current, its lineage."""
    from posttrain.cli import artifact

    if metric is not None:
        _say(artifact.traced_plain(node, metric) if as_json else artifact.traced(node, metric))
    else:
        _say(artifact.plain(node) if as_json else artifact.text(node))


@app.command()
def kinds(kind: Annotated[str | None, typer.Argument(metavar="KIND", help="One kind, with its knobs.")] = None) -> None:
    """The kinds of stage and their knobs."""
    from posttrain.cli import kinds as described

    _say(described.one(kind) if kind else described.every())


@app.command()
def verify(run: AnyRun = None) -> None:
    """Recompute every digest of a run."""
    from posttrain import api
    from posttrain.cli import artifact

    folder = run or _newest()
    text, code = artifact.verified(folder, api.verify(folder))
    _say(text)
    raise typer.Exit(code)


def _asked(recipe: str, choices: Choices) -> "Asked":
    from posttrain.api import Asked

    return Asked(
        recipe,
        profiles=tuple(choices.profile or ()),
        sets=choices.changes,
        run=choices.run,
        store=choices.store,
        only=tuple(choices.only or ()),
        from_=tuple(choices.from_ or ()),
        until=tuple(choices.until or ()),
        again=tuple(choices.again or ()),
        jobs=choices.jobs,
    )


def _newest() -> Path:
    """The run whose ledger was written last, here or below runs/."""
    from posttrain.spec.errors import UsageError
    from posttrain.store.run import newest

    found = newest(Path())
    if found is None:
        raise UsageError("there is no run here or below runs/.", remedy="Name the folder of a run.")
    return found


def _say(told: str | dict[str, Any]) -> None:
    typer.echo(told if isinstance(told, str) else json.dumps(told, indent=1, ensure_ascii=False))


doctor.add(app)
grading.add(app)
judging.add(app)
sandbox.add(app)
trials.add(app)
