"""Programs that are right, written as people and models write them; each must pass."""

from dataclasses import dataclass

from graders.attacks import book
from posttrain.graders.sandbox.cases import Rule, Stdin, Tests, split


@dataclass(frozen=True)
class Honest:
    """A right program and its tests."""

    name: str
    source: str
    tests: Tests
    tier: str


def _honest(entry: book.Entry) -> Honest:
    rule = Rule(float(entry.fields.get("tolerance", 0)), "sequences" in entry.fields)
    if "stdin" in entry.fields:
        tests: Tests = Stdin(tuple(zip(entry.titled("input"), entry.titled("output"), strict=True)), rule)
    else:
        tests = split(entry.titled("tests")[0], "f", rule)
    return Honest(entry.name, entry.parts[0][1], tests, entry.fields.get("tier", "lean"))


HONEST = [_honest(entry) for entry in book.read("honest.txt")]
