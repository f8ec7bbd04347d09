"""Apple's answers: the JSON error objects as they were seen in the field, and lists of resources."""

import json
from collections.abc import Sequence
from typing import Any, Final
from uuid import uuid4

from vault_asc.lab.web import Answer, json_answer

_JSON: Final = "application/json"


def not_authorized() -> Answer:
    """401, the same for every cause; the only error without an `id`."""
    return _error(
        401,
        "NOT_AUTHORIZED",
        "Authentication credentials are missing or invalid.",
        "Provide a properly configured and signed bearer token, and make sure that it has not expired. "
        "Learn more about Generating Tokens for API Requests https://developer.apple.com/go/?id=api-generating-tokens",
        numbered=False,
    )


def forbidden_role() -> Answer:
    """403: the token is good, the key's role is not."""
    return _error(
        403,
        "FORBIDDEN_ERROR",
        "This request is forbidden for security reasons",
        "The API key in use does not allow this request",
    )


def agreement_missing() -> Answer:
    """403 for the whole account, until its holder signs."""
    return _error(
        403,
        "FORBIDDEN.REQUIRED_AGREEMENTS_MISSING_OR_EXPIRED",
        "A required agreement is missing or has expired.",
        "This request requires an in-effect agreement that has not been signed or has expired.",
    )


def rate_limited() -> Answer:
    """429 without `Retry-After`: whether Apple sends one is not known."""
    return _error(429, "RATE_LIMIT_EXCEEDED", "The request rate limit has been reached.", "Try again later.")


def server_error() -> Answer:
    """500."""
    return _error(500, "UNEXPECTED_ERROR", "An unexpected error occurred.", "An error occurred on the server side.")


def not_found(path: str) -> Answer:
    """404 for an authenticated request."""
    return _error(404, "PATH_ERROR", "The URL path is not valid", f"The resource '{path}' does not exist")


def method_not_allowed(method: str) -> Answer:
    """405."""
    return _error(405, "METHOD_NOT_ALLOWED", "The request method is not valid.", f"The method {method} is not allowed.")


def bad_limit() -> Answer:
    """400 for a `limit` outside 1 to 200."""
    return _error(400, "PARAMETER_ERROR.INVALID", "A parameter has an invalid value", "'limit' must be 1 to 200")


def listed(url: str, items: Sequence[dict[str, Any]], limit: int) -> Answer:
    """200 with the first `limit` items."""
    paging = {"total": len(items), "limit": limit}
    return json_answer(200, {"data": items[:limit], "links": {"self": url}, "meta": {"paging": paging}})


def single(url: str, item: dict[str, Any]) -> Answer:
    """200 with one item."""
    return json_answer(200, {"data": item, "links": {"self": url}})


def _error(status: int, code: str, title: str, detail: str, *, numbered: bool = True) -> Answer:
    error = {"status": str(status), "code": code, "title": title, "detail": detail}
    if numbered:
        error = {"id": str(uuid4()), **error}
    return Answer(status, json.dumps({"errors": [error]}).encode(), _JSON)
