"""What a stage grades with, from its start to its end, and what its metrics are counted again with."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from posttrain.graders import maths
from posttrain.graders.base import Grader
from posttrain.graders.registry import Grading
from posttrain.spec.errors import MissingNeed, UsageError
from posttrain.spec.knobs import LOWERED, permit, sandbox_named
from posttrain.spec.stage import Context

LOW = "L1"
"""The level below what is required unless somebody asked for less, by two means."""
NAMED = "POSTTRAIN_SANDBOX"
"""The environment variable that names the level, or the server, where metrics are counted again."""
_REMEDY = (
    f"Set {NAMED} to the address of a sandbox server (on a machine that can: posttrain sandbox serve), and"
    " POSTTRAIN_SANDBOX_TOKEN to its token where it has one."
)


@contextmanager
def grading(ctx: Context[Any], *, maths: Grader = maths.grade, remembers: bool = False) -> Iterator[Grading]:
    """Graders at the sandbox level and with the cores of a stage's resources; a low level is remarked.

    Of a server elsewhere its level is on record, and that it was elsewhere; its address stands in the resources alone.
    """
    where = ctx.resources
    with Grading(sandbox=where.sandbox, servers=where.cpus, maths=maths, remembers=remembers) as found:
        yield found
        if found.level is not None:
            ctx.under(sandbox=f"{found.level}, elsewhere" if "://" in where.sandbox else found.level)
        if found.level == LOW:
            ctx.note("sandbox", f"programs were run at level {LOW}, with less around them than the default requires")


@contextmanager
def anew() -> Iterator[Grading]:
    """Graders for who counts an artifact's metrics again, on whatever machine, in the sandbox that its user names.

    An address comes from the environment alone: what an artifact says of itself may be anybody's, and the token goes to
    whoever answers there. MissingNeed, with what to do, where no program can be run; UsageError for a bad name.
    """
    with Grading(sandbox=_chosen(os.environ)) as found:
        try:
            yield found
        except MissingNeed as lacking:
            raise MissingNeed(lacking.what, where=lacking.where, remedy=_REMEDY) from lacking


def _chosen(environ: Mapping[str, str]) -> str:
    """What POSTTRAIN_SANDBOX names; unset, as much as the environment permits of this machine."""
    named = environ.get(NAMED, "").strip()
    if not named:
        return LOW if environ.get(LOWERED) == "1" else "L2"
    try:
        sandbox_named(named)
    except ValueError as error:
        raise UsageError(str(error), where=f"the environment variable {NAMED}") from error
    permit(named, environ, said=f"{NAMED} = {named}")
    return named
