"""How much of the machine nodes may claim at a time."""

import os
from collections.abc import Iterable
from dataclasses import dataclass

from posttrain.engine.expand import Node


@dataclass(frozen=True)
class Capacity:
    """How much may run at a time."""

    jobs: int
    """Nodes."""
    cores: int
    """Cores that nodes may claim together; one node alone may claim more."""

    @staticmethod
    def of_machine(nodes: Iterable[Node], jobs: int | None) -> "Capacity":
        """As many nodes as the cores hold, unless the user says."""
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        widest = max((node.resources.cpus for node in nodes), default=1)
        return Capacity(jobs or max(1, cores // widest), max(cores, jobs or 1))
