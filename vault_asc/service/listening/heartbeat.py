"""When systemd is told what: a sign of life only while the loop goes round, and a line that says how the targets are."""

from typing import Final

from vault_asc.clock import Clock, format_duration
from vault_asc.service.listening.notify import Notifier
from vault_asc.service.listening.observer import Observer
from vault_asc.service.view import View

POLL: Final = 0.5
"""Seconds between two beats."""
_STATUS: Final = 10.0  # seconds between two lines


class Heartbeat:
    """Beats beside the loop.

    Args:
        notifier: where it is told.
        observer: what is told of.
        elapsed: seconds on a clock that nobody sets.
    """

    def __init__(self, notifier: Notifier, observer: Observer, elapsed: Clock) -> None:
        self._notifier = notifier
        self._observer = observer
        self._elapsed = elapsed
        self._stopping = False
        self._alive_at = self._status_at = 0.0

    def beat(self) -> None:
        """Tell what is to be told now."""
        if not self._notifier.wanted:
            return
        now = self._elapsed()
        if self._observer.stopping:
            self.end()
        alive = self._observer.not_alive() is None
        if alive and self._notifier.watchdog and now >= self._alive_at:
            self._alive_at = now + self._notifier.watchdog / 3
            self._notifier.send("WATCHDOG=1")
        if self._observer.started and not self._stopping and now >= self._status_at:
            self._status_at = now + _STATUS
            self._notifier.send(f"STATUS={summary(self._observer)}")

    def end(self) -> None:
        """Tell once that the service is about to end."""
        if not self._stopping:
            self._stopping = True
            self._notifier.stopping()


def summary(observer: Observer) -> str:
    """How the targets are, in one line."""
    wrong, view = observer.not_alive(), observer.view()
    if wrong is not None:
        return wrong
    return "starting" if view is None else _summary(view)


def _summary(view: View) -> str:
    lives = [target.left for target in view.targets if target.left is not None]
    low = sum(target.alarm for target in view.targets)
    failing = sum(target.failures > 0 for target in view.targets)
    least = f"; least left {format_duration(min(lives))}" if lives else ""
    return f"{len(view.targets)} targets, {low} with little or no life left, {failing} failing{least}"
