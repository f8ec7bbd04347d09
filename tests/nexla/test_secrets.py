"""No secret in anything that could be shown, whatever the server repeats; and what goes over the wire."""

import logging
import traceback
from typing import TYPE_CHECKING

import pytest

from vault_asc import http
from vault_asc.errors import NexlaError
from vault_asc.lab import faults
from vault_asc.lab.nexla import Readings
from vault_asc.lab.nexla import faults as nexla_faults
from vault_asc.nexla.client import LIMITS, RETRY_METHODS, NexlaClient
from vault_asc.secret import Secret

if TYPE_CHECKING:
    import requests

from tests.nexla.tenant import CREDENTIAL, ID, PROBE, SERVICE_KEY, Tenant


def _everything(error: BaseException) -> str:
    """All texts that could end in a log: messages, hints, attributes and traceback, of the causes too."""
    texts = ["".join(traceback.format_exception(error))]
    seen: BaseException | None = error
    while seen is not None:
        texts += [str(seen), repr(seen), repr(vars(seen)), repr(seen.args)]
        seen = seen.__cause__ or seen.__context__
    return "\n".join(texts)


def _echoes(*secrets: str) -> list[faults.Fault]:
    """Answers that repeat what was sent, in every form, and calls that get none."""
    text = f"no {' '.join(secrets)}"
    forms = [nexla_faults.refused(400, text, form) for form in ("rails", "documented")]
    forms += [faults.plain_text(status, text) for status in (200, 400, 401, 403, 500)]
    return [*forms, faults.dropped(), faults.redirected(f"http://127.0.0.1:9/{secrets[-1]}")]


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/token"), ("GET", CREDENTIAL), ("PUT", CREDENTIAL), ("GET", PROBE)]
)
def test_no_secret_is_shown(
    ready: Tenant, method: str, path: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    token = ready.token()
    claims = token.reveal().split(".")[1]
    caplog.set_level(logging.DEBUG)
    shown = []
    for number in range(len(_echoes(""))):
        client = ready.client = ready.new_client()
        client.login()
        session, _ = client._session.enter()
        secrets = (SERVICE_KEY, session.token.reveal(), token.reveal())
        if path == "/token":
            ready.nexla.end_sessions()
        ready.nexla.inject(_echoes(*secrets)[number], method=method, path=path, count=9)
        try:
            shown = [repr(ready.push(token=token))]
        except NexlaError as error:
            shown = [_everything(error)]
        ready.nexla.heal()
        shown += [
            repr(client),
            repr(vars(client)),
            repr(vars(client._session)),
            caplog.text,
            *map(repr, caplog.records),
            *capfd.readouterr(),
        ]
        assert not any(secret in text for text in shown for secret in (*secrets, claims))


def test_an_echo_of_the_body_is_masked(ready: Tenant) -> None:
    """Nexla may repeat in a 400 what it refuses."""
    ready.nexla.readings = Readings(echo_input=True)
    token = Secret("not-a-jwt-but-secret")
    with pytest.raises(NexlaError, match="answered 400") as caught:
        ready.client.update(ID, {"vendor_name": "nobody", "template_config": {"jwt_token": token}})
    assert "Invalid vendor" in caught.value.message
    assert token.reveal() not in _everything(caught.value)


def test_the_wire(ready: Tenant) -> None:
    session = http.session(limits=LIMITS, retry_methods=RETRY_METHODS)
    seen: list[requests.PreparedRequest] = []
    session.hooks["response"].append(lambda response, **_: seen.append(response.request))
    ready.client = NexlaClient(session, f"{ready.nexla.url}/", lambda: Secret(SERVICE_KEY), ready.clock)
    ready.push()
    login, get, put, _ = seen
    assert login.headers["Authorization"] == f"Basic {SERVICE_KEY}"
    assert login.headers["Content-Length"] == "0"
    assert {request.headers["Accept"] for request in seen} == {"application/vnd.nexla.api.v1+json"}
    assert get.path_url == f"/nexla-api{CREDENTIAL}?expand=1"
    assert put.headers["Content-Type"] == "application/json"
