"""The public half that records pin: the same key in each form, and whose signature is whose."""

from base64 import b64encode

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import keys
from vault_asc.key.public_key import public_key

KEY = keys.private_key()
PUBLIC = public_key(KEY.public_key_pem())


def spki(key: ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey) -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return b64encode(key.public_bytes(serialization.Encoding.DER, form)).decode()


def test_pem_and_base64_are_the_same_key_with_the_fingerprint_of_the_private_one() -> None:
    again = public_key(PUBLIC.text)
    assert again == PUBLIC
    assert again.spki_sha256 == KEY.spki_sha256
    assert again.pem() == KEY.public_key_pem()
    assert "\n" not in PUBLIC.text


def test_compressed_point_is_pinned_as_the_same_key() -> None:
    der = keys.tlv(
        keys.SEQUENCE,
        keys.tlv(keys.SEQUENCE, keys.EC_OID, keys.P256_OID),
        keys.tlv(keys.BITS, b"\0" + keys.point(compressed=True)),
    )
    assert public_key(b64encode(der).decode()) == PUBLIC


@given(message=st.binary(max_size=500))
@settings(max_examples=50, deadline=None)
def test_own_signature_verifies_and_no_other(message: bytes) -> None:
    signature = KEY.sign(message)
    assert PUBLIC.verifies(signature, message)
    assert not PUBLIC.verifies(signature, message + b".")
    assert not PUBLIC.verifies(signature[::-1], message)
    assert not public_key(spki(keys.other_ec_key().public_key())).verifies(signature, message)


@given(signature=st.one_of(st.binary(max_size=130), st.binary(min_size=64, max_size=64)))
@settings(max_examples=200, deadline=None)
def test_what_is_no_signature_is_refused_and_never_an_error(signature: bytes) -> None:
    assert not PUBLIC.verifies(signature, b"message")


@pytest.mark.parametrize(
    "signature",
    [b"", b"\0" * 64, b"\xff" * 64, KEY.sign(b"message")[:-1], KEY.sign(b"message") + b"\0"],
    ids=["empty", "zeros", "too large", "short", "long"],
)
def test_signature_of_another_size_or_out_of_range(signature: bytes) -> None:
    assert not PUBLIC.verifies(signature, b"message")


def test_signature_with_s_mirrored_is_the_same_signature() -> None:
    signature = KEY.sign(b"message")
    mirrored = keys.ORDER - int.from_bytes(signature[32:], "big")
    assert PUBLIC.verifies(signature[:32] + mirrored.to_bytes(32, "big"), b"message")


OTHER_CURVE = spki(ec.generate_private_key(ec.SECP384R1()).public_key())
UNKNOWN_CURVE = b64encode(
    keys.tlv(
        keys.SEQUENCE,
        keys.tlv(keys.SEQUENCE, keys.EC_OID, bytes.fromhex("06052b81040006")),  # secp112r1
        keys.tlv(keys.BITS, b"\0\4" + bytes(28)),
    )
).decode()


NO_KEYS = {
    "empty": "",
    "word": "hello",
    "base64 of a word": "aGVsbG8=",
    "no ASCII": "\u00e4",
    "cut": PUBLIC.text[:-8],
    "padded": PUBLIC.text + "====",
    "line end": f"{PUBLIC.text}\n",
    "other label": KEY.public_key_pem().replace("PUBLIC", "PRIVATE"),
    "private": KEY.pem.reveal(),
    "other curve": OTHER_CURVE,
    "unknown curve": UNKNOWN_CURVE,
    "ed25519": spki(ed25519.Ed25519PrivateKey.generate().public_key()),
    "rsa": spki(rsa.generate_private_key(65537, 2048).public_key()),
    "no point of the curve": b64encode(
        keys.tlv(
            keys.SEQUENCE,
            keys.tlv(keys.SEQUENCE, keys.EC_OID, keys.P256_OID),
            keys.tlv(keys.BITS, b"\0\4" + bytes(64)),
        )
    ).decode(),
}


@pytest.mark.parametrize("case", NO_KEYS)
def test_what_is_no_p256_key_is_a_value_error(case: str) -> None:
    with pytest.raises(ValueError):
        public_key(NO_KEYS[case])


def test_repr_is_short() -> None:
    assert "EllipticCurve" not in repr(PUBLIC)
