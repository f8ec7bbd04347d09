"""A simulated service that is really looked at: listener, health, metrics and page as `run` has them."""

import http.client
import json
import logging
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.service.simulated import Simulation
from vault_asc.listen import Listen
from vault_asc.service.capacity import loads
from vault_asc.service.events import Event
from vault_asc.service.listening.notify import Notifier
from vault_asc.service.listening.outside import Outside, outside
from vault_asc.service.loop import Service

ANY_PORT = Listen(host="127.0.0.1")


@dataclass
class Reply:
    status: int
    headers: Mapping[str, str]
    text: str


@dataclass
class Looked:
    """What the tests look at, and how."""

    seen: Outside
    sim: Simulation
    service: Service
    events: list[Event] = field(default_factory=list)

    @property
    def address(self) -> str:
        [event] = [event for event in self.events if event.name == "listening"]
        return str(event.facts["address"])

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)

    def get(self, path: str, method: str = "GET", headers: Mapping[str, str] | None = None) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, path, headers=dict(headers or {}))
            answer = connection.getresponse()
            return Reply(answer.status, dict(answer.getheaders()), answer.read().decode())
        finally:
            connection.close()

    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.get("/status.json").text)
        return found

    def metrics(self) -> dict[str, dict[tuple[str, ...], float]]:
        """Samples by name, and by the values of their labels."""
        return samples(self.get("/metrics").text)

    def set(self, name: str, **changes: Any) -> None:
        """Change what is known of a target."""
        track = self.service.roster.tracks[name]
        track.now_in(replace(track.state, **changes))


def samples(text: str) -> dict[str, dict[tuple[str, ...], float]]:
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
    return found


@contextmanager
def looked_at(sim: Simulation, *, listen: Listen = ANY_PORT, begun: bool = True) -> Iterator[Looked]:
    """The service of a simulation, with everything that looks at it. It does nothing by itself: tests let it work."""
    events: list[Event] = []
    with outside(listen, Notifier(), events.append) as seen:
        sim.tell = seen.tell  # type: ignore[method-assign]
        service = sim.service()
        service.plan = service.plan._replace(loads=tuple(loads(sim.targets, service.plan.allowances)))
        if begun:
            begin(seen, service)
        yield Looked(seen, sim, service, events)


def begin(seen: Outside, service: Service) -> None:
    """As the command does it."""
    seen.watch(service)
    seen.tell(Event("started", logging.INFO))


def socket_path(directory: Path) -> Listen:
    return Listen(path=directory / "run.sock")
