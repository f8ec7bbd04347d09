import re
import threading
from dataclasses import replace
from http.client import HTTPConnection, IncompleteRead, RemoteDisconnected
from time import monotonic
from urllib.parse import urlsplit

import pytest

from tests.lab.signing import ISSUER, KEY_ID, NOW, Clock, HandSigner
from tests.lab.wire import Response, ask
from vault_asc.lab.apple import AppleSimulator, faults
from vault_asc.lab.faults import cut_off, dropped, slow
from vault_asc.lab.journal import Entry

APPS = "/v1/apps?limit=1"


def get(apple: AppleSimulator, token: str | None, target: str = APPS, method: str = "GET") -> Response:
    return ask(method, f"{apple.url}{target}", authorization=None if token is None else f"Bearer {token}")


def test_401_has_no_id_and_403_has_one(apple: AppleSimulator, signer: HandSigner) -> None:
    error = get(apple, "x").json()["errors"][0]
    assert (error["status"], error["code"], "id" in error) == ("401", "NOT_AUTHORIZED", False)
    apple.set_role(KEY_ID, denied=["/v1/apps"])
    error = get(apple, signer.team()).json()["errors"][0]
    assert (error["code"], "id" in error) == ("FORBIDDEN_ERROR", True)
    assert get(apple, signer.team(), "/v1/apps/1234567890").status == 403
    assert get(apple, signer.team(), "/v1/builds").status == 200
    apple.set_role(KEY_ID)
    assert get(apple, signer.team()).status == 200
    apple.agreement_signed = False
    answer = get(apple, signer.team())
    assert answer.status == 403
    assert answer.json()["errors"][0]["code"] == "FORBIDDEN.REQUIRED_AGREEMENTS_MISSING_OR_EXPIRED"
    assert get(apple, "x").status == 401


def test_rate_limit_is_per_key_and_rolls(clock: Clock, signer: HandSigner) -> None:
    other = HandSigner("BBBBBBBBBB")
    with AppleSimulator(clock=clock, hourly_limit=2) as apple:
        for each in (signer, other):
            apple.add_key(each.key_id, each.public_pem, issuer_id=ISSUER)
        assert [get(apple, signer.team()).status for _ in range(3)] == [200, 200, 429]
        assert get(apple, signer.team()).json()["errors"][0]["code"] == "RATE_LIMIT_EXCEEDED"
        assert get(apple, other.team()).headers["x-rate-limit"] == "user-hour-lim:2;user-hour-rem:1;"
        clock.now += 3600
        assert get(apple, signer.team(clock.now)).status == 200


def test_resources(apple: AppleSimulator, signer: HandSigner) -> None:
    token = signer.team()
    assert get(apple, token, "/v1/apps/1234567890").json()["data"]["id"] == "1234567890"
    assert get(apple, token, "/v1/builds").json()["data"] == []
    assert get(apple, token, "/v1/nothing").status == 404
    assert get(apple, token, "/v1/apps/1").status == 404
    assert get(apple, token, "/v1/apps", "DELETE").status == 405
    assert get(apple, token, "/v1/apps?limit=0").status == 400


def test_faults_in_apples_words(apple: AppleSimulator, signer: HandSigner) -> None:
    token = signer.team()
    planned = [
        faults.FALSE_401,
        faults.FORBIDDEN_ROLE,
        faults.AGREEMENT_MISSING,
        faults.RATE_LIMITED,
        faults.SERVER_ERROR,
        faults.UNAUTHENTICATED_TEXT,
    ]
    for fault in planned:
        apple.inject(fault)
    answers = [get(apple, token) for _ in range(7)]
    assert [answer.status for answer in answers] == [401, 403, 403, 429, 500, 401, 200]
    assert answers[5].headers["content-type"] == "text/plain"
    assert [entry.fault for entry in apple.journal.entries()] == [*(fault.name for fault in planned), None]


def test_faults_count_skip_and_match(apple: AppleSimulator, signer: HandSigner) -> None:
    token = signer.team()
    apple.inject(faults.FALSE_401, count=2, skip=1, path="/v1/apps")
    seen = [get(apple, token, target).status for target in (APPS, "/v1/builds", APPS, APPS, APPS)]
    assert seen == [200, 200, 401, 401, 200]
    apple.inject(faults.FALSE_401)
    apple.heal()
    assert get(apple, token).status == 200


def test_transport_faults(apple: AppleSimulator, signer: HandSigner) -> None:
    apple.inject(dropped())
    with pytest.raises(RemoteDisconnected):
        get(apple, signer.team())
    assert apple.journal.last() == Entry(NOW, "GET", "/v1/apps", None, None, "", "dropped before commit")
    apple.inject(cut_off())
    with pytest.raises(IncompleteRead):
        get(apple, signer.team())
    apple.inject(slow(30))
    with pytest.raises(TimeoutError):
        ask("GET", f"{apple.url}{APPS}", timeout=0.2)


def test_journal_tells_the_reason_and_never_the_token(apple: AppleSimulator, signer: HandSigner) -> None:
    heard: list[Entry] = []
    apple.journal.listen(heard.append)
    token = signer.team()
    get(apple, token)
    get(apple, None, f"/v1/{token}?token={token}")
    hostile = replace(signer, key_id=token).team()
    get(apple, hostile)
    assert heard[0] == Entry(NOW, "GET", "/v1/apps", 200, KEY_ID, "accepted")
    assert heard[1].path == "/v1/[secret]"
    assert not re.search("eyJ", repr(apple.journal.entries()))
    assert apple.journal.count("GET", "/v1/apps") == 2
    assert apple.journal.count(status=401) == 2


def test_a_stop_leaves_nothing_and_does_not_wait_for_clients(clock: Clock) -> None:
    before = threading.active_count()
    with AppleSimulator(clock=clock) as apple:
        apple.inject(slow(60), path="/v1/users")
        idle = HTTPConnection("127.0.0.1", urlsplit(apple.url).port, timeout=5)
        idle.request("GET", "/v1/apps")
        assert idle.getresponse().read()
        waiting = HTTPConnection("127.0.0.1", urlsplit(apple.url).port, timeout=5)
        waiting.request("GET", "/v1/users")
        began = monotonic()
    assert monotonic() - began < 2
    assert threading.active_count() == before
    idle.close()
    waiting.close()


def test_kept_alive_connections_serve_many_requests(apple: AppleSimulator, signer: HandSigner) -> None:
    connection = HTTPConnection("127.0.0.1", urlsplit(apple.url).port, timeout=5)
    for _ in range(3):
        connection.request("GET", APPS, headers={"Authorization": f"Bearer {signer.team()}"})
        answer = connection.getresponse()
        assert (answer.status, bool(answer.read())) == (200, True)
    connection.close()


def test_many_clients_at_once_are_all_counted(apple: AppleSimulator, signer: HandSigner) -> None:
    token = signer.team()
    threads = [threading.Thread(target=lambda: [get(apple, token) for _ in range(5)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert apple.journal.count(status=200) == 40
    assert get(apple, token).headers["x-rate-limit"] == "user-hour-lim:3500;user-hour-rem:3459;"
