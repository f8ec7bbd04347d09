"""What a process remembers of its mounts: a bounded number of values, the least used is forgotten first.

A value that was asked for before a change and arrives after it is never kept. Not here: what the values are.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Cache(Generic[K, V]):
    """At most `limit` values by key.

    Attributes:
        moment: goes up with every change; taken before a value is read from storage and handed to `keep`.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.moment = 0
        self._values: OrderedDict[K, V] = OrderedDict()
        self._doubtful: set[K] = set()

    def get(self, key: K) -> V | None:
        """The value, None when it is not known."""
        value = self._values.get(key)
        if value is not None:
            self._values.move_to_end(key)
        return value

    def keep(self, key: K, value: V, moment: int) -> None:
        """Remember a value that was read from storage after `moment`, unless anything has changed since."""
        if moment != self.moment or key in self._doubtful:
            return
        self._values[key] = value
        if len(self._values) > self.limit:
            self._values.popitem(last=False)

    def drop(self, key: K) -> None:
        """Forget a value that has changed."""
        self._values.pop(key, None)
        self.moment += 1

    def drop_all(self, chosen: Callable[[K], bool]) -> None:
        """Forget every value whose key is chosen, and with that every doubt about it."""
        for key in [key for key in self._values if chosen(key)]:
            del self._values[key]
        self._doubtful = {key for key in self._doubtful if not chosen(key)}
        self.moment += 1

    def doubt(self, key: K) -> None:
        """Forget a value and keep none until `trust`: a write of it failed, and may still arrive at the storage."""
        self.drop(key)
        self._doubtful.add(key)

    def trust(self, key: K) -> None:
        """Forget a value after a write of it has succeeded."""
        self.drop(key)
        self._doubtful.discard(key)

    def __len__(self) -> int:
        return len(self._values)
