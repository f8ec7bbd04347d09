"""What an answer to Nexla's probe proves about the token that was just written. Pure.

Nexla relays what Apple said in ways that are not documented, so the texts of Apple count before any status, and what is
not understood proves nothing. It does not repeat, wait or log in: `vault_asc.nexla.client` does.
"""

import json
import re
from dataclasses import dataclass
from typing import Any, Final

from vault_asc.apple.answers import AGREEMENT, NOT_AUTHORIZED, ROLE
from vault_asc.outcome import PROVEN, Outcome, Probe
from vault_asc.secret import safe_text


@dataclass(frozen=True)
class _Reading:
    """An answer reduced to what counts.

    Attributes:
        status: what Nexla's probe result says, else the HTTP status.
        failed: whether the body itself, whatever the HTTP status, speaks of a failure.
        pending: state of an unfinished probe; empty when it is finished.
        text: what the failure may be recognised by.
        message: the part of it that is for people, as it was relayed.
        shown: the same, fit to be shown.
        own: whether Nexla speaks for itself, not for Apple.
        odd: whether this is neither JSON nor a plain word, such as a proxy's page.
    """

    status: int
    failed: bool = False
    pending: str = ""
    text: str = ""
    message: str = ""
    shown: str = ""
    own: bool = False
    odd: bool = False


# How a relay in between may put a 401 of Apple; looked for in the message alone, so that no ID is taken for a status.
_SOME_401: Final = r"(?i)(?<![\w.:-])401(?![\w.:-])|\bunauthori[sz]ed\b|\bunauthenticated\b"

_GOOD_WORDS: Final = frozenset({"ok", "success", "succeeded", "successful", "completed", "verified", "valid"})
_PENDING_WORDS: Final = frozenset({"pending", "running", "queued", "cancelled", "canceled"})
_OK: Final = range(200, 300)
_ACCEPTED: Final = 202
_UNAUTHORIZED: Final = 401
_FORBIDDEN: Final = 403
_TOO_MANY: Final = 429
_PROBE_MISSING: Final = frozenset({404, 405})
_SERVER_ERROR: Final = 500
_KEYS: Final = ("message", "error_description", "error", "detail", "errors", "title")
_NESTING_MAX: Final = 10  # results within results, words within words


def judge(status: int, body: str) -> Probe:
    """What one answer to the probe proves; for the last try of several.

    REFUSED and an unexplained 401 deserve another try: see `worth_another_try` and `speaks_of_session`.

    Args:
        status: HTTP status.
        body: the answer's text, may be empty or anything.
    """
    reading = _read(status, body)
    if reading.pending:
        return Probe(Outcome.UNPROVEN, f'nexla had not finished the probe: "{safe_text(reading.pending)}"')
    if reading.status in _OK and not reading.failed:
        return _of_success(reading)
    return _of_apple(reading) or _of_status(reading)


def worth_another_try(probe: Probe) -> bool:
    """Whether Apple may change its mind: single 401s for good tokens are known (docs/nexla-api.md, section 4)."""
    return probe.outcome is Outcome.REFUSED


def speaks_of_session(status: int, body: str) -> bool:
    """Whether a 401 may be Nexla's own, for the session, so that a login may help: unless it shows Apple's words."""
    return status == _UNAUTHORIZED and not any(re.search(mark, body) for mark in (AGREEMENT, ROLE, NOT_AUTHORIZED))


def message_of(data: Any) -> str:
    """The text for people in an error body of Nexla, in any of its known shapes; empty when there is none.

    An error of Apple, also as JSON in a string, becomes its code, title and detail.
    """
    return _words(data, readable=True)


def _apple_error(data: dict[str, Any]) -> str:
    """The code first, because the text may be cut."""
    said = [data.get(key) for key in ("code", "title", "detail")]
    if not all(isinstance(text, str) for text in said) or any(data.get(key) for key in ("message", "error")):
        return ""
    code, title, detail = said
    return f"{code}: {title} {detail}".strip()


def _words(data: Any, *, readable: bool = False, level: int = 0) -> str:
    """The text in a body: as it was relayed, for recognising it, or made readable."""
    if level > _NESTING_MAX:
        return ""
    if isinstance(data, str):
        text = data.strip()
        inside = _parsed(text) if readable and text.startswith(("{", "[")) else None
        return _words(inside, readable=readable, level=level + 1) or text
    if isinstance(data, dict):
        if readable and (said := _apple_error(data)):
            return said
        data = [data.get(key) for key in _KEYS]
    if isinstance(data, list):
        return next((text for text in (_words(part, readable=readable, level=level + 1) for part in data) if text), "")
    return ""


def _of_success(reading: _Reading) -> Probe:
    if reading.odd:
        return Probe(Outcome.UNPROVEN, "the answer to the probe is not one of nexla's: a page, or cut short")
    return Probe(Outcome.LIVE, PROVEN)


def _of_apple(reading: _Reading) -> Probe | None:
    """What Apple's own words prove; None when there are none."""
    if re.search(AGREEMENT, reading.text):
        return Probe(
            Outcome.AGREEMENT,
            "an agreement of the App Store Connect account is missing or has expired; the Account Holder has to accept"
            " it, a new key does not help",
        )
    if re.search(ROLE, reading.text):
        return Probe(
            Outcome.LIVE,
            "apple accepts the token, but the key's role or the token's scope does not allow the test request",
        )
    if reading.own:
        return None
    if re.search(NOT_AUTHORIZED, reading.text) or re.search(_SOME_401, reading.message):
        return _refused(reading)
    return None


def _of_status(reading: _Reading) -> Probe:
    said = f': "{safe_text(reading.shown)}"' if reading.message else ""
    if reading.status == _UNAUTHORIZED and reading.message and not reading.own:
        return _refused(reading)
    if reading.status == _UNAUTHORIZED:
        text = f"nexla does not accept its own session for the probe{said}"
    elif reading.status == _FORBIDDEN and not reading.message:
        text = "nexla does not let the service key's user probe this credential"
    elif reading.status in _PROBE_MISSING:
        text = f"nexla offers no probe for this credential ({reading.status}){said}"
    elif reading.status == _TOO_MANY:
        text = f"too many requests (429), at nexla or at apple{said}"
    elif reading.status >= _SERVER_ERROR:
        text = f"the probe failed at nexla or behind it ({reading.status}){said}"
    else:
        text = f"the probe ended with {reading.status}{said}, which says nothing about the token"
    return Probe(Outcome.UNPROVEN, text, final=reading.status in _PROBE_MISSING | {_FORBIDDEN})


def _refused(reading: _Reading) -> Probe:
    return Probe(
        Outcome.REFUSED,
        f'apple does not accept the token: "{safe_text(reading.shown or reading.text)}"; key revoked, IDs wrong, or'
        " test request outside of the token's scope",
    )


def _read(status: int, body: str) -> _Reading:
    text = body.strip()
    if not text:
        return _Reading(status)
    data = _parsed(text)
    if isinstance(data, dict):
        return _of_object(status, data, text)
    if status in _OK:
        return _Reading(status, odd=text.startswith(("<", "{", "[", '"')) and data is None)
    page = text.startswith("<")
    message = _words(data) if data is not None else "" if page else text
    return _Reading(status, text=text, message=message, shown=message_of(data) or message)


def _of_object(status: int, data: dict[str, Any], text: str, level: int = 0) -> _Reading:
    said = data.get("status")
    word = said.strip().lower() if isinstance(said, str) else ""
    nested = data.get("response", data.get("result"))
    if isinstance(nested, dict) and "status" in data and level < _NESTING_MAX:
        inner = _of_object(status, nested, text, level + 1)
        if inner.failed or word == "completed":
            return inner
    number = _number(said)
    good = word in _GOOD_WORDS or (number in _OK if number is not None else False)
    waiting = word in _PENDING_WORDS or (status == _ACCEPTED and not good)
    complains = any(data.get(key) for key in ("error", "errors", "error_code")) or any(
        data.get(key) is False for key in ("ok", "success")
    )
    strange = said is not None and not good and not waiting
    message = _words(data) or (word and not good and str(said)) or ""
    # A success may carry Apple's data in `output`, where any word can occur: only its message is looked at.
    marked = any(re.search(mark, message) for mark in (AGREEMENT, ROLE, NOT_AUTHORIZED))
    return _Reading(
        status if number is None or number in _OK else number,
        failed=complains or strange or marked,
        pending=(word or "accepted") if waiting else "",
        text=text,
        message=message,
        shown=message_of(data) or message,
        own="error_code" in data,
    )


def _number(status: object) -> int | None:
    """The status in `401`, `"401"` and `"401 Unauthorized"`."""
    if isinstance(status, int) and not isinstance(status, bool):
        return status
    found = re.match(r"\s*([1-5]\d\d)\b", status) if isinstance(status, str) else None
    return int(found[1]) if found else None


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
