"""A single pass: an answer for each target, whatever became of it, and numbers at its end."""

import logging

from tests.service.simulated import Simulation
from vault_asc.service.once import StoppedError, done


def test_who_was_not_tried_is_told_as_that() -> None:
    sim = Simulation(10, workers=2, fault=lambda target, _: service.stop() if target.name == "target-4" else None)
    service = sim.service()
    results = service.run_once()
    assert sorted(result.target.name for result in results) == sorted(target.name for target in sim.targets)
    tried = [result for result in results if result.error is None]
    left = [result for result in results if isinstance(result.error, StoppedError)]
    assert {result.target.name for result in tried} == set(sim.attempts)
    assert 1 <= len(tried) <= 9
    assert len(tried) + len(left) == 10
    assert {result.reason for result in left} == {"not tried"}


def test_who_was_not_finished_in_time_is_told_as_that() -> None:
    def hole(target: object, _now: float) -> str:
        service.stop()
        return "hole"

    sim = Simulation(3, workers=1, hole=60, fault=hole)
    service = sim.service()
    results = service.run_once()
    assert [result.reason for result in results] == ["not finished", "not tried", "not tried"]
    assert all(isinstance(result.error, StoppedError) for result in results)


def test_a_stop_before_the_first_attempt_misses_nobody() -> None:
    sim = Simulation(3)
    service = sim.service()
    service.stop()
    assert [result.reason for result in service.run_once()] == ["not tried"] * 3


def test_the_end_of_a_pass_counts_everybody_also_behind_a_host_that_is_down() -> None:
    sim = Simulation(20, workers=2, fault=lambda _target, _now: "outage")
    service = sim.service()
    event = done(service.run_once(), len(service.roster.tracks))
    facts = dict(event.facts)
    assert event.level == logging.ERROR
    assert sum(facts.values()) == 20
    assert facts == {"refreshed": 0, "failed": len(sim.attempts), "not_finished": 0, "not_tried": 20 - len(sim.attempts), "not_due": 0}  # fmt: skip
    assert 1 <= facts["failed"] <= 6


def test_the_end_of_a_pass_counts_what_was_not_due_and_what_was_not_finished() -> None:
    sim = Simulation(3, workers=1)
    sim.give_life(900, "target-0")
    service = sim.service()
    good = done(service.run_once(), 3)
    assert good.level == logging.INFO
    assert dict(good.facts) == {"refreshed": 2, "failed": 0, "not_finished": 0, "not_tried": 0, "not_due": 1}

    def hole(_target: object, _now: float) -> str:
        again.stop()
        return "hole"

    held = Simulation(3, workers=1, hole=60, fault=hole)
    again = held.service()
    assert dict(done(again.run_once(), 3).facts) == {
        "refreshed": 0,
        "failed": 0,
        "not_finished": 1,
        "not_tried": 2,
        "not_due": 0,
    }
