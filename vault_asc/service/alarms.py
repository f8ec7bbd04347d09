"""Somebody is told before a token dies, when it has died, and when it is well again: whatever keeps it from a refresh.

It does not wait for an attempt to fail: behind a breaker, a limit or a queue no attempt takes place at all.
"""

import heapq
import logging
from collections.abc import Callable, Iterable
from itertools import count
from typing import Final

from vault_asc.service.events import Event, Tell
from vault_asc.service.work import Track

_number: Final = count()


class Alarms:
    """Watches the life of all tokens. Moments are Unix seconds.

    Args:
        tell: takes the events.
        why: tells what keeps a target from its refresh at this moment, besides the failure of its own last attempt.
    """

    def __init__(self, tell: Tell, why: Callable[[Track], str]) -> None:
        self._tell = tell
        self._why = why
        self._at: list[tuple[float, int, Track, int]] = []

    def follow(self, track: Track, now: float) -> None:
        """Watch the token that a target has now; tells when one that was about to die was replaced."""
        expires_at = track.state.expires_at
        if expires_at in {0, track.watched}:
            return
        track.watched = expires_at
        if track.alarmed and track.state.remaining(now) >= track.alarm:
            track.alarmed = False
            self._tell(Event("recovered", logging.INFO, track.target.name, {"left": self._left(track, now)}))
        heapq.heappush(self._at, (expires_at - track.alarm, next(_number), track, expires_at))

    def anew(self, tracks: Iterable[Track], now: float) -> None:
        """The clock was set: what was told by the old one may have been false, and is no reason not to tell the truth."""
        self._at.clear()
        for track in tracks:
            track.watched = 0
            self.follow(track, now)

    def next_at(self) -> float:
        """When somebody has to be told, if nothing happens until then; infinite when never."""
        return self._at[0][0] if self._at else float("inf")

    def ring(self, now: float) -> None:
        """Tell of all tokens whose moment has come and that were not replaced."""
        while self._at and self._at[0][0] <= now:
            _, _, track, expires_at = heapq.heappop(self._at)
            if not track.dropped and track.state.expires_at == expires_at:
                self._ring(track, expires_at, now)

    def _ring(self, track: Track, expires_at: int, now: float) -> None:
        failures = track.state.failures
        # Without a failure what is recorded tells of the last success, which is no reason.
        detail = "; ".join(filter(None, (track.state.detail if failures else "", self._why(track))))
        facts = {"left": self._left(track, now), "failures": failures, "detail": detail}
        if not track.alarmed:
            track.alarmed = True
            self._tell(Event("mandatory", logging.ERROR, track.target.name, facts))
        if expires_at <= now:
            self._tell(Event("expired", logging.CRITICAL, track.target.name, facts))
        else:
            heapq.heappush(self._at, (expires_at, next(_number), track, expires_at))

    @staticmethod
    def _left(track: Track, now: float) -> int:
        return int(track.state.remaining(now))
