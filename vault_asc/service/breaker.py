"""Whether a host is asked at all: closed, open after failures in a row, half open while it proves itself again.

Fed with calls, asked before attempts, by one thread. Time is handed in, seconds on a clock that nobody sets.

At the start, too, a host gets one attempt at first and more with each good answer: a dead one then costs one worker, not
all of them.
"""

from enum import StrEnum
from typing import Final

FAILURES: Final = 5
"""Failed calls in a row that open the breaker, and good ones that close it again."""
PAUSE: Final = 30.0
"""Seconds that it stays open before a probe is let through, and without a call after a good probe that close it."""


class Mode(StrEnum):
    """How a host is asked."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half open"


class Breaker:
    """The breaker of one host.

    Attributes:
        mode: as of the last call or question.
        until: when an open one lets a probe through.
    """

    __slots__ = ("_failed", "_good_at", "_ramp", "mode", "until")

    def __init__(self) -> None:
        self.mode = Mode.CLOSED
        self.until = 0.0
        self._failed = 0  # in a row
        self._good_at = 0.0
        self._ramp = 1  # attempts in flight that it is good for; from `FAILURES` on it is good for any number

    def heard(self, now: float, *, good: bool) -> bool:
        """Take note of a call: good is any answer but a 5xx. Returns whether the mode has changed by it."""
        before = self.mode
        if good:
            self._failed, self._good_at = 0, now
            if self._ramp < FAILURES:
                self._ramp += 1
            if self.mode is not Mode.CLOSED:  # an open one that was asked all the same begins to close, too
                self.mode = Mode.CLOSED if self._ramp == FAILURES else Mode.HALF_OPEN
        else:
            self._failed += 1
            if self.mode is Mode.HALF_OPEN or (self.mode is Mode.CLOSED and self._failed >= FAILURES):
                self.mode, self.until, self._failed, self._ramp = Mode.OPEN, now + PAUSE, 0, 1
        return self.mode is not before

    def rested(self, now: float) -> bool:
        """Close it when nobody needed its host since a good probe: a few targets make too few calls to prove more."""
        rested = self.mode is Mode.HALF_OPEN and self._ramp > 1 and now >= self._good_at + PAUSE
        if rested:
            self.mode = Mode.CLOSED
        return rested

    def room(self, in_flight: int, now: float) -> bool:
        """Whether one more attempt may ask the host, with so many in flight."""
        if self.mode is Mode.OPEN and now >= self.until:
            self.mode = Mode.HALF_OPEN
        return self.mode is not Mode.OPEN and (self._ramp == FAILURES or in_flight < self._ramp)
