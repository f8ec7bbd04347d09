"""The private key of an App Store Connect API key: checked once when it comes in, then only used for signing.

Pure: bytes in, a key in one canonical form out. The error texts of `cryptography` are replaced by our own and its
exceptions are not chained, because what they hold is not ours to promise.
"""

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from vault_asc.errors import PrivateKeyError
from vault_asc.key.wrong_keys import ORIGINAL
from vault_asc.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable

    from vault_asc.key.der import EcKey

_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # of P-256 (SEC 2, 2.4.2)
_COORDINATE_BYTES: Final = 32


@dataclass(frozen=True)
class PrivateKey:
    """A P-256 key that `parse_private_key` has accepted.

    Attributes:
        pem: the key as unencrypted PKCS#8 PEM with LF line ends, the same text however the key came in.
        spki_sha256: hexadecimal SHA-256 of the DER SubjectPublicKeyInfo, the fingerprint that records pin.
    """

    pem: Secret
    spki_sha256: str
    _ec: ec.EllipticCurvePrivateKey = field(repr=False, compare=False)

    def sign(self, message: bytes) -> bytes:
        """ECDSA over SHA-256 of the message, 64 bytes `r || s` as JOSE wants it (RFC 7518, section 3.4), not DER."""
        r, s = decode_dss_signature(self._ec.sign(message, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(_COORDINATE_BYTES, "big") + s.to_bytes(_COORDINATE_BYTES, "big")

    def der(self) -> bytes:
        """The key as unencrypted PKCS#8 DER, to be wrapped at once."""
        return self._ec.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    def public_key_pem(self) -> str:
        """The public half as `PUBLIC KEY` PEM."""
        public = self._ec.public_key()
        return public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode(
            "ascii"
        )


def parse_private_key(data: bytes) -> PrivateKey:
    """The key in the bytes of a .p8 file or of what a secret manager made of one.

    Accepts PKCS#8 and SEC 1 PEM in every form that leaves no doubt (see `vault_asc.key.pem`). Refuses everything else with
    a `PrivateKeyError` whose message names the cause and holds nothing of the key.
    """
    from vault_asc.key.der import read_ec_key
    from vault_asc.key.pem import read_block

    label, der = read_block(data)
    parts = read_ec_key(label, der)
    key = _derived(parts)
    _check_loads_as(key, der)
    return _canonical(key)


def stored_private_key(pem: str) -> PrivateKey:
    """The key of a private part that `parse_private_key` made canonical when it came in.

    Quicker than parsing, because it does not look for the cause of a fault: a mint compares the fingerprint with the
    record's anyway. Refuses with `PrivateKeyError` what is no P-256 key.
    """
    return _canonical(_loaded(pem.encode(), serialization.load_pem_private_key))


def _derived(parts: "EcKey") -> ec.EllipticCurvePrivateKey:
    """The key of the private number alone; the public half of the file, if any, has to be the one it gives."""
    number = int.from_bytes(parts.scalar, "big")
    if not 0 < number < _ORDER:
        raise PrivateKeyError(
            "the private number of the key is out of range for P-256", hint=f"the key is damaged or made up; {ORIGINAL}"
        )
    key = ec.derive_private_key(number, ec.SECP256R1())
    if parts.point is not None and parts.point not in _encodings(key.public_key()):
        raise PrivateKeyError(
            "the public half in the private key file belongs to another key",
            hint=f"the file was changed or put together from two keys; {ORIGINAL}",
        )
    return key


def _encodings(public: ec.EllipticCurvePublicKey) -> set[bytes]:
    x962 = serialization.Encoding.X962
    formats = serialization.PublicFormat.UncompressedPoint, serialization.PublicFormat.CompressedPoint
    return {public.public_bytes(x962, form) for form in formats}


def _check_loads_as(key: ec.EllipticCurvePrivateKey, der: bytes) -> None:
    """Asks the library for its own reading of the file: two readers that disagree are a reason to refuse."""
    if _loaded(der, serialization.load_der_private_key).private_numbers() != key.private_numbers():
        raise PrivateKeyError("the private key cannot be read as an EC P-256 key", hint=ORIGINAL)


def _loaded(data: bytes, load: "Callable[[bytes, None], object]") -> ec.EllipticCurvePrivateKey:
    try:
        loaded = load(data, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        loaded = None
    if not isinstance(loaded, ec.EllipticCurvePrivateKey) or not isinstance(loaded.curve, ec.SECP256R1):
        raise PrivateKeyError("the private key cannot be read as an EC P-256 key", hint=ORIGINAL)
    return loaded


def _canonical(key: ec.EllipticCurvePrivateKey) -> PrivateKey:
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode("ascii")
    spki = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return PrivateKey(Secret(pem), hashlib.sha256(spki).hexdigest(), key)
