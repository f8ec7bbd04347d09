"""What is known of the service by those who look at it: its view, and what its events have told so far.

Written by the loop's thread and read by all others; nothing here makes the loop wait.
"""

from collections.abc import Callable
from typing import Final

from vault_asc.outcome import Outcome
from vault_asc.service.events import Event, Tell
from vault_asc.service.loop import Service
from vault_asc.service.plan import Plan
from vault_asc.service.view import View, flying, view

HANGS: Final = 30.0
"""Seconds without a turn of the loop from which it counts as hanging: a turn takes 5, a stop up to 10."""
NOT_TRIED: Final = "not tried"
"""What the attempts are counted as that could not even be begun."""

_ATTEMPTS: Final = frozenset({"refreshed", "failed", "not recorded"})
_LOGINS: Final = frozenset({"logged in", "renewed", "login failed"})


class Observer:
    """Stands between the service and where its events go.

    Args:
        tell: where they go.
        lines_lost: how many of them could not be written down.

    Attributes:
        attempts: how many have ended, by outcome, since the start.
        started: whether the service has begun to work.
        config_good: whether the last reading of the configuration was taken.
        login_ok: whether the service's own login or renewal at Vault succeeded last; true without one, too.
    """

    def __init__(self, tell: Tell, lines_lost: Callable[[], int]) -> None:
        self.lines_lost = lines_lost
        self.attempts = dict.fromkeys([*map(str, Outcome), NOT_TRIED], 0)  # all there are: never resized while read
        self.started = False
        self.config_good = True
        self.login_ok = True
        self._tell = tell
        self._service: Service | None = None

    def watch(self, service: Service) -> None:
        """From now on there is something to be seen."""
        self._service = service

    def tell(self, event: Event) -> None:
        """Take note of an event and hand it on."""
        if event.name in _ATTEMPTS:
            self.attempts[str(event.facts["outcome"])] += 1
        elif event.name == NOT_TRIED:
            self.attempts[NOT_TRIED] += 1
        elif event.name == "started":
            self.started = True
        elif event.name in {"reloaded", "reload refused"}:
            self.config_good = event.name == "reloaded"
        elif event.name in _LOGINS:
            self.login_ok = event.name != "login failed"
        self._tell(event)

    def view(self) -> View | None:
        """The service at this moment; None while it starts."""
        return None if self._service is None else view(self._service)

    def flying(self) -> dict[str, float]:
        """Seconds that each attempt under way has taken, by target."""
        return {} if self._service is None else flying(self._service)

    @property
    def stopping(self) -> bool:
        """Whether the service was told to stop."""
        return self._service is not None and self._service.traffic.stopping

    @property
    def behind(self) -> float:
        """Seconds since the loop went round last; 0 while the service starts."""
        service = self._service
        return 0.0 if service is None else max(0.0, service.clock() - service.looked_at)

    def not_alive(self) -> str | None:
        """Why the process is better started anew; None when it is well."""
        behind = self.behind
        return f"the loop has not gone round for {behind:.0f} s" if behind > HANGS else None

    def not_ready(self) -> str | None:
        """Why the service is not at its work as configured; None when it is."""
        if not self.started:
            return "starting"
        if self.stopping:
            return "stopping"
        if not self.config_good:
            return "the configuration was refused when it was read again; the one from before is in force"
        return self.not_alive()


def reloads(replan: Callable[[], Plan], begun: Callable[[], None]) -> Callable[[], Plan]:
    """The same way to a new plan, which says first that it begins."""

    def told() -> Plan:
        begun()
        return replan()

    return told
