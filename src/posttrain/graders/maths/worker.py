"""The process that may hang: compares two formulas by math-verify and sympy. Run as a script, never imported.

    python -P worker.py MEMORY_BYTES

A keeper imports the libraries once and forks a child that does the work. It speaks JSON lines: `{gold, given, seconds}`
in, `{outcome}` out: `equal different unparsable exhausted`. A child that passes its time or memory is killed, and the
next one is forked in milliseconds. The keeper itself reads no formula, so nothing in one can stop it. It ends when its
input closes or its parent is gone; a child ends when its keeper is gone, or at its own alarm.
"""

import json
import logging
import os
import re
import resource
import select
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

FRESH = 500
"""Requests after which a child is replaced, so that caches stay small."""

WARMING = (("x^2-1", "(x-1)(x+1)"), (r"\sin^2 x+\frac{\sqrt{2}}{3}", r"\frac{\sqrt{2}}{3}-\cos^2 x+1"), ("x=2", "2<x"))
"""Compared before any child is forked: sympy imports parts of itself, and evaluates texts of its own, at first use."""

FAILED = 3
"""Exit code of a child that the libraries failed on a pair, by an error that is none of those we expect."""

LOOK_S = 0.02
"""How often the memory of a busy child is looked at."""


def main() -> None:
    """Answer requests until the input closes."""
    memory = int(sys.argv[1])
    parent = os.getppid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.disable(logging.CRITICAL)
    compare = _comparison()
    for pair in WARMING:
        compare(*pair)
    _never_evaluate()
    child = Child(compare, memory)
    _reply(1, {"outcome": "ready"})
    while os.getppid() == parent:
        if not select.select([0], [], [], 1.0)[0]:
            continue
        request = sys.stdin.buffer.readline()
        if not request:
            break
        asked = json.loads(request)
        if child.served >= FRESH:
            child.end()
        if child.pid == 0:
            child = Child(compare, memory)
        _reply(1, {"outcome": child.ask(request, asked["seconds"])})
        if child.pid == 0:
            child = Child(compare, memory)
    if child.pid:
        child.end()


class Child:
    """A forked process that compares one pair at a time."""

    def __init__(self, compare: Any, memory: int) -> None:
        """Fork it."""
        self.memory, self.served = memory, 0
        asks, self.asked = os.pipe()
        self.answer, answers = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            for end in (0, 1, self.asked, self.answer):
                os.close(end)
            _work(compare, asks, answers, memory)
        os.close(asks)
        os.close(answers)

    def ask(self, request: bytes, seconds: float) -> str:
        """Its verdict; where it took too long or too much, or fell over the formulas, it is then gone."""
        self.served += 1
        os.write(self.asked, request)
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if select.select([self.answer], [], [], min(left, LOOK_S))[0]:
                told = os.read(self.answer, 64).decode()
                return told.strip() or ("unparsable" if self.end() == FAILED else "exhausted")
            if _resident(self.pid) > self.memory:
                break
        self.end()
        return "exhausted"

    def end(self) -> int:
        """Make sure that it is gone, and close its pipes: its exit code, or minus the signal that ended it."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        status = os.waitpid(self.pid, 0)[1]
        os.close(self.asked)
        os.close(self.answer)
        self.pid = 0
        return os.waitstatus_to_exitcode(status)


def _work(compare: Any, asks: int, answers: int, memory: int) -> None:
    """The child: no new files, processes or cores; its own alarm ends it should the keeper be gone."""
    for limit, most in (
        (resource.RLIMIT_AS, 2 * memory + (1 << 29)),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        with suppress(ValueError, OSError):  # a system that knows no such limit; the keeper looks at memory itself
            resource.setrlimit(limit, (most, most))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    code = FAILED
    try:
        with os.fdopen(asks, "rb") as requests:
            for request in requests:
                asked = json.loads(request)
                signal.setitimer(signal.ITIMER_REAL, 2 * asked["seconds"])
                outcome = compare(asked["gold"], asked["given"])
                signal.setitimer(signal.ITIMER_REAL, 0)
                os.write(answers, outcome.encode() + b"\n")
        code = 0
    finally:
        os._exit(code)


def _comparison() -> Any:
    """math-verify with its own time-outs off (they are signals that a verdict swallows) and its text readers unused."""
    import math_verify
    from sympy import SympifyError
    from sympy.core.basic import Basic
    from sympy.matrices import MatrixBase

    latex = (math_verify.LatexExtractionConfig(boxed_match_priority=0),)
    refused = (ValueError, TypeError, AttributeError, ArithmeticError, LookupError, NotImplementedError, SympifyError)

    def read(text: str) -> list[Any]:
        found = math_verify.parse(f"${text}$", latex, fallback_mode="no_fallback", parsing_timeout=0)
        return [item for item in found if isinstance(item, Basic | MatrixBase)]

    def compare(gold: str, given: str) -> str:
        try:
            wanted, told = read(gold), read(given)
            if not wanted or not told:
                return "unparsable"
            equal = math_verify.verify(
                wanted, told, float_rounding=12, timeout_seconds=0, raise_on_error=True, strict=True
            ) or _scaled(wanted[0], told[0])
        except (MemoryError, RecursionError):
            return "exhausted"
        except refused:
            return "unparsable"
        return "equal" if equal else "different"

    return compare


def _scaled(gold: Any, given: Any) -> bool:
    """Whether two equations differ by a factor alone that is a number: x = 2 is 3x = 6."""
    from sympy import Eq, simplify

    if not (isinstance(gold, Eq) and isinstance(given, Eq)):
        return False
    sides: list[Any] = [gold.lhs, gold.rhs, given.lhs, given.rhs]
    factor = simplify((sides[0] - sides[1]) / (sides[2] - sides[3]))
    return bool(factor.is_number and factor.is_finite and factor.is_nonzero)


def _never_evaluate() -> None:
    """Close sympy's door from text to code: of a text that would be evaluated, a number alone is read, by pattern."""
    import sympy
    from sympy.parsing import sympy_parser

    def literal(code: str, *_: object) -> Any:
        match = _LITERAL.fullmatch(code.strip())
        if match is None:
            raise ValueError("text is not evaluated here")
        return sympy.Integer(int(match["digits"])) if match["digits"] else sympy.Float(match["decimal"])

    sympy_parser.eval_expr = literal


_LITERAL = re.compile(r"Integer \((?P<digits>\d+) ?\)|Float \('(?P<decimal>[\d.]+)' ?\)", re.ASCII)
"""What sympy makes of a text of digits before it would evaluate it."""


def _resident(pid: int) -> int:
    """Bytes of memory a process holds; 0 where the system does not say."""
    try:
        pages = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]
    except (OSError, IndexError):
        return 0
    return int(pages) * resource.getpagesize()


def _reply(descriptor: int, said: dict[str, str]) -> None:
    os.write(descriptor, json.dumps(said).encode() + b"\n")


if __name__ == "__main__":
    main()
