"""The engine of the product in a real server, and stock clients to ask it with: `bao`, plain HTTP as curl sends it, hvac."""

import http.client
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import hvac

from tests import keys
from tests.engine.mounted import p8, verified
from tests.engine.rig import Rig, rig
from tests.integration.worlds import Process, below
from vault_asc.lab.bao import bao_binary, clean_environment
from vault_asc.lab.server import BaoServer

PRODUCT: Final = "vault_asc.engine"
PLUGIN: Final = "asc"
_TIMEOUT: Final = 30.0  # seconds for one call


class Answer(NamedTuple):
    """What HTTP gave."""

    status: int
    body: bytes

    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found


@dataclass
class Engine:
    """The server with the engine in its catalog; all calls are made as root.

    Attributes:
        pem: the private key that `add_role` writes, as Apple gives it.
    """

    rig: Rig
    pem: str

    @property
    def server(self) -> BaoServer:
        return self.rig.server

    def add_role(self, mount: str = "asc", role: str = "sales", **fields: object) -> None:
        """A key of the same name as the role, and the role."""
        self.rig.ask("POST", f"{mount}/keys/{role}", self.key())
        self.rig.ask("POST", f"{mount}/roles/{role}", {"key": role, **fields})

    def key(self) -> dict[str, str]:
        """The body that writes the key."""
        return {"private_key": self.pem, "key_id": keys.KEY_ID, "issuer_id": keys.ISSUER_ID}

    def verified(self, answer: dict[str, Any], mount: str = "asc", key: str = "sales") -> dict[str, Any]:
        """The claims of a token by the public key that the engine shows; it raises for a bad signature."""
        return verified(answer, self.rig.ask("GET", f"{mount}/keys/{key}")["data"]["public_key"])

    def bao(self, *words: str) -> str:
        """What `bao` prints; it raises for any other exit code than 0."""
        environ = {"BAO_ADDR": self.server.address, "BAO_TOKEN": self.server.root_token.reveal()}
        done = subprocess.run(
            [bao_binary(), *words],
            env=clean_environment(self.server.work_dir) | environ,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def bao_json(self, *words: str) -> dict[str, Any]:
        """The same as a document; options come before the path."""
        found: dict[str, Any] = json.loads(self.bao(words[0], "-format=json", *words[1:]))
        return found

    def http(self, method: str, path: str, body: bytes | None = None) -> Answer:
        """Bytes out, bytes in: the path below `/v1/` and the body go exactly as they are given."""
        parts = urlsplit(self.server.address)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=_TIMEOUT)
        try:
            connection.request(method, f"/v1/{path}", body, {"X-Vault-Token": self.server.root_token.reveal()})
            response = connection.getresponse()
            return Answer(response.status, response.read())
        finally:
            connection.close()

    def hvac(self) -> hvac.Client:
        return hvac.Client(url=self.server.address, token=self.server.root_token.reveal())

    def processes(self) -> list[Process]:
        """All that the server has started."""
        return below(self.server.pid)


@contextmanager
def engine(directory: Path, **settings: object) -> Iterator[Engine]:
    """A server with the engine registered, run from the source, and mounted at `asc`."""
    with rig(directory, "inmem", **settings) as here:
        here.register(PLUGIN, PRODUCT)
        here.mount("asc", PLUGIN)
        yield Engine(here, p8())
