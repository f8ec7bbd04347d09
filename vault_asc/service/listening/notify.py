"""Datagrams to systemd (sd_notify(3)): ready, reloading, stopping, a status line, the watchdog. Silent without systemd."""

import os
import socket
import time
from collections.abc import Mapping
from typing import Final

_MICRO: Final = 1_000_000


class Notifier:
    """Sends to the socket that systemd has named.

    Args:
        address: a path, or an abstract name behind "@"; "" for nobody.

    Attributes:
        watchdog: seconds within which a sign of life is expected; 0 for never.
    """

    def __init__(self, address: str = "", watchdog: float = 0.0) -> None:
        self._address = address
        self.watchdog = watchdog

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> "Notifier":
        """What systemd says in the environment of this very process."""
        watched = environ.get("WATCHDOG_PID") in {None, str(os.getpid())}
        span = environ.get("WATCHDOG_USEC", "")
        valid = watched and span.isascii() and span.isdigit()
        return cls(environ.get("NOTIFY_SOCKET", ""), int(span) / _MICRO if valid else 0.0)

    @property
    def wanted(self) -> bool:
        """Whether somebody listens."""
        return self._address[:1] in {"/", "@"} and len(self._address) > 1

    def send(self, *lines: str) -> None:
        """Send assignments in one datagram; never waits, and a systemd that does not take it is no error of ours."""
        if not self.wanted:
            return
        address = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.settimeout(0)
                sender.sendto("\n".join(lines).encode(), address)
        except OSError:
            return

    def reloading(self) -> None:
        """A reload begins; `ready` ends it."""
        self.send("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def ready(self) -> None:
        """At work."""
        self.send("READY=1")

    def stopping(self) -> None:
        """About to end."""
        self.send("STOPPING=1", "STATUS=finishing what is in flight")
