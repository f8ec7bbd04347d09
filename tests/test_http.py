import contextlib
import email.utils
import logging
import os
import socket
import ssl
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import hvac
import pytest
import requests
import trustme
from hypothesis import given
from hypothesis import strategies as st

from tests import fault_server
from tests.fault_server import FaultServer
from vault_asc import http
from vault_asc.errors import ConfigError
from vault_asc.http import strict_json
from vault_asc.http.retry import FullJitter

TOKEN = "hvs.SENTINELSENTINELSENTINEL"
QUICK = http.Limits(connect=0.2, total=0.4)
SLACK = http.Limits(connect=5, total=5)  # so that only the deadline of the call itself can end it in time
LATE = 1.0  # what a call may overrun its deadline by


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as one:
        yield one


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> Path:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    return tmp_path / "ca.pem"


@pytest.fixture
def tls_server(authority: trustme.CA) -> Iterator[FaultServer]:
    with FaultServer(tls=serving(authority.issue_cert("localhost"))) as one:
        yield one


def serving(cert: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    cert.configure_cert(context)
    return context


class Waits:
    """In place of sleep and random: notes what was asked for, and returns at once."""

    def __init__(self) -> None:
        self.slept: list[float] = []
        self.ranges: list[tuple[float, float]] = []

    def session(self, **options: Any) -> requests.Session:
        return http.session(wait=self.slept.append, uniform=self.uniform, **options)

    def uniform(self, low: float, high: float) -> float:
        self.ranges.append((low, high))
        return high * 0.75


@pytest.fixture
def waits() -> Waits:
    return Waits()


def failure(call: Callable[[], object]) -> http.CallError:
    """The error of a call, which says nothing that it must not say."""
    with pytest.raises(http.CallError) as caught:
        call()
    exc = caught.value
    shown = "".join(traceback.format_exception(exc)) + repr(exc) + http.explain(exc)
    assert TOKEN not in shown
    assert "\n" not in http.explain(exc)
    for one in (exc, exc.__cause__, exc.__context__):
        assert getattr(one, "request", None) is None
        assert getattr(one, "response", None) is None
    return exc


def get(session: requests.Session, url: str, **options: Any) -> requests.Response:
    return session.get(url, headers={"X-Vault-Token": TOKEN}, **options)


# -- it works ------------------------------------------------------------------------------------------------------


def test_a_plain_call(server: FaultServer) -> None:
    with http.session() as session:
        answer = session.post(f"{server.url}/ok", json={"a": 1}, params={"q": "1"})
        assert answer.json() == {"ok": True}
        assert session.get(f"{server.url}/ok").json() == {"ok": True}
    assert server.connections == 1, "the connection is used again"
    first = server.requests[0]
    assert (first.method, first.path, first.body) == ("POST", "/ok?q=1", b'{"a": 1}')
    assert first.headers["accept-encoding"] == "identity"
    assert first.headers["user-agent"].startswith("vault-asc/")


def test_cookies_are_not_kept(server: FaultServer) -> None:
    with http.session() as session:
        session.get(f"{server.url}/cookie")
        session.get(f"{server.url}/ok")
    assert "cookie" not in server.requests[1].headers


def test_a_head_has_no_body_and_says_so_as_hvac_expects(server: FaultServer) -> None:
    with http.session() as session, pytest.raises(ValueError, match="no body"):
        session.head(f"{server.url}/ok").json()


def test_two_threads_share_a_session_with_deadlines_of_their_own(server: FaultServer) -> None:
    took: dict[str, float] = {}

    def call(name: str, seconds: float) -> None:
        started = time.monotonic()
        with http.within(http.Deadline.after(seconds)), contextlib.suppress(http.DeadlineExceededError):
            session.get(f"{server.url}/drip")
        took[name] = time.monotonic() - started

    with http.session() as session:
        threads = [threading.Thread(target=call, args=one) for one in (("short", 0.2), ("long", 0.8))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert took["short"] == pytest.approx(0.2, abs=0.3)
    assert took["long"] == pytest.approx(0.8, abs=0.3)


# -- redirects -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_redirect_is_refused_and_its_target_never_asked(server: FaultServer, status: int, method: str) -> None:
    with FaultServer("127.0.0.2") as other, http.session(limits=QUICK) as session:
        location = quote(f"{other.url}/secret/path?token={TOKEN}", safe="")
        url = f"{server.url}/redirect/{status}/{location}"
        exc = failure(
            lambda: session.request(method, url, headers={"X-Vault-Token": TOKEN}, allow_redirects=True, data=b"body")
        )
        assert isinstance(exc, http.RedirectRefusedError)
        assert str(exc) == f'redirect to host "127.0.0.2" refused ("127.0.0.1:{server.port}")'
        assert (other.connections, len(server.requests)) == (0, 1)


def test_hvac_follows_no_redirect_either(server: FaultServer) -> None:
    with FaultServer("127.0.0.2") as other, http.session() as session:
        client = hvac.Client(
            url=f"{server.url}/redirect/307/{quote(other.url, safe='')}#", token=TOKEN, session=session, verify=False
        )
        exc = failure(lambda: client.adapter.get("x"))
        assert isinstance(exc, http.RedirectRefusedError)
        assert other.connections == 0


@pytest.mark.parametrize("location", ["", "/elsewhere", "http://[::1", "//evil\x1b[2J.example/", "x" * 5000])
def test_an_odd_location_is_refused_in_one_clean_line(server: FaultServer, location: str) -> None:
    with http.session() as session:
        exc = failure(lambda: get(session, f"{server.url}/redirect/302/{quote(location, safe='')}"))
    assert isinstance(exc, http.RedirectRefusedError)
    assert str(exc).isprintable()
    assert len(str(exc)) < 200


# -- TLS -----------------------------------------------------------------------------------------------------------

SKIP_VERIFY = ("VAULT_SKIP_VERIFY", "BAO_SKIP_VERIFY", "NEXLA_SKIP_VERIFY")


def _wrong_ca(_authority: trustme.CA) -> ssl.SSLContext:
    return serving(trustme.CA().issue_cert("localhost"))


def _wrong_host(authority: trustme.CA) -> ssl.SSLContext:
    return serving(authority.issue_cert("vault.example"))


def _expired(authority: trustme.CA) -> ssl.SSLContext:
    return serving(authority.issue_cert("localhost", not_after=datetime.now(UTC) - timedelta(hours=1)))


def _self_signed(_authority: trustme.CA) -> ssl.SSLContext:
    own = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with own.private_key_pem.tempfile() as key, own.cert_pem.tempfile() as cert:
        context.load_cert_chain(cert, key)
    return context


def test_tls_with_the_right_certificate(tls_server: FaultServer, ca_file: Path) -> None:
    with http.session(ca_file=ca_file) as session:
        assert session.get(f"{tls_server.url}/ok").json() == {"ok": True}
        assert session.get(f"{tls_server.url}/ok", verify=False).json() == {"ok": True}
    assert tls_server.connections == 1


@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize(
    ("context", "reason"),
    [
        (_wrong_ca, "unable to get local issuer certificate"),
        (_wrong_host, "Hostname mismatch"),
        (_expired, "certificate has expired"),
        (_self_signed, "self-signed certificate"),
    ],
)
def test_a_certificate_that_is_not_trusted_is_refused(
    authority: trustme.CA,
    ca_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    waits: Waits,
    context: Callable[[trustme.CA], ssl.SSLContext],
    reason: str,
    skip: bool,
) -> None:
    if skip:
        for name in SKIP_VERIFY:
            monkeypatch.setenv(name, "true")
    with FaultServer(tls=context(authority)) as one, waits.session(ca_file=ca_file) as session:
        exc = failure(lambda: get(session, f"{one.url}/ok", verify=not skip))
        assert isinstance(exc, http.CertificateError)
        assert str(exc).startswith("certificate not trusted: ")
        assert reason in str(exc)
        assert not http.was_sent(exc)
        assert (one.requests, one.connections, waits.slept) == ([], 1, [])


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"])
def test_the_environment_adds_no_certificates(
    tls_server: FaultServer, ca_file: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, str(ca_file))
    with http.session() as session:
        assert isinstance(failure(lambda: get(session, f"{tls_server.url}/ok")), http.CertificateError)


def test_ca_file_replaces_the_public_certificates(tls_server: FaultServer, ca_file: Path) -> None:
    with http.session(ca_file=ca_file) as session:
        assert session.get(f"{tls_server.url}/ok").ok
        adapter: Any = session.get_adapter("https://")
        assert adapter._tls.cert_store_stats()["x509"] == 1


def test_no_key_log_is_written(
    tls_server: FaultServer, ca_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys.log"))
    with http.session(ca_file=ca_file) as session:
        assert session.get(f"{tls_server.url}/ok").ok
    assert not (tmp_path / "keys.log").exists()


def test_old_tls_is_refused(authority: trustme.CA, ca_file: Path) -> None:
    context = serving(authority.issue_cert("localhost"))
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.deprecated_call():
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with FaultServer(tls=context) as one, http.session(ca_file=ca_file, limits=http.Limits(attempts=1)) as session:
        exc = failure(lambda: get(session, f"{one.url}/ok"))
        assert str(exc) == f'TLS connection failed ("localhost:{one.port}")'


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_ca_file_that_is_none_is_a_configuration_error(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "bad.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match="cannot be used") as caught:
        http.session(ca_file=path)
    assert caught.value.hint


# -- environment ---------------------------------------------------------------------------------------------------


def test_a_proxy_of_the_environment_sees_nothing(
    server: FaultServer, tls_server: FaultServer, ca_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FaultServer() as proxy, http.session(ca_file=ca_file) as session:
        for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)
        for one in (server, tls_server):
            assert session.get(f"{one.url}/ok", proxies={"http": proxy.url, "https": proxy.url}).ok
        assert (proxy.connections, proxy.received) == (0, 0)


def test_netrc_changes_no_header(server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HOME", str(tmp_path))
    with http.session() as session:
        session.get(f"{server.url}/ok", headers={"Authorization": "Bearer wanted"})
        session.get(f"{server.url}/ok")
    assert server.requests[0].headers["authorization"] == "Bearer wanted"
    assert "authorization" not in server.requests[1].headers


# -- deadlines -----------------------------------------------------------------------------------------------------

SLOW = ["silent", "drip", "drip-header", "continue"]


@pytest.mark.parametrize("fault", SLOW)
@pytest.mark.parametrize("kind", ["tcp", "tls", "unix"])
def test_a_slow_answer_ends_at_the_deadline(
    authority: trustme.CA, ca_file: Path, tmp_path: Path, fault: str, kind: str
) -> None:
    tls = serving(authority.issue_cert("localhost")) if kind == "tls" else None
    unix = tmp_path / "s" if kind == "unix" else None
    with FaultServer(tls=tls, unix=unix) as one, http.session(ca_file=ca_file, limits=SLACK) as session:
        assert session.get(f"{one.url}/ok").ok  # so that the slow call comes over a pooled connection
        started = time.monotonic()
        exc = failure(lambda: get(session, f"{one.url}/{fault}", timeout=0.4))
        took = time.monotonic() - started
        assert one.connections == 1
    assert isinstance(exc, http.DeadlineExceededError)
    assert str(exc).startswith("no answer within 0.4 s (")
    assert http.was_sent(exc)
    assert 0.3 <= took <= 0.4 + LATE


def test_a_stalled_tls_handshake_counts_as_no_connection(ca_file: Path) -> None:
    with FaultServer(mute=True) as one, http.session(ca_file=ca_file, limits=QUICK) as session:
        started = time.monotonic()
        exc = failure(lambda: get(session, f"https://localhost:{one.port}/ok"))
        assert time.monotonic() - started <= 0.4 + LATE
    assert "no connection within 0.2 s" in str(exc) or "no answer within 0.4 s" in str(exc)
    assert not http.was_sent(exc)


@pytest.fixture
def black_hole() -> Iterator[str]:
    with fault_server.black_hole() as url:
        yield url


def test_a_black_hole_ends_at_the_connect_limit(black_hole: str, waits: Waits) -> None:
    with waits.session(limits=http.Limits(connect=0.2, total=5)) as session:
        started = time.monotonic()
        exc = failure(lambda: session.post(f"{black_hole}/ok", data=b"x"))
        took = time.monotonic() - started
    assert isinstance(exc, http.UnreachableError)
    assert "no connection within 0.2 s" in str(exc)
    assert not http.was_sent(exc)
    assert len(waits.slept) == 2, "a request that was not sent is repeated, a POST too"
    assert 0.5 <= took <= 2


def test_a_slow_name_server_ends_at_the_connect_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    real, done = socket.getaddrinfo, threading.Event()

    def slow(host: str, *arguments: Any, **options: Any) -> Any:
        if host == "slow.example" and not options.get("flags"):
            done.wait(3)
        if host == "slow.example":
            raise socket.gaierror(socket.EAI_AGAIN, "no answer")
        return real(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    with http.session(limits=http.Limits(connect=0.2, total=5, attempts=1)) as session:
        started = time.monotonic()
        exc = failure(lambda: session.get("http://slow.example/"))
        assert time.monotonic() - started < 1
    done.set()
    assert str(exc) == 'no connection within 0.2 s ("slow.example:80")'


def test_the_second_address_of_a_name_gets_its_share_of_time(
    server: FaultServer, black_hole: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, real = int(black_hole.rpartition(":")[2]), socket.getaddrinfo

    def two(host: str, *arguments: Any, **options: Any) -> Any:
        if host != "two.example":
            return real(host, *arguments, **options)
        if options.get("flags"):
            raise socket.gaierror(socket.EAI_NONAME, "a name")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in (first, server.port)]

    monkeypatch.setattr(socket, "getaddrinfo", two)
    with http.session(limits=http.Limits(connect=0.6, total=5, attempts=1)) as session:
        started = time.monotonic()
        assert session.get("http://two.example/ok").ok
        assert time.monotonic() - started < 0.5


@pytest.mark.parametrize("kind", ["tcp", "tls"])
def test_a_request_that_nobody_reads_ends_at_the_deadline(authority: trustme.CA, ca_file: Path, kind: str) -> None:
    tls = serving(authority.issue_cert("localhost")) if kind == "tls" else None
    with FaultServer(tls=tls, deaf=True) as one, http.session(ca_file=ca_file, limits=SLACK) as session:
        assert session.get(f"{one.url}/ok").ok
        started = time.monotonic()
        exc = failure(lambda: session.put(f"{one.url}/ok", data=bytes(32 << 20), timeout=0.4))
        assert time.monotonic() - started <= 0.4 + LATE
        assert one.connections == 1
    assert isinstance(exc, http.DeadlineExceededError)
    assert http.was_sent(exc)


def test_scopes_and_timeouts_only_shorten(server: FaultServer) -> None:
    with http.session(limits=http.Limits(total=0.3)) as session:
        far, near = http.Deadline.after(60), http.Deadline.after(0.2)
        with http.within(near), http.within(far):
            assert "no answer within 0.2 s" in str(failure(lambda: get(session, f"{server.url}/silent", timeout=30)))
        with http.within(far):
            assert "no answer within 0.3 s" in str(failure(lambda: get(session, f"{server.url}/silent", timeout=30)))
        assert "no answer within 0.1 s" in str(failure(lambda: get(session, f"{server.url}/silent", timeout=0.1)))


def test_no_time_left_means_no_request(server: FaultServer) -> None:
    with http.session() as session, http.within(http.Deadline.after(-1)):
        exc = failure(lambda: get(session, f"{server.url}/ok"))
    assert isinstance(exc, http.DeadlineExceededError)
    assert not http.was_sent(exc)
    assert server.connections == 0


# -- size ----------------------------------------------------------------------------------------------------------


def resident() -> int:
    """Bytes of this process in memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        ("huge", "answer larger than 1 MiB"),
        ("huge-503", "answer larger than 1 MiB"),
        ("gzip", "answer is compressed"),
        ("gzipbomb", "answer is compressed"),
        ("long-trailer", "answer is not HTTP"),
    ],
)
def test_a_huge_answer_is_cut(server: FaultServer, waits: Waits, fault: str, text: str) -> None:
    with waits.session() as session:
        session.get(f"{server.url}/ok")
        before, started = resident(), time.monotonic()
        exc = failure(lambda: get(session, f"{server.url}/{fault}"))
        assert resident() - before < 20 << 20
        assert time.monotonic() - started < 5
    assert text in str(exc)


def test_the_limit_is_the_limit(server: FaultServer) -> None:
    with http.session(limits=http.Limits(body=1000)) as session:
        assert len(session.get(f"{server.url}/json/{'1' * 1000}").content) == 1000
        exc = failure(lambda: get(session, f"{server.url}/json/{'1' * 1001}"))
    assert isinstance(exc, http.AnswerTooLargeError)
    assert str(exc) == f'answer larger than 1000 bytes ("127.0.0.1:{server.port}")'


# -- answers that are none -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "kind", "text"),
    [
        ("trunc", http.BadAnswerError, "answer cut short"),
        ("trunc-chunk", http.BadAnswerError, "answer cut short"),
        ("garbage", http.BadAnswerError, "answer is not HTTP"),
        ("headers", http.BadAnswerError, "answer is not HTTP"),
        ("rst", http.UnreachableError, "connection reset"),
        ("rst-body", http.UnreachableError, "connection reset"),
    ],
)
@pytest.mark.parametrize(("method", "tries"), [("GET", 3), ("POST", 1)])
def test_a_broken_answer_is_named_and_repeated_only_where_that_is_safe(
    server: FaultServer, waits: Waits, fault: str, kind: type[http.CallError], text: str, method: str, tries: int
) -> None:
    with waits.session() as session:
        exc = failure(lambda: session.request(method, f"{server.url}/{fault}", headers={"X-Vault-Token": TOKEN}))
    assert isinstance(exc, kind)
    assert str(exc) == f'{text} ("127.0.0.1:{server.port}")'
    assert http.was_sent(exc)
    assert len(server.requests) == tries
    assert len(waits.slept) == tries - 1


HOSTILE = {
    "not JSON": ["{", "[1,]", "{'a': 1}", "nul", "<html>", "\ufeff{}"],
    "not UTF-8": ['"\udcff"'],
    "nested too deep": ["[" * 33 + "]" * 33, '{"a":' * 33 + "1" + "}" * 33, "[" * 100_000, "[" * 500 + "]" * 500],
    "a number that is not finite": ["NaN", "[Infinity]", "-Infinity", "1e999", "[-1e400]"],
    "an object with the same key twice": ['{"a": 1, "a": 1}', '[{"b": {"c": 1, "c": 2}}]'],
    "an integer beyond 2**53": [str(2**53 + 1), str(-(2**53) - 1), "9" * 5000, "[1" + "0" * 30 + "]"],
}


@pytest.mark.parametrize(("reason", "text"), [(why, text) for why, texts in HOSTILE.items() for text in texts])
def test_json_that_is_refused(reason: str, text: str) -> None:
    with pytest.raises(strict_json.StrictJSONError) as caught:
        strict_json.loads(text.encode("utf-8", "surrogateescape"))
    assert str(caught.value) == reason
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None, "json's own error carries the document"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[" * 32 + "]" * 32, None),
        (str(2**53), 2**53),
        (str(-(2**53)), -(2**53)),
        ('{"a": 1.5, "b": [true, null]}', {"a": 1.5, "b": [True, None]}),
        ('"ä"', "ä"),
    ],
)
def test_json_that_is_taken(text: str, value: object) -> None:
    taken = strict_json.loads(text.encode())
    assert value is None or taken == value


@given(st.recursive(st.none() | st.booleans() | st.text() | st.integers(-(2**53), 2**53), st.lists, max_leaves=20))
def test_json_survives_the_way_there_and_back(value: object) -> None:
    import json

    assert strict_json.loads(json.dumps(value).encode()) == value


@given(st.binary(max_size=60))
def test_no_bytes_bring_another_error(document: bytes) -> None:
    with contextlib.suppress(strict_json.StrictJSONError):
        strict_json.loads(document)


@pytest.mark.parametrize("fault", ["json/NaN", "empty", "html", f"json/{quote('[' * 5000)}"])
def test_hvac_lets_the_named_error_through_instead_of_the_raw_answer(server: FaultServer, fault: str) -> None:
    with http.session() as session:
        client = hvac.Client(url=server.url, token=TOKEN, session=session)
        exc = failure(lambda: client.adapter.get(fault))
        assert isinstance(exc, http.BadJSONError)
        assert isinstance(exc, requests.exceptions.InvalidJSONError)
        assert isinstance(failure(lambda: session.get(f"{server.url}/{fault}").json()), http.BadJSONError)


@pytest.mark.parametrize("body", ["[]", '"text"', "{", "NaN"])
def test_hvac_survives_an_error_answer_that_is_no_object(server: FaultServer, body: str) -> None:
    with http.session() as session:
        client = hvac.Client(url=server.url, token=TOKEN, session=session)
        with pytest.raises(hvac.exceptions.InternalServerError):
            client.adapter.get(f"error-json/{quote(body)}")


# -- retries -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "statuses", "tries", "last"),
    [
        ("GET", "503,503,200", 3, 200),
        ("LIST", "429,200", 2, 200),
        ("GET", "502,504,503", 3, 503),
        ("GET", "500,200", 1, 500),
        ("GET", "403,200", 1, 403),
        ("POST", "503,200", 1, 503),
        ("PUT", "503,200", 1, 503),
        ("DELETE", "503,200", 1, 503),
    ],
)
def test_statuses_that_are_repeated(
    server: FaultServer, waits: Waits, method: str, statuses: str, tries: int, last: int
) -> None:
    with waits.session(limits=http.Limits(total=100)) as session:
        answer = session.request(method, f"{server.url}/status/{statuses}")
    assert answer.status_code == last
    assert len(server.requests) == tries
    assert waits.slept == [0.75, 1.5][: tries - 1]
    assert waits.ranges == [(0, 1), (0, 2)][: tries - 1]


def test_a_method_can_be_declared_repeatable(server: FaultServer, waits: Waits) -> None:
    with waits.session(retry_methods=http.SAFE_METHODS | {"PUT"}) as session:
        assert session.put(f"{server.url}/status/503,200", data=b"whole").ok
    assert [one.body for one in server.requests] == [b"whole", b"whole"]


def test_the_pause_grows_to_its_cap(server: FaultServer, waits: Waits) -> None:
    with waits.session(limits=http.Limits(total=1000, attempts=9)) as session:
        session.get(f"{server.url}/status/503")
    assert [high for _, high in waits.ranges] == [1, 2, 4, 8, 16, 32, 60, 60]


def test_one_attempt_means_one(server: FaultServer, waits: Waits) -> None:
    with waits.session(limits=http.Limits(attempts=1)) as session:
        assert session.get(f"{server.url}/status/503,200").status_code == 503
        failure(lambda: get(session, f"{server.url}/rst"))
    assert (len(server.requests), waits.slept) == (2, [])


@pytest.mark.parametrize(
    ("value", "low", "high"),
    [
        ("2", 2, 2),
        (" 7 ", 7, 7),
        ("99999999", 120, 120),
        *((garbage, 0.75, 0.75) for garbage in ("abc", "", "-5", "0", "9" * 5000, "Wed, 99 Foo 2026 99:99:99 GMT")),
    ],
)
def test_retry_after(server: FaultServer, waits: Waits, value: str, low: float, high: float) -> None:
    with waits.session(limits=http.Limits(total=1000)) as session:
        assert session.get(f"{server.url}/retry-after/{quote(value)}").ok
    assert len(waits.slept) == 1
    assert low <= waits.slept[0] <= high


@pytest.mark.parametrize(("ahead", "low", "high"), [(30, 25, 30), (-30, 0.75, 0.75), (10**6, 120, 120)])
def test_retry_after_as_a_date(server: FaultServer, waits: Waits, ahead: int, low: float, high: float) -> None:
    value = email.utils.formatdate(time.time() + ahead, usegmt=True)
    with waits.session(limits=http.Limits(total=1000)) as session:
        assert session.get(f"{server.url}/retry-after/{quote(value)}").ok
    assert low <= waits.slept[0] <= high


@given(st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=40))
def test_no_retry_after_brings_an_error(value: str) -> None:
    import urllib3

    seconds = FullJitter(1).get_retry_after(urllib3.HTTPResponse(headers={"Retry-After": value}))
    assert seconds is None or 0 <= seconds <= 120


def test_a_pause_beyond_the_deadline_gives_the_answer_at_once(server: FaultServer, waits: Waits) -> None:
    with waits.session(limits=http.Limits(total=5)) as session:
        assert session.get(f"{server.url}/retry-after/60").status_code == 429
    assert (len(server.requests), waits.slept) == (1, [])


def test_a_pause_beyond_the_deadline_gives_the_error_at_once(server: FaultServer, waits: Waits) -> None:
    with waits.session(limits=http.Limits(total=0.5)) as session:
        assert "connection reset" in str(failure(lambda: get(session, f"{server.url}/rst")))
    assert (len(server.requests), waits.slept) == (1, [])


def test_a_refused_connection_is_repeated_for_every_method(waits: Waits) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with waits.session() as session:
            exc = failure(lambda: session.post(f"http://127.0.0.1:{closed.getsockname()[1]}/", data=b"x"))
    assert str(exc).startswith('connection refused ("127.0.0.1:')
    assert isinstance(exc.__cause__, ConnectionRefusedError)
    assert not http.was_sent(exc)
    assert waits.slept == [0.75, 1.5]


def test_a_write_that_was_sent_once_is_remembered_as_sent(waits: Waits) -> None:
    with FaultServer() as one, http.session(retry_methods=frozenset({"PUT"}), wait=waits.slept.append) as session:
        session.get(f"{one.url}/ok")

        def stop(_seconds: float) -> None:
            one.__exit__(None, None, None)  # from the second try on nobody listens

        with http.session(retry_methods=frozenset({"PUT"}), wait=stop) as unlucky:
            exc = failure(lambda: unlucky.put(f"{one.url}/rst", data=b"x"))
    assert "connection refused" in str(exc)
    assert http.was_sent(exc)


def test_a_tls_connection_that_breaks_after_the_request_repeats_no_write(
    tls_server: FaultServer, ca_file: Path, waits: Waits
) -> None:
    with waits.session(ca_file=ca_file) as session:
        exc = failure(lambda: session.post(f"{tls_server.url}/rst", data=b"x"))
    assert http.was_sent(exc)
    assert (len(tls_server.requests), waits.slept) == (1, [])


# -- unix sockets --------------------------------------------------------------------------------------------------


def test_addresses_become_what_requests_takes() -> None:
    assert http.base_url("https://vault.example:8200") == "https://vault.example:8200"
    assert http.base_url("http://127.0.0.1:8200") == "http://127.0.0.1:8200"
    assert http.base_url("unix:///run/Vault asc/a.sock") == "http+unix://%2Frun%2FVault%20asc%2Fa.sock"


def test_hvac_over_a_unix_socket_without_a_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_TOKEN", TOKEN)
    path = tmp_path / "With Space" / "Agent.sock"
    path.parent.mkdir()
    with FaultServer(unix=path) as agent, http.session() as session:
        client = hvac.Client(url=http.base_url(f"unix://{path}"), token="", session=session)
        for _ in range(2):
            answer = client.secrets.kv.v2.read_secret_version("asc/keys/prod", raise_on_deleted_version=True)
            assert answer["data"]["data"] == {"field": "value"}
        assert agent.connections == 1
        seen = agent.requests[0]
        assert (seen.method, seen.path) == ("GET", "/v1/secret/data/asc/keys/prod")
        assert seen.headers["x-vault-request"] == "true"
        assert "x-vault-token" not in seen.headers
        assert seen.headers["host"] == "localhost"


def test_two_sockets_are_two_servers(tmp_path: Path) -> None:
    with (
        FaultServer(unix=tmp_path / "a") as lower,
        FaultServer(unix=tmp_path / "A") as upper,
        http.session() as session,
    ):
        for one in (lower, upper, lower):
            assert session.get(f"{one.url}/ok").ok
        assert (len(lower.requests), len(upper.requests)) == (2, 1)


@pytest.mark.parametrize("missing", [True, False])
def test_a_socket_without_a_server(tmp_path: Path, waits: Waits, missing: bool) -> None:
    path = tmp_path / "gone.sock"
    if not missing:
        with socket.socket(socket.AF_UNIX) as left_behind:
            left_behind.bind(str(path))
    with waits.session() as session:
        exc = failure(lambda: get(session, f"{http.base_url(f'unix://{path}')}/v1/x"))
    expected = "socket does not exist" if missing else "connection refused"
    assert str(exc) == f'{expected} ("unix://{path}")'
    assert not http.was_sent(exc)


# -- nothing secret ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("token", [f"{TOKEN}\nX: y", f" {TOKEN}", f"{TOKEN}\N{EURO SIGN}"])
def test_a_token_that_is_no_header_is_not_shown(server: FaultServer, token: str) -> None:
    with http.session() as session:
        exc = failure(lambda: session.get(f"{server.url}/ok", headers={"X-Vault-Token": token}))
    assert isinstance(exc, http.RequestRefusedError)
    assert str(exc) == "a header holds characters that HTTP does not allow"
    assert exc.__context__ is None
    assert not http.was_sent(exc)
    assert server.requests == []


@pytest.mark.parametrize("url", ["nonsense", "ftp://127.0.0.1/x", "http://", "http://[::1/"])
def test_a_url_that_is_none(url: str) -> None:
    with http.session() as session:
        exc = failure(lambda: get(session, f"{url}?q={TOKEN}"))
    assert isinstance(exc, http.RequestRefusedError)


def test_nothing_secret_is_logged_at_debug(
    server: FaultServer,
    waits: Waits,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import http.client as stdlib

    monkeypatch.setattr(stdlib.HTTPConnection, "debuglevel", 1)
    with caplog.at_level(logging.DEBUG), waits.session() as session:
        for fault in ("ok", "status/503,200", "huge"):
            with contextlib.suppress(http.CallError):
                get(session, f"{server.url}/{fault}", params={"q": TOKEN})
        failure(lambda: get(session, f"{server.url}/rst", params={"q": TOKEN}))
        failure(lambda: get(session, "http://127.0.0.1:1/", params={"q": TOKEN}))
    printed = capsys.readouterr()
    assert [one for one in caplog.messages if TOKEN in one or "/status" in one] == []
    assert TOKEN not in printed.out + printed.err


def test_foreign_errors_are_explained_without_their_text() -> None:
    url = f"http://host/path?q={TOKEN}"
    for exc in (requests.Timeout(url), requests.ConnectionError(url), requests.RequestException(url)):
        assert TOKEN not in http.explain(exc)
        assert http.was_sent(exc), "in doubt a write may have happened"


def test_every_error_is_one_that_requests_knows() -> None:
    kinds = {
        http.UnreachableError: requests.ConnectionError,
        http.CertificateError: requests.exceptions.SSLError,
        http.DeadlineExceededError: requests.Timeout,
        http.BadJSONError: requests.exceptions.InvalidJSONError,
    }
    for ours, theirs in kinds.items():
        assert issubclass(ours, theirs)
        assert issubclass(ours, http.CallError)
    assert not issubclass(http.BadJSONError, ValueError), "hvac would swallow it"


def test_the_import_brings_requests_and_nothing_heavier() -> None:
    import subprocess

    code = "import sys, vault_asc.http; print(*{m.partition('.')[0] for m in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert "requests" in loaded
    assert not {"hvac", "jwt", "cryptography", "click", "asyncio"} & set(loaded)
