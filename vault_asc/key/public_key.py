"""The public half of a key that signs elsewhere: its fingerprint, and whether a signature is of it. Pure."""

import hashlib
from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

_COORDINATE_BYTES: Final = 32


@dataclass(frozen=True)
class PublicKey:
    """A P-256 public key.

    Attributes:
        text: base64 of the DER SubjectPublicKeyInfo, as records hold it.
        spki_sha256: hexadecimal SHA-256 of that DER, the fingerprint that records pin.
    """

    text: str
    spki_sha256: str
    _ec: ec.EllipticCurvePublicKey = field(repr=False, compare=False)

    def pem(self) -> str:
        """The key as `PUBLIC KEY` PEM."""
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return self._ec.public_bytes(serialization.Encoding.PEM, form).decode("ascii")

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Whether `signature` (64 bytes, r then s) is this key's ES256 signature of `message`."""
        if len(signature) != 2 * _COORDINATE_BYTES:
            return False
        r, s = signature[:_COORDINATE_BYTES], signature[_COORDINATE_BYTES:]
        der = encode_dss_signature(int.from_bytes(r, "big"), int.from_bytes(s, "big"))
        try:
            self._ec.verify(der, message, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            return False
        return True


@lru_cache(maxsize=1024)  # a service mints from the same few keys again and again
def public_key(text: str) -> PublicKey:
    """The key of a record's base64 or of Transit's PEM. `ValueError` when it is no P-256 key."""
    pem = text.lstrip().startswith("-----BEGIN")
    try:
        loaded = (
            serialization.load_pem_public_key(text.encode())
            if pem
            else serialization.load_der_public_key(b64decode(text, validate=True))
        )
    except UnsupportedAlgorithm as exc:
        raise ValueError("no P-256 key") from exc
    if not isinstance(loaded, ec.EllipticCurvePublicKey) or not isinstance(loaded.curve, ec.SECP256R1):
        raise ValueError("no P-256 key")  # noqa: TRY004 - one error for every text that is no such key
    spki = loaded.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return PublicKey(b64encode(spki).decode(), hashlib.sha256(spki).hexdigest(), loaded)
