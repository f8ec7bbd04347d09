"""What goes over the wire, what a hostile server can do, and that no token is shown whatever it does."""

import logging
import ssl
import time
from pathlib import Path
from urllib.parse import quote

import pytest
import requests
import trustme

from tests.apple.tries import Tries, shown
from tests.cli.leaks import Scanner, of_private_key, of_token
from tests.fault_server import FaultServer
from tests.support import TEAM
from vault_asc import http
from vault_asc.apple import Api, Trial, TrialOutcome, refusal, try_key
from vault_asc.inspection import broken_rules, decode
from vault_asc.key.private_key import PrivateKey
from vault_asc.lab import faults
from vault_asc.lab.apple import AppleSimulator
from vault_asc.lab.apple import faults as apple_faults

LIMITS = http.Limits(connect=0.5, total=0.5, attempts=2)
BODIES = ["[" * 5000, '{"data": [], "data": []}', '{"data": NaN}', '{"errors": [{"code": {}}]}', "null", '"data"']
HOSTILE = [
    *("silent", "drip", "drip-header", "continue", "huge", "huge-503", "long-trailer"),
    *("gzip", "gzipbomb", "headers", "trunc", "trunc-chunk", "garbage", "empty", "html", "ok", "rst", "rst-body"),
    *("status/401", "status/403", "status/418", "redirect/308/x", "redirect/304/x"),
    "redirect/302/https%3A%2F%2Fexample.invalid%2F",
    *(f"{kind}/{quote(body, safe='')}" for kind in ("json", "error-json") for body in BODIES),
]


@pytest.fixture
def bearers(tries: Tries) -> list[str]:
    """Tokens as they are sent, one for each request that got an answer."""
    seen: list[str] = []

    def note(response: requests.Response, **_: object) -> None:
        scheme, token = str(response.request.headers["Authorization"]).split()
        assert scheme == "Bearer"
        seen.append(token)

    tries.session.hooks["response"].append(note)
    return seen


def test_one_token_without_scope_for_two_minutes(
    apple: AppleSimulator, tries: Tries, key: PrivateKey, bearers: list[str]
) -> None:
    apple.inject(apple_faults.FALSE_401, count=3)
    began = time.time()
    assert tries.key(apple.url, key).outcome is TrialOutcome.REFUSED
    assert len(bearers) == 3
    assert len(set(bearers)) == 1
    _, claims = decode(bearers[0])
    assert set(claims) == {"iss", "iat", "exp", "aud"}
    assert claims["exp"] - claims["iat"] == 180
    assert 118 <= claims["exp"] - began <= 121
    assert broken_rules(bearers[0], time.time()) == []


def test_the_request(tries: Tries, key: PrivateKey) -> None:
    with FaultServer() as server:
        tries.key(f"{server.url}/ok", key)
        (request,) = server.requests
    assert (request.method, request.path, request.body) == ("GET", "/ok/v1/apps?limit=1", b"")
    assert request.headers["accept"] == "application/json"
    assert request.headers["user-agent"].startswith("vault-asc/")


@pytest.mark.parametrize("path", HOSTILE, ids=lambda path: path[:20])
def test_a_hostile_server_proves_nothing_and_is_left_in_time(path: str, key: PrivateKey) -> None:
    began = time.monotonic()
    with FaultServer() as server, http.session(limits=LIMITS, wait=lambda _seconds: None) as session:
        trial = try_key(Api(session, f"{server.url}/{path}"), key, TEAM)
    assert trial.outcome is TrialOutcome.UNKNOWN
    assert trial.detail.isprintable()
    assert time.monotonic() - began < 2


def test_nobody_there(tries: Tries, key: PrivateKey) -> None:
    with FaultServer() as gone:
        url = gone.url
    trial = tries.key(url, key)
    assert trial.outcome is TrialOutcome.UNKNOWN
    assert "connection refused" in trial.detail
    assert "network" in str(trial.hint)


def test_all_tries_together_have_a_deadline(
    apple: AppleSimulator, key: PrivateKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vault_asc.apple.client._WHOLE_TIME", 0.3)
    apple.inject(apple_faults.FALSE_401)
    apple.inject(faults.slow(30))
    began = time.monotonic()
    with http.session() as session:
        trial = try_key(Api(session, apple.url, wait=lambda _seconds: None), key, TEAM)
    assert time.monotonic() - began < 2
    assert trial.outcome is TrialOutcome.UNKNOWN
    assert "after it had refused the token once" in trial.detail


def test_a_certificate_of_another_authority_is_told_with_the_way_out(key: PrivateKey, tmp_path: Path) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    with FaultServer(tls=context) as server:
        with http.session() as session:
            trial = try_key(Api(session, f"{server.url}/ok"), key, TEAM)
        assert "certificate not trusted" in trial.detail
        assert "ca_file in [appstoreconnect]" in str(trial.hint)
        assert server.requests == []
        answer = quote('{"data": []}', safe="")
        with http.session(ca_file=tmp_path / "ca.pem") as session:
            assert try_key(Api(session, f"{server.url}/json/{answer}"), key, TEAM).outcome is TrialOutcome.ACCEPTED


def test_a_redirect_is_told_with_the_way_out(apple: AppleSimulator, tries: Tries, key: PrivateKey) -> None:
    with FaultServer() as elsewhere:
        apple.inject(faults.redirected(f"{elsewhere.url}/ok"))
        trial = tries.key(apple.url, key)
        assert elsewhere.requests == []
    assert "api_url" in str(trial.hint)


def echoes(secret: str) -> list[faults.Fault]:
    """Answers that repeat a secret wherever they can, and calls that get none."""
    claims, signature = secret.split(".")[1:]
    fields = {"code": "FORBIDDEN", "title": secret, "detail": f"{claims} {signature}", "id": secret}
    bodies = [[fields], [fields | {"code": secret}], [fields | {"code": signature}], [secret]]
    texts = [str({"errors": errors}).replace("'", '"').encode() for errors in bodies]
    return [
        *(faults.answered(status, text) for status in (200, 400, 401, 403, 500) for text in texts),
        *(faults.plain_text(status, f"Unauthenticated {secret}") for status in (200, 401, 403)),
        faults.answered(401, texts[0], {"Date": secret, "X-Rate-Limit": secret}),
        faults.redirected(f"http://127.0.0.1:9/{secret}"),
        faults.dropped(),
    ]


def test_no_token_and_no_key_is_shown(
    apple: AppleSimulator,
    tries: Tries,
    key: PrivateKey,
    bearers: list[str],
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    pauses: list[Trial] = []
    seen = 0
    for number in range(len(echoes("a.b.c"))):
        tries.key(apple.url, key)  # leaves a token to be repeated: a signature is never the same twice
        apple.inject(echoes(bearers[-1])[number], count=9)
        trial = tries.key(apple.url, key)
        apple.heal()
        pauses.append(trial)
        everything = shown(trial, refusal(trial)) + repr(tries.api(apple.url)) + caplog.text
        everything += "".join(map(repr, caplog.records)) + "".join(capfd.readouterr())
        sentinels = of_private_key(key.pem.reveal().encode(), "key")
        for position, token in enumerate(bearers):
            sentinels |= of_token(token, f"token {position}")
            sentinels[f"claims {position}"] = token.split(".")[1]
        assert Scanner(sentinels).find(everything, "what is shown") == []
        seen += 1
    assert seen == len(pauses) > 20
    assert {trial.outcome for trial in pauses} == {TrialOutcome.UNKNOWN, TrialOutcome.REFUSED}


def test_an_error_on_the_way_shows_no_token_either(key: PrivateKey) -> None:
    """Also when the address itself cannot be used, whose errors repeat requests' arguments."""
    for url in (
        "http://127.0.0.1:1",
        "http://[::1",
        "nonsense",
        "http://127.0.0.1:9\r\nX: y",
        "unix:///nowhere/a.sock",
    ):
        with http.session(limits=LIMITS, wait=lambda _seconds: None) as session:
            trial = try_key(Api(session, url), key, TEAM)
        assert trial.outcome is TrialOutcome.UNKNOWN, url
        assert "eyJ" not in shown(trial, refusal(trial))
