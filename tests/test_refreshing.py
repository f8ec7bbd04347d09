"""What is not written again and again: what Apple refuses, and what only lacks its token file."""

import math
from dataclasses import replace
from typing import Any

import pytest

from tests.test_rotation import FRESH, LIVE, NOW, TARGET, World
from vault_asc.config import Target
from vault_asc.errors import ConfigError, NexlaError, VaultAscError, VaultUnavailableError
from vault_asc.nexla.discovery import LOOKED_AT
from vault_asc.outcome import Outcome, Probe
from vault_asc.refreshing import refresh
from vault_asc.rotation import TargetState, next_due, refresh_at

DISK = ConfigError('cannot write "/run/sales.jwt": no space', hint="make room")


def worked(world: World, state: TargetState, seconds: float, target: Target = TARGET) -> TargetState:
    """Attempts whenever one is due."""
    end = world.now + seconds
    while (at := max(world.now, next_due(target, state))) < end:
        world.now = at
        state = refresh(target, state, None, world.ports())
    world.now = end
    return state


@pytest.mark.parametrize("outcome", [Outcome.REFUSED, Outcome.UNPROVEN])
def test_what_is_not_proved_is_written_again_soon_five_times_and_then_at_its_time(outcome: Outcome) -> None:
    world = World(probe=Probe(outcome, "why"))
    state = worked(world, TargetState(), 200)
    assert len(world.pushed) == 6
    state = worked(world, state, 86_400)
    assert len(world.pushed) <= 6 + math.ceil(86_400 / 540)
    assert state.remaining(world.now) > 400, "it lives, for the day that Apple takes it"
    world.probe = LIVE
    assert worked(world, state, 540).failures == 0


@pytest.mark.parametrize("probe", [LIVE, Probe(Outcome.UNPROVEN, "nexla offers no probe", final=True)])
def test_a_token_file_that_cannot_be_written_is_tried_again_and_nexla_is_left_alone(probe: Probe) -> None:
    world = World(probe=probe, disk_error=DISK)
    state = worked(world, TargetState(), 400)
    assert (len(world.pushed), world.minted > 6) == (1, True)
    assert (state.outcome, state.failures > 5) == (probe.outcome, True)
    assert state.detail == f"{probe.detail}; but {DISK.message}"
    world.disk_error = None
    state = worked(world, state, 60)
    assert (state.outcome, state.detail, state.failures, state.unfiled_at) == (probe.outcome, probe.detail, 0, 0)
    assert (len(world.pushed), len(world.files)) == (1, 1)
    assert next_due(TARGET, state) == refresh_at(TARGET.name, state)
    assert state.started_at == NOW, "what stands at Nexla is the first one"


def test_a_full_disk_for_hours_costs_nexla_nothing_more() -> None:
    world = World(disk_error=DISK)
    state = worked(world, TargetState(), 86_400)
    assert len(world.pushed) <= 86_400 / 486
    assert state.remaining(world.now) > 400


CHANGES: dict[str, dict[str, Any]] = {
    "the record": {"world": {"version": 5}},
    "the target": {"target": TARGET._replace(token_field="x")},
    "its credential": {"target": TARGET._replace(credential_id=5002)},
    "the time": {"now": NOW + 600},
}


@pytest.mark.parametrize("change", CHANGES)
def test_while_the_file_fails_nexla_gets_what_is_new(change: str) -> None:
    made = CHANGES[change]
    world = World(disk_error=DISK)
    state = refresh(TARGET, TargetState(), None, world.ports())
    world = World(now=made.get("now", NOW + 5), disk_error=DISK, **made.get("world", {}))
    state = refresh(made.get("target", TARGET), state, None, world.ports())
    assert len(world.pushed) == 1
    assert state.unfiled_at


@pytest.mark.parametrize("error", [VaultUnavailableError("sealed"), NexlaError("no", retryable=True)])
def test_after_another_failure_all_is_done_again(error: VaultAscError) -> None:
    world = World(disk_error=DISK)
    state = refresh(TARGET, TargetState(), None, world.ports())
    changed = TARGET._replace(token_field="x")
    world.vault_error = world.nexla_error = lambda _: error
    state = refresh(changed, state, None, world.ports())
    assert (state.outcome, state.unfiled_at) == (Outcome.NOT_WRITTEN, 0)
    world.vault_error = world.nexla_error = lambda _: None
    world.disk_error = None
    assert (refresh(changed, state, None, world.ports()).failures, len(world.pushed)) == (0, 2)


def test_what_is_remembered_of_a_credential_is_trusted_only_after_a_good_attempt() -> None:
    plan = {"mode": "template", LOOKED_AT: NOW}
    states = [replace(FRESH, plan=plan), replace(FRESH, plan=plan, failures=1), replace(FRESH, plan=plan, settings=7)]
    world = World()
    for state in states:
        refresh(TARGET, state, None, world.ports())
    assert [LOOKED_AT in known for *_, known in world.pushed] == [True, False, False]
    assert all(known["mode"] == "template" for *_, known in world.pushed)


def test_the_age_of_a_token_counts_from_before_it_was_asked_for() -> None:
    """A machine may be suspended while it mints, or while it writes the token file."""
    asked = []

    class Slow(World):
        def write_token_file(self, target: Target, token: Any) -> None:
            self.now += 600

        def publish(self, target: Target, token: Any, plan: Any, began: float) -> Any:
            asked.append(self.now - began)
            return super().publish(target, token, plan, began)

    refresh(TARGET, TargetState(), None, Slow().ports())
    assert asked == [600]
