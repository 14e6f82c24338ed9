"""Programs that try to reach beyond their jail. Each limits itself: should it get out, nothing is lost.

They report a step that should have failed with `broke()`; the world has its own eyes (`world.World.harm`).
"""

from graders.attacks import book
from graders.attacks.world import Attack

_HEAD = """
import ctypes, errno, os, socket, sys
def broke(what=''):
    print('{BROKE}', what, flush=True)
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *args):
    got = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(a) if isinstance(a, int) else a for a in args])
    return got if got >= 0 else -ctypes.get_errno()
"""

_RAW = """
io_uring_setup 425 8, io_uring_enter 426, bpf 321, add_key 248, request_key 249, keyctl 250 0 -3 1, userfaultfd 323 1,
perf_event_open 298, unshare 272 0x10000000, setns 308, memfd_secret 447, seccomp 317, modify_ldt 154,
landlock_create_ruleset 444 0 0 1, arch_prctl 158 0x1002, personality 135 0xffffffff, chroot 161, pivot_root 155,
init_module 175, kexec_load 246, reboot 169, swapon 167, iopl 172 3, syslog 103 10, sched_setaffinity 203,
setpriority 141 0 0 19, clock_settime 227, sethostname 170,
fanotify_init 300, inotify_init1 294, splice 275 0 0 1 0 10, vmsplice 278 1,
process_madvise 440, open_tree 428, fsopen 430, setuid 105, capset 126, pkey_alloc 330, a_number_nobody_has 999,
execveat 322 1 0 0 0 0x1000, fchdir 81 0, move_mount 429, mount_setattr 442, fchmodat2 452, pidfd_getfd 438,
process_vm_writev 311, process_mrelease 448, landlock_restrict_self 446, memfd_create 319, io_setup 206, sendmmsg 307 1,
recvmmsg 299 1, shmat 30, semget 64, mq_open 240, signalfd4 289, timerfd_create 283, set_mempolicy 238, mlock2 325,
pkey_mprotect 329, quotactl 179, sysinfo 99, getdents 78 0, fchmod 91 1, fchown 93 1, fallocate 285 1, sendfile 40 1 0
"""
"""System calls that must be refused before the kernel looks at their arguments: EPERM, whatever these are."""


def _written(entry: book.Entry) -> Attack:
    aim, _, name = entry.name.partition(": ")
    before, source = (
        ("", entry.parts[0][1]) if not entry.titled("then") else (entry.parts[0][1], entry.titled("then")[0])
    )
    lines = "".join(f"    {line}\n" for line in source.splitlines())
    ended = "except (OSError, MemoryError, ImportError, AttributeError) as error:\n    print(error)\n"
    return Attack(
        name,
        aim,
        f"{_HEAD}try:\n{lines}{ended}",
        outcomes=entry.words("outcomes", "done"),
        wall=float(entry.fields.get("wall", 3.0)),
        levels=entry.words("levels", "L3 L2 L1"),
        bare="bare" in entry.fields,
        before=before,
        memory=int(entry.fields.get("memory", 1 << 30)),
    )


def _raw(text: str) -> Attack:
    name, number, *arguments = text.split()
    filled = ", ".join([number, *arguments, *["0"] * (6 - len(arguments))])
    source = f"{_HEAD}got = call({filled})\nif got != -errno.EPERM:\n    broke(got)\n"
    return Attack(f"system call {name}", "kernel surface", source, bare=False)


ATTACKS = [*map(_written, book.read("containment.txt")), *map(_raw, _RAW.strip().split(","))]
