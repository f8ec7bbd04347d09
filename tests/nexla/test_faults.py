"""Answers that are errors, late, lost, or none of Nexla's."""

import pytest

from tests.lab.signing import Clock
from tests.nexla.tenant import CREDENTIAL, ID, PROBE, SERVICE_KEY, Tenant
from vault_asc import http
from vault_asc.errors import NexlaError
from vault_asc.http import Limits
from vault_asc.lab import faults
from vault_asc.lab.nexla import User
from vault_asc.lab.nexla import faults as nexla_faults
from vault_asc.lab.nexla.fixtures import FIXTURES
from vault_asc.nexla.client import NexlaClient
from vault_asc.nexla.credential_body import put_body
from vault_asc.nexla.discovery import discover
from vault_asc.outcome import Outcome
from vault_asc.secret import Secret


@pytest.mark.parametrize(
    ("status", "retryable", "word"),
    [
        (400, False, "inspect"),
        (403, False, "admin or owner"),
        (404, False, "credential_id"),
        (405, False, "credential"),
        (409, False, "credential"),
        (418, False, "Nexla"),
        (422, False, "inspect"),
        (423, False, "locked"),
        (429, True, "throttles"),
        (500, True, "later"),
        (503, True, "later"),
    ],
)
def test_an_error_says_what_to_do(ready: Tenant, status: int, retryable: bool, word: str) -> None:
    for form in ("rails", "documented"):
        ready.nexla.inject(nexla_faults.refused(status, "no\nluck", form), count=9, method="PUT")
        with pytest.raises(NexlaError) as caught:
            ready.push()
        ready.nexla.heal()
        error = caught.value
        assert (error.status, error.retryable) == (status, retryable)
        assert f'answered {status} to the update of credential "{ID}": "no\\nluck"' in error.message
        assert "request " in error.message
        assert (", " in error.message.rpartition("(")[2]) is (form == "documented")
        assert word in str(error.hint)
    assert ready.writes == 0


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"7", b"<html>secret</html>", b"\xff\xfe", b'{"message": {}}'])
def test_odd_error_bodies(ready: Tenant, body: bytes) -> None:
    ready.nexla.inject(faults.answered(400, body), path=CREDENTIAL)
    with pytest.raises(NexlaError, match="answered 400") as caught:
        ready.client.credential(ID)
    assert caught.value.message.isprintable()
    assert "html" not in caught.value.message


def test_roles(tenant: Tenant) -> None:
    other = User(3, "Other", "other@lab.example")
    tenant.nexla.add_service_key("other-key", user=other)
    tenant.nexla.add_template_credential(test_url=tenant.test_url)
    client = tenant.new_client("other-key")
    with pytest.raises(NexlaError, match="answered 403") as caught:
        client.credential(ID)
    assert "collaborator" in str(caught.value.hint)
    tenant.nexla.share(ID, other, "collaborator")
    credential = client.credential(ID)
    body = put_body(discover(credential, tenant.wanted), credential, tenant.wanted, tenant.token())
    with pytest.raises(NexlaError, match="answered 403") as caught:
        client.update(ID, body)
    assert "admin or owner" in str(caught.value.hint)
    with pytest.raises(NexlaError, match="answered 404"):
        client.credential(4711)


@pytest.mark.parametrize(
    "fault",
    [
        faults.throttled(),
        faults.throttled("2"),
        faults.throttled("garbage"),
        faults.html(502),
        faults.answered(503),
        faults.answered(504),
        faults.dropped(),
        faults.dropped(committed=True),
        faults.cut_off(),
    ],
    ids=lambda fault: fault.name,
)
@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/token"), ("GET", CREDENTIAL), ("PUT", CREDENTIAL), ("GET", PROBE)]
)
def test_a_passing_fault_is_not_noticed(tenant: Tenant, fault: faults.Fault, method: str, path: str) -> None:
    FIXTURES["a"](tenant.nexla, tenant.test_url)
    tenant.nexla.inject(fault, method=method, path=path)
    assert tenant.push().outcome is Outcome.LIVE
    assert tenant.nexla.flow_read() == 200
    harmless = fault.name == "cut off" and path == PROBE  # an empty body cannot be cut
    assert tenant.asked(method, path) == (1 if harmless else 2)


def test_retry_after_is_obeyed(ready: Tenant) -> None:
    ready.nexla.inject(faults.throttled("2"), method="PUT")
    assert ready.push().outcome is Outcome.LIVE
    assert 2 in ready.waits


def test_a_long_retry_after_is_left_to_the_schedule(ready: Tenant) -> None:
    ready.nexla.inject(faults.throttled("99999999"), method="PUT")
    with pytest.raises(NexlaError, match="answered 429") as caught:
        ready.push()
    assert caught.value.retryable
    assert ready.asked("PUT", CREDENTIAL) == 1


@pytest.mark.parametrize("committed", [False, True])
def test_a_lost_answer_to_a_write_is_said_to_be_one(ready: Tenant, committed: bool) -> None:
    ready.nexla.inject(faults.dropped(committed=committed), method="PUT", count=3)
    with pytest.raises(NexlaError, match="may or may not have been carried out, and is safe to repeat") as caught:
        ready.push()
    assert (caught.value.status, caught.value.retryable) == (None, True)
    assert ready.nexla.flow_read() == (200 if committed else 401)
    assert ready.push().outcome is Outcome.LIVE


@pytest.mark.parametrize("committed", [False, True])
def test_a_slow_answer_ends_with_the_deadline(ready: Tenant, committed: bool) -> None:
    client = ready.new_client(limits=Limits(total=0.3, attempts=1))
    client.login()
    ready.nexla.inject(faults.slow(5, committed=committed), method="PUT")
    credential = client.credential(ID)
    body = put_body(discover(credential, ready.wanted), credential, ready.wanted, ready.token())
    with pytest.raises(NexlaError, match="no answer within") as caught:
        client.update(ID, body)
    assert caught.value.retryable
    assert "may or may not" in caught.value.message
    ready.nexla.inject(faults.slow(5), path=PROBE)
    assert ready.probe(client).outcome is Outcome.UNPROVEN


def test_nobody_listens() -> None:
    client = NexlaClient(
        http.session(limits=Limits(attempts=1)), "http://127.0.0.1:9", lambda: Secret(SERVICE_KEY), Clock()
    )
    with pytest.raises(NexlaError, match="nothing was changed") as caught:
        client.login()
    assert "api_url" in str(caught.value.hint)
    assert caught.value.retryable


@pytest.mark.parametrize(
    ("status", "method", "path"),
    [(status, "PUT", CREDENTIAL) for status in (301, 302, 303, 307, 308)]
    + [(302, "POST", "/token"), (307, "POST", "/token"), (302, "GET", CREDENTIAL)],
)
def test_no_redirect_is_followed(tenant: Tenant, status: int, method: str, path: str) -> None:
    FIXTURES["a"](tenant.nexla, tenant.test_url)
    tenant.nexla.inject(faults.redirected(f"{tenant.apple.url}/v1/apps", status), method=method, path=path)
    with pytest.raises(NexlaError) as caught:
        tenant.push()
    assert not caught.value.retryable
    assert "api_url" in str(caught.value.hint)
    assert tenant.apple.journal.count() == 0


@pytest.mark.parametrize("fault", [nexla_faults.EMPTY_CONNECTOR, nexla_faults.NULL_NAME])
def test_answers_that_the_sdk_cannot_read(ready: Tenant, fault: faults.Fault) -> None:
    ready.nexla.inject(fault, count=2, path=CREDENTIAL)
    assert ready.push().outcome is Outcome.LIVE
    assert ready.nexla.journal.entries()[-1].status == 200


def test_half_an_answer_to_a_write_is_enough(ready: Tenant) -> None:
    ready.nexla.inject(faults.truncated_json(), method="PUT")
    assert ready.push().outcome is Outcome.LIVE
    assert ready.asked("PUT", CREDENTIAL) == 1


def test_half_a_credential_is_not(ready: Tenant) -> None:
    ready.nexla.inject(faults.truncated_json(), method="GET", path=CREDENTIAL)
    with pytest.raises(NexlaError, match="no JSON"):
        ready.push()
    assert ready.asked("PUT", CREDENTIAL) == 0


def test_a_page_in_place_of_the_answer_to_a_write(ready: Tenant) -> None:
    ready.nexla.inject(faults.html(200), method="PUT")
    with pytest.raises(NexlaError, match="not one of nexla's") as caught:
        ready.push()
    assert caught.value.retryable
    assert ready.writes == 0


def test_another_credential_than_asked_for(ready: Tenant) -> None:
    ready.nexla.inject(faults.answered(200, b'{"id": 5002, "credentials_type": "rest"}'), path=CREDENTIAL)
    with pytest.raises(NexlaError, match="another credential"):
        ready.push()
