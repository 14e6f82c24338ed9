"""docs/acceptance.md says what the tests say."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_acceptance_page_is_current():
    done = subprocess.run([sys.executable, "dev/acceptance.py", "--check"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
