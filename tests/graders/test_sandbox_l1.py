"""Without Landlock and namespaces: no file can be opened, and no honest program misses one, but for those named."""

import ctypes
import errno
import json
import os
import py_compile
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from posttrain.graders.sandbox import level
from posttrain.graders.sandbox.jail import kernel, modules, seccomp
from posttrain.graders.sandbox.pool import Job, Limits, Pool, Ran
from posttrain.graders.sandbox.server import _packages
from posttrain.spec.knobs import LOWERED

BY_PATH = """
    open 2 stat 4 lstat 6 access 21 execve 59 truncate 76 getdents 78 chdir 80 fchdir 81 rename 82 mkdir 83 rmdir 84
    creat 85 link 86 unlink 87 symlink 88 readlink 89 chmod 90 chown 92 lchown 94 utime 132 mknod 133 uselib 134
    statfs 137 pivot_root 155 chroot 161 acct 163 mount 165 umount2 166 swapon 167 setxattr 188 getxattr 191
    listxattr 194 removexattr 197 utimes 235 inotify_add_watch 254 openat 257 mkdirat 258 mknodat 259 fchownat 260
    futimesat 261 newfstatat 262 unlinkat 263 renameat 264 linkat 265 symlinkat 266 readlinkat 267 fchmodat 268
    faccessat 269 utimensat 280 fanotify_mark 301 name_to_handle_at 303 open_by_handle_at 304 renameat2 316
    execveat 322 statx 332 open_tree 428 move_mount 429 fsopen 430 fspick 433 openat2 437 faccessat2 439
    mount_setattr 442 landlock_create_ruleset 444 fchmodat2 452
"""
"""Every system call that takes a path or leads to a file."""

OPEN_ALL = """
import ctypes, json, os
from posttrain.graders.sandbox.jail import kernel, seccomp
libc = ctypes.CDLL(None, use_errno=True)
kernel.no_new_privileges()
kernel.Filter(seccomp.server_policy(opens=False)).install()
found = {}
for number in NUMBERS:
    got = libc.syscall(ctypes.c_long(number), 0, 0, 0, 0, 0, 0)
    found[number] = 0 if got >= 0 else ctypes.get_errno()
os.write(1, json.dumps(found).encode())
"""


def test_no_call_takes_a_path():
    """S-D14: L1 has no system call that opens a file, for the server as for its programs."""
    numbers = [int(word) for word in BY_PATH.split()[1::2]]
    script = OPEN_ALL.replace("NUMBERS", repr(numbers))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    found = json.loads(done.stdout)
    assert found == {str(number): errno.EPERM for number in numbers}


WITHOUT = """
import sys
from posttrain.graders.sandbox.jail import kernel, seccomp
from posttrain.graders.sandbox import level
from posttrain.graders.sandbox.pool import Job, Pool
lost = [*range(424, 600), 272, 317 if sys.argv[1] == "none" else 1000]
kernel.no_new_privileges()
kernel.Filter(seccomp.assemble([n for n in range(600) if n not in [*lost, 435]], [], absent=(435,))).install()
trial = level.trial("L1")
print(trial.works, trial.lacks)
"""
"""As of Linux 4.x: none of the calls from 424 on, pidfd_open, Landlock and new mounts among them, and no namespaces."""


@pytest.mark.parametrize(("kept", "said"), [("filters", "True \n"), ("none", "False system-call filters")])
def test_an_old_kernel_has_this_level_where_it_has_filters(kept, said):
    done = subprocess.run([sys.executable, "-c", WITHOUT, kept], capture_output=True, text=True, timeout=100)
    assert done.stdout.startswith(said), done.stdout + done.stderr


def test_where_only_this_level_works_it_must_be_asked_for_twice(monkeypatch):
    monkeypatch.setenv(LOWERED, "1")
    assert level.find("L1") in ("L3", "L2", "L1")
    assert level.trial("L1").works and len(level.trial("L1").checks) >= 12


IMPORTS = """
import importlib, io, json, os, sys, warnings
warnings.simplefilter('ignore')
found = {}
for name in NAMES:
    sys.stdout = sys.stderr = io.StringIO()
    try:
        importlib.import_module(name)
        found[name] = 'imported'
    except BaseException as error:
        found[name] = type(error).__name__
os.write(1, json.dumps(found).encode())
"""
FOLDERS = [sysconfig.get_path("stdlib"), str(Path(sysconfig.get_path("stdlib")) / "lib-dynload")]


def ran(pool: Pool, source: str, tier: str = "lean") -> Ran:
    limits = Limits(cpu=100, wall=100, memory=4 << 30, output=1 << 20)
    return pool.submit(Job({"mode": "stdio", "source": source}, tier=tier, limits=limits)).result()


def names(tier: str) -> list[str]:
    """Every module there is; but one that opens a web page, and those that are programs."""
    index = modules.Index(FOLDERS if tier == "lean" else [], _packages(tier))
    return sorted(name for name in index.known if not name.endswith("__main__") and name != "antigravity")


@pytest.mark.parametrize("tier", ["lean", "numpy", pytest.param("sympy", marks=pytest.mark.nightly)])
def test_every_module_that_can_be_imported_at_the_second_level_can_be_here(tier):
    script = IMPORTS.replace("NAMES", repr(names(tier)))
    with Pool("L2") as second, Pool("L1") as first:
        expected, found = ran(second, script, tier), ran(first, script, tier)
    assert json.loads(found.stdout) == json.loads(expected.stdout)
    assert list(json.loads(found.stdout).values()).count("imported") >= 200


MISSED = {
    "the source of a library function": "import inspect, textwrap; assert inspect.getsource(textwrap.wrap)",
    "a file of the interpreter": "import string; assert open(string.__file__).read()",
    "a data file of the library": (
        "import importlib.resources as r; assert r.files('email').joinpath('architecture.rst').read_text()"
    ),
}
"""What works at L2 and not here, all of it: reading the library as files. No import needs it."""


@pytest.mark.parametrize("source", MISSED.values(), ids=MISSED)
def test_what_this_level_takes_from_programs_is_known(source):
    with Pool("L2") as second, Pool("L1") as first:
        assert ran(second, source).lines == ({"load": None},)
        assert ran(first, source).lines != ({"load": None},)


HELD = """
import importlib, signal, sys, textwrap, traceback
importlib.reload(textwrap)
print('x'.encode('utf-16-le'), signal.getsignal(signal.SIGCHLD) == signal.SIG_DFL, signal.set_wakeup_fd(-1))
"""


def test_a_program_finds_modules_and_signals_as_elsewhere():
    with Pool("L2") as second, Pool("L1") as first:
        assert ran(first, HELD).stdout == ran(second, HELD).stdout == b"b'x\\x00' True -1\n"


def test_a_cache_file_that_is_old_or_broken_is_not_taken(tmp_path):
    """As the importer does: the source decides."""
    for name, spoil in [("fresh", None), ("old", b"\0" * 16), ("short", b"\0"), ("none", b"")]:
        source = tmp_path / f"{name}.py"
        source.write_text(f"word = {name!r}\n", encoding="utf-8")
        cached = Path(py_compile.compile(str(source)) or "")
        if spoil is not None:
            cached.write_bytes(spoil)
    index = modules.Index([str(tmp_path)], [])
    index.hold()
    for path in tmp_path.rglob("*.py*"):
        path.unlink()
    for name in ("fresh", "old", "short", "none"):
        space: dict[str, object] = {}
        exec(index.find_spec(name).loader.get_code(name), space)
        assert space["word"] == name


def test_many_ends_at_once_are_all_told():
    """One signal can stand for several programs."""
    with Pool("L1", slots=16) as pool:
        rans = pool.run([Job({"mode": "stdio", "source": f"print({n})"}) for n in range(80)])
    assert [item.stdout for item in rans] == [f"{n}\n".encode() for n in range(80)]


def test_the_narrower_filter_gives_no_path_back():
    libc = ctypes.CDLL(None, use_errno=True)
    pid = kernel.fork()
    if pid == 0:
        kernel.no_new_privileges()
        kernel.Filter(seccomp.server_policy(opens=False)).install()
        kernel.Filter(seccomp.program_policy(threads=True), seccomp.OWN_PID).install()
        got = libc.syscall(ctypes.c_long(257), -100, b"/", 0, 0)
        os._exit(7 if got < 0 and ctypes.get_errno() == errno.EPERM else 0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
