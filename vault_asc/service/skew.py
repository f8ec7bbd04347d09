"""What the servers' clocks say about ours, by the `Date` headers of their answers.

A token is judged by Apple's clock. With a wrong one here it would be refused, or be dead before it is used, so from a
minute on nothing is minted. A server is believed about its own targets only: Vault about all of them.
"""

from email.utils import parsedate_to_datetime
from typing import Final, NamedTuple

from vault_asc.errors import TargetError

WARN: Final = 30.0
"""Seconds of skew from which somebody should be told."""
REFUSE: Final = 60.0
"""Seconds of skew from which nothing is minted."""
FRESH: Final = 1800.0
"""Seconds for which a measurement counts, unless our clock is set meanwhile."""
_ROUNDING: Final = 1.0  # a Date has whole seconds, rounded down


class Sample(NamedTuple):
    """One measurement: seconds by which our clock is ahead of the server's, and when (on the steady clock)."""

    skew: float
    at: float


def measured(date: str | None, now: float) -> float | None:
    """Seconds by which our clock is ahead of the one that wrote `date`; 0 within the header's rounding, None without."""
    try:
        theirs = parsedate_to_datetime(date or "").timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
    early, late = now - theirs - _ROUNDING, now - theirs
    return early if early > 0 else min(late, 0.0)


class SkewError(TargetError):
    """Nothing is minted by a clock that is wrong."""


class Skews:
    """The latest measurement of each server; one is replaced whole, so threads may read while one writes."""

    def __init__(self) -> None:
        self._samples: dict[str, Sample] = {}

    def note(self, endpoint: str, sample: Sample) -> None:
        """Take note of a measurement."""
        self._samples[endpoint] = sample

    def forget(self) -> None:
        """Our clock was set: nothing is known of it."""
        self._samples = {}

    def of(self, endpoint: str, now: float) -> float | None:
        """Seconds by which we are ahead of a server; None when that is not known, or not any more."""
        sample = self._samples.get(endpoint)
        return sample.skew if sample is not None and now - sample.at <= FRESH else None

    def all(self, now: float) -> dict[str, float]:
        """The skew by server."""
        known = {endpoint: self.of(endpoint, now) for endpoint in list(self._samples)}
        return {endpoint: skew for endpoint, skew in known.items() if skew is not None}

    def check(self, endpoints: tuple[str, ...], now: float) -> None:
        """Refuse with `SkewError` when one of the servers is too far from our clock."""
        for endpoint in endpoints:
            skew = self.of(endpoint, now)
            if skew is not None and abs(skew) > REFUSE:
                way = "ahead of" if skew > 0 else "behind"
                raise SkewError(
                    f'this clock is {abs(skew):.0f} s {way} that of "{endpoint}": nothing is minted, and the token that'
                    " was written last stays",
                    hint="set the clock (timedatectl, chronyc tracking); if that server is wrong, mend its clock",
                )
