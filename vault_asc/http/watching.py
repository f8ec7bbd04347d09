"""Being told of every call in a block of code: what a long-running process learns of its servers, and its say in retries.

A context variable, as for deadlines: sessions are made far from where an attempt begins, and serve many threads.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple, Protocol


class EndedCall(NamedTuple):
    """One call, all its tries included.

    Attributes:
        endpoint: `host:port` or `unix:///path`.
        method: upper case.
        status: HTTP status of the last answer; None when there was none that could be used.
        broken: whether the connection failed, the answer broke off, or none came in time.
        date: the answer's `Date` header, None without one.
        body_took: seconds from the head of the answer, with that header, to its end.
    """

    endpoint: str
    method: str
    status: int | None
    broken: bool = False
    date: str | None = None
    body_took: float = 0.0


class Watch(Protocol):
    """Learns of calls. Both methods are called by the thread that makes the call."""

    def may_repeat(self, endpoint: str) -> bool:
        """Whether a failed try may be repeated, if policy and deadline allow it too."""
        ...

    def ended(self, call: EndedCall) -> None:
        """Take note of a call."""
        ...


_watch: ContextVar[Watch | None] = ContextVar("vault_asc_http_watch", default=None)


@contextmanager
def watching(watch: Watch) -> Iterator[None]:
    """Tell `watch` of every call of this thread in the block."""
    token = _watch.set(watch)
    try:
        yield
    finally:
        _watch.reset(token)


def watch() -> Watch | None:
    """Who is to be told of the calls of this thread."""
    return _watch.get()
