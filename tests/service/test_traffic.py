"""What the service learns of real calls, and its say in retries, over the HTTP policy."""

import socket
import threading
import time
from collections.abc import Iterator
from email.utils import formatdate

import pytest
import requests

from tests.fault_server import FaultServer
from tests.test_rotation import NOW, TARGET
from tests.test_rotation import World as Pretended
from vault_asc import http
from vault_asc.errors import NexlaError
from vault_asc.http.watching import watch, watching
from vault_asc.service.attempt import guarded
from vault_asc.service.skew import Sample, SkewError
from vault_asc.service.traffic import Seen, Traffic


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as running:
        yield running


@pytest.fixture
def traffic() -> Traffic:
    return Traffic(time.time, time.monotonic)


def call(server: FaultServer, path: str, **options: float) -> None:
    limits = http.Limits(total=options.get("total", 10.0))
    with http.session(limits=limits, wait=lambda _: None) as session:
        try:
            session.get(f"{server.url}{path}")
        except requests.RequestException:
            return


@pytest.mark.parametrize(
    ("path", "good"),
    [
        ("/ok", True),
        ("/status/404", True),
        ("/status/429", True),
        ("/status/500", False),
        ("/status/503", False),
        ("/rst", False),
        ("/trunc", False),
        ("/silent", False),
        ("/redirect/302/http%3A%2F%2Felsewhere", True),
        ("/huge", True),
    ],
)
def test_every_call_is_noted_once_with_whether_the_host_did_its_part(
    server: FaultServer, traffic: Traffic, path: str, good: bool
) -> None:
    with traffic.recorded() as seen:
        call(server, path, total=0.5)
    assert seen == [Seen(http.endpoint(server.url), "GET", good)]


def test_calls_outside_are_nobodys(server: FaultServer, traffic: Traffic) -> None:
    with traffic.recorded() as seen:
        pass
    call(server, "/ok")
    assert seen == []


def test_retries_end_with_the_budget_with_an_open_breaker_and_with_the_process(
    server: FaultServer, traffic: Traffic
) -> None:
    def tries() -> int:
        before = len(server.requests)
        with traffic.recorded():
            call(server, "/status/503")
        return len(server.requests) - before

    assert [tries() for _ in range(4)] == [3, 2, 1, 1]
    for _ in range(100):
        traffic.budget(http.endpoint(server.url)).called()
    assert tries() == 3
    traffic.closed = frozenset({http.endpoint(server.url)})
    assert tries() == 1
    traffic.closed = frozenset()
    traffic.stopping = True
    assert tries() == 1


def test_the_servers_clock_is_compared_with_ours(server: FaultServer, traffic: Traffic) -> None:
    ended = http.EndedCall("h:1", "GET", 200, date=formatdate(time.time() - 90, usegmt=True))
    with traffic.recorded():
        told = watch()
        assert told is not None
        told.ended(ended)
    skew = traffic.skews.of("h:1", time.monotonic())
    assert skew == pytest.approx(89, abs=1.5)


def test_a_body_that_comes_late_is_no_wrong_clock(traffic: Traffic) -> None:
    then = formatdate(time.time() - 40, usegmt=True)
    with traffic.recorded():
        told = watch()
        assert told is not None
        told.ended(http.EndedCall("h:1", "GET", 200, date=then, body_took=40.0))
    assert traffic.skews.of("h:1", time.monotonic()) == pytest.approx(0, abs=1)


def test_the_time_that_a_body_takes_is_measured() -> None:
    def answer() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
            time.sleep(0.2)
            connection.sendall(b"{}")

    ended: list[http.EndedCall] = []

    class Watcher:
        def may_repeat(self, _: str) -> bool:
            return False

        def ended(self, call: http.EndedCall) -> None:
            ended.append(call)

    with socket.create_server(("127.0.0.1", 0)) as listener, http.session() as session, watching(Watcher()):
        server = threading.Thread(target=answer)
        server.start()
        session.get(f"http://127.0.0.1:{listener.getsockname()[1]}/")
        server.join()
    assert 0.15 < ended[0].body_took < 5


def test_nothing_is_minted_by_a_wrong_clock_and_a_mended_one_is_noticed(traffic: Traffic) -> None:
    world = Pretended(now=NOW)
    asked: list[str] = []
    ports = guarded(world.ports(), traffic, "vault", {"default": "nexla"}, asked.append)
    ports.mint(TARGET)
    traffic.skews.note("nexla", Sample(3600, time.monotonic()))
    with pytest.raises(SkewError, match="3600 s ahead"):
        ports.mint(TARGET)
    assert asked == ["default"], "the server is asked once more before the refusal"
    mended = guarded(
        world.ports(),
        traffic,
        "vault",
        {"default": "nexla"},
        lambda _: traffic.skews.note("nexla", Sample(0, time.monotonic())),
    )
    mended.mint(TARGET)
    traffic.skews.note("vault", Sample(-61, time.monotonic()))
    with pytest.raises(SkewError, match="behind"):
        mended.mint(TARGET)
    other = guarded(world.ports(), traffic, "other-vault", {"second": "elsewhere"}, asked.append)
    other.mint(TARGET._replace(nexla="second"))


def test_when_nexla_cannot_be_asked_for_its_clock_the_attempt_fails_as_any(traffic: Traffic) -> None:
    def down(_: str) -> None:
        raise NexlaError("no answer", retryable=True)

    traffic.skews.note("nexla", Sample(100, time.monotonic()))
    ports = guarded(Pretended().ports(), traffic, "vault", {"default": "nexla"}, down)
    with pytest.raises(NexlaError):
        ports.mint(TARGET)
