"""Whether and when a failed try is repeated: full jitter, Retry-After, never past the deadline of the call."""

import ssl
from types import TracebackType
from typing import Any, Final, Self

from urllib3 import BaseHTTPResponse
from urllib3.connectionpool import ConnectionPool
from urllib3.exceptions import InvalidHeader, MaxRetryError, ResponseError
from urllib3.util import Retry

from vault_asc.http.call import current_call
from vault_asc.http.watching import watch

RETRY_STATUSES: Final = frozenset({429, 502, 503, 504})
BACKOFF_BASE: Final = 1.0  # seconds; doubles with each try
BACKOFF_CAP: Final = 60.0  # seconds
RETRY_AFTER_CAP: Final = 120  # seconds


class FullJitter(Retry):
    """urllib3's rule with the decisions that it leaves open or takes too lightly.

    urllib3 repeats any method after an error that is neither a connect nor a read error, a broken TLS record after the
    request for one. Here a request that may have reached the server is repeated only when its method allows it.
    """

    def __init__(self, total: int, **options: Any) -> None:
        # raise_on_status: after the last try the caller gets the answer itself and says what it means.
        policy = {"allowed_methods": None, "raise_on_status": False, "retry_after_max": RETRY_AFTER_CAP}
        super().__init__(total, **(options | policy))

    def is_retry(self, method: str, status_code: int, has_retry_after: bool = False) -> bool:  # noqa: ARG002, FBT001, FBT002 -- urllib3's signature
        """Whether an answer with this status is asked for again."""
        return status_code in RETRY_STATUSES and method.upper() in current_call.get().retry_methods

    def increment(
        self,
        method: str | None = None,
        url: str | None = None,
        response: BaseHTTPResponse | None = None,
        error: Exception | None = None,
        _pool: ConnectionPool | None = None,
        _stacktrace: TracebackType | None = None,
    ) -> Self:
        """The rule for the next try. Raises when there is none: tries used up, time too short, or not allowed."""
        call = current_call.get()
        if error is not None and not self._is_repeatable(method, error):
            raise error
        following = super().increment(method, url, response, error, _pool, _stacktrace)
        call.pause = self._pause(response, len(following.history))
        if _pool is not None and (call.pause >= call.deadline.left() or not self._is_granted(call.endpoint)):
            raise MaxRetryError(_pool, url or "", error or ResponseError("the next try would come too late"))
        call.sent = False
        return following

    def sleep(self, response: BaseHTTPResponse | None = None) -> None:  # noqa: ARG002 -- urllib3's signature
        """Wait until the next try."""
        call = current_call.get()
        call.policy.wait(call.pause)

    def get_retry_after(self, response: BaseHTTPResponse) -> float | None:
        """Seconds that the server asked for, at most 120; None when it did not, or wrote garbage."""
        try:
            return super().get_retry_after(response)
        except (InvalidHeader, ValueError, OverflowError, TypeError, IndexError):  # the last three: odd dates
            return None

    @staticmethod
    def _is_granted(endpoint: str) -> bool:
        told = watch()
        return told is None or told.may_repeat(endpoint)

    @staticmethod
    def _is_repeatable(method: str | None, error: Exception) -> bool:
        if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in error.args):
            return False  # the certificate will not get better
        call = current_call.get()
        return not call.sent or (method or "").upper() in call.retry_methods

    def _pause(self, response: BaseHTTPResponse | None, failures: int) -> float:
        asked = self.get_retry_after(response) if response is not None else None
        ceiling = min(BACKOFF_CAP, BACKOFF_BASE * 2 ** (failures - 1))
        return asked or current_call.get().policy.uniform(0, ceiling)
