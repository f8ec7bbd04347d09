"""Events of attempts, logins, hosts and clocks, in words; what is worth being told is decided here."""

import logging
from collections.abc import Iterable
from math import ceil
from typing import Final

from vault_asc.errors import BusyError, NexlaError, VaultAscError
from vault_asc.push import Result
from vault_asc.service.attempt import Attempted
from vault_asc.service.breaker import Breaker, Mode
from vault_asc.service.capacity import Load, arithmetic
from vault_asc.service.events import Event, Tell
from vault_asc.service.skew import REFUSE, WARN, Skews
from vault_asc.service.work import Track
from vault_asc.vault import LoginFailed, LoginNews, Renewed

_NAMED: Final = 20  # targets that one line names
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


def why(attempted: Attempted) -> str:
    """Why an attempt has failed; empty when it has not."""
    state = attempted.state
    return state.detail if state is not None and state.failures else _said(attempted.result)


def of_breaker(endpoint: str, breaker: Breaker, now: float, reason: str) -> Event:
    """A breaker whose mode has changed; the reason is that of the attempt by which it has."""
    if breaker.mode is Mode.OPEN:
        pause, detail = round(breaker.until - now), reason or "calls to it fail"
        return Event("breaker", logging.ERROR, None, {"host": endpoint, "mode": "open", "for": pause, "detail": detail})
    return Event("breaker", logging.INFO, None, {"host": endpoint, "mode": str(breaker.mode)})


def of_load(load: Load) -> Event:
    """What an account has to carry."""
    level = logging.WARNING if load.used > _TIGHT else logging.INFO
    facts = {"account": load.account, "targets": load.targets, "capacity": load.capacity, "why": arithmetic(load)}
    return Event("capacity", level, None, facts)


def of_login(news: LoginNews) -> Event:
    """What has become of the service's own login."""
    if isinstance(news, LoginFailed):
        wait = ceil(news.wait) or None  # none: the next call tries at once
        facts = {"mount": news.mount, "next_try": wait, "detail": _with_hint(news.error)}
        return Event("login failed", logging.WARNING, None, facts)
    name = "renewed" if isinstance(news, Renewed) else "logged in"
    return Event(name, logging.INFO, None, {"mount": news.mount, "ttl": news.ttl})


def of_account(account: str, error: VaultAscError) -> Event:
    """Why an account did not tell its limits. What does not pass by itself will fail each refresh as well."""
    passing = isinstance(error, NexlaError) and error.retryable
    hint = error.hint or f"check mount, path and field of service_key in [nexla.{account}], and what is in Vault there"
    facts = {"account": account, "detail": error.message, "hint": hint}
    if passing:
        return Event("limits unknown", logging.WARNING, None, facts)
    return Event("account unusable", logging.ERROR, None, facts)


def of_stop(left: Iterable[Track], **facts: int) -> Event:
    """The end of the service, with the targets whose attempts are left behind, and further numbers."""
    names = sorted(track.target.name for track in left)
    shown = ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
    level = logging.ERROR if names or any(facts.values()) else logging.INFO
    return Event("stopped", level, None, {"in_flight": len(names), **facts, "left_behind": shown or None})


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
