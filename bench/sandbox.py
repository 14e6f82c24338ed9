"""Our sandbox beside what people run model-written programs with, in CPU-milliseconds per program.

    python bench/sandbox.py [--runs 200] [--level L3]

Arms, none of the peers confined: `subprocess.run([python, "-c", program])`, and a HumanEval-style runner (a
multiprocessing child per program that executes program and assertions under a guard of patched functions). CPU is that
of this process and of every child after it was reaped, start of the servers left out; it holds under load, wall time
does not. The arms take turns, a block of programs each.
"""

import argparse
import contextlib
import io
import multiprocessing
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable

from posttrain.graders.sandbox.cases import Calls, Case
from posttrain.graders.sandbox.pool import Job, Pool
from posttrain.graders.sandbox.verdict import Submission, judge

TRIVIAL = "print(sum(range(10)))"
FUNCTION = "def f(n):\n    return n * n + 1\n"
ASSERTS = FUNCTION + "".join(f"assert f({n}) == {n * n + 1}\n" for n in range(50))
NUMPY = "import numpy as np\nprint(int(np.arange(12).reshape(3, 4).sum()))"
SYMPY = "import sympy\nx = sympy.Symbol('x')\nprint(sympy.expand((x + 1) ** 3))"
VALUES = Calls(tuple(Case(f"f({n})", n * n + 1) for n in range(50)), "f")
CASES = {
    "trivial": (TRIVIAL, "lean"),
    "50 asserts": (ASSERTS, "lean"),
    "numpy": (NUMPY, "numpy"),
    "sympy": (SYMPY, "sympy"),
}
TARGETS = {"trivial": 4.0, "numpy": 20.0}
"""Least ratio to `subprocess` that is promised."""


def spent() -> float:
    """CPU seconds of this process and its reaped children."""
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(used.ru_utime + used.ru_stime for used in both)


def by_subprocess(program: str, runs: int) -> float:
    """CPU-milliseconds per program."""
    before = spent()
    for _ in range(runs):
        subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    return (spent() - before) / runs * 1000


def _guarded(program: str, results: "multiprocessing.managers.ListProxy[str]") -> None:
    with tempfile.TemporaryDirectory(), contextlib.redirect_stdout(io.StringIO()):
        resource.setrlimit(resource.RLIMIT_CPU, (5, 5))
        exec(program, {})
    results.append("passed")


def by_multiprocessing(program: str, runs: int) -> float:
    """CPU-milliseconds per program, in the manner of HumanEval's `check_correctness`."""
    before = spent()
    for _ in range(runs):
        with multiprocessing.Manager() as manager:
            results = manager.list()
            process = multiprocessing.Process(target=_guarded, args=(program, results))
            process.start()
            process.join(timeout=10)
            assert list(results) == ["passed"]
    return (spent() - before) / runs * 1000


def ours(level: str, runs: int, work: Callable[[Pool, int], None]) -> float:
    """CPU-milliseconds per program: a pool with `runs` programs less a pool with none but the first."""
    costs: list[float] = []
    for count in (1, runs + 1):
        before = spent()
        with Pool(level) as pool:
            work(pool, count)
        costs.append(spent() - before)
    return (costs[1] - costs[0]) / runs * 1000


def as_stdio(program: str, tier: str) -> Callable[[Pool, int], None]:
    """Programs run whole."""

    def work(pool: Pool, count: int) -> None:
        rans = pool.run([Job({"mode": "stdio", "source": program}, tier=tier)] * count)
        assert all(ran.outcome == "done" and ran.lines == ({"load": None},) for ran in rans)

    return work


def as_values(pool: Pool, count: int) -> None:
    """A function of fifty calls, compared outside."""
    assert all(verdict.outcome == "pass" for verdict in judge(pool, [Submission(FUNCTION, VALUES)] * count))


def main() -> None:
    """Measure, print the table, say whether the targets hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200, help="programs of ours per block; the peers run a tenth")
    parser.add_argument("--blocks", type=int, default=3, help="turns of each arm; medians are shown")
    parser.add_argument("--level", default="L3")
    options = parser.parse_args()
    few = max(5, options.runs // 10)
    print(f"CPU-milliseconds per program, medians of {options.blocks}; level {options.level}")
    print(f"{'program':24}{'ours':>8}{'subprocess':>12}{'ratio':>8}{'HumanEval':>12}{'ratio':>8}")
    kept = True
    for name, (program, tier) in CASES.items():
        mine, plain, guarded = [], [], []
        for _ in range(options.blocks):
            mine.append(ours(options.level, options.runs, as_stdio(program, tier)))
            plain.append(by_subprocess(program, few))
            guarded.append(by_multiprocessing(program, few))
        kept &= shown(name, mine, plain, guarded)
        if name == "50 asserts":
            values = [ours(options.level, options.runs, as_values) for _ in range(options.blocks)]
            shown("50 calls, compared outside", values, plain, guarded)
    print("targets hold" if kept else "a target is missed")
    sys.exit(0 if kept else 1)


def shown(name: str, mine: list[float], plain: list[float], guarded: list[float]) -> bool:
    """Print a line; whether its target holds."""
    a, b, c = (statistics.median(each) for each in (mine, plain, guarded))
    print(f"{name:24}{a:8.2f}{b:12.1f}{b / a:7.1f}x{c:12.1f}{c / a:7.1f}x", flush=True)
    return b / a >= TARGETS.get(name, 0)


if __name__ == "__main__":
    main()
