"""A service key that is rotated in Vault while a service runs: a real server, and the ports that `run` has."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.conftest import Root
from tests.nexla.tenant import ID, SERVICE_KEY, Tenant
from tests.support import connected
from tests.test_rotation import TARGET, World
from tests.vaults import VaultUnderTest
from vault_asc.cli.wiring import Connection
from vault_asc.config import parse
from vault_asc.errors import NexlaError, NotFoundError
from vault_asc.lab.nexla.fixtures import FIXTURES
from vault_asc.nexla.publisher import NexlaPublisher
from vault_asc.outcome import Outcome
from vault_asc.refreshing import Ports, refresh
from vault_asc.rotation import TargetState


class Kept:
    """The service key in Vault, and attempts with it for many targets at once."""

    def __init__(self, tenant: Tenant, root: Root, mount: str, publisher: NexlaPublisher) -> None:
        self.tenant, self.root, self.mount, self.publisher = tenant, root, mount, publisher

    def store(self, **data: str) -> None:
        self.root("POST", f"{self.mount}/data/nexla", {"data": data})

    def attempts(self, count: int) -> list[TargetState]:
        """Attempts for so many targets at the same time, all for one credential."""
        world = World(now=self.tenant.clock())
        ports = Ports(world.clock, self._mint(world), world.write_token_file, self.publisher)
        with ThreadPoolExecutor(count) as pool:
            return list(pool.map(lambda _: refresh(TARGET, TargetState(), None, ports), range(count)))

    def _mint(self, world: World) -> Any:
        return lambda target: (world.mint(target)[0]._replace(value=self.tenant.token()), 4)


@pytest.fixture
def kept(tenant: Tenant, vault: VaultUnderTest, root: Root, kv_mount: str) -> Iterator[Kept]:
    FIXTURES["a"](tenant.nexla, tenant.test_url)
    key = {"mount": kv_mount, "path": "nexla"}
    config = parse({"version": 1, "nexla": {"default": {"api_url": tenant.nexla.url, "service_key": key}}}, None, {})
    assert TARGET.credential_id == ID
    with connected(vault) as known:
        clients = [Connection(None).nexla(config, "default", known)]
        kept = Kept(tenant, root, kv_mount, NexlaPublisher(lambda _: clients[0], tenant.clock))
        kept.store(service_key=f"{SERVICE_KEY}\n")
        yield kept


def test_a_key_that_was_rotated_is_picked_up_by_who_is_refused(kept: Kept) -> None:
    tenant = kept.tenant
    assert {state.outcome for state in kept.attempts(4)} == {Outcome.LIVE}
    tenant.nexla.add_service_key("the-new-one")
    kept.store(service_key="the-new-one")
    tenant.nexla.set_service_key(SERVICE_KEY, active=False)
    tenant.nexla.end_sessions()
    assert {state.outcome for state in kept.attempts(4)} == {Outcome.LIVE}
    assert tenant.asked("POST", "/token", 401) == 1
    assert tenant.asked("POST", "/token") == 3


def test_one_refused_login_is_shared_by_all_targets(kept: Kept) -> None:
    tenant = kept.tenant
    kept.attempts(1)
    tenant.nexla.set_service_key(SERVICE_KEY, active=False)
    tenant.nexla.end_sessions()
    states = [state for _ in range(3) for state in kept.attempts(10)]
    said = [state.detail for state in states]
    assert tenant.asked("POST", "/token", 401) == 1, "30 targets"
    assert all("answered 401 to the login" in text and "within a minute" in text for text in said)
    waits = [state.next_try - tenant.clock() for state in states]
    assert min(waits) > 50, "what is shared for a minute is not asked for within that minute"
    assert not any(SERVICE_KEY in text for text in said)


def test_what_is_wrong_with_the_key_in_vault_is_told(kept: Kept) -> None:
    kept.store(other="x")
    [state] = kept.attempts(1)
    assert f'"{kept.mount}/nexla" has no field "service_key"' in state.detail
    kept.root("DELETE", f"{kept.mount}/metadata/nexla")
    with pytest.raises(NotFoundError):
        kept.publisher.client("default").login()
    kept.store(service_key="wrong")
    with pytest.raises(NexlaError, match="answered 401"):
        kept.publisher.client("default").login()
