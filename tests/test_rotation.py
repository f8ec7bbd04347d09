import heapq
import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.keys import ISSUER_ID, KEY_ID
from vault_asc.config import Target
from vault_asc.errors import (
    ConfigError,
    NexlaError,
    NotFoundError,
    PermissionDeniedError,
    TokenRequestError,
    VaultAscError,
    VaultUnavailableError,
)
from vault_asc.key.identity import identity
from vault_asc.outcome import Outcome, Probe
from vault_asc.refreshing import Ports, refresh, retry_after
from vault_asc.rotation import (
    TargetState,
    Tick,
    alarm_below,
    backoff,
    due,
    next_due,
    refresh_at,
    settings_of,
    spread,
)
from vault_asc.secret import Secret
from vault_asc.tokens import Token, TokenRequest, claims

NOW = 1_772_366_400.0
TEAM = identity(key_id=KEY_ID, issuer_id=ISSUER_ID, individual=False)
TARGET = Target("sales", "prod", 5001)
LIVE = Probe(Outcome.LIVE, "nexla reached apple with the token")

FRESH = TargetState(
    account="default",
    credential_id=5001,
    settings=settings_of(TARGET),
    key_id=KEY_ID,
    started_at=NOW,
    issued_at=int(NOW) - 60,
    expires_at=int(NOW) + 1080,
    usable_life=1080,
    record_version=4,
    tried_at=NOW,
    tried_version=4,
    outcome=Outcome.LIVE,
)
TRIED = TargetState("default", 5001, settings_of(TARGET), failures=1, tried_at=NOW)
FAILED = replace(FRESH, failures=2, tried_at=NOW + 550, next_try=NOW + 600)


@dataclass
class World:
    """Vault, Nexla, a disk and a clock in one: what the ports of a pass do is written here, and what they did."""

    now: float = NOW
    took: float = 2.0
    version: int = 4
    vault_error: Callable[[Target], VaultAscError | None] = lambda _: None
    nexla_error: Callable[[Target], VaultAscError | None] = lambda _: None
    disk_error: VaultAscError | None = None
    probe: Probe = LIVE
    pushed: list[tuple[float, str, str, dict[str, Any]]] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    minted: int = 0

    def clock(self) -> float:
        return self.now

    def mint(self, target: Target) -> tuple[Token, int]:
        error = self.vault_error(target)
        if error is not None:
            raise error
        self.minted += 1
        body = claims(TEAM, target.request, self.now)
        token = Token(Secret(f"token-{self.minted}"), KEY_ID, body["iat"], body["exp"])
        return token, 0 if target.role else self.version

    def write_token_file(self, target: Target, token: Secret) -> None:
        if self.disk_error is not None:
            raise self.disk_error
        self.files.append(token.reveal())

    def publish(
        self, target: Target, token: Secret, plan: Mapping[str, Any], began: float
    ) -> tuple[Mapping[str, Any], Probe]:
        assert began <= self.now
        self.now += self.took
        error = self.nexla_error(target)
        if error is not None:
            raise error
        self.pushed.append((self.now, target.name, token.reveal(), dict(plan)))
        return {"mode": "template"}, self.probe

    def ports(self) -> Ports:
        return Ports(self.clock, self.mint, self.write_token_file, self)


# --- the schedule --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "tick", "after", "reason"),
    [
        (TargetState(), None, 0, "never pushed"),
        (TargetState(), Tick(4, NOW), 0, "never pushed"),
        (FRESH, None, 0, None),
        (FRESH, None, 485, None),
        (FRESH, None, 595, "half its life is over"),
        (FRESH, None, 5000, "half its life is over"),
        (replace(FRESH, settings=7), None, 1, "the target was changed"),
        (replace(FAILED, settings=7), None, 560, "the target was changed"),
        # a tick file that is older than the token, or that shows the token's version, says nothing
        (FRESH, Tick(4, NOW + 10), 11, None),
        (FRESH, Tick(3, NOW - 1), 11, None),
        (FRESH, Tick(5, NOW - 0.001), 11, None),
        # written after the attempt began, with another version: in either direction, so that a roll-back is seen
        (FRESH, Tick(5, NOW), 1, "the key was changed"),
        (FRESH, Tick(5, NOW + 10), 11, "the key was changed"),
        (FRESH, Tick(3, NOW + 10), 11, "the key was changed"),
        # the clock went back: by more than the token's own slack of 60 s
        (FRESH, None, -59, None),
        (FRESH, None, -61, "the clock went back"),
        (FRESH, None, -3600, "the clock went back"),
        (FAILED, None, 549, None),
        (FAILED, None, 599.9, None),
        (FAILED, None, 600, "attempt 3"),
        (FAILED, None, 9999, "attempt 3"),
        # a failure with the clock an hour ahead must not hold up for an hour
        (replace(FAILED, tried_at=NOW + 3600, next_try=NOW + 3660), None, 600, "the clock went back"),
        (replace(FAILED, tried_at=NOW + 3600, next_try=NOW + 4500), Tick(5, NOW + 9), 600, "the clock went back"),
        # and once it was tried by the new clock it has its backoff, whatever the token says that stays meanwhile
        (replace(FAILED, tried_at=NOW - 3600, next_try=NOW - 3555), None, -3599, None),
        (replace(FAILED, tried_at=NOW - 3600, next_try=NOW - 3555), None, -3555, "attempt 3"),
        # a version that was not tried yet is worth an attempt before the wait is over, one that was is not
        (FAILED, Tick(5, NOW + 560), 561, "the key was changed"),
        (replace(FAILED, tried_version=5), Tick(5, NOW + 560), 561, None),
        (replace(FAILED, tried_version=5), Tick(6, NOW + 560), 561, "the key was changed"),
        (FAILED, Tick(4, NOW + 560), 561, None),
        (FAILED, Tick(5, NOW - 1), 561, None),
        # a target that never worked: each failure counts, half a life of nothing does not
        (replace(TRIED, next_try=NOW + 30), None, 29, None),
        (replace(TRIED, next_try=NOW + 30), None, 30, "attempt 2"),
        (replace(TRIED, next_try=NOW + 900), Tick(1, NOW + 9), 10, "never pushed"),
        (replace(TRIED, tried_version=1, next_try=NOW + 900), Tick(1, NOW + 9), 10, None),
    ],
)
def test_when_a_target_is_due(state: TargetState, tick: Tick | None, after: float, reason: str | None) -> None:
    assert due(TARGET, state, tick, NOW + after) == reason


CHANGES: dict[str, Any] = {
    "key": "other",
    "credential_id": 5002,
    "request": TokenRequest(scope=("GET /v1/apps",)),
    "nexla": "second",
    "mode": "rest",
    "vendor": "x",
    "auth_template": "x",
    "token_field": "x",
    "token_prefix": "",
    "extra_fields": {"test.url": "x"},
    "token_file": Path("/run/sales.jwt"),
    "role": "sales",
}


def test_every_setting_of_a_target_is_changed_below() -> None:
    assert set(CHANGES) == set(Target._fields) - {"name"}


@pytest.mark.parametrize("setting", CHANGES)
def test_a_changed_target_is_due_once_and_its_failures_have_their_backoff(setting: str) -> None:
    target = TARGET._replace(**{setting: CHANGES[setting]})
    for state in (FRESH, FAILED):
        assert due(TARGET, state, None, NOW + 560 if state is FAILED else NOW + 1) is None
        assert due(target, state, None, NOW + 560) == "the target was changed"
        assert next_due(target, state) == 0
        world = World(now=NOW + 560, nexla_error=lambda _: NexlaError("x", retryable=True))
        failed = refresh(target, state, None, world.ports())
        assert due(target, failed, None, world.now) is None
        pushed = refresh(target, failed, None, World(now=NOW + 570).ports())
        assert (due(target, pushed, None, NOW + 580), pushed.failures) == (None, 0)
        assert due(TARGET, pushed, None, NOW + 580) == "the target was changed"


@pytest.mark.parametrize("change", [{"credential_id": 5002}, {"nexla": "second"}])
def test_what_is_known_of_another_credential_is_forgotten(change: dict[str, Any]) -> None:
    world = World(nexla_error=lambda _: NexlaError("x"))
    state = refresh(TARGET._replace(**change), replace(FAILED, plan={"old": 1}), None, world.ports())
    assert (state.started_at, state.expires_at, state.key_id, state.failures, state.plan) == (0, 0, "", 1, {})


names = st.from_regex(r"[a-z0-9][a-z0-9-]{0,20}", fullmatch=True)


@settings(max_examples=200, deadline=None)
@given(names, st.integers(5, 1140), st.floats(1e9, 2e9))
def test_a_token_is_refreshed_about_half_way(name: str, usable: int, started: float) -> None:
    state = replace(FRESH, started_at=started, usable_life=usable)
    assert 0.45 * usable - 1e-6 <= refresh_at(name, state) - started <= 0.55 * usable + 1e-6
    assert refresh_at(name, state) == refresh_at(name, state)
    assert refresh_at(name, replace(state, started_at=started + 1)) > refresh_at(name, state)


def test_the_spread_is_fixed_bounded_and_even() -> None:
    values = sorted(spread(f"target-{n}") for n in range(4000))
    assert -1 <= values[0] < -0.99
    assert 0.99 < values[-1] <= 1
    tenths = [sum(1 for v in values if low <= v < low + 0.2) for low in (x / 5 - 1 for x in range(10))]
    assert all(320 <= count <= 480 for count in tenths), tenths
    assert spread("sales") == spread("sales") != spread("sales2")


@settings(max_examples=300, deadline=None)
@given(names, st.booleans(), st.floats(0, 4000), st.integers(0, 12))
def test_due_and_next_due_tell_the_same_and_due_stays_due(name: str, failed: bool, wait: float, failures: int) -> None:
    target = TARGET._replace(name=name)
    state = replace(FRESH, failures=failures, next_try=NOW + wait) if failed else FRESH
    at = next_due(target, state)
    assert due(target, state, None, at) is not None
    assert all(due(target, state, None, at + later) for later in (0.001, 1, 60, 100_000))
    if at - 1 >= NOW:
        assert due(target, state, None, at - 1) is None


def test_what_was_never_pushed_is_due_now() -> None:
    assert next_due(TARGET, TargetState()) == 0


@settings(max_examples=200, deadline=None)
@given(names, st.integers(1, 10**9), st.booleans())
def test_the_wait_doubles_up_to_its_cap(name: str, failures: int, hurry: bool) -> None:
    cap = 15 if hurry else 60
    full = min(cap, 5 * 2 ** min(failures - 1, 20))
    assert full / 2 <= backoff(name, failures, hurry=hurry) <= full


def test_the_waits_of_many_are_spread() -> None:
    waits = {round(backoff(f"target-{n}", 6, hurry=False)) for n in range(500)}
    assert len(waits) > 25
    assert min(waits) < 32
    assert max(waits) > 58


@pytest.mark.parametrize(
    ("error", "low", "high"),
    [
        *[(NexlaError("x", status=s), 900, 900) for s in (400, 403, 404, 422)],
        *[(NexlaError("x", status=s), 2.5, 5) for s in (401, 405, 409, 500, 503, None)],
        (NexlaError("x", status=409, retryable=True), 2.5, 5),
        (NexlaError("x", status=401, pause=60), 60, 60),
        (NexlaError("x", status=401, pause=1), 2.5, 5),
        (NexlaError("x", status=429, retryable=True), 2.5, 5),
        (NotFoundError("x"), 60, 60),
        (PermissionDeniedError("x"), 60, 60),
        (VaultUnavailableError("x"), 2.5, 5),
        (TokenRequestError("x"), 2.5, 5),
    ],
)
def test_what_only_a_person_can_mend_is_not_tried_all_the_time(error: VaultAscError, low: float, high: float) -> None:
    for left in (0, -100, -NOW):
        assert low <= retry_after(error, "sales", 1, left=left, alarm=300) <= high


@pytest.mark.parametrize(
    ("left", "low", "high"),
    [(1080, 780, 780), (540, 240, 240), (310, 10, 10), (301, 2.5, 5), (299, 2.5, 5), (1, 2.5, 5)],
)
def test_no_living_token_waits_beyond_its_alarm(left: float, low: float, high: float) -> None:
    for status in (400, 403, 404, 422):
        assert low <= retry_after(NexlaError("x", status=status), "sales", 1, left=left, alarm=300) <= high


@pytest.mark.parametrize("status", [400, 403, 404, 405, 409, 422])
@pytest.mark.parametrize("errors", [1, 2, 3])
def test_a_few_permanent_looking_errors_let_no_token_die(status: int, errors: int) -> None:
    """At every refresh, as when a deployment of Nexla answers nonsense for a moment."""
    day = Day(1, seconds=DAY / 24)
    wrong = [0]

    def sometimes(_: Target) -> VaultAscError | None:
        wrong[0] = wrong[0] + 1 if wrong[0] < errors else 0
        return NexlaError("no", status=status) if wrong[0] else None

    day.world.nexla_error = sometimes
    day.run_as_ticks(30)
    assert day.gaps == 0
    assert day.least >= 200


def test_the_alarm_is_300_seconds_of_the_default_life() -> None:
    assert alarm_below(1080) == pytest.approx(300)
    assert alarm_below(10) < 3


# --- one attempt ---------------------------------------------------------------------------------------------------


def test_a_good_attempt() -> None:
    world = World()
    state = refresh(TARGET, replace(FAILED, plan={"old": 1}), Tick(5, NOW), world.ports())
    assert state == replace(
        FRESH, tried_version=5, detail=LIVE.detail, plan={"mode": "template"}, failures=0, next_try=0
    )
    assert world.pushed == [(NOW + 2, "sales", "token-1", {"old": 1})]
    assert world.files == ["token-1"]
    assert due(TARGET, state, None, world.now) is None


def test_a_state_holds_no_token() -> None:
    for world in (World(), World(disk_error=ConfigError("disk")), World(nexla_error=lambda _: NexlaError("x"))):
        state = refresh(TARGET, TargetState(), None, world.ports())
        assert "token-1" not in repr(state)
        assert "token-1" not in json.dumps(state.__dict__, default=str)


@pytest.mark.parametrize(
    "world",
    [
        World(vault_error=lambda _: VaultUnavailableError("vault is sealed", hint="unseal it")),
        World(nexla_error=lambda _: NexlaError("vault is sealed", hint="unseal it", status=503, retryable=True)),
    ],
)
def test_a_failed_attempt_keeps_what_is_known_of_the_token_at_nexla(world: World) -> None:
    world.now = NOW + 545
    state = refresh(TARGET, FRESH, Tick(5, NOW + 540), world.ports())
    kept = (
        "account",
        "credential_id",
        "key_id",
        "started_at",
        "issued_at",
        "expires_at",
        "usable_life",
        "record_version",
        "plan",
    )
    assert [getattr(state, name) for name in kept] == [getattr(FRESH, name) for name in kept]
    assert (state.outcome, state.failures) == (Outcome.NOT_WRITTEN, 1)
    assert state.detail == "vault is sealed (hint: unseal it)"
    assert (state.tried_at, state.tried_version) == (NOW + 545, 5)
    assert world.now + 2.5 <= state.next_try <= world.now + 5


def test_errors_that_are_bugs_are_not_swallowed() -> None:
    def bug(_: Target) -> VaultAscError | None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        refresh(TARGET, FRESH, None, World(vault_error=bug).ports())


def test_failures_count_up_and_hurry_when_little_is_left() -> None:
    world = World(now=NOW + 700, vault_error=lambda _: VaultUnavailableError("down"))
    state = FRESH
    waits = []
    for _ in range(8):
        state = refresh(TARGET, state, None, world.ports())
        waits.append(state.next_try - world.now)
    assert state.failures == 8
    assert waits[-1] > 30
    world.now = NOW + 781  # 299 s left
    assert refresh(TARGET, state, None, world.ports()).next_try - world.now <= 15
    assert refresh(TARGET, TargetState(), None, world.ports()).next_try - world.now <= 5


@pytest.mark.parametrize("outcome", [Outcome.UNPROVEN, Outcome.REFUSED, Outcome.NOT_WRITTEN])
def test_what_is_written_but_not_live_is_tried_again_soon(outcome: Outcome) -> None:
    world = World(probe=Probe(outcome, "why"))
    state = refresh(TARGET, FRESH, None, world.ports())
    assert (state.outcome, state.detail, state.failures) == (outcome, "why", 1)
    assert state.expires_at == int(NOW) + 1080
    assert world.now < state.next_try <= world.now + 5


def test_where_nexla_offers_no_proof_the_token_is_refreshed_at_its_time_and_not_each_minute() -> None:
    day = Day(1, seconds=DAY / 4)
    day.world.probe = Probe(Outcome.UNPROVEN, "nexla offers no probe", final=True)
    day.chance = random.Random(0)
    day.run_as_ticks(30)
    assert day.states["target-0"].outcome is Outcome.UNPROVEN
    assert day.attempts < DAY / 4 / 540 * 1.2
    assert day.least > 420
    assert day.gaps == 0


def test_without_proof_a_token_file_that_failed_is_tried_again_soon() -> None:
    world = World(probe=Probe(Outcome.UNPROVEN, "why", final=True), disk_error=ConfigError("disk"))
    state = refresh(TARGET, FRESH, None, world.ports())
    assert (state.outcome, state.failures) == (Outcome.UNPROVEN, 1)
    assert world.now < state.next_try <= world.now + 5


def test_a_missing_agreement_does_not_let_the_token_die() -> None:
    world = World(probe=Probe(Outcome.AGREEMENT, "why"))
    state = TargetState()
    for expected in (1, 2, 3):
        state = refresh(TARGET, state, None, world.ports())
        assert (state.outcome, state.failures) == (Outcome.AGREEMENT, expected)
        assert state.next_try == world.now + 540
        world.now = state.next_try
        assert state.remaining(world.now) > 420
        assert due(TARGET, state, None, world.now)


def test_a_full_disk_does_not_keep_the_token_from_nexla() -> None:
    world = World(disk_error=ConfigError('cannot write "/run/sales.jwt": no space', hint="make room"))
    state = refresh(TARGET, FRESH, None, world.ports())
    assert [token for _, _, token, _ in world.pushed] == ["token-1"]
    assert state.outcome is Outcome.LIVE
    assert 'but cannot write "/run/sales.jwt"' in state.detail
    assert state.failures == 1
    assert world.now < state.next_try <= world.now + 5
    world.disk_error = None
    assert refresh(TARGET, state, None, world.ports()).failures == 0


def test_the_lifetime_of_the_target_counts() -> None:
    world = World()
    target = TARGET._replace(request=TokenRequest(360))
    state = refresh(target, TargetState(), None, world.ports())
    assert (state.usable_life, state.expires_at - int(NOW)) == (300, 300)
    assert NOW + 135 <= next_due(target, state) <= NOW + 165


# --- a change of the key, seen through a tick file -----------------------------------------------------------------


@pytest.mark.parametrize("written", [-20.0, 0.0, 0.5, 3.0, 20.0])
@pytest.mark.parametrize("rotated", [-25.0, -0.5, 0.5, 10.0])
def test_a_changed_key_is_pushed_exactly_once(written: float, rotated: float) -> None:
    """The Agent writes its file at `written`, the record changes at `rotated`, an attempt takes place from 0 to 2.

    Whatever the order, the new key is at Nexla within a tick of the Agent's writing, and nobody pushes on and on.
    """
    world = World(version=5 if rotated <= 0 else 4)
    tick = Tick(4, NOW - 500)
    state = refresh(TARGET, TargetState(), Tick(5, NOW + written) if rotated <= written <= 0 else tick, world.ports())
    world.version = 5
    if written >= rotated:
        tick = Tick(5, NOW + written)
    pushes = 0
    for step in range(1, 15):
        world.now = NOW + 30 * step
        if world.now > NOW + 60 and written < rotated:
            tick = Tick(5, NOW + 60)  # what the Agent has missed it sees at its next look
        if due(TARGET, state, tick, world.now):
            state = refresh(TARGET, state, tick, world.ports())
            pushes += 1
    assert state.record_version == 5
    assert pushes == (1 if rotated > 0 else 0)


def test_a_changed_key_that_fails_is_tried_once_at_once_and_then_with_patience() -> None:
    world = World(now=NOW + 30, nexla_error=lambda _: NexlaError("no", status=404))
    tick = Tick(5, NOW + 20)
    state, tries = FRESH, 0
    for _ in range(20):
        if due(TARGET, state, tick, world.now):
            state = refresh(TARGET, state, tick, world.ports())
            tries += 1
        world.now += 30
    assert tries == 1
    # the key is mended: a new version, and no waiting for the end of the 15 minutes
    tick = Tick(6, world.now - 10)
    assert due(TARGET, state, tick, world.now) == "the key was changed"


def test_a_tick_file_of_a_dead_agent_pushes_nothing() -> None:
    world = World(version=9)
    old = Tick(5, NOW - 10_000)
    state = refresh(TARGET, FRESH, old, world.ports())
    assert state.record_version == 9
    assert due(TARGET, state, old, NOW + 30) is None


# --- a day ---------------------------------------------------------------------------------------------------------

DAY = 86_400.0
OUTAGE = (NOW + 40_000, NOW + 40_420)  # 7 minutes


@dataclass
class Day:
    """Targets for a day: every hundredth attempt fails, and for a while all do.

    Attributes:
        least: the least validity left when the next token arrived.
        gaps: how often the next token arrived too late.
    """

    count: int
    outage: tuple[float, float] | None = None
    seconds: float = DAY
    least: float = 1e9
    attempts: int = 0
    gaps: int = 0

    def __post_init__(self) -> None:
        self.chance = random.Random(7)
        self.world = World(nexla_error=self.failure)
        self.targets = [Target(f"target-{n}", "prod", n + 1) for n in range(self.count)]
        self.states = {target.name: TargetState() for target in self.targets}

    def failure(self, _: Target) -> VaultAscError | None:
        out = self.outage is not None and self.outage[0] <= self.world.now < self.outage[1]
        return NexlaError("no", status=503, retryable=True) if out or self.chance.random() < 0.01 else None

    def attempt(self, target: Target, now: float) -> TargetState:
        before = self.states[target.name]
        self.world.now = now
        after = refresh(target, before, None, self.world.ports())
        self.attempts += 1
        if before.started_at and after.started_at != before.started_at:
            left = before.remaining(self.world.now)
            self.least = min(self.least, left)
            self.gaps += left <= 0
        self.states[target.name] = after
        return after

    def run_as_events(self) -> None:
        """Each target at its own moment, as a process that runs for ever does it."""
        queue = [(NOW, n) for n in range(self.count)]
        while queue[0][0] < NOW + self.seconds:
            at, n = heapq.heappop(queue)
            target = self.targets[n]
            assert due(target, self.states[target.name], None, at)
            after = self.attempt(target, at)
            again = next_due(target, after)
            assert again > at, "a hot loop"
            heapq.heappush(queue, (again, n))

    def run_as_ticks(self, tick: float) -> None:
        """All that are due at each tick, as the Agent does it."""
        now = NOW
        while now < NOW + self.seconds:
            for target in self.targets:
                if due(target, self.states[target.name], None, now):
                    self.attempt(target, now)
            now += tick


def test_a_day_of_200_targets_leaves_seven_minutes_at_least() -> None:
    day = Day(200)
    day.run_as_events()
    assert day.gaps == 0
    assert day.least >= 420
    # 160 a day would be once each 540 s; failures and jitter may cost a few more
    assert 200 * 155 < day.attempts < 200 * 170


def test_a_day_with_seven_minutes_of_outage_has_no_gap() -> None:
    day = Day(200, OUTAGE)
    day.run_as_events()
    assert day.gaps == 0
    assert day.least < 300  # the outage was felt, so the alarm had its reason


def test_the_agents_ticks_of_30_seconds_leave_enough() -> None:
    day = Day(200, seconds=DAY / 4)
    day.run_as_ticks(30)
    assert day.gaps == 0
    assert day.least >= 420


def test_the_agents_ticks_bridge_seven_minutes() -> None:
    day = Day(200, (NOW + 10_000, NOW + 10_420), seconds=DAY / 7)
    day.run_as_ticks(30)
    assert day.gaps == 0
