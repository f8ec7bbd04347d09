"""What Nexla's probe service and data flows do with a stored credential: resolve its headers, call its `test.url`."""

from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException
from typing import Any, Final
from urllib.parse import urlsplit

from vault_asc.lab.nexla.answers import RefusedError

_HOST: Final = "127.0.0.1"
_TIMEOUT: Final = 10.0  # seconds
_BODY_MAX: Final = 100_000  # bytes


def call_vendor(stored: Mapping[str, Any]) -> tuple[int, bytes]:
    """Status and body of one request to the credential's `test.url`, as the credential stands.

    No proxy, no redirect, no retry; this machine only, whatever the URL says.

    Raises:
        RefusedError: 400, the credential cannot be used; 500, the vendor did not answer.
    """
    port, target = _address(stored.get("test.url"))
    headers = resolved_headers(stored)
    connection = HTTPConnection(_HOST, port, timeout=_TIMEOUT)
    try:
        connection.request(str(stored.get("test.method", "GET")), target, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read(_BODY_MAX)
    except ValueError as exc:  # a line break in a header
        raise RefusedError(400, "invalid header value") from exc
    except (OSError, HTTPException) as exc:
        raise RefusedError(500, f"connection to the vendor failed: {type(exc).__name__}") from exc
    finally:
        connection.close()


def _address(url: Any) -> tuple[int, str]:
    try:
        parts = urlsplit(str(url))
        if parts.scheme != "http" or parts.hostname != _HOST or parts.port is None:
            raise RefusedError(400, "test.url is missing or does not lead to the lab")
    except ValueError as exc:
        raise RefusedError(400, "test.url is no URL") from exc
    return parts.port, f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"


def resolved_headers(stored: Mapping[str, Any]) -> dict[str, str]:
    """The headers that a REST credential adds to each request.

    Of the auth types only NONE, API_KEY in a header and OAUTH2 with a ready access token are simulated; others are 400.
    """
    kind = stored.get("auth.type", "NONE")
    headers = _header_list(str(stored.get("request.headers") or ""))
    content_type = stored.get("test.content.type")
    if content_type:
        headers.setdefault("Content-Type", str(content_type))
    if kind == "API_KEY" and stored.get("api.key.include.mode") == "HEADER":
        headers[str(stored.get("api.key.auth.key"))] = str(stored.get("api.key.auth.value"))
    elif kind == "OAUTH2":
        headers["Authorization"] = f"Bearer {stored.get('oauth2.access.token')}"
    elif kind != "NONE":
        raise RefusedError(400, "this auth.type is not simulated")
    return headers


def _header_list(text: str) -> dict[str, str]:
    """`name:value,name:value`."""
    pairs = (pair.partition(":") for pair in text.split(",") if pair.strip())
    return {name.strip(): value.strip() for name, _, value in pairs}
