"""What a Vault token needs at a moment: nothing, a renewal, a login. Pure; moments are on a clock that nobody sets."""

from enum import Enum, auto
from typing import Final, NamedTuple

from vault_asc.vault.client import Granted

REFRESH_AT: Final = 2 / 3
"""Share of the TTL after which a token is renewed or replaced, as Vault's own clients do it."""
_CUT: Final = 0.9  # share of a login's TTL: when a renewal brings less, the maximum TTL has cut it


class Lease(NamedTuple):
    """How long a token lives.

    Attributes:
        since: when it was asked for, or for its renewal.
        ttl: seconds from then on.
        full: seconds that it had after the login; 0 for ever.
        renewable: whether Vault would renew it.
    """

    since: float
    ttl: int
    full: int
    renewable: bool

    @classmethod
    def begun(cls, granted: Granted, since: float) -> "Lease":
        """After a login."""
        return cls(since, granted.ttl, granted.ttl, granted.renewable)

    def renewed(self, granted: Granted, since: float) -> "Lease":
        """After a renewal."""
        return self._replace(since=since, ttl=granted.ttl, renewable=granted.renewable)


class Step(Enum):
    """What comes next."""

    USE = auto()
    RENEW = auto()
    """It is good still, and can be renewed."""
    REPLACE = auto()
    """It is good still, and a login should bring another: it is not renewable, or its maximum TTL is near."""
    LOG_IN = auto()
    """It is dead."""


def next_step(lease: Lease, now: float) -> Step:
    """What a token needs now."""
    age = now - lease.since
    if not lease.full or age < lease.ttl * REFRESH_AT:
        return Step.USE
    if age >= lease.ttl:
        return Step.LOG_IN
    return Step.RENEW if lease.renewable and lease.ttl >= lease.full * _CUT else Step.REPLACE
