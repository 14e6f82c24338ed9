"""Files the user has ready: adopted as they are, beside problems that are made for the sides that are missing."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from posttrain.curate import exercises, worlds
from posttrain.curate.filters import Log, distinct
from posttrain.curate.sources import Source
from posttrain.data.records import Problem
from posttrain.spec.errors import Mismatch

SIDES: tuple[worlds.Side, ...] = ("train", "val", "probe", "test")

LIVE = "livecodebench"
"""How names of files begin that are adopted as code."""

Adopted = Mapping[worlds.Side, tuple[Problem, ...]]
"""The problems of each side that has a file of its own."""


def adopt(folder: Path, domain: str, log: Log) -> Adopted:
    """What `DOMAIN_train.jsonl`, `_val`, `_probe` and `_test` hold, or `DOMAIN.jsonl`, split by digest.

    `livecodebench_SIDE.jsonl` and every other `livecodebench*.jsonl` are the same for the domain code, where it has no
    file of its own name; their rows have the shape of LiveCodeBench, or are problems as this program writes them.
    Mismatch for a file without a row, a row that is no problem of the domain, a problem in two files.
    """
    for stem in (domain, *((LIVE,) if domain == exercises.DOMAIN else ())):
        paths: dict[worlds.Side, Path] = {side: folder / f"{stem}_{side}.jsonl" for side in SIDES}
        found: dict[worlds.Side, tuple[Problem, ...]] = {
            side: _rows([path], domain, log) for side, path in paths.items() if path.exists()
        }
        if found:
            _apart(found, paths)
            return found
        if whole := sorted(folder.glob(f"{stem}*.jsonl") if stem == LIVE else folder.glob(f"{stem}.jsonl")):
            given = _rows(whole, domain, log)
            return {side: tuple(p for p in given if worlds.side(p.prompt) == side) for side in SIDES}
    return {}


def beside(adopted: Adopted, source: Source) -> Source:
    """The adopted problems of a side that has them; else the source's, but for those adopted elsewhere."""
    taken = {problem.id for problems in adopted.values() for problem in problems}

    def problems(side: worlds.Side) -> Iterator[Problem]:
        if side in adopted:
            return iter(adopted[side])
        return (problem for problem in source(side) if problem.id not in taken)

    return problems


def _rows(paths: Sequence[Path], domain: str, log: Log) -> tuple[Problem, ...]:
    """The problems of some files, each once."""
    found: list[Problem] = []
    for path in paths:
        shape = exercises.looks_like(path) if domain == exercises.DOMAIN else exercises.OWN
        found += exercises.read(path, shape, domain=domain, log=log)
    return tuple(distinct(found, log))


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
