"""Faults under the real Agent; the scenes are those of the end-to-end tests."""

import sys

import pytest

from tests.faults.conftest import Told
from tests.integration import test_agent as scenes
from tests.integration.worlds import agent_with, import_key, naming, pushed_after, state_of, until
from vault_asc.lab.nexla.faults import refused
from vault_asc.lab.world import World

pytestmark = [pytest.mark.waits, pytest.mark.skipif(sys.platform != "linux", reason="looks at processes in /proc")]


def test_f28_the_exec_of_the_agent_runs_out_of_time(told: Told) -> None:
    with World(usable_life=300, tick=1) as world:
        import_key(world)
        with agent_with(world, exec_timeout=4) as agent:
            pushed_after(world, 0)
            scenes.a_helper_that_hangs_is_ended(world, agent)
            told(agent)
        until(lambda: not naming(world.dir), "an end of all that it started")


def test_f29_a_push_under_the_agent_fails(told: Told) -> None:
    with World(usable_life=300, tick=1) as world:
        import_key(world)
        world.nexla.inject(refused(500), method="PUT", path="/data_credentials/*")
        with world.agent():
            until(lambda: state_of(world).failures, "a failure")
            told(world.run("status"))
            tick = (world.dir / "agent" / "ticks" / "prod").stat()
            assert pushed_after(world, 0).failures == 0
            assert (world.dir / "agent" / "ticks" / "prod").stat().st_mtime_ns == tick.st_mtime_ns
