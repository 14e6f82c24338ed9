"""What a stage grades with, from its start to its end."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from posttrain.graders import maths
from posttrain.graders.base import Grader
from posttrain.graders.registry import Grading
from posttrain.spec.stage import Context

LOW = "L1"
"""The level below what is required unless somebody asked for less, by two means."""


@contextmanager
def grading(ctx: Context[Any], *, maths: Grader = maths.grade) -> Iterator[Grading]:
    """Graders at the sandbox level and with the cores of a stage's resources; a low level is remarked."""
    with Grading(sandbox=ctx.resources.sandbox, servers=ctx.resources.cpus, maths=maths) as found:
        yield found
        if found.level is not None:
            ctx.under(sandbox=found.level)
        if found.level == LOW:
            ctx.note("sandbox", f"programs were run at level {LOW}, with less around them than the default requires")
