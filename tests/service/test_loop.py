"""The loop itself, one scene each, on pretended workers and a pretended clock."""

import itertools
import logging
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.service.simulated import HOST, NOW, VAULT, Simulation, no_fault
from vault_asc.config import Target
from vault_asc.errors import BusyError, ConfigError
from vault_asc.outcome import Outcome
from vault_asc.push import Result
from vault_asc.rotation import TargetState
from vault_asc.service.attempt import Attempted
from vault_asc.service.breaker import Mode
from vault_asc.service.loop import Service
from vault_asc.service.plan import Plan
from vault_asc.service.skew import Sample
from vault_asc.service.view import view

FAST = 1000.0
LIFE = {"mandatory", "expired", "recovered"}


def dead(*names: str) -> Callable[[Target, float], str | None]:
    return lambda target, _: "hole" if target.name in names else None


# --- isolation -----------------------------------------------------------------------------------------------------


def pass_of(sim: Simulation) -> float:
    """Seconds until every healthy target has its first token."""
    begin = sim.time.elapsed
    service = sim.service()
    service._queue()
    healthy = [t.name for t in sim.targets if sim.fault(t, 0) is None]
    while sum(name in sim.states and sim.states[name].expires_at > 0 for name in healthy) < len(healthy):
        service.step()
    return sim.time.elapsed - begin


def fast(count: int, **more: object) -> Simulation:
    sim = Simulation(count, workers=16, took=0.6, **more)  # type: ignore[arg-type]
    sim.allowance = sim.allowance._replace(writes=FAST, reads=FAST, daily_writes=1e9, daily_reads=1e9)
    return sim


def test_one_percent_of_dead_endpoints_slow_the_healthy_by_less_than_two() -> None:
    alone = pass_of(fast(2000))
    beside = pass_of(fast(2000, fault=dead(*(f"target-{n}" for n in range(0, 2000, 100)))))
    assert beside < 2 * alone
    assert alone < 1.2 * 2000 * 0.6 / 16


def test_dead_endpoints_hold_few_workers_once_they_are_known() -> None:
    holes = [f"target-{n}" for n in range(40)]
    sim = fast(1000, fault=dead(*holes))
    service = sim.run(1000)
    held = sum(1 for track in service.flights if track.target.name in holes)
    assert held <= 2
    assert sim.least > 420
    assert {track.target.name for track in service.roster.tracks.values() if track.slow_at} == set(holes)
    assert service.hosts.breakers[HOST].mode is Mode.CLOSED
    sim.fault = dead()
    sim.run(300, service)
    assert not any(track.slow_at for track in service.roster.tracks.values()), "they are let in again"
    assert not any(state.failures for state in sim.states.values())


def test_a_few_targets_that_always_fail_do_not_keep_the_others_from_their_host() -> None:
    sim = fast(6, fault=lambda target, _: "outage" if target.name in {"target-0", "target-1"} else None)
    sim.run(20_000)
    assert sim.gaps == 0
    assert sim.least > 420
    assert not sim.told("breaker")


def test_a_bug_in_one_attempt_stops_neither_the_others_nor_that_target() -> None:
    sim = fast(5)
    good = sim.attempt

    def attempt(target: Target) -> Attempted:
        if target.name == "target-3":
            sim.attempts[target.name] += 1
            return Attempted(Result(target, "no attempt was possible", error=ConfigError("x")), None)
        return good(target)

    sim.attempt = attempt  # type: ignore[method-assign]
    sim.run(1200)
    assert sim.attempts["target-3"] == pytest.approx(20, abs=2), "once a minute"
    assert {event.target for event in sim.told("not tried")} == {"target-3"}
    assert sim.gaps == 0


def test_what_nobody_foresaw_of_one_target_does_not_end_the_loop() -> None:
    sim = fast(5)
    good = sim.attempt

    def attempt(target: Target) -> Attempted:
        done = good(target)
        odd = TargetState(account="key-0", credential_id=3, expires_at="soon")  # type: ignore[arg-type]
        return done._replace(state=odd) if target.credential_id == 3 else done

    sim.attempt = attempt  # type: ignore[method-assign]
    sim.run(1200)
    assert {event.target for event in sim.told("not tried")} == {"target-2"}
    assert "TypeError" in sim.told("not tried")[0].facts["detail"]
    assert sim.attempts["target-2"] == pytest.approx(20, abs=2)
    assert sim.attempts["target-0"] >= 3


def test_a_target_that_a_push_holds_is_tried_soon() -> None:
    sim = fast(1)
    good, busy = sim.attempt, [3]

    def attempt(target: Target) -> Attempted:
        if busy[0]:
            busy[0] -= 1
            return Attempted(Result(target, "busy", error=BusyError("held")), TargetState())
        return good(target)

    sim.attempt = attempt  # type: ignore[method-assign]
    sim.run(20)
    assert sim.states["target-0"].outcome is Outcome.LIVE
    assert [event.level for event in sim.told("not tried")] == [logging.INFO] * 3


def test_what_a_push_beside_it_has_done_is_taken_over() -> None:
    sim = fast(1)
    sim.run(10)
    sim.time.elapsed += 300
    sim.attempt(sim.targets[0])  # a person, at 310 s
    pushed = sim.states["target-0"]
    calls = []

    def attempt(target: Target) -> Attempted:
        calls.append(sim.time.wall())
        return Attempted(Result(target, "not due"), pushed)

    sim.attempt = attempt  # type: ignore[method-assign]
    service = sim.run(1)
    service.plan = sim.plan()
    sim.run(500, service)
    assert len(calls) <= 2, "no hot loop"


# --- hosts that are dead ---


def hours(sim: Simulation, service: Service, seconds: float = 3600) -> float:
    """Let the host be dead for so long; when that began."""
    sim.attempts.clear()
    sim.begun.clear()
    sim.events.clear()
    sim.quiet, sim.fault = False, lambda _target, _now: "outage"
    begin = sim.time.wall()
    sim.run(seconds, service)
    return begin


@pytest.mark.parametrize(("count", "took"), [(1, 0.05), (4, 0.05), (50, 0.05), (2000, 6.0)])
def test_the_breaker_of_a_dead_host_opens_and_stays_open_however_many_targets_it_has(count: int, took: float) -> None:
    sim = Simulation(count, workers=16, took=took)
    sim.give_life(520)
    service = sim.service()
    begin = hours(sim, service, 2400)
    opened = [at for at, event in sim.events if event.name == "breaker" and event.facts["mode"] == "open"]
    assert opened[0] - begin < 600, "when the last target that was well has failed, at the latest"
    assert service.hosts.breakers[HOST].mode is not Mode.CLOSED
    late = [at for at, _ in sim.begun if at > begin + 1200]
    assert len(late) == pytest.approx(1200 / (30 + took), rel=0.1), "every token is dead, and nobody knocks any more"
    assert {event.target for event in sim.told("mandatory")} == {target.name for target in sim.targets}
    sim.fault, sim.took = no_fault, 0.05
    sim.run(90 + count / 6, service)
    assert service.hosts.breakers[HOST].mode is Mode.CLOSED
    assert sim.told("breaker")[-1].facts["mode"] == "closed"
    assert service.traffic.closed == frozenset()
    assert not any(state.failures for state in sim.states.values())


def test_a_probe_of_vault_at_a_slow_nexla_holds_up_nobody() -> None:
    sim = fast(200, quiet=False)
    service = sim.run(400)
    sim.fault = lambda _target, _now: "sealed"
    sim.run(300, service)
    assert service.hosts.breakers[VAULT].mode is not Mode.CLOSED
    assert service.hosts.breakers[HOST].mode is Mode.CLOSED
    sim.fault, sim.took = no_fault, 40
    sim.begun.clear()
    sim.run(60, service)
    assert service.hosts.breakers[VAULT].mode is Mode.CLOSED
    assert max(at for at, _ in sim.begun[:12]) - sim.begun[0][0] < 1


@pytest.mark.parametrize("fault", ["outage", "hole"])
def test_targets_that_always_fail_are_not_all_the_probes_of_a_host_that_is_well_again(fault: str) -> None:
    lost = {f"target-{n}" for n in range(15)}
    sim = Simulation(100, workers=16, took=0.05)
    sim.give_life(700)
    sim.fault = lambda target, _: fault if target.name in lost else None
    service = sim.run(600)
    hours(sim, service, 2000)
    sim.fault = lambda target, _: fault if target.name in lost else None
    sim.run(300, service)
    assert {name for name, state in sim.states.items() if state.failures} == lost
    assert service.hosts.breakers[HOST].mode is Mode.CLOSED


@pytest.mark.parametrize("before", [1, 9])
def test_who_is_about_to_die_knocks_although_others_that_are_well_or_new_or_dead_wait_too(before: int) -> None:
    sim = Simulation(40, workers=16, took=0.05, quiet=False)
    near = [f"target-{n}" for n in range(5)]
    sim.give_life(560)
    sim.give_life(290, *near)
    sim.give_life(2, "target-38")
    for name in near:
        sim.states[name] = replace(sim.states[name], failures=before, next_try=sim.time.wall() + 1)
    del sim.states["target-39"]
    service = sim.service()
    begin = hours(sim, service, 400)
    for name in near:
        knocks = [at - begin for at, who in sim.begun if who == name and at - begin < 250]
        assert max(after - at for at, after in itertools.pairwise([0.0, *knocks, 250.0])) < 17, "every 15 s"
    assert len([at for at, who in sim.begun if who in near and at - begin > 292]) < 6, "the dead do not knock"


# --- order ---------------------------------------------------------------------------------------------------------


def test_who_has_least_left_comes_first_and_the_new_do_not_push_aside_who_is_about_to_die() -> None:
    sim = Simulation(40, workers=2, quiet=False)
    sim.give_life(500)
    for number, left in enumerate((100, 50, 200)):
        sim.give_life(left, f"target-{number}")
    for name in ("target-30", "target-31"):
        del sim.states[name]
    sim.run(4)
    order = [name for _, name in sim.begun]
    assert order[:3] == ["target-1", "target-0", "target-2"]
    assert set(order[3:5]) == {"target-30", "target-31"}
    assert len(order) > 6


def test_after_a_suspension_the_earliest_come_first_and_at_the_usual_rate() -> None:
    sim = Simulation(200, workers=32, quiet=False)
    service = sim.run(600)
    sim.begun.clear()
    sim.time.ahead += 1800  # the monotonic clock stood still
    before = {name: state.expires_at for name, state in sim.states.items()}
    sim.run(60, service)
    assert [event.facts["seconds"] for event in sim.told("clock jumped")] == [1800]
    assert {name for _, name in sim.begun} == set(before)
    first, last = sim.begun[0][0], sim.begun[199][0]
    assert 24 <= last - first <= 30, "8 a second"
    assert len(sim.begun) == 200
    order = [before[name] for _, name in sim.begun if before[name] > 0]
    late = sum(one > other for one, other in itertools.pairwise(order))
    assert late < 10, "in the order of expiry, but for those in flight"


@pytest.mark.parametrize("jump", [3600.0, -3600.0, 900.0, -900.0])
def test_a_jump_of_the_clock_is_told_and_makes_no_storm(jump: float) -> None:
    sim = Simulation(100, workers=16)
    service = sim.run(1000)
    sim.attempts.clear()
    service.traffic.skews.note(VAULT, Sample(0, sim.time.elapsed))
    sim.time.ahead += jump
    sim.run(100, service)
    assert [event.facts["seconds"] for event in sim.told("clock jumped")] == [jump]
    assert set(sim.attempts.values()) == {1}
    assert len(sim.attempts) == 100
    assert service.traffic.skews.all(sim.time.elapsed) == {}, "what was measured by the old clock says nothing"
    assert all(state.issued_at <= sim.time.wall() for state in sim.states.values())


@pytest.mark.parametrize("jump", [3600.0, -3600.0])
def test_a_clock_that_stays_wrong_makes_no_hot_loop(jump: float) -> None:
    sim = fast(20)
    service = sim.run(1000)
    sim.attempts.clear()
    sim.fault = lambda _target, _now: "refused"
    sim.time.ahead += jump
    sim.run(300, service)
    assert len(sim.attempts) == 20
    assert max(sim.attempts.values()) < 300 / 10, "as after any failure, in a hurry each 15 s or a little less"
    sim.fault = no_fault
    sim.time.ahead -= jump
    sim.run(10, service)
    assert not any(state.failures for state in sim.states.values()), "all are well again at once"


def test_what_a_wrong_clock_told_is_taken_back_and_the_truth_is_told_all_the_same() -> None:
    sim = fast(1)
    service = sim.run(5)
    sim.fault = lambda _target, _now: "refused"
    sim.run(100, service)
    sim.time.ahead += 3600
    sim.run(20, service)
    assert [event.name for _, event in sim.events if event.name in LIFE] == ["mandatory", "expired"]
    sim.events.clear()
    sim.time.ahead -= 3600
    sim.run(20, service)
    assert [event.name for _, event in sim.events if event.name in LIFE] == ["recovered"]
    sim.run(1080, service)
    assert [event.name for _, event in sim.events if event.name in LIFE] == ["recovered", "mandatory", "expired"]
    assert sim.told("mandatory")[0].facts["left"] == pytest.approx(300, abs=1)


# --- reload, stop, once --------------------------------------------------------------------------------------------


def test_a_reload_takes_new_targets_drops_old_ones_and_keeps_the_rest() -> None:
    sim = Simulation(10)
    service = sim.run(30)
    assert len(sim.attempts) == 10
    new = Target("fresh", "prod", 99, nexla="key-0")
    sim.digests["fresh"] = sim.digests["target-0"]
    kept = (*sim.targets[2:], new)
    sim.next_plan = lambda: sim.plan(kept)
    service.reload()
    sim.attempts.clear()
    sim.run(20, service)
    assert [event.name for event in sim.told("reloaded")] == ["reloaded"]
    assert set(sim.attempts) == {"fresh"}
    sim.run(1200, service)
    assert set(sim.attempts) == {target.name for target in kept}
    assert {target.name for target in view(service).targets} == set(sim.attempts)


def test_a_bad_configuration_is_told_and_the_old_one_goes_on() -> None:
    sim = Simulation(10)
    service = sim.run(30)

    def refuse() -> Plan:
        raise ConfigError("capacity of nothing", hint="mend it")

    sim.next_plan = refuse
    service.reload()
    sim.run(600, service)
    [event] = sim.told("reload refused")
    assert event.facts["detail"] == "capacity of nothing"
    assert sum(sim.attempts.values()) >= 20
    sim.next_plan = sim.plan
    service.reload()
    sim.run(10, service)
    assert sim.told("reloaded")


def test_a_target_that_is_changed_while_it_is_in_flight_is_pushed_again() -> None:
    sim = Simulation(1, took=5)
    service = sim.service()
    service._queue()
    service.step()
    changed = sim.targets[0]._replace(vendor="other")
    sim.next_plan = lambda: sim.plan((changed,))
    service.reload()
    seen = []
    good = sim.attempt
    sim.attempt = lambda target: (seen.append(target.vendor), good(target))[1]  # type: ignore[method-assign,func-returns-value]
    sim.run(20, service)
    assert seen[0] == "other"


def test_a_stop_finishes_what_is_in_flight_and_begins_nothing() -> None:
    sim = Simulation(100, took=5)
    service = sim.service()
    service._queue()
    while len(service.flights) < 1:
        service.step()
    flying, begun = len(service.flights), sum(sim.attempts.values())
    service.stop()
    begin = sim.time.elapsed
    assert service.run() is True
    assert (flying, sum(sim.attempts.values()) - begun) == (1, 0)
    assert sim.time.elapsed - begin <= 6
    assert view(service).stopping


def test_a_stop_does_not_wait_for_a_hole() -> None:
    sim = Simulation(1, hole=60, fault=dead("target-0"))
    service = sim.service()
    service._queue()
    service.step()
    begin = sim.time.elapsed
    service.stop()
    assert service.run() is False
    assert sim.time.elapsed - begin == pytest.approx(10, abs=0.2)


def test_once_tries_what_is_due_and_nothing_twice() -> None:
    sim = fast(20, fault=lambda target, _: "outage" if target.name == "target-7" else None)
    sim.give_life(900, "target-3", "target-4")
    results = sim.service().run_once()
    assert sorted(result.target.name for result in results) == sorted(set(sim.attempts))
    assert len(results) == 18
    assert [r.target.name for r in results if r.state and r.state.failures] == ["target-7"]


def test_once_does_not_wait_for_a_host_that_is_down() -> None:
    sim = fast(100, fault=lambda _target, _now: "outage")
    begin = sim.time.elapsed
    results = sim.service().run_once()
    assert len(results) == 100
    assert sim.time.elapsed - begin < 30
    assert sum(result.error is not None for result in results) > 80


# --- what is seen --------------------------------------------------------------------------------------------------


def test_the_view_tells_everything_and_is_frozen() -> None:
    sim = fast(30, fault=dead("target-1"))
    service = sim.run(60)
    service.traffic.skews.note(HOST, Sample(12.5, sim.time.elapsed))
    seen = view(service)
    assert seen.taken_at == pytest.approx(NOW + 60, abs=6)
    by_name = {target.name: target for target in seen.targets}
    assert len(by_name) == 30
    assert by_name["target-0"].outcome is Outcome.LIVE
    assert 900 < (by_name["target-0"].left or 0) < 1080
    assert (by_name["target-1"].left, by_name["target-1"].alarm, by_name["target-1"].slow) == (None, True, True)
    hosts = {host.endpoint: host for host in seen.hosts}
    assert (hosts[HOST].mode, hosts[HOST].skew) == (Mode.CLOSED, 12.5)
    assert set(hosts) == {HOST, VAULT}
    with pytest.raises(AttributeError):
        seen.targets[0].left = 3  # type: ignore[misc]


def test_an_open_breaker_is_seen_and_told() -> None:
    sim = fast(30)
    service = sim.run(60)
    sim.fault = lambda _target, _now: "outage"
    sim.run(600, service)
    assert sim.told("breaker")[0].facts["mode"] == "open"
    [host] = [host for host in view(service).hosts if host.endpoint == HOST]
    assert host.mode is not Mode.CLOSED
    assert service.traffic.closed in {frozenset({HOST}), frozenset()}
