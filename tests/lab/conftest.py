from collections.abc import Iterator
from typing import Any

import pytest

from tests.lab.nexla_client import OTHER, SERVICE_KEY, Client, login
from tests.lab.signing import ISSUER, KEY_ID, Clock, HandSigner
from vault_asc.lab.apple import AppleSimulator
from vault_asc.lab.nexla import NexlaSimulator


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def signer() -> HandSigner:
    return HandSigner()


@pytest.fixture
def apple(clock: Clock, signer: HandSigner) -> Iterator[AppleSimulator]:
    with AppleSimulator(clock=clock) as simulator:
        simulator.add_key(KEY_ID, signer.public_pem, issuer_id=ISSUER)
        yield simulator


@pytest.fixture
def test_url(apple: AppleSimulator) -> str:
    return f"{apple.url}/v1/apps?limit=1"


@pytest.fixture
def nexla(clock: Clock) -> Iterator[NexlaSimulator]:
    with NexlaSimulator(clock=clock) as simulator:
        simulator.add_service_key(SERVICE_KEY)
        yield simulator


@pytest.fixture
def call(nexla: NexlaSimulator) -> Client:
    return Client(nexla, login(nexla).json()["access_token"])


@pytest.fixture
def other(nexla: NexlaSimulator) -> Client:
    nexla.add_service_key("other-key", user=OTHER)
    return Client(nexla, login(nexla, "other-key").json()["access_token"])


@pytest.fixture
def template(nexla: NexlaSimulator, test_url: str) -> dict[str, Any]:
    made = nexla.add_template_credential(test_url=test_url)
    return {"vendor_id": 77, "auth_template_id": made.id}
