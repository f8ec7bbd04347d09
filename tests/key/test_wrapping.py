"""What Transit gets of a private key: only the holder of the wrapping key can open it, and what is in it is the key."""

from base64 import b64decode

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap_with_padding

from tests import keys
from vault_asc.errors import VaultError
from vault_asc.key.wrapping import wrapped

WRAPPING_KEY = rsa.generate_private_key(65537, 2048)


def pem(key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey) -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_bytes(serialization.Encoding.PEM, form).decode()


WRAPPING_PEM = pem(WRAPPING_KEY.public_key())


def opened(ciphertext: str) -> bytes:
    """As the engine does it."""
    data = b64decode(ciphertext, validate=True)
    size = WRAPPING_KEY.key_size // 8
    ephemeral = WRAPPING_KEY.decrypt(data[:size], padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None))
    assert len(ephemeral) == 32
    return aes_key_unwrap_with_padding(ephemeral, data[size:])


def test_holder_of_the_wrapping_key_finds_the_key_as_pkcs8() -> None:
    key = keys.private_key()

    der = opened(wrapped(key, WRAPPING_PEM))

    assert der == key.der()
    loaded = serialization.load_der_private_key(der, None)
    assert isinstance(loaded, ec.EllipticCurvePrivateKey)
    assert loaded.private_numbers() == keys.ec_key().private_numbers()


def test_each_wrapping_is_another_text_without_the_key_in_it() -> None:
    key = keys.private_key()
    texts = [wrapped(key, WRAPPING_PEM) for _ in range(3)]
    assert len(set(texts)) == 3
    for text in texts:
        assert keys.scalar() not in b64decode(text)


@pytest.mark.parametrize(
    "text",
    ["", "hello", pem(keys.ec_key().public_key()), WRAPPING_PEM.replace("MIIB", "AAAA"), keys.p8_pem().decode()],
    ids=["empty", "word", "elliptic", "damaged", "private"],
)
def test_without_an_rsa_key_nothing_is_wrapped(text: str) -> None:
    with pytest.raises(VaultError, match="Transit gave no RSA key to wrap with, so nothing was sent") as caught:
        wrapped(keys.private_key(), text)
    assert caught.value.hint
