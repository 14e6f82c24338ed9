"""Problems as this program writes them, in a file of the user's."""

from collections.abc import Iterator
from pathlib import Path

from posttrain.curate import worlds
from posttrain.data import rows
from posttrain.data.records import Problem
from posttrain.spec.errors import Mismatch


class ReadyRow(Problem):
    """A row of a user's file: a problem that need not say its id or domain."""

    id: str = ""
    domain: str = ""


def problems(path: Path, domain: str) -> Iterator[tuple[str, Problem]]:
    """The rows of a file and where each stands; those of the domain `code` need not say that their answers are tests.

    Mismatch for a row that is no problem of the domain.
    """
    for line, row in enumerate(rows.read(path, ReadyRow), start=1):
        where = f"{path} line {line}"
        if row.domain not in {"", domain}:
            raise Mismatch(f"domain: this is a problem of {row.domain}", where=where)
        said = {**dict(row), "id": worlds.identity(row.prompt), "domain": domain}
        if domain == "code" and "answer_type" not in row.model_fields_set:
            said["answer_type"] = "code"
        yield where, Problem(**said)
