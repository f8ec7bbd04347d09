"""What tests of keys in the engine share: a layout with it, and the commands of key owners, with and without a wire between."""

from collections.abc import Iterator

import pytest

from tests.support import Wire, layout_of, lifecycle_at
from tests.vaults import VaultUnderTest
from vault_asc.lifecycle import Lifecycle
from vault_asc.store import Layout


@pytest.fixture
def layout(request: pytest.FixtureRequest, engine_mount: str) -> Layout:
    return layout_of(request)._replace(engine_mount=engine_mount)


@pytest.fixture
def keeper(vault: VaultUnderTest, layout: Layout) -> Iterator[Lifecycle]:
    with lifecycle_at(vault, layout) as made:
        yield made


@pytest.fixture
def wire(vault: VaultUnderTest) -> Iterator[Wire]:
    with Wire(vault.address) as made:
        yield made


@pytest.fixture
def wired(vault: VaultUnderTest, layout: Layout, wire: Wire) -> Iterator[Lifecycle]:
    with lifecycle_at(vault, layout, address=wire.address) as made:
        yield made
