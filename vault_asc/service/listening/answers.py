"""What is answered to which path. Everything is made anew from one view, but for all who ask within the same second."""

import base64
import hashlib
import re
import threading
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple

from vault_asc.clock import Clock
from vault_asc.service.listening import metrics
from vault_asc.service.listening.document import document
from vault_asc.service.listening.observer import Observer

TEXT: Final = "text/plain; charset=utf-8"
_SHARED: Final = 1.0  # seconds for which an answer that is dear to make serves others, too
_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})
_PAGE: Final = Path(__file__).with_name("page.html")


class Answer(NamedTuple):
    """What goes back, without what every answer has."""

    status: int
    kind: str
    body: bytes
    headers: Mapping[str, str] = _NOTHING


def text(status: int, words: str) -> Answer:
    """One line of plain text."""
    return Answer(status, TEXT, f"{words}\n".encode())


class Answers:
    """The paths there are.

    Args:
        observer: what is looked at.
        elapsed: seconds on a clock that nobody sets.
    """

    def __init__(self, observer: Observer, elapsed: Clock = time.monotonic) -> None:
        page = _page(_PAGE.read_bytes())
        self._by_path: dict[str, Callable[[], Answer]] = {
            "/": lambda: page,
            "/healthz": lambda: _health(observer.not_alive()),
            "/readyz": lambda: _health(observer.not_ready()),
            "/metrics": _Shared(lambda: Answer(200, metrics.CONTENT_TYPE, metrics.exposition(observer)), elapsed),
            "/status.json": _Shared(lambda: Answer(200, "application/json", document(observer)), elapsed),
        }

    def to(self, path: str) -> Answer:
        """The answer to a path, whose query says nothing."""
        found = self._by_path.get(path.partition("?")[0])
        return text(HTTPStatus.NOT_FOUND, "there are: " + " ".join(self._by_path)) if found is None else found()


class _Shared:
    """Makes an answer at most once a second, one at a time: who asks too often costs the loop nothing."""

    def __init__(self, make: Callable[[], Answer], elapsed: Clock) -> None:
        self._make = make
        self._elapsed = elapsed
        self._made: Answer | None = None
        self._until = 0.0
        self._lock = threading.Lock()

    def __call__(self) -> Answer:
        with self._lock:
            if self._made is None or self._elapsed() >= self._until:
                self._made = self._make()
                self._until = self._elapsed() + _SHARED
            return self._made


def _health(wrong: str | None) -> Answer:
    return text(HTTPStatus.OK, "ok") if wrong is None else text(HTTPStatus.SERVICE_UNAVAILABLE, wrong)


def _page(html: bytes) -> Answer:
    """The page may run its own script and style, and ask its own origin, and nothing else."""
    script, style = (_hash(html, tag) for tag in (b"script", b"style"))
    policy = (
        f"default-src 'none'; script-src {script}; style-src {style}; connect-src 'self'; img-src data:;"
        " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return Answer(HTTPStatus.OK, "text/html; charset=utf-8", html, {"Content-Security-Policy": policy})


def _hash(html: bytes, tag: bytes) -> str:
    found = re.search(rb"<%b>(.*?)</%b>" % (tag, tag), html, re.DOTALL)
    if found is None:
        raise ValueError(tag)
    return f"'sha256-{base64.b64encode(hashlib.sha256(found[1]).digest()).decode()}'"
