"""The servers that the fixture `vault` can stand for: OpenBao of the lab, a container of any image, one that runs."""

import importlib
import json
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from vault_asc.errors import VaultError
from vault_asc.lab.bao import call
from vault_asc.lab.server import KV_MOUNT, TRANSIT_MOUNT, BaoServer
from vault_asc.names import check_address
from vault_asc.secret import Secret, safe_text

LAB: Final = "lab"
DOCKER: Final = "docker"
DEFAULT_IMAGE: Final = "hashicorp/vault:latest"

_PORT: Final = 8200
_START_TIMEOUT: Final = 30.0  # seconds; an image that has to be pulled is there by then
_TAIL: Final = 2000  # characters of a container's log in an error
_SERVER_FILE: Final = "/vault-asc-test.json"
_SERVER: Final = {
    "storage": {"inmem": {}},
    "listener": [{"tcp": {"address": f"0.0.0.0:{_PORT}", "tls_disable": True}}],
    "api_addr": f"http://127.0.0.1:{_PORT}",
    "disable_mlock": True,
}


@dataclass(frozen=True)
class VaultUnderTest:
    """A running, unsealed server.

    Attributes:
        address: URL of the server.
        root_token: a token that may do everything.
        ca_file: what a client has to trust, None when the system's certificates are enough.
        audit_device: name of a file audit device that is switched on, None when it is not known to be.
        plugin_dir: its plugin directory, None when there is none in reach.
    """

    address: str
    root_token: Secret
    ca_file: Path | None = None
    audit_device: str | None = None
    plugin_dir: Path | None = None


@dataclass(frozen=True)
class Choice:
    """Which server to use: what `--vault`, `--vault-token-file` and `--vault-ca-file` say."""

    server: str = LAB
    token_file: Path | None = None
    ca_file: Path | None = None

    def check(self) -> None:
        """Raise `ValueError` with a sentence for the user when this cannot be had."""
        if self.server == LAB:
            return
        if self._image is not None:
            _check_docker()
        elif self.server.startswith(("http://", "https://")):
            check_address(self.server, "--vault")
            if self.token_file is None or not self.token_file.is_file():
                raise ValueError("--vault=URL needs --vault-token-file=FILE with a token that may do everything")
        else:
            raise ValueError(f'--vault is "lab", "docker", "docker:IMAGE" or a URL, not "{self.server}"')

    def open(self) -> Iterator[VaultUnderTest]:
        """The chosen server for as long as the iteration is open."""
        if self.server == LAB:
            yield from _lab()
        elif self._image is not None:
            yield from _container(self._image)
        else:
            assert self.token_file is not None  # `check` has seen to it
            token = Secret(self.token_file.read_text(encoding="utf-8").strip())
            yield VaultUnderTest(self.server.rstrip("/"), token, self.ca_file)

    @property
    def _image(self) -> str | None:
        kind, _, image = self.server.partition(":")
        return (image or DEFAULT_IMAGE) if kind == DOCKER else None


def _lab() -> Iterator[VaultUnderTest]:
    with BaoServer(audit=True) as server:
        yield VaultUnderTest(server.address, server.root_token, audit_device="lab", plugin_dir=server.plugin_dir)


def _container(image: str) -> Iterator[VaultUnderTest]:
    container = _prepared(image)
    try:
        with _quiet():
            container.start()
            address = f"http://127.0.0.1:{container.get_exposed_port(_PORT)}"
        yield VaultUnderTest(address, _set_up(address, container))
    finally:
        with _quiet():
            container.stop()


def _prepared(image: str) -> Any:
    """A container that serves one empty, uninitialised Vault; nothing secret is in its arguments or environment.

    The configuration is a file, because the images' own variables for it differ and an image without a shell has none.
    """
    with _quiet():
        from testcontainers.core.container import DockerContainer

        container: Any = DockerContainer(image).with_kwargs(cap_add=["IPC_LOCK"])
    container.ports[f"{_PORT}/tcp"] = ("127.0.0.1",)  # with_exposed_ports would publish it to the whole network
    container.with_copy_into_container(json.dumps(_SERVER).encode(), _SERVER_FILE)
    return container.with_command(["server", f"-config={_SERVER_FILE}"])


def _set_up(address: str, container: Any) -> Secret:
    """Initialise and unseal the server, mount KV v2 at `secret/` and Transit at `asc-transit/`; the root token."""
    try:
        _eventually(lambda: call(address, "GET", "sys/init"), _START_TIMEOUT)
    except VaultError as exc:
        exc.add_note(safe_text(b"".join(container.get_logs()).decode("utf-8", "replace")[-_TAIL:], _TAIL))
        raise
    made = call(address, "PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1})
    call(address, "PUT", "sys/unseal", {"key": made["keys_base64"][0]})
    _eventually(lambda: call(address, "GET", "sys/health"), _START_TIMEOUT)  # an error until it is active
    server = VaultUnderTest(address, Secret(made["root_token"]))
    engines = {KV_MOUNT: {"type": "kv", "options": {"version": "2"}}, TRANSIT_MOUNT: {"type": "transit"}}
    for mount, settings in engines.items():
        call(address, "POST", f"sys/mounts/{mount}", settings, token=server.root_token)
    wait_for_kv(server, KV_MOUNT)
    return server.root_token


def wait_for_kv(server: VaultUnderTest, mount: str, timeout: float = 10.0) -> None:
    """Wait until a KV v2 mount works: a fresh one answers 400 for some moments."""

    def look() -> object:
        return call(server.address, "GET", f"{mount}/config", token=server.root_token, ca_file=server.ca_file)

    _eventually(look, timeout)


def _eventually(ask: Callable[[], object], timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while True:
        try:
            ask()
        except VaultError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _check_docker() -> None:
    # By name, because for mypy the folder docker/ of this repository hides the package.
    docker = importlib.import_module("docker")
    with _quiet():
        try:
            client = docker.from_env(timeout=5)
            client.ping()
            client.close()
        except docker.errors.DockerException as exc:
            raise ValueError("--vault=docker needs a running Docker engine, and none answers") from exc


@contextmanager
def _quiet() -> Iterator[None]:
    # The docker packages leave sockets to the garbage collector, which the tests' settings would turn into errors.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
