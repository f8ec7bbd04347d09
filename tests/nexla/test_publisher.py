"""What a long-running process saves: sessions and discoveries are shared, and looked at again when there is a reason."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.nexla.tenant import CREDENTIAL, ID, PROBE, Tenant
from tests.test_rotation import TARGET
from vault_asc.errors import NexlaError
from vault_asc.lab.faults import answered, slow
from vault_asc.lab.nexla.faults import refused
from vault_asc.lab.nexla.fixtures import FIXTURES
from vault_asc.nexla.allowance import Allowance
from vault_asc.nexla.publisher import NexlaPublisher
from vault_asc.outcome import Outcome, Probe


@pytest.fixture
def publisher(tenant: Tenant) -> NexlaPublisher:
    FIXTURES["a"](tenant.nexla, tenant.test_url)
    return NexlaPublisher(lambda _: tenant.new_client(), tenant.clock)


def publish(publisher: NexlaPublisher, tenant: Tenant) -> Probe:
    return publisher.publish(TARGET._replace(credential_id=ID), tenant.token(), {})[1]


def test_a_refresh_takes_two_calls_once_the_discovery_is_known(publisher: NexlaPublisher, tenant: Tenant) -> None:
    for _ in range(4):
        assert publish(publisher, tenant).outcome is Outcome.LIVE
    assert tenant.nexla.journal.count() == 1 + 1 + 4 * 2, "login, credential, and PUT and probe for each"
    assert (tenant.asked("PUT", CREDENTIAL), tenant.asked("GET", PROBE)) == (4, 4)
    assert tenant.nexla.flow_read() == 200


def test_after_a_failure_an_hour_or_a_change_it_looks_again(publisher: NexlaPublisher, tenant: Tenant) -> None:
    publish(publisher, tenant)
    tenant.nexla.inject(refused(500), method="PUT")
    with pytest.raises(NexlaError):
        publish(publisher, tenant)
    publish(publisher, tenant)
    assert tenant.asked("GET", CREDENTIAL) == 2
    tenant.clock.now += 3601
    publish(publisher, tenant)
    assert tenant.asked("GET", CREDENTIAL) == 3
    publisher.publish(TARGET._replace(credential_id=ID, token_field="jwt_token"), tenant.token(), {})
    assert tenant.asked("GET", CREDENTIAL) == 4


def test_values_that_people_may_change_at_nexla_are_read_before_each_write(tenant: Tenant) -> None:
    FIXTURES["h"](tenant.nexla, tenant.test_url)
    publisher = NexlaPublisher(lambda _: tenant.new_client(), tenant.clock)
    target = TARGET._replace(credential_id=ID, extra_fields={"page_size": 1})
    for _ in range(2):
        assert publisher.publish(target, tenant.token(), {})[1].outcome is Outcome.LIVE
    shown = tenant.client.credential(ID).get("template_config")
    assert tenant.asked("GET", CREDENTIAL) == (3 if shown else 2)


def test_many_threads_log_in_once(publisher: NexlaPublisher, tenant: Tenant) -> None:
    together = threading.Barrier(8)

    def one(_: int) -> Outcome:
        together.wait(10)
        return publish(publisher, tenant).outcome

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(one, range(8))) == {Outcome.LIVE}
    assert tenant.asked("POST", "/token") == 1


def test_a_token_that_was_held_up_is_not_written_over_a_newer_one(tenant: Tenant) -> None:
    FIXTURES["a"](tenant.nexla, tenant.test_url)
    moments = iter([tenant.clock(), tenant.clock() + 41])
    publisher = NexlaPublisher(lambda _: tenant.new_client(), lambda: next(moments))
    with pytest.raises(NexlaError, match="41 s old before it could be written") as caught:
        publish(publisher, tenant)
    assert caught.value.retryable
    assert tenant.writes == 0


def test_the_allowance_is_what_nexla_tells(ready: Tenant) -> None:
    assert ready.client.allowance() in {None, Allowance(8, 12, 172_800, 259_200)}
    for status in (403, 404):
        ready.nexla.inject(answered(status), path="/limits")
        assert ready.client.allowance() is None
    ready.nexla.inject(answered(500), path="/limits", count=3)
    with pytest.raises(NexlaError, match="the question for limits"):
        ready.client.allowance()


def test_slow_logins_are_waited_for_by_all(publisher: NexlaPublisher, tenant: Tenant) -> None:
    tenant.nexla.inject(slow(0.3), path="/token")
    with ThreadPoolExecutor(4) as pool:
        assert {p.outcome for p in pool.map(lambda _: publish(publisher, tenant), range(4))} == {Outcome.LIVE}
    assert tenant.asked("POST", "/token") == 1
