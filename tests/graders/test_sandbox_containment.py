"""No program reaches beyond its jail: every attack at every level, seen from outside."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from graders.attacks.containment import ATTACKS
from graders.attacks.world import Attack, World, descendants, words
from posttrain.graders.sandbox.pool import Job, Pool

SPARES = 2


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    made = World()
    os.environ["CANARY"] = made.canary
    yield made
    del os.environ["CANARY"]
    made.close()


@pytest.fixture
def fresh() -> Iterator[World]:
    """A world that may be hurt."""
    made = World()
    yield made
    made.close()


@pytest.fixture(scope="module", params=["L3", "L2", "L1"])
def jail(request, world) -> Iterator[Pool]:
    """Servers that start while the canary stands in the environment."""
    with Pool(request.param, spares=SPARES) as pool:
        yield pool


def run(pool: Pool, world: World, attack: Attack) -> tuple[list[str], str]:
    """What came of an attack: harm, and how its run ended."""
    before, servers = world.look(), [server.process.pid for server in pool.servers()]
    for source in filter(None, (attack.before, attack.source)):
        ran = pool.submit(Job({"mode": "stdio", "source": world.fill(source)}, limits=attack.limits)).result()
        harm = world.harm(before, words(ran))
        if harm:
            return harm, ran.outcome
    if servers and servers != [server.process.pid for server in pool.servers()]:
        harm.append("the server was lost")
    if any(len(descendants(server.process.pid)) > 2 + SPARES for server in pool.servers()):
        harm.append("a process stayed")
    return harm, ran.outcome


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: f"{attack.aim}: {attack.name}")
def test_no_attack_succeeds(jail, world, attack):
    if jail.level not in attack.levels:
        pytest.skip(f"{jail.level} does not hide that: spec of the levels")
    harm, outcome = run(jail, world, attack)
    assert not harm, harm
    assert outcome in attack.outcomes


BARE = [attack for attack in ATTACKS if attack.bare]


@pytest.mark.nightly
@pytest.mark.parametrize("attack", BARE, ids=lambda attack: f"{attack.aim}: {attack.name}")
def test_the_eyes_see_it_without_a_sandbox(fresh, attack):
    """An attack that could not succeed anywhere would show nothing."""
    world = fresh
    user = {"user": 65534, "group": 65534, "extra_groups": []} if os.getuid() == 0 else {}
    before = world.look()
    done = subprocess.run(
        ["/usr/bin/python3", "-c", world.fill(attack.source)],
        **user,
        env={"CANARY": world.canary},
        cwd="/",
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert world.harm(before, done.stdout), (done.stdout, done.stderr)


def test_there_are_enough():
    assert len(ATTACKS) >= 60
    assert len({attack.name for attack in ATTACKS}) == len(ATTACKS)
    assert sys.platform == "linux"
