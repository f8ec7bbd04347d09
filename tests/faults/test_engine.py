"""The engine's process fails, and its server is sealed, while the service takes tokens by a role from it."""

import importlib.util
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from tests.faults.conftest import Told
from tests.faults.rig import SOON, due_in, ready, serving
from tests.integration.worlds import below, until
from vault_asc.lab.serve import ISSUER_ID, new_key
from vault_asc.lab.server import BaoServer
from vault_asc.lab.world import World

pytestmark = [
    pytest.mark.waits,
    pytest.mark.skipif(importlib.util.find_spec("grpclib") is None, reason="needs the packages of the engine"),
]
KEY_ID = "TESTKEY009"


class ByRole(NamedTuple):
    """A world whose target names a role of the engine, and the private key that only the engine has."""

    world: World
    pem: str


@pytest.fixture(scope="module")
def by_role() -> Iterator[ByRole]:
    """Its target reads the token from the engine: it names a role and no key. The server keeps its data on disk."""
    world = World(server=BaoServer(storage="raft"))
    with ready(world):
        server, root = world.server, world.server.root_token
        server.mount_engine()
        pem = new_key(world.apple, KEY_ID).decode()
        body = {"private_key": pem, "key_id": KEY_ID, "issuer_id": ISSUER_ID}
        server.api("POST", "asc/keys/prod", body, token=root)
        server.api("POST", "asc/roles/sales", {"key": "prod", "scope": ["GET /v1/apps"]}, token=root)
        text = world.config_file.read_text()
        world.config_file.write_text(
            re.sub(r"(?m)^lifetime = .*\n", "", text).replace('key = "prod"', 'role = "sales"')
        )
        world.must("push", "sales")
        yield ByRole(world, pem)


def plugin(world: World) -> int:
    """The process of the engine."""
    place = str(world.server.plugin_dir)
    found = [process.pid for process in below(world.server.pid) if place in " ".join(process.argv)]
    return found[0] if found else 0


def killed(world: World) -> None:
    os.kill(plugin(world), signal.SIGKILL)


def reloaded(world: World) -> None:
    world.server.api("PUT", "sys/plugins/reload/backend", {"mounts": ["asc/"]}, token=world.server.root_token)


def sealed_and_unsealed(world: World) -> None:
    world.server.seal()
    time.sleep(0.5)
    world.server.unseal()


@pytest.mark.parametrize("fault", [killed, reloaded, sealed_and_unsealed])
def test_f35_the_process_of_the_engine_goes(by_role: ByRole, told: Told, fault: Callable[[World], None]) -> None:
    world = by_role.world
    due_in(world, SOON, "sales")
    old = plugin(world)
    assert old
    with serving(world) as service:
        fault(world)
        assert service.first("refreshed", "sales")["key_id"] == KEY_ID
        told(service)
        assert len(service.of("failed")) <= 1
        assert until(lambda: plugin(world), "a process") != old
        assert service.stop() == 0
    assert world.nexla.flow_read() == 200
    no_key_on_disk(by_role)


def no_key_on_disk(by_role: ByRole) -> None:
    """Neither the PEM nor a part of it is in a file of the server, its data included."""
    lines = [line.encode() for line in by_role.pem.splitlines()[1:-1]]
    files = [file for file in by_role.world.server.work_dir.rglob("*") if file.is_file()]
    assert len(files) > 3
    for file in files:
        content = file.read_bytes()
        assert not [line for line in lines if line in content], file
