"""The servers as the loop sees them: their breakers, and how many attempts use each of them now."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from typing import Final

from vault_asc.service.breaker import Breaker, Mode
from vault_asc.service.traffic import Seen

_SHARE: Final = 0.75  # of the workers that one host may hold, where there are several


class Room(Enum):
    """Whether one more attempt may use its hosts."""

    FREE = "free"
    FULL = "full"  # until one ends
    OPEN = "open"  # until a breaker's pause is over, or its probe


class Hosts:
    """All servers, by endpoint. Owned by the loop; time is seconds on a clock that nobody sets.

    Args:
        anybody_well: whether any target that uses a server did not fail last time.

    Attributes:
        breakers: by endpoint.
        named: endpoints of the configuration in force.
        in_flight: attempts by endpoint.
        recovered_at: when a breaker closed again, by endpoint.
    """

    def __init__(self, anybody_well: Callable[[str], bool] = lambda _: True) -> None:
        self._anybody_well = anybody_well
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
                if breaker.mode is not Mode.CLOSED:
                    return Room.OPEN
                full = True
        return Room.FULL if full else Room.FREE

    def crowd(self, host: str) -> int:
        """Attempts that use this host, or Vault when that is the one that is not asked freely."""
        vault = self.breakers[self._vault]
        return self.in_flight[self._vault if vault.mode is not Mode.CLOSED else host]

    def well(self, host: str) -> bool:
        """Whether Vault and this host are asked without reserve."""
        return self.breakers[self._vault].mode is Mode.CLOSED and self.breakers[host].mode is Mode.CLOSED

    def opens_at(self, host: str) -> float:
        """When a probe is let through to Vault and this host."""
        return max(self.breakers[self._vault].until, self.breakers[host].until)

    def recovered(self, host: str) -> float:
        """When Vault or this host was found well again last; 0 for never."""
        return max(self.recovered_at.get(self._vault, 0.0), self.recovered_at.get(host, 0.0))

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
            if breaker is None or not (call.good or news or self._on_trial(call.endpoint)):
                continue
            if breaker.heard(now, good=call.good):
                changed.append((call.endpoint, breaker))
        return self._noted(changed, now)

    def rested(self, now: float) -> list[tuple[str, Breaker]]:
        """Close the breakers of hosts that nobody needed after a good probe; those whose mode has changed."""
        return self._noted([(name, breaker) for name, breaker in self.breakers.items() if breaker.rested(now)], now)

    def _noted(self, changed: list[tuple[str, Breaker]], now: float) -> list[tuple[str, Breaker]]:
        self.recovered_at |= {name: now for name, breaker in changed if breaker.mode is Mode.CLOSED}
        return changed

    def _on_trial(self, endpoint: str) -> bool:
        """Whether each failure tells of a host: while it proves itself, and when nobody is well there who could fail."""
        return self.breakers[endpoint].mode is not Mode.CLOSED or not self._anybody_well(endpoint)

    def proving(self) -> frozenset[str]:
        """Vault while it is not asked freely: it has done its part when it has answered, however slow Nexla is then."""
        return frozenset() if self.breakers[self._vault].mode is Mode.CLOSED else frozenset({self._vault})

    def open(self) -> frozenset[str]:
        """Those that are not asked now."""
        return frozenset(name for name, breaker in self.breakers.items() if breaker.mode is Mode.OPEN)
