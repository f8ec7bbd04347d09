"""Events of attempts, logins, hosts and clocks, in words; what is worth being told is decided here."""

import logging
from typing import Final

from vault_asc.errors import BusyError, VaultAscError
from vault_asc.push import Result
from vault_asc.service.attempt import Attempted
from vault_asc.service.breaker import Breaker, Mode
from vault_asc.service.capacity import Load, arithmetic
from vault_asc.service.events import Event, Tell
from vault_asc.service.skew import REFUSE, WARN, Skews
from vault_asc.service.work import Track
from vault_asc.vault import LoginFailed, LoginNews, Renewed

_TIGHT: Final = 0.8  # share of its capacity from which a service key has no room to catch up after an outage


def of_attempt(track: Track, attempted: Attempted, took: float, now: float) -> Event | None:
    """What an attempt is worth; None when nothing was done."""
    result, state = attempted.result, attempted.state
    name = track.target.name
    unrecorded = result.error is not None and not result.recorded
    if unrecorded and result.state is None:
        level = logging.INFO if isinstance(result.error, BusyError) else logging.ERROR
        return Event("not tried", level, name, {"reason": result.reason, "detail": _said(result)})
    if result.state is None or state is None:
        return None
    left = int(state.remaining(now)) if state.expires_at else None
    facts = {"outcome": str(state.outcome), "left": left, "took": round(took, 2), "reason": result.reason}
    low = left is None or left < track.alarm
    if unrecorded:
        detail = "; ".join(filter(None, (state.detail, _said(result))))
        level = logging.ERROR if low else logging.WARNING
        return Event("not recorded", level, name, facts | {"key_id": state.key_id, "detail": detail})
    if not state.failures:
        return Event("refreshed", logging.INFO, name, facts | {"key_id": state.key_id})
    level = logging.ERROR if result.error is not None or low else logging.WARNING
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


def of_login(news: LoginNews) -> Event:
    """What has become of the service's own login."""
    if isinstance(news, LoginFailed):
        facts = {"mount": news.mount, "next_try": round(news.wait), "detail": _with_hint(news.error)}
        return Event("login failed", logging.WARNING, None, facts)
    name = "renewed" if isinstance(news, Renewed) else "logged in"
    return Event(name, logging.INFO, None, {"mount": news.mount, "ttl": news.ttl})


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
    return "" if result.error is None else _with_hint(result.error)


def _with_hint(error: VaultAscError) -> str:
    return error.message if error.hint is None else f"{error.message} (hint: {error.hint})"
