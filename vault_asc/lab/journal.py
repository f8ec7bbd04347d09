"""What a simulator saw, fit to be shown: no query, no header, no body, no token."""

import threading
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

_KEPT: Final = 10_000  # entries; counts go on beyond that


@dataclass(frozen=True, slots=True)
class Entry:
    """One request.

    Attributes:
        time: Unix seconds on the simulator's clock when it arrived.
        method: HTTP method.
        path: below the simulator's URL, masked, without query.
        status: of the answer; None when the connection was dropped instead.
        who: key ID (Apple, as claimed by the token) or user's address (Nexla), None when unknown.
        reason: why it was answered so, such as "expired"; empty when there is nothing to say.
        fault: name of the injected fault, None for an honest answer.
    """

    time: float
    method: str
    path: str
    status: int | None
    who: str | None = None
    reason: str = ""
    fault: str | None = None


class Journal:
    """The last entries, counts of all of them, and listeners for a live timeline. Safe between threads."""

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque(maxlen=_KEPT)
        self._counts: Counter[tuple[str, str, int | None]] = Counter()
        self._listeners: list[Callable[[Entry], None]] = []
        self._lock = threading.Lock()

    def write(self, entry: Entry) -> None:
        """Add an entry and tell the listeners, in the thread of the request."""
        with self._lock:
            self._entries.append(entry)
            self._counts[entry.method, entry.path, entry.status] += 1
            listeners = tuple(self._listeners)
        for listener in listeners:
            listener(entry)

    def listen(self, listener: Callable[[Entry], None]) -> None:
        """Call `listener` with every later entry, before its answer is sent."""
        with self._lock:
            self._listeners.append(listener)

    def entries(self) -> tuple[Entry, ...]:
        """The entries so far, oldest first; at most the last 10000."""
        with self._lock:
            return tuple(self._entries)

    def last(self) -> Entry:
        """The newest entry; `IndexError` when there is none."""
        with self._lock:
            return self._entries[-1]

    def count(self, method: str = "*", path: str = "*", *, status: int | None = None) -> int:
        """Requests so far to a path (or pattern such as `/data_credentials/*`), with that status if one is given."""
        with self._lock:
            return sum(
                number
                for (verb, where, answered), number in self._counts.items()
                if fnmatchcase(verb, method) and fnmatchcase(where, path) and status in {None, answered}
            )
