"""What the sender of a new key does: has the server wrap an answer, and gets a wrapping token for it."""

import json
import ssl
import urllib.request
from typing import Any

from tests.vaults import VaultUnderTest
from vault_asc.lab.bao import call
from vault_asc.secret import Secret


def wrap(server: VaultUnderTest, fields: dict[str, Any], *, ttl: str = "5m", namespace: str = "") -> Secret:
    """`vault write -wrap-ttl=TTL sys/wrapping/wrap ...`."""
    return _wrapped(server, "POST", f"{namespace}sys/wrapping/wrap", ttl, fields)


def wrap_reading(server: VaultUnderTest, path: str, *, ttl: str = "5m") -> Secret:
    """`vault kv get -wrap-ttl=TTL`, or another reading, of an API path."""
    return _wrapped(server, "GET", path, ttl)


def rewrap(server: VaultUnderTest, token: Secret) -> Secret:
    """`vault unwrap` and wrap in one: what `sys/wrapping/rewrap` is for."""
    body = {"token": token.reveal()}
    return Secret(
        call(server.address, "POST", "sys/wrapping/rewrap", body, token=server.root_token, ca_file=server.ca_file)[
            "wrap_info"
        ]["token"]
    )


def unwrap(server: VaultUnderTest, token: Secret) -> dict[str, Any]:
    """`vault unwrap`; `VaultError` when the token is used up."""
    answer: dict[str, Any] = call(server.address, "POST", "sys/wrapping/unwrap", token=token, ca_file=server.ca_file)
    return answer["data"]  # type: ignore[no-any-return]  # JSON


def _wrapped(server: VaultUnderTest, method: str, path: str, ttl: str, body: object = None) -> Secret:
    request = urllib.request.Request(
        f"{server.address}/v1/{path}",
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"X-Vault-Token": server.root_token.reveal(), "X-Vault-Wrap-TTL": ttl},
    )
    trust = ssl.create_default_context(cafile=server.ca_file)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trust))
    with opener.open(request, timeout=10) as response:
        return Secret(json.load(response)["wrap_info"]["token"])
