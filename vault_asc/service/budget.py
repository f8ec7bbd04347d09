"""How many failed tries to a host may be repeated: a tenth of its calls, so that retries never make an outage worse."""

import threading
from typing import Final

SHARE: Final = 0.1
_AT_START: Final = 3.0  # retries before there were any calls to take a tenth of
_SAVED_MAX: Final = 20.0  # retries that a long quiet time saves up


class RetryBudget:
    """The budget of one host; safe between threads."""

    def __init__(self) -> None:
        self._left = _AT_START
        self._lock = threading.Lock()

    def called(self) -> None:
        """Earn for a call."""
        with self._lock:
            self._left = min(_SAVED_MAX, self._left + SHARE)

    def spend(self) -> bool:
        """Take one retry; whether there was one."""
        with self._lock:
            if self._left < 1:
                return False
            self._left -= 1
            return True
