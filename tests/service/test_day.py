"""A day of many targets, with the loop, the queue, the breakers and the rates that serve them in earnest."""

import gc
from collections.abc import Iterator

import pytest

from tests.effort import effort
from tests.service.simulated import DAY, NOW, Simulation
from vault_asc.config import Target

TARGETS, KEYS = effort((5000, 5), (1000, 1))  # what a day's budget of one service key carries is 1,080 targets
OUTAGE = (NOW + 4000, NOW + 4420)


@pytest.fixture(autouse=True)
def without_collections() -> Iterator[None]:
    """A million small objects that all die by themselves."""
    gc.disable()
    yield
    gc.enable()


def test_a_day_with_one_percent_of_failures_leaves_seven_minutes() -> None:
    day = Simulation(TARGETS, keys=KEYS, chance=0.01)
    day.run(DAY)
    assert day.gaps == 0
    assert day.least >= 420
    assert TARGETS * 155 < sum(day.attempts.values()) < TARGETS * 170
    assert min(day.attempts.values()) > 140
    assert not day.near
    assert not day.told("mandatory")
    assert not day.told("breaker")


def alarmed(day: Simulation) -> list[str]:
    return sorted(str(event.target) for event in day.told("mandatory"))


@pytest.mark.parametrize("kind", ["outage", "hole"])
def test_seven_minutes_of_outage_leave_no_gap_and_everybody_who_came_near_it_was_told(kind: str) -> None:
    def out(_: Target, now: float) -> str | None:
        return kind if OUTAGE[0] <= now < OUTAGE[1] else None

    day = Simulation(TARGETS, keys=KEYS, chance=0.01, fault=out)
    day.run(9000)
    assert day.gaps == 0
    assert len(day.near) > TARGETS * 0.4, "the outage was felt"
    assert alarmed(day) == sorted(name for name, _ in day.near)
    assert len(day.told("recovered")) == len(day.near)
    assert not day.told("expired")
    # each is told when the alarm is reached, not when an attempt happens to fail
    assert all(295 <= event.facts["left"] <= 300 for event in day.told("mandatory"))
    # a host that is down is not stormed: each dying target knocks every 15 s at most, few at a time
    assert sum(1 for event in day.told("failed")) < effort(2500, 1250)


def test_a_longer_outage_is_told_too_and_the_dead_are_named() -> None:
    def out(_: Target, now: float) -> str | None:
        return "outage" if OUTAGE[0] <= now < OUTAGE[0] + 1500 else None

    day = Simulation(500, keys=1, fault=out)
    day.run(8000)
    assert len(day.told("expired")) == day.gaps == 500
    assert len(day.told("mandatory")) == len(day.told("recovered")) == 500
    assert max(state.failures for state in day.states.values()) == 0, "all are well again"


def test_a_cold_start_keeps_the_rate_and_spreads_for_ever() -> None:
    day = Simulation(TARGETS, keys=KEYS, quiet=False)
    day.run(1800)
    per_second: dict[tuple[int, str], int] = {}
    for at, name in day.begun:
        second = (int(at), day.targets[int(name.removeprefix("target-"))].nexla)
        per_second[second] = per_second.get(second, 0) + 1
    assert max(per_second.values()) <= 9  # 8 a second; a tenth of a second may come early
    assert len(day.attempts) == TARGETS
    assert day.gaps == 0
