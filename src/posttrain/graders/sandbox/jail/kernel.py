"""What Linux offers and Python's standard library does not: raw system calls, x86-64."""

import ctypes
import os
import struct

CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC = 0x20000, 0x2000000, 0x4000000, 0x8000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000

_SECCOMP, _CAPSET, _PIVOT_ROOT, _OPEN_TREE, _MOVE_MOUNT, _MOUNT_SETATTR = 317, 126, 155, 428, 429, 442
_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_KEEPCAPS, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 1, 4, 8, 24, 38
_AT_EMPTY_PATH, _AT_RECURSIVE, _OPEN_TREE_CLONE = 0x1000, 0x8000, 1
_ATTR_RDONLY, _ATTR_NOSUID, _ATTR_NODEV = 1, 2, 4
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_REMOUNT, _MS_BIND = 1, 2, 4, 32, 4096
_MS_REC, _MS_PRIVATE, _MNT_DETACH = 16384, 1 << 18, 2
_CAP_VERSION_3 = 0x20080522

CAP_DAC_READ_SEARCH = 1 << 2
_FS_READ_FILE, _FS_READ_DIR = 4, 8
_FS_BITS = {1: 13, 2: 14, 3: 15, 4: 15}
"""Filesystem rights that an ABI of Landlock knows; 16 from the fifth on."""

_libc = ctypes.CDLL(None, use_errno=True)
_gil = ctypes.PyDLL(None, use_errno=True)


def call(number: int, *arguments: int | bytes) -> int:
    """A system call by number; OSError where it fails."""
    given = [ctypes.c_long(a) if isinstance(a, int) else ctypes.c_char_p(a) for a in arguments]
    return _checked(_libc.syscall(ctypes.c_long(number), *given), f"system call {number}")


def fork() -> int:
    """The process id of a new child, 0 in it. No at-fork handlers run, where the C library can leave them out."""
    raw = getattr(_gil, "_Fork", None)
    return os.fork() if raw is None else _checked(raw(), "fork")


def unshare(flags: int) -> None:
    """Leave the namespaces named by the flags for new ones."""
    _checked(_libc.unshare(flags), "unshare")


def die_with_parent() -> None:
    """SIGKILL for this process as soon as its parent is gone."""
    _prctl(_PR_SET_PDEATHSIG, 9)


def hide() -> None:
    """No core file, no ptrace, no /proc of this process for others of the same user."""
    _prctl(_PR_SET_DUMPABLE, 0)


def no_new_privileges() -> None:
    """Nothing that is executed from here on gains privileges."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def drop_capabilities(keep: int = 0) -> None:
    """Give up every capability but those of the mask `keep`, for good."""
    for capability in range(64):
        if _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0) < 0:
            break
    call(_CAPSET, struct.pack("=Ii", _CAP_VERSION_3, 0), struct.pack("=6I", keep, keep, 0, 0, 0, 0))


def become(user: int, *, keep_capabilities: bool = False) -> None:
    """Another user and group, no others; with the capabilities of before where asked."""
    _prctl(_PR_SET_KEEPCAPS, int(keep_capabilities))
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)


class Filter:
    """A system-call filter, laid out beforehand: installing it in a child touches little memory."""

    def __init__(self, program: bytes, placeholder: int = 0) -> None:
        """The BPF program; the process id of whoever installs it goes wherever `placeholder` stands."""
        mark = struct.pack("=I", placeholder)
        self._buffer = ctypes.create_string_buffer(program, len(program))
        self._places = [at for at in range(4, len(program), 8) if placeholder and program[at : at + 4] == mark]
        head = struct.pack("=HxxxxxxQ", len(program) // 8, ctypes.addressof(self._buffer))
        self._head = ctypes.create_string_buffer(head, len(head))
        self._arguments = (ctypes.c_long(_SECCOMP), ctypes.c_long(1), ctypes.c_long(0), ctypes.byref(self._head))

    def install(self) -> None:
        """Filter every later system call of this process, for good."""
        for place in self._places:
            struct.pack_into("=I", self._buffer, place, os.getpid())
        _checked(_libc.syscall(*self._arguments), "seccomp")


def landlock_abi() -> int:
    """The version of Landlock that the kernel speaks; OSError where it speaks none."""
    return call(_LANDLOCK_CREATE, 0, 0, 1)


def landlock(readable: list[str]) -> None:
    """From here on this process may read the files beneath these paths, and nothing else on any disk.

    From version 4 on no TCP port either, from version 6 on no signal and no abstract socket beyond itself.
    """
    abi = landlock_abi()
    rights = (1 << _FS_BITS.get(abi, 16)) - 1
    attributes = struct.pack("=QQQ", rights, 3, 3)[: 8 if abi < 4 else 16 if abi < 6 else 24]
    ruleset = call(_LANDLOCK_CREATE, attributes, len(attributes), 0)
    for path in readable:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
        allowed = _FS_READ_FILE | (_FS_READ_DIR if os.path.isdir(path) else 0)  # noqa: PTH112 - pathlib is not loaded here
        call(_LANDLOCK_ADD, ruleset, 1, struct.pack("=Qi", allowed, fd), 0)
        os.close(fd)
    call(_LANDLOCK_RESTRICT, ruleset, 0)
    os.close(ruleset)


def private_mounts() -> None:
    """No mount made here is seen elsewhere, and none made elsewhere is seen here."""
    _mount(None, "/", None, _MS_REC | _MS_PRIVATE)


def mount_tmpfs(target: str) -> None:
    """A small empty folder in memory over `target`."""
    _mount("tmpfs", target, "tmpfs", _MS_NOSUID | _MS_NODEV, "size=1m,mode=755")


def read_only(target: str) -> None:
    """The mount at `target` takes no more writes."""
    _mount(None, target, None, _MS_REMOUNT | _MS_BIND | _MS_RDONLY | _MS_NOSUID | _MS_NODEV)


def open_tree(path: str) -> int:
    """A descriptor of a read-only copy of the mount beneath `path`, to be placed with `place_tree`."""
    tree = call(_OPEN_TREE, -100, path.encode(), _OPEN_TREE_CLONE | os.O_CLOEXEC | _AT_RECURSIVE)
    wanted = struct.pack("=QQQQ", _ATTR_RDONLY | _ATTR_NOSUID | _ATTR_NODEV, 0, 0, 0)
    call(_MOUNT_SETATTR, tree, b"", _AT_EMPTY_PATH | _AT_RECURSIVE, wanted, len(wanted))
    return tree


def place_tree(tree: int, target: str) -> None:
    """Mount what `open_tree` opened."""
    call(_MOVE_MOUNT, tree, b"", -100, target.encode(), 4)
    os.close(tree)


def pivot_root(new: str, old: str) -> None:
    """Make `new` the root and let go of everything outside it; `old` is an empty folder beneath `new`."""
    call(_PIVOT_ROOT, new.encode(), old.encode())
    os.chdir("/")
    behind = "/" + old[len(new) :].strip("/")
    _checked(_libc.umount2(behind.encode(), _MNT_DETACH), "umount2")
    os.rmdir(behind)  # noqa: PTH106


def _mount(source: str | None, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    texts = [None if text is None else text.encode() for text in (source, target, kind)]
    _checked(_libc.mount(*texts, ctypes.c_ulong(flags), None if data is None else data.encode()), f"mount {target}")


def _prctl(option: int, value: int) -> None:
    _checked(_libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0), f"prctl {option}")


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return int(result)
