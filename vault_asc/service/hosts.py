"""The servers as the loop sees them: their breakers, and how many attempts use each of them now."""

from collections import Counter
from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Final

from vault_asc.service.breaker import Breaker, Mode
from vault_asc.service.traffic import Seen

_SHARE: Final = 0.75  # of the workers that one host may hold, where there are several


class Room(Enum):
    """Whether one more attempt may use its hosts."""

    FREE = "free"
    FULL = "full"  # until one ends
    OPEN = "open"  # until a breaker's pause is over


class Hosts:
    """All servers, by endpoint. Owned by the loop; time is seconds on a clock that nobody sets.

    Attributes:
        breakers: by endpoint.
        named: endpoints of the configuration in force.
        in_flight: attempts by endpoint.
        recovered_at: when a breaker closed again, by endpoint.
    """

    def __init__(self) -> None:
        self.breakers: dict[str, Breaker] = {}
        self.in_flight: Counter[str] = Counter()
        self.recovered_at: dict[str, float] = {}
        self.named: tuple[str, ...] = ()
        self._cap = 1
        self._vault = ""

    def know(self, vault: str, hosts: Iterable[str], workers: int) -> None:
        """Take the servers of a configuration in; what is known of those that stay is kept."""
        named = {vault, *hosts}
        for name in sorted(named - self.breakers.keys()):  # others stay: attempts may still be under way there
            self.breakers[name] = Breaker()
        self.named = tuple(sorted(named))
        self._vault = vault
        self._cap = workers if len(named) <= 2 else max(1, int(workers * _SHARE))  # noqa: PLR2004 -- Vault and one more

    def room(self, host: str, now: float) -> Room:
        """Whether an attempt may begin that uses Vault and this host."""
        full = self.in_flight[host] >= self._cap
        for name in (self._vault, host):
            breaker = self.breakers[name]
            if not breaker.room(self.in_flight[name], now):
                if breaker.mode is Mode.OPEN:
                    return Room.OPEN
                full = True
        return Room.FULL if full else Room.FREE

    def crowd(self, host: str) -> int:
        """Attempts that use this host, or Vault when that is the one that is open."""
        vault = self.breakers[self._vault]
        return self.in_flight[self._vault if vault.mode is Mode.OPEN else host]

    def well(self, host: str) -> bool:
        """Whether Vault and this host are asked without reserve."""
        return self.breakers[self._vault].mode is Mode.CLOSED and self.breakers[host].mode is Mode.CLOSED

    def opens_at(self, host: str) -> float:
        """When a probe is let through to Vault and this host."""
        return max(self.breakers[name].until for name in (self._vault, host))

    def recovered(self, host: str) -> float:
        """When Vault or this host was found well again last; 0 for never."""
        return max(self.recovered_at.get(name, 0.0) for name in (self._vault, host))

    def begin(self, host: str) -> tuple[str, str]:
        """An attempt begins that uses Vault and this host; what to say at its end, when Vault may be another."""
        self.in_flight[self._vault] += 1
        self.in_flight[host] += 1
        return self._vault, host

    def end(self, used: tuple[str, str]) -> None:
        """It has ended."""
        for name in used:
            self.in_flight[name] -= 1

    def hear(self, seen: Sequence[Seen], now: float, *, news: bool) -> list[tuple[str, Breaker]]:
        """Tell the breakers of the calls of an attempt; those whose mode has changed.

        Args:
            seen: the calls.
            now: the moment.
            news: whether a failure tells of the host. That of a target which failed last time tells of the target.
        """
        changed = []
        for call in seen:
            breaker = self.breakers.get(call.endpoint)
            if breaker is not None and (call.good or news) and breaker.heard(now, good=call.good):
                changed.append((call.endpoint, breaker))
                if breaker.mode is Mode.CLOSED:
                    self.recovered_at[call.endpoint] = now
        return changed

    def open(self) -> frozenset[str]:
        """Those that are not asked now."""
        return frozenset(name for name, breaker in self.breakers.items() if breaker.mode is Mode.OPEN)
