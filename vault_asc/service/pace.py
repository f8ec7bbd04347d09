"""How often an account at Nexla is asked: calls spread evenly, with debts for what an attempt took beyond its share.

The generic cell rate algorithm, which is a token bucket with one number for its state: the moment of the next call. There
is one for each limit that Nexla knows: writes and reads, of a second and of a day.
"""

from typing import Final

from vault_asc.nexla.allowance import DAY, Allowance

BURST: Final = 0.1
"""Seconds by which attempts may come too early, so that a late one does not lower the rate."""

_DAY_RATE: Final = 0.97  # of a day's limit, spread evenly
_DAY_BURST: Final = 0.02  # of it, saved up for a start and after an outage; the rest is for what is charged afterwards
_SLACKS: Final = (BURST, BURST, *[_DAY_BURST / _DAY_RATE * DAY] * 2)


class Pace:
    """The rate of one account; time is seconds on any clock that does not jump.

    In no 24 hours of its life more attempts begin than the limits of a day allow.

    Attributes:
        allowance: what the account may do; replaced when it is known better.
    """

    def __init__(self, allowance: Allowance) -> None:
        self.allowance = allowance
        self._free_at = [0.0] * len(_SLACKS)

    def begins_at(self) -> float:
        """The earliest moment for the next attempt."""
        return max(at - slack for at, slack in zip(self._free_at, _SLACKS, strict=True))

    def take(self, now: float, *, writes: int, reads: int) -> None:
        """Reserve the calls of an attempt that begins now."""
        self._free_at = [max(at, now) for at in self._free_at]
        self.settle(writes=writes, reads=reads)

    def settle(self, *, writes: int, reads: int) -> None:
        """Charge calls beyond those reserved; negative numbers give back what was not used."""
        rates = self.allowance
        day = DAY / _DAY_RATE
        spent = (
            writes / rates.writes,
            reads / rates.reads,
            writes / rates.daily_writes * day,
            reads / rates.daily_reads * day,
        )
        self._free_at = [at + seconds for at, seconds in zip(self._free_at, spent, strict=True)]
