"""Service key in, session out: how often the client logs in, and what it says when it cannot."""

import threading
from typing import Any

import pytest

from tests.lab.signing import NOW, Clock
from tests.nexla.tenant import CREDENTIAL, ID, PROBE, SERVICE_KEY, Tenant
from vault_asc.errors import NexlaError
from vault_asc.lab import faults
from vault_asc.lab.apple import AppleSimulator
from vault_asc.lab.nexla import NexlaSimulator, Readings
from vault_asc.lab.nexla import faults as nexla_faults
from vault_asc.lab.nexla.fixtures import FIXTURES
from vault_asc.outcome import Outcome


def test_one_session_serves_many_calls(ready: Tenant) -> None:
    for _ in range(3):
        assert ready.push().outcome is Outcome.LIVE
    assert ready.asked("POST", "/token") == 1


@pytest.mark.parametrize("announced", [True, False])
def test_a_session_is_renewed_before_it_ends(ready: Tenant, announced: bool) -> None:
    ready.nexla.readings = Readings(announce_expiry=announced)
    client = ready.new_client()
    client.login()
    ready.clock.now = NOW + 3539
    client.login()
    assert ready.asked("POST", "/token") == 2
    ready.clock.now = NOW + 3541
    client.credential(ID)
    assert ready.asked("POST", "/token") == 3
    assert ready.asked("*", "*", 401) == 0


def test_a_short_session_is_used_at_all() -> None:
    clock = Clock()
    with NexlaSimulator(clock=clock, session_seconds=20) as nexla, AppleSimulator(clock=clock) as apple:
        tenant = Tenant(nexla, apple, clock)
        FIXTURES["a"](nexla, tenant.test_url)
        assert tenant.push().outcome is Outcome.LIVE
        assert tenant.asked("POST", "/token") == 1


@pytest.mark.parametrize("path", [CREDENTIAL, PROBE])
@pytest.mark.parametrize("form", ["rails", "documented"])
def test_a_lost_session_costs_one_login(ready: Tenant, path: str, form: Any) -> None:
    ready.nexla.readings = Readings(error_envelope=form)
    ready.nexla.inject(nexla_faults.refused(401, form=form), path=path)
    assert ready.push().outcome is Outcome.LIVE
    assert ready.asked("POST", "/token") == 2
    ready.nexla.end_sessions()
    assert ready.push().outcome is Outcome.LIVE
    assert ready.asked("POST", "/token") == 3


def test_a_401_in_a_fresh_session_is_final(ready: Tenant) -> None:
    ready.nexla.inject(nexla_faults.SESSION_LOST, count=9, path=CREDENTIAL)
    with pytest.raises(NexlaError, match="answered 401") as caught:
        ready.client.credential(ID)
    assert (caught.value.status, caught.value.retryable) == (401, False)
    assert "api_url" in str(caught.value.hint)
    assert (ready.asked("POST", "/token"), ready.asked("GET", CREDENTIAL)) == (2, 2)
    with pytest.raises(NexlaError):
        ready.new_client().credential(ID)
    assert ready.asked("GET", CREDENTIAL) == 3


def test_threads_share_one_login(ready: Tenant) -> None:
    client = ready.new_client()
    threads = [threading.Thread(target=client.credential, args=(ID,)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ready.asked("POST", "/token") == 2
    assert ready.asked("GET", CREDENTIAL, 200) == 6


@pytest.mark.parametrize("key", ["wrong", SERVICE_KEY])
@pytest.mark.parametrize("form", ["rails", "documented"])
def test_a_bad_or_paused_service_key(ready: Tenant, key: str, form: Any) -> None:
    ready.nexla.readings = Readings(error_envelope=form)
    ready.nexla.set_service_key(SERVICE_KEY, active=False)
    with pytest.raises(NexlaError, match="answered 401 to the login") as caught:
        ready.new_client(key).login()
    assert "service key" in str(caught.value.hint)
    assert "request " in caught.value.message
    assert (caught.value.status, caught.value.retryable) == (401, False)


def test_a_service_key_with_a_line_break_is_not_sent(ready: Tenant) -> None:
    with pytest.raises(NexlaError) as caught:
        ready.new_client(f"{SERVICE_KEY}\nx").login()
    assert "service key" in str(caught.value.hint)
    assert not caught.value.retryable
    assert ready.asked("POST", "/token") == 1


@pytest.mark.parametrize(
    ("fault", "word"),
    [
        (nexla_faults.NO_ACCESS_TOKEN, "no access_token"),
        (faults.answered(200), "no JSON"),
        (faults.answered(200, b"[]"), "no JSON object"),
        (faults.html(200), "no JSON"),
        (faults.truncated_json(), "no JSON"),
    ],
)
def test_a_login_without_a_session_in_it(ready: Tenant, fault: faults.Fault, word: str) -> None:
    ready.nexla.inject(fault, path="/token")
    with pytest.raises(NexlaError, match=word):
        ready.new_client().login()


def test_a_wrong_api_url(ready: Tenant) -> None:
    with pytest.raises(NexlaError, match="answered 404 to the login") as caught:
        ready.new_client(url=f"{ready.nexla.url}/v1/").login()
    assert "nexla-api" in str(caught.value.hint)
