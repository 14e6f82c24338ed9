"""Memory that ran out: the limit inside a process, and one paragraph for every way in which memory ends work."""

import errno
import resource
from pathlib import Path

from posttrain.engine import machine
from posttrain.engine.machine import amount
from posttrain.engine.worker import stack
from posttrain.spec.errors import StageFailed

STATUS = Path("/proc/self/status")
TAIL = 4096
"""Bytes at the end of a log that are searched."""

_ALLOCATOR = ("can't allocate memory", "not enough memory", "out of memory", "std::bad_alloc")
"""What torch and C++ say of an allocation that was refused, in lower case."""
_ABORTS = (*_ALLOCATOR, "cannot allocate memory", "thread creation failed", "can't start new thread")
"""What a library writes before it ends the whole process for want of memory."""
_MOST = (1 << 63) - 1
"""What a limit can be told as."""
REMEDY = (
    "Give it more (`resources.memory`), run fewer nodes beside it (--jobs), or make it need less: smaller batches, "
    "shorter texts, a smaller model. Then give the same command: what is finished is kept, and it goes on from its "
    "last checkpoint."
)


def cap(limit: int) -> None:
    """Refuse this process private memory beyond a limit, so that an allocation fails where it is made (Linux).

    What the fork resides in already counts. Address space counts whether it is touched or not, a thread's stack with
    8 MiB: so this comes before anybody outside sees the limit passed. Not for a process that drives an accelerator:
    drivers reserve far more address space than they use.
    """
    status = _status()
    if "VmData" not in status:
        return
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    soft = min(status["VmData"] + max(0, limit - status["VmRSS"]), _MOST)
    resource.setrlimit(resource.RLIMIT_DATA, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


def lift() -> None:
    """Take the limit away: what is left to do is to say what happened."""
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))


def refused(error: BaseException) -> bool:
    """Whether an error, or one that led to it, is an allocation that was refused."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        text = str(cause).lower()
        if isinstance(cause, MemoryError) or (isinstance(cause, OSError) and cause.errno == errno.ENOMEM):
            return True
        if isinstance(cause, RuntimeError) and any(words in text for words in (*_ALLOCATOR, "start new thread")):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def of_error(error: BaseException, limit: int | None) -> StageFailed:
    """The paragraph of an allocation that was refused in this process."""
    first = str(error).strip().partition("\n")[0][:300]
    if limit is None and "start new thread" in first:
        remedy = "Look for a program that starts very many, or raise the limit (ulimit -u, pids.max); then go on."
        return StageFailed("no thread can be started: the system has no more of them or no memory.", remedy=remedy)
    held = _status().get("VmRSS")
    return told(f"an allocation was refused{f' ({first})' if first else ''}", held, limit, stack.of_error(error))


def aborted(log: Path) -> bool:
    """Whether a library wrote, last of all in this attempt, that memory ran out."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - TAIL))
            text = file.read().decode(errors="replace").lower()
    except OSError:
        return False
    return any(words in text.rpartition("\n== ")[2] for words in _ABORTS)


def told(how: str, held: int | None, limit: int | None, standing: str) -> StageFailed:
    """The one paragraph: how it ended, what was held, the limit, where it stood, what to do."""
    parts = [f"memory ran out: {how}."]
    if held is not None:
        parts.append(f"It held {amount(held)};")
    whole = amount(machine.memory())
    parts.append(
        f"its limit (`resources.memory`) is {amount(limit)} and the machine has {whole}."
        if limit
        else f"no `resources.memory` limits it and the machine has {whole}."
    )
    if standing:
        parts.append(f"It stood in {standing}.")
    return StageFailed(" ".join(parts), remedy=REMEDY)


def _status() -> dict[str, int]:
    """The sizes in bytes that Linux tells of this process; empty elsewhere."""
    try:
        lines = STATUS.read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    words = [line.split() for line in lines if line.endswith(" kB")]
    return {name.rstrip(":"): int(size) * 1024 for name, size, _ in words}
