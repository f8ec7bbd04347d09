"""The real OpenBao Agent with the configuration that `vault-asc agent config` prints."""

import contextlib
import os
import re
import signal
import sys
import time
from collections.abc import Iterator

import pytest

from tests.integration.worlds import (
    FIRST_KEY,
    PROBES,
    PUTS,
    SECOND_KEY,
    agent_with,
    below,
    helpers,
    import_key,
    last_tick,
    look_at,
    naming,
    pushed_after,
    reading,
    rotate,
    state_of,
    status_of,
    ticks_of,
    token_of,
    until,
)
from vault_asc.lab.faults import slow
from vault_asc.lab.nexla.faults import refused
from vault_asc.lab.server import BaoAgent
from vault_asc.lab.world import SERVICE_KEY, World
from vault_asc.state import StateDir

pytestmark = [pytest.mark.waits, pytest.mark.skipif(sys.platform != "linux", reason="looks at processes in /proc")]

VAULT_TOKEN = re.compile(r"\b(hv)?[sbr]\.[A-Za-z0-9]{20,}")


def test_a_flow_never_meets_a_dead_token() -> None:
    """Over refreshes, a crash of the Agent, a rotation, the revocation of the old key, and two lives of its token."""
    period = 6
    with World(usable_life=18, tick=1, token_period=period) as world:
        private_lines = import_key(world)
        world.nexla.inject(slow(3, committed=True), path="*/probe")
        with world.agent() as agent:
            no_secret_shows_while_a_push_runs(world, agent, private_lines)
            first = pushed_after(world, 0)
            assert first.key_id == FIRST_KEY
            with reading(world) as answers:
                second = pushed_after(world, first.started_at)

                agent.kill()
                agent.start()
                restarted = time.time()
                until(lambda: last_tick(world) > restarted, "a tick of the restarted Agent")
                assert state_of(world) == second, "a restart is no reason to push"

                with ticks_of(world) as ticks:
                    rotated = rotate(world, SECOND_KEY)
                    third = pushed_after(world, rotated)
                assert third.key_id == SECOND_KEY
                # Two whole ticks, and the one in which the rotation fell.
                assert sum(rotated < tick <= third.started_at for tick in ticks) <= 3
                assert third.started_at < rotated + 2 * world.tick + 4
                world.apple.revoke(FIRST_KEY)

                pushed_after(world, third.started_at)
                until(lambda: time.time() > restarted + 2 * period + 2, "two periods")
            token = token_of(agent)
            assert time.time() - token["creation_time"] > 2 * period, "the Agent logged in again"
            assert 0 < token["ttl"] <= period
    assert set(answers) == {200}
    assert answers[200] > 15


def no_secret_shows_while_a_push_runs(world: World, agent: BaoAgent, private_lines: list[str]) -> None:
    until(lambda: world.nexla.journal.count(*PROBES), "a probe")
    (helper,) = helpers(agent)
    assert helper.environ == {"PATH": "/usr/bin:/bin"}
    authorization = str(world.nexla.credential().stored["api.key.auth.value"])
    secrets = [
        *private_lines,
        SERVICE_KEY,
        authorization.removeprefix("Bearer "),
        (world.dir / "secret_id").read_text(),
    ]
    assert all(len(secret) > 10 for secret in secrets)
    assert VAULT_TOKEN.fullmatch(world.server.root_token.reveal()), "what the Agent's own token looks like, too"
    own = look_at(agent.pid)
    assert own is not None
    shown = [word for process in [own, *below(agent.pid)] for word in (*process.argv, *process.environ.values())]
    for text in [*shown, *agent.log_lines()]:
        assert not [secret for secret in secrets if secret in text]
        assert not VAULT_TOKEN.search(text)


def test_what_goes_wrong_in_a_push_is_told_and_repaired_by_a_later_tick() -> None:
    """Nexla fails, the helper is killed, the helper hangs, the key is disabled, the Agent dies: one Agent, in turn."""
    with World(usable_life=300, tick=1) as world:
        import_key(world)
        world.nexla.inject(refused(500), method="PUT", path="/data_credentials/*")
        with agent_with(world, exec_timeout=6) as agent:
            a_failed_push_is_repeated(world)
            a_killed_helper_is_repeated(world, agent)
            a_helper_that_hangs_is_ended(world, agent)
            a_disabled_key_is_told(world)
        an_agent_that_is_gone_is_told(world)


def a_failed_push_is_repeated(world: World) -> None:
    until(lambda: state_of(world).failures, "a failure")
    told = status_of(world)
    assert (told["outcome"], told["failures"], told["alarm"]) == ("not written", 1, True)
    assert "500" in told["detail"]
    tick_file = world.dir / "agent" / "ticks" / "prod"
    before = tick_file.stat()
    assert pushed_after(world, 0).failures == 0
    after = tick_file.stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns), "nothing else made it due"
    assert status_of(world)["outcome"] == "live"


def a_killed_helper_is_repeated(world: World, agent: BaoAgent) -> None:
    """SIGKILL between the PUT and the record of it."""
    old, probes, puts = state_of(world), world.nexla.journal.count(*PROBES), world.nexla.journal.count(*PUTS)
    world.nexla.inject(slow(60, committed=True), path="*/probe")
    rotated = rotate(world, SECOND_KEY)
    until(lambda: world.nexla.journal.count(*PROBES) > probes, "a probe")
    (helper,) = helpers(agent)
    with standing_still(agent):
        os.kill(helper.pid, signal.SIGKILL)
        assert state_of(world) == old
        began = status_of(world)["attempt_began"]
        assert began is not None
        assert began > rotated - 1
        assert "has not ended" in world.must("status")
    assert pushed_after(world, rotated).key_id == SECOND_KEY
    assert world.nexla.journal.count(*PUTS) == puts + 2
    until(lambda: status_of(world)["attempt_began"] is None, "the end of the attempt")


def a_helper_that_hangs_is_ended(world: World, agent: BaoAgent) -> None:
    """The Agent kills its direct child alone: there must be no other."""
    world.nexla.inject(slow(60), method="PUT", path="/data_credentials/*")
    rotated = rotate(world, "TESTKEY003")
    helper = until(lambda: next(iter(helpers(agent)), None), "a helper")
    assert helper is not None
    assert below(helper.pid) == []
    until(lambda: look_at(helper.pid) is None, "the end of the helper")
    assert "did not exit within time limit" in agent.wait_for_line("did not exit")
    assert pushed_after(world, rotated).key_id == "TESTKEY003"


def a_disabled_key_is_told(world: World) -> None:
    world.must("key", "disable", "prod")
    until(lambda: state_of(world).outcome == "not written", "a failure")
    assert 'key "prod" was disabled by' in world.must("status")
    enabled = time.time()
    world.must("key", "enable", "prod")
    assert pushed_after(world, enabled).failures == 0


def an_agent_that_is_gone_is_told(world: World) -> None:
    assert "the Agent ticked" in world.must("status")
    StateDir(world.dir / "state").save_tick(time.time() - 3 * world.tick - 61)
    assert "the Agent has stopped ticking: last tick 1m" in world.must("status")
    assert status_of(world)["agent"]["stopped"]
    assert naming(world.dir) == []


@contextlib.contextmanager
def standing_still(agent: BaoAgent) -> Iterator[None]:
    """No tick comes while we look."""
    os.kill(agent.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(agent.pid, signal.SIGCONT)
