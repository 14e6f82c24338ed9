"""A program to run, what it may use, what became of it: values that every sandbox takes and gives."""

import json
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

from posttrain.graders.sandbox.jail import wire


@dataclass(frozen=True)
class Limits:
    """What one program may use."""

    cpu: float = 5.0
    """Seconds."""
    wall: float = 5.0
    """Seconds."""
    memory: int = 1 << 30
    """Bytes of address space."""
    output: int = 64 << 10
    """Bytes of each output stream."""


@dataclass(frozen=True)
class Job:
    """One program and what to do with it (`child.run` says what there is)."""

    body: dict[str, wire.Tree]
    stdin: bytes = b""
    tier: str = "lean"
    limits: Limits = field(default_factory=Limits)
    server: dict[str, wire.Tree] | None = None
    """The program that a judge asks, in a jail beside the judge's."""


@dataclass(frozen=True)
class Ran:
    """What became of a program, as seen from outside."""

    outcome: str
    """One of ENDS; `done`: the process ended by itself."""
    result: bytes = b""
    """What the harness beside the program wrote, a tree a line; the program can have written it."""
    stdout: bytes = b""
    stderr: bytes = b""
    status: int = 0
    """Exit code, or minus the signal."""
    cpu: float = 0.0
    """Seconds."""
    memory: int = 0
    """Bytes resident at most."""
    tries: int = 1
    """Servers it was given to."""
    reason: str = ""
    """Why it is a `sandbox_error`."""

    @cached_property
    def lines(self) -> tuple[wire.Tree, ...]:
        """The trees of `result`, up to the first line that is none."""
        return _lines(self.result)


ENDS = ("done", "timeout", "memory", "output_limit", "crashed", "sandbox_error")


class Sandbox(Protocol):
    """Whatever runs programs: a pool on this machine, or a server elsewhere."""

    @property
    def level(self) -> str:
        """The level of its confinement."""
        ...

    def submit(self, job: Job) -> Future[Ran]:
        """Run a program when there is room."""
        ...

    def close(self) -> None:
        """End it; what is still under way ends as `sandbox_error`."""
        ...


def _lines(data: bytes) -> tuple[wire.Tree, ...]:
    lines: list[wire.Tree] = []
    for text in data.split(b"\n")[:-1]:
        try:
            lines.append(json.loads(text))
        except (ValueError, RecursionError):
            break
    return tuple(lines)
