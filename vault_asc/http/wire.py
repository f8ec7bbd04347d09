"""Connections that keep the deadline and the size limit of the call they serve, over TCP, TLS and unix sockets.

A socket timeout starts anew with every byte that drips in. These sockets set it before every operation to what is left
of the call, and one operation is bounded by CPython as a whole. The body is read here, below urllib3's retry, so that
a body that breaks off counts as a failed try and an endless one is never drained.
"""

import io
import queue
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import urlsplit

from urllib3 import HTTPConnectionPool, HTTPResponse, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NameResolutionError, NewConnectionError

from vault_asc.http.call import current_call
from vault_asc.http.deadline import Deadline
from vault_asc.http.errors import AnswerTooLargeError, BadAnswerError, CallError, RedirectRefusedError
from vault_asc.secret import safe_text

POOL: Final = 64
"""Idle connections that are kept per server: as many as threads may call it at once. Made when they are needed."""
_CHUNK: Final = 1 << 16


class CarriedError(HTTPError):
    """Carries one of our errors up through urllib3, which would wrap and repeat it as the OSError that it is."""

    def __init__(self, error: CallError) -> None:
        super().__init__(str(error))
        self.error = error


class _TimedSocket(socket.socket):
    """A socket whose reads and writes end with the call. These three are all that http.client and ssl use."""

    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        self._arm()
        return super().recv_into(*args, **kwargs)

    def send(self, *args: Any, **kwargs: Any) -> int:
        self._arm()
        return super().send(*args, **kwargs)

    def sendall(self, *args: Any, **kwargs: Any) -> None:
        self._arm()
        super().sendall(*args, **kwargs)

    def _arm(self) -> None:
        left = current_call.get().deadline.left()
        if left <= 0:
            raise TimeoutError("the call is over")
        self.settimeout(left)


class _TimedTLSSocket(_TimedSocket, ssl.SSLSocket):
    """The same above TLS."""


def tls_context(ca_file: str) -> ssl.SSLContext:
    """TLS 1.2 or later, always verified, against the certificates in `ca_file` and no others.

    Not `ssl.create_default_context`: that one obeys SSLKEYLOGFILE, SSL_CERT_FILE and SSL_CERT_DIR.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.hostname_checks_common_name = False
    context.sslsocket_class = _TimedTLSSocket
    context.load_verify_locations(cafile=ca_file)
    return context


class _Connection(HTTPConnection):
    """HTTP over TCP."""

    debuglevel = 0  # whatever somebody set on http.client: from 1 on it prints headers, so tokens

    def _new_conn(self) -> socket.socket:
        call = current_call.get()
        by = call.deadline.sooner(call.policy.limits.connect)
        try:
            sock = self._dial(by)
            sock.settimeout(max(by.left(), 0.001))  # for the TLS handshake; 0 would mean non-blocking
        except socket.gaierror as exc:
            raise NameResolutionError(self.host, self, exc) from exc
        except TimeoutError as exc:
            raise ConnectTimeoutError(self, "no connection in time") from exc
        except OSError as exc:
            raise NewConnectionError(self, "no connection") from exc
        return sock

    def _dial(self, by: Deadline) -> socket.socket:
        found = _resolve(self._dns_host.strip("[]"), self.port, by)
        for position, (family, kind, protocol, _, address) in enumerate(found):
            share = by.left() / (len(found) - position)  # a black hole must not eat the time of the next address
            try:
                return _open(_TimedSocket(family, kind, protocol), address, share, self.socket_options or ())
            except OSError:
                if position == len(found) - 1:
                    raise
        raise socket.gaierror(socket.EAI_NONAME, "no address")

    def send(self, data: Any) -> None:
        """Connect where needed, then write; from here on the server may have got the request."""
        if self.sock is None:
            self.connect()
        current_call.get().sending()
        super().send(data)

    def getresponse(self) -> HTTPResponse:  # type: ignore[override] # urllib3 breaks with http.client the same way
        """The whole answer, body included."""
        answer = super().getresponse()
        current_call.get().answered_at = time.monotonic()
        return _whole(answer)


class _TLSConnection(_Connection, HTTPSConnection):
    """HTTP over TLS."""


class _UnixConnection(_Connection):
    """HTTP over a unix socket; the path travels in the place of the host."""

    def __init__(self, host: str, port: int | None = None, *, socket_path: str, **options: Any) -> None:
        super().__init__(host, port, **options)
        self._socket_path = socket_path

    def _dial(self, by: Deadline) -> socket.socket:
        return _open(_TimedSocket(socket.AF_UNIX, socket.SOCK_STREAM), self._socket_path, by.left(), ())


class Pool(HTTPConnectionPool):
    """Connections to one host and port."""

    ConnectionCls = _Connection


class TLSPool(HTTPSConnectionPool):
    """Connections to one host and port, with TLS."""

    ConnectionCls = _TLSConnection


class UnixPool(HTTPConnectionPool):
    """Connections to one unix socket.

    Args:
        path: absolute path of the socket.
    """

    ConnectionCls = _UnixConnection

    def __init__(self, path: str) -> None:
        super().__init__("localhost", maxsize=POOL, socket_path=path)


def _open(sock: socket.socket, address: Any, seconds: float, options: Any) -> socket.socket:
    try:
        for option in options:
            sock.setsockopt(*option)
        sock.settimeout(max(seconds, 0.001))
        sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return sock


def _resolve(host: str, port: int, by: Deadline) -> list[Any]:
    """Addresses of a host by a deadline. The C library has none, so names are looked up in a thread left behind."""
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        pass  # a name, not a number
    answers: queue.SimpleQueue[list[Any] | OSError] = queue.SimpleQueue()
    threading.Thread(target=_look_up, args=(host, port, answers), daemon=True).start()
    try:
        found = answers.get(timeout=max(by.left(), 0))
    except queue.Empty:
        raise TimeoutError("name not resolved in time") from None
    if isinstance(found, OSError):
        raise found
    return found


def _look_up(host: str, port: int, answers: "queue.SimpleQueue[list[Any] | OSError]") -> None:
    try:
        answers.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    except OSError as exc:
        answers.put(exc)
    except UnicodeError:
        answers.put(socket.gaierror(socket.EAI_NONAME, "no host name"))


def _whole(answer: HTTPResponse) -> HTTPResponse:
    """The answer with its body in memory, or `CarriedError`."""
    call = current_call.get()
    if 300 <= answer.status < 400:  # noqa: PLR2004 -- the class of statuses
        target = _redirect_host(answer.headers.get("Location", ""))
        raise CarriedError(RedirectRefusedError(f'redirect to host "{target}" refused', call.endpoint, sent=True))
    if answer.headers.get("Content-Encoding", "identity").strip().lower() not in {"identity", ""}:
        raise CarriedError(BadAnswerError("answer is compressed, which was not asked for", call.endpoint, sent=True))
    limit = call.policy.limits.body
    body = io.BytesIO()
    for chunk in _chunks(answer):
        if body.tell() + len(chunk) > limit:
            raise CarriedError(AnswerTooLargeError(f"answer larger than {_size(limit)}", call.endpoint, sent=True))
        body.write(chunk)
    body.seek(0)
    return HTTPResponse(
        body=body,
        headers=answer.headers,
        status=answer.status,
        version=answer.version,
        version_string=answer.version_string,
        reason=answer.reason,
        preload_content=False,
        original_response=answer._original_response,  # noqa: SLF001 -- tells urllib3 that the connection is free again
    )


def _chunks(answer: HTTPResponse) -> Iterator[bytes]:
    # read(), never stream(): urllib3's own reader of chunks takes a trailer line of any length.
    while chunk := answer.read(_CHUNK, decode_content=False):
        yield chunk


def _redirect_host(location: str) -> str:
    try:
        return safe_text(urlsplit(location).hostname or "", 80)
    except ValueError:
        return ""


def _size(count: int) -> str:
    for unit, size in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= size and count % size == 0:
            return f"{count // size} {unit}"
    return f"{count} bytes"
