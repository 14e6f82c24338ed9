"""The options that check, plan and run share: declared once, as the fields of one frozen value."""

import dataclasses
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

Recipe = Annotated[
    str,
    typer.Argument(
        metavar="RECIPE",
        help="A shipped recipe's name (spectrum), a TOML file, or a run's recipe.json.",
        show_default=False,
    ),
]
Run = Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]


@dataclass(frozen=True)
class Choices:
    """What the user chose beside the recipe."""

    profile: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A profile of the recipe; repeat to stack them. `none`: the bare recipe."),
    ] = None
    set: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="Change one key, as in stage.specialist.steps=400; repeatable."),
    ] = None
    only: Annotated[
        list[str] | None, typer.Option(metavar="STAGE", help="Only this stage or node, on what exists; repeatable.")
    ] = None
    from_: Annotated[
        str | None, typer.Option("--from", metavar="STAGE", help="Run this stage and all below it again.")
    ] = None
    until: Annotated[str | None, typer.Option(metavar="STAGE", help="Stop after this stage.")] = None
    again: Annotated[
        list[str] | None,
        typer.Option(metavar="STAGE", help="Make this stage or node again though it is kept; repeatable."),
    ] = None
    jobs: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Nodes at a time; default: cores ÷ cores of a node.")
    ] = None
    run: Annotated[Path | None, typer.Option(metavar="DIR", help="The run's folder; default: the recipe's `run`.")] = (
        None
    )
    store: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where artifacts lie, shared by runs; default: in the run.")
    ] = None
    json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False


def with_choices(verb: Callable[..., None]) -> Callable[..., None]:
    """Let `verb(recipe, ..., choices)` take every field of Choices as an option of its own."""
    own = [p for p in inspect.signature(verb).parameters.values() if p.name != "choices"]
    shared = [
        inspect.Parameter(f.name, inspect.Parameter.KEYWORD_ONLY, default=f.default, annotation=f.type)
        for f in dataclasses.fields(Choices)
    ]
    names = [parameter.name for parameter in shared]

    def verb_with_choices(**given: Any) -> None:
        chosen = Choices(**{name: given.pop(name) for name in names})
        verb(**given, choices=chosen)

    verb_with_choices.__name__, verb_with_choices.__doc__ = verb.__name__, verb.__doc__
    keyword = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own]
    vars(verb_with_choices)["__signature__"] = inspect.Signature([*keyword, *shared])
    vars(verb_with_choices)["__annotations__"] = {p.name: p.annotation for p in (*keyword, *shared)}
    return verb_with_choices
