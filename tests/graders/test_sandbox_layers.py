"""Every layer carries weight: where it is taken out, an attack hits. No layer is for show, and the attacks can hit."""

import contextlib
import shutil

import pytest

from graders.attacks.containment import ATTACKS
from graders.attacks.world import World, words
from posttrain.graders.sandbox import server
from posttrain.graders.sandbox.pool import Job, Pool

FILTERS = ("confine.py", 'kernel.Filter(seccomp.server_policy(opens=level != "L1")).install()', "pass")
NARROWER = ("zygote.py", "    filter_.install()\n", "")
LANDLOCK = ("confine.py", "            kernel.landlock(list(readable))\n", "            pass\n")
OPENING = ("confine.py", 'server_policy(opens=level != "L1")', "server_policy(opens=True)")
LIMITS = ("zygote.py", "        resource.setrlimit(name, (value, value))\n", "        pass\n")
CLOSED = ("zygote.py", "                _close_all_but(fds)\n", "")
CLOSED_SPARE = ("zygote.py", "            _close_all_but([its])\n", "")
TAKEN = {
    "all filters": ([FILTERS, NARROWER], "L2", ("stat", "udp", "chmod", "system call io_uring_setup")),
    "the narrower filter": ([NARROWER], "L3", ("fork", "descriptor passing")),
    "Landlock": ([LANDLOCK], "L2", ("open", "passwd", "/proc/self/maps")),
    "filters and Landlock": ([FILTERS, NARROWER, LANDLOCK], "L2", ("new file", "every temporary folder", "exec")),
    "the filter of what opens": ([OPENING], "L1", ("open", "passwd", "/proc/self/maps")),
    "limits": ([LIMITS], "L3", ("mmap", "growing its own output")),
    "closed descriptors": ([CLOSED, CLOSED_SPARE], "L3", ("descriptors beyond its own",)),
}


@pytest.mark.parametrize(("edits", "level", "hits"), TAKEN.values(), ids=TAKEN)
def test_an_attack_hits_where_a_layer_is_missing(edits, level, hits, tmp_path, monkeypatch):
    weak = tmp_path / "jail"
    shutil.copytree(server._HERE, weak)
    tmp_path.chmod(0o755)
    for file, text, instead in edits:
        whole = (weak / file).read_text(encoding="utf-8")
        assert text in whole, (file, text)
        (weak / file).write_text(whole.replace(text, instead), encoding="utf-8")
    monkeypatch.setattr(server, "_HERE", str(weak))
    by_name = {attack.name: attack for attack in ATTACKS}
    with contextlib.closing(World()) as world, Pool(level) as pool:
        for name in hits:
            before = world.look()
            job = Job({"mode": "stdio", "source": world.fill(by_name[name].source)}, limits=by_name[name].limits)
            assert world.harm(before, words(pool.submit(job).result())), name
