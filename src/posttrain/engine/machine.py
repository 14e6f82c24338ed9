"""What this machine has: cores, memory, accelerators, as far as this process may use them."""

import importlib.metadata
import os
import platform
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import pairwise
from pathlib import Path, PurePosixPath

GROUPS = Path("/sys/fs/cgroup")
"""Where Linux keeps control groups."""

OWN_GROUP = Path("/proc/self/cgroup")
THREADS = tuple(f"{library}_NUM_THREADS" for library in ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "RAYON"))
"""Variables by which libraries are told how many threads they may use."""
NVIDIA = ("/dev/nvidia[0-9]*", "/dev/dxg", "/dev/nvhost-gpu")
"""Device files that stand for a GPU torch could use."""


def cores(own: Path = OWN_GROUP, groups: Path = GROUPS) -> int:
    """Whole cores this process may use: its affinity, less where a control group allows less; at least one."""
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for folder in _folders(own, groups, "cpu"):
        quota, period = [*_words(folder / "cpu.max"), "", ""][:2]
        if not quota:
            quota, period = _first(folder / "cpu.cfs_quota_us"), _first(folder / "cpu.cfs_period_us")
        if quota.isdigit() and period.isdigit() and int(period):
            found = min(found, int(quota) // int(period))
    return max(1, found)


def memory(own: Path = OWN_GROUP, groups: Path = GROUPS) -> int:
    """Bytes of memory that all processes together may hold: the machine's, less where a control group allows less."""
    found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for folder in _folders(own, groups, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            limit = _first(folder / name)
            if limit.isdigit():
                found = min(found, int(limit))
    return found


def kills(own: Path = OWN_GROUP, groups: Path = GROUPS, machine: Path = Path("/proc/vmstat")) -> int:
    """How often the system has killed a process for want of memory, as far as it tells; only a rise means something."""
    files = [machine]
    for folder in _folders(own, groups, "memory"):
        files += [folder / "memory.events", folder / "memory.oom_control"]
    pairs = [pair for file in files for pair in pairwise(_words(file))]
    return sum(int(count) for name, count in pairs if name == "oom_kill")


def accelerator(device: str, environ: Mapping[str, str] | None = None) -> str:
    """The accelerator that the resource `device` names on this machine, torch not asked; empty for the processor."""
    if device == "auto":
        device = "cuda" if _has_cuda(os.environ if environ is None else environ) else "cpu"
    return {"cpu": "", "cuda": "cuda:0"}.get(device, device)


CPU_INFO = Path("/proc/cpuinfo")
"""Where Linux describes its processors."""
BF16 = ("avx512_bf16", "amx_bf16")
"""Flags of a processor that multiplies in bf16 itself."""


def processor(told: Path = CPU_INFO) -> str:
    """The processor's name; empty where the system does not tell it."""
    return _told_of_processor("model name", told) if told.exists() else platform.processor()


def bf16(told: Path = CPU_INFO) -> tuple[str, ...]:
    """The flags by which the processor says that its products in bf16 are fast; empty where there are none."""
    flags = _told_of_processor("flags", told).split()
    return tuple(flag for flag in BF16 if flag in flags)


@cache
def _told_of_processor(name: str, told: Path) -> str:
    return next((line.partition(":")[2].strip() for line in _lines(told) if line.startswith(name)), "")


def gpus() -> tuple[str, ...]:
    """The device files here that stand for a GPU torch could use, whether or not its build can."""
    return tuple(sorted(str(path) for pattern in NVIDIA for path in Path("/").glob(pattern[1:])))


def _has_cuda(environ: Mapping[str, str]) -> bool:
    if environ.get("CUDA_VISIBLE_DEVICES", "0") in ("", "-1") or importlib.metadata.version("torch").endswith("+cpu"):
        return False
    return bool(gpus())


def _folders(own: Path, groups: Path, controller: str) -> Iterator[Path]:
    """The folders of this process's control group and of all above it, of either version of control groups."""
    for line in _lines(own):
        _, names, place = [*line.split(":", 2), "", ""][:3]
        if names and controller not in names.split(","):
            continue
        root = groups / controller if names else groups
        inside = PurePosixPath(place.lstrip("/"))
        for part in (inside, *inside.parents):
            yield root / part


def _first(path: Path) -> str:
    return next(iter(_words(path)), "")


def _words(path: Path) -> list[str]:
    return [word for line in _lines(path) for word in line.split()]


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def amount(value: float) -> str:
    """Bytes as people write them: `312 B`, `4.1 KiB`, `1.2 GiB`; whole numbers whole."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if value == int(value) else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"
