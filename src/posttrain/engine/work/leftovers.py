"""What an attempt left that was killed when its artifact was there already: after the commit nobody resumes."""

import shutil

from posttrain.store.lock import Lock
from posttrain.store.run import Run


def tidy(run: Run, fingerprint: str) -> None:
    """Remove scratch and lock of an artifact that is kept, unless somebody is at it."""
    scratch, place = run.store.scratch(fingerprint), run.store.lock(fingerprint)
    if not (scratch.exists() or place.exists()):
        return
    held = Lock(place)
    if held.take() is None:
        try:
            shutil.rmtree(scratch, ignore_errors=True)
        finally:
            held.release()
