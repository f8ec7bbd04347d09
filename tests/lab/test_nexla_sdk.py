"""Conformance: the official nexla-sdk works against the simulator, and trips where it is known to trip."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from nexla_sdk import NexlaClient
from nexla_sdk.exceptions import AuthenticationError, NexlaError, NotFoundError, RateLimitError, ServerError
from nexla_sdk.http_client import RequestsHttpClient
from nexla_sdk.models.credentials.requests import CredentialCreate, CredentialUpdate
from pydantic import ValidationError

from tests.lab.nexla_client import ONE, SERVICE_KEY
from tests.lab.signing import HandSigner
from vault_asc.lab.faults import answered, dropped, redirected, throttled
from vault_asc.lab.nexla import NexlaSimulator, Readings, faults
from vault_asc.lab.nexla.simulator import rest_config

Connect = Callable[..., Any]


@pytest.fixture
def connect(nexla: NexlaSimulator) -> Iterator[Connect]:
    opened: list[Any] = []

    def make(margin: int = 300, key: str = SERVICE_KEY, **http: Any) -> Any:
        transport = RequestsHttpClient(**{"backoff_factor": 0.0, **http})
        transport.session.trust_env = False
        opened.append(transport)
        return NexlaClient(service_key=key, base_url=nexla.url, token_refresh_margin=margin, http_client=transport)

    yield make
    for transport in opened:
        transport.session.close()


@pytest.fixture
def sdk(connect: Connect) -> Any:
    return connect()


def test_base_url_is_plain_http_with_the_api_prefix(nexla: NexlaSimulator) -> None:
    assert nexla.url.startswith("http://127.0.0.1:")
    assert nexla.url.endswith("/nexla-api")


def test_logs_in_lists_and_gets(sdk: Any, nexla: NexlaSimulator, test_url: str) -> None:
    nexla.add_template_credential(5001, test_url=test_url)
    nexla.add_rest_credential(5002, test_url=test_url)
    assert [each.id for each in sdk.credentials.list()] == [5001, 5002]
    assert [each.id for each in sdk.credentials.list(credentials_type="appstore_api")] == [5001]
    assert [each.id for each in sdk.credentials.list(page=2, per_page=1, access_role="owner")] == [5002]
    assert [each.id for each in sdk.credentials.paginate(per_page=1)] == [5001, 5002]
    one = sdk.credentials.get(5001, expand=True)
    assert one.vendor["name"] == "appstore_api"
    assert one.auth_template["auth_parameters"][0]["name"] == "jwt_token"
    assert one.verified_at is None
    assert nexla.journal.count("POST", "/token") == 1
    with pytest.raises(NotFoundError):
        sdk.credentials.get(1)


def test_updates_and_probes_a_template_credential(
    sdk: Any, nexla: NexlaSimulator, test_url: str, signer: HandSigner
) -> None:
    made = nexla.add_template_credential(test_url=test_url)
    extra = {"vendor_id": 77, "auth_template_id": made.id, "template_config": {"jwt_token": signer.team()}}
    assert sdk.credentials.update(5001, CredentialUpdate(**extra)).id == 5001
    assert nexla.flow_read() == 200
    assert sdk.credentials.probe(5001)["status"] == "success"
    assert sdk.credentials.get(5001).verified_status == "200 Ok"
    assert sdk.credentials.get(5001).verified_at is not None


def test_updates_and_probes_a_rest_credential(
    sdk: Any, nexla: NexlaSimulator, test_url: str, signer: HandSigner
) -> None:
    nexla.add_rest_credential(test_url=test_url)
    whole = rest_config(f"Bearer {signer.team()}", test_url)
    sdk.credentials.update(5001, CredentialUpdate(credentials=whole))
    assert nexla.flow_read() == 200
    nexla.readings = Readings(probe_body="result")
    assert sdk.credentials.probe(5001) == {"status": "ok", "message": "Ok"}
    nexla.readings = Readings(probe_body="object")
    assert sdk.credentials.probe(5001) == {"output": {}}
    started = sdk.credentials.probe(5001, async_mode=True)
    assert sdk.credentials.probe(5001, request_id=started["request_id"])["status"] == "completed"


def test_creates_reads_history_and_deletes(sdk: Any, nexla: NexlaSimulator, test_url: str) -> None:
    made = sdk.credentials.create(
        CredentialCreate(name="n", credentials_type="rest", credentials=rest_config("Bearer x", test_url))
    )
    assert [entry["event"] for entry in sdk.credentials.get_audit_log(made.id)] == ["create"]
    nexla.add_source(900, made.id)
    with pytest.raises(ServerError, match="Data credentials in use"):
        sdk.credentials.delete(made.id)
    assert sdk.users.get_current()["email"] == "owner@lab.example"


def test_failed_probe_403_is_an_error_and_a_relayed_401_logs_in_again(
    sdk: Any, nexla: NexlaSimulator, test_url: str
) -> None:
    nexla.add_rest_credential(test_url=test_url)
    with pytest.raises(NexlaError):
        sdk.credentials.probe(5001)
    assert nexla.journal.count("POST", "/token") == 1
    nexla.readings = Readings(probe_status="relay")
    with pytest.raises(NexlaError):
        sdk.credentials.probe(5001)
    assert nexla.journal.count("POST", "/token") == 2
    assert nexla.journal.count("GET", f"{ONE}/probe", status=401) == 2


def test_default_refresh_margin_logs_in_before_every_request(
    connect: Connect, nexla: NexlaSimulator, test_url: str
) -> None:
    nexla.add_rest_credential(test_url=test_url)
    eager = connect(margin=3600)
    for _ in range(3):
        eager.credentials.get(5001)
    assert nexla.journal.count("POST", "/token") == 3


def test_lost_sessions_and_bad_keys(connect: Connect, nexla: NexlaSimulator, test_url: str) -> None:
    nexla.add_rest_credential(test_url=test_url)
    sdk = connect()
    sdk.credentials.get(5001)
    nexla.end_sessions()
    assert sdk.credentials.get(5001).id == 5001
    assert nexla.journal.count("POST", "/token") == 2
    with pytest.raises(AuthenticationError):
        connect(key="wrong").credentials.get(5001)
    sdk.logout()
    assert nexla.journal.last().reason == "logout"


def test_retries_of_the_sdk(sdk: Any, nexla: NexlaSimulator, test_url: str) -> None:
    nexla.add_rest_credential(test_url=test_url)
    nexla.inject(answered(503), count=2, path=ONE)
    nexla.inject(dropped(committed=True), method="PUT")
    assert sdk.credentials.get(5001).id == 5001
    sdk.credentials.update(5001, CredentialUpdate(credentials={"auth.type": "NONE"}))
    assert nexla.credential().writes == 2
    nexla.inject(throttled("0"), count=4, path=ONE)
    with pytest.raises(RateLimitError):
        sdk.credentials.get(5001)
    nexla.inject(answered(500), path=ONE)
    with pytest.raises(ServerError):
        sdk.credentials.get(5001)


def test_strict_models_fail_after_the_write(sdk: Any, nexla: NexlaSimulator, test_url: str) -> None:
    nexla.add_rest_credential(test_url=test_url)
    for fault in (faults.EMPTY_CONNECTOR, faults.NULL_NAME):
        nexla.inject(fault, method="PUT")
        with pytest.raises(ValidationError):
            sdk.credentials.update(5001, CredentialUpdate(credentials={"auth.type": "NONE"}))
    assert nexla.credential().writes == 2


def test_a_redirected_put_looks_like_success(sdk: Any, nexla: NexlaSimulator, test_url: str) -> None:
    nexla.add_rest_credential(test_url=test_url)
    nexla.inject(redirected(f"{nexla.url}{ONE}"), method="PUT")
    assert sdk.credentials.update(5001, CredentialUpdate(credentials={"auth.type": "NONE"})).id == 5001
    assert nexla.credential().writes == 0


def test_login_without_a_session_goes_unnoticed_by_the_sdk(sdk: Any, nexla: NexlaSimulator, test_url: str) -> None:
    nexla.add_rest_credential(test_url=test_url)
    nexla.inject(faults.NO_ACCESS_TOKEN, path="/token")
    assert sdk.credentials.get(5001).id == 5001
    assert [(entry.path, entry.status) for entry in nexla.journal.entries()] == [
        ("/token", 200),
        (ONE, 401),
        ("/token", 200),
        (ONE, 200),
    ]
