"""Files the user has ready: adopted as they are, beside problems that are made for the sides that are missing."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from posttrain.curate import worlds
from posttrain.curate.filters import Log
from posttrain.curate.sources import Source
from posttrain.data import rows
from posttrain.data.records import Problem
from posttrain.spec.errors import Mismatch

SIDES: tuple[worlds.Side, ...] = ("train", "val", "probe", "test")

Adopted = Mapping[worlds.Side, tuple[Problem, ...]]
"""The problems of each side that has a file of its own."""


class ReadyRow(Problem):
    """A row of a user's file: a problem that need not say its id or domain."""

    id: str = ""
    domain: str = ""


def adopt(folder: Path, domain: str, log: Log) -> Adopted:
    """What `DOMAIN_train.jsonl`, `_val`, `_probe` and `_test` hold, or `DOMAIN.jsonl`, split by digest.

    Mismatch for a file without a row, a row that is no problem of the domain, a problem in two files.
    """
    paths: dict[worlds.Side, Path] = {side: folder / f"{domain}_{side}.jsonl" for side in SIDES}
    found: dict[worlds.Side, tuple[Problem, ...]] = {
        side: _rows(path, domain, log) for side, path in paths.items() if path.exists()
    }
    whole = folder / f"{domain}.jsonl"
    if not found and whole.exists():
        given = _rows(whole, domain, log)
        return {side: tuple(p for p in given if worlds.side(p.prompt) == side) for side in SIDES}
    _apart(found, paths)
    return found


def beside(adopted: Adopted, source: Source) -> Source:
    """The adopted problems of a side that has them; else the source's, but for those adopted elsewhere."""
    taken = {problem.id for problems in adopted.values() for problem in problems}

    def problems(side: worlds.Side) -> Iterator[Problem]:
        if side in adopted:
            return iter(adopted[side])
        return (problem for problem in source(side) if problem.id not in taken)

    return problems


def _rows(path: Path, domain: str, log: Log) -> tuple[Problem, ...]:
    found: dict[str, Problem] = {}
    for line, row in enumerate(rows.read(path, ReadyRow), start=1):
        if row.domain not in {"", domain}:
            raise Mismatch(f"domain: this is a problem of {row.domain}", where=f"{path} line {line}")
        id = worlds.identity(row.prompt)
        log.duplicates += id in found
        found.setdefault(id, Problem(**{**dict(row), "id": id, "domain": domain}))
    if not found:
        raise Mismatch("the file has no row", where=str(path), remedy="Fill it, or take it away to have it made.")
    return tuple(found.values())


def _apart(adopted: Adopted, paths: Mapping[worlds.Side, Path]) -> None:
    stands: dict[str, worlds.Side] = {}
    for side, problems in adopted.items():
        for problem in problems:
            if problem.id in stands:
                both = f"{paths[stands[problem.id]].name} and {paths[side].name}"
                raise Mismatch(
                    f"one problem stands on two sides: {both} ask {problem.prompt!r}", where=str(paths[side].parent)
                )
            stands[problem.id] = side
