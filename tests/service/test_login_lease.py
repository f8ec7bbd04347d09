"""What a Vault token needs at a moment, as a pure function."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vault_asc.secret import Secret
from vault_asc.vault.client import Granted
from vault_asc.vault.lease import Lease, Step, next_step

USE, RENEW, REPLACE, LOG_IN = Step.USE, Step.RENEW, Step.REPLACE, Step.LOG_IN


def lease(ttl: int, *, renewable: bool = True) -> Lease:
    return Lease.begun(Granted(Secret("x"), ttl, renewable), 100.0)


@pytest.mark.parametrize(
    ("ttl", "renewable", "age", "step"),
    [
        (1200, True, 0, USE),
        (1200, True, 799, USE),
        (1200, True, 800, RENEW),
        (1200, False, 800, REPLACE),
        (1200, True, 1199, RENEW),
        (1200, True, 1200, LOG_IN),
        (1200, False, 1e9, LOG_IN),
        (0, False, 1e9, USE),
        (1, True, 0, USE),
        (1, True, 1, LOG_IN),
    ],
)
def test_steps(ttl: int, renewable: bool, age: float, step: Step) -> None:
    assert next_step(lease(ttl, renewable=renewable), 100.0 + age) is step


def test_a_renewal_that_the_maximum_ttl_has_cut_is_the_last_one() -> None:
    full = lease(1200).renewed(Granted(Secret("x"), 1200, True), 900.0)
    assert next_step(full, 900 + 800) is RENEW
    cut = full.renewed(Granted(Secret("x"), 500, True), 1700.0)
    assert next_step(cut, 1700 + 300) is USE
    assert next_step(cut, 1700 + 340) is REPLACE
    assert next_step(cut, 1700 + 500) is LOG_IN
    over = full.renewed(Granted(Secret("x"), 0, True), 1700.0)
    assert next_step(over, 1700) is LOG_IN
    last = full.renewed(Granted(Secret("x"), 1200, False), 1700.0)
    assert next_step(last, 1700 + 900) is REPLACE


@given(
    period=st.integers(3, 100_000),
    most=st.integers(3, 1_000_000),
    looks=st.floats(0.01, 0.3),
)
def test_whoever_looks_often_enough_never_holds_a_dead_token_and_renews_seldom(
    period: int, most: int, looks: float
) -> None:
    """A token with a maximum TTL, looked at every so often (a share of its TTL)."""
    now = 0.0
    ttl = min(period, most)
    held = Lease.begun(Granted(Secret("x"), ttl, True), now)
    renewals = 0
    for _ in range(2000):
        step = next_step(held, now)
        assert step is not LOG_IN
        if step is REPLACE:
            break
        if step is RENEW:
            renewals += 1
            held = held.renewed(Granted(Secret("x"), max(0, int(min(ttl, most - now))) or 1, True), now)
        now += max(looks * held.ttl, 0.01)
    assert renewals <= now / (ttl * 0.6) + 2
