"""Views and paths: where people and other tools find files of artifacts, and where those places are moved to."""

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from posttrain.spec.errors import Problem
from posttrain.spec.load.overlay import Leaf, Tree, plain
from posttrain.spec.recipe import StageSpec, members_of, viewed
from posttrain.spec.words import shown, suggest

OWN = (
    *("ledger.jsonl", "recipe.json", "recipe.new", "lock", "report.html", "logs", "nodes", "store"),
    *("artifacts", "scratch", "cache", "locks", "account.json"),
)
"""What posttrain itself keeps in the folder of a run: no view falls on it."""

FORMS = 'Write "TARGET" = "STAGE:FILE" or "STAGE/MEMBER:FILE"; "" takes a view away.'
QUOTED = '--set views."a/b.json"=exam:b.json'
_TARGET = 'A target is relative to the folder of the run; [paths] moves its first folder: results = "/elsewhere".'


def views_of(tree: Tree, stages: Mapping[str, StageSpec | None], label: str, problems: list[Problem]) -> dict[str, str]:
    """The views that remain: target → `STAGE[/MEMBER]:FILE`; a stage that does not hold is None."""
    found: dict[str, str] = {}
    for target, leaf in tree.items():
        if not isinstance(leaf, Leaf):
            where = next((one.where for one in _leaves(leaf)), f"{label}: views.{target}")
            remedy = (
                f'{FORMS}  On the command line a target stands in quotes: --set views."{target}/x.json"=exam:x.json'
            )
            problems.append(Problem(where, "is not a view.", remedy))
        elif not isinstance(leaf.value, str):
            problems.append(Problem(leaf.where, f"= {shown(leaf.value)} is not a view.", FORMS))
        elif leaf.value:
            _check_source(leaf, leaf.value, stages, problems)
            _check_target(target, leaf, problems)
            found[target] = leaf.value
    return found


def paths_of(tree: Tree, views: Iterable[str], label: str, problems: list[Problem]) -> dict[str, str]:
    """First folder of a view → the absolute folder that stands for it; relative ones start where one types."""
    known = sorted({PurePosixPath(target).parts[0] for target in views if len(PurePosixPath(target).parts) > 1})
    found: dict[str, str] = {}
    for name, leaf in tree.items():
        where = leaf.where if isinstance(leaf, Leaf) else f"{label}: paths.{name}"
        hint = f"  {leaf.hint}" if isinstance(leaf, Leaf) and leaf.hint else ""
        said = leaf.value if isinstance(leaf, Leaf) and isinstance(leaf.value, str) else getattr(leaf, "text", "")
        if not said or "\0" in said:
            remedy = f'Write [paths] {name} = "FOLDER".{hint}'
            problems.append(Problem(where, f"= {shown(plain(leaf))} is not a folder.", remedy))
        elif name not in known:
            remedy = suggest(name, known) + hint
            problems.append(Problem(where, "names a folder that no view lies in.", remedy))
        else:
            found[name] = Path(said).expanduser().absolute().as_posix()
    return found


def check_places(
    views: Tree, chosen: Iterable[str], paths: Mapping[str, str], run: Path, problems: list[Problem]
) -> None:
    """Two views on one place, one below the other, or one among our own files, wherever [paths] moves them."""
    seen: dict[PurePosixPath, str] = {}
    folder = PurePosixPath(run.expanduser().absolute().as_posix())
    for target in chosen:
        leaf = views[target]
        where = leaf.where if isinstance(leaf, Leaf) else ""
        parts = PurePosixPath(target).parts
        first, *rest = parts
        place = PurePosixPath(paths[first], *rest) if rest and first in paths else folder / PurePosixPath(*parts)
        if ours := _ours(parts, place, folder):
            problems.append(
                Problem(where, f"takes the place of `{ours}`, which posttrain keeps there itself.", _TARGET)
            )
        for other, said in seen.items():
            if place == other:
                problems.append(Problem(where, f'takes the place of the view "{said}".', "Give each its own."))
            elif place in other.parents or other in place.parents:
                remedy = "A file cannot be a folder too: rename one of them."
                problems.append(
                    Problem(where, f'cannot stand beside the view "{said}": one lies inside the other.', remedy)
                )
        seen[place] = target


def _ours(parts: Sequence[str], place: PurePosixPath, folder: PurePosixPath) -> str:
    inside = place.relative_to(folder).parts[:1] if place.is_relative_to(folder) else ()
    return next((name for name in OWN if name in {part.casefold() for part in (parts[0], *inside)}), "")


def _leaves(tree: Tree) -> Iterator[Leaf]:
    for node in tree.values():
        if isinstance(node, Leaf):
            yield node
        else:
            yield from _leaves(node)


def _check_target(target: str, leaf: Leaf, problems: list[Problem]) -> None:
    if strange := [word for word in re.findall(r"\{[^}]*\}?|\}", target) if word != "{fp}"]:
        said = f"has the placeholder {strange[0]}, and there is none but {{fp}}."
        problems.append(Problem(leaf.where, said, "{fp} stands for the first 8 digits of the node's fingerprint."))
    elif escape := _escape(target):
        problems.append(Problem(leaf.where, f"has a target that {escape}.", _TARGET))


def _escape(path: str) -> str:
    """Why a relative path does not name a file below a folder; empty where it does."""
    parts = PurePosixPath(path).parts
    if "\0" in path or not parts:
        return "names no file"
    if path.startswith(("/", "~")) or re.match(r"[A-Za-z]:[\\/]", path):
        return "is absolute"
    if ".." in parts or "\\" in path:
        return "climbs out with `..`" if ".." in parts else "has a backslash: folders are divided by /"
    return ""


def _check_source(leaf: Leaf, said: str, stages: Mapping[str, StageSpec | None], problems: list[Problem]) -> None:
    source = viewed(said)
    if source is None:
        problems.append(Problem(leaf.where, f"= {shown(said)} is not a view.", FORMS))
        return
    if escape := _escape(source.file):
        remedy = "FILE is the path of a file inside the artifact, as `posttrain show` lists it."
        problems.append(Problem(leaf.where, f"= {shown(said)}: its file {escape}.", remedy))
    if source.stage not in stages:
        remedy = suggest(source.stage, stages)
        problems.append(Problem(leaf.where, f"= {shown(said)}: there is no stage `{source.stage}`.", remedy))
        return
    stage = stages[source.stage]
    if stage is None:
        return
    members = members_of(stage.each)
    if source.member not in members:
        has = "has no members" if members == ("",) else f"has the members {_some(members)}"
        lacks = f"no member `{source.member}`" if source.member else "no single artifact"
        remedy = f'Write "{source.stage}{f"/{members[0]}" if members[0] else ""}:{source.file}".'
        problems.append(Problem(leaf.where, f"= {shown(said)}: `{source.stage}` {has}, {lacks}.", remedy))


def _some(names: Sequence[str]) -> str:
    listed = ", ".join(itertools.islice(names, 8))
    return f"{listed}, …" if len(names) > 8 else listed


def plain_views(views: Mapping[str, str], paths: Mapping[str, str]) -> dict[str, Any]:
    """Both tables as a recipe writes them."""
    return {"views": dict(views), "paths": dict(paths)}
