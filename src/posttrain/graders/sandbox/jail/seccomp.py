"""Which system calls a program may make: an allow-list, assembled to the BPF that the kernel runs. x86-64.

What is not allowed fails with EPERM; a 32-bit or x32 entry ends the process.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

_LOAD, _AND, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_EPERM, _ENOSYS = 1, 38
_NUMBER, _ARCH, _ARGUMENTS = 0, 4, 16
_X86_64, _X32 = 0xC000003E, 0x40000000

OWN_PID = 0x7FFFFF01
"""Stands for the process id of whoever installs the filter; `kernel.Filter` puts the real one in."""


@dataclass(frozen=True)
class Where:
    """A condition on the low 32 bits of an argument, and on the high ones being 0 where `wide`."""

    argument: int
    values: tuple[int, ...]
    mask: int = 0xFFFFFFFF
    wide: bool = False


Step = tuple[int, int, int, int]
"""Code, jump if true, jump if false, constant."""


def assemble(free: Sequence[int], checked: Sequence[tuple[int, Sequence[Where]]], absent: Sequence[int] = ()) -> bytes:
    """An allow-list: `free` calls pass, `checked` ones where every condition holds, `absent` ones do not exist."""
    steps = [*_ENTRY]
    for number in free:
        steps += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ALLOW)]
    for number in absent:
        steps += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ERRNO | _ENOSYS)]
    return _packed([*steps, *_checks(checked), (_RETURN, 0, 0, _ERRNO | _EPERM)])


def assemble_narrower(denied: Sequence[int], checked: Sequence[tuple[int, Sequence[Where]]]) -> bytes:
    """What an earlier filter passes, less the `denied` calls, and the `checked` ones only where all conditions hold."""
    steps = [*_ENTRY]
    for number in denied:
        steps += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ERRNO | _EPERM)]
    return _packed([*steps, *_checks(checked), (_RETURN, 0, 0, _ALLOW)])


_ENTRY: list[Step] = [
    (_LOAD, 0, 0, _ARCH),
    (_EQUAL, 1, 0, _X86_64),
    (_RETURN, 0, 0, _KILL),
    (_LOAD, 0, 0, _NUMBER),
    (_AT_LEAST, 0, 1, _X32),
    (_RETURN, 0, 0, _KILL),
]


def _packed(steps: Sequence[Step]) -> bytes:
    return b"".join(struct.pack("=HBBI", *step) for step in steps)


def _checks(checked: Sequence[tuple[int, Sequence[Where]]]) -> list[Step]:
    steps: list[Step] = []
    for number, conditions in checked:
        body = _conditions(conditions)
        steps += [(_EQUAL, 0, len(body), number), *body]
    return steps


def _conditions(conditions: Sequence[Where]) -> list[Step]:
    """Each condition as a run of steps that falls through where it holds; the last two steps allow and refuse."""
    parts: list[list[Step]] = []
    for where in conditions:
        low = _ARGUMENTS + 8 * where.argument
        part: list[Step] = [(_LOAD, 0, 0, low + 4), (_EQUAL, 0, -1, 0)] if where.wide else []
        part.append((_LOAD, 0, 0, low))
        if where.mask != 0xFFFFFFFF:
            part.append((_AND, 0, 0, where.mask))
        last = len(where.values) - 1
        part += [(_EQUAL, last - at, 0 if at < last else -1, value) for at, value in enumerate(where.values)]
        parts.append(part)
    flat = [step for part in parts for step in part]
    refuse = len(flat) + 1
    body = [(code, yes, refuse - at - 1 if no < 0 else no, value) for at, (code, yes, no, value) in enumerate(flat)]
    return [*body, (_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _ERRNO | _EPERM)]


_FREE = """
    read 0 write 1 close 3 fstat 5 poll 7 lseek 8 munmap 11 brk 12 rt_sigaction 13 rt_sigprocmask 14 rt_sigreturn 15
    pread64 17 pwrite64 18 readv 19 writev 20 pipe 22 select 23 sched_yield 24 mremap 25 dup 32 dup2 33 dup3 292
    pause 34 nanosleep 35 getitimer 36 alarm 37 setitimer 38 getpid 39 recvfrom 45 exit 60 uname 63 ftruncate 77
    getcwd 79 gettimeofday 96 getrlimit 97 getrusage 98 times 100 getuid 102 getgid 104 geteuid 107 getegid 108
    getppid 110 getpgrp 111 sigaltstack 131 gettid 186 time 201 futex 202 sched_getaffinity 204 getdents64 217
    clock_gettime 228 clock_getres 229 clock_nanosleep 230 exit_group 231 epoll_wait 232 epoll_ctl 233 tgkill 234
    pselect6 270 ppoll 271 set_robust_list 273 epoll_pwait 281 epoll_create1 291 getrandom 318 rseq 334
"""
"""Calls that reach nothing beyond the process and what it has open."""

_ONLY_THE_SERVER = "sendmsg 46 recvmsg 47 wait4 61 prctl 157 seccomp 317 pidfd_open 434 close_range 436"

_THREAD = 0x3D0F00
"""The flags with which the C library starts a thread; a process of its own never has them."""
_PROCESS = 0x1200011
_WRITING = 0x1 | 0x2 | 0x40 | 0x200 | 0x400 | 0x410000
"""Flags of openat: WRONLY RDWR CREAT TRUNC APPEND TMPFILE."""
_NONBLOCKING = 0x80800
"""SOCK_NONBLOCK SOCK_CLOEXEC, O_NONBLOCK O_CLOEXEC, EFD_NONBLOCK EFD_CLOEXEC."""
_STREAM, _SEQPACKET = 1, 5


def server_policy(*, opens: bool) -> bytes:
    """What the server may do, and with `program_policy` on top what a program may.

    Paths can be opened for reading where `opens`, not asked about: stat and its kin stay closed.
    """
    checked: list[tuple[int, Sequence[Where]]] = [
        (9, [Where(2, (0,), mask=4)]),  # mmap, mprotect: nothing executable
        (10, [Where(2, (0,), mask=4)]),
        (16, [Where(1, (0x5401, 0x5421, 0x541B, 0x5450, 0x5451))]),  # ioctl: TCGETS FIONBIO FIONREAD FIONCLEX FIOCLEX
        (28, [Where(2, (4, 8, 14, 15))]),  # madvise: DONTNEED FREE HUGEPAGE NOHUGEPAGE
        (44, [Where(4, (0,), wide=True)]),  # sendto: to the connected peer
        (53, [Where(0, (1,)), Where(1, (_STREAM, _SEQPACKET), mask=_but(_NONBLOCKING))]),  # socketpair: AF_UNIX
        (56, [Where(0, (_THREAD, _PROCESS), mask=_but(0x400000), wide=True)]),  # clone
        (72, [Where(1, (0, 1, 2, 3, 4, 1030, 1033))]),  # fcntl: DUPFD GETFD SETFD GETFL SETFL DUPFD_CLOEXEC ADD_SEALS
        (290, [Where(1, (0,), mask=_but(_NONBLOCKING | 1))]),  # eventfd2
        (293, [Where(1, (0,), mask=_but(_NONBLOCKING))]),  # pipe2: no O_DIRECT, no notification pipe
    ]
    if opens:
        checked.append((257, [Where(2, (0,), mask=_WRITING)]))  # openat
    free = [*_numbers(_FREE), *_numbers(_ONLY_THE_SERVER), 62, 302]  # kill, prlimit64
    # clone3 keeps its flags in memory, where a filter cannot look: without it the C library takes clone.
    return assemble(free, checked, absent=(435,))


def program_policy(*, threads: bool) -> bytes:
    """What a program may not do of what its server may."""
    checked: list[tuple[int, Sequence[Where]]] = [
        (62, [Where(0, (OWN_PID,))]),  # kill, tgkill: oneself
        (234, [Where(0, (OWN_PID,))]),
        (53, [Where(1, (_STREAM,), mask=_but(_NONBLOCKING))]),
        (302, [Where(0, (0, OWN_PID)), Where(2, (0,), wide=True)]),  # prlimit64: read one's own
    ]
    if threads:
        checked.append((56, [Where(0, (_THREAD,), mask=_but(0x400000))]))
    denied = _numbers(_ONLY_THE_SERVER)
    return assemble_narrower(denied if threads else [*denied, 56], checked)


def _numbers(calls: str) -> list[int]:
    return [int(number) for number in calls.split()[1::2]]


def _but(bits: int) -> int:
    return ~bits & 0xFFFFFFFF
