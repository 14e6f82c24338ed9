"""The verb that shows what works on this machine, and what a recipe needs that does not."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from posttrain.cli.options import Json, Many, Recipe

if TYPE_CHECKING:
    from posttrain.cli.examination import Examined, Machine
    from posttrain.store.disk import Disk

LAYERS = {
    "L3": "system-call filter, Landlock, limits, namespaces",
    "L2": "system-call filter, Landlock, limits",
    "L1": "a system-call filter that lets no file be opened, limits",
}
"""What each level of the sandbox is made of."""


def add(app: typer.Typer) -> None:
    """Give the command line its verb `doctor`."""
    app.command()(doctor)


def doctor(
    recipe: Recipe = "spectrum",
    *,
    profile: Annotated[
        Many, typer.Option(metavar="NAME", help="A profile of the recipe; repeat to stack. none: the bare recipe.")
    ] = None,
    run: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The folder whose disk is tried. Default: the recipe's.")
    ] = None,
    as_json: Json = False,
) -> None:
    """What works here: machine, disk, sandbox, packages.

    Everything is tried live. Exit code 4 where the recipe needs something that does not work.
    """
    import json
    from dataclasses import asdict

    from posttrain.api import Asked
    from posttrain.cli.examination import examined
    from posttrain.spec.errors import PASS, MissingNeed

    found = examined(Asked(recipe, profiles=tuple(profile or ()), run=run))
    code = MissingNeed.code if found.missing else PASS
    told = {"code": code, **asdict(found)}
    typer.echo(json.dumps(told, indent=1, default=str, ensure_ascii=False) if as_json else text(found))
    raise typer.Exit(code)


def text(found: "Examined") -> str:
    """The whole examination for people, and at its end what is missing."""
    from posttrain.cli.tables import columns

    packages = [(one.name, one.version or "missing", one.asked) for one in found.packages]
    profiles = " + ".join(found.profiles) or "none"
    name = f"{found.recipe} (profiles {profiles})"
    last = "\n\n".join(found.missing) or f"Everything that {name} needs works here."
    parts = [
        "Machine\n" + columns(_machine(found.machine)),
        f"Disk under {found.disk.folder}\n" + columns(_disk(found.disk)),
        _sandbox(found, name),
        "Versions\n" + columns([*found.versions.items()]),
        "Packages\n" + columns([("package", "found", "asked for"), *packages]),
        f"{name} lacks something here:\n\n{last}" if found.missing else last,
    ]
    return "\n\n".join(parts)


def _machine(one: "Machine") -> list[tuple[str, str]]:
    from posttrain.reports import wording

    formats = f"bf16 (the processor has {', '.join(one.bf16)}), fp32" if one.bf16 else "fp32"
    seen = ", ".join(one.gpus) or "none seen"
    unused = ", which this torch cannot use" if one.gpus and one.accelerator == "cpu" else ""
    here, absent = ([need for need, has in one.offers.items() if has is wanted] for wanted in (True, False))
    offers = [f"{', '.join(names)} {says}" for names, says in ((here, "here"), (absent, "not here")) if names]
    return [
        ("processor", f"{one.processor or wording.UNKNOWN} ({one.architecture})"),
        ("cores", f"{one.cores} for this process"),
        ("memory", wording.size(one.memory)),
        ("accelerators", f"{seen}{unused}"),
        ("device auto", one.accelerator),
        *([("fast formats", formats)] if one.accelerator == "cpu" else []),
        ("system", one.system),
        ("gates may ask", "; ".join(offers)),
    ]


def _disk(one: "Disk") -> list[tuple[str, str]]:
    from posttrain.reports import wording

    rows = [("free", wording.size(one.free))]
    for ability in one.abilities:
        instead = "" if ability.needed else ": files are copied instead"
        rows.append((ability.name, "works" if ability.works else f"fails ({ability.saw}){instead}"))
    return rows


def _sandbox(found: "Examined", name: str) -> str:
    """The level in force, every level with what it lacks, and each live check at each of them."""
    from posttrain.cli.tables import columns

    best, levels = found.sandbox["level"], cast("dict[str, dict[str, Any]]", found.sandbox["levels"])
    user = "root" if found.sandbox["user"] == 0 else "an ordinary user"
    at = f"by {found.wanted}" if "/" in str(found.wanted) else f"at {found.wanted} or better"
    wants = f"runs programs {at}" if found.wanted else "runs no program"
    works = "no level works" if best is None else f"only {best} works" if best == "L1" else f"{best} works"
    head = f"Sandbox: {works} for {user}; {name} {wants}"
    rows = [
        (level, "works" if tried["works"] else "fails", str(tried["lacks"] or LAYERS.get(level, "")))
        for level, tried in levels.items()
    ]
    checks = {check: None for tried in levels.values() for check in tried["checks"]}
    table = [("live: a program", *levels)]
    for check in checks:
        table.append((check, *(_held(tried["checks"].get(check)) for tried in levels.values())))
    return "\n".join([head, columns(rows), *([columns(table, indent="    ")] if checks else [])])


def _held(said: bool | None) -> str:
    return "not tried" if said is None else "held" if said else "FAILED"
