"""How the server learns that a program has ended: by a descriptor of the process, or, on older kernels, by a signal."""

import os
import resource
import select
import signal
from typing import NamedTuple, Protocol


class Death(NamedTuple):
    """A process that ended, as wait4 tells it."""

    pid: int
    status: int
    used: resource.struct_rusage


class Deaths(Protocol):
    """Watches processes through an epoll of the server."""

    poll: select.epoll

    def follow(self, pid: int) -> None:
        """Tell when this child ends."""

    def told(self, fd: int) -> list[Death]:
        """What a ready descriptor means; no death where it is none of these."""
        ...

    def leave(self) -> None:
        """In a child: watch no more."""


class ByDescriptor:
    """One descriptor for each process: Linux 5.3."""

    def __init__(self, poll: select.epoll) -> None:
        """Ready descriptors are told by `poll`."""
        self.poll = poll
        self.of: dict[int, int] = {}

    def follow(self, pid: int) -> None:
        """Open a descriptor of the child."""
        watch = os.pidfd_open(pid)
        self.of[watch] = pid
        self.poll.register(watch, select.EPOLLIN)

    def told(self, fd: int) -> list[Death]:
        """The one child whose descriptor it is."""
        pid = self.of.pop(fd, None)
        if pid is None:
            return []
        self.poll.unregister(fd)
        os.close(fd)
        return [Death(*os.wait4(pid, 0))]

    def leave(self) -> None:
        """Nothing: a child closes its descriptors anyway."""


class BySignal:
    """SIGCHLD writes to a pipe; then every child is asked."""

    def __init__(self, poll: select.epoll) -> None:
        """Take SIGCHLD; `poll` tells the pipe."""
        self.poll = poll
        self.pids: set[int] = set()
        self.end, told = os.pipe()
        for fd in (self.end, told):
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(told, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _nothing)
        poll.register(self.end, select.EPOLLIN)

    def follow(self, pid: int) -> None:
        """A signal that came before stays in the pipe until `told`."""
        self.pids.add(pid)

    def told(self, fd: int) -> list[Death]:
        """All children that ended since."""
        if fd != self.end:
            return []
        os.read(fd, 1 << 16)
        found = [Death(*os.wait4(pid, os.WNOHANG)) for pid in self.pids]
        ended = [death for death in found if death.pid]
        self.pids -= {death.pid for death in ended}
        return ended

    def leave(self) -> None:
        """A program finds signals as they are by default."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def _nothing(number: int, frame: object) -> None:
    pass
