"""A single pass that is told to stop: an answer for each target, whatever became of it."""

from tests.service.simulated import Simulation
from vault_asc.service.once import StoppedError


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
