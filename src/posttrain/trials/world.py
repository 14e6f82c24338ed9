"""A little world for trials: problems whose answer is a digit, 1 in seven cases of ten, solved briefly or at length."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

DOMAINS = ("algebra", "geometry")
PROBLEMS = 1_600
"""Of each domain; a twentieth of them lie on the validation side."""
COUNTING = "; ".join(f"{n}+1={n + 1}" for n in range(1, 5))
"""What a solution at length does before it answers; some 35 tokens."""


def write(path: Path) -> None:
    """The world as a JSONL file; what is there already stays if it is the same."""
    text = "".join(json.dumps(row) + "\n" for row in _rows())
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def _rows() -> Iterator[dict[str, str]]:
    for domain in DOMAINS:
        for number in range(PROBLEMS):
            drawn = hashlib.sha256(f"{domain} {number}".encode()).digest()
            answer = "1" if drawn[0] < 179 else str(2 + drawn[1] % 3)
            way = f"{COUNTING}; " if drawn[2] % 2 else ""
            solution = f"{way}it is \\boxed{{{answer}}}"
            yield {"prompt": f"Guess {domain} {number}.", "answer": answer, "solution": solution, "domain": domain}
