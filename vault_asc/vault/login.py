"""A login of our own for a process that runs for ever: one Vault token for all its threads, renewed and replaced in time.

Nothing runs beside the callers: whoever asks for the token when it needs something does it, once for all. While the old
one is good nobody waits for a new one. What a token needs when is in `lease`, what a login is made with in
`identity_files`.
"""

import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Final, NamedTuple

from vault_asc import http
from vault_asc.auth import AuthSettings
from vault_asc.clock import Clock
from vault_asc.errors import (
    ConfigError,
    NotFoundError,
    PermissionDeniedError,
    VaultAscError,
    VaultError,
    VaultUnavailableError,
)
from vault_asc.http.retry import BACKOFF_BASE, BACKOFF_CAP
from vault_asc.http.watching import EndedCall, watch
from vault_asc.secret import Secret
from vault_asc.vault.client import Vault
from vault_asc.vault.errors import InvalidTokenError, LoginError, ServerFaultError
from vault_asc.vault.identity_files import IdentityFiles, foreign_wrapping
from vault_asc.vault.lease import Lease, Step, next_step
from vault_asc.vault.news import LoggedIn, LoginFailed, LoginNews, Renewed, Told, nobody
from vault_asc.vault.wrapping import WrappedResponse

PAUSE: Final = 60.0
"""Seconds between two logins because of dead tokens, and after a login that was refused."""

_NEVER: Final = float("-inf")
_DOUBLED: Final = 10  # times that a pause doubles: far beyond its cap, and a float for however many days of failures
_PASSING: Final = (VaultUnavailableError, ServerFaultError)
_SECRET: Final = frozenset({"secret_id", "jwt"})  # fields of a login that nobody else may see


class _Held(NamedTuple):
    token: Secret
    lease: Lease


class _Failure(NamedTuple):
    """A login or renewal that failed: nobody tries again before `until`, and who waited for it shares it."""

    error: VaultAscError
    at: float
    until: float
    tries: int


class Login:
    """A `LiveToken` by a login; safe to share between threads.

    Args:
        vault: a connection without a token.
        auth: how to log in.
        elapsed: seconds on a clock that nobody sets.
        uniform: random number between its two arguments.
        told: takes what becomes of it; called without the lock, so it may be slow for its own thread alone.

    Attributes:
        count: logins so far.
    """

    hint = (
        "the login just made brought a token that is not taken: see its role (token_num_uses, token_bound_cidrs), or who"
        " revokes it (audit log)"
    )

    def __init__(
        self,
        vault: Vault,
        auth: AuthSettings,
        *,
        elapsed: Clock = time.monotonic,
        uniform: Callable[[float, float], float] = random.uniform,
        told: Told = nobody,
    ) -> None:
        self.count = 0
        self._vault = vault
        self._mount = auth.mount
        self._files = IdentityFiles(auth, self._unwrap)
        self._elapsed = elapsed
        self._uniform = uniform
        self._told = told
        self._lock = threading.Lock()
        self._held: _Held | None = None
        self._failure: _Failure | None = None
        self._news: LoginNews | None = None
        self._unread = ""
        self._replaced_at = _NEVER
        self._ended = False

    # -- for the calls -------------------------------------------------------------------------------------------

    def current(self) -> Secret:
        """The token to use now; the first call logs in. Raises what kept a login from being made."""
        began = self._elapsed()
        held = self._held
        step = Step.LOG_IN if held is None else next_step(held.lease, began)
        if held is None or step is Step.LOG_IN:
            with self._alone():
                if self._held is held:
                    self._log_in(began)
        elif step is not Step.USE:
            with self._alone(wait=False) as alone:
                if alone and self._held is held:
                    self._prolong(held, step, began)
        return self._token()

    def instead_of(self, dead: Secret) -> Secret:
        """Another token. `InvalidTokenError` when the last dead one was replaced less than a minute ago."""
        began = self._elapsed()
        with self._alone():
            if self._held is not None and self._held.token == dead:
                self._replace(began)
            elif self._held is None:
                self._log_in(began)
            return self._token()

    def end(self) -> None:
        """Give the token back; no login is made any more."""
        self._ended = True
        if self._held is not None:
            with contextlib.suppress(VaultAscError):
                self._vault.as_token(self._held.token).ask("POST", "auth/token/revoke-self", "update", writing=True)

    @contextlib.contextmanager
    def _alone(self, *, wait: bool = True) -> Iterator[bool]:
        """Hold the lock, if need be only when it is free; tell afterwards what has become of the login meanwhile."""
        if not self._lock.acquire(blocking=wait):
            yield False
            return
        try:
            yield True
        finally:
            news, self._news = self._news, None
            self._lock.release()
            if news is not None:
                self._told(news)

    # -- one at a time, under the lock -----------------------------------------------------------------------------

    def _token(self) -> Secret:
        held = self._held
        if held is None:
            raise _ending()
        return held.token

    def _replace(self, began: float) -> None:
        since = self._elapsed() - self._replaced_at
        if since < PAUSE:
            # The token is kept: it may be one call alone that Vault refuses in these words.
            raise InvalidTokenError(
                f"permission denied: the Vault token of the login {since:.0f} s ago is not taken either",
                hint=f"{self.hint}; the next login is made in {PAUSE - since:.0f} s",
            )
        self._replaced_at = self._elapsed()
        self._held = None
        self._log_in(began)

    def _prolong(self, held: _Held, step: Step, began: float) -> None:
        """Renew the token, or else replace it. What goes wrong is no matter yet: it is good for a while."""
        if self._failure is not None and began < self._failure.until:
            return
        with contextlib.suppress(VaultAscError):
            if step is not Step.RENEW or not self._renewed(held, began):
                self._log_in(began)

    def _renewed(self, held: _Held, began: float) -> bool:
        """Renew the token; False when Vault does not."""
        try:
            with self._trying():
                granted = self._vault.as_token(held.token).granted("auth/token/renew-self", {})
        except VaultUnavailableError:
            raise
        except VaultError:  # past the maximum TTL it is a 500
            self._failure = self._news = None
            return False
        self._held = held._replace(lease=held.lease.renewed(granted, began))
        self._news = Renewed(self._mount, granted.ttl)
        return True

    def _log_in(self, began: float) -> None:
        """Log in. `began` is when the caller came: a login that has failed since then has failed for it too."""
        self._share_failure(began)
        if self._ended:
            raise _ending()
        body = self._identity()
        since = self._elapsed()
        with self._trying(), _unechoed(body):
            granted = self._vault.granted(f"auth/{self._mount}/login", body)
        self.count += 1
        self._held = _Held(granted.token, Lease.begun(granted, since))
        self._news = LoggedIn(self._mount, granted.ttl)

    def _identity(self) -> dict[str, str]:
        try:
            body = self._files.body()
        except ConfigError as error:  # each call reads them again, so what it says is told once
            if error.message != self._unread:
                self._unread, self._news = error.message, LoginFailed(self._mount, error, 0.0)
            raise
        self._unread = ""
        return body

    def _unwrap(self, wrapping_token: Secret, expected: str) -> Secret:
        with self._trying(), http.repeatable():
            response = WrappedResponse(self._vault, wrapping_token)
            if (made_at := response.look().creation_path) != expected:
                raise foreign_wrapping(made_at, expected)
            data = response.unwrap()
            with self._vault.reading("sys/wrapping/unwrap"):
                return Secret(str(data["secret_id"]))

    # -- failures --------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _trying(self) -> Iterator[None]:
        """Remember a failure, and when to try again."""
        tries = 1 if self._failure is None else self._failure.tries + 1
        try:
            yield
        except _PASSING as error:
            most = min(BACKOFF_CAP, BACKOFF_BASE * 2 ** min(tries - 1, _DOUBLED))
            self._fail(error, self._uniform(0.0, most), tries)
            raise
        except VaultError as error:
            refused = _refusal(self._mount, error)
            self._fail(refused, PAUSE, tries)
            raise refused from error
        self._failure = None

    def _fail(self, error: VaultAscError, pause: float, tries: int) -> None:
        now = self._elapsed()
        self._failure = _Failure(error, now, now + pause, tries)
        self._news = LoginFailed(self._mount, error, pause)

    def _share_failure(self, began: float) -> None:
        failure = self._failure
        if failure is None or max(failure.at, failure.until) < began:
            return
        error = failure.error
        if not isinstance(error, LoginError):
            self._tell_watch()
        raise type(error)(error.message, hint=error.hint) from None

    def _tell_watch(self) -> None:
        """Who counts the failures of a server counts this one: the login that failed was meant for this caller too."""
        told = watch()
        if told is not None:
            told.ended(EndedCall(http.endpoint(http.base_url(self._vault.address)), "POST", None, broken=True))


@contextlib.contextmanager
def _unechoed(body: Mapping[str, str]) -> Iterator[None]:
    """Proxies exist that answer an error with what they were sent: then nothing of the answer is told."""
    try:
        yield
    except VaultError as error:
        told = f"{error.message} {error.__cause__}"
        if not any(body[name] in told for name in _SECRET & body.keys()):
            raise
        kind = VaultUnavailableError if isinstance(error, _PASSING) else VaultError
        raise kind(
            "the answer to the login holds what was sent", hint="find out what answers at the address of Vault"
        ) from None


def _refusal(mount: str, error: VaultError) -> LoginError:
    if isinstance(error, LoginError):
        return error
    where = f"auth/{mount}/login"
    if isinstance(error, NotFoundError):
        said, hint = (
            "there is no such auth method",
            "see those there are: vault auth list; then correct vault.auth.mount",
        )
    else:
        said = "permission denied" if isinstance(error, PermissionDeniedError) else error.message
        hint = "see the files of [vault.auth] and its role (expired, used up, bound to other claims or addresses?)"
    return LoginError(
        f'the login at "{where}" was refused: {said}; tokens that were pushed stay as they are',
        hint=f"{hint}; it is tried again every {PAUSE:.0f} s",
    )


def _ending() -> VaultUnavailableError:
    return VaultUnavailableError("the service is ending: no login is made any more", hint="nothing to do")
