"""Nexla's answers: the headers that each one carries, and errors in either of the two known forms."""

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, Literal
from uuid import uuid4

from vault_asc.clock import iso
from vault_asc.lab.web import Answer, json_answer

_CODES: Final = {400: "VAL_001", 401: "AUTH_001", 403: "AUTH_004", 404: "NOT_FOUND", 405: "VAL_001", 429: "RATE_001"}
_TITLES: Final = {400: "bad_request", 401: "unauthorized", 403: "forbidden", 404: "not_found", 429: "rate_limited"}
_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


class RefusedError(Exception):
    """Ends a request with an error.

    Attributes:
        status: HTTP status.
        text: for the caller; None is an empty body in the `rails` form.
        more: further members of the body.
        code: of the documented form, if it is not the usual one of the status.
    """

    def __init__(
        self, status: int, text: str | None = None, *, more: Mapping[str, Any] = _NOTHING, code: str | None = None
    ) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.more = more
        self.code = code


def error_answer(refused: RefusedError, form: Literal["rails", "documented"], now: float) -> Answer:
    """An error in the form that is in force."""
    if form == "documented":
        return json_answer(refused.status, {**_documented(refused, now), **refused.more})
    if refused.text is None:
        return Answer(refused.status)
    return json_answer(refused.status, {"message": refused.text, **refused.more})


def with_common_headers(answer: Answer) -> Answer:
    """Never cached, and numbered: an empty 401 is told from a proxy's by its `x-request-id`."""
    return answer.plus({"Cache-Control": "no-store", "Pragma": "no-cache", "x-request-id": str(uuid4())})


def edit_object(answer: Answer, **changes: Any) -> Answer:
    """The same answer with these members in its JSON object; unchanged when it is none."""
    try:
        value = json.loads(answer.body)
    except ValueError:
        return answer
    return json_answer(answer.status, {**value, **changes}, answer.headers) if isinstance(value, dict) else answer


def _documented(refused: RefusedError, now: float) -> dict[str, Any]:
    return {
        "error": _TITLES.get(refused.status, "error"),
        "error_description": refused.text or _TITLES.get(refused.status, "error").replace("_", " "),
        "error_code": refused.code or _CODES.get(refused.status, "SYS_001"),
        "timestamp": iso(now),
        "request_id": str(uuid4()),
        "details": None,
    }
