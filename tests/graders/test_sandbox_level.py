"""Which level works is found by trying; where none does, nothing runs."""

import ctypes
import json
import mmap
import os
import platform
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from posttrain.graders.sandbox import level
from posttrain.graders.sandbox.jail import kernel, modules, seccomp

ROOT = Path(__file__).parents[2]
DESCRIBE = "import json; from posttrain.graders.sandbox import level; print(json.dumps(level.describe()))"

WITHOUT = """
import json, sys
from posttrain.graders.sandbox.jail import kernel, seccomp
from posttrain.graders.sandbox import level
from posttrain.spec.errors import MissingNeed
lost = json.loads(sys.argv[1])
allowed = [number for number in range(600) if number not in lost]
kernel.no_new_privileges()
kernel.Filter(seccomp.assemble(allowed, [])).install()
try:
    print(level.find(sys.argv[2]))
except MissingNeed as error:
    print(error)
    sys.exit(error.code)
"""
"""A kernel without some system calls, for this process and all it starts."""
LANDLOCK, UNSHARE, SECCOMP, PIDFD = [444, 445, 446], [272], [317], [434]


def without(calls: list[int], required: str = "L2") -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", WITHOUT, json.dumps(calls), required], capture_output=True, text=True, timeout=60
    )


def test_this_machine_has_the_level_and_every_live_check_holds():
    """S-D14: reports its level."""
    assert level.find("L2") in level.LEVELS
    described = level.describe()
    assert described["level"] == level.find("L2")
    for name in level.LEVELS:
        trial = level.trial(name)
        assert trial.works, trial.lacks
        assert len(trial.checks) >= 12


def as_ordinary_user(*arguments: str) -> "subprocess.CompletedProcess[str]":
    script = ROOT / "tests" / "graders" / "attacks" / "ordinary.py"
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT / 'tests'}", "PYTHONDONTWRITEBYTECODE": "1"}
    environment.pop("PYTEST_XDIST_WORKER", None)
    return subprocess.run(
        [sys.executable, str(script), *arguments], env=environment, capture_output=True, text=True, timeout=600
    )


def test_an_ordinary_user_has_the_same_levels():
    """S-D14: works without root."""
    done = as_ordinary_user("-c", DESCRIBE)
    assert done.returncode == 0, done.stderr
    described = json.loads(done.stdout)
    assert described["user"] != 0
    for name in level.LEVELS:
        assert described["levels"][name]["works"], described["levels"][name]["lacks"]
        assert all(described["levels"][name]["checks"].values())


@pytest.mark.nightly
@pytest.mark.parametrize("suite", ["containment", "grading", "pool"])
def test_every_attack_fails_for_an_ordinary_user_too(suite):
    """S-D14: works without root."""
    tests = str(ROOT / "tests" / "graders" / f"test_sandbox_{suite}.py")
    options = ("-q", "-p", "no:cacheprovider", "-p", "no:randomly", "-m", "not nightly", "--rootdir", str(ROOT))
    done = as_ordinary_user("-m", "pytest", *options, tests)
    assert done.returncode == 0, done.stdout[-4000:]


def test_a_kernel_without_namespaces_falls_back_to_the_second_level():
    done = without(UNSHARE)
    assert (done.returncode, done.stdout.strip()) == (0, "L2"), done.stdout


@pytest.mark.parametrize(
    ("calls", "named"),
    [
        (LANDLOCK, "CONFIG_SECURITY_LANDLOCK"),
        (SECCOMP, "CONFIG_SECCOMP_FILTER"),
        (PIDFD, "pidfd_open"),
        ([*LANDLOCK, *UNSHARE], "namespaces"),
    ],
)
def test_a_kernel_without_a_layer_is_refused_by_name(calls, named):
    """S-D14: refuses below the required level, naming what is lacking and the profile that needs none."""
    done = without(calls)
    assert done.returncode == 4, done.stdout + done.stderr
    assert named in done.stdout and "nojail" in done.stdout


def test_another_machine_is_refused_by_name_and_not_tried(monkeypatch):
    """Numbers of system calls are those of x86-64: elsewhere a filter would let other calls pass."""
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    for name in level.LEVELS:
        tried = level.trial.__wrapped__(name)
        assert not tried.works and tried.lacks == "support for linux on aarch64"


def test_a_level_that_is_required_and_absent_is_refused():
    done = without(UNSHARE, "L3")
    assert done.returncode == 4 and "L3 is required" in done.stdout


def test_what_a_library_links_to_elsewhere_is_not_shown(tmp_path):
    library = tmp_path / "lib"
    (library / "site-packages").mkdir(parents=True)
    for name in ("kept.py", "site-packages/private.py"):
        (library / name).write_text("", encoding="utf-8")
    (tmp_path / "secret.py").write_text("", encoding="utf-8")
    (library / "sitecustomize.py").symlink_to(tmp_path / "secret.py")
    (library / "gone.py").symlink_to(tmp_path / "nowhere.py")
    (library / "alias.py").symlink_to("kept.py")
    names = sorted(Path(path).name for path in modules.readable(str(library)))
    assert names == ["alias.py", "kept.py"]
    assert sorted(modules.Index([str(library)], []).known) == ["alias", "kept"]


def _ends_by(body) -> int:
    """How a child that runs `body` ends."""
    pid = kernel.fork()
    if pid == 0:
        body()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _filtered(program: bytes) -> None:
    kernel.no_new_privileges()
    kernel.Filter(program, seccomp.OWN_PID).install()


def test_a_32_bit_entry_ends_the_process():
    """`int 0x80` reaches the table of i386, where numbers mean other calls: getpid is 20 there, writev here."""
    code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(bytes.fromhex("b814000000cd80c3"))
    enter = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))
    if _ends_by(enter) != 0:
        pytest.skip("this kernel has no 32-bit entry")

    def filtered() -> None:
        _filtered(seccomp.server_policy(opens=True))
        enter()

    assert _ends_by(filtered) == -signal.SIGSYS


def test_an_x32_number_ends_the_process():
    def filtered() -> None:
        _filtered(seccomp.server_policy(opens=True))
        ctypes.CDLL(None).syscall(ctypes.c_long(0x40000000 + 39))

    assert _ends_by(filtered) == -signal.SIGSYS


def test_a_filter_names_the_process_that_installs_it():
    """kill of oneself passes, of another fails; the narrower filter takes from the server's, never adds."""

    def filtered(target: int, number: int) -> None:
        _filtered(seccomp.server_policy(opens=True))
        kernel.Filter(seccomp.program_policy(threads=True), seccomp.OWN_PID).install()
        try:
            os.kill(target or os.getpid(), number)
        except PermissionError:
            os._exit(7)

    assert _ends_by(lambda: filtered(0, signal.SIGUSR1)) == -signal.SIGUSR1
    assert _ends_by(lambda: filtered(os.getppid(), 0)) == 7
