"""What an input may say: a stage, one member, all members, a folder of the user's, or a list of these."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from posttrain.spec.errors import Problem
from posttrain.spec.load.overlay import Leaf, Tree
from posttrain.spec.recipe import MEMBER, NAME, Ref
from posttrain.spec.stage import Role
from posttrain.spec.words import shown, suggest

_VALUE = MEMBER.strip("^$")
_REFERENCE = re.compile(rf"({NAME.strip('^$')})(?:/(\*|{_VALUE}(?:,{_VALUE})*))?")
FORMS = 'Write "stage", "stage/member", "stage/*", { path = "..." } or a list of these.'
STAGE_FORMS = 'Write "stage", "stage/member" or "stage/*".'


@dataclass(frozen=True)
class Reader:
    """The stage that reads: what sentences about its inputs need."""

    kind: str
    place: str
    roles: Mapping[str, Role]
    stages: Sequence[str]
    off: bool


def refs(tree: Tree, reader: Reader, problems: list[Problem]) -> dict[str, tuple[Ref, ...]]:
    """The inputs of a stage by role; an empty list is an input not given."""
    found: dict[str, tuple[Ref, ...]] = {}
    for role, node in tree.items():
        if not isinstance(node, Leaf) or node.value == []:
            continue
        if role not in reader.roles:
            problems.append(Problem(node.where, f"is not a role of `{reader.kind}`.", suggest(role, reader.roles)))
        else:
            found[role] = _entries(node, reader.stages, problems)
    for role, what in reader.roles.items():
        if role not in found and not what.optional and not reader.off:
            problems.append(Problem(reader.place, f"needs an input for its role `{role}` ({what.says}).", FORMS))
    return {role: said for role, said in found.items() if said}


def _entries(leaf: Leaf, stages: Sequence[str], problems: list[Problem]) -> tuple[Ref, ...]:
    entries = cast("list[Any]", leaf.value) if isinstance(leaf.value, list) else [leaf.value]
    read = [_entry(entry, leaf, stages, problems) for entry in entries]
    return tuple(dict.fromkeys(ref for ref in read if ref is not None))


def _entry(entry: Any, leaf: Leaf, stages: Sequence[str], problems: list[Problem]) -> Ref | None:
    if isinstance(entry, str):
        return reference(entry, leaf, stages, problems)
    if isinstance(entry, dict):
        return _folder(cast("dict[str, Any]", entry), leaf, problems)
    problems.append(Problem(leaf.where, f"= {shown(entry)} is not an input.", FORMS))
    return None


def reference(text: str, leaf: Leaf, stages: Sequence[str], problems: list[Problem]) -> Ref | None:
    """A stage, one of its members or all of them."""
    match = _REFERENCE.fullmatch(text)
    if match is None:
        problems.append(Problem(leaf.where, f"= {shown(text)} is not an input.", FORMS))
    elif match[1] not in stages:
        problems.append(Problem(leaf.where, f"= {shown(text)}: there is no such stage.", suggest(match[1], stages)))
    else:
        return Ref(stage=match[1], member=match[2])
    return None


def _folder(table: dict[str, Any], leaf: Leaf, problems: list[Problem]) -> Ref | None:
    path, digest = table.get("path"), table.get("digest")
    if extra := [key for key in table if key not in ("path", "digest")]:
        problems.append(Problem(f"{leaf.where}.{extra[0]}", "is not a key of an input.", "Known: path, digest."))
    elif not isinstance(path, str) or not path:
        problems.append(Problem(leaf.where, f"= {shown(table)} needs its `path` as text.", leaf.hint))
    elif digest is not None and not (isinstance(digest, str) and re.fullmatch(r"[0-9a-f]{64}", digest)):
        problems.append(Problem(f"{leaf.where}.digest", f"= {shown(digest)} is not a digest.", "It has 64 hex digits."))
    else:
        return Ref(path=reach(path, leaf.folder), digest=digest)
    return None


def reach(text: str, folder: Path | None) -> Path:
    """An absolute path: from the recipe's folder or from where the command is typed, whichever has more of it."""
    path = Path(text).expanduser()
    starts = [start for start in (folder, Path.cwd()) if start is not None]
    return max((start / path for start in starts), key=_depth)


def _depth(path: Path) -> int:
    return max((len(part.parts) for part in (path, *path.parents) if part.exists()), default=0)
