"""Events of attempts, hosts and clocks, in words; what is worth being told is decided here."""

import logging
from typing import Final

from vault_asc.errors import BusyError
from vault_asc.push import Result
from vault_asc.service.attempt import Attempted
from vault_asc.service.breaker import Breaker, Mode
from vault_asc.service.capacity import Load, arithmetic
from vault_asc.service.events import Event, Tell
from vault_asc.service.skew import REFUSE, WARN, Skews
from vault_asc.service.work import Track

_TIGHT: Final = 0.8  # share of its capacity from which a service key has no room to catch up after an outage


def of_attempt(track: Track, attempted: Attempted, took: float, now: float) -> Event | None:
    """What an attempt is worth; None when nothing was done."""
    result, state = attempted.result, attempted.state
    name = track.target.name
    if result.error is not None and not result.recorded:
        level = logging.INFO if isinstance(result.error, BusyError) else logging.ERROR
        return Event("not tried", level, name, {"reason": result.reason, "detail": _said(result)})
    if result.state is None or state is None:
        return None
    left = int(state.remaining(now)) if state.expires_at else None
    facts = {"outcome": str(state.outcome), "left": left, "took": round(took, 2), "reason": result.reason}
    if not state.failures:
        return Event("refreshed", logging.INFO, name, facts | {"key_id": state.key_id})
    level = logging.ERROR if result.error is not None or left is None or left < track.alarm else logging.WARNING
    more = {"failures": state.failures, "next_try": max(0, round(state.next_try - now)), "detail": state.detail}
    return Event("failed", level, name, facts | more)


def of_breaker(endpoint: str, breaker: Breaker, now: float) -> Event:
    """A breaker whose mode has changed."""
    if breaker.mode is Mode.OPEN:
        return Event(
            "breaker", logging.ERROR, None, {"host": endpoint, "mode": "open", "for": round(breaker.until - now)}
        )
    return Event("breaker", logging.INFO, None, {"host": endpoint, "mode": str(breaker.mode)})


def of_load(load: Load) -> Event:
    """What an account has to carry."""
    level = logging.WARNING if load.used > _TIGHT else logging.INFO
    facts = {"account": load.account, "targets": load.targets, "capacity": load.capacity, "why": arithmetic(load)}
    return Event("capacity", level, None, facts)


class SkewWatch:
    """Tells once when a server's clock and ours part, and once when they agree again."""

    def __init__(self, skews: Skews, tell: Tell) -> None:
        self._skews = skews
        self._tell = tell
        self._known: dict[str, int] = {}

    def look(self, now: float) -> None:
        """Compare all servers with what was told last; `now` is on the clock that nobody sets."""
        for endpoint, skew in self._skews.all(now).items():
            level = _skew_level(skew)
            if self._known.get(endpoint, logging.INFO) != level:
                self._known[endpoint] = level
                facts = {"host": endpoint, "ahead": round(skew, 1), "minting": level != logging.ERROR}
                self._tell(Event("skew", level, None, facts))


def _skew_level(skew: float) -> int:
    if abs(skew) > REFUSE:
        return logging.ERROR
    return logging.WARNING if abs(skew) > WARN else logging.INFO


def _said(result: Result) -> str:
    error = result.error
    if error is None:
        return ""
    return error.message if error.hint is None else f"{error.message} (hint: {error.hint})"
