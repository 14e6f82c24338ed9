"""The confinement a server enters once and every program inherits.

L3: namespaces (user, mount, pid, net, ipc, uts, cgroup), a root of its own that holds a read-only interpreter, L2.
L2: an unprivileged user where we are root, no capabilities, no new privileges, Landlock. A program can still find out
whether a path exists, and the name of the host. System-call filters
come last: one on the server, a narrower one on each child.
L1: as L2 without Landlock: once all is loaded, no file can be opened at all.
"""

import os
import resource
import socket
from collections.abc import Sequence

from . import kernel, seccomp

NOBODY = 65534
_STAGING = ("/tmp", "/var/tmp", "/mnt", "/media")  # noqa: S108 - a private mount covers it; nothing is written there
DESCRIPTORS = 64
"""Open files of the server, and of each program; a child closes all but its own below this number."""
_TASKS = 256
"""Threads of all programs of one server together."""


class Lacking(Exception):
    """A layer that this kernel or container does not grant."""

    def number(self) -> int:
        """What the kernel said; 0 where it said nothing."""
        return (self.__cause__.errno or 0) if isinstance(self.__cause__, OSError) else 0


def namespaces(shown: Sequence[str]) -> None:
    """Leave every namespace; return in the first process of the new ones, with `shown` as all there is of the disk."""
    try:
        user = _user_namespace()
        kernel.unshare(
            kernel.CLONE_NEWNS
            | kernel.CLONE_NEWPID
            | kernel.CLONE_NEWNET
            | kernel.CLONE_NEWIPC
            | kernel.CLONE_NEWUTS
            | kernel.CLONE_NEWCGROUP
        )
        socket.sethostname("jail")
        _own_root(shown)
        _become_first()
    except OSError as error:
        raise Lacking(f"namespaces ({error.strerror or error})") from error
    if user == 0:
        kernel.become(NOBODY, keep_capabilities=True)
        kernel.die_with_parent()


def restrict(readable: Sequence[str], level: str) -> None:
    """The layers of L2, from which nothing leads back."""
    needed = readable[0] if level == "L2" else None
    try:
        kept = _drop(needed) if level != "L3" and os.geteuid() == 0 else 0
    except OSError as error:
        raise Lacking(f"a process to drop privileges in ({error.strerror or error})") from error
    try:
        kernel.drop_capabilities(kept)
        kernel.no_new_privileges()
        if level != "L1":
            kernel.landlock(list(readable))
    except OSError as error:
        raise Lacking(
            f"Landlock, CONFIG_SECURITY_LANDLOCK in Linux 5.13 or newer ({error.strerror or error})"
        ) from error
    kernel.hide()
    _limit()


def filter_calls(level: str) -> kernel.Filter:
    """Filter the server's own calls; the filter that a program gets on top."""
    try:
        if level != "L1":
            os.close(os.pidfd_open(os.getpid()))
    except OSError as error:
        raise Lacking(f"process descriptors, pidfd_open of Linux 5.3 ({error.strerror or error})") from error
    try:
        kernel.Filter(seccomp.server_policy(opens=level != "L1")).install()
    except OSError as error:
        raise Lacking(f"system-call filters, CONFIG_SECCOMP_FILTER ({error.strerror or error})") from error
    return kernel.Filter(seccomp.program_policy(threads=os.getuid() != 0), seccomp.OWN_PID)


def _user_namespace() -> int:
    """Enter a user namespace; the id outside."""
    user, group = os.geteuid(), os.getegid()
    if user:
        kernel.unshare(kernel.CLONE_NEWUSER)
        _write("/proc/self/setgroups", "deny")
        _write("/proc/self/uid_map", f"{NOBODY} {user} 1")
        _write("/proc/self/gid_map", f"{NOBODY} {group} 1")
        return user
    ready, told = os.pipe()
    me, writer = os.getpid(), os.fork()
    if writer == 0:
        os.close(told)
        os.read(ready, 1)
        os._exit(0 if _map_for(me) else 1)
    kernel.unshare(kernel.CLONE_NEWUSER)
    os.close(told)
    os.close(ready)
    if os.waitpid(writer, 0)[1]:
        raise PermissionError(1, "the ids of a user namespace cannot be mapped")
    return 0


def _map_for(pid: int) -> bool:
    try:
        for name in ("gid_map", "uid_map"):
            _write(f"/proc/{pid}/{name}", f"0 0 1\n{NOBODY} {NOBODY} 1")
    except OSError:
        return False
    return True


def _own_root(shown: Sequence[str]) -> None:
    kernel.private_mounts()
    trees = [(path, kernel.open_tree(path)) for path in shown]
    staging = next(path for path in _STAGING if os.path.isdir(path))  # noqa: PTH112
    kernel.mount_tmpfs(staging)
    for path, tree in trees:
        os.makedirs(staging + path, mode=0o755, exist_ok=True)  # noqa: PTH103
        kernel.place_tree(tree, staging + path)
    old = staging + "/.old"
    os.mkdir(old)  # noqa: PTH102
    kernel.pivot_root(staging, old)
    kernel.read_only("/")


def _become_first() -> None:
    """Fork into the pid namespace; what stays behind waits, and takes the rest with it when it goes."""
    inner = os.fork()
    if inner == 0:
        kernel.die_with_parent()
        return
    os.closerange(0, 1024)
    status = os.waitpid(inner, 0)[1]
    os._exit(os.waitstatus_to_exitcode(status) & 0xFF)


def _drop(needed: str | None) -> int:
    """Become nobody; the mask of capabilities to keep.

    An interpreter in a folder that only root enters stays readable by the one capability that this takes. Where root
    lacks even that, it stays root, without any.
    """
    try:
        if needed is None or _open_to_nobody(needed):
            kernel.become(NOBODY)
            return 0
        kernel.become(NOBODY, keep_capabilities=True)
        kernel.drop_capabilities(kernel.CAP_DAC_READ_SEARCH)
    except OSError:
        os.setresuid(0, 0, 0)
        return 0
    return kernel.CAP_DAC_READ_SEARCH


def _open_to_nobody(path: str) -> bool:
    probe = os.fork()
    if probe == 0:
        kernel.become(NOBODY)
        os._exit(0 if os.access(path, os.R_OK) else 1)
    return os.waitpid(probe, 0)[1] == 0


def _limit() -> None:
    tasks = _TASKS + _tasks_of_this_user()
    none = (resource.RLIMIT_CORE, resource.RLIMIT_MEMLOCK, resource.RLIMIT_MSGQUEUE)
    wanted = [*((name, 0) for name in none), (resource.RLIMIT_NOFILE, DESCRIPTORS), (resource.RLIMIT_NPROC, tasks)]
    for name, value in wanted:
        hard = resource.getrlimit(name)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(name, (value, value))
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]  # whoever started us may hold itself to less than a program has
    resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))


def _tasks_of_this_user() -> int:
    """Threads that run under this id already; 0 in a pid namespace, where none are seen."""
    count = 0
    try:
        for name in os.listdir("/proc"):  # noqa: PTH208
            if name.isdigit() and os.stat(f"/proc/{name}").st_uid == os.getuid():  # noqa: PTH116
                count += len(os.listdir(f"/proc/{name}/task"))  # noqa: PTH208
    except OSError:
        return count
    return count


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)
