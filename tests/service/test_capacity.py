"""What a service key can carry: what is refused is impossible, and what is accepted keeps the promise."""

import math
from dataclasses import replace

import pytest

from tests.service.simulated import DAY, GOOD, Simulation
from tests.test_rotation import FRESH, TARGET
from vault_asc.config import Target
from vault_asc.errors import ConfigError
from vault_asc.nexla.allowance import DEFAULT, Allowance
from vault_asc.nexla.discovery import SHARED
from vault_asc.nexla.publisher import trusted_for
from vault_asc.rotation import TargetState, settings_of
from vault_asc.service.attempt import Attempted
from vault_asc.service.capacity import check, loads
from vault_asc.service.loop import Service
from vault_asc.tokens import TokenRequest

PROMISE = 420
"""Seconds of life that every consumer sees in normal running."""
DAILY = Allowance(8, 12, 172_800, 259_200)


def many(count: int, account: str = "default", lifetime: int = 1140) -> list[Target]:
    target = TARGET._replace(nexla=account, request=TokenRequest(lifetime))
    return [target._replace(name=f"{account}-{n}") for n in range(count)]


THREE_CALLS = replace(FRESH, settings=settings_of(many(1)[0]), plan={SHARED: True})


def test_the_budget_of_a_day_carries_1080_targets_and_the_refusal_shows_the_arithmetic() -> None:
    check(loads(many(1080), {"default": DAILY}))
    with pytest.raises(ConfigError) as caught:
        check(loads(many(5000), {"default": DAILY}))
    assert "5000 > 1080, so refreshing each token at half of its life is impossible" in caught.value.message
    assert "5000 targets need 800,000 writes a day (one refresh every 540 s" in caught.value.message
    assert "may make 172,800" in caught.value.message
    assert caught.value.hint is not None
    assert "shard over 5 service keys" in caught.value.hint
    assert "--shard does not help" in caught.value.hint


def test_without_a_budget_for_the_day_the_second_counts() -> None:
    [load] = loads(many(4320), {"default": DEFAULT})
    assert (load.capacity, load.keys_needed, load.tightest.kind) == (4320, 1, "writes a second")
    check([load])
    with pytest.raises(ConfigError, match=r"4321 > 4320, .* need 8.002 writes a second .* may make 8$"):
        check(loads(many(4321), {"default": DEFAULT}))


def test_short_lives_cost_more_and_accounts_count_apart() -> None:
    found = loads([*many(10, "a"), *many(10, "b", 120)], {"a": DAILY, "b": DAILY, "unused": DAILY})
    assert [(load.account, load.targets, load.capacity) for load in found] == [("a", 10, 1080), ("b", 10, 60)]
    assert math.isclose(found[0].used, 10 / 1080)


def test_reads_count_where_they_are_scarce() -> None:
    [load] = loads(many(3000), {"default": Allowance(8, 6)})
    assert (load.tightest.kind, load.capacity) == ("reads a second", 2700)
    with pytest.raises(ConfigError, match=r"need 6.667 reads a second .* a look each 45 min.* may make 6"):
        check([load])


def test_what_was_seen_to_need_a_look_before_each_write_counts_so() -> None:
    targets, state, tenth = many(400), THREE_CALLS, Allowance(0.8, 1.2)
    [load] = loads(targets, {"default": tenth}, lambda _: state)
    assert (load.shared, load.capacity, load.tightest.kind) == (400, 324, "reads a second")
    with pytest.raises(ConfigError, match="but before each write for 400 that show values of others"):
        check([load])
    [load] = loads(targets, {"default": tenth}, lambda name: state if name[-1] in "13579" else TargetState())
    assert (load.shared, load.capacity) == (200, 405)
    changed = [target._replace(token_field="x") for target in targets]
    assert loads(changed, {"default": tenth}, lambda _: state)[0].capacity == 432, "the state is about another"


def test_a_role_that_gives_less_than_the_lifetime_counts_as_far_as_it_is_known() -> None:
    targets = [target._replace(key=None, role="short") for target in many(100)]
    state = replace(FRESH, settings=settings_of(targets[0]), usable_life=540)
    [load] = loads(targets, {"default": DEFAULT}, lambda _: state)
    assert (load.shortened, load.capacity, round(load.interval)) == (100, 2160, 270)
    [load] = loads(targets, {"default": DEFAULT}, lambda _: replace(state, usable_life=1030))
    assert (load.shortened, load.capacity) == (0, 4320), "a skew of clocks is no other life"


def test_a_state_that_cannot_be_read_is_no_reason_to_stop() -> None:
    def broken(_: str) -> TargetState:
        raise ConfigError("it has format 2")

    assert loads(many(10), {"default": DEFAULT}, broken)[0].capacity == 4320


# --- the promise, at the edge of the capacity ----------------------------------------------------------------------


class Edge(Simulation):
    """A part of a service key's limits, so a part of its targets; looks at credentials as the publisher makes them."""

    shared = False

    def attempt(self, target: Target) -> Attempted:
        attempted = super().attempt(target)
        now, at = self.time.wall(), self.looked.get(target.name, 0.0)
        if attempted.seen is not GOOD:
            self.looked.pop(target.name, None)
        elif self.shared or now - at >= trusted_for(target):
            self.looked[target.name] = now
            return attempted._replace(seen=(*GOOD, GOOD[-1]))
        return attempted

    def __post_init__(self) -> None:
        self.looked: dict[str, float] = {}
        super().__post_init__()

    def settled(self, seconds: float) -> Service:
        """All have a token, and what follows is normal running."""
        service = self.run(seconds)
        self.least, self.gaps = 1e9, 0
        self.near.clear()
        self.events.clear()
        return service


def accepted(count: int, allowance: Allowance, state: TargetState | None = None) -> bool:
    try:
        check(loads(many(count), {"default": allowance}, lambda _: state or TargetState()))
    except ConfigError:
        return False
    return True


SECOND = DEFAULT.part(1 / 40)
OF_DAY = DAILY.part(1 / 40)


@pytest.mark.parametrize("chance", [0.0, 0.01])
@pytest.mark.parametrize(("count", "allowance", "hours"), [(108, SECOND, 3.0), (27, OF_DAY, 12.0)])
def test_a_plan_that_is_just_accepted_keeps_the_promise_over_looks_failures_and_reloads(
    count: int, allowance: Allowance, hours: float, chance: float
) -> None:
    assert accepted(count, allowance)
    assert not accepted(count + 1, allowance)
    edge = Edge(count, workers=64, allowance=allowance, chance=chance)
    service = edge.settled(3000)
    edge.run(hours * 1800, service)
    service.reload()
    edge.run(hours * 1800, service)
    assert edge.least >= PROMISE
    assert not edge.told("mandatory")
    assert len(edge.told("reloaded")) == 1


def test_targets_of_three_calls_keep_the_promise_too() -> None:
    assert accepted(81, SECOND, THREE_CALLS)
    assert not accepted(82, SECOND, THREE_CALLS)
    edge = Edge(81, workers=64, allowance=SECOND)
    edge.shared = True
    edge.run(5400, edge.settled(3000))
    assert edge.least >= PROMISE
    assert not edge.told("mandatory")


def test_dying_targets_cost_the_others_nothing_when_a_day_is_used_up() -> None:
    """Half of the targets write as often as they are let, and no token of theirs is any good."""
    edge = Edge(20, workers=64, allowance=OF_DAY._replace(daily_writes=3400), quiet=False)
    refused = {target.name for target in edge.targets[::2]}
    attempt = edge.attempt

    def attempts(target: Target) -> Attempted:
        attempted = attempt(target)
        if target.name not in refused or attempted.state is None:
            return attempted
        state = replace(attempted.state, failures=9, next_try=edge.time.wall() + 20)
        edge.states[target.name] = state
        return attempted._replace(state=state)

    edge.attempt = attempts  # type: ignore[method-assign]  # what is simulated
    edge.run(DAY / 4)
    left = [
        edge.states[target.name].remaining(edge.time.wall()) for target in edge.targets if target.name not in refused
    ]
    assert min(left) >= PROMISE - 60
    assert len(edge.begun) <= 0.02 * 3400 + 0.97 * 3400 / 4 + 1
    assert len(edge.begun) > 0.97 * 3400 / 4
