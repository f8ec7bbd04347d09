"""What an attempt saw of the servers, and what all attempts share: budgets for retries, and the servers' clocks."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

from vault_asc.clock import Clock
from vault_asc.http import EndedCall, watching
from vault_asc.service.budget import RetryBudget
from vault_asc.service.skew import Sample, Skews, measured

_SERVER_ERROR: Final = 500


class Seen(NamedTuple):
    """One call: where, whether it writes, and whether the host did its part (any answer but a 5xx)."""

    endpoint: str
    method: str
    good: bool


class Traffic:
    """Shared by all workers, safe between them.

    Args:
        wall: what the servers' clocks are compared with.
        elapsed: seconds on a clock that nobody sets, for the age of a measurement.

    Attributes:
        skews: what is known of the servers' clocks.
        closed: endpoints that are given up for now; the loop replaces it whole.
        proving: endpoints of which each good answer is told at once; the loop replaces it whole.
        answered: takes such an endpoint, in a worker.
        stopping: whether the process is about to end: no failed call is repeated any more.
    """

    def __init__(self, wall: Clock, elapsed: Clock) -> None:
        self.wall = wall
        self.elapsed = elapsed
        self.skews = Skews()
        self.closed: frozenset[str] = frozenset()
        self.proving: frozenset[str] = frozenset()
        self.answered: Callable[[str], None] = lambda _: None
        self.stopping = False
        self._budgets: dict[str, RetryBudget] = {}
        self._lock = threading.Lock()

    def budget(self, endpoint: str) -> RetryBudget:
        """The budget of a host."""
        with self._lock:
            return self._budgets.setdefault(endpoint, RetryBudget())

    @contextmanager
    def recorded(self) -> Iterator[list[Seen]]:
        """Collect the calls of this thread in the block."""
        recorder = _Recorder(self)
        with watching(recorder):
            yield recorder.seen


class _Recorder:
    def __init__(self, traffic: Traffic) -> None:
        self._traffic = traffic
        self.seen: list[Seen] = []

    def may_repeat(self, endpoint: str) -> bool:
        """Not while the process ends, not at a host that is given up, and never more than the budget."""
        traffic = self._traffic
        return not traffic.stopping and endpoint not in traffic.closed and traffic.budget(endpoint).spend()

    def ended(self, call: EndedCall) -> None:
        """Take note of a call."""
        traffic = self._traffic
        traffic.budget(call.endpoint).called()
        good = not call.broken and (call.status is None or call.status < _SERVER_ERROR)
        self.seen.append(Seen(call.endpoint, call.method, good))
        if good and call.endpoint in traffic.proving:
            traffic.answered(call.endpoint)
        skew = measured(call.date, traffic.wall() - call.body_took)
        if skew is not None:
            traffic.skews.note(call.endpoint, Sample(skew, traffic.elapsed()))
