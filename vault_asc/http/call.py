"""One call in progress: what its policy allows and how far it got, seen by every layer below requests.

requests and urllib3 hand nothing of ours down to their sockets, and a session serves many threads at once. A context
variable reaches connection, socket and retry rule alike, also on a pooled connection that another call opened.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final, NamedTuple

from vault_asc.http.deadline import Deadline


class Limits(NamedTuple):
    """What one call may cost.

    Attributes:
        connect: seconds for one connection: name, TCP and TLS together.
        total: seconds for the whole call with all tries and the pauses between them.
        body: bytes of the answer's body.
        attempts: tries, the first included.
    """

    connect: float = 3.0
    total: float = 10.0
    body: int = 1 << 20
    attempts: int = 3


SAFE_METHODS: Final = frozenset({"GET", "HEAD", "LIST"})


class Policy(NamedTuple):
    """The rules of a session.

    Attributes:
        limits: what one call may cost.
        retry_methods: methods that may be sent again after the server may have got them.
        wait: sleeps for so many seconds between two tries.
        uniform: gives a random number between its two arguments.
    """

    limits: Limits
    retry_methods: frozenset[str]
    wait: Callable[[float], object]
    uniform: Callable[[float, float], float]


class Call:
    """One call: its rules, and how far it got.

    Attributes:
        policy: the rules of its session.
        endpoint: `host:port` or `unix:///path`, for messages.
        budget: seconds that the whole call may take, for messages.
        deadline: the end of the whole call.
        sent: whether this try may have reached the server.
        ever_sent: whether any try may have.
        pause: seconds before the next try.
        answered_at: when the head of the last answer came, in seconds of `time.monotonic`; 0 before.
        retry_methods: methods that may be sent again after the server may have got them.
    """

    def __init__(self, policy: Policy, endpoint: str, budget: float, deadline: Deadline) -> None:
        self.policy = policy
        self.endpoint = endpoint
        self.budget = budget
        self.deadline = deadline
        self.sent = False
        self.ever_sent = False
        self.pause = 0.0
        self.answered_at = 0.0
        self.retry_methods = policy.retry_methods | _repeatable.get()

    def sending(self) -> None:
        """From now on the server may have got the request."""
        self.sent = self.ever_sent = True


current_call: ContextVar[Call] = ContextVar("vault_asc_http_call")
_repeatable: ContextVar[frozenset[str]] = ContextVar("vault_asc_http_repeatable", default=frozenset())


def is_repeatable(method: str) -> bool:
    """Whether a call with this method may be sent again here: it reads, or stands in a block of `repeatable`."""
    return method.upper() in SAFE_METHODS | _repeatable.get()


@contextmanager
def repeatable(*methods: str) -> Iterator[None]:
    """Let the calls in a block be sent again with these methods too: for those that change nothing on the server."""
    token = _repeatable.set(frozenset(methods))
    try:
        yield
    finally:
        _repeatable.reset(token)
