"""Requests at a steady rate to every node of a cluster, each remembered with its time, none tried twice."""

import itertools
import json
import threading
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from types import TracebackType
from typing import Any, Final, NamedTuple, Self
from urllib.parse import urlsplit

from vault_asc.secret import Secret

RATE: Final = 50.0
"""Requests a second, of each kind."""

CLIENTS: Final = 9
"""How many send those of one kind; one whose request hangs sends no other."""

_PROMPT: Final = (
    0.15  # seconds; what takes longer was held up, as by an election, which takes a server three times that
)
_PATIENCE: Final = 10.0  # seconds for one request


class Kind(NamedTuple):
    """What is asked for, over and over."""

    name: str
    method: str
    path: str
    body: bytes = b""


class Asked(NamedTuple):
    """One request and what became of it.

    Attributes:
        node: number of the node that was asked.
        client: number of the client among those of its kind.
        begin: when it was sent, `time.monotonic`.
        end: when the answer was there, or it was clear that none comes.
        status: of HTTP; 0 when there was no answer.
        body: the answer, or what went wrong.
    """

    kind: Kind
    node: int
    client: int
    begin: float
    end: float
    status: int
    body: bytes

    @property
    def failed(self) -> bool:
        """A redirection is a failure: it names an active node that is gone."""
        return self.status not in {200, 204}

    @property
    def fine(self) -> bool:
        """Whether it succeeded, and at once."""
        return not self.failed and self.end - self.begin < _PROMPT

    def data(self) -> dict[str, Any]:
        """What the server answers as `data`."""
        found: dict[str, Any] = json.loads(self.body)["data"]
        return found


class Gap(NamedTuple):
    """When a node failed some kinds of requests or let them wait."""

    begin: float
    end: float

    def holds(self, each: Asked) -> bool:
        """Whether the request was under way at some time of it."""
        return each.end >= self.begin and each.begin <= self.end


def gap(asked: Sequence[Asked], kinds: Collection[Kind], node: int) -> Gap | None:
    """From the last prompt success before the first trouble to the first one after the last; None without trouble."""
    each_kind = ([each for each in asked if (each.kind, each.node) == (kind, node)] for kind in kinds)
    gaps = [found for one in each_kind if (found := _gap(one)) is not None]
    return Gap(min(each.begin for each in gaps), max(each.end for each in gaps)) if gaps else None


def _gap(asked: Sequence[Asked]) -> Gap | None:
    trouble = [each for each in asked if not each.fine]
    if not trouble:
        return None
    first, last = min(each.begin for each in trouble), max(each.end for each in trouble)
    fine = [each for each in asked if each.fine]
    return Gap(
        max((each.begin for each in fine if each.begin < first), default=first),
        min((each.end for each in fine if each.end > last), default=last),
    )


@dataclass
class Load:
    """Within its context requests go out, to each node in turn; `asked` is complete after it."""

    addresses: Sequence[str]
    token: Secret
    kinds: Iterable[Kind]
    asked: list[Asked] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Self:
        for kind, client in itertools.product(self.kinds, range(CLIENTS)):
            thread = threading.Thread(target=self._ask, args=(kind, client), name=f"{kind.name} {client}")
            thread.start()
            self._threads.append(thread)
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self.asked.sort(key=lambda each: each.begin)

    def answered(self, kind: Kind, node: int, since: float) -> bool:
        """Whether a request of this kind to this node, sent after that moment, has succeeded."""
        mine = (each for each in self.asked.copy() if (each.kind, each.node) == (kind, node))
        return any(each.begin >= since and not each.failed for each in mine)

    def _ask(self, kind: Kind, client: int) -> None:
        connections: dict[int, HTTPConnection] = {}
        due = time.monotonic() + client / RATE
        for turn in itertools.count(client):
            if self._stop.wait(max(0.0, due - time.monotonic())):
                break
            node = turn % len(self.addresses)
            self.asked.append(self._once(kind, node, client, connections))
            due = max(due + CLIENTS / RATE, time.monotonic())  # what could not be sent in time is left out
        for connection in connections.values():
            connection.close()

    def _once(self, kind: Kind, node: int, client: int, connections: dict[int, HTTPConnection]) -> Asked:
        begin = time.monotonic()
        try:
            if node not in connections:
                connections[node] = HTTPConnection(urlsplit(self.addresses[node]).netloc, timeout=_PATIENCE)
            connection = connections[node]
            connection.request(kind.method, f"/v1/{kind.path}", kind.body, {"X-Vault-Token": self.token.reveal()})
            response = connection.getresponse()
            status, body = response.status, response.read()
        except (OSError, HTTPException) as exc:
            connections.pop(node).close()
            status, body = 0, repr(exc).encode()
        return Asked(kind, node, client, begin, time.monotonic(), status, body)
