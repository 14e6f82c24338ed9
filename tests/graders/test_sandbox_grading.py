"""A grade cannot be had but by being right, and being right is enough."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from graders.attacks.grading import HACKS, JUDGE, RIGHT, RIGHT_STDIN, STDIN, VALUES
from graders.attacks.honest import HONEST
from posttrain.graders.sandbox.pool import Limits, Pool
from posttrain.graders.sandbox.verdict import OUTCOMES, Submission, judge

TESTS = {"values": VALUES, "judge": JUDGE, "stdin": STDIN}
TRIES = [(hack, mode) for hack in HACKS for mode in hack.modes]


@pytest.fixture(scope="module", params=["L3", "L2", "L1"])
def jail(request) -> Iterator[Pool]:
    with Pool(request.param) as pool:
        yield pool


@pytest.mark.parametrize(("hack", "mode"), TRIES, ids=lambda value: getattr(value, "name", value))
def test_no_hack_passes(jail, hack, mode):
    (verdict,) = judge(jail, [Submission(hack.source, TESTS[mode], limits=Limits(cpu=2, wall=0.5))])
    assert verdict.outcome in hack.outcomes, verdict
    assert verdict.outcome != "pass" and verdict.passed < verdict.total


@pytest.mark.parametrize("honest", HONEST, ids=lambda honest: honest.name)
def test_no_honest_program_is_punished(jail, honest):
    (verdict,) = judge(jail, [Submission(honest.source, honest.tests, tier=honest.tier)])
    assert verdict.outcome == "pass", verdict
    assert verdict.passed == verdict.total


def test_what_is_right_passes_where_the_hacks_fail(jail):
    sources = {"values": RIGHT, "judge": RIGHT, "stdin": RIGHT_STDIN}
    verdicts = judge(jail, [Submission(sources[mode], tests) for mode, tests in TESTS.items()])
    assert [verdict.outcome for verdict in verdicts] == ["pass"] * 3


def test_hacks_pay_where_an_exit_code_decides():
    """The usual runner, program and assertions in one process, pays for what pays nothing here."""
    asserts = "\nassert square(3) == 9\nassert square(12) == 144\n"
    paid = [
        hack.name
        for hack in HACKS[:20]
        if subprocess.run([sys.executable, "-c", hack.source + asserts], capture_output=True).returncode == 0
    ]
    assert len(paid) >= 6, paid


def test_there_are_enough():
    assert len(HACKS) >= 30 and len({hack.name for hack in HACKS}) == len(HACKS)
    assert len(HONEST) >= 25
    assert all(set(hack.outcomes) <= set(OUTCOMES) - {"pass", "sandbox_error"} for hack in HACKS)
