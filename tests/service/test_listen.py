"""The listener: what it answers, and what it refuses."""

import contextlib
import logging
import socket
import threading
from collections.abc import Iterator

import pytest

from tests.effort import effort
from tests.integration.worlds import until
from tests.service.looked_at import Looked, begin, looked_at, samples
from tests.service.simulated import HOST, VAULT, Simulation
from vault_asc.outcome import Outcome
from vault_asc.service.breaker import Mode
from vault_asc.service.events import Event
from vault_asc.service.listening import server
from vault_asc.service.skew import Sample


@pytest.fixture
def looked() -> Iterator[Looked]:
    with looked_at(Simulation(3, keys=2)) as found:
        found.sim.run(60, found.service)
        yield found


def raw(looked: Looked, *parts: bytes) -> bytes:
    """All that comes back for bytes as they are."""
    with looked.connect() as connection:
        with contextlib.suppress(OSError):  # the other side may have had enough already
            for part in parts:
                connection.sendall(part)
            connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b""))


# --- what is answered ----------------------------------------------------------------------------------------------


def test_healthy_is_who_goes_round_and_ready_is_who_works_as_configured() -> None:
    with looked_at(Simulation(1), begun=False) as looked:
        assert (looked.get("/healthz").status, looked.get("/healthz").text) == (200, "ok\n")
        assert (looked.get("/readyz").status, looked.get("/readyz").text) == (503, "starting\n")
        assert looked.document()["not_ready"] == "starting"
        begin(looked.seen, looked.service)
        looked.sim.run(30, looked.service)
        assert looked.get("/readyz").status == 200
        looked.seen.tell(Event("reload refused", logging.ERROR))
        assert "refused" in looked.get("/readyz").text
        assert looked.get("/healthz").status == 200, "it works on, so it is not to be killed"
        looked.seen.tell(Event("reloaded", logging.INFO))
        assert looked.get("/readyz").status == 200
        looked.sim.time.elapsed += 29 - looked.seen.observer.behind
        assert looked.get("/healthz").status == 200
        looked.sim.time.elapsed += 2
        assert looked.get("/healthz").text == "the loop has not gone round for 31 s\n"
        assert (looked.get("/healthz").status, looked.get("/readyz").status) == (503, 503)
        looked.service.step()
        assert looked.get("/healthz").status == 200
        looked.service.stop()
        assert looked.get("/readyz").text == "stopping\n"
        assert looked.get("/healthz").status == 200


def test_a_clock_that_is_set_is_no_hanging_loop(looked: Looked) -> None:
    for jump in (3600.0, -7200.0):
        looked.sim.time.ahead += jump
        looked.sim.run(10, looked.service)
        assert looked.get("/healthz").status == 200


def test_the_metrics_say_what_is_known(looked: Looked) -> None:
    looked.service.traffic.skews.note(HOST, Sample(-42.5, looked.sim.time.elapsed))
    looked.service.hosts.breakers[VAULT].mode = Mode.HALF_OPEN
    looked.set("target-1", outcome=Outcome.NOT_WRITTEN, failures=4, expires_at=int(looked.sim.time.wall()) + 200)
    looked.set("target-2", expires_at=int(looked.sim.time.wall()) - 60)
    found = looked.metrics()
    left = found["vault_asc_target_seconds_left"]
    assert 1000 < left["target-0",] < 1080
    assert left["target-1",] == pytest.approx(200, abs=1)
    assert left["target-2",] == pytest.approx(-60, abs=1)
    assert found["vault_asc_target_alarm"] == {("target-0",): 0, ("target-1",): 1, ("target-2",): 1}
    assert found["vault_asc_target_failures"]["target-1",] == 4
    assert found["vault_asc_target_outcome"]["not written", "target-1"] == 1
    assert found["vault_asc_target_usable_life_seconds"]["target-0",] == 1080
    assert found["vault_asc_host_breaker_open"] == {(HOST,): 0, (VAULT,): 1}
    assert found["vault_asc_host_clock_skew_seconds"] == {(HOST,): -42.5}
    assert found["vault_asc_attempts_total"]["live",] == 3
    assert found["vault_asc_targets"] == {("key-0",): 2, ("key-1",): 1}
    assert found["vault_asc_capacity_targets"]["key-1",] > 100
    assert found["vault_asc_workers"][()] == 32
    assert found["vault_asc_oldest_attempt_seconds"][()] == 0
    assert found["vault_asc_log_lines_lost_total"][()] == 0
    assert "process_resident_memory_bytes" in found


def test_attempts_are_counted_by_how_they_ended() -> None:
    sim = Simulation(1, fault=lambda _target, _now: "outage")
    with looked_at(sim) as looked:
        sim.run(30, looked.service)
        assert looked.metrics()["vault_asc_attempts_total"]["not written",] == sim.attempts["target-0"] >= 3


def test_an_attempt_that_hangs_is_told_and_seen() -> None:
    sim = Simulation(2, hole=300, fault=lambda target, _: "hole" if target.name == "target-1" else None)
    with looked_at(sim) as looked:
        sim.run(70, looked.service)
        assert looked.metrics()["vault_asc_oldest_attempt_seconds"][()] == pytest.approx(70, abs=6)
        events = until(lambda: [event for event in looked.events if event.name == "attempt hangs"], "an event")
        assert [event.target for event in events] == ["target-1"]
        assert looked.get("/healthz").status == 200, "the others go on"


def test_a_target_without_a_token_has_none_left_and_no_secret_is_in_a_label() -> None:
    with looked_at(Simulation(2)) as looked:
        text = looked.get("/metrics").text
        found = samples(text)
        assert found["vault_asc_target_seconds_left"]["target-0",] == 0
        assert found["vault_asc_target_outcome"]["never pushed", "target-0"] == 1
        labels = {name for family in found.values() for name in family}
        assert all(len(value) < 40 for values in labels for value in values)
        assert looked.document()["targets"][0]["left"] is None


def test_label_values_are_escaped(looked: Looked) -> None:
    hostile = 'a"} 1\nfake_metric{x="\\'
    tracks = looked.service.roster.tracks
    tracks["target-0"].target = tracks["target-0"].target._replace(name=hostile)
    found = looked.metrics()
    assert (hostile,) in found["vault_asc_target_seconds_left"]
    assert "fake_metric" not in found


def test_a_document_holds_no_secret_even_if_a_detail_does(looked: Looked) -> None:
    looked.set("target-0", detail="refused: hvs." + "A" * 24 + " \x1b[31m\u202e", failures=1)
    reply = looked.get("/status.json")
    assert "hvs." not in reply.text
    assert reply.text.isascii()
    assert "\x1b" not in reply.text


def test_many_targets_are_scraped() -> None:
    many = effort(20_000, 4_000)
    with looked_at(Simulation(many)) as looked:
        found = looked.metrics()
        assert len(found["vault_asc_target_seconds_left"]) == many
        assert len(looked.document()["targets"]) == many


def test_who_asks_at_the_same_time_shares_an_answer(looked: Looked) -> None:
    made = {looked.get("/metrics").text for _ in range(5)}
    assert len(made) <= 2


def test_a_bug_in_what_is_shown_is_answered_and_told_by_its_class_alone(looked: Looked) -> None:
    looked.service.roster.tracks["target-0"].state = None  # type: ignore[assignment]
    reply = looked.get("/status.json")
    assert (reply.status, reply.text) == (500, "internal error\n")
    [event] = [event for event in looked.events if event.name == "listener failed"]
    assert event.facts == {"detail": "internal error (AttributeError)"}
    assert looked.get("/healthz").status == 200


# --- what is refused -----------------------------------------------------------------------------------------------


def test_every_answer_closes_and_is_not_kept_and_the_page_may_only_ask_its_origin(looked: Looked) -> None:
    for path in ("/", "/healthz", "/metrics", "/status.json", "/nothing"):
        headers = looked.get(path).headers
        assert headers["Connection"] == "close"
        assert headers["Cache-Control"] == "no-store"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "Server" not in headers
        assert "Access-Control-Allow-Origin" not in headers
    policy = looked.get("/").headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    assert looked.get("/?from=somewhere").status == 200


@pytest.mark.parametrize("path", ["/nothing", "/healthz/", "/..", "/%2e%2e/etc/passwd", "/page.html", "/metrics/x"])
def test_there_are_no_other_paths(looked: Looked, path: str) -> None:
    assert looked.get(path).status == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PATCH", "BREW"])
def test_nothing_can_be_done_but_to_look(looked: Looked, method: str) -> None:
    reply = looked.get("/metrics", method)
    assert (reply.status, reply.headers["Allow"]) == (405, "GET, HEAD")


def test_head_has_the_length_and_no_body(looked: Looked) -> None:
    reply = looked.get("/healthz", "HEAD")
    assert (reply.status, reply.headers["Content-Length"], reply.text) == (200, "3", "")


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:9411", "127.0.0.1.evil.example", "localhost.evil", "", "[::2]:1"]
)
def test_a_name_that_was_made_to_lead_here_is_refused(looked: Looked, host: str) -> None:
    reply = looked.get("/status.json", headers={"Host": host})
    assert reply.status == 421
    assert "localhost or a loopback address, also behind a proxy" in reply.text
    assert not host or host not in reply.text


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8080", "127.0.0.1", "127.0.0.1:1", "[::1]:9411"])
def test_names_of_this_machine_are_not(looked: Looked, host: str) -> None:
    assert looked.get("/healthz", headers={"Host": host}).status == 200


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /healthz HTTP/1.1\r\n\r\n", b"421"),
        (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", b"421"),
        (b"GET http://127.0.0.1/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", b"404"),
        (b"GET /healthz HTTP/2.0\r\nHost: localhost\r\n\r\n", b"505"),
        (b"GET /healthz HTTP/1.1 x\r\nHost: localhost\r\n\r\n", b"400"),
        (b"nonsense\r\n\r\n", b"400"),
        (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", b"400"),
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", b"431"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 300 + b"\r\n", b"431"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 9000 + b"\r\n\r\n", b"431"),
    ],
)  # fmt: skip
def test_odd_requests_are_refused_in_a_word(looked: Looked, request_: bytes, status: bytes) -> None:
    answer = raw(looked, request_)
    assert answer.split(b" ", 2)[1] == status
    assert b"nonsense" not in answer
    assert b"aaaa" not in answer


def test_an_old_or_broken_off_request_gets_nothing_of_interest(looked: Looked) -> None:
    assert b"vault" not in raw(looked, b"GET /status.json\r\n\r\n")
    assert raw(looked, b"GET / HTTP/1.1\r\nHost: local") == b""
    assert raw(looked, b"") == b""


def test_one_request_a_connection(looked: Looked) -> None:
    one = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n"
    assert raw(looked, one, one).count(b"HTTP/1.1") == 1


def test_who_is_slow_is_let_go_and_who_holds_all_threads_keeps_nobody_out_for_long(
    looked: Looked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "PATIENCE", 0.5)
    threads = threading.active_count()
    idle = [looked.connect() for _ in range(server.THREADS + 10)]
    try:
        for connection in idle:
            connection.sendall(b"G")
        until(lambda: threading.active_count() > threads, "threads")
        assert threading.active_count() <= threads + server.THREADS
        until(lambda: _answers(looked), "room")
        for connection in idle:
            try:
                assert connection.recv(100) == b""
            except ConnectionError:
                continue
    finally:
        for connection in idle:
            connection.close()
    until(lambda: threading.active_count() <= threads, "threads that have ended")


def test_who_is_quick_is_answered_however_many_are_slow(looked: Looked) -> None:
    idle = [looked.connect() for _ in range(server.THREADS + 8)]
    try:
        for connection in idle:
            connection.sendall(b"G")
        assert all(looked.get("/healthz").status == 200 for _ in range(5))
        assert looked.metrics()
    finally:
        for connection in idle:
            connection.close()


def _answers(looked: Looked) -> bool:
    try:
        return looked.get("/healthz").status == 200
    except OSError:
        return False


def test_a_reader_that_does_not_read_is_let_go(looked: Looked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "PATIENCE", 0.5)
    looked.set("target-0", detail="x" * 20_000_000, failures=1)
    threads = threading.active_count()
    with looked.connect() as connection:
        connection.sendall(b"GET /status.json HTTP/1.1\r\nHost: localhost\r\n\r\n")
        until(lambda: threading.active_count() > threads, "a thread")
        until(lambda: threading.active_count() <= threads, "its end")
    assert looked.get("/healthz").status == 200
    assert not [event for event in looked.events if event.name == "listener failed"]
