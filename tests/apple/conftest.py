from collections.abc import Iterator

import pytest

from tests.apple.tries import Tries
from tests.support import TEAM, new_key
from vault_asc import http
from vault_asc.key.private_key import PrivateKey
from vault_asc.lab.apple import AppleSimulator


@pytest.fixture
def key() -> PrivateKey:
    return new_key()


@pytest.fixture
def apple(key: PrivateKey) -> Iterator[AppleSimulator]:
    """Knows the key under the team's identity."""
    with AppleSimulator() as simulator:
        simulator.add_key(TEAM.key_id, key.public_key_pem(), issuer_id=TEAM.issuer_id)
        yield simulator


@pytest.fixture
def tries() -> Iterator[Tries]:
    """Without pauses, which it notes."""
    slept: list[float] = []
    with http.session(wait=lambda _seconds: None) as session:
        yield Tries(session, slept)
