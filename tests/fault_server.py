"""A server that misbehaves on request, over TCP, TLS or a unix socket, and remembers what it was sent.

The first segment of the path picks the fault, what follows are its arguments:

    /ok                          200 {"ok": true}
    /v1/...                      200 and a KV version 2 secret, as Vault answers
    /json/<quoted text>          200 with that text as application/json
    /error-json/<quoted text>    500 with that text as application/json
    /status/503,503,200          these statuses in turn, the last one for ever
    /retry-after/<quoted value>  429 with that header, then 200
    /redirect/<code>/<quoted>    that status with that Location
    /silent /drip /drip-header /continue     never done
    /huge /huge-503 /long-trailer            endless
    /gzip /gzipbomb /headers /trunc /trunc-chunk /garbage /empty /html /cookie /rst /rst-body   one answer each
"""

import contextlib
import gzip
import socket
import ssl
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.parse import quote, unquote

_DRIP: Final = 0.05  # seconds between two bytes
_CHUNK: Final = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"


@dataclass(frozen=True)
class Seen:
    """One request as it came over the wire; header names in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


class FaultServer:
    """Serves until the end of its `with` block. `requests` and `received` (bytes) tell what it was sent.

    A mute server reads and never writes a byte, not even of a TLS handshake; a deaf one reads no second request.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        *,
        unix: Path | None = None,
        tls: ssl.SSLContext | None = None,
        mute: bool = False,
        deaf: bool = False,
    ) -> None:
        self._unix, self._tls, self._host = unix, tls, host
        self._mute, self._deaf = mute, deaf
        self._listener = socket.socket(socket.AF_UNIX if unix else socket.AF_INET)
        self._listener.bind(str(unix) if unix else (host, 0))
        self._listener.listen(16)
        self._stopped = threading.Event()
        self._threads: list[threading.Thread] = []
        self._open: set[socket.socket] = set()
        self._asked: Counter[str] = Counter()
        self.requests: list[Seen] = []
        self.connections = 0
        self.received = 0

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    @property
    def url(self) -> str:
        if self._unix:
            return f"http+unix://{quote(str(self._unix), safe='')}"
        # Certificates are made for the name.
        return f"https://localhost:{self.port}" if self._tls else f"http://{self._host}:{self.port}"

    def __enter__(self) -> Self:
        self._spawn(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for conn in list(self._open):
            with contextlib.suppress(OSError):
                conn.shutdown(socket.SHUT_RDWR)
        for thread in list(self._threads):
            thread.join(5)

    def wait(self, seconds: float = _DRIP) -> bool:
        """Pause a fault; False once the test is over."""
        return not self._stopped.wait(seconds)

    def asked(self, path: str) -> int:
        """How often a path was asked for."""
        return self._asked[path]

    def _spawn(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                conn, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._spawn(self._serve, conn)

    def _serve(self, conn: socket.socket) -> None:
        self._open.add(conn)
        try:
            if self._mute:
                while conn.recv(1 << 16):
                    pass
                return
            if self._tls:
                self._open.discard(conn)
                conn = self._tls.wrap_socket(conn, server_side=True)
                self._open.add(conn)
            while (request := self._read(conn)) is not None and self._answer(conn, request):
                if self._deaf:
                    self._stopped.wait()
        except OSError:
            pass  # the client went away, which many faults make it do
        finally:
            self._open.discard(conn)
            conn.close()

    def _read(self, conn: socket.socket) -> Seen | None:
        head = b""
        while b"\r\n\r\n" not in head:
            if not (data := conn.recv(1 << 16)):
                return None
            self.received += len(data)
            head += data
        head, _, body = head.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, path, _ = first.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        while len(body) < int(headers.get("content-length", "0")):
            if not (data := conn.recv(1 << 16)):
                return None
            body += data
        return Seen(method, path, headers, body)

    def _answer(self, conn: socket.socket, request: Seen) -> bool:
        self.requests.append(request)
        self._asked[request.path] += 1
        _, fault, *arguments = request.path.partition("?")[0].split("/")
        return _FAULTS.get(fault, _NOT_FOUND)(self, conn, request, [unquote(one) for one in arguments])


@contextlib.contextmanager
def black_hole() -> Iterator[str]:
    """An address that swallows connections, as behind a firewall that drops: a listener whose backlog is full."""
    with socket.socket() as listener, contextlib.ExitStack() as stack:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(3):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        time.sleep(0.05)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


Fault = Callable[[FaultServer, socket.socket, Seen, list[str]], bool]
"""Answers one request; True keeps the connection."""


def message(status: int, body: bytes = b"", kind: str = "application/json", **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} X", f"Content-Type: {kind}", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def _ok(_server: FaultServer, conn: socket.socket, request: Seen, _arguments: list[str]) -> bool:
    body = b"" if request.method == "HEAD" else b'{"ok": true}'
    conn.sendall(message(200, body))
    return True


def _json(_server: FaultServer, conn: socket.socket, _request: Seen, arguments: list[str]) -> bool:
    conn.sendall(message(200, arguments[0].encode("utf-8", "surrogateescape")))
    return True


def _error_json(_server: FaultServer, conn: socket.socket, _request: Seen, arguments: list[str]) -> bool:
    conn.sendall(message(500, arguments[0].encode()))
    return True


def _status(server: FaultServer, conn: socket.socket, request: Seen, arguments: list[str]) -> bool:
    statuses = arguments[0].split(",")
    turn = min(server.asked(request.path), len(statuses)) - 1
    conn.sendall(message(int(statuses[turn]), b'{"errors": ["scripted"]}'))
    return True


def _retry_after(server: FaultServer, conn: socket.socket, request: Seen, arguments: list[str]) -> bool:
    if server.asked(request.path) == 1:
        conn.sendall(message(429, b"{}", Retry_After=arguments[0]))
    else:
        conn.sendall(message(200, b'{"ok": true}'))
    return True


def _redirect(_server: FaultServer, conn: socket.socket, _request: Seen, arguments: list[str]) -> bool:
    conn.sendall(message(int(arguments[0]), Location=arguments[1]))
    return True


def _cookie(_server: FaultServer, conn: socket.socket, _request: Seen, _arguments: list[str]) -> bool:
    conn.sendall(message(200, b"{}", Set_Cookie="session=tracked; Path=/"))
    return True


def _fixed(data: bytes, *, keep: bool = False) -> Fault:
    def answer(_server: FaultServer, conn: socket.socket, _request: Seen, _arguments: list[str]) -> bool:
        conn.sendall(data)
        return keep

    return answer


def _endless(start: bytes, piece: bytes, pause: float = 0.0) -> Fault:
    def answer(server: FaultServer, conn: socket.socket, _request: Seen, _arguments: list[str]) -> bool:
        conn.sendall(start)
        while server.wait(pause):
            conn.sendall(piece)
        return False

    return answer


def _reset(start: bytes = b"") -> Fault:
    def answer(_server: FaultServer, conn: socket.socket, _request: Seen, _arguments: list[str]) -> bool:
        conn.sendall(start)
        # Closed with this option, the connection ends in a reset in place of an orderly end.
        conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return False

    return answer


def _chunked(status: int) -> bytes:
    return f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n".encode()


_KV_SECRET: Final = b'{"data": {"data": {"field": "value"}, "metadata": {"version": 1}}}'
_BOMB: Final = gzip.compress(bytes(30 << 20))
_CUT: Final = b'HTTP/1.1 200 X\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"a": '
_MANY: Final = b"HTTP/1.1 200 X\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(200)) + b"Content-Length: 0\r\n\r\n"

_NOT_FOUND: Final = _fixed(message(404, b"{}"), keep=True)
_FAULTS: Final[dict[str, Fault]] = {
    "ok": _ok,
    "v1": _fixed(message(200, _KV_SECRET), keep=True),
    "json": _json,
    "error-json": _error_json,
    "status": _status,
    "retry-after": _retry_after,
    "redirect": _redirect,
    "cookie": _cookie,
    "silent": _endless(b"", b"", 0.2),
    "drip": _endless(b"HTTP/1.1 200 X\r\nContent-Length: 100000\r\n\r\n", b" ", _DRIP),
    "drip-header": _endless(b"HTTP/1.1 200 X\r\nX-Long: ", b"y", _DRIP),
    "continue": _endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.001),
    "huge": _endless(_chunked(200), _CHUNK),
    "huge-503": _endless(_chunked(503), _CHUNK),
    "long-trailer": _endless(_chunked(200) + b"0\r\nX-Trailer: ", b"y" * 0x10000),
    "gzip": _fixed(message(200, gzip.compress(b'{"ok": true}'), Content_Encoding="gzip")),
    "gzipbomb": _fixed(message(200, _BOMB, Content_Encoding="gzip")),
    "headers": _fixed(_MANY),
    "trunc": _fixed(_CUT),
    "trunc-chunk": _fixed(_chunked(200) + b'10\r\n{"a": '),
    "garbage": _fixed(b"\x16\x03\x01 this is not HTTP at all\r\n\r\n"),
    "empty": _fixed(message(200)),
    "html": _fixed(message(200, b"<html>a proxy's login page</html>", kind="text/html")),
    "rst": _reset(),
    "rst-body": _reset(_CUT),
}
