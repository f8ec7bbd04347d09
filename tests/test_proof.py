import pytest

from tests import keys
from tests.support import TEAM, new_key
from vault_asc.key.private_key import PrivateKey
from vault_asc.proof import verifies
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
