"""Our maths grader beside math-verify alone, in verdicts per second.

    python bench/grading.py [--rounds 5] [--each 200] [--data FOLDER]

Two kinds of responses. `school`: answers to GSM8K's test side (made-up ones of the same form where the file is absent),
the solution as text with the final answer in a box, half of them wrong, some as decimals, with thousands or with units.
`college`: golds of college mathematics beside themselves spaced otherwise and beside another gold; formulas, so that
algebra is needed more often. The arms take turns on the same responses; a turn is one process on one core, and ours may
ask its two worker processes. What the arms say is compared too.
"""

import argparse
import json
import logging
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from math_verify import parse, verify

from posttrain.graders.answers import box
from posttrain.graders.maths import grade, symbolic

DATA = Path(__file__).parents[2] / "shared" / "data"
Arm = Callable[["Item"], str]


@dataclass(frozen=True)
class Item:
    """A response and the gold it is graded by."""

    answer: str
    response: str
    prompt: str = ""


def school(draw: random.Random, folder: Path) -> list[Item]:
    """GSM8K-style responses."""
    path = folder / "gsm8k_test.jsonl"
    if path.is_file():
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        told = [(row["question"], *map(str.strip, row["answer"].rpartition("####")[::2])) for row in rows]
    else:
        told = [(f"How many eggs are {n} eggs?", f"There are {n} eggs. " * 6, str(n)) for n in range(1, 1300)]
    return [Item(gold, f"{body}\nThe answer is {box(_written(gold, draw))}.", asked) for asked, body, gold in told]


def _written(gold: str, draw: random.Random) -> str:
    """The gold in one of the ways a model writes it, or another number."""
    value = int(gold.replace(",", ""))
    value += draw.choice((0, 0, 0, 0, 1, -1, 10, 100))
    return draw.choice(
        (f"{value}", f"{value}", f"{value:,}", f"{value}.00", f"\\${value}", f"{value} \\text{{ dollars}}")
    )


def college(draw: random.Random, folder: Path) -> list[Item]:
    """Formulas beside themselves in other spacing, and beside others."""
    path = folder / "college_math.jsonl"
    if not path.is_file():
        return []
    golds = [json.loads(line)["answer"] for line in path.read_text(encoding="utf-8").splitlines()]
    golds = [gold for gold in golds if len(gold) < 80 and "\\text" not in gold]
    other = draw.sample(golds, len(golds))
    ways = [(gold.replace(" ", ""), gold.replace("+", " + "), b) for gold, b in zip(golds, other, strict=True)]
    return [Item(gold, box(draw.choice(written).strip("$"))) for gold, written in zip(golds, ways, strict=True)]


def ours(item: Item) -> str:
    """The grader of this repository."""
    return grade(item, item.response).outcome


def theirs(item: Item) -> str:
    """math-verify as its documentation uses it, extraction and time-outs its own."""
    gold, given = parse(f"${item.answer.strip('$')}$"), parse(item.response)
    return "right" if verify(gold, given) else "wrong"


def rates(items: Sequence[Item], each: int) -> dict[str, list[float]]:
    """Verdicts per second of each arm, a number a round; prints where they disagree."""
    found: dict[str, list[float]] = {"math-verify": [], "posttrain": []}
    said: dict[str, list[str]] = {"math-verify": [], "posttrain": []}
    for start in range(0, len(items), each):
        turn = items[start : start + each]
        for name, arm in (("math-verify", theirs), ("posttrain", ours)):
            before = time.perf_counter()
            said[name] += [arm(item) for item in turn]
            found[name].append(len(turn) / (time.perf_counter() - before))
    both = Counter((a == "right", b == "right") for a, b in zip(said["math-verify"], said["posttrain"], strict=True))
    print(
        f"  agree on {both[True, True] + both[False, False]} of {len(items)};"
        f" right for math-verify alone {both[True, False]}, for ours alone {both[False, True]};"
        f" ours undecided {said['posttrain'].count('timeout')}"
    )
    return found


def main() -> None:
    """Print both rates, their spread over rounds, and the ratio of their means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--each", type=int, default=200, help="responses of one round")
    parser.add_argument("--data", type=Path, default=DATA)
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    symbolic.equal("x+1", "1+x")
    print(f"load before: {os.getloadavg()[0]:.2f}")
    for name, make in (("school", school), ("college", college)):
        draw = random.Random(0)
        items = make(draw, options.data)
        if not items:
            print(f"{name}: its file is not in {options.data}")
            continue
        draw.shuffle(items)
        print(f"{name}: {options.rounds} rounds of {options.each} responses")
        told = rates(items[: options.rounds * options.each], options.each)
        means = {arm: len(values) / sum(1 / value for value in values) for arm, values in told.items()}
        for arm, values in told.items():
            print(f"  {arm:12} {means[arm]:8.0f} verdicts/s   rounds {min(values):.0f} to {max(values):.0f}")
        print(f"  x{means['posttrain'] / means['math-verify']:.1f}")


if __name__ == "__main__":
    main()
