"""Where events go: lines to a file descriptor, written beside the loop, which never waits for whoever reads them.

What there is no room for is lost, and that is told, at its place among the lines, as soon as somebody reads again.
"""

import contextlib
import logging
import os
import select
import threading
from collections.abc import Callable
from typing import Final

from vault_asc.clock import Clock, system_clock
from vault_asc.service.events import Event

ROOM: Final = 10_000
"""Lines that may wait, about 3 MB of them; as many more may be about to be written."""
FLUSH: Final = 2.0
"""Seconds at the end for what waits."""


class Log:
    """Takes events from any thread and writes each as one line. Nothing of it is called by a signal handler.

    Args:
        file: descriptor to write to; it is not closed.
        line: the form of an event, given the moment.
        clock: Unix seconds.
        room: lines that may wait.

    Attributes:
        lost: lines that were not written.
    """

    def __init__(
        self, file: int, line: Callable[[Event, float], str], *, clock: Clock = system_clock, room: int = ROOM
    ) -> None:
        self.lost = 0
        self._file = file
        self._line = line
        self._clock = clock
        self._room = room
        self._waiting: list[bytes] = []
        self._untold = 0
        self._ended = False
        self._changed = threading.Condition()
        self._writer = threading.Thread(target=self._write_all, name="log", daemon=True)
        self._writer.start()

    def tell(self, event: Event) -> None:
        """Take an event; never waits for a reader."""
        formed = self._formed(event)
        with self._changed:
            if len(self._waiting) >= self._room:
                self._lose()
                return
            self._waiting.append(formed)
            self._changed.notify()

    def close(self, patience: float = FLUSH) -> bool:
        """Write what waits, for so many seconds at most; whether all of it left."""
        with self._changed:
            self._ended = True
            self._changed.notify()
        self._writer.join(patience)
        return not self._writer.is_alive()

    def _write_all(self) -> None:
        while lines := self._next():
            for line in lines:
                try:
                    _write(self._file, line)
                except OSError:  # closed, or a full disk: the service goes on
                    with self._changed:
                        self._lose()

    def _next(self) -> list[bytes]:
        """All that waits, when something does; nothing at the end. What was lost meanwhile comes behind it."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._ended)
            lines, self._waiting = self._waiting, []
            if lines and self._untold:
                lines.append(self._formed(Event("lines lost", logging.WARNING, None, {"lines": self._untold})))
                self._untold = 0
            return lines

    def _lose(self) -> None:
        self.lost += 1
        self._untold += 1

    def _formed(self, event: Event) -> bytes:
        return f"{self._line(event, self._clock())}\n".encode()


def _write(file: int, line: bytes) -> None:
    """Write all of it, whether the descriptor waits or not: others may share it, and set it as they like."""
    while line:
        with contextlib.suppress(BlockingIOError):
            line = line[os.write(file, line) :]
            continue
        select.select((), (file,), ())
