"""One fork server as its client sees it: a process of its own, with nothing of ours in its memory."""

import errno
import importlib.util
import json
import os
import socket
import subprocess
import sys
import sysconfig
from pathlib import Path

from posttrain.graders.sandbox.jail import modules
from posttrain.spec.errors import MissingNeed

START = 60.0
"""Seconds in which a server must be ready."""
_BOOT = (
    "import sys, types; jail = types.ModuleType('jail'); jail.__path__ = [sys.argv[1]]; sys.modules['jail'] = jail;"
    " from jail import zygote; begin = zygote.main(sys.argv[2]); begin()"
)


SHORTAGES = (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ETOOMANYREFS)
"""What a machine says that has no process, memory or descriptor left; a moment later it may have."""


class Refused(MissingNeed):
    """A server cannot confine itself here; `what` names what is lacking."""


class Server:
    """A running fork server and its control socket."""

    def __init__(self, level: str, tier: str = "lean", *, spares: int = 2) -> None:
        """Start it and wait until it is confined. Refused where it cannot be; OSError, one of SHORTAGES."""
        self.tier = tier
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        folders = [sysconfig.get_path("stdlib"), str(Path(sysconfig.get_path("stdlib")) / "lib-dynload")]
        config = {
            "control": theirs.fileno(),
            "level": level,
            "spares": spares,
            "folders": [str(Path(folder).resolve()) for folder in folders],
            "packages": _packages(tier),
            "preload": modules.TIERS[tier],
        }
        errors = os.memfd_create("server", os.MFD_CLOEXEC)
        try:
            self.process = _started(config, theirs.fileno(), errors)
            theirs.close()
            self.facts = self._greeting(errors)
        except OSError as error:
            self.control.close()
            if error.errno in SHORTAGES:
                raise
            raise Refused(f"a server cannot be started ({error})") from error
        except Refused:
            self.kill()
            raise
        finally:
            theirs.close()
            os.close(errors)

    def close(self) -> None:
        """Let the server end its programs and itself."""
        self.control.close()
        try:
            self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def kill(self) -> None:
        """End the server; its children end with it."""
        self.control.close()
        self.process.kill()
        self.process.wait()

    def _greeting(self, errors: int) -> dict[str, int]:
        self.control.settimeout(START)
        try:
            message = self.control.recv(4096)
        except TimeoutError as error:
            raise Refused("a server was not ready in time") from error
        self.control.settimeout(None)
        if not message:
            raise Refused("a server ended while it started: " + os.pread(errors, 2000, 0).decode(errors="replace"))
        greeting = json.loads(message)
        if "lacks" in greeting and greeting["number"] in SHORTAGES:
            self.process.wait()
            raise OSError(greeting["number"], greeting["lacks"])
        if "lacks" in greeting:
            raise Refused(greeting["lacks"])
        return greeting


def _started(config: dict[str, object], control: int, errors: int) -> "subprocess.Popen[bytes]":
    # -I would ignore PYTHONHASHSEED too: without it, sets would have another order in every server.
    return subprocess.Popen(  # noqa: S603 - our own interpreter and text
        [sys.executable, "-P", "-s", "-S", "-B", "-X", "utf8", "-c", _BOOT, _HERE, json.dumps(config)],
        env={"PYTHONHASHSEED": "0", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=errors,
        pass_fds=[control],
        start_new_session=True,
    )


_HERE = str(Path(modules.__file__).parent)


def _packages(tier: str) -> list[str]:
    """The folders of the packages that a tier loads."""
    names = dict.fromkeys(name.partition(".")[0] for name in modules.TIERS[tier])
    found = [importlib.util.find_spec(name) for name in names]
    return [str(Path(spec.origin).resolve().parent) for spec in found if spec is not None and spec.origin]
