"""Our clock: moments in Unix seconds that follow the monotonic clock, and what tells when somebody sets the other one."""

import time
from typing import Final

from vault_asc.clock import Clock, system_clock

JUMP: Final = 2.0
"""Seconds between two looks that count as a jump; what is less is the slow correction of NTP."""


class SteadyClock:
    """Unix seconds that run evenly between two looks at the wall clock.

    Also after a suspension, during which the monotonic clock stands still, the next look tells of a jump.

    Args:
        wall: the wall clock.
        monotonic: seconds that nobody sets.

    Attributes:
        elapsed: the latter.
    """

    def __init__(self, wall: Clock = system_clock, monotonic: Clock = time.monotonic) -> None:
        self._wall = wall
        self.elapsed = monotonic
        self._offset = wall() - monotonic()

    def __call__(self) -> float:
        """The current moment."""
        return self._offset + self.elapsed()

    def look(self) -> float:
        """Follow the wall clock; seconds by which it has jumped since the last look, 0 when it has not."""
        moved = self._wall() - self()
        self._offset += moved
        return moved if abs(moved) >= JUMP else 0.0
