"""A little world for trials: problems whose answer is a digit, 1 in seven cases of ten, solved briefly or at length.

A problem of maths is answered in a box, one of code by a program that returns the digit and is run to be graded.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

DOMAINS = ("algebra", "geometry", "code")
SIDES: Mapping[str, int] = {"train": 256, "val": 64, "probe": 48, "test": 24}
"""Problems of each domain on each side."""
COUNTING = "; ".join(f"{n}+1={n + 1}" for n in range(1, 5))
"""What a solution at length does before it answers; some 35 tokens."""


def write(folder: Path) -> None:
    """The world as files that `prepare` adopts, `DOMAIN_SIDE.jsonl`; what is there already stays if it is the same."""
    folder.mkdir(parents=True, exist_ok=True)
    for domain in DOMAINS:
        numbers = iter(range(sum(SIDES.values())))
        for side, size in SIDES.items():
            text = "".join(json.dumps(_problem(domain, next(numbers))) + "\n" for _ in range(size))
            path = folder / f"{domain}_{side}.jsonl"
            if not path.is_file() or path.read_text(encoding="utf-8") != text:
                path.write_text(text, encoding="utf-8")


def program(digit: str) -> str:
    """A program that returns a digit."""
    return f"def f(): return {digit}"


def tested(digit: str, reference: str) -> str:
    """The answer of a code problem: tests that want this digit, and the program that is said to pass them."""
    stated = {"entry": "f", "reference": reference, "tests": f"assert f() == {digit}"}
    return json.dumps(stated, sort_keys=True, separators=(",", ":"))


def _problem(domain: str, number: int) -> Mapping[str, Any]:
    drawn = hashlib.sha256(f"{domain} {number}".encode()).digest()
    digit, at_length = "1" if drawn[0] < 179 else str(2 + drawn[1] % 3), bool(drawn[2] % 2)
    if domain == "code":
        way, answer, end = f"# {COUNTING}\n", tested(digit, program(digit)), program(digit)
    else:
        way, answer, end = f"{COUNTING}; ", digit, f"it is \\boxed{{{digit}}}"
    solution = {"style": "worked" if at_length else "terse", "text": f"{way}{end}" if at_length else end}
    return {
        "prompt": f"Guess {domain} {number}.",
        "answer": answer,
        "answer_type": "code" if domain == "code" else "maths",
        "solutions": [solution],
    }
