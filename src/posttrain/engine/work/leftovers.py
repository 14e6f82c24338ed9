"""Unfinished work that nobody will go on with, removed as if at one moment."""

import shutil
from pathlib import Path

from posttrain.store.lock import Lock
from posttrain.store.run import Run, Store


def drop(store: Store, fingerprint: str, folder: Path) -> None:
    """Remove a folder of a node's scratch, or all of it; a kill leaves the whole of it or nothing to go on with."""
    dropped = store.dropped(fingerprint)
    shutil.rmtree(dropped, ignore_errors=True)
    if folder.exists():
        folder.rename(dropped)
        shutil.rmtree(dropped, ignore_errors=True)


def tidy(run: Run, fingerprint: str) -> None:
    """Remove what an attempt left that was killed after its commit, unless somebody is at that artifact."""
    scratch, place = run.store.scratch(fingerprint), run.store.lock(fingerprint)
    if not (scratch.exists() or place.exists() or run.store.dropped(fingerprint).exists()):
        return
    held = Lock(place)
    if held.take() is None:
        try:
            drop(run.store, fingerprint, scratch)
        finally:
            held.release()
