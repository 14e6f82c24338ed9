"""From what became of a program to what it is worth. Everything that decides stands here, outside every jail."""

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from posttrain.graders.sandbox.cases import Calls, Case, Stdin, Tests, same, same_output, size
from posttrain.graders.sandbox.jail import wire
from posttrain.graders.sandbox.job import Job, Limits, Ran, Sandbox

OUTCOMES = (
    "pass",
    "wrong",
    "runtime_error",
    "timeout",
    "memory",
    "output_limit",
    "crashed",
    "sandbox_error",
)
"""`sandbox_error` says nothing about the program: its sample is masked, never rewarded 0."""


@dataclass(frozen=True)
class Verdict:
    """What a program is worth."""

    outcome: str
    """One of OUTCOMES."""
    passed: int
    """Tests passed."""
    total: int
    """Tests there are."""
    detail: str = ""
    """What the first test that did not pass had to say, in a line."""
    cpu: float = 0.0
    """Seconds."""


@dataclass(frozen=True)
class Submission:
    """A program and its tests."""

    source: str
    tests: Tests
    tier: str = "lean"
    limits: Limits = field(default_factory=Limits)


def judge(pool: Sandbox, submissions: Sequence[Submission]) -> list[Verdict]:
    """Verdicts in the order given. The inputs after the first are run only for programs that pass that one."""
    for submission in submissions:
        size(submission.tests)
    first = [pool.submit(_job(submission, 0)) for submission in submissions]
    rest: list[list[Future[Ran]]] = []
    for submission, future in zip(submissions, first, strict=True):
        more = range(1, len(submission.tests.pairs) if isinstance(submission.tests, Stdin) else 1)
        passed = more and _one(submission, 0, future.result()).outcome == "pass"
        rest.append([pool.submit(_job(submission, at)) for at in more] if passed else [])
    return [
        _whole(submission, [future.result(), *(item.result() for item in more)])
        for submission, future, more in zip(submissions, first, rest, strict=True)
    ]


def _job(submission: Submission, at: int) -> Job:
    """The run of a program, the one with that input where it reads its standard input."""
    tests, tier, limits = submission.tests, submission.tier, submission.limits
    if isinstance(tests, Calls):
        calls: list[wire.Tree] = [case.call for case in tests.cases]
        body: dict[str, wire.Tree] = {
            "mode": "values",
            "source": submission.source,
            "calls": calls,
            "entry": tests.entry,
        }
        return Job(body, tier=tier, limits=limits)
    if isinstance(tests, Stdin):
        body = {"mode": "stdio", "source": submission.source}
        return Job(body, stdin=tests.pairs[at][0].encode(), tier=tier, limits=limits)
    body = {"mode": "judge", "setup": tests.setup, "tests": tests.tests, "entry": tests.entry, "check": tests.check}
    server: dict[str, wire.Tree] = {"mode": "serve", "source": submission.source, "entry": tests.entry}
    return Job(body, tier=tier, limits=limits, server=server)


def _whole(submission: Submission, rans: list[Ran]) -> Verdict:
    total = size(submission.tests)
    verdicts = [_one(submission, at, ran) for at, ran in enumerate(rans)]
    bad = next((verdict for verdict in verdicts if verdict.outcome != "pass"), None)
    passed, cpu = sum(verdict.passed for verdict in verdicts), sum(ran.cpu for ran in rans)
    if bad is None and passed == total:
        return Verdict("pass", passed, total, cpu=cpu)
    return Verdict(bad.outcome if bad else "wrong", min(passed, total - 1), total, bad.detail if bad else "", cpu)


def _one(submission: Submission, at: int, ran: Ran) -> Verdict:
    """The verdict of one run."""
    tests, total = submission.tests, 1
    if ran.outcome != "done":
        return Verdict(ran.outcome, 0, total, ran.reason)
    if ran.status != 0 or not ran.lines or not isinstance(ran.lines[0], dict) or "load" not in ran.lines[0]:
        return Verdict("crashed", 0, total, f"ended with status {ran.status} before its time")
    if ran.lines[0]["load"] is not None:
        return _raised(ran.lines[0]["load"], 0, total)
    if isinstance(tests, Calls):
        return _values(tests, ran.lines[1:])
    if isinstance(tests, Stdin):
        right = len(ran.lines) == 1 and same_output(tests.pairs[at][1], ran.stdout.decode(errors="replace"), tests.rule)
        return Verdict("pass" if right else "wrong", int(right), total)
    return _judged(ran.lines)


def _values(tests: Calls, lines: tuple[wire.Tree, ...]) -> Verdict:
    total = len(tests.cases)
    ordered = [line.get("n") if isinstance(line, dict) else None for line in lines[:-1]] == list(range(total))
    if not ordered or lines[-1:] != ({"end": total},):
        return Verdict("crashed", 0, total, "missing or extra result lines")
    passed, first = 0, Verdict("pass", total, total)
    for case, line in zip(tests.cases, lines[:-1], strict=True):
        value = line if isinstance(line, dict) else {}
        if "e" not in value and "v" in value and _equal(case, value["v"]):
            passed += 1
        elif first.outcome == "pass":
            first = _raised(value["e"], 0, total) if "e" in value else Verdict("wrong", 0, total, case.call[:200])
    return Verdict(first.outcome, passed, total, first.detail)


def _equal(case: Case, given: wire.Tree) -> bool:
    try:
        return same(case.expected, given, case.rule)
    except RecursionError:
        return False


def _judged(lines: tuple[wire.Tree, ...]) -> Verdict:
    said = lines[0]
    if len(lines) != 1 or not isinstance(said, dict):
        return Verdict("crashed", 0, 1, "the judge did not finish")
    if said.get("passed") is True and said.get("calls"):
        return Verdict("pass", 1, 1)
    if said.get("gone"):
        return Verdict("crashed", 0, 1, "the program ended before it answered")
    if said.get("raised"):
        return _raised(said.get("e"), 0, 1)
    return Verdict("wrong", 0, 1, str(said.get("e"))[:200])


def _raised(error: wire.Tree, passed: int, total: int) -> Verdict:
    kind = str(error[0])[:80] if isinstance(error, list) and error else "an exception"
    text = str(error[1])[:200] if isinstance(error, list) and len(error) > 1 else ""
    return Verdict("memory" if kind == "MemoryError" else "runtime_error", passed, total, f"{kind}: {text}")
