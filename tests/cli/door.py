"""The real command line in this process: the real parser, the real exit codes, what was said on each stream."""

import contextlib
import io
import sys
from dataclasses import dataclass

from posttrain.cli.main import main


@dataclass(frozen=True)
class Said:
    """How a command ended."""

    code: int
    out: str
    err: str


def posttrain(*arguments: object) -> Said:
    """Run `posttrain ARGUMENTS`."""
    out, err, before = io.StringIO(), io.StringIO(), sys.argv
    sys.argv = ["posttrain", *map(str, arguments)]
    code: object = 0
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
    except SystemExit as ended:
        code = ended.code or 0
    finally:
        sys.argv = before
    assert isinstance(code, int), code
    return Said(code, out.getvalue(), err.getvalue())
