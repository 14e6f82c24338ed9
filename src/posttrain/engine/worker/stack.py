"""Where a process stands, in one line: the innermost frames of a traceback, or of a dump of faulthandler in a log."""

import re
import sysconfig
import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePath

INNERMOST, OURS = 2, 3
"""Frames told: so many from the inside, then so many that are no library's, which say what the work was."""

_LIBRARIES = ("<", *{sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})
_FRAME = re.compile(r'^  File "(?P<file>[^"]+)", line (?P<line>\d+) in (?P<name>.+)$')
_THREAD = re.compile(r"^(?P<which>Current thread|Thread) 0x[0-9a-f]+ .*most recent call first.*$", re.MULTILINE)


@dataclass(frozen=True)
class Frame:
    """One call on a stack."""

    file: str
    line: int
    name: str

    @property
    def inside(self) -> str:
        """Its file within this package; empty for a file of anybody else's."""
        _, found, within = self.file.rpartition("/posttrain/")
        return within if found else ""

    @property
    def library(self) -> bool:
        """Whether it is a library's, Python's own included: neither this package nor a file of the user's."""
        return not self.inside and self.file.startswith(_LIBRARIES)

    def __str__(self) -> str:
        """As an error names it: `stages/sft.py:12 run`."""
        return f"{self.inside or '/'.join(PurePath(self.file).parts[-2:])}:{self.line} {self.name}"


def standing(frames: Iterable[Frame]) -> str:
    """Frames, innermost first, as `stages/sft.py:12 run ← engine/work.py:84 work_node`."""
    told = [frame for frame in frames if not frame.inside.startswith("engine/worker/")]
    inner, outer = told[:INNERMOST], told[INNERMOST:]
    return " ← ".join(map(str, [*inner, *([frame for frame in outer if not frame.library] or outer)[:OURS]]))


def of_error(error: BaseException) -> str:
    """Where an error was raised; empty where it has no traceback."""
    calls = traceback.extract_tb(error.__traceback__)
    return standing(Frame(call.filename, call.lineno or 0, call.name) for call in reversed(calls))


def of_dump(text: str) -> str:
    """Where the thread that took the signal stands, by the last dump of faulthandler in a text; empty without one."""
    threads = list(_THREAD.finditer(text))
    current = [thread for thread in threads if thread["which"] == "Current thread"] or threads
    frames: list[Frame] = []
    for line in text[current[-1].end() + 1 :].splitlines() if current else ():
        call = _FRAME.match(line)
        if call is None:
            break
        frames.append(Frame(call["file"], int(call["line"]), call["name"]))
    return standing(frames)
