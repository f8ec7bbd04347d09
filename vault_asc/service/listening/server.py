"""HTTP for those who look: GET and HEAD, one request a connection, small heads, deadlines, a bounded number of threads.

What hostile neighbours may do here is to keep others from looking. The loop is in another thread and hears of nothing.
"""

import contextlib
import io
import re
import socket
import sys
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer, ThreadingMixIn
from typing import Any, Final, cast

from vault_asc.service.listening.answers import Answer, text

HEAD_MAX: Final = 8192
"""Bytes of a request line and its headers."""
PATIENCE: Final = 5.0
"""Seconds for a whole request to arrive, and for a whole answer to leave."""
THREADS: Final = 16
"""Requests at the same time. When one more comes, who has been here longest has to go."""

_LEAVING: Final = 0.05  # seconds in which the others may end by themselves, so everybody has 16 times as long
_OUT_OF_FILES: Final = 0.1  # seconds to wait when no connection can be accepted, in place of trying for ever
# A page of somebody else's whose name was made to lead here has its own name in this header (DNS rebinding).
_LOCAL: Final = r"(?ai)(?:localhost|127(?:\.[0-9]{1,3}){3}|\[::1\])(?::[0-9]{1,5})?"
_MISDIRECTED: Final = (
    "misdirected request: the Host header has to be localhost or a loopback address, also behind a proxy"
)
_COMMON: Final = {
    "Cache-Control": "no-store",
    "Connection": "close",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

Respond = Callable[[str], Answer]


class Server(ThreadingMixIn, TCPServer):
    """Answers on a socket that listens already, in threads that do not keep the process from ending.

    Args:
        listener: the socket.
        respond: answers a path; an exception of it becomes a 500.
        failed: is told the class of such an exception.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, listener: socket.socket, respond: Respond, failed: Callable[[str], None]) -> None:
        super().__init__(("", 0), _Exchange, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.checks_host = listener.family != socket.AF_UNIX
        self.respond = respond
        self._failed = failed
        self._room = threading.BoundedSemaphore(THREADS)
        self._here: dict[socket.socket, None] = {}  # in the order in which they came
        self._lock = threading.Lock()

    def begin(self) -> None:
        """Serve until `shutdown`, beside the caller."""
        threading.Thread(target=self.serve_forever, args=(0.2,), name="listener", daemon=True).start()

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection."""
        try:
            return super().get_request()
        except OSError:
            time.sleep(_OUT_OF_FILES)
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread, if there is one left."""
        if not self._made_room():
            self.shutdown_request(request)
            return
        with self._lock:
            self._here[request] = None
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._leave(request)
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """One request, in its thread."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._leave(request)

    def _made_room(self) -> bool:
        """Take a place, that of the one who has been here longest if need be: the slow must not keep out the quick."""
        if self._room.acquire(timeout=_LEAVING):
            return True
        with self._lock:
            oldest = next(iter(self._here), None)
            if oldest is not None:
                del self._here[oldest]
        if oldest is not None:
            with contextlib.suppress(OSError):  # it is just leaving
                oldest.shutdown(socket.SHUT_RDWR)
        return self._room.acquire(timeout=_LEAVING)

    def _leave(self, request: socket.socket) -> None:
        with self._lock:
            self._here.pop(request, None)
        self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 -- socketserver's signature
        """Whoever asked has gone away, or there is a bug: neither concerns the service."""
        error = sys.exception()
        if not isinstance(error, OSError):
            self.report(error)

    def report(self, error: BaseException | None) -> None:
        """Tell of a bug, by its class alone."""
        self._failed(type(error).__name__)


class _Exchange(BaseHTTPRequestHandler):
    """One request and its answer. The standard library takes the request apart; what it reads has arrived whole."""

    protocol_version = "HTTP/1.1"
    request_version = protocol_version  # until the request is known, for refusals
    command = requestline = ""

    def setup(self) -> None:
        """Collect the head of the request, and later the answer."""
        self.connection = cast("socket.socket", self.request)
        self.close_connection = True
        head = self._head(time.monotonic() + PATIENCE)
        self.rfile = io.BytesIO(head)
        self.wfile = io.BytesIO()
        self._late = b"\r\n\r\n" not in head

    def handle(self) -> None:
        """Answer one request, then let go of the connection."""
        if not self._late:
            self.handle_one_request()
        elif len(self.rfile.read()) >= HEAD_MAX:
            self.send_error(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    def finish(self) -> None:
        """Send what there is, all of it within the time."""
        self.connection.settimeout(PATIENCE)
        self.connection.sendall(cast("io.BytesIO", self.wfile).getvalue())

    def _head(self, end: float) -> bytes:
        head = b""
        while b"\r\n\r\n" not in head and len(head) < HEAD_MAX and (left := end - time.monotonic()) > 0:
            self.connection.settimeout(left)
            try:
                part = self.connection.recv(HEAD_MAX - len(head))
            except TimeoutError:
                break
            if not part:
                break
            head += part
        return head

    def parse_request(self) -> bool:
        """Take the request apart; False when it was refused, which is answered then."""
        if not super().parse_request():
            return False
        self.close_connection = True
        refused = self._refused()
        if refused is not None:
            self.send_error(refused)
        return refused is None

    def _refused(self) -> HTTPStatus | None:
        if not self.request_version.startswith("HTTP/1."):
            return HTTPStatus.HTTP_VERSION_NOT_SUPPORTED
        if self.command not in {"GET", "HEAD"}:
            return HTTPStatus.METHOD_NOT_ALLOWED
        hosts = self.headers.get_all("Host", [])
        if cast("Server", self.server).checks_host and not (len(hosts) == 1 and re.fullmatch(_LOCAL, hosts[0])):
            return HTTPStatus.MISDIRECTED_REQUEST
        return None

    def _answer(self) -> None:
        server = cast("Server", self.server)
        try:
            answer = server.respond(self.path)
        except Exception as error:  # noqa: BLE001 -- a bug in a view must not show more than its class
            server.report(error)
            answer = text(HTTPStatus.INTERNAL_SERVER_ERROR, "internal error")
        self._send(answer)

    do_GET = do_HEAD = _answer  # noqa: N815 -- BaseHTTPRequestHandler's names

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002 -- nothing of the request is repeated
        """Refuse in a word or two, or with what has to be mended at a proxy."""
        self.request_version = self.protocol_version  # one that was not understood counts as 0.9, which has no headers
        allowed = {"Allow": "GET, HEAD"} if code == HTTPStatus.METHOD_NOT_ALLOWED else {}
        words = _MISDIRECTED if code == HTTPStatus.MISDIRECTED_REQUEST else HTTPStatus(code).phrase.lower()
        self._send(text(code, words)._replace(headers=allowed))

    def _send(self, answer: Answer) -> None:
        self.send_response_only(answer.status)
        own = {"Content-Type": answer.kind, "Content-Length": str(len(answer.body))}
        for name, value in {**own, **_COMMON, **answer.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- BaseHTTPRequestHandler's signature
        """Nothing: who looks is no event."""
