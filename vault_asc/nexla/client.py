"""The client of Nexla's API: log in, read a credential, write it, probe it.

It speaks HTTP and judges nothing: `vault_asc.nexla.discovery` and `vault_asc.nexla.credential_body` say what to write,
`vault_asc.nexla.verdict` what a probe proves. Answers are read tolerantly; every field but `id` may be absent.

Source: docs/nexla-api.md. Not the official SDK: it follows redirects and `.netrc`, and fails on the answers to writes that
have succeeded.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import requests

from vault_asc.clock import Clock
from vault_asc.errors import NexlaError, VaultAscError
from vault_asc.http import Limits
from vault_asc.nexla import errors as nexla_errors
from vault_asc.nexla.allowance import Allowance, allowance_in
from vault_asc.nexla.auth_template import templates_in
from vault_asc.nexla.errors import Action, Failure
from vault_asc.nexla.session import Session, SharedSession
from vault_asc.nexla.verdict import judge, speaks_of_session, worth_another_try
from vault_asc.outcome import Outcome, Probe
from vault_asc.secret import Secret

RETRY_METHODS: Final = frozenset({"GET", "PUT", "POST"})
"""For `http.session`: all that this client sends may be repeated. Its only POST is the login, its PUT is complete."""

LIMITS: Final = Limits(total=60.0)
"""For `http.session`: a probe may take a minute; the other calls ask for less themselves."""

_CALL_TIME: Final = 15.0  # seconds, tries and pauses included
_PROBE_TIME: Final = LIMITS.total
_DEFAULT_SESSION: Final = 3600.0  # seconds, when the login does not say
_MARGIN: Final = 60.0  # seconds before its end at which a session is no longer used
_ACCEPT: Final = "application/vnd.nexla.api.v1+json"
_LOGIN: Final = Action("the login", login=True)
_LIMITS: Final = Action("the question for limits")
_KEPT_TO_ITSELF: Final = frozenset({403, 404, 405})  # a tenant that has no such call, or not for this user


@dataclass(frozen=True)
class _Call:
    """One call: what it is for, what is sent, seconds that it may take, whether a 401 is worth a login.

    `check` is called each time just before it is sent, and may raise.
    """

    action: Action
    method: str
    path: str
    query: Mapping[str, str] | None = None
    body: Mapping[str, Any] | None = None
    timeout: float = _CALL_TIME
    relogin: bool = True
    check: Callable[[], None] = lambda: None


class NexlaClient:
    """One account at Nexla; safe to share between threads.

    Args:
        http: from `http.session(limits=LIMITS, retry_methods=RETRY_METHODS, ca_file=...)`.
        api_url: base URL with its path, such as `https://dataops.nexla.io/nexla-api`.
        read_key: reads the service key, which is sent as it is: for the first login, and when it is refused.
        clock: the moment that sessions expire by.
        elapsed: seconds on a clock that nobody sets.
    """

    def __init__(
        self,
        http: requests.Session,
        api_url: str,
        read_key: Callable[[], Secret],
        clock: Clock,
        elapsed: Clock = time.monotonic,
    ) -> None:
        self._http = http
        self._api_url = api_url.rstrip("/")
        self._clock = clock
        self._session = SharedSession(read_key, self._logged_in, clock, elapsed)

    def login(self) -> None:
        """Make sure that there is a session. `NexlaError` when the service key gives none."""
        self._session.enter()

    def credential(self, credential_id: int) -> dict[str, Any]:
        """A credential with all that Nexla shows of its vendor and auth templates. `NexlaError`.

        Where the answer holds bare numbers of templates, the optional endpoints are asked too.
        """
        action = Action(f'the question for credential "{credential_id}"', right="collaborator")
        credential = self._object(_Call(action, "GET", f"/data_credentials/{credential_id}", {"expand": "1"}))
        if str(credential.get("id")) != str(credential_id):
            raise nexla_errors.not_nexlas(action, "it is about another credential", 200)
        return self._with_templates(credential)

    def update(self, credential_id: int, body: Mapping[str, Any], check: Callable[[], None] = lambda: None) -> None:
        """Replace the secret part of a credential by the complete body of `put_body`; `Secret` values are revealed here.

        Raises `NexlaError`; after a lost answer, too, the same update is safe to repeat. `check` is called just before it
        is sent, when there is a session, and may raise.
        """
        action = Action(f'the update of credential "{credential_id}"', right="admin or owner", writes=True)
        response = self._called(_Call(action, "PUT", f"/data_credentials/{credential_id}", body=body, check=check))
        # What it says is of no use, but a proxy's page is no success. Half an answer is: the probe will tell.
        if response.text.strip() and not response.text.lstrip().startswith("{"):
            raise nexla_errors.not_nexlas(action, "no JSON object", response.status_code)

    def probe(self, credential_id: int, *, wait: Callable[[float], object] = time.sleep, attempts: int = 3) -> Probe:
        """Let Nexla try a credential, up to `attempts` times while Apple refuses: single refusals are known to be false.

        It never raises one of our errors: whatever goes wrong, the token has been written before.
        """
        probe = self._probed(credential_id, relogin=True)
        tries = 1
        while worth_another_try(probe) and tries < attempts:
            wait(float(tries))
            tries += 1
            again = self._probed(credential_id, relogin=False)
            # A try that came to nothing does not take back what Apple said before.
            probe = probe if again.outcome is Outcome.UNPROVEN else again
        return probe._replace(detail=f"{probe.detail} (asked {tries} times)") if worth_another_try(probe) else probe

    def allowance(self) -> Allowance | None:
        """How many calls Nexla says that its user may make; None when it limits nothing, or keeps that to itself."""
        response = self._sent(_Call(_LIMITS, "GET", "/limits"))
        if response.status_code in _KEPT_TO_ITSELF:
            return None
        if not response.ok:
            raise nexla_errors.from_answer(_failure(response, self._secrets()), _LIMITS)
        return allowance_in(_json_object(response, _LIMITS))

    # -- one probe, and the templates ----------------------------------------------------------------------------

    def _probed(self, credential_id: int, *, relogin: bool) -> Probe:
        action = Action(f'the probe of credential "{credential_id}"', right="collaborator")
        path = f"/data_credentials/{credential_id}/probe"
        try:
            response = self._sent(_Call(action, "GET", path, timeout=_PROBE_TIME, relogin=relogin))
        except VaultAscError as error:
            return Probe(Outcome.UNPROVEN, error.message)
        return judge(response.status_code, nexla_errors.without(response.text, self._secrets()))

    def _with_templates(self, credential: dict[str, Any]) -> dict[str, Any]:
        vendor, used = credential.get("vendor"), credential.get("auth_template")
        shown = any(template.parameters or template.config_shown for template in templates_in(credential))
        if shown or not isinstance(vendor, dict) or not isinstance(vendor.get("name"), str):
            return credential
        if isinstance(used, dict) and isinstance(used.get("id"), int):
            found = self._optional(f"/auth_templates/{used['id']}")
            return credential | {"auth_template": used | found | {"id": used["id"]}}
        found = self._optional("/vendors", {"vendor_name": vendor["name"], "expand": "1"})
        return credential | {"vendor": vendor | {name: found[name] for name in ("auth_templates",) if name in found}}

    def _optional(self, path: str, query: Mapping[str, str] | None = None) -> dict[str, Any]:
        """An object that a tenant may keep to itself: nothing when it does, and the configuration has to say."""
        try:
            return self._object(_Call(Action("the question for auth templates"), "GET", path, query))
        except NexlaError:
            return {}

    # -- calls ---------------------------------------------------------------------------------------------------

    def _object(self, call: _Call) -> dict[str, Any]:
        return _json_object(self._called(call), call.action)

    def _called(self, call: _Call) -> requests.Response:
        response = self._sent(call)
        if response.ok:
            return response
        secrets = (*self._secrets(), *_secrets_in(call.body))
        raise nexla_errors.from_answer(_failure(response, secrets), call.action)

    def _sent(self, call: _Call) -> requests.Response:
        """The answer; a 401 in a session that is not fresh is followed by one login."""
        session, fresh = self._session.enter()
        response = self._answer(call, f"Bearer {session.token.reveal()}")
        if call.relogin and not fresh and speaks_of_session(response.status_code, response.text):
            session, _ = self._session.enter(instead_of=session)
            response = self._answer(call, f"Bearer {session.token.reveal()}")
        return response

    def _answer(self, call: _Call, authorization: str) -> requests.Response:
        headers = {"Authorization": authorization, "Accept": _ACCEPT}
        data = None
        if call.body is not None:
            headers["Content-Type"] = "application/json"
            data = json.dumps(call.body, default=_revealed).encode()
        call.check()
        try:
            return self._http.request(
                call.method,
                f"{self._api_url}{call.path}",
                params=call.query,
                data=data,
                headers=headers,
                timeout=call.timeout,
            )
        except requests.RequestException as exc:
            raise nexla_errors.from_call(exc, call.action) from exc

    # -- the session ---------------------------------------------------------------------------------------------

    def _logged_in(self, service_key: Secret) -> Session:
        started = self._clock()
        response = self._answer(_Call(_LOGIN, "POST", "/token"), f"Basic {service_key.reveal()}")
        if not response.ok:
            raise nexla_errors.from_answer(_failure(response, self._secrets()), _LOGIN)
        answer = _json_object(response, _LOGIN)
        token, life = answer.get("access_token"), answer.get("expires_in")
        if not isinstance(token, str) or not token:
            raise nexla_errors.not_nexlas(_LOGIN, "no access_token in it", response.status_code)
        seconds = float(life) if isinstance(life, int | float) and life > 0 else _DEFAULT_SESSION
        return Session(Secret(token), started + seconds - min(_MARGIN, seconds / 2))

    def _secrets(self) -> tuple[Secret, ...]:
        return self._session.secrets


def _json_object(response: requests.Response, action: Action) -> dict[str, Any]:
    try:
        value = response.json()
    except requests.RequestException as exc:
        raise nexla_errors.not_nexlas(action, "no JSON", response.status_code) from exc
    if not isinstance(value, dict):
        raise nexla_errors.not_nexlas(action, "no JSON object", response.status_code)
    return value


def _failure(response: requests.Response, secrets: tuple[Secret, ...]) -> Failure:
    return Failure(response.status_code, response.text, response.headers.get("x-request-id"), secrets)


def _revealed(value: object) -> str:
    if isinstance(value, Secret):
        return value.reveal()
    raise TypeError(f"{type(value).__name__} cannot be sent")


def _secrets_in(value: object) -> Iterator[Secret]:
    """The secrets in a body, each also without its prefix `Bearer `."""
    if isinstance(value, Secret):
        yield value
        yield Secret(value.reveal().rpartition(" ")[2])
    elif isinstance(value, Mapping):
        for member in value.values():
            yield from _secrets_in(member)
