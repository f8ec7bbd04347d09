"""Errors of Vault calls: what hvac and requests raise becomes our tree, naming path, capability and policy."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import requests
from hvac import exceptions as hvac_errors

from vault_asc import http
from vault_asc.errors import (
    ConflictError,
    NotFoundError,
    PermissionDeniedError,
    VaultAscError,
    VaultError,
    VaultUnavailableError,
)
from vault_asc.secret import safe_text

Advice = Callable[[str, str], str | None]
"""Which shipped policy grants a capability on a path: (path, capability) -> hint, or None when none does."""

_REASON_MAX: Final = 600  # characters; a message of ours with its hint
_PASSING: Final = ("code = Unavailable", "local node not active")
"""A plugin that has died and is being started, a leader that is being replaced: OpenBao says 500 then."""
_TRY_AGAIN: Final = "try again; the server's log says more"
_OWN_LOGIN: Final = "log in again (vault login), or name another token with --token-file"
_UNAVAILABLE: Final = (hvac_errors.VaultDown, hvac_errors.RateLimitExceeded, hvac_errors.BadGateway)


class LostAnswerError(VaultUnavailableError):
    """A write was sent and no answer came back: whether it happened has to be looked up, never assumed."""


class InvalidTokenError(PermissionDeniedError):
    """The Vault token itself is not valid (any more), so nothing is said about what it may do."""


class LoginError(PermissionDeniedError):
    """Vault refused a login; what it was made with, or the role, is wrong."""


class ServerFaultError(VaultError):
    """Vault failed, by its own account: the same call may succeed later."""


class CheckAndSetError(ConflictError):
    """The version that a write was based on is no longer the current one."""


class RefusedError(VaultError):
    """A request that Vault, or the secrets engine behind the path, does not take.

    Attributes:
        reason: in its own words, fit for one line.
    """

    def __init__(self, message: str, *, hint: str | None = None, reason: str) -> None:
        super().__init__(message, hint=hint)
        self.reason = reason


class NothingThereError(NotFoundError):
    """An answer 404.

    Attributes:
        reason: in the words of the secrets engine, "" when it gave none.
    """

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class MissingVersionError(NotFoundError):
    """A KV version that exists no more, or never did.

    Attributes:
        state: `deleted`, `destroyed`, or `missing` (never written, or pruned by max_versions).
        deleted_at: ISO 8601 time of the deletion, "" when there was none.
    """

    def __init__(self, message: str, *, hint: str | None = None, state: str, deleted_at: str = "") -> None:
        super().__init__(message, hint=hint)
        self.state = state
        self.deleted_at = deleted_at


class Translated:
    """The one place that translates: `with translated(path, capability): ...` around each call.

    Args:
        address: of the server, for messages.
        advice: names the shipped policy for the hint of a denied call.
        token_hint: what to do about a token that is not valid.
    """

    def __init__(self, address: str, advice: Advice, token_hint: str = _OWN_LOGIN) -> None:
        self._address = address
        self._advice = advice
        self._token_hint = token_hint

    @contextmanager
    def __call__(self, path: str, capability: str, *, writing: bool = False) -> Iterator[None]:
        """Turn what hvac and requests raise into our tree; the one place that does."""
        try:
            yield
        except hvac_errors.VaultError as exc:
            raise self._refused(path, capability, exc, writing=writing) from exc
        except requests.RequestException as exc:
            if writing and http.was_sent(exc):
                raise self._lost(path, http.explain(exc)) from exc
            raise self._unreachable(exc) from exc
        except (KeyError, TypeError, ValueError, AttributeError) as exc:  # JSON, but of another shape than Vault's
            raise foreign_answer(path) from exc

    def _refused(self, path: str, capability: str, exc: Any, *, writing: bool) -> VaultAscError:
        """The error for an answer with an error status."""
        if isinstance(exc, hvac_errors.Forbidden):
            return self._denied(path, capability, exc)
        if isinstance(exc, hvac_errors.InvalidPath):
            return NothingThereError(f'nothing at "{path}" in Vault', reason=_reason(exc))
        if isinstance(exc, hvac_errors.BadGateway) and writing:
            return self._lost(path, "a proxy answered 502")  # its words, not Vault's: the request may have got through
        if isinstance(exc, _UNAVAILABLE) or any(words in _text(exc) for words in _PASSING):
            return self._unavailable(exc)
        if isinstance(exc, hvac_errors.InvalidRequest):
            return _bad_request(path, exc)
        return ServerFaultError(f'Vault failed at "{path}": {_text(exc)}', hint=_TRY_AGAIN)

    @staticmethod
    def _lost(path: str, why: str) -> LostAnswerError:
        return LostAnswerError(
            f'no answer to the write to "{path}": {why}',
            hint="repeat the command: it looks first and completes what is missing",
        )

    def _denied(self, path: str, capability: str, exc: Any) -> PermissionDeniedError:
        if is_about_the_token(exc):
            return InvalidTokenError(
                f'permission denied on "{path}": the Vault token is invalid, expired or revoked', hint=self._token_hint
            )
        return PermissionDeniedError(
            f'permission denied: the token lacks "{capability}" on "{path}"',
            hint=self._advice(path, capability),
        )

    def _unavailable(self, exc: Any) -> VaultUnavailableError:
        if "sealed" in _text(exc):
            return VaultUnavailableError(
                f"Vault at {self._address} is sealed", hint="unseal it: vault operator unseal; nothing was lost"
            )
        return VaultUnavailableError(
            f"Vault at {self._address} cannot answer now: {_text(exc)}", hint="try again in a moment"
        )

    def _unreachable(self, exc: requests.RequestException) -> VaultUnavailableError:
        return VaultUnavailableError(
            f"Vault at {self._address} cannot be reached: {http.explain(exc)}",
            hint=_call_hint(exc, self._address),
        )


def _bad_request(path: str, exc: Any) -> VaultAscError:
    if "check-and-set" in _text(exc):
        return CheckAndSetError(f'"{path}" was changed by somebody else in the meantime')
    told = f'Vault refused the request to "{path}": {_text(exc)}'
    return RefusedError(told, hint=_TRY_AGAIN, reason=_reason(exc))


def is_about_the_token(exc: hvac_errors.Forbidden) -> bool:
    """Whether a 403 is about the token itself, not about what it may do.

    OpenBao and older Vault answer an invalid token with exactly these words, newer Vault names it; a policy's denial
    has more around them.
    """
    return _text(exc) == "permission denied" or "invalid token" in _text(exc)


def foreign_answer(where: str) -> VaultError:
    """The error for an answer that is not of Vault's shape."""
    return VaultError(
        f'the answer for "{where}" is not what Vault sends', hint="check that the address is a Vault or OpenBao server"
    )


def _call_hint(exc: requests.RequestException, address: str) -> str:
    if address.startswith("unix://"):
        return "check that the Agent runs, that its listener has this path, and that this user may open it"
    if isinstance(exc, http.CertificateError):
        return "name the CA of the server: vault.ca_file, VAULT_CACERT or BAO_CACERT"
    if isinstance(exc, http.RedirectRefusedError):
        return "redirects are not followed, they would carry the token elsewhere: use the address that it leads to"
    if isinstance(exc, http.BadAnswerError | http.AnswerTooLargeError):
        return "check that the address (vault.address, VAULT_ADDR, BAO_ADDR) is Vault's own, not a web page or a proxy"
    return "check the address (vault.address, VAULT_ADDR, BAO_ADDR), that the server runs, and the network in between"


def _text(exc: Any) -> str:
    """Vault's own words, fit for one line."""
    return safe_text(_words(exc)) or "no reason given"


def _reason(exc: Any) -> str:
    """The words of a secrets engine, of which ours has a hint in them, without the list that Vault makes of them."""
    return safe_text(_words(exc).removeprefix("1 error occurred: * "), _REASON_MAX)


def _words(exc: Any) -> str:
    errors = exc.errors if isinstance(exc.errors, list) else [exc.errors or exc.text or ""]
    return " ".join(" ".join(str(e).split()) for e in errors)
