"""What can go wrong with a call. Every text is one safe line: fixed words and the endpoint, never path, header or body.

    CallError                    requests.RequestException: no usable answer
      RequestRefusedError        a header or the URL cannot be sent; nothing was
      UnreachableError           no connection, or it broke       (also requests.ConnectionError)
        CertificateError         TLS certificate not trusted      (also requests.exceptions.SSLError)
      DeadlineExceededError      no answer in time                (also requests.Timeout)
      RedirectRefusedError       a 3xx answer
      AnswerTooLargeError        more bytes than allowed
      BadAnswerError             not HTTP, cut short, compressed
        BadJSONError             not the JSON that we take        (also requests.exceptions.InvalidJSONError)

`BadJSONError` is no `ValueError` on purpose: hvac swallows those and hands out the raw answer in place of the data.
"""

import http.client
import socket
import ssl
from collections.abc import Iterator
from typing import Final

import requests
import urllib3

from vault_asc.secret import safe_text


class CallError(requests.RequestException):
    """A call that brought no usable answer; `str()` is one safe line.

    Attributes:
        endpoint: `host:port`, `unix:///path`, or "" when the request was not even put together.
        sent: whether the server may have got the request, so that a write may have happened.
    """

    def __init__(self, text: str, endpoint: str, *, sent: bool) -> None:
        super().__init__(f'{text} ("{endpoint}")' if endpoint else text)
        self.endpoint = endpoint
        self.sent = sent


class RequestRefusedError(CallError):
    """A header or the URL holds something that must not go over the wire."""


class UnreachableError(CallError, requests.ConnectionError):
    """No connection came about, or it broke before the answer was complete."""


class CertificateError(UnreachableError, requests.exceptions.SSLError):
    """The server's certificate is not trusted, expired, or for another host."""


class DeadlineExceededError(CallError, requests.Timeout):
    """The call, all tries and pauses included, took longer than it may."""


class RedirectRefusedError(CallError):
    """The server wanted to send us, and our credentials, elsewhere."""


class AnswerTooLargeError(CallError):
    """The answer holds more bytes than a call may bring."""


class BadAnswerError(CallError):
    """What came back is not a well-formed answer."""


class BadJSONError(BadAnswerError, requests.exceptions.InvalidJSONError):
    """The body is not the JSON that we take; see `vault_asc.http.strict_json`."""


def explain(exc: requests.RequestException) -> str:
    """One safe line for a message: what happened and the endpoint, never URL path, headers or body."""
    if isinstance(exc, CallError):
        return str(exc)
    for kind, text in ((requests.Timeout, "no answer in time"), (requests.ConnectionError, "no connection")):
        if isinstance(exc, kind):
            return text
    return f"the call failed with {type(exc).__name__}"


def is_broken(error: CallError) -> bool:
    """Whether the way to the server, or the server itself, failed; not so when we refused what was sent or answered."""
    return isinstance(error, UnreachableError | DeadlineExceededError) or type(error) is BadAnswerError


def was_sent(exc: requests.RequestException) -> bool:
    """Whether the server may have got the request; in doubt True."""
    return not isinstance(exc, CallError) or exc.sent


# The first entry that fits anything in the chain of causes wins, so the special kinds come before their bases.
_BROKEN: Final[tuple[tuple[type[BaseException], str], ...]] = (
    (ssl.SSLError, "TLS connection failed"),
    (socket.gaierror, "name does not resolve"),
    (ConnectionRefusedError, "connection refused"),
    (FileNotFoundError, "socket does not exist"),
    (PermissionError, "no permission to open the socket"),
    (ConnectionError, "connection reset"),  # http.client.RemoteDisconnected is one as well
)
_MALFORMED: Final[tuple[tuple[type[BaseException], str], ...]] = (
    (http.client.IncompleteRead, "answer cut short"),
    (http.client.HTTPException, "answer is not HTTP"),
    (urllib3.exceptions.ProtocolError, "answer cut short"),
    (urllib3.exceptions.HTTPError, "answer is not HTTP"),
)


def from_transport(exc: Exception, endpoint: str, *, sent: bool) -> CallError:
    """Our error for what requests and urllib3 raise when a connection or an answer is broken."""
    causes = list(_causes(exc))
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            reason = safe_text(cause.verify_message)
            return CertificateError(f"certificate not trusted: {reason}", endpoint, sent=sent)
    if text := _first(_BROKEN, causes):
        return UnreachableError(text, endpoint, sent=sent)
    if sent and (text := _first(_MALFORMED, [c for c in causes if not isinstance(c, urllib3.exceptions.PoolError)])):
        return BadAnswerError(text, endpoint, sent=sent)
    return UnreachableError("no connection", endpoint, sent=sent)


def stems_from(exc: BaseException, kind: type[BaseException]) -> bool:
    """Whether an exception, or one that it wraps, is of a kind."""
    return any(isinstance(cause, kind) for cause in _causes(exc))


def system_error(exc: BaseException) -> OSError | None:
    """The error of the operating system or of TLS at the bottom: what is safe to show of a chain of causes."""
    found = (cause for cause in _causes(exc) if isinstance(cause, OSError))
    return next((cause for cause in found if not isinstance(cause, requests.RequestException)), None)


def _first(table: tuple[tuple[type[BaseException], str], ...], causes: list[BaseException]) -> str | None:
    return next((text for kind, text in table for cause in causes if isinstance(cause, kind)), None)


def _causes(exc: BaseException) -> Iterator[BaseException]:
    """The exception and all that it wraps: urllib3 keeps the cause in `reason` or among the arguments."""
    seen: list[BaseException] = []
    waiting: list[object] = [exc]
    while waiting:
        one = waiting.pop(0)
        if isinstance(one, BaseException) and not any(one is other for other in seen):
            seen.append(one)
            yield one
            waiting += [getattr(one, "reason", None), *one.args, one.__cause__, one.__context__]
