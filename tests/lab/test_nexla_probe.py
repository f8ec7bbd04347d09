import threading
from typing import Any

import pytest

from tests.lab.nexla_client import ONE, SERVICE_KEY, Client, login
from tests.lab.signing import Clock, HandSigner
from vault_asc.lab.apple import AppleSimulator
from vault_asc.lab.apple import faults as apple_faults
from vault_asc.lab.faults import slow
from vault_asc.lab.nexla import NexlaSimulator, Readings
from vault_asc.lab.nexla.fixtures import FIXTURES
from vault_asc.lab.nexla.simulator import rest_config


def test_probe_stores_verified_and_put_leaves_it_stale(
    call: Client, nexla: NexlaSimulator, template: dict[str, Any], signer: HandSigner, clock: Clock
) -> None:
    good = {**template, "template_config": {"jwt_token": signer.team()}}
    bad = {**template, "template_config": {"jwt_token": "bad"}}
    assert call.get(ONE)["verified_status"] is None
    call.put(good)
    assert (call.probe().status, call.probe().body) == (200, b"")
    assert (call.get(ONE)["verified_status"], call.get(ONE)["verified_at"]) == ("200 Ok", "2026-05-28T20:26:40.000Z")
    clock.now += 60
    assert call.put(bad).json()["verified_status"] == "200 Ok"
    assert call.get(ONE)["verified_at"] == "2026-05-28T20:26:40.000Z"
    failed = call.probe()
    assert (failed.status, failed.json()["status"]) == (403, 403)
    assert "NOT_AUTHORIZED" in failed.json()["message"]
    stored = nexla.credential()
    assert (stored.verified_status or "").startswith("401 ")
    assert stored.verified_at is None
    call.put(good)
    assert nexla.credential().verified_at is None
    nexla.readings = Readings(probe_stores=False)
    assert call.probe().status == 200
    assert nexla.credential().verified_at is None


def test_probe_readings(
    call: Client, nexla: NexlaSimulator, apple: AppleSimulator, template: dict[str, Any], signer: HandSigner
) -> None:
    nexla.readings = Readings(probe_status="relay", probe_message="status")
    relayed = call.probe()
    assert (relayed.status, relayed.json()) == (401, {"status": 401, "message": "Unauthorized"})
    call.put({**template, "template_config": {"jwt_token": signer.team()}})
    apple.inject(apple_faults.SERVER_ERROR)
    assert call.probe().status == 500
    nexla.readings = Readings(probe_body="object")
    assert call.probe().json() == {"output": {}}
    nexla.readings = Readings(probe_body="result")
    assert call("GET", f"{ONE}/probe/authenticate").json()["status"] == "ok"
    nexla.readings = Readings(probe_skips=True)
    call.put({"credentials": {"skip.validation": True}})
    assert call.probe().status == 200
    nexla.readings = Readings()
    assert call.probe().status == 403


def test_probe_of_a_role_and_of_an_agreement_tells_which(
    call: Client, apple: AppleSimulator, template: dict[str, Any], signer: HandSigner
) -> None:
    call.put({**template, "template_config": {"jwt_token": signer.team()}})
    apple.agreement_signed = False
    assert "REQUIRED_AGREEMENTS_MISSING_OR_EXPIRED" in call.probe().json()["message"]
    apple.agreement_signed = True
    apple.inject(apple_faults.FORBIDDEN_ROLE)
    assert "FORBIDDEN_ERROR" in call.probe().json()["message"]


@pytest.mark.parametrize("key", ["response", "result"])
def test_async_probe(call: Client, nexla: NexlaSimulator, template: dict[str, Any], key: Any) -> None:
    nexla.readings = Readings(async_result=key)
    started = call.probe("?async=True").json()
    assert (started["status"], key in started) == ("pending", False)
    done = call.probe(f"?request_id={started['request_id']}").json()
    assert (done["status"], done[key]["status"]) == ("failed", 401)
    assert call.probe("?request_id=99").status == 404


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        ({"test.url": None}, "test.url"),
        ({"test.url": "https://api.appstoreconnect.apple.com/v1/apps"}, "lab"),
        ({"test.url": "http://127.0.0.1:x/"}, "no URL"),
        ({"test.url": "http://127.0.0.1:1/"}, "connection to the vendor failed"),
        ({"auth.type": "TOKEN"}, "not simulated"),
        ({"api.key.auth.value": "Bearer a\nb: c"}, "invalid header value"),
    ],
)
def test_probe_of_unusable_credentials(
    call: Client, template: dict[str, Any], test_url: str, stored: dict[str, Any], message: str
) -> None:
    call.put({"credentials": rest_config("Bearer x", test_url) | stored})
    answer = call.probe()
    assert answer.status == 403
    assert message in answer.json()["message"]
    assert call.nexla.flow_read() == 0


def test_other_carriers_of_the_token(
    call: Client, nexla: NexlaSimulator, template: dict[str, Any], test_url: str, signer: HandSigner
) -> None:
    listed = {
        "auth.type": "NONE",
        "test.url": test_url,
        "request.headers": f"X-A:1,Authorization:Bearer {signer.team()}",
    }
    oauth = {"auth.type": "OAUTH2", "test.url": test_url, "oauth2.access.token": signer.team()}
    for credentials in (listed, oauth):
        call.put({"credentials": credentials})
        assert call.probe().status == 200
    call.put({"credentials": {**listed, "request.headers": ""}})
    assert call.probe().status == 403


def test_a_slow_vendor_does_not_block_others(
    call: Client, apple: AppleSimulator, template: dict[str, Any], signer: HandSigner
) -> None:
    call.put({**template, "template_config": {"jwt_token": signer.team()}})
    apple.inject(slow(0.5))
    answers: list[int] = []
    thread = threading.Thread(target=lambda: answers.append(call.probe().status))
    thread.start()
    assert call.get(ONE)["id"] == 5001
    assert answers == []
    thread.join()
    assert answers == [200]


def test_flows_use_what_is_stored(
    call: Client, nexla: NexlaSimulator, template: dict[str, Any], signer: HandSigner, clock: Clock
) -> None:
    assert nexla.flow_read() == 401
    call.put({**template, "template_config": {"jwt_token": signer.team(clock.now)}})
    run = nexla.start_flow()
    assert (nexla.flow_read(), run.read()) == (200, 200)
    clock.now += 1080
    assert (nexla.flow_read(), run.read()) == (401, 401)
    call.put({**template, "template_config": {"jwt_token": signer.team(clock.now)}})
    assert (nexla.flow_read(), run.read()) == (200, 401)


@pytest.mark.parametrize("letter", sorted(FIXTURES))
def test_every_fixture_takes_a_token(
    call: Client, nexla: NexlaSimulator, test_url: str, signer: HandSigner, letter: str
) -> None:
    FIXTURES[letter](nexla, test_url)
    view = call.get(f"{ONE}?expand=1")
    if letter == "e":
        body: dict[str, Any] = {"credentials": rest_config(f"Bearer {signer.team()}", test_url)}
    else:
        prefix = "Bearer " if letter == "b" else ""
        names = [each["name"] for each in view["auth_template"]["auth_parameters"]]
        values = {name: "1" if name == "page_size" else f"{prefix}{signer.team()}" for name in names}
        ids = {"vendor_id": view["vendor"]["id"], "auth_template_id": view["auth_template"]["id"]}
        body = {**ids, "template_config": values}
    assert call.put(body).status == 200
    assert nexla.flow_read() == (401 if letter == "d" else 200)


def test_fixtures_are_what_their_letters_say(call: Client, clock: Clock, test_url: str) -> None:
    def shape(letter: str) -> tuple[int, list[tuple[str, bool]]]:
        with NexlaSimulator(clock=clock) as nexla:
            nexla.add_service_key(SERVICE_KEY)
            FIXTURES[letter](nexla, test_url)
            view = Client(nexla, login(nexla).json()["access_token"]).get(f"{ONE}?expand=1")
            parameters = view["auth_template"]["auth_parameters"]
            return len(view["vendor"]["auth_templates"]), [(each["name"], each["secured"]) for each in parameters]

    assert shape("c") == (2, [("jwt_token", True)])
    assert shape("d") == (1, [("first", True), ("second", True)])
    assert shape("g") == (1, [("appstore_api.jwt", True)])
    assert shape("h") == (1, [("jwt_token", True), ("page_size", False)])
