"""A recipe as a value: stages with validated knobs, inputs, gates and resources, and where each value came from."""

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import Field

from posttrain.spec.gate import Gate
from posttrain.spec.knobs import UNLIMITED, Budget, Closed, Knobs, Resources

FORMAT = 1
"""The version of the grammar this program reads."""

RESERVED = (
    *("kind", "each", "inputs", "wait", "stream", "off", "frozen"),
    *("gate", "timeout", "retries", "resources", "budget"),
)
"""Keys of a stage that are not knobs."""

NAME = r"^[A-Za-z][A-Za-z0-9_-]*$"
"""Names of stages, profiles, axes and gates."""

MEMBER = r"^[A-Za-z0-9_.+-]+$"
"""One value of an axis, as it stands in a node's id."""

Axes = Mapping[str, tuple[str, ...]]
"""Axis → its values, in the order of the recipe."""

ALL = "*"
"""The member of a reference that means every member."""


class Head(Closed):
    """The plain keys at the top of a recipe."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    """The recipe's name."""
    seed: int = Field(default=0, ge=0)
    """Every stage's seed is derived from it."""
    run: Path | None = None
    """Folder of the run, from where the command is typed; none: runs/NAME."""
    strict: bool = False
    """Every counted fallback is a failure."""
    gates: tuple[str, ...] | None = None
    """Only these gates exist in this run: NAME or STAGE.NAME; none: all."""
    keep_going: bool = False
    """A refused gate does not stop what depends on it; verdicts and exit code stay what they are."""
    budget: Budget = UNLIMITED
    """Caps of the whole run: `hours` of this invocation, `tokens` and `money` over all invocations."""


class Work(Closed):
    """The reserved keys of a stage that are plain values."""

    wait: tuple[str, ...] = ()
    """Stages whose gates must have passed first; their bytes are not read."""
    stream: str | None = Field(default=None, min_length=1)
    """Stages with one stream share their seed: prompts, order and draws."""
    off: bool = False
    """Not run; bypassed where that has one meaning."""
    timeout: float | None = Field(default=None, gt=0)
    """Seconds after which a node is stopped (exit 8)."""
    retries: int = Field(default=0, ge=0)
    """How often a failed node is tried again."""
    frozen: bool = False
    """Once a node of it is made in a run, a change of what decides it is refused until `--again` names it."""
    budget: Budget = UNLIMITED
    """Caps of each node, over all attempts at it."""


@dataclass(frozen=True)
class Ref:
    """What an input names: a stage's matching members, one member, all members (`*`), or a folder of the user's."""

    stage: str | None = None
    member: str | None = None
    path: Path | None = None
    digest: str | None = None

    def __str__(self) -> str:
        """As a recipe writes it: `stage/member`, or the path."""
        if self.stage is None:
            return str(self.path)
        return self.stage if self.member is None else f"{self.stage}/{self.member}"

    def plain(self) -> str | dict[str, str]:
        """As a recipe writes it."""
        if self.stage is not None:
            return str(self)
        digest = {} if self.digest is None else {"digest": self.digest}
        return {"path": str(self.path), **digest}


@dataclass(frozen=True)
class StageSpec:
    """One step of a recipe, before its axes are multiplied out."""

    name: str
    kind: str
    each: Axes
    inputs: Mapping[str, tuple[Ref, ...]]
    wait: tuple[str, ...]
    stream: str | None
    off: bool
    knobs: Knobs
    """Validated; the values of axes are not yet applied."""
    gates: Mapping[str, Gate]
    """The kind's gates under the recipe's; those switched off are here too."""
    resources: Resources
    timeout: float | None
    retries: int
    frozen: bool = False
    budget: Budget = UNLIMITED


@dataclass(frozen=True)
class Viewed:
    """What a view shows: one file of one node's artifact."""

    stage: str
    member: str
    """Empty where the stage has no axes."""
    file: str

    @property
    def node(self) -> str:
        """The node's id."""
        return f"{self.stage}/{self.member}" if self.member else self.stage


def viewed(said: str) -> Viewed | None:
    """`STAGE[/MEMBER]:FILE` taken apart; None where it is not of that form."""
    match = re.fullmatch(r"([^:/]+)(?:/([^:/]+))?:(.+)", said)
    return None if match is None else Viewed(match[1], match[2] or "", match[3])


def members_of(each: Axes) -> tuple[str, ...]:
    """The members of a stage with these axes, as ids of nodes name them; without axes one, which has no name."""
    return tuple(",".join(values) for values in itertools.product(*each.values()))


@dataclass(frozen=True)
class Recipe:
    """A whole recipe, resolved: profiles, environment and command line are in it."""

    name: str
    seed: int
    run: Path
    strict: bool
    gates: tuple[str, ...] | None
    profiles: tuple[str, ...]
    stages: Mapping[str, StageSpec]
    origins: Mapping[str, str]
    """Dotted key → kind default, recipe, profile NAME, env VARIABLE or command line."""
    unused: tuple[str, ...]
    """Variables that are set and whose stages are all off."""
    resolved: Mapping[str, Any]
    """JSON-able; loading it again gives an equal recipe."""
    keep_going: bool = False
    budget: Budget = UNLIMITED
    views: Mapping[str, str] = field(default_factory=dict[str, str])
    """Target below the run's folder → `STAGE[/MEMBER]:FILE`; `{fp}` in a target is the node's fingerprint, cut to 8."""
    paths: Mapping[str, str] = field(default_factory=dict[str, str])
    """First folder of a view → the absolute folder that stands for it."""
    label: str = field(default="", compare=False)
    """The recipe's file as errors name it."""
