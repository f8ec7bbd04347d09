import json
import threading
from http.client import IncompleteRead, RemoteDisconnected
from typing import Any

import pytest

from tests.lab.nexla_client import ONE, SERVICE_KEY, Client, login
from tests.lab.signing import NOW, HandSigner
from tests.lab.wire import ask
from vault_asc.lab.faults import answered, cut_off, dropped, html, redirected, slow, throttled, truncated_json
from vault_asc.lab.nexla import NexlaSimulator, Readings, User, faults


def test_status_faults_hit_one_route_and_count_down(call: Client, nexla: NexlaSimulator, template: Any) -> None:
    nexla.inject(faults.SESSION_LOST, method="GET", path=ONE)
    nexla.inject(throttled("1"), method="PUT", path="/data_credentials/*")
    nexla.inject(throttled(), method="PUT", path=ONE)
    for status in (500, 502, 503, 504):
        nexla.inject(answered(status), path="/limits")
    lost = call("GET", ONE)
    assert (lost.status, lost.body, "x-request-id" in lost.headers) == (401, b"", True)
    assert call("GET", ONE).status == 200
    put = {**template, "template_config": {"jwt_token": "new"}}
    first, second = call.put(put), call.put(put)
    assert (first.status, first.headers["retry-after"]) == (429, "1")
    assert (second.status, "retry-after" in second.headers) == (429, False)
    assert nexla.credential().writes == 0
    assert [call("GET", "/limits").status for _ in range(5)] == [500, 502, 503, 504, 200]


def test_dropped_connections_before_and_after_commit(call: Client, nexla: NexlaSimulator, template: Any) -> None:
    for committed, writes in ((False, 0), (True, 1)):
        nexla.inject(dropped(committed=committed), method="PUT")
        with pytest.raises(RemoteDisconnected):
            call.put({**template, "template_config": {"jwt_token": "new"}})
        assert nexla.credential().writes == writes
        assert nexla.journal.last().status is None


def test_slow_answers_before_and_after_commit(call: Client, nexla: NexlaSimulator, template: Any) -> None:
    def put() -> None:
        body = json.dumps({**template, "template_config": {"jwt_token": "new"}}).encode()
        with pytest.raises(TimeoutError):
            ask("PUT", f"{nexla.url}{ONE}", authorization=f"Bearer {call.session}", body=body, timeout=0.2)

    nexla.inject(slow(30), method="PUT")
    put()
    assert nexla.credential().writes == 0
    nexla.inject(slow(30, committed=True), method="PUT")
    put()
    assert nexla.credential().writes == 1


@pytest.mark.parametrize("fault", [html(200), truncated_json(), redirected("http://127.0.0.1:1/x"), cut_off()])
def test_strange_answers(call: Client, nexla: NexlaSimulator, template: Any, fault: Any) -> None:
    nexla.inject(fault, method="PUT")
    if fault.name == "cut off":
        with pytest.raises(IncompleteRead):
            call.put({"name": "n"})
    else:
        answer = call.put({"name": "n"})
        assert answer.status == (302 if "redirected" in fault.name else 200)
        assert answer.headers.get("location") == ("http://127.0.0.1:1/x" if answer.status == 302 else None)
        with pytest.raises(ValueError):
            answer.json()
    committed = fault.name in {"truncated json", "cut off"}
    assert nexla.credential().name == ("n" if committed else "asc-5001")


def test_answers_that_break_strict_clients(call: Client, nexla: NexlaSimulator, template: Any) -> None:
    nexla.inject(faults.EMPTY_CONNECTOR, method="PUT")
    nexla.inject(faults.NULL_NAME, method="PUT")
    nexla.inject(faults.NO_ACCESS_TOKEN, path="/token")
    assert call.put({"description": "d"}).json()["connector"] == {}
    assert call.put({}).json()["name"] is None
    assert nexla.credential().description == "d"
    answer = login(nexla)
    assert (answer.status, answer.json()["access_token"]) == (200, None)


def test_documented_error_envelope(call: Client, nexla: NexlaSimulator, template: Any) -> None:
    nexla.readings = Readings(error_envelope="documented")
    body = call("GET", "/data_credentials/1").json()
    assert body.keys() == {"error", "error_description", "error_code", "timestamp", "request_id", "details"}
    assert login(nexla, "wrong").json()["error_code"] == "AUTH_002"
    assert ask("GET", f"{nexla.url}{ONE}").json()["error_code"] == "AUTH_001"
    refused = call.put({**template, "template_config": {}}).json()
    assert (refused["error_code"], refused["error_description"]) == ("VAL_001", "Missing config jwt_token for template")
    nexla.inject(faults.refused(429, form="documented"))
    assert call("GET", ONE).json()["error_code"] == "RATE_001"


def test_a_400_may_echo_the_secret(call: Client, nexla: NexlaSimulator, template: Any) -> None:
    body = {"vendor_name": "nobody", "template_config": {"jwt_token": "very-secret"}}
    assert b"very-secret" not in call.put(body).body
    nexla.readings = Readings(echo_input=True)
    assert b"very-secret" in call.put(body).body


def test_journal_counts_routes_and_holds_no_secret(
    call: Client, nexla: NexlaSimulator, template: Any, signer: HandSigner
) -> None:
    call.put({**template, "template_config": {"jwt_token": signer.team()}})
    call.probe(f"?leak={call.session}")
    call("GET", f"/data_credentials/{signer.team()}")
    assert nexla.journal.count("PUT", ONE) == 1
    assert nexla.journal.count("GET", "/data_credentials/*", status=200) == 1
    assert nexla.journal.count("POST", "/token") == 1
    entry = nexla.journal.entries()[1]
    assert (entry.time, entry.method, entry.path, entry.status, entry.reason) == (NOW, "PUT", ONE, 200, "update")
    assert entry.who == User().email
    text = repr(nexla.journal.entries())
    assert not any(secret in text for secret in ("eyJ", call.session, SERVICE_KEY))


def test_concurrent_puts_are_each_whole(call: Client, nexla: NexlaSimulator, template: Any) -> None:
    def write(name: str) -> None:
        for _ in range(5):
            call.put({**template, "template_config": {"jwt_token": name}})

    threads = [threading.Thread(target=write, args=(f"t{number}",)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert nexla.credential().writes == 30
    assert nexla.journal.count("PUT", ONE, status=200) == 30
