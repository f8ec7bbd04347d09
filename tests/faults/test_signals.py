"""Signals at any moment, and two services at once."""

import random
import time

import pytest

from tests.faults import kills
from tests.faults.conftest import Told
from tests.faults.rig import due_in, once, ready, serving, state, states
from tests.integration.worlds import PUTS, until
from vault_asc.lab.faults import slow
from vault_asc.lab.world import World

pytestmark = pytest.mark.waits

TERMS = 20


def test_f26_killed_at_any_moment(told: Told) -> None:
    tally = kills.run(kills.ROUNDS, seed=26)
    assert tally.caught > 0, "no attempt was caught in the act: the test proves nothing"
    assert tally.shown is not None, "no kill left an attempt that has not ended"
    told(tally.shown)


def test_f27_terminated_at_any_moment(told: Told) -> None:
    """In every round some pushes are slow, so that it often strikes in the middle of one."""
    chance = random.Random(27)
    in_flight = 0
    with ready(World(targets=kills.TARGETS, usable_life=kills.LIFE)) as world:
        for _ in range(TERMS):
            world.nexla.heal()
            world.nexla.inject(slow(0.4), count=2, method="PUT", path="/data_credentials/*")
            due_in(world, 0, *kills.TARGETS)
            with serving(world) as service:
                time.sleep(chance.uniform(0.0, 0.6))
                in_flight += any(states(world).unended(target) for target in kills.TARGETS)
                began = time.monotonic()
                assert service.stop() == 0
                assert time.monotonic() - began < 10
                told(service)
            for target, number in kills.TARGETS.items():
                assert state(world, target).outcome == "live"
                assert not states(world).unended(target)
                kills.whole(world, target)
                assert (world.dir / f"{target}.jwt").read_text() in str(world.nexla.credential(number).stored)
    assert in_flight > TERMS / 4, "it seldom struck in the middle"


def test_f30_two_services_at_once(world: World, told: Told) -> None:
    due_in(world, 3, *world.targets)
    before = world.nexla.journal.count(*PUTS)
    with serving(world) as service:
        done = once(world)
        assert done.code == 75
        told(done)
        for target in world.targets:
            service.first("refreshed", target)
        assert world.must("push", "--all", "--if-due").count("not due") == 3
        assert service.stop() == 0
    assert world.nexla.journal.count(*PUTS) == before + 3
    with serving(world) as service:
        assert until(lambda: service.events("started"), "a start"), "the lock went with its holder"
        assert not service.of("refreshed"), service.text
        assert service.stop() == 0
