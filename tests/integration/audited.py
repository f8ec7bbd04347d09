"""A store on a server with an audit log, and jobs on hosts that mint from it: each an AppRole role with metadata."""

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.conftest import Root
from tests.support import PREFIX, connected, team
from tests.vaults import VaultUnderTest
from vault_asc import policy
from vault_asc.audit import Trace, Tracer
from vault_asc.custody import KeyTokenSource
from vault_asc.key.private_key import PrivateKey
from vault_asc.lifecycle import Lifecycle
from vault_asc.names import Custody
from vault_asc.secret import Secret
from vault_asc.store import Layout, Store
from vault_asc.tokens import Token, TokenRequest
from vault_asc.vault import Auditing

CUSTODIES: Final = ("kv", "transit")


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

    def policy(self, name: str, key: str | None = None) -> str:
        """A shipped policy."""
        where = {"mount": self.layout.mount, "prefix": PREFIX, "transit_mount": self.layout.transit_mount}
        return policy.render(name, key=key, custodies=CUSTODIES, **where)

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
def audited(server: VaultUnderTest, root: Root, kv_mount: str) -> Iterator[Audited]:
    """Mounts for Transit and AppRole beside the KV mount of a test."""
    assert server.audit_device is not None, "only the server of the lab has a log that can be read here"
    tag = secrets.token_hex(4)
    transit, approle = f"transit-{tag}", f"approle-{tag}"
    root("POST", f"sys/mounts/{transit}", {"type": "transit"})
    root("POST", f"sys/auth/{approle}", {"type": "approle"})
    log = Path(root("GET", "sys/audit")["data"][f"{server.audit_device}/"]["options"]["file_path"])
    try:
        yield Audited(server, root, Layout(kv_mount, PREFIX, transit), approle, log, server.audit_device)
    finally:
        root("DELETE", f"sys/mounts/{transit}")
        root("DELETE", f"sys/auth/{approle}")
        for name in root("LIST", "sys/policies/acl")["data"]["keys"]:
            if name.startswith(approle):
                root("DELETE", f"sys/policies/acl/{name}")
