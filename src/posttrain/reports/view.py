"""What the records of a run say, as one frozen value: what status, the learning table and every report are made of.

Derived from `recipe.json`, `ledger.jsonl` and the nodes' manifests alone. What is not on record is None or empty, never
zero.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from posttrain.spec.gate import Metrics, Verdict
from posttrain.store.artifact import Manifest, Remark

State = Literal["ran", "kept", "failed", "running", "blocked", "waiting", "off"]
"""What became of a node, as far as the ledger tells."""

STEP = Mapping[str, Any]


@dataclass(frozen=True)
class Setting:
    """A key of the recipe that profile, environment or command line set."""

    key: str
    value: str
    origin: str


@dataclass(frozen=True)
class Source:
    """One input of a node, as its manifest names it."""

    role: str
    node: str
    digest: str
    fingerprint: str = ""


@dataclass(frozen=True)
class Beat:
    """A sign of life of a running node."""

    t: float
    """Unix seconds."""
    memory: int
    """Bytes resident in all its processes."""
    quiet_s: float
    """Seconds since it had last written something or used a processor."""


def sandbox(measured: Mapping[str, Any]) -> str:
    """The level of the sandbox in what a manifest measured, `L3, elsewhere` of a server; empty where it tells none."""
    told = measured.get("environment")
    return str(cast("Mapping[str, Any]", told).get("sandbox") or "") if isinstance(told, Mapping) else ""


@dataclass(frozen=True)
class NodeView:
    """One node: what was decided, what became of it, what it made."""

    id: str
    stage: str
    member: str
    kind: str
    state: State
    reasons: tuple[str, ...] = ()
    """Why it was last decided so."""
    ran_because: tuple[str, ...] = ()
    """Why it ran when its artifact was made."""
    estimate: float | None = None
    """Seconds the plan expected."""
    manifest: Manifest | None = None
    folder: Path | None = None
    """Its artifact, where there is one."""
    failure: str = ""
    log: str = ""
    progress: str = ""
    beat: Beat | None = None
    """Its last heartbeat, while it runs."""

    @property
    def metrics(self) -> Metrics:
        """The metrics of its artifact; empty where nothing was made."""
        return self.manifest.metrics if self.manifest else {}

    @property
    def axes(self) -> Mapping[str, str]:
        """Its value on each axis."""
        return self.manifest.axes if self.manifest else {}

    @property
    def knobs(self) -> Mapping[str, Any]:
        """The knobs that decided its artifact."""
        return self.manifest.facts.knobs if self.manifest else {}

    @property
    def remarks(self) -> tuple[Remark, ...]:
        """What it noted, counted."""
        return self.manifest.remarks if self.manifest else ()

    @property
    def sources(self) -> tuple[Source, ...]:
        """Its inputs, role by role."""
        if self.manifest is None:
            return ()
        given = self.manifest.facts.inputs
        return tuple(Source(role, i.node, i.digest, i.fingerprint) for role, made in given.items() for i in made)

    @property
    def sandbox(self) -> str:
        """The level of the sandbox that programs ran at, `none` where none may run; empty where there were none."""
        return sandbox(self.manifest.measured) if self.manifest else ""

    @property
    def size(self) -> int | None:
        """Bytes of all its files."""
        return sum(file.size for file in self.manifest.files) if self.manifest else None

    def took(self, name: str) -> float | None:
        """A measured number; None where there is none."""
        value = self.manifest.measured.get(name) if self.manifest else None
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


@dataclass(frozen=True)
class Rejudged:
    """The last `gate` under other thresholds, or of some gates alone; the run's own verdicts stay what they are."""

    only: tuple[str, ...]
    sets: tuple[str, ...]
    code: int
    when: float
    """Unix seconds."""


@dataclass(frozen=True)
class View:
    """A run."""

    folder: Path
    name: str
    seed: int | None
    profiles: tuple[str, ...]
    settings: tuple[Setting, ...]
    nodes: Mapping[str, NodeView]
    """In the order of the plan: inputs before what reads them."""
    edges: tuple[tuple[str, str], ...]
    """Stage → stage, from inputs."""
    verdicts: tuple[Verdict, ...]
    steps: Mapping[str, tuple[STEP, ...]]
    """What each node emitted, in order of step."""
    exit_code: int | None
    """None: the last invocation did not say how it ended."""
    started: float | None
    """When the first invocation that made something began; Unix seconds."""
    took: float | None
    """Seconds of all invocations that made something; one that keeps everything adds nothing."""
    environment: Mapping[str, Any]
    """The machine of the last of them, as recorded."""
    unread: str = ""
    """Lines of the ledger that are no records, counted; empty where there are none."""
    lapsed: tuple[str, ...] = ()
    """Waivers that a verdict stood on and that no longer count."""
    rejudged: Rejudged | None = None
    fell_first: str = ""
    """The node that failed first in the last invocation; empty where none did."""
    troubles: tuple[str, ...] = ()
    """Why views could not be written."""

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages in order of their first node."""
        return tuple(dict.fromkeys(node.stage for node in self.nodes.values()))

    def members(self, stage: str) -> tuple[NodeView, ...]:
        """The nodes of one stage."""
        return tuple(node for node in self.nodes.values() if node.stage == stage)

    def of_kind(self, *kinds: str) -> tuple[NodeView, ...]:
        """The nodes of some kinds."""
        return tuple(node for node in self.nodes.values() if node.kind in kinds)

    def judged(self, node: str) -> tuple[Verdict, ...]:
        """The verdicts on one node."""
        return tuple(verdict for verdict in self.verdicts if verdict.node == node)

    def total(self, name: str) -> float | None:
        """The sum of a measured number over all nodes that have it; None where none has."""
        known = [value for node in self.nodes.values() if (value := node.took(name)) is not None]
        return sum(known) if known else None


EXIT_MEANS: Mapping[int, str] = {
    0: "every stop gate passed",
    1: "a gate refused",
    2: "the recipe or the command does not hold",
    3: "a stop gate could not be decided",
    4: "something this machine lacks",
    5: "a budget was reached",
    6: "data is not what it must be, or two things that must be equal are not",
    7: "a stage failed",
    8: "a stage ran past its time",
    130: "the user stopped it",
}
"""The exit codes in words (DESIGN §7)."""
