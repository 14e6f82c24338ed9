"""What a stage grades with, from its start to its end."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from posttrain.graders import maths
from posttrain.graders.base import Grader
from posttrain.graders.registry import Grading
from posttrain.spec.knobs import LOWERED
from posttrain.spec.stage import Context

LOW = "L1"
"""The level below what is required unless somebody asked for less, by two means."""


@contextmanager
def grading(ctx: Context[Any], *, maths: Grader = maths.grade, remembers: bool = False) -> Iterator[Grading]:
    """Graders at the sandbox level and with the cores of a stage's resources; a low level is remarked."""
    where = ctx.resources
    with Grading(sandbox=where.sandbox, servers=where.cpus, maths=maths, remembers=remembers) as found:
        yield found
        if found.level is not None:
            ctx.under(sandbox=found.level)
        if found.level == LOW:
            ctx.note("sandbox", f"programs were run at level {LOW}, with less around them than the default requires")


def anew() -> Grading:
    """Graders for who counts an artifact's metrics again, on whatever machine: as much as its environment permits."""
    return Grading(sandbox=LOW if os.environ.get(LOWERED) == "1" else "L2")
