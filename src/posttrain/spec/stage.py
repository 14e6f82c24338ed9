"""What a kind of stage declares and what its code sees while it runs (DESIGN §5)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Generic, Literal, Protocol, TypeVar

from posttrain.spec.gate import Gate, Metric
from posttrain.spec.knobs import Knobs, Resources

K = TypeVar("K", bound=Knobs, covariant=True)

ArtifactType = Literal["data", "model", "judge", "scores", "export", "verdict"]


@dataclass(frozen=True)
class Role:
    """The name under which a kind takes an input, and what it may be."""

    types: tuple[ArtifactType, ...]
    says: str
    many: bool = False
    optional: bool = False


@dataclass(frozen=True)
class Artifact:
    """A finished, immutable folder as a stage sees it: an input that was digested when it was opened."""

    node: str
    """Node id, or the path of a user's own folder."""
    type: ArtifactType
    path: Path
    digest: str
    kind: str = ""
    axes: Mapping[str, str] = field(default_factory=dict[str, str])
    knobs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    metrics: Mapping[str, Metric] = field(default_factory=dict[str, Metric])
    files: tuple[str, ...] = ()

    def file(self, name: str) -> Path:
        """The path of one of its files."""
        return self.path / name


@dataclass(frozen=True)
class Outcome:
    """What `run` returns: metrics (functions of the bytes) and, apart, what was measured (rates, times)."""

    metrics: Mapping[str, Metric]
    measured: Mapping[str, float] = field(default_factory=dict[str, float])


@dataclass(frozen=True)
class Estimate:
    """What a node is expected to take; None is unknown, never zero."""

    seconds: float | None = None
    tokens: int | None = None
    memory: int | None = None
    disk: int | None = None
    money: Decimal | None = None
    remarks: tuple[str, ...] = ()
    """Sentences for the plan: the detectable difference, more than ten epochs."""


@dataclass(frozen=True)
class Foreseen:
    """An input as `estimate` sees it: who makes it, from which knobs, and the artifact if it is kept."""

    node: str
    kind: str
    knobs: Mapping[str, Any]
    axes: Mapping[str, str]
    artifact: Artifact | None = None
    inputs: "Mapping[str, tuple[Foreseen, ...]]" = field(default_factory=dict[str, "tuple[Foreseen, ...]"])
    """What it is made from in its turn: the number of items of a comparison is known two steps up."""


class Context(Protocol, Generic[K]):
    """The whole world of a running stage."""

    @property
    def knobs(self) -> K:
        """The resolved knobs."""
        ...

    @property
    def axes(self) -> Mapping[str, str]:
        """The values of this node on its axes."""
        ...

    @property
    def seed(self) -> int:
        """The derived seed."""
        ...

    @property
    def resources(self) -> Resources:
        """Where and how fast."""
        ...

    @property
    def out(self) -> Path:
        """Becomes the artifact when run() returns; empty at the start of every attempt, resumed ones too."""
        ...

    @property
    def scratch(self) -> Path:
        """Survives a kill; gone after commit."""
        ...

    def input(self, role: str) -> Artifact:
        """Exactly one input."""
        ...

    def inputs(self, role: str) -> tuple[Artifact, ...]:
        """All inputs of the role, in order of node id; empty where an optional role is not given."""
        ...

    def cache(self, name: str) -> Path:
        """A folder that outlives the node, content-keyed by its user."""
        ...

    def link(self, source: Path, name: str) -> None:
        """Make a file of an input a file of the output."""
        ...

    def emit(self, **metrics: float | int | str | list[Any] | dict[str, Any] | None) -> None:
        """One step's numbers, for the ledger, the live view and trackers; `step` is its key.

        Raises BudgetReached, once they are told, where the time is over.
        """
        ...

    def progress(self, done: int, total: int, unit: str) -> None:
        """How far the node is; raises BudgetReached where the time is over."""
        ...

    def note(self, kind: str, text: str, count: int = 1) -> None:
        """A remark or a counted fallback, shown in plan, status and report.

        The artifact has those of the attempt that made it: what holds of the whole is said in every attempt, and what
        is counted on the way is counted in the kept state.
        """
        ...

    def under(self, **facts: str) -> None:
        """What only the stage knows of the machine it works on: `sandbox="L3"`, the level that programs ran at.

        It stands in the manifest's `measured.environment`, beside processor and versions; the last word counts.
        """
        ...

    def spend(self, *, tokens: int = 0, money: Decimal = Decimal(0)) -> None:
        """Count tokens and money that are about to be used, or were used for what is not kept yet.

        Raises BudgetReached, with nothing counted, where that would pass a cap: do not keep what was not counted.
        """
        ...


Gates = Mapping[str, Gate]


@dataclass(frozen=True)
class Kind:
    """One kind of stage, read from its module `stages/NAME.py` without importing torch."""

    name: str
    version: int
    knobs: type[Knobs]
    roles: Mapping[str, Role]
    makes: ArtifactType
    gates: Callable[[Any, frozenset[str]], Gates]
    """Default gates for resolved knobs and the roles that are given."""
    estimate: Callable[[Any, Mapping[str, tuple[Foreseen, ...]]], Estimate]
    run: Callable[[Any], Outcome]
    measure: Callable[[Artifact, Any], Mapping[str, Metric]]
    says: str
    """First line of the module's docstring."""
    check: Callable[[Any, Mapping[str, tuple[Foreseen, ...]]], tuple[str, ...]] | None = None
    """What is refused beyond types (k > samples, nucleus in rollouts): sentences, each naming its knob."""
    reads: Callable[[Any], Mapping[str, Path]] | None = None
    """Files of the package that the knobs choose and that decide the result (a preset): they count by content."""


class Kinds(Protocol):
    """Where kinds are looked up; the module `posttrain.stages` is one."""

    def names(self) -> tuple[str, ...]:
        """Every kind, in alphabetical order."""
        ...

    def kind(self, name: str, /) -> Kind:
        """The kind of that name; KeyError where there is none."""
        ...
