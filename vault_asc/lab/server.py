"""A real OpenBao server, for the demo and the tests.

Nothing here is for production: one unseal key, which lives in this process's memory with the root token.
"""

import importlib.util
import json
import shutil
import socket
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Self

from vault_asc.errors import ConfigError, VaultError, VaultUnavailableError
from vault_asc.lab import HOW_TO_INSTALL
from vault_asc.lab.bao import bao_binary, call, clean_environment
from vault_asc.lab.bao_agent import BaoAgent
from vault_asc.lab.child import Child
from vault_asc.lab.plugin import plugin_script
from vault_asc.names import DEFAULT_ENGINE_MOUNT, DEFAULT_TRANSIT_MOUNT, ENGINE_TYPE
from vault_asc.secret import Secret

__all__ = ["ENGINE_MOUNT", "KV_MOUNT", "TRANSIT_MOUNT", "BaoAgent", "BaoServer", "ServerTls", "Storage"]

Storage = Literal["inmem", "raft"]
"""Where the server keeps its data: in memory (gone with the process), or in the files of a one-node raft cluster."""

KV_MOUNT: Final = "secret"
TRANSIT_MOUNT: Final = DEFAULT_TRANSIT_MOUNT
ENGINE_MOUNT: Final = DEFAULT_ENGINE_MOUNT

_START_TIMEOUT: Final = 20.0  # seconds; a start takes about half a second on an idle machine
_START_TRIES: Final = 3  # somebody else may take the free port between finding and using it


@dataclass(frozen=True)
class ServerTls:
    """PEM files for a server that speaks TLS: what it shows, and what its clients trust."""

    cert_file: Path
    key_file: Path
    ca_file: Path


class BaoServer:
    """A `bao server` on a free port of 127.0.0.1: initialised, unsealed, KV v2 at `secret/`, Transit at `asc-transit/`.

    Attributes:
        address: `http://127.0.0.1:PORT`, or https when `tls` is given; the same after a restart.
        root_token: the root token.
        ca_file: what a client has to trust, None without TLS.
        work_dir: private directory, removed at the end; holds configuration, log, audit log and stored data.
        audit_log: file of the audit device `lab`; it exists when `audit` was asked for.
        plugin_dir: where plugins of this server lie, unless `settings` name another place.
    """

    _health = "sys/health"

    def __init__(
        self,
        *,
        storage: Storage = "inmem",
        tls: ServerTls | None = None,
        audit: bool = False,
        settings: Mapping[str, object] | None = None,
    ) -> None:
        """Prepare a server; entering the context starts it.

        Args:
            storage: what a restart keeps.
            tls: certificate and key; plain http without.
            audit: switch a file audit device on.
            settings: further top-level settings of the server, such as `plugin_directory`.
        """
        self.work_dir = Path(tempfile.mkdtemp(prefix="vault-asc-bao-"))
        self.audit_log = self.work_dir / "audit.log"
        self.plugin_dir = self.work_dir / "plugins"
        self.plugin_dir.mkdir(mode=0o700)
        self.ca_file = None if tls is None else tls.ca_file
        self.address = ""
        self.root_token = Secret("")
        self._unseal_key = Secret("")
        self._storage: Storage = storage
        self._tls = tls
        self._audit = audit
        self._settings = {"plugin_directory": str(self.plugin_dir), **(settings or {})}
        self._child = Child(
            (bao_binary(), "server", f"-config={self.work_dir / 'server.json'}"),
            log=self.work_dir / "bao.log",
            environ=self._environ(),
        )

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self._discard()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self._discard()

    def start(self) -> None:
        """Start the server, first or again on the same data, and unseal it. `VaultUnavailableError` when it fails."""
        if self.address:
            self._launch()
        else:
            self._launch_on_free_port()
        if not self.api("GET", "sys/init")["initialized"]:
            self._begin()
        else:
            self.unseal()

    def stop(self) -> None:
        """End the server in order; `start` brings it back, with its data unless they were in memory."""
        self._child.stop()

    def kill(self) -> None:
        """End the server as a crash would; `start` brings it back, with its data unless they were in memory."""
        self._child.kill()

    def seal(self) -> None:
        """Seal the server: from now on it answers 503."""
        self.api("PUT", "sys/seal", token=self.root_token)

    def unseal(self) -> None:
        """Unseal the server and wait until it is active."""
        self.api("PUT", "sys/unseal", {"key": self._unseal_key.reveal()})
        self._child.wait_until(lambda: self._answers(self._health), "was active", _START_TIMEOUT)

    def mount_engine(self, path: str = ENGINE_MOUNT) -> None:
        """Mount the asc engine, run from this installation; `ConfigError` when its packages are missing."""
        if importlib.util.find_spec("grpclib") is None:
            raise ConfigError("the engine's packages are not installed", hint=HOW_TO_INSTALL)
        body = plugin_script(self.plugin_dir, ENGINE_TYPE)
        self.api("POST", f"sys/plugins/catalog/secret/{ENGINE_TYPE}", body, token=self.root_token)
        self.api("POST", f"sys/mounts/{path}", {"type": ENGINE_TYPE}, token=self.root_token)

    @property
    def pid(self) -> int:
        """Process ID of the server. `VaultUnavailableError` when it does not run."""
        return self._child.pid

    @property
    def running(self) -> bool:
        """Whether the process runs, sealed or not."""
        return self._child.running

    def log_lines(self) -> list[str]:
        """What the server has logged so far, over all its starts."""
        return self._child.log_lines()

    def api(self, method: str, path: str, body: object = None, *, token: Secret | None = None) -> dict[str, Any]:
        """One call of the server's API below `/v1/`, without a token unless one is given; see `vault_asc.lab.bao.call`."""
        return call(self.address, method, path, body, token=token, ca_file=self.ca_file)

    def _answers(self, path: str, token: Secret | None = None) -> bool:
        try:
            self.api("GET", path, token=token)
        except VaultError:
            return False
        return True

    def _launch_on_free_port(self) -> None:
        for tries_left in reversed(range(_START_TRIES)):
            port, cluster_port = _free_ports()
            self.address = f"{'http' if self._tls is None else 'https'}://127.0.0.1:{port}"
            config = self._config(port, cluster_port)
            (self.work_dir / "server.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
            try:
                return self._launch()
            except VaultUnavailableError:
                taken = any("address already in use" in line for line in self.log_lines())
                if not (taken and tries_left):
                    raise
        raise AssertionError("the last try returns or raises")

    def _launch(self) -> None:
        starts = self._starts_logged()
        self._child.start()

        def answers() -> bool:
            # The log first: when somebody else took the port, it is their server that answers.
            return self._starts_logged() > starts and self._answers("sys/init")

        self._child.wait_until(answers, "answered", _START_TIMEOUT)

    def _starts_logged(self) -> int:
        return sum("server started!" in line for line in self.log_lines())

    def _config(self, port: int, cluster_port: int) -> dict[str, object]:
        listener: dict[str, object] = {
            "address": f"127.0.0.1:{port}",
            "cluster_address": f"127.0.0.1:{cluster_port}",
            "tls_disable": self._tls is None,
        }
        if self._tls is not None:
            listener |= {"tls_cert_file": str(self._tls.cert_file), "tls_key_file": str(self._tls.key_file)}
        config: dict[str, object] = {
            "storage": {self._storage: self._storage_settings()},
            "listener": [{"tcp": listener}],
            "api_addr": self.address,
            "cluster_addr": f"https://127.0.0.1:{cluster_port}",
        }
        if self._audit:
            config["audit"] = [{"type": "file", "path": "lab", "options": {"file_path": str(self.audit_log)}}]
        return config | self._settings

    def _environ(self) -> dict[str, str]:
        return clean_environment(self.work_dir)

    def _storage_settings(self) -> dict[str, object]:
        if self._storage == "inmem":
            return {}
        data = self.work_dir / "data"
        data.mkdir(mode=0o700, exist_ok=True)
        return {"path": str(data), "node_id": "lab", "performance_multiplier": "1"}

    def _begin(self) -> None:
        self._initialise()
        self.unseal()
        self._mount_transit()
        self._mount_kv()

    def _initialise(self) -> None:
        answer = self.api("PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1})
        self._unseal_key = Secret(answer["keys_base64"][0])
        self.root_token = Secret(answer["root_token"])

    def _mount_transit(self) -> None:
        self.api("POST", f"sys/mounts/{TRANSIT_MOUNT}", {"type": "transit"}, token=self.root_token)

    def _mount_kv(self) -> None:
        self.api("POST", f"sys/mounts/{KV_MOUNT}", {"type": "kv", "options": {"version": "2"}}, token=self.root_token)
        # A fresh KV v2 mount answers 400 until its first upgrade has run.
        ready = f"{KV_MOUNT}/config"
        self._child.wait_until(lambda: self._answers(ready, self.root_token), "had its KV mount", _START_TIMEOUT)

    def _discard(self) -> None:
        self._child.stop()
        shutil.rmtree(self.work_dir, ignore_errors=True)


def _free_ports() -> tuple[int, int]:
    with socket.socket() as first, socket.socket() as second:
        first.bind(("127.0.0.1", 0))
        second.bind(("127.0.0.1", 0))
        return first.getsockname()[1], second.getsockname()[1]
