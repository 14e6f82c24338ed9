"""A run on a disk that is full at every point of it; for `unshare --map-root-user --mount python -m store.cramped DIR`.

Mounts a small disk of its own, and says as JSON how each run ended: for so many free pages the exit code of the run,
what verify found, whether the ledger is whole, and whether the same command then ends with the bytes of a run that
had room.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from engine.toy_kinds import RECIPE, TOYS, Bed, forked
from posttrain import api
from posttrain.spec.errors import Stop, refused_by_system
from posttrain.store import ledger, verify
from posttrain.store.run import at

SIZE = 2 << 20
PAGE = os.sysconf("SC_PAGE_SIZE")


def attempt(bed: Bed) -> tuple[int, str]:
    """The exit code of a run and its paragraph, as the command line has them."""
    try:
        finished = api.run(bed.asked(), kinds=TOYS, executor=forked())
    except Stop as stop:
        return stop.code, stop.paragraph()
    except OSError as error:
        refused = refused_by_system(error)
        if refused is None:
            raise
        return refused.code, refused.paragraph()
    return finished.code, " ".join(failure.error.paragraph() for failure in finished.failures)


def fill(folder: Path, free: int) -> None:
    """Leave so many pages of the disk."""
    with (folder / "filler").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(PAGE))
        except OSError:
            file.truncate(max(0, file.tell() // PAGE - free) * PAGE)


def one(folder: Path, free: int) -> dict[str, Any]:
    """Make the first stage, fill the disk, try the rest, make room, go on."""
    root = folder / "home"
    root.mkdir()
    bed = Bed(root, RECIPE)
    first = api.run(bed.asked(until=("prepare",)), kinds=TOYS, executor=forked())
    assert first.code == 0, first
    before = bed.digests()
    fill(folder, free)
    code, said = attempt(bed)
    run = at(bed.folder)
    damages = verify.damages(run)
    told = {"free": free, "code": code, "said": said, "kept": before.items() <= bed.digests().items()}
    told |= {"damages": sum(map(len, damages.values())), "unread": str(ledger.unread(run.ledger))}
    (folder / "filler").unlink()
    again, _ = attempt(bed)
    told |= {"again": again, "digests": bed.digests()}
    shutil.rmtree(root)
    return told


def main() -> None:
    """Tell how runs with little room end, one JSON object a line."""
    folder = Path(sys.argv[1])
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "none", folder], check=True)
    os.chdir(folder)
    for free in map(int, sys.argv[2:]):
        sys.stdout.write(json.dumps(one(folder, free)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
