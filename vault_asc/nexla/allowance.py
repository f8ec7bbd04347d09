"""How many calls a service key's user may make at Nexla, as `GET /limits` tells, which most tenants leave empty. Pure.

Source: docs/nexla-api.md, section 7. Nexla counts plain reads as `light`, writes as `medium`, each per second and day.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

DAY: Final = 86_400.0
_NO_LIMIT: Final = float("inf")
_LEAST, _MOST = 1.0, 100_000.0  # calls a second; what tells less or more is no limit of a server that counts calls
_ENDLESS: Final = 1e15  # calls a day; arithmetic and messages can bear it


class Allowance(NamedTuple):
    """Calls that one user may make.

    Attributes:
        writes, reads: per second.
        daily_writes, daily_reads: per day; infinite where none is known.
    """

    writes: float = 8.0
    reads: float = 12.0
    daily_writes: float = _NO_LIMIT
    daily_reads: float = _NO_LIMIT

    def part(self, share: float) -> "Allowance":
        """That share of it, for one of several processes with the same service key."""
        return Allowance(*(number * share for number in self))

    def at_most(self, writes: float) -> "Allowance":
        """No more writes in a second than these, and reads in the usual proportion."""
        reads = writes * DEFAULT.reads / DEFAULT.writes
        return self._replace(writes=min(self.writes, writes), reads=min(self.reads, reads))


DEFAULT: Final = Allowance()
"""What Nexla's source grants by default where it limits at all, without the limits of a day."""


def allowance_in(answer: Mapping[str, Any]) -> Allowance | None:
    """What an answer of `GET /limits` grants; None when it limits nothing, is of another shape, or absurd."""
    second, day = (answer.get(span) for span in ("second", "day"))
    writes, reads = _limit(second, "medium"), _limit(second, "light")
    if writes is None or reads is None or not all(_LEAST <= number <= _MOST for number in (writes, reads)):
        return None
    return Allowance(writes, reads, _of_day(day, "medium", writes), _of_day(day, "light", reads))


def _of_day(day: object, kind: str, per_second: float) -> float:
    """A day's limit that is below that of a second is none."""
    limit = _limit(day, kind)
    return limit if limit is not None and limit >= per_second else _NO_LIMIT


def _limit(span: object, kind: str) -> float | None:
    entry = span.get(kind) if isinstance(span, dict) else None
    value = entry.get("limit") if isinstance(entry, dict) else None
    fits = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < _ENDLESS
    return float(value) if fits and value is not None else None
