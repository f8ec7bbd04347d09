"""The session of one account: service key in, session token out, one login for all of its targets.

A service key that Nexla refuses may have been rotated in Vault meanwhile, so it is read again; who comes within the minute
after a refusal shares it, because a refused key does not get better by being sent again.
"""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from vault_asc.clock import Clock
from vault_asc.errors import NexlaError
from vault_asc.secret import Secret

PAUSE: Final = 60.0
"""Seconds after a refused login in which none is made, and nobody looks for another service key."""
REFUSED: Final = frozenset({400, 401, 403})
"""Statuses of a login that are about the service key."""

_SECRETS_KEPT: Final = 8  # to mask; no two calls in flight lie further apart


class Session(NamedTuple):
    """What a login brings: the token, and the moment by which it is no longer used (Unix seconds)."""

    token: Secret
    good_until: float


class _Refusal(NamedTuple):
    error: NexlaError
    until: float


class SharedSession:
    """Logs in when it has to; safe to share between threads.

    Args:
        read_key: reads the service key where it is kept; raises our errors.
        log_in: exchanges it for a session; raises `NexlaError`.
        clock: the moment that sessions expire by, in Unix seconds.
        elapsed: seconds on a clock that nobody sets, for the pause.

    Attributes:
        secrets: service keys and tokens that an answer might repeat. A session refused by mistake is still alive.
    """

    def __init__(
        self,
        read_key: Callable[[], Secret],
        log_in: Callable[[Secret], Session],
        clock: Clock,
        elapsed: Clock = time.monotonic,
    ) -> None:
        self.secrets: tuple[Secret, ...] = ()
        self._read_key = read_key
        self._log_in = log_in
        self._clock = clock
        self._elapsed = elapsed
        self._lock = threading.Lock()
        self._key: Secret | None = None
        self._session: Session | None = None
        self._refusal: _Refusal | None = None

    def enter(self, *, instead_of: Session | None = None) -> tuple[Session, bool]:
        """A session that is good and another one than the refused one, and whether this call had to log in for it."""
        with self._lock:
            known = self._session
            if known is not None and known is not instead_of and self._clock() < known.good_until:
                return known, False
            self._session = None
            self._share_refusal()
            self._session = self._logged_in()
            self._note(self._session.token)
            return self._session, True

    def _logged_in(self) -> Session:
        refusal: NexlaError | None = None
        for key in self._keys():
            self._note(key)
            try:
                return self._log_in(key)
            except NexlaError as error:
                if error.status not in REFUSED:
                    raise
                refusal = error
        self._key = None
        assert refusal is not None  # noqa: S101 -- `_keys` gives one key at least
        self._refusal = _Refusal(refusal, self._elapsed() + PAUSE)
        refusal.pause = PAUSE
        raise refusal

    def _keys(self) -> Iterator[Secret]:
        """The service key that is known, and when that is refused the one that is kept in its place now."""
        known = self._key
        if known is not None:
            yield known
        self._key = None
        self._key = self._read_key()
        if self._key != known:
            yield self._key

    def _share_refusal(self) -> None:
        refusal = self._refusal
        if refusal is not None and (pause := refusal.until - self._elapsed()) > 0:
            error = refusal.error
            raise NexlaError(error.message, hint=error.hint, status=error.status, pause=pause) from None
        self._refusal = None

    def _note(self, secret: Secret) -> None:
        if secret not in self.secrets:
            self.secrets = (*self.secrets, secret)[-_SECRETS_KEPT:]
