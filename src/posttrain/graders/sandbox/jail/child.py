"""What runs beside a program in its own process: load it, call it, hand plain data out.

Nothing here is trusted. The program shares this process and may do with it what it likes; what it must not know never
enters, and what leaves is judged outside.
"""

import atexit
import builtins
import json
import os
import random
import sys
import threading
import typing
from collections.abc import Callable
from types import ModuleType, TracebackType
from typing import Any

from . import wire

MESSAGE = 1 << 20
"""Bytes of the longest message between two jails."""


class Caught:
    """`with Caught() as caught:` ends every exception, SystemExit too, and remembers it."""

    error: BaseException | None = None

    def __enter__(self) -> "Caught":
        """Itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> bool:
        """True: the exception goes no further."""
        self.error = error
        return error is not None

    def tree(self) -> wire.Tree:
        """The exception as [type, message]; None where there was none."""
        if self.error is None:
            return None
        text = ""
        with Caught():
            text = str(self.error)[:500]
        return [type(self.error).__name__, text]


def prepare() -> None:
    """What every program finds changed, done once in the server."""
    builtins.exit = builtins.quit = sys.exit
    sys.argv[:] = ["solution.py"]
    atexit._clear()
    random.Random.seed(random._inst, 0)  # pyright: ignore[reportAttributeAccessIssue] - all draw the same, everywhere


def warm() -> None:
    """Do in the server what a child would do for the first time: caches filled here cost no child a page."""
    sink = os.open(os.devnull, os.O_WRONLY)
    for _ in range(16):
        run({"mode": "stdio", "source": "print(end='')"}, sink, -1)
        run({"mode": "values", "source": "def f(n): return [n, 1.5]", "entry": "f", "calls": ["f('a')"]}, sink, -1)
    os.close(sink)
    for name in ("__main__", "solution"):
        del sys.modules[name]


def run(job: dict[str, Any], result: int, channel: int) -> None:
    """Do a job, writing its lines to the descriptor `result`. The caller ends the process."""

    def emit(tree: wire.Tree, write: Callable[[int, bytes], int] = os.write) -> None:
        data = _LOADED if tree == {"load": None} else wire.dumps(tree) + b"\n"
        while data:
            data = data[write(result, data) :]

    {"values": _values, "stdio": _stdio, "serve": _serve, "judge": _judge}[job["mode"]](job, emit, channel)
    for stream in (sys.stdout, sys.stderr):
        with Caught():
            stream.flush()


_LOADED = b'{"load":null}\n'
Emit = Callable[[wire.Tree], None]


def _values(job: dict[str, Any], emit: Emit, channel: int) -> None:
    space, caught = _load(job["source"], "solution", job["entry"])
    emit({"load": caught.tree()})
    if caught.error is not None:
        return
    for at, call in enumerate(job["calls"]):
        value: wire.Tree = None
        with Caught() as caught:
            value = wire.encode(eval(call, space))  # noqa: S307 - the jail is for this
        emit({"n": at, "v": value} if caught.error is None else {"n": at, "e": caught.tree()})
    emit({"end": len(job["calls"])})


def _stdio(job: dict[str, Any], emit: Emit, channel: int) -> None:
    _, caught = _load(job["source"], "__main__")
    if len(threading._active) > 1:  # pyright: ignore[reportAttributeAccessIssue]
        with Caught():
            threading._shutdown()  # pyright: ignore[reportAttributeAccessIssue] - a program ends when its threads have
    if atexit._ncallbacks():
        with Caught():
            atexit._run_exitfuncs()
    code = caught.error.code if isinstance(caught.error, SystemExit) else None
    clean = caught.error is None or (isinstance(caught.error, SystemExit) and code in (None, 0))
    emit({"load": None if clean else caught.tree()})


def _load(source: str, name: str, entry: str = "") -> tuple[dict[str, Any], Caught]:
    """Run a program's text as a module; a method `entry` of its class Solution stands beside its functions."""
    module = ModuleType(name)
    sys.modules[name] = module
    space = module.__dict__
    space.update(_TYPES)
    with Caught() as caught:
        exec(compile(source, "solution.py", "exec", dont_inherit=True), space)  # noqa: S102 - the jail is for this
        if entry and entry not in space and "Solution" in space:
            space[entry] = getattr(space["Solution"](), entry)
    return space, caught


_TYPES = {name: getattr(typing, name) for name in ("Any", "Dict", "List", "Optional", "Set", "Tuple", "Union")}
"""What starter code of the data sets takes for granted."""


def _serve(job: dict[str, Any], emit: Emit, channel: int) -> None:
    """Answer the calls of a judge in another jail."""
    space, caught = _load(job["source"], "solution", job["entry"])
    names: list[wire.Tree] = [name for name, value in space.items() if callable(value) and not name.startswith("__")]
    _send(channel, {"load": caught.tree(), "names": names})
    kept: list[object] = []

    def keep(value: object) -> int:
        kept.append(value)
        return len(kept) - 1

    def held(kind: str, handle: int) -> object:
        return kept[handle]

    while caught.error is None and (request := _receive(channel)) is not None:
        args: list[Any] = [wire.decode(item, held) for item in request["args"]]
        reply: dict[str, wire.Tree] = {}
        with Caught() as outcome:
            target = kept[request["on"]] if request["on"] is not None else space
            function: Any = getattr(target, request["call"]) if target is not space else space[request["call"]]
            named = {key: wire.decode(item, held) for key, item in request["named"].items()}
            reply["v"] = wire.encode(function(*args, **named), keep)
            reply["args"] = [wire.encode(item) for item in args]
        if outcome.error is None and len(wire.dumps(reply)) > MESSAGE:
            outcome.error = ValueError("a value of more than 1 MB")
        _send(channel, reply if outcome.error is None else {"e": outcome.tree()})


def _judge(job: dict[str, Any], emit: Emit, channel: int) -> None:
    """Run test code against a program in another jail. Only this process says what the verdict is."""
    hello = _receive(channel)
    if hello is None or hello["load"] is not None:
        emit({"load": None if hello is None else hello["load"], "passed": False, "gone": hello is None})
        return
    caller = _Caller(channel)
    # A program that names a function `range` or `all` must not decide what the tests mean by it.
    given = [name for name in map(str, hello["names"]) if name.isidentifier() and not name.startswith("__")]
    names = [name for name in (*given, job["entry"]) if not hasattr(builtins, name)]
    space: dict[str, Any] = {"__name__": "__main__"}
    with Caught() as caught:
        exec(compile(job["setup"], "setup.py", "exec", dont_inherit=True), space)  # noqa: S102 - not the program's
        space.update({name: _Remote(caller, None, name) for name in names if name not in space})
        space["candidate"] = space[job["entry"]]
        exec(compile(job["tests"], "tests.py", "exec", dont_inherit=True), space)  # noqa: S102
        if job["check"]:
            space["check"](space[job["entry"]])
    emit(
        {
            "load": None,
            "passed": caught.error is None,
            "e": caught.tree(),
            "calls": caller.count,
            "raised": caller.raised,
            "gone": caller.gone,
        }
    )


class RemoteError(Exception):
    """An exception of the program that has no builtin class."""


_ENDS = (StopIteration, StopAsyncIteration)


class _Caller:
    def __init__(self, channel: int) -> None:
        self.channel, self.count, self.raised, self.gone = channel, 0, 0, False

    def call(self, on: int | None, name: str, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
        self.count += 1
        sent: list[wire.Tree] = [wire.encode(item, _handle_of) for item in args]
        request: wire.Tree = {
            "on": on,
            "call": name,
            "args": sent,
            "named": {key: wire.encode(item, _handle_of) for key, item in named.items()},
        }
        _send(self.channel, request)
        reply = _receive(self.channel)
        if reply is None:
            self.gone = True
            raise RemoteError("the program ended in the middle of a call")
        if "e" in reply:
            self.raised += 1
            kind = _exception(str(reply["e"][0]))
            # Only an iteration of its own can end: else a loop of the tests over its results would, and pass.
            kind = RemoteError if name != "__next__" and issubclass(kind, _ENDS) else kind
            raise kind(str(reply["e"][1]))
        for item, before, after in zip(args, sent, reply["args"], strict=True):
            if before != after:
                _become(item, wire.decode(after, self.remote))
        return wire.decode(reply["v"], self.remote)

    def remote(self, kind: str, handle: int) -> "_Remote":
        return _Remote(self, handle, kind)


class _Remote:
    """A function or an object that lives in the program's jail."""

    def __init__(self, caller: _Caller, handle: int | None, name: str) -> None:
        self.__dict__.update(_caller=caller, _handle=handle, __name__=name)

    def __call__(self, *args: Any, **named: Any) -> Any:
        name = "__call__" if self._handle is not None else self.__name__
        return self._caller.call(self._handle, name, args, named)

    def __getattr__(self, name: str) -> Any:
        if self._handle is None or name.startswith("__"):
            raise AttributeError(name)
        return lambda *args, **named: self._caller.call(self._handle, name, args, named)

    def __setattr__(self, name: str, value: Any) -> None:
        """Tests build trees of the program's own nodes: what they set is set there, and read here."""
        if self._handle is not None:
            self._caller.call(self._handle, "__setattr__", (name, value), {})
        self.__dict__[name] = value

    def __iter__(self) -> Any:
        iterator = self._caller.call(self._handle, "__iter__", (), {})
        while True:
            try:
                yield self._caller.call(iterator._handle, "__next__", (), {})
            except StopIteration:
                return

    def __next__(self) -> Any:
        return self._caller.call(self._handle, "__next__", (), {})


def _handle_of(value: object) -> int:
    if isinstance(value, _Remote) and value._handle is not None:
        return value._handle
    raise TypeError(f"a {type(value).__name__} cannot be handed to the program")


def _exception(name: str) -> type[Exception]:
    kind = getattr(builtins, name, None)
    plain = (
        isinstance(kind, type)
        and issubclass(kind, Exception)
        and not issubclass(kind, (UnicodeError, AssertionError, BaseExceptionGroup))
    )
    return kind if plain else RemoteError  # pyright: ignore[reportReturnType]


def _become(item: Any, after: Any) -> None:
    """A container that the program changed, changed here too."""
    if type(item) is list and type(after) is list:
        item[:] = after
    elif type(item) is type(after) and type(item) in (dict, set):
        item.clear()
        item.update(after)  # pyright: ignore[reportAttributeAccessIssue]
    elif type(item) is bytearray and type(after) is bytearray:
        item[:] = after


def _send(channel: int, tree: wire.Tree) -> None:
    data = wire.dumps(tree)
    if len(data) > MESSAGE:
        raise ValueError("a message of more than 1 MB")
    data = len(data).to_bytes(4, "little") + data
    while data:
        data = data[os.write(channel, data) :]


def _receive(channel: int) -> Any:
    """The next message; None where the other side is gone."""
    head = _exactly(channel, 4)
    size = int.from_bytes(head, "little")
    if len(head) < 4 or size > MESSAGE:
        return None
    body = _exactly(channel, size)
    return json.loads(body) if len(body) == size else None


def _exactly(channel: int, size: int) -> bytes:
    parts: list[bytes] = []
    while size and (part := os.read(channel, size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
