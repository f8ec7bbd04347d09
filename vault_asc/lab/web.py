"""A small HTTP/1.1 server on 127.0.0.1 for one function from request to answer; it knows no route and no fault.

It keeps connections alive as real servers do, can cut an answer short or drop it, and stops without leaving a thread or
a socket behind.
"""

import json
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from types import MappingProxyType
from typing import Any, Final, cast
from urllib.parse import parse_qsl, urlsplit

_BODY_MAX: Final = 1_000_000  # bytes
_IDLE_SECONDS: Final = 60.0  # a kept-alive connection without a request is closed after this
_POLL_SECONDS: Final = 0.05  # how soon the accepting thread notices a stop
_EMPTY: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Request:
    """One request; its `repr` shows neither query nor headers nor body.

    Attributes:
        method: as sent.
        path: as sent, percent-encoding included, without query.
        query: as sent, without the question mark.
        headers: case-insensitive.
        body: empty when there was none.
    """

    method: str
    path: str
    query: str = field(repr=False)
    headers: Message = field(repr=False)
    body: bytes = field(repr=False)

    def header(self, name: str) -> str | None:
        """The value of a header, repeated ones joined by commas; None when absent."""
        values = self.headers.get_all(name)
        return None if values is None else ", ".join(values)

    def parameters(self) -> dict[str, str]:
        """The decoded query; of a repeated parameter the last value."""
        return dict(parse_qsl(self.query, keep_blank_values=True))

    def below(self, prefix: str) -> "Request | None":
        """The same request with the prefix taken off its path; None when it is not below it."""
        if not self.path.startswith(f"{prefix}/"):
            return None
        return replace(self, path=self.path[len(prefix) :])


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back; `Content-Length` is added from the body.

    Attributes:
        status: HTTP status.
        body: may hold secrets, so it is not shown.
        content_type: None sends no such header.
        headers: further headers.
        sent: bytes of the body that are really sent before the connection dies; None is all of it.
        dropped: nothing at all is sent, the connection is closed.
    """

    status: int
    body: bytes = field(default=b"", repr=False)
    content_type: str | None = "application/json; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=dict)
    sent: int | None = None
    dropped: bool = False

    def plus(self, headers: Mapping[str, str]) -> "Answer":
        """The same answer with these headers, where it does not have them yet."""
        return replace(self, headers={**headers, **self.headers})


DROPPED: Final = Answer(status=0, dropped=True)
"""No answer: the connection is closed."""


def json_answer(status: int, value: Any, headers: Mapping[str, str] = _EMPTY) -> Answer:
    """An answer with a JSON body."""
    return Answer(status, json.dumps(value).encode(), headers=headers)


Respond = Callable[[Request], Answer]


class LocalServer:
    """Serves one `respond` function on a free port of 127.0.0.1, one thread per connection."""

    def __init__(self, respond: Respond) -> None:
        self._respond = respond
        self._listener: _Listener | None = None
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()

    @property
    def url(self) -> str:
        """Where it listens, without a trailing slash; `RuntimeError` before `start()`."""
        if self._listener is None:
            raise RuntimeError("the server was not started, so it has no port yet")
        return f"http://127.0.0.1:{self._listener.server_port}"

    def start(self) -> None:
        """Bind a free port and begin to serve."""
        self._listener = _Listener(self._respond)
        self._thread = threading.Thread(target=self._listener.serve_forever, args=(_POLL_SECONDS,), name="lab-web")
        self._thread.start()

    def wait(self, seconds: float) -> None:
        """Sleep inside a request; a stop ends it at once."""
        self._stopping.wait(seconds)

    def stop(self) -> None:
        """Close listener and connections, then wait for every thread. Safe to call twice, or without a start."""
        self._stopping.set()
        if self._listener is None or self._thread is None:
            return
        self._listener.shutdown()
        self._thread.join()
        self._listener.hang_up()
        self._listener.server_close()


class _Listener(ThreadingHTTPServer):
    """The listening socket; remembers open connections so that idle ones do not hold up a stop."""

    daemon_threads = False  # server_close() then joins them
    request_queue_size = 128

    def __init__(self, respond: Respond) -> None:
        self.respond = respond
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__(("127.0.0.1", 0), _Exchange)

    def server_bind(self) -> None:
        # HTTPServer's own would look up the host's full name, which may ask a name server.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "127.0.0.1", int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        """Wake every thread that waits for its client."""
        with self._lock:
            for connection in self._open:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue  # the client was faster

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)


class _Exchange(BaseHTTPRequestHandler):
    """Reads requests off one connection and writes what `respond` says."""

    protocol_version = "HTTP/1.1"
    server_version = "vault-asc-lab"
    sys_version = ""
    timeout = _IDLE_SECONDS
    disable_nagle_algorithm = True  # head and body are two writes; together they must not wait for an ACK

    def _exchange(self) -> None:
        body = self._body()
        if isinstance(body, Answer):
            self.close_connection = True
            self._send(body)
            return
        parts = urlsplit(self.path)
        request = Request(self.command, parts.path, parts.query, self.headers, body)
        self._send(cast("_Listener", self.server).respond(request))

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _exchange  # noqa: N815 - BaseHTTPRequestHandler's names

    def _body(self) -> bytes | Answer:
        if self.headers.get("Transfer-Encoding") is not None:
            return Answer(411)
        length = self.headers.get("Content-Length", "0")
        if not (length.isascii() and length.isdigit()):
            return Answer(400)
        return self.rfile.read(int(length)) if int(length) <= _BODY_MAX else Answer(413)

    def _send(self, answer: Answer) -> None:
        self.close_connection = self.close_connection or answer.dropped or answer.sent is not None
        if answer.dropped:
            return
        self.send_response(answer.status)
        if answer.content_type is not None and answer.body:
            self.send_header("Content-Type", answer.content_type)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body[: answer.sent])

    def log_message(self, *_: Any) -> None:
        """Nothing: request lines may carry secrets, the journal holds what is safe."""
