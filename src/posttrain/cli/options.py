"""The options that check, plan and run share: declared once, as the fields of one frozen value."""

import dataclasses
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

_RECIPE = "A shipped recipe's name (spectrum), a TOML file, or the recipe.json of a run."

Recipe = Annotated[str, typer.Argument(metavar="RECIPE", help=_RECIPE, show_default=False)]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run.", show_default=False)]
AnyRun = Annotated[
    Path | None,
    typer.Argument(metavar="RUN", help="The folder of a run; without it, the newest below runs/.", show_default=False),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Many = list[str] | None


@dataclass(frozen=True)
class Choices:
    """What the user chose beside the recipe."""

    profile: Annotated[
        Many, typer.Option(metavar="NAME", help="A profile of the recipe; repeat to stack. none: the bare recipe.")
    ] = None
    set: Annotated[
        Many, typer.Option(metavar="KEY=VALUE", help="Change a key: stage.specialist.steps=400. Repeatable.")
    ] = None
    only: Annotated[
        Many, typer.Option(metavar="STAGE", help="Only this stage or node, on what is there. Repeatable.")
    ] = None
    from_: Annotated[
        Many, typer.Option("--from", metavar="STAGE", help="Make nothing above this stage or node. Repeatable.")
    ] = None
    until: Annotated[Many, typer.Option(metavar="STAGE", help="Stop after this stage or node. Repeatable.")] = None
    again: Annotated[Many, typer.Option(metavar="STAGE", help="Make it again though it could be kept. Repeatable.")] = (
        None
    )
    jobs: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Nodes at a time. Default: as many as the cores hold.")
    ] = None
    run: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder of the run. Default: the recipe's `run`.")] = (
        None
    )
    store: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where artifacts lie; several runs may share it.")
    ] = None
    max_hours: Annotated[
        float | None,
        typer.Option(metavar="H", help="Stop cleanly after so many hours of this invocation: budget.hours."),
    ] = None
    max_tokens: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Stop before more tokens are trained on or generated, over all invocations: budget.tokens.",
        ),
    ] = None
    max_money: Annotated[
        str | None, typer.Option(metavar="M", help="The same for money, in the currency of the prices: budget.money.")
    ] = None
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only plan: write nothing, run nothing.")] = False
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False

    @property
    def changes(self) -> tuple[str, ...]:
        """Every change of a key, as `--set` writes it: the caps have options of their own."""
        caps = {"hours": self.max_hours, "tokens": self.max_tokens, "money": self.max_money}
        return (*(self.set or ()), *(f"budget.{cap}={value}" for cap, value in caps.items() if value is not None))


def with_choices(verb: Callable[..., None]) -> Callable[..., None]:
    """Let `verb(recipe, choices)` take every field of Choices as an option of its own."""
    own = [p for p in inspect.signature(verb).parameters.values() if p.name != "choices"]
    shared = [
        inspect.Parameter(f.name, inspect.Parameter.KEYWORD_ONLY, default=f.default, annotation=f.type)
        for f in dataclasses.fields(Choices)
    ]
    names = [parameter.name for parameter in shared]

    def verb_with_choices(**given: Any) -> None:
        chosen = Choices(**{name: given.pop(name) for name in names})
        verb(**given, choices=chosen)

    keyword = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own]
    vars(verb_with_choices)["__signature__"] = inspect.Signature([*keyword, *shared])
    vars(verb_with_choices)["__annotations__"] = {p.name: p.annotation for p in (*keyword, *shared)}
    verb_with_choices.__name__, verb_with_choices.__doc__ = verb.__name__, verb.__doc__
    return verb_with_choices
