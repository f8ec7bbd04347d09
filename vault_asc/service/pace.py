"""How often an account at Nexla is asked: calls spread evenly, with debts for what an attempt took beyond its share.

The generic cell rate algorithm, which is a token bucket with one number for its state: the moment of the next attempt.
"""

from typing import Final

from vault_asc.nexla.allowance import Allowance

BURST: Final = 0.1
"""Seconds by which attempts may come too early, so that a late one does not lower the rate."""


class Pace:
    """The rate of one account; time is seconds on any clock that does not jump.

    Attributes:
        allowance: what the account may do in a second; replaced when it is known better.
        free_at: when the next attempt is due by the rate.
    """

    def __init__(self, allowance: Allowance) -> None:
        self.allowance = allowance
        self.free_at = 0.0

    def begins_at(self) -> float:
        """The earliest moment for the next attempt."""
        return self.free_at - BURST

    def take(self, now: float, *, writes: int, reads: int) -> None:
        """Reserve the calls of an attempt that begins now."""
        self.free_at = max(self.free_at, now) + self._cost(writes, reads)

    def settle(self, *, writes: int, reads: int) -> None:
        """Charge calls beyond those reserved; negative numbers give back what was not used."""
        self.free_at += self._cost(abs(writes), 0) * (1 if writes > 0 else -1)
        self.free_at += self._cost(0, abs(reads)) * (1 if reads > 0 else -1)

    def _cost(self, writes: int, reads: int) -> float:
        return max(writes / self.allowance.writes, reads / self.allowance.reads)
