"""A real server with a plugin of ours in its catalog."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vault_asc.lab.bao import call
from vault_asc.lab.plugin import plugin_script
from vault_asc.lab.server import BaoServer, Storage
from vault_asc.secret import Secret


@dataclass
class Rig:
    """The server, and calls as root."""

    server: BaoServer
    directory: Path

    def ask(self, method: str, path: str, body: object = None, *, token: Secret | None = None) -> dict[str, Any]:
        return call(self.server.address, method, path, body, token=token or self.server.root_token)

    def register(self, name: str, module: str, version: str = "v0.1.0") -> None:
        """A script that runs the module, in plugin directory and catalog."""
        self.ask("POST", f"sys/plugins/catalog/secret/{name}", plugin_script(self.directory, name, module, version))

    def mount(self, path: str, plugin: str) -> None:
        self.ask("POST", f"sys/mounts/{path}", {"type": plugin})


@contextmanager
def rig(directory: Path, storage: Storage = "inmem", **settings: object) -> Iterator[Rig]:
    directory.mkdir(exist_ok=True)
    with BaoServer(storage=storage, settings={"plugin_directory": str(directory), **settings}) as server:
        yield Rig(server, directory)
