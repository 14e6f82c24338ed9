"""How much of the machine nodes may claim at a time: cores, memory, accelerators, and how many nodes at all.

A node claims `resources.cpus` cores, `resources.memory` bytes where it says so, and the accelerator its device names.
Claims of nodes that run together never exceed the machine, whatever `--jobs` says. A node that claims more than the
whole machine has runs alone, and the run says so.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from posttrain.engine import machine
from posttrain.engine.expand import Node
from posttrain.engine.machine import amount


@dataclass(frozen=True)
class Capacity:
    """How much may run at a time."""

    jobs: int
    """Nodes."""
    cores: int
    memory: int
    """Bytes."""
    remarks: tuple[str, ...] = ()
    """What a user should know of it: fewer nodes at a time than asked for, nodes that must run alone."""

    @staticmethod
    def of_machine(nodes: Iterable[Node], jobs: int | None) -> "Capacity":
        """What the machine has; as many nodes as the cores hold, or fewer where the user says so."""
        wanted = tuple(nodes)
        cores, memory = machine.cores(), machine.memory()
        claims = [node.resources.cpus for node in wanted] or [1]
        at_most = max(1, cores // min(claims))
        at_a_time = min(jobs or max(1, cores // max(claims)), at_most)
        remarks = [_alone(node, cores, memory) for node in wanted]
        if jobs is not None and at_a_time < min(jobs, len(wanted)):
            remarks.insert(0, f"{at_a_time} of the {jobs} nodes asked for run at a time: {_have(cores)}")
        return Capacity(at_a_time, cores, memory, tuple(remark for remark in remarks if remark))

    def fits(self, node: Node, running: Iterable[Node]) -> bool:
        """Whether a node may start beside those that run."""
        others = tuple(running)
        if not others:
            return True
        together = (*others, node)
        mine = machine.accelerator(node.resources.device)
        return (
            len(together) <= self.jobs
            and sum(one.resources.cpus for one in together) <= self.cores
            and sum(one.resources.memory or 0 for one in together) <= self.memory
            and not (mine and any(machine.accelerator(one.resources.device) == mine for one in others))
        )


def _have(cores: int) -> str:
    return f"there {'is 1 core' if cores == 1 else f'are {cores} cores'}"


def _alone(node: Node, cores: int, memory: int) -> str:
    claim = node.resources
    if claim.cpus > cores:
        return f"{node.id} claims {claim.cpus} cores and runs alone: {_have(cores)}"
    if claim.memory is not None and claim.memory > memory:
        return f"{node.id} claims {amount(claim.memory)} and runs alone: the machine has {amount(memory)}"
    return ""
