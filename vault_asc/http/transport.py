"""requests' adapter over our connections and pools, and the answer that it gives."""

from functools import cached_property
from pathlib import Path
from ssl import SSLContext
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.utils import DEFAULT_CA_BUNDLE_PATH

from vault_asc import names
from vault_asc.errors import ConfigError
from vault_asc.http import strict_json
from vault_asc.http.errors import BadJSONError
from vault_asc.http.retry import FullJitter
from vault_asc.http.wire import POOL, Pool, TLSPool, UnixPool, tls_context

UNIX_SCHEME: Final = "http+unix"
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


def base_url(address: str) -> str:
    """What hvac and requests take for a checked address: an https or loopback URL as it is, or a unix socket."""
    if not names.is_unix(address):
        return address
    return f"{UNIX_SCHEME}://{quote(address.removeprefix('unix://'), safe='')}"


def endpoint(url: str) -> str:
    """`host:port` or `unix:///path` of a URL that requests has prepared: all of it that is fit for a message."""
    parts = urlsplit(url)
    if parts.scheme == UNIX_SCHEME:
        return f"unix://{unquote(parts.netloc)}"
    host = parts.hostname or ""
    return f"{f'[{host}]' if ':' in host else host}:{parts.port or _DEFAULT_PORTS.get(parts.scheme, 0)}"


class Transport(HTTPAdapter):
    """Sends requests over our connections, whatever the arguments say about proxies and verification.

    Args:
        attempts: tries per call, the first included.
        ca_file: PEM file of the only certificates to trust, or None for those of certifi.
    """

    def __init__(self, attempts: int, ca_file: Path | None) -> None:
        super().__init__(max_retries=FullJitter(attempts - 1), pool_maxsize=POOL)
        self._unix_pools: dict[str, UnixPool] = {}
        if ca_file is not None:
            self._tls = _trusting(ca_file)

    @cached_property
    def _tls(self) -> SSLContext:
        # Late: reading certifi's bundle takes longer than a whole call through the Agent's socket.
        return tls_context(DEFAULT_CA_BUNDLE_PATH)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make the pool manager, with our pools."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": Pool, "https": TLSPool}

    def build_connection_pool_key_attributes(
        self, request: requests.PreparedRequest, *_verify_and_cert: Any, **_ignored: Any
    ) -> tuple[Any, Any]:
        """Where to connect, with our TLS context whatever `verify` and `cert` say."""
        host, _ = super().build_connection_pool_key_attributes(request, verify=True)
        return host, {"ssl_context": self._tls} if host["scheme"] == "https" else {}

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        """Do nothing: requests would add certifi's certificates to those of `ca_file`, or switch verification off."""

    def get_connection_with_tls_context(
        self, request: requests.PreparedRequest, *_verify: Any, **_proxies_and_cert: Any
    ) -> Any:
        """The pool for a request, always direct."""
        parts = urlsplit(str(request.url))
        if parts.scheme == UNIX_SCHEME:
            path = unquote(parts.netloc)
            return self._unix_pools.get(path) or self._unix_pools.setdefault(path, UnixPool(path))
        return super().get_connection_with_tls_context(request, verify=True)

    def build_response(self, req: requests.PreparedRequest, resp: Any) -> requests.Response:
        """The answer with strict JSON, read as UTF-8: to guess the encoding of a hostile body takes seconds."""
        answer = _Answer()
        answer.__dict__.update(super().build_response(req, resp).__dict__)
        answer.encoding = "utf-8"
        return answer

    def close(self) -> None:
        """Close every pooled connection."""
        super().close()
        while self._unix_pools:
            self._unix_pools.popitem()[1].close()


class _Answer(requests.Response):
    def json(self, **options: Any) -> Any:
        """The value of the body, by `vault_asc.http.strict_json`.

        Raises `BadJSONError`; for an error answer also when the value is no object, which hvac would trip over. Only for
        HEAD it is a `ValueError`: from that one hvac concludes, rightly, that there is no body.
        """
        if options:
            raise TypeError("the strict reader takes no options")
        if self.request.method == "HEAD":
            raise requests.exceptions.JSONDecodeError("no body", "", 0)
        try:
            value = strict_json.loads(self.content)
        except strict_json.StrictJSONError as exc:
            raise self._refused(str(exc)) from exc
        if not self.ok and not isinstance(value, dict):
            raise self._refused("not an object")
        return value

    def _refused(self, reason: str) -> BadJSONError:
        return BadJSONError(f"answer is not the JSON that was expected: {reason}", endpoint(self.url), sent=True)


def _trusting(ca_file: Path) -> SSLContext:
    try:
        return tls_context(str(ca_file))
    except OSError as exc:  # ssl.SSLError is one
        raise ConfigError(
            f'CA file "{ca_file}" cannot be used', hint="name a readable PEM file that holds certificates"
        ) from exc
