"""A store on a server with an audit log, and jobs on hosts that mint from it: each an AppRole role with metadata."""

import json
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import jwt
import pytest

from tests.conftest import Root, TokenWith
from tests.effort import effort
from tests.support import PREFIX, connected, key_id, new_key, team
from tests.vaults import VaultUnderTest
from vault_asc import policy, tokens
from vault_asc.audit import Trace, Tracer
from vault_asc.custody import KeyTokenSource
from vault_asc.key.private_key import PrivateKey
from vault_asc.lifecycle import Lifecycle
from vault_asc.names import Custody
from vault_asc.secret import Secret
from vault_asc.store import Layout, Store
from vault_asc.tokens import Token, TokenRequest
from vault_asc.vault import Auditing

_LONG: Final = 4 << 20  # bytes
CUSTODIES: Final = ("kv", "transit", "engine")
KID: Final = key_id(1)
LEAKED: Final = effort(50, 15)
"""Tokens that are led back to whoever asked for them."""


@dataclass(frozen=True)
class Job:
    """Who mints: a Vault token of an AppRole role, logged in with a secret ID that names the host."""

    role: str
    host: str
    token: Secret


@dataclass(frozen=True)
class Audited:
    """A store, its mounts, and the audit log of the server."""

    server: VaultUnderTest
    root: Root
    layout: Layout
    approle: str
    log: Path
    device: str

    def policy(self, name: str, key: str | None = None, role: str | None = None) -> str:
        """A shipped policy."""
        return policy.render(
            name,
            key=key,
            role=role,
            custodies=CUSTODIES,
            mount=self.layout.mount,
            prefix=PREFIX,
            transit_mount=self.layout.transit_mount,
            engine_mount=self.layout.engine_mount,
        )

    def job(self, role: str, host: str, *texts: str) -> Job:
        """Log in as a job of that host; the role has policies with these texts."""
        names = [f"{self.approle}-{role}-{number}" for number, _ in enumerate(texts)]
        for name, text in zip(names, texts, strict=True):
            self.root("PUT", f"sys/policies/acl/{name}", {"policy": text})
        where = f"auth/{self.approle}/role/{role}"
        self.root("POST", where, {"token_policies": names, "token_no_default_policy": True})
        facts = {"metadata": json.dumps({"host": host, "job": f"job of {host}"})}
        secret_id = self.root("POST", f"{where}/secret-id", facts)["data"]["secret_id"]
        login = {"role_id": self.root("GET", f"{where}/role-id")["data"]["role_id"], "secret_id": secret_id}
        return Job(role, host, Secret(self.root("POST", f"auth/{self.approle}/login", login)["auth"]["client_token"]))

    @contextmanager
    def store(self, token: Secret | None = None) -> Iterator[Store]:
        with connected(self.server, token) as vault:
            yield Store(vault, self.layout)

    def import_key(self, name: str, key: PrivateKey, kid: str, custody: Custody, now: float = 1_800_000_000) -> None:
        with self.store() as store:
            Lifecycle(store, lambda: now).import_key(name, key, team(kid), custody)

    def mint(self, job: Job, name: str, now: float, request: TokenRequest | None = None) -> Token:
        """Mint in the name of a job, at a time that the test says."""
        with self.store(job.token) as store:
            return KeyTokenSource(store, name, lambda: now).token(request or TokenRequest()).token

    def trace(self, token: Token, auditor: Secret, *logs: Path) -> Trace:
        """What `audit trace` does."""
        with self.store(auditor) as store:
            tracer = Tracer(store, Auditing(store.vault, store.vault), self.device)
            return tracer.trace(token, logs or [self.log])


@contextmanager
def audited(server: VaultUnderTest, root: Root, kv_mount: str, engine_mount: str = "asc") -> Iterator[Audited]:
    """Mounts for Transit and AppRole beside the KV mount of a test, and that of the engine if there is one."""
    assert server.audit_device is not None, "only the server of the lab has a log that can be read here"
    tag = secrets.token_hex(4)
    transit, approle = f"transit-{tag}", f"approle-{tag}"
    root("POST", f"sys/mounts/{transit}", {"type": "transit"})
    root("POST", f"sys/auth/{approle}", {"type": "approle"})
    log = Path(root("GET", "sys/audit")["data"][f"{server.audit_device}/"]["options"]["file_path"])
    _make_short(log)
    try:
        yield Audited(server, root, Layout(kv_mount, PREFIX, transit, engine_mount), approle, log, server.audit_device)
    finally:
        root("DELETE", f"sys/mounts/{transit}")
        root("DELETE", f"sys/auth/{approle}")
        for name in root("LIST", "sys/policies/acl")["data"]["keys"]:
            if name.startswith(approle):
                root("DELETE", f"sys/policies/acl/{name}")


def _make_short(log: Path) -> None:
    """What other tests have filled is read for every token; a second later the log reaches over all that follows."""
    if log.stat().st_size > _LONG:
        os.truncate(log, 0)  # the server appends
        time.sleep(1)


@pytest.fixture
def scene(vault: VaultUnderTest, root: Root, kv_mount: str) -> Iterator[Audited]:
    if vault.audit_device is None:
        pytest.skip("needs a server whose audit log can be read here")
    with audited(vault, root, kv_mount) as scene:
        yield scene


@pytest.fixture
def auditor(scene: Audited, token_with: TokenWith) -> Secret:
    return token_with(scene.policy("auditor"))


@pytest.fixture
def key(scene: Audited) -> PrivateKey:
    """In Transit, as `prod`."""
    key = new_key()
    scene.import_key("prod", key, KID, Custody.TRANSIT)
    return key


def minter(scene: Audited, host: str, name: str = "prod") -> Job:
    return scene.job(f"{name}-on-{host}", host, scene.policy("minter", name))


def message(kid: str = KID, now: float | None = None) -> bytes:
    """Header and payload of a token, as they are signed."""
    token = tokens.mint(team(kid), TokenRequest(), new_key(), now or time.time())
    return token.value.reveal().rpartition(".")[0].encode()


def token_of(text: bytes, signature: bytes) -> Token:
    value = text + b"." + jwt.utils.base64url_encode(signature)
    claims = jwt.decode(value, options={"verify_signature": False})
    return Token(Secret(value.decode()), jwt.get_unverified_header(value)["kid"], claims["iat"], claims["exp"])


def jose(answer: str) -> bytes:
    return jwt.utils.base64url_decode(answer.split(":")[2])


def hosts(found: Trace) -> list[str]:
    return [dict(signed.entry.caller.metadata)["host"] for signed in found.signed]
