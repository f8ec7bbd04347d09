"""Faults: the ways in which one request of a simulator goes wrong, and the plan of which requests are hit."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Final

from vault_asc.lab.web import DROPPED, Answer, Request

_HTML: Final = b"<html><head><title>Bad gateway</title></head><body><h1>nginx</h1></body></html>"


@dataclass(frozen=True, slots=True)
class Fault:
    """How one request goes wrong.

    Attributes:
        name: what the journal calls it.
        instead: answered without carrying the request out.
        edit: changes the answer after the request was carried out.
        delay: seconds before the request is carried out.
        linger: seconds between carrying it out and answering.
    """

    name: str
    instead: Answer | None = None
    edit: Callable[[Answer], Answer] | None = None
    delay: float = 0.0
    linger: float = 0.0


@dataclass(slots=True)
class _Planned:
    fault: Fault
    method: str
    path: str
    skip: int
    left: int

    def hits(self, request: Request) -> bool:
        return fnmatchcase(request.method, self.method) and fnmatchcase(request.path, self.path)


@dataclass(slots=True)
class FaultPlan:
    """Which of the coming requests go wrong. Plans are used in the order in which they were made."""

    _planned: list[_Planned] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, fault: Fault, *, count: int, method: str, path: str, skip: int) -> None:
        """Let `count` matching requests go wrong after `skip` matching ones went well."""
        with self._lock:
            self._planned.append(_Planned(fault, method, path, skip, count))

    def take(self, request: Request) -> Fault | None:
        """The fault for this request, used up by it."""
        with self._lock:
            planned = next((plan for plan in self._planned if plan.left > 0 and plan.hits(request)), None)
            if planned is None:
                return None
            if planned.skip > 0:
                planned.skip -= 1
                return None
            planned.left -= 1
            return planned.fault

    def clear(self) -> None:
        """Forget what was planned."""
        with self._lock:
            self._planned.clear()


def answered(status: int, body: bytes = b"", headers: Mapping[str, str] = MappingProxyType({})) -> Fault:
    """This status and JSON body (default: none) instead of the real answer."""
    return Fault(f"answered {status}", instead=Answer(status, body, headers=headers))


def throttled(retry_after: str | None = None) -> Fault:
    """A bare 429, with `Retry-After` (seconds or an HTTP date) if given."""
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    return replace(answered(429, headers=headers), name="throttled")


def slow(seconds: float, *, committed: bool = False) -> Fault:
    """The real answer, late; with `committed` the request is carried out at once and only its answer is late."""
    return Fault("slow", linger=seconds) if committed else Fault("slow", delay=seconds)


def dropped(*, committed: bool = False) -> Fault:
    """No answer; with `committed` the request was carried out all the same."""
    if committed:
        return Fault("dropped after commit", edit=lambda _: DROPPED)
    return Fault("dropped before commit", instead=DROPPED)


def html(status: int = 502) -> Fault:
    """A proxy's HTML page instead of the real answer."""
    return Fault(f"html {status}", instead=Answer(status, _HTML, "text/html"))


def plain_text(status: int, text: str) -> Fault:
    """A gateway's plain text instead of the real answer."""
    return Fault(f"plain text {status}", instead=Answer(status, text.encode(), "text/plain"))


def redirected(location: str, status: int = 302) -> Fault:
    """A redirect; nothing is carried out."""
    return Fault(f"redirected {status}", instead=Answer(status, headers={"Location": location}))


def truncated_json() -> Fault:
    """Carried out, but half of the JSON text is missing; the length in the header is right."""
    return Fault("truncated json", edit=lambda answer: replace(answer, body=answer.body[: len(answer.body) // 2]))


def cut_off() -> Fault:
    """Carried out, but the connection dies in the middle of the body."""
    return Fault("cut off", edit=lambda answer: replace(answer, sent=len(answer.body) // 2))
