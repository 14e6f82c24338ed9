"""What hostile programs aim at, and the eyes outside that see whether they hit."""

import hashlib
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from posttrain.graders.sandbox.pool import Limits, Ran

NOBODY = 65534
BROKE = "BROKE-OUT"
"""What a program prints when a step that must fail did not: its own testimony, beside what the world shows."""


@dataclass(frozen=True)
class Attack:
    """A hostile program. `{secret}`, `{folder}`, `{tcp}` … in its text are filled in by the world."""

    name: str
    aim: str
    source: str
    outcomes: tuple[str, ...] = ("done",)
    """How its run may end."""
    wall: float = 3.0
    levels: tuple[str, ...] = ("L3", "L2", "L1")
    bare: bool = True
    """Whether it hits without a sandbox, as an ordinary user; False for what only root or some kernels allow."""
    before: str = ""
    """A program that runs first, to leave something behind."""
    memory: int = 1 << 30

    @property
    def limits(self) -> Limits:
        """What it may use."""
        return Limits(cpu=3.0, wall=self.wall, memory=self.memory)


class World:
    """Canaries: files, an environment variable, listeners, a process of the jail's own user."""

    def __init__(self) -> None:
        self.token = secrets.token_hex(12)
        """Names what attacks make, so that it is found."""
        self.canary = secrets.token_hex(12)
        """Must not get out."""
        self.folder = Path(tempfile.mkdtemp(prefix="world-"))
        self.folder.chmod(0o755)
        self.secret = self.folder / "secret.txt"
        self.secret.write_text(f"the secret is {self.canary}\n", encoding="ascii")
        (self.folder / "open").mkdir()
        (self.folder / "open" / "file.txt").write_text("canary", encoding="ascii")
        for path, mode in ((self.folder / "open", 0o777), (self.folder / "open" / "file.txt", 0o666)):
            path.chmod(mode)
        if os.getuid() == 0:
            for path in (self.folder / "open", self.folder / "open" / "file.txt"):
                os.chown(path, NOBODY, NOBODY)
        self.listeners = {
            "tcp": socket.create_server(("127.0.0.1", 0)),
            "udp": socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
            "unix": socket.socket(socket.AF_UNIX),
            "abstract": socket.socket(socket.AF_UNIX),
        }
        self.listeners["udp"].bind(("127.0.0.1", 0))
        self.listeners["unix"].bind(str(self.folder / "socket"))
        (self.folder / "socket").chmod(0o777)
        self.listeners["abstract"].bind(f"\0{self.token}")
        for name, listener in self.listeners.items():
            if name in ("unix", "abstract"):
                listener.listen()
            listener.setblocking(False)
        self.victim = self._victim()

    def close(self) -> None:
        """Take everything down."""
        self.victim.kill()
        self.victim.wait()
        for listener in self.listeners.values():
            listener.close()
        shutil.rmtree(self.folder)

    def fill(self, source: str) -> str:
        """The program with the places of its targets."""
        places: Mapping[str, object] = {
            "token": self.token,
            "folder": self.folder,
            "secret": self.secret,
            "open": self.folder / "open",
            "tcp": self.listeners["tcp"].getsockname()[1],
            "udp": self.listeners["udp"].getsockname()[1],
            "unix": self.folder / "socket",
            "me": os.getpid(),
            "victim": self.victim.pid,
            "BROKE": BROKE,
        }
        for name, value in places.items():
            source = source.replace("{" + name + "}", str(value))
        return source

    def look(self) -> str:
        """A digest of all that a program could have changed."""
        total = hashlib.sha256()
        for path in sorted(self.folder.rglob("*")):
            status = path.lstat()
            total.update(f"{path} {status.st_mode} {status.st_uid} {status.st_size} {status.st_mtime_ns}".encode())
            if path.is_file():
                total.update(path.read_bytes())
        return total.hexdigest()

    def harm(self, before: str, said: str) -> list[str]:
        """What the world shows of a hit; the program's words are searched for the secret and its testimony."""
        found = [what for what, text in (("the secret is out", self.canary), ("it says so", BROKE)) if text in said]
        if self.look() != before:
            found.append("files changed")
        if self.victim.poll() is not None or self._stopped():
            found.append("another process was hit")
            self.victim.kill()
            self.victim.wait()
            self.victim = self._victim()
        found += [f"{name} was reached" for name in self.listeners if self._reached(name)]
        for place in ("/tmp", "/dev/shm", "/var/tmp"):
            for path in Path(place).glob(f"*{self.token}*"):
                found.append(f"left {path}")
                path.unlink()
        return found + self._shared_memory()

    def _victim(self) -> "subprocess.Popen[bytes]":
        user = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.getuid() == 0 else {}
        return subprocess.Popen(["/bin/sleep", "3600"], **user)  # pyright: ignore[reportArgumentType, reportCallIssue]

    def _stopped(self) -> bool:
        return Path(f"/proc/{self.victim.pid}/stat").read_text(encoding="ascii").split()[2] in ("T", "t", "Z")

    def _reached(self, name: str) -> bool:
        try:
            if name == "udp":
                return bool(self.listeners[name].recv(100))
            self.listeners[name].accept()[0].close()
        except BlockingIOError:
            return False
        return True

    def _shared_memory(self) -> list[str]:
        """Segments under the key that the attacks use; they are removed."""
        lines = Path("/proc/sysvipc/shm").read_text(encoding="ascii").splitlines()[1:]
        mine = [line.split()[1] for line in lines if line.split()[0] == str(0x51A7)]
        for number in mine:
            subprocess.run(["ipcrm", "-m", number], check=False)
        return ["shared memory stays"] if mine else []


def words(ran: Ran) -> str:
    """Everything a program got out."""
    return repr(ran.lines) + ran.stdout.decode(errors="replace") + ran.stderr.decode(errors="replace")


def descendants(pid: int) -> set[int]:
    """A process and all below it."""
    parents = {}
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            try:
                stat = (path / "stat").read_text(encoding="utf-8", errors="replace")
            except OSError:
                continue  # gone meanwhile
            parents[int(path.name)] = int(stat.rpartition(")")[2].split()[1])
    below = {pid}
    for _ in range(6):
        below |= {child for child, parent in parents.items() if parent in below}
    return below
