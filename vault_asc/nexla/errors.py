"""What a failed call to Nexla means for a person: one `NexlaError` with a hint, and never a secret in it. Pure.

The error bodies are those of docs/nexla-api.md, section 6: empty, no JSON, or an object in one of two forms.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import requests

from vault_asc import http
from vault_asc.errors import NexlaError
from vault_asc.nexla.verdict import message_of
from vault_asc.secret import MASK, Secret, safe_text

_REDACT_MIN: Final = 6  # characters; a shorter secret is none, and would mask half of every message
_SERVER_ERROR: Final = 500
_RETRYABLE: Final = frozenset({408, 425, 429})


@dataclass(frozen=True)
class Action:
    """What a call is for.

    Attributes:
        text: in a message: `the update of credential "5001"`.
        right: role on the credential that it needs, "" when it is about none.
        login: whether it exchanges the service key.
        writes: whether it may have changed something when its answer is lost.
    """

    text: str
    right: str = ""
    login: bool = False
    writes: bool = False


@dataclass(frozen=True)
class Failure:
    """An answer that is no success. `secrets` are masked wherever they occur in it."""

    status: int
    body: str = field(repr=False)
    request_id: str | None
    secrets: tuple[Secret, ...] = ()

    @property
    def message(self) -> str:
        """What the server says, fit for one line; empty when it says nothing, or sends a page."""
        said = message_of(self._data) if self._data is not None else self.body.strip()
        return "" if said.startswith("<") else self._safe(said)

    @property
    def marks(self) -> str:
        """Nexla's own error code and the number of the request, for their support."""
        code = self._data.get("error_code") if isinstance(self._data, dict) else None
        parts = [str(code)] if code else []
        parts += [f"request {self.request_id}"] if self.request_id else []
        return self._safe(", ".join(parts))

    @property
    def _data(self) -> Any:
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None

    def _safe(self, text: str) -> str:
        return safe_text(without(text, self.secrets))


def without(text: str, secrets: Iterable[Secret]) -> str:
    """The text with these secrets masked, whatever they look like."""
    for secret in secrets:
        if len(secret.reveal()) >= _REDACT_MIN:
            text = text.replace(secret.reveal(), MASK)
    return text


def from_answer(failure: Failure, action: Action) -> NexlaError:
    """The error for an answer."""
    said = f': "{failure.message}"' if failure.message else ""
    marks = f" ({failure.marks})" if failure.marks else ""
    return NexlaError(
        f"nexla answered {failure.status} to {action.text}{said}{marks}",
        hint=_hint(failure.status, action),
        status=failure.status,
        retryable=failure.status in _RETRYABLE or failure.status >= _SERVER_ERROR,
    )


def from_call(exc: requests.RequestException, action: Action) -> NexlaError:
    """The error for a call that brought no usable answer."""
    unsure = action.writes and http.was_sent(exc)
    what = "it may or may not have been carried out, and is safe to repeat" if unsure else "nothing was changed"
    return NexlaError(
        f"no answer from nexla to {action.text}: {http.explain(exc)}; {what}",
        hint=_call_hint(exc),
        retryable=not isinstance(
            exc, http.CertificateError | http.RedirectRefusedError | http.RequestRefusedError | http.AnswerTooLargeError
        ),
    )


def not_nexlas(action: Action, problem: str, status: int) -> NexlaError:
    """The error for a success that is not one of Nexla's."""
    unsure = "; it may or may not have been carried out, and is safe to repeat" if action.writes else ""
    return NexlaError(
        f"the answer to {action.text} is not one of nexla's: {problem}{unsure}",
        hint="check api_url, its path included (https://dataops.nexla.io/nexla-api), and what stands in between",
        status=status,
        retryable=True,
    )


def _hint(status: int, action: Action) -> str:
    if action.login and status in {400, 401, 403}:
        return (
            "the service key is wrong, paused or was rotated: look at it in Nexla and store the current one in Vault;"
            " a service reads it again within a minute"
        )
    if action.login and status in {404, 405}:
        return "check api_url, its path included: https://dataops.nexla.io/nexla-api"
    if status == 403 and action.right:  # noqa: PLR2004  # the status is its own name
        return f"give the service key's user {action.right} access to the credential in Nexla"
    if status >= _SERVER_ERROR:
        return "nothing to change here; try again later, and tell Nexla the request's number when it lasts"
    return _HINTS.get(status, "show this message to Nexla")


_HINTS: Final = {
    400: "compare the target's fields with: vault-asc nexla inspect CREDENTIAL_ID",
    401: "a fresh session was refused: check that api_url is the https address of the right Nexla",
    403: "the service key's user lacks a right in Nexla",
    404: "check credential_id: no such credential, or not in the organisation of the service key's user",
    405: "Nexla does not allow this now: look at the credential there",
    409: "somebody is changing the credential in Nexla: look at it there",
    422: "compare the target's fields with: vault-asc nexla inspect CREDENTIAL_ID",
    423: "the account of the service key's user is locked: unlock it in Nexla",
    429: "nexla throttles the service key's user: push less often, or spread the targets over several service keys",
}


def _call_hint(exc: requests.RequestException) -> str:
    if isinstance(exc, http.CertificateError):
        return "if Nexla's certificate is signed by your own CA, name it: ca_file in [nexla.NAME]"
    if isinstance(exc, http.RedirectRefusedError):
        return "redirects are not followed, they would carry the token elsewhere: write the final address as api_url"
    if isinstance(exc, http.RequestRefusedError):
        return "check that the service key in Vault is the bare key: no line break, no other characters"
    return "check api_url and the network from here to it; it is safe to try again"
