"""What works on this machine, and what a recipe needs of it: facts for `doctor`, each found live."""

import importlib.metadata
import os
import platform
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from posttrain.engine import machine
from posttrain.spec.errors import MissingNeed, Stop
from posttrain.store import disk
from posttrain.store.disk import Disk

if TYPE_CHECKING:
    from posttrain.api import Asked
    from posttrain.engine.expand import Graph, Node

LINUX = "linux"
"""The only platform that programs of a model are run on."""
OFFERED = ("cuda", "macos", "nodejs", "llama.cpp")
"""What a gate of a recipe may require of a machine."""


@dataclass(frozen=True)
class Machine:
    """The processor and what is beside it."""

    processor: str
    architecture: str
    cores: int
    """That this process may use."""
    memory: int
    """Bytes that its processes may hold."""
    bf16: tuple[str, ...]
    """Flags of a processor that multiplies in bf16 itself; empty: fp32 is as fast."""
    accelerator: str
    """What the resource `device = "auto"` means here: `cpu` or `cuda:0`."""
    gpus: tuple[str, ...]
    """Device files of accelerators, whether or not this torch can use them."""
    system: str
    offers: Mapping[str, bool]
    """What gates may require → whether it is here."""


@dataclass(frozen=True)
class Package:
    """A package that posttrain stands on."""

    name: str
    asked: str
    """The versions that fit; empty: any."""
    version: str | None
    """None where it is not installed."""


@dataclass(frozen=True)
class Examined:
    """Everything `doctor` tells."""

    recipe: str
    profiles: tuple[str, ...]
    machine: Machine
    disk: Disk
    sandbox: Mapping[str, Any]
    """As `graders.sandbox.level.describe` gives it."""
    wanted: str | None
    """What the recipe asks of the sandbox, as `resources.sandbox`; None where it runs no program."""
    versions: Mapping[str, str]
    packages: tuple[Package, ...]
    missing: tuple[str, ...]
    """What the recipe needs and does not work, a paragraph each."""


def examined(asked: "Asked") -> Examined:
    """Look at everything a recipe needs; RecipeError where the recipe does not hold."""
    from posttrain import __version__, api
    from posttrain.engine.expand import expand

    recipe = api.load_recipe(asked)
    graph = expand(recipe, api.stages)
    here, packages = disk.tried(asked.run or recipe.run), tuple(_packages())
    wanted = sandbox_wanted(graph)
    torch = next((package.version for package in packages if package.name == "torch"), None)
    found = _machine(installed=torch is not None)
    return Examined(
        recipe=recipe.name,
        profiles=recipe.profiles,
        machine=found,
        disk=here,
        sandbox=_described(),
        wanted=wanted,
        versions={"posttrain": __version__, "python": platform.python_version(), "torch": torch or "not installed"},
        packages=packages,
        missing=(
            *_disk(here),
            *_absent(packages),
            *_devices(graph, found.accelerator),
            *_unsafe(wanted),
            *_unprepared(graph),
        ),
    )


def sandbox_wanted(graph: "Graph") -> str | None:
    """The strictest level that nodes which run programs ask for; None where no node runs any.

    Programs are run where the domain is `code`, unless `resources.sandbox` is `none`.
    """
    found = {node.resources.sandbox for node in graph.nodes.values() if _is_code(node)} - {"none"}
    levels = sorted((level for level in found if re.fullmatch(r"L\d", level)), reverse=True)
    return next(iter((*levels, *sorted(found))), None)


def _is_code(node: "Node") -> bool:
    domains = cast("Iterable[str]", getattr(node.knobs, "domains", ()) or ())
    return "code" in (getattr(node.knobs, "domain", None), *node.axes.values(), *domains)


def _machine(*, installed: bool) -> Machine:
    from posttrain.engine.judge.bench import machine_has

    return Machine(
        processor=machine.processor(),
        architecture=platform.machine(),
        cores=machine.cores(),
        memory=machine.memory(),
        bf16=machine.bf16(),
        accelerator=(machine.accelerator("auto") if installed else "") or "cpu",
        gpus=machine.gpus(),
        system=f"{platform.system()} {platform.release()}",
        offers={need: machine_has(need) for need in OFFERED},
    )


def _packages() -> Iterable[Package]:
    """What the package says it stands on; nothing where posttrain itself is not installed as a package."""
    try:
        stated = importlib.metadata.requires("posttrain") or []
    except importlib.metadata.PackageNotFoundError:
        stated = ["torch"]
    for line in stated:
        said = re.match(r"([\w.-]+)\s*([^;]*)", line)
        if said is None or "extra ==" in line:
            continue
        try:
            version = importlib.metadata.version(said[1])
        except importlib.metadata.PackageNotFoundError:
            version = None
        yield Package(said[1], said[2].strip(), version)


def _disk(here: Disk) -> Iterable[str]:
    for ability in here.abilities:
        if ability.needed and not ability.works:
            what = f"the disk cannot do what a run needs: {ability.name} ({ability.saw})"
            yield MissingNeed(what, where=str(here.folder), remedy="Use another folder: --run DIR.").paragraph()


def _absent(packages: Iterable[Package]) -> Iterable[str]:
    names = ", ".join(f"{package.name}{package.asked}" for package in packages if package.version is None)
    if names:
        remedy = "Install posttrain again: `pip install -e .` brings them."
        yield MissingNeed(f"packages are missing: {names}", remedy=remedy).paragraph()


def _devices(graph: "Graph", auto: str) -> Iterable[str]:
    """Accelerators that nodes name and that are not here."""
    named = {node.resources.device.partition(":")[0]: node for node in [*graph.nodes.values()][::-1]}
    for device, node in named.items():
        cuda = device == "cuda" and auto == "cpu"
        if cuda or (device == "mps" and platform.system() != "Darwin"):
            what = f"the recipe names the device {device}, which is not here"
            yield MissingNeed(what, where=node.id, remedy="`auto` takes what is there.").paragraph()


def _described() -> Mapping[str, Any]:
    """The levels of the sandbox with their live checks; elsewhere than on Linux there is none, nor what would try."""
    if sys.platform != LINUX:
        none: dict[str, Any] = {"works": False, "lacks": f"support for {sys.platform}", "checks": {}}
        levels = dict.fromkeys(("L3", "L2"), none)
        return {"level": None, "user": os.getuid() if hasattr(os, "getuid") else None, "levels": levels}
    from posttrain.graders.sandbox import level

    return level.describe()


def _unsafe(wanted: str | None) -> Iterable[str]:
    """Why programs cannot be run where the recipe wants them run: at a level of this machine, or by a server."""
    if wanted is None:
        return
    try:
        _open(wanted)
    except Stop as error:
        yield error.paragraph()


def _unprepared(graph: "Graph") -> Iterable[str]:
    """Code that must be run to be checked, where no program may."""
    for node in graph.nodes.values():
        tasks = getattr(node.knobs, "code_tasks", "expression")
        if node.resources.sandbox == "none" and _is_code(node) and tasks != "expression":
            what = f'resources.sandbox = "none" lets no program run, and code_tasks = "{tasks}" needs one'
            remedy = 'Add --profile nojail, or set code_tasks = "expression".'
            yield MissingNeed(what, where=node.id, remedy=remedy).paragraph()


def _open(wanted: str) -> None:
    if not re.fullmatch(r"L\d", wanted):
        from posttrain.graders.sandbox.remote import Remote

        Remote(wanted).close()
    elif sys.platform == LINUX:
        from posttrain.graders.sandbox import level

        level.find(wanted)
    else:
        remedy = 'Add --profile nojail, which runs none; or name a server that does: resources.sandbox = "http://…".'
        raise MissingNeed(f"programs of a model are run on Linux alone, not on {sys.platform}", remedy=remedy)
