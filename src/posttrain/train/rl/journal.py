"""What a run has written so far, a file per step in a folder that survives a kill; joined when the run is done."""

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

from posttrain.data import rows
from posttrain.data.records import Row

R = TypeVar("R", bound=Row)


class Journal:
    """Rows by name and step. A step that runs again after a kill writes the same bytes under the same name."""

    def __init__(self, folder: Path) -> None:
        """Keep the files below `folder`."""
        self.folder = folder

    def put(self, name: str, step: int, made: Iterable[Row]) -> None:
        """Write the rows of a step; `name` is that of the joined file, compressed where it ends in `.gz`."""
        path = self._path(name, step)
        path.parent.mkdir(parents=True, exist_ok=True)
        rows.write(path, made)

    def get(self, name: str, step: int, of: type[R]) -> list[R] | None:
        """The rows of a step; None where it has not been written."""
        path = self._path(name, step)
        return rows.read_all(path, of) if path.exists() else None

    def join(self, name: str, out: Path) -> None:
        """Join the steps of `name`, in order, to the file `out`; gzip members in a row are one gzip file."""
        with out.open("wb") as joined:
            for path in sorted((self.folder / name).glob(f"*{Path(name).suffix}")):
                with path.open("rb") as part:
                    shutil.copyfileobj(part, joined)

    def _path(self, name: str, step: int) -> Path:
        return self.folder / name / f"{step:08d}{Path(name).suffix}"
