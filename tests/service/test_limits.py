"""Breaker, retry budget, rate and shards: pure parts, moment by moment."""

from bisect import bisect_left

import pytest

from tests.test_rotation import TARGET
from vault_asc.errors import ConfigError
from vault_asc.nexla.allowance import DAY, Allowance, allowance_in
from vault_asc.service.breaker import FAILURES, PAUSE, Breaker, Mode
from vault_asc.service.budget import RetryBudget
from vault_asc.service.hosts import Hosts, Room
from vault_asc.service.pace import Pace
from vault_asc.service.shard import Shard
from vault_asc.service.traffic import Seen

# --- the breaker ---------------------------------------------------------------------------------------------------


def proven() -> Breaker:
    breaker = Breaker()
    for _ in range(FAILURES):
        breaker.heard(0, good=True)
    return breaker


def fail(breaker: Breaker, times: int, now: float = 0) -> None:
    for _ in range(times):
        breaker.heard(now, good=False)


def test_five_failures_in_a_row_open_it_and_four_do_not() -> None:
    breaker = proven()
    fail(breaker, FAILURES - 1)
    assert breaker.heard(0, good=True) is False
    fail(breaker, FAILURES - 1)
    assert breaker.mode is Mode.CLOSED
    assert breaker.heard(7, good=False) is True
    assert (breaker.mode, breaker.until) == (Mode.OPEN, 7 + PAUSE)


def test_after_the_pause_one_probe_then_a_few_then_all() -> None:
    breaker = proven()
    fail(breaker, FAILURES)
    assert not breaker.room(0, PAUSE - 0.1)
    assert breaker.room(0, PAUSE)
    assert breaker.mode is Mode.HALF_OPEN
    assert not breaker.room(1, PAUSE)
    breaker.heard(PAUSE + 1, good=True)
    assert breaker.room(1, PAUSE + 1)
    assert not breaker.room(2, PAUSE + 1)
    changes = [breaker.heard(PAUSE + 2, good=True) for _ in range(FAILURES - 2)]
    assert changes == [False, False, True]
    assert breaker.room(1000, PAUSE + 2)


def test_a_probe_that_fails_opens_it_again_at_once() -> None:
    breaker = proven()
    fail(breaker, FAILURES)
    assert breaker.room(0, 30)
    assert breaker.heard(31, good=False)
    assert (breaker.mode, breaker.until) == (Mode.OPEN, 61)


def test_late_failures_do_not_prolong_the_pause() -> None:
    breaker = proven()
    fail(breaker, FAILURES)
    fail(breaker, 10, now=20)
    assert breaker.until == PAUSE


def test_a_call_that_gets_through_an_open_one_begins_to_close_it() -> None:
    breaker = proven()
    fail(breaker, FAILURES)
    assert breaker.heard(3, good=True)
    assert breaker.mode is Mode.HALF_OPEN


def test_a_new_host_gets_one_attempt_first_and_a_single_failure_does_not_close_the_door() -> None:
    breaker = Breaker()
    assert breaker.room(0, 0)
    assert not breaker.room(1, 0)
    breaker.heard(0, good=False)
    assert breaker.room(0, 0)
    breaker.heard(0, good=True)
    assert breaker.room(1, 0)


def test_a_target_that_fails_again_says_nothing_of_its_host() -> None:
    hosts = Hosts()
    hosts.know("vault", ["nexla"], 16)
    broken = [Seen("nexla", "PUT", good=False)]
    for _ in range(20):
        assert hosts.hear(broken, 0, news=False) == []
    changed = [hosts.hear(broken, 0, news=True) for _ in range(FAILURES)]
    assert [len(each) for each in changed] == [0, 0, 0, 0, 1]
    assert hosts.open() == {"nexla"}


def test_a_host_that_is_down_closes_nothing_but_itself_and_vault_closes_all() -> None:
    hosts = Hosts()
    hosts.know("vault", ["a", "b"], 16)
    hosts.hear([Seen("a", "PUT", good=False)] * FAILURES, 0, news=True)
    assert (hosts.room("a", 0), hosts.room("b", 0)) == (Room.OPEN, Room.FREE)
    hosts.hear([Seen("vault", "GET", good=False)] * FAILURES, 0, news=True)
    assert hosts.room("b", 0) is Room.OPEN


def test_no_host_of_several_may_hold_all_workers() -> None:
    hosts = Hosts()
    hosts.know("vault", ["a", "b"], 16)
    hosts.hear([Seen(name, "GET", good=True) for name in ("vault", "a", "b") for _ in range(5)], 0, news=True)
    for _ in range(12):
        assert hosts.room("a", 0) is Room.FREE
        hosts.begin("a")
    assert (hosts.room("a", 0), hosts.room("b", 0)) == (Room.FULL, Room.FREE)


# --- retries and rates ---------------------------------------------------------------------------------------------


def test_retries_are_a_tenth_of_the_calls() -> None:
    budget = RetryBudget()
    while budget.spend():
        pass
    granted = 0
    for _ in range(1000):
        budget.called()
        granted += budget.spend()
    assert 95 <= granted <= 100


def test_a_quiet_day_saves_up_no_storm_of_retries() -> None:
    budget = RetryBudget()
    for _ in range(10_000):
        budget.called()
    assert sum(budget.spend() for _ in range(1000)) == 20


def begun(pace: Pace, seconds: float, reads: int = 1, step: float = 0.01) -> list[float]:
    moments, now = [], 0.0
    while now < seconds:
        if pace.begins_at() <= now:
            pace.take(now, writes=1, reads=reads)
            moments.append(now)
        now += step
    return moments


def test_the_rate_is_kept_in_every_second_and_used_up() -> None:
    moments = begun(Pace(Allowance(8, 12)), 100)
    assert 790 <= len(moments) <= 801
    assert max(sum(at <= other < at + 1 for other in moments) for at in moments) <= 9


def test_reads_count_too() -> None:
    assert len(begun(Pace(Allowance(8, 12)), 100, reads=2)) == pytest.approx(600, abs=3)


def test_what_an_attempt_took_beyond_its_share_is_paid_later_and_what_it_left_is_given_back() -> None:
    pace = Pace(Allowance(8, 12))
    pace.take(0, writes=1, reads=1)
    before = pace.begins_at()
    pace.settle(writes=8, reads=0)
    assert pace.begins_at() == before + 1
    pace.settle(writes=-8, reads=0)
    assert pace.begins_at() == before


def test_a_third_call_costs_a_read_and_not_a_write_too() -> None:
    pace, now, count = Pace(Allowance(8, 12)), 0.0, 0
    while now < 100:
        now = max(now, pace.begins_at())
        pace.take(now, writes=1, reads=1)
        pace.settle(writes=0, reads=1)
        count += 1
    assert count == pytest.approx(600, abs=3)


@pytest.mark.parametrize("share", [2, 3, 10])
def test_attempts_that_end_before_nexla_is_asked_let_no_more_writes_through(share: int) -> None:
    """Of so many attempts one writes; the others give their share back at once."""
    pace, now, written, count = Pace(Allowance(8, 12)), 0.0, [], 0
    while now < 60:
        now = max(now + 0.001, pace.begins_at())
        pace.take(now, writes=1, reads=2)
        count += 1
        if count % share:
            pace.settle(writes=-1, reads=-2)
        else:
            pace.settle(writes=0, reads=-1)
            written.append(now)
    assert max(sum(at <= other < at + 1 for other in written) for at in written) <= 9
    assert len(written) > 460


@pytest.mark.parametrize("beyond", [0, 1])
def test_no_day_sees_more_writes_than_it_may_whatever_is_tried(beyond: int) -> None:
    """With attempts whose calls are repeated now and then, and after hours of rest."""
    limit = 5000
    pace, now, written, number = Pace(Allowance(8, 12, limit, limit * 2)), 20 * 3600.0, [], 0
    while now < 3.2 * DAY:
        now = max(now, pace.begins_at())
        pace.take(now, writes=1, reads=1)
        written += [now] * (1 + (number % 200 == 0) * beyond)
        pace.settle(writes=(number % 200 == 0) * beyond, reads=0)
        number += 1
        if number == 6000:
            now += 6 * 3600
    most = max(bisect_left(written, at + DAY) - first for first, at in enumerate(written))
    assert 0.97 * limit < most <= limit


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({}, None),
        ({"second": {"medium": {"limit": 8}}}, None),
        ({"second": {"medium": {"limit": 8}, "light": {"limit": 12}}}, Allowance(8, 12)),
        (
            {
                "second": {"medium": {"limit": 4}, "light": {"limit": 6}, "high": {"limit": 1}},
                "day": {"medium": {"limit": 1000, "count": 3}, "light": {"limit": 2000}},
            },
            Allowance(4, 6, 1000, 2000),
        ),
        ({"second": {"medium": {"limit": 0}, "light": {"limit": 12}}}, None),
        ({"second": {"medium": {"limit": "8"}, "light": {"limit": True}}}, None),
        ({"second": [], "day": 3}, None),
        # what no server that counts calls would tell
        ({"second": {"medium": {"limit": 5e-324}, "light": {"limit": 5}}}, None),
        ({"second": {"medium": {"limit": 0.001}, "light": {"limit": 1}}}, None),
        ({"second": {"medium": {"limit": 8}, "light": {"limit": 1e308}}}, None),
        ({"second": {"medium": {"limit": 8}, "light": {"limit": 10**400}}}, None),
        (
            {
                "second": {"medium": {"limit": 8}, "light": {"limit": 12}},
                "day": {"medium": {"limit": 7}, "light": {"limit": 1e300}},
            },
            Allowance(8, 12),
        ),
    ],
)
def test_what_nexla_grants_is_read_tolerantly(answer: dict[str, object], expected: Allowance | None) -> None:
    assert allowance_in(answer) == expected


def test_a_configured_rate_only_lowers_what_nexla_grants() -> None:
    assert Allowance(8, 12, 100, 200).at_most(4) == Allowance(4, 6, 100, 200)
    assert Allowance(8, 12).at_most(50) == Allowance(8, 12)
    assert Allowance(1000, 12).at_most(8) == Allowance(8, 12)
    assert Allowance(1000, 3).at_most(8) == Allowance(8, 3)
    assert Allowance(8, 12, 100, 200).part(0.5) == Allowance(4, 6, 50, 100)


# --- shards --------------------------------------------------------------------------------------------------------


def test_shards_are_disjoint_complete_even_and_fixed() -> None:
    targets = [TARGET._replace(name=f"default-{n}") for n in range(3000)]
    parts = [Shard(n, 3).of(targets) for n in range(3)]
    assert sorted(t.name for part in parts for t in part) == sorted(t.name for t in targets)
    assert all(900 < len(part) < 1100 for part in parts)
    assert [Shard(n, 4).holds("sales") for n in range(4)] == [True, False, False, False], "the hash may never change"


@pytest.mark.parametrize(
    ("text", "environ", "expected"),
    [
        ("0/1", {}, Shard()),
        ("3/4", {}, Shard(3, 4)),
        ("auto/4", {"JOB_COMPLETION_INDEX": "2", "HOSTNAME": "asc-1"}, Shard(2, 4)),
        ("auto/4", {"HOSTNAME": "vault-asc-3"}, Shard(3, 4)),
    ],
)
def test_shards_are_read(text: str, environ: dict[str, str], expected: Shard) -> None:
    assert Shard.parse(text, environ) == expected


@pytest.mark.parametrize(
    ("text", "environ", "said"),
    [
        ("4/4", {}, "counted from 0"),
        ("0/0", {}, "is no part"),
        ("-1/4", {}, "is no part"),
        ("1", {}, "is no part"),
        ("0/1001", {}, "is no part"),
        ("0/1000000", {}, "is no part"),
        ("1/4\n", {}, "is no part"),
        ("٣/٤", {}, "is no part"),
        ("auto/4", {}, "no ordinal"),
        ("auto/4", {"HOSTNAME": "host"}, "no ordinal"),
        ("auto/4", {"HOSTNAME": "asc-4"}, "counted from 0"),
    ],
)
def test_shards_that_cannot_be_are_refused(text: str, environ: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        Shard.parse(text, environ)
    assert caught.value.hint is not None
    assert said != "is no part" or "1000 at most" in caught.value.hint
