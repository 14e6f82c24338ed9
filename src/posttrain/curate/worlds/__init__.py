"""Procedural tasks with worked and terse solutions and machine-verifiable answers."""

from posttrain.curate.worlds.sides import (
    DOMAINS,
    SHARES,
    USUAL,
    Side,
    distinct,
    draw,
    generate,
    identity,
    side,
    stream_train,
    templates,
)
from posttrain.curate.worlds.template import LEVELS

__all__ = [
    "DOMAINS",
    "LEVELS",
    "SHARES",
    "USUAL",
    "Side",
    "distinct",
    "draw",
    "generate",
    "identity",
    "side",
    "stream_train",
    "templates",
]
