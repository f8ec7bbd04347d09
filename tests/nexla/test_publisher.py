"""What a long-running process saves: sessions and discoveries are shared, and looked at again when there is a reason."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from tests.nexla.tenant import CREDENTIAL, ID, PROBE, Tenant
from tests.test_rotation import TARGET
from vault_asc.errors import NexlaError
from vault_asc.lab.faults import answered, slow
from vault_asc.lab.nexla.faults import refused
from vault_asc.lab.nexla.fixtures import FIXTURES
from vault_asc.nexla.allowance import Allowance
from vault_asc.nexla.discovery import LOOKED_AT, SHARED
from vault_asc.nexla.publisher import NexlaPublisher, trusted_for
from vault_asc.nexla.session import Session
from vault_asc.outcome import Outcome, Probe
from vault_asc.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping


class Publishing(NexlaPublisher):
    """With a target whose state is remembered between two attempts, as `refresh` does it."""

    def __init__(self, tenant: Tenant, *, trusting: bool = True) -> None:
        super().__init__(lambda _: tenant.new_client(), tenant.clock, trusting=trusting)
        self.tenant = tenant
        self.target = TARGET._replace(credential_id=ID)
        self.plan: Mapping[str, Any] = {}

    def one(self, *, ago: float = 0.0) -> Probe:
        token = self.tenant.token()
        self.plan, probe = self.publish(self.target, token, self.plan, self.tenant.clock() - ago)
        return probe


@pytest.fixture
def publisher(tenant: Tenant) -> Publishing:
    FIXTURES["a"](tenant.nexla, tenant.test_url)
    return Publishing(tenant)


def test_a_refresh_takes_two_calls_once_the_discovery_is_known(publisher: Publishing, tenant: Tenant) -> None:
    for _ in range(4):
        assert publisher.one().outcome is Outcome.LIVE
    assert tenant.nexla.journal.count() == 1 + 1 + 4 * 2, "login, credential, and PUT and probe for each"
    assert (tenant.asked("PUT", CREDENTIAL), tenant.asked("GET", PROBE)) == (4, 4)
    assert tenant.nexla.flow_read() == 200


def test_a_restart_looks_again_no_sooner_and_a_push_by_hand_does(publisher: Publishing, tenant: Tenant) -> None:
    publisher.one()
    again, by_hand = Publishing(tenant), Publishing(tenant, trusting=False)
    again.plan = by_hand.plan = json.loads(json.dumps(publisher.plan))
    assert again.one().outcome is Outcome.LIVE
    assert tenant.asked("GET", CREDENTIAL) == 1
    assert by_hand.one().outcome is Outcome.LIVE
    assert tenant.asked("GET", CREDENTIAL) == 2


def test_it_looks_again_after_a_while_and_trusts_what_ended_well(publisher: Publishing, tenant: Tenant) -> None:
    publisher.one()
    looked_at = tenant.clock()
    tenant.clock.now += trusted_for(publisher.target) - 1
    publisher.one()
    assert publisher.plan[LOOKED_AT] == looked_at
    assert tenant.asked("GET", CREDENTIAL) == 1
    tenant.clock.now += 2
    publisher.one()
    assert tenant.asked("GET", CREDENTIAL) == 2
    tenant.clock.now -= 1000
    publisher.one()
    assert tenant.asked("GET", CREDENTIAL) == 3, "what was seen in the future was seen by a wrong clock"
    tenant.nexla.inject(refused(500), path=PROBE, count=9)
    assert publisher.one().outcome is Outcome.UNPROVEN
    assert LOOKED_AT not in publisher.plan


def test_looks_are_spread() -> None:
    ends = [trusted_for(TARGET._replace(credential_id=5001 + n)) for n in range(1000)]
    assert (min(ends) > 1795, max(ends) <= 3600) == (True, True)
    assert all(90 <= sum(low <= end < low + 180 for end in ends) <= 110 for low in range(1800, 3600, 180))


def test_values_that_people_may_change_at_nexla_are_read_before_each_write(tenant: Tenant) -> None:
    FIXTURES["h"](tenant.nexla, tenant.test_url)
    publisher = Publishing(tenant)
    publisher.target = publisher.target._replace(extra_fields={"page_size": 1})
    for _ in range(2):
        assert publisher.one().outcome is Outcome.LIVE
    shown = tenant.client.credential(ID).get("template_config")
    assert tenant.asked("GET", CREDENTIAL) == (3 if shown else 2)
    assert publisher.plan.get(SHARED, False) is bool(shown)


def test_many_threads_log_in_once(publisher: Publishing, tenant: Tenant) -> None:
    together = threading.Barrier(8)

    def one(_: int) -> Outcome:
        together.wait(10)
        return publisher.one().outcome

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(one, range(8))) == {Outcome.LIVE}
    assert tenant.asked("POST", "/token") == 1


def test_a_token_that_was_held_up_is_not_written_over_a_newer_one(publisher: Publishing, tenant: Tenant) -> None:
    assert publisher.one(ago=39).outcome is Outcome.LIVE
    with pytest.raises(NexlaError, match="41 s old before it could be written") as caught:
        publisher.one(ago=41)
    assert caught.value.retryable
    assert tenant.writes == 1


def test_a_suspension_in_the_login_before_a_write_is_noticed(publisher: Publishing, tenant: Tenant) -> None:
    """The session has ended meanwhile, so that the write is sent again after a login."""
    publisher.one()
    tenant.nexla.end_sessions()
    client = publisher.client("default")
    log_in = client._session._log_in

    def suspended(key: Secret) -> Session:
        tenant.clock.now += 600
        return log_in(key)

    client._session._log_in = suspended
    with pytest.raises(NexlaError, match="600 s old"):
        publisher.one()
    assert tenant.asked("PUT", CREDENTIAL, 200) == 1


def test_a_suspension_between_two_tries_of_a_write_is_the_last_of_them(publisher: Publishing, tenant: Tenant) -> None:
    def suspended(_low: float, _high: float) -> float:
        tenant.clock.now += 600
        return 0.0

    session: Any = publisher.client("default")._http
    session._policy = session._policy._replace(uniform=suspended)
    tenant.nexla.inject(refused(503), method="PUT")
    with pytest.raises(NexlaError):
        publisher.one()
    assert tenant.asked("PUT", CREDENTIAL) == 1


def test_the_allowance_is_what_nexla_tells(ready: Tenant) -> None:
    assert ready.client.allowance() in {None, Allowance(8, 12, 172_800, 259_200)}
    for status in (403, 404):
        ready.nexla.inject(answered(status), path="/limits")
        assert ready.client.allowance() is None
    ready.nexla.inject(answered(500), path="/limits", count=3)
    with pytest.raises(NexlaError, match="the question for limits"):
        ready.client.allowance()


def test_slow_logins_are_waited_for_by_all(publisher: Publishing, tenant: Tenant) -> None:
    tenant.nexla.inject(slow(0.3), path="/token")
    with ThreadPoolExecutor(4) as pool:
        assert {probe.outcome for probe in pool.map(lambda _: publisher.one(), range(4))} == {Outcome.LIVE}
    assert tenant.asked("POST", "/token") == 1
