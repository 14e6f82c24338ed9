"""Jobs and what became of them as JSON between machines. Nothing is evaluated or unpickled; all else is refused."""

import base64
import json
import math
from collections.abc import Mapping
from typing import Any

from posttrain.graders.sandbox.jail import modules
from posttrain.graders.sandbox.job import ENDS, Job, Limits, Ran

VERSION = 1
LONGEST_JOB = 16 << 20
"""Bytes of a request's body; a longer one is refused unread."""
LONGEST_RAN = 8 << 20
"""Bytes of an answer's body."""
TOKEN = "POSTTRAIN_SANDBOX_TOKEN"  # noqa: S105 - a name
"""The environment variable from which a client takes its token."""

_BODIES: Mapping[str, Mapping[str, type]] = {
    "values": {"source": str, "entry": str, "calls": list},
    "stdio": {"source": str},
    "judge": {"setup": str, "tests": str, "entry": str, "check": bool},
    "serve": {"source": str, "entry": str},
}
"""The fields of a body by its mode."""
_MOST = Limits(cpu=120, wall=120, memory=8 << 30, output=1 << 20)
"""The most that a job may ask for."""


def job_text(number: str, job: Job) -> bytes:
    """A job and the number that its answer must bear."""
    limits = job.limits
    return json.dumps(
        {
            "number": number,
            "body": job.body,
            "stdin": _text(job.stdin),
            "tier": job.tier,
            "limits": {"cpu": limits.cpu, "wall": limits.wall, "memory": limits.memory, "output": limits.output},
            "server": job.server,
        },
        separators=(",", ":"),
    ).encode()


def job_of(text: bytes) -> tuple[str, Job]:
    """The number and the job; ValueError, saying why, on anything that is none."""
    said = _object(text)
    _fields(said, {"number": str, "body": dict, "stdin": str, "tier": str, "limits": dict}, optional="server")
    body, server = said["body"], said.get("server")
    _body(body, ("values", "stdio", "judge"))
    if (server is not None) != (body["mode"] == "judge"):
        raise ValueError("a judge and nothing else comes with a program beside it")
    if server is not None:
        _body(server, ("serve",))
    if said["tier"] not in modules.TIERS:
        raise ValueError(f"no tier: {said['tier'][:40]!r}")
    return said["number"], Job(body, _bytes(said["stdin"]), said["tier"], _limits(said["limits"]), server)


def ran_text(number: str, ran: Ran) -> bytes:
    """What became of the job of that number."""
    said = {
        "number": number,
        "outcome": ran.outcome,
        "result": _text(ran.result),
        "stdout": _text(ran.stdout),
        "stderr": _text(ran.stderr),
        "status": ran.status,
        "cpu": ran.cpu,
        "memory": ran.memory,
        "tries": ran.tries,
        "reason": ran.reason,
    }
    return json.dumps(said, separators=(",", ":")).encode()


def ran_of(number: str, text: bytes) -> Ran:
    """What became of the job of that number; ValueError where the text says it of another, or is no answer."""
    said = _object(text)
    words = dict.fromkeys(("number", "outcome", "result", "stdout", "stderr", "reason"), str)
    _fields(said, {**words, "status": int, "cpu": float, "memory": int, "tries": int})
    if said["number"] != number:
        raise ValueError("the answer is to another job")
    if said["outcome"] not in ENDS:
        raise ValueError("no outcome")
    outputs = {name: _bytes(said[name]) for name in ("result", "stdout", "stderr")}
    return Ran(
        said["outcome"],
        **outputs,
        status=said["status"],
        cpu=float(said["cpu"]),
        memory=said["memory"],
        tries=said["tries"],
        reason=said["reason"],
    )


def _object(text: bytes) -> dict[str, Any]:
    try:
        said = json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(said, dict):
        raise ValueError("no object")  # noqa: TRY004 - a text of the other side, not a value of ours
    return said


def _fields(said: Mapping[str, object], wanted: Mapping[str, type], optional: str = "") -> None:
    """ValueError where the fields are others, or of another type."""
    if said.keys() - {optional} != wanted.keys():
        raise ValueError(f"the fields must be {', '.join(wanted)}")
    for name, kind in wanted.items():
        number = kind is float and type(said[name]) is int
        if type(said[name]) is not kind and not number:
            raise ValueError(f"{name} must be a {kind.__name__}")


def _body(body: object, modes: tuple[str, ...]) -> None:
    mode = body.get("mode") if isinstance(body, dict) else None
    if not isinstance(body, dict) or mode not in modes:
        raise ValueError(f"mode must be one of {', '.join(modes)}")
    _fields(body, {"mode": str, **_BODIES[mode]})
    if any(type(call) is not str for call in body.get("calls", ())):
        raise ValueError("calls must be texts")


def _limits(said: Mapping[str, Any]) -> Limits:
    _fields(said, {"cpu": float, "wall": float, "memory": int, "output": int})
    for name, value in said.items():
        most = getattr(_MOST, name)
        if not (math.isfinite(value) and 0 < value <= most):
            raise ValueError(f"limits.{name} must lie above 0 and at {most} at most")
    return Limits(float(said["cpu"]), float(said["wall"]), said["memory"], said["output"])


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
