"""What tests of the service's own login share: auth methods on the real server, and a login through a wire that counts."""

import contextlib
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.conftest import Root
from tests.support import Wire, connected
from tests.vaults import VaultUnderTest
from vault_asc.auth import AppRoleAuth, AuthSettings
from vault_asc.errors import NotFoundError
from vault_asc.secret import Secret
from vault_asc.vault import Login, LoginNews, Vault

POLICY = """
path "{kv}/*" { capabilities = ["create", "read", "update", "list"] }
path "auth/token/renew-self" { capabilities = ["update"] }
path "auth/token/revoke-self" { capabilities = ["update"] }
path "sys/capabilities-self" { capabilities = ["update"] }
"""


class Elapsed:
    """A clock that stands still until it is told otherwise."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class AppRole:
    """An auth method with one role and its files."""

    root: Root
    mount: str
    policy: str
    dir: Path

    @property
    def auth(self) -> AppRoleAuth:
        return AppRoleAuth(self.mount, self.dir / "role_id", self.dir / "secret_id")

    @property
    def role(self) -> str:
        return f"auth/{self.mount}/role/svc"

    def configure(self, **settings: object) -> None:
        """Create the role or change it; an hour of TTL without more."""
        common = {"token_policies": [self.policy], "token_no_default_policy": True, "token_ttl": "1h"}
        self.root("POST", self.role, {**common, **settings})

    def rotate(self) -> None:
        """Take all secret IDs away and put a new one into the file."""
        for accessor in self.accessors():
            self.root("POST", f"{self.role}/secret-id-accessor/destroy", {"secret_id_accessor": accessor})
        self.write(self.root("POST", f"{self.role}/secret-id", {})["data"]["secret_id"])

    def accessors(self) -> list[str]:
        with contextlib.suppress(NotFoundError):  # there is none
            return list(self.root("LIST", f"{self.role}/secret-id")["data"]["keys"])
        return []

    def write(self, secret_id: str) -> None:
        (self.dir / "secret_id").write_text(f"{secret_id}\n")


@contextmanager
def approle(root: Root, directory: Path, kv: str) -> Iterator[AppRole]:
    name = f"svc-{secrets.token_hex(4)}"
    root("POST", f"sys/auth/{name}", {"type": "approle"})
    root("PUT", f"sys/policies/acl/{name}", {"policy": POLICY.replace("{kv}", kv)})
    made = AppRole(root, name, name, directory)
    made.configure()
    (directory / "role_id").write_text(root("GET", f"{made.role}/role-id")["data"]["role_id"])
    made.rotate()
    yield made
    root("DELETE", f"sys/auth/{name}")
    root("DELETE", f"sys/policies/acl/{name}")


@dataclass
class Stage:
    """A login and a connection that uses it, through a wire.

    Attributes:
        wire: sees every call.
        login: what is tested.
        vault: the connection.
        clock: of the login.
        news: what the login has told.
    """

    wire: Wire
    login: Login
    vault: Vault
    clock: Elapsed
    news: list[LoginNews] = field(default_factory=list)

    @property
    def logins(self) -> int:
        return sum(path.endswith("/login") for _, path in self.wire.calls)

    def renewals(self) -> int:
        return self.wire.calls.count(("POST", "auth/token/renew-self"))

    def calls(self, method: str, part: str) -> int:
        return sum(m == method and part in path for m, path in self.wire.calls)


@contextmanager
def staged(server: VaultUnderTest, auth: AuthSettings) -> Iterator[Stage]:
    clock = Elapsed()
    with Wire(server.address) as wire, connected(server, Secret("none"), address=wire.address) as anybody:
        without = anybody.as_token(Secret(""))
        news: list[LoginNews] = []
        login = Login(without, auth, elapsed=clock, uniform=lambda _least, most: most, told=news.append)
        yield Stage(wire, login, without.as_token(login), clock, news)


def holder(root: Root, login: Login) -> dict[str, Any]:
    """What Vault says of the token that a login holds."""
    data: dict[str, Any] = root("POST", "auth/token/lookup", {"token": login.current().reveal()})["data"]
    return data


def revoke(root: Root, login: Login) -> None:
    root("POST", "auth/token/revoke-accessor", {"accessor": holder(root, login)["accessor"]})


def in_threads(count: int, work: Callable[[], object]) -> list[object]:
    """What so many threads at once got, exceptions included."""
    results: list[object] = []
    barrier = threading.Barrier(count)

    def one() -> None:
        barrier.wait()
        try:
            results.append(work())
        except Exception as error:  # noqa: BLE001  # looked at by the test
            results.append(error)

    threads = [threading.Thread(target=one) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return results
