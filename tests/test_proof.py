"""Whether a token is of a key, and the proof that a key mints such ones."""

import pytest

from tests import keys
from tests.conftest import TokenWith
from tests.support import NAME, TEAM, layout_of, lifecycle_at, new_key, shipped_on, verified
from tests.vaults import VaultUnderTest
from vault_asc.clock import system_clock
from vault_asc.key.private_key import PrivateKey
from vault_asc.names import Custody
from vault_asc.proof import proven_token, verifies
from vault_asc.secret import Secret
from vault_asc.tokens import Token, TokenRequest, mint


@pytest.fixture
def key() -> PrivateKey:
    return new_key()


@pytest.fixture
def token(key: PrivateKey) -> Token:
    return mint(TEAM, TokenRequest(), key, 1_780_000_000.0)


def test_a_token_verifies_with_its_own_public_half_and_no_other(key: PrivateKey, token: Token) -> None:
    assert verifies(token, key.public_key_pem())
    assert not verifies(token, keys.private_key().public_key_pem())


@pytest.mark.parametrize("part", [0, 1, 2])
def test_a_changed_part_does_not_verify(key: PrivateKey, token: Token, part: int) -> None:
    parts = token.value.reveal().split(".")
    parts[part] = parts[part][:10] + ("A" if parts[part][10] != "A" else "B") + parts[part][11:]
    assert not verifies(token._replace(value=Secret(".".join(parts))), key.public_key_pem())


@pytest.mark.parametrize("custody", list(Custody), ids=str)
def test_a_key_is_proven_by_whoever_may_mint_from_it(
    request: pytest.FixtureRequest, vault: VaultUnderTest, token_with: TokenWith, custody: Custody
) -> None:
    key, layout = new_key(), layout_of(request)
    with lifecycle_at(vault, layout) as keeper:
        keeper.import_key(NAME, key, TEAM, custody)
    with shipped_on(vault, layout, token_with) as shipped:
        minter = shipped("minter", key=NAME)
        minted = proven_token(minter.store, NAME, system_clock)
    verified(minted.token, key)
    assert minted.stored.record.custody is custody
