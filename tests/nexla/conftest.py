"""Fixtures around `tests.nexla.tenant`."""

from collections.abc import Iterator

import pytest

from tests.lab.signing import Clock
from tests.nexla.tenant import Tenant
from vault_asc.lab.apple import AppleSimulator
from vault_asc.lab.nexla import NexlaSimulator
from vault_asc.lab.nexla.fixtures import FIXTURES


@pytest.fixture
def tenant() -> Iterator[Tenant]:
    clock = Clock()
    with AppleSimulator(clock=clock) as apple, NexlaSimulator(clock=clock) as nexla:
        yield Tenant(nexla, apple, clock)


@pytest.fixture
def ready(tenant: Tenant) -> Tenant:
    """With the plain credential (fixture a) and a client that is logged in."""
    FIXTURES["a"](tenant.nexla, tenant.test_url)
    tenant.client.login()
    return tenant
