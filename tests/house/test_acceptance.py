"""docs/acceptance.md says what the tests say."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_acceptance_page_is_current():
    done = subprocess.run([sys.executable, "dev/acceptance.py", "--check"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_reference_page_is_current():
    """S-E3, S-A4: the documented help, knobs and gates are what the program prints."""
    done = subprocess.run([sys.executable, "dev/reference.py", "--check"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
