"""What a run has written so far, a file per step in a folder that survives a kill; joined when the run is done."""

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

from posttrain.data import rows
from posttrain.data.records import Row
from posttrain.spec.errors import Mismatch

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
        rows.keep(path, made)

    def get(self, name: str, step: int, of: type[R]) -> list[R] | None:
        """The rows of a step; None where it has not been written. Mismatch where they have changed since."""
        path = self._whole(name, step)
        return None if path is None else rows.read_all(path, of)

    def join(self, name: str, steps: Iterable[int], out: Path) -> None:
        """Join these steps of `name`, in order, to the file `out`; gzip members in a row are one gzip file.

        Mismatch where one is missing or has changed since it was written.
        """
        with out.open("wb") as joined:
            for step in steps:
                path = self._whole(name, step)
                if path is None:
                    raise Mismatch(
                        "the rows of a step are gone.", where=str(self._path(name, step)), remedy=self._anew()
                    )
                with path.open("rb") as part:
                    shutil.copyfileobj(part, joined)

    def _whole(self, name: str, step: int) -> Path | None:
        try:
            return rows.kept(self._path(name, step))
        except Mismatch as changed:
            raise Mismatch(changed.what, where=changed.where, remedy=self._anew()) from changed

    def _anew(self) -> str:
        return f"Delete {self.folder.parent}: the node then begins anew, and ends with the same bytes."

    def _path(self, name: str, step: int) -> Path:
        return self.folder / name / f"{step:08d}{Path(name).suffix}"
