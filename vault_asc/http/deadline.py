"""A moment by which something must be over, on the monotonic clock, and the scope in which it holds for every call."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple, Self


class Deadline(NamedTuple):
    """A moment on the monotonic clock, which no change of the wall clock moves.

    Attributes:
        at: seconds, comparable with `time.monotonic()`.
    """

    at: float

    @classmethod
    def after(cls, seconds: float) -> Self:
        """The moment `seconds` from now."""
        return cls(time.monotonic() + seconds)

    def left(self) -> float:
        """Seconds until then; negative once it has passed."""
        return self.at - time.monotonic()

    def sooner(self, seconds: float) -> "Deadline":
        """This moment, or the one `seconds` from now when that comes first."""
        return min(self, Deadline.after(seconds))


_NEVER = Deadline(float("inf"))
_scope: ContextVar[Deadline] = ContextVar("vault_asc_http_deadline", default=_NEVER)


@contextmanager
def within(deadline: Deadline) -> Iterator[None]:
    """Every call of this thread in the block ends by `deadline`, whatever its session allows; scopes nest."""
    token = _scope.set(min(deadline, _scope.get()))
    try:
        yield
    finally:
        _scope.reset(token)


def current() -> Deadline:
    """The deadline of the innermost `within`; infinitely far away outside of any."""
    return _scope.get()
