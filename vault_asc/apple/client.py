"""The try at App Store Connect: one GET, repeated while Apple refuses. It changes nothing there, and judges nothing.

`vault_asc.apple.answers` says what an answer proves. The token is minted in memory, lives two minutes and goes nowhere else.
"""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

import requests

from vault_asc import http
from vault_asc.apple.answers import Answer, judge, unknown
from vault_asc.apple.trial import Trial, TrialOutcome
from vault_asc.clock import Clock, system_clock
from vault_asc.errors import PrivateKeyError
from vault_asc.key.identity import APP_STORE_CONNECT, Identity
from vault_asc.tokens import BACKDATE, Token, TokenRequest, mint

if TYPE_CHECKING:
    from vault_asc.key.private_key import PrivateKey

_LIFETIME: Final = BACKDATE + 120  # seconds; two minutes is Apple's advice for a single request
_TRIES: Final = 3
_WHOLE_TIME: Final = 15.0  # seconds, for all tries and the pauses between them
_NO_KEY: Final = ""
_TIMES: Final = {1: "once", 2: "twice"}


class Api(NamedTuple):
    """How App Store Connect is asked.

    Attributes:
        session: from `http.session(ca_file=...)`.
        url: base URL, such as `https://api.appstoreconnect.apple.com`.
        clock: the moment that tokens are minted at.
        wait: sleeps for so many seconds between two tries.
    """

    session: requests.Session
    url: str
    clock: Clock = system_clock
    wait: Callable[[float], object] = time.sleep


def try_key(api: Api, key: "PrivateKey", identity: Identity) -> Trial:
    """Whether App Store Connect accepts a key that may lie nowhere but here; never raises for what Apple does.

    `PrivateKeyError` when what the key signs does not verify with its own public half: then nothing is sent.
    """
    if identity.audience != APP_STORE_CONNECT:
        return Trial(
            TrialOutcome.SKIPPED,
            identity.key_id,
            f'key "{identity.key_id}" of the Enterprise Program was not tried at apple: no request is known that each of'
            " its keys may make",
        )
    # No scope: hardly anybody uses one, and whether it would be a reason to refuse a good key is not known well enough.
    token = mint(identity, TokenRequest(_LIFETIME), key, api.clock())
    if not _verifies(token, key):
        raise PrivateKeyError(
            f'what key "{identity.key_id}" signs does not verify with its public half, nothing was sent or written',
            hint="try another machine, then report it: vault-asc or its crypto library is broken here",
        )
    return tried(api, token)


def out_of_reach(api: Api) -> Trial | None:
    """What keeps App Store Connect from being asked, by one request without a token; None when it answers."""
    try:
        response = api.session.get(f"{http.base_url(api.url)}/v1/apps?limit=1", headers={"Accept": "application/json"})
    except requests.RequestException as exc:
        return unknown(_NO_KEY, http.explain(exc), _hint(exc))
    answer = Answer(response.status_code, _json(response), response.text, response.headers.get("Date"))
    trial = judge(answer, _NO_KEY, api.clock())
    return trial if trial.outcome is TrialOutcome.UNKNOWN else None


def tried(api: Api, token: Token) -> Trial:
    """What App Store Connect says to a token of any custody; at most 3 tries and 15 s, and no error escapes.

    It counts as refused only after three refusals in a row: single 401s for good tokens are known.
    """
    refusals = 0
    with http.within(http.Deadline.after(_WHOLE_TIME)):
        trial = _asked(api, token)
        while trial.outcome is TrialOutcome.REFUSED:
            refusals += 1
            if refusals == _TRIES:
                return trial._replace(detail=f"{trial.detail}; it was asked {_TRIES} times")
            api.wait(float(refusals))
            trial = _asked(api, token)
    if refusals and trial.outcome is TrialOutcome.UNKNOWN:
        return trial._replace(detail=f"{trial.detail}, after it had refused the token {_TIMES[refusals]}")
    return trial


def _asked(api: Api, token: Token) -> Trial:
    headers = {"Authorization": f"Bearer {token.value.reveal()}", "Accept": "application/json"}
    try:
        response = api.session.get(f"{http.base_url(api.url)}/v1/apps?limit=1", headers=headers)
    except requests.RequestException as exc:
        return unknown(token.key_id, http.explain(exc), _hint(exc))
    answer = Answer(response.status_code, _json(response), response.text, response.headers.get("Date"))
    return judge(answer, token.key_id, api.clock())


def _json(response: requests.Response) -> object:
    try:
        return response.json()
    except requests.RequestException:
        return None


def _hint(exc: requests.RequestException) -> str:
    if isinstance(exc, http.CertificateError):
        return "if something between here and apple has a CA of its own, name it: ca_file in [appstoreconnect]"
    if isinstance(exc, http.RedirectRefusedError):
        return "redirects are not followed: write the final address as api_url in [appstoreconnect]"
    return "check api_url in [appstoreconnect] and the network from here to it, and try again"


def _verifies(token: Token, key: "PrivateKey") -> bool:
    import jwt

    from vault_asc.key.public_key import public_key

    message, _, signature = token.value.reveal().rpartition(".")
    return public_key(key.public_key_pem()).verifies(jwt.utils.base64url_decode(signature), message.encode())
