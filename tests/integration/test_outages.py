"""Vault sealed, Vault down, Nexla down: lives shortened, nothing else."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.integration.worlds import (
    import_key,
    last_tick,
    pushed_after,
    reading,
    state_of,
    status_of,
    token_of,
    until,
)
from vault_asc.lab.faults import dropped
from vault_asc.lab.server import BaoServer
from vault_asc.lab.world import World
from vault_asc.rotation import refresh_at
from vault_asc.state import StateDir

pytestmark = pytest.mark.waits

REPAIRED_WITHIN = 90.0  # seconds after the end of the outage: the promise; a few are usual


def test_an_outage_of_vault_ends_before_the_token_does() -> None:
    """Side by side, because they mostly wait: sealed, and down for so long that the Agent's own token dies."""
    with ThreadPoolExecutor() as pool:
        outages = [pool.submit(outage_of_vault, "sealed", 60), pool.submit(outage_of_vault, "down", 4)]
    for outage in outages:
        outage.result()


def outage_of_vault(outage: str, token_period: int) -> None:
    """A fifth of the usable life, around the moment of the refresh."""
    server = BaoServer(storage="raft")
    with World(usable_life=30, tick=1, token_period=token_period, server=server) as world:
        import_key(world)
        with world.agent() as agent:
            first = pushed_after(world, 0)
            old_token = token_of(agent)
            with reading(world) as answers:
                wait_until(refresh_at("sales", first) - 1.5)
                server.seal() if outage == "sealed" else server.stop()
                during_an_outage_of_vault(world)
                wait_until(refresh_at("sales", first) + 4)
                server.unseal() if outage == "sealed" else server.start()
                over = time.time()
                second = pushed_after(world, first.started_at)
            assert second.started_at > over - 0.5
            assert second.started_at - over < REPAIRED_WITHIN
            until(lambda: last_tick(world) > over, "a tick")
            assert "the Agent ticked" in world.must("status")
            logged_in_again = token_of(agent)["creation_time"] > old_token["creation_time"]
            assert logged_in_again == (outage == "down")
    assert set(answers) == {200}
    assert second.failures == 0


def during_an_outage_of_vault(world: World) -> None:
    """The old token stands, and the silence of the Agent is told (here: of three ticks and a minute, put back)."""
    StateDir(world.dir / "state").save_tick(time.time() - 3 * world.tick - 61)
    told = status_of(world)
    assert (told["outcome"], told["agent"]["stopped"]) == ("live", True)
    assert told["left"] > 0


def test_an_outage_of_nexla_ends_before_the_token_does() -> None:
    """A third of the usable life, around the moment of the refresh, over two failed attempts."""
    with World(usable_life=40, tick=1, targets={"news": 5001}) as world:
        import_key(world)
        with world.agent():
            first = pushed_after(world, 0, "news")
            with reading(world) as answers:
                wait_until(refresh_at("news", first) - 1)
                world.nexla.inject(dropped(), count=10_000)
                until(lambda: state_of(world, "news").failures, "a failure")
                told = status_of(world, "news")
                assert told["outcome"] == "not written"
                assert "no answer from nexla" in told["detail"]
                assert told["key_id"] == first.key_id
                assert told["left"] > 0
                wait_until(refresh_at("news", first) + 12)
                assert state_of(world, "news").failures >= 2
                world.nexla.heal()
                over = time.time()
                second = pushed_after(world, first.started_at, "news")
            assert second.started_at > over
            assert second.failures == 0
            assert status_of(world, "news")["outcome"] == "live"
    assert set(answers) == {200}


def wait_until(moment: float) -> None:
    """Real time has to go by: lives are what is tested here."""
    time.sleep(max(0, moment - time.time()))
