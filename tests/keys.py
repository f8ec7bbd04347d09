"""Private keys for tests, made at run time and never committed: fresh ones, and one in every form that is accepted."""

import base64
from collections.abc import Callable
from functools import cache
from typing import Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from vault_asc.key.private_key import PrivateKey, parse_private_key

KEY_ID = "2X9R4HXF34"
OTHER_KEY_ID = "7KDM1QZT0B"
ISSUER_ID = "57246542-96fe-1a63-e053-0824d011072a"

ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
P256_OID: Final = bytes.fromhex("06082a8648ce3d030107")
P384_OID: Final = bytes.fromhex("06052b81040022")
EC_OID: Final = bytes.fromhex("06072a8648ce3d0201")
VERSION_0: Final = b"\x02\x01\x00"
VERSION_1: Final = b"\x02\x01\x01"
INTEGER, BITS, OCTETS, SEQUENCE, CONTEXT_0, CONTEXT_1 = 0x02, 0x03, 0x04, 0x30, 0xA0, 0xA1


@cache
def ec_key() -> ec.EllipticCurvePrivateKey:
    """The one good key that all variants share."""
    return ec.generate_private_key(ec.SECP256R1())


@cache
def other_ec_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def new_p8_pem() -> bytes:
    """A fresh key at each call, for tests that need several."""
    return encoded(ec.generate_private_key(ec.SECP256R1()))


def private_key() -> PrivateKey:
    return parse_private_key(p8_pem())


def scalar(key: ec.EllipticCurvePrivateKey | None = None) -> bytes:
    return (key or ec_key()).private_numbers().private_value.to_bytes(32, "big")


def point(key: ec.EllipticCurvePrivateKey | None = None, *, compressed: bool = False) -> bytes:
    form = serialization.PublicFormat.CompressedPoint if compressed else serialization.PublicFormat.UncompressedPoint
    return (key or ec_key()).public_key().public_bytes(serialization.Encoding.X962, form)


def encoded(
    key: PrivateKeyTypes,
    form: serialization.PrivateFormat = serialization.PrivateFormat.PKCS8,
    passphrase: bytes | None = None,
) -> bytes:
    encryption = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, form, encryption)


# Hand-made DER and PEM: what no library writes.


def tlv(tag: int, *contents: bytes) -> bytes:
    body = b"".join(contents)
    size = len(body)
    if size < 0x80:
        return bytes([tag, size]) + body
    count = (size.bit_length() + 7) // 8
    return bytes([tag, 0x80 | count]) + size.to_bytes(count, "big") + body


def sec1_der(number: bytes, *, curve: bytes = b"", public: bytes = b"") -> bytes:
    return tlv(
        SEQUENCE,
        VERSION_1,
        tlv(OCTETS, number),
        tlv(CONTEXT_0, curve) if curve else b"",
        tlv(CONTEXT_1, tlv(BITS, b"\0", public)) if public else b"",
    )


def p8_der(inner: bytes, *, parameters: bytes = P256_OID, algorithm: bytes = EC_OID, more: bytes = b"") -> bytes:
    return tlv(SEQUENCE, VERSION_0, tlv(SEQUENCE, algorithm, parameters), tlv(OCTETS, inner), more)


def pem(der: bytes, label: str = "PRIVATE KEY", width: int = 64) -> bytes:
    return pem_text(base64.b64encode(der).decode(), label, width)


def pem_text(body: str, label: str = "PRIVATE KEY", width: int = 64) -> bytes:
    lines = [body[i : i + width] for i in range(0, len(body), width)]
    return "\n".join([f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""]).encode()


def pem_der(text: bytes) -> bytes:
    return base64.b64decode(b"".join(line for line in text.splitlines() if not line.startswith(b"-----")))


# Good forms.


def p8_pem() -> bytes:
    """The canonical form."""
    return encoded(ec_key())


def apple_pem() -> bytes:
    """150 bytes of DER, as Apple writes it: with inner curve parameters and public half."""
    return pem(p8_der(sec1_der(scalar(), curve=P256_OID, public=point())))


def sec1_pem() -> bytes:
    return encoded(ec_key(), serialization.PrivateFormat.TraditionalOpenSSL)


def base64_of(data: bytes, width: int = 0) -> bytes:
    packed = base64.b64encode(data)
    return b"\n".join(packed[i : i + width] for i in range(0, len(packed), width)) + b"\n" if width else packed


def attributes() -> bytes:
    """The key usage attribute that some exporters add to PKCS#8."""
    return tlv(CONTEXT_0, tlv(SEQUENCE, bytes.fromhex("0603551d0f"), tlv(0x31, bytes.fromhex("03020780"))))


GOOD: Final[dict[str, Callable[[], bytes]]] = {
    "PKCS#8": p8_pem,
    "as Apple writes it": apple_pem,
    "CRLF": lambda: p8_pem().replace(b"\n", b"\r\n"),
    "CR": lambda: p8_pem().replace(b"\n", b"\r"),
    "byte-order mark": lambda: b"\xef\xbb\xbf" + p8_pem(),
    "blanks around": lambda: b"\n \t" + p8_pem() + b" \r\n\n",
    "no final newline": lambda: p8_pem().rstrip(b"\n"),
    "indented": lambda: b"".join(b"    " + line for line in p8_pem().splitlines(keepends=True)),
    "blanks for line ends": lambda: p8_pem().replace(b"\n", b" "),
    "one line of base64": lambda: pem(pem_der(p8_pem()), width=1000),
    "76 columns": lambda: pem(pem_der(p8_pem()), width=76),
    "literal backslash-n": lambda: p8_pem().replace(b"\n", rb"\n"),
    "literal backslash-r backslash-n": lambda: p8_pem().replace(b"\n", rb"\r\n"),
    "doubly escaped": lambda: p8_pem().replace(b"\n", rb"\\n"),
    "base64 of the PEM": lambda: base64_of(p8_pem()),
    "base64 of Apple's PEM": lambda: base64_of(apple_pem()),
    "wrapped base64 of the PEM": lambda: base64_of(p8_pem(), 76),
    "base64 of CRLF with a mark": lambda: base64_of(b"\xef\xbb\xbf" + p8_pem().replace(b"\n", b"\r\n"), 64),
    "quoted base64 of SEC 1": lambda: b'"' + base64_of(sec1_pem()) + b'"\n',
    "SEC 1": sec1_pem,
    "SEC 1 without public half": lambda: pem(sec1_der(scalar(), curve=P256_OID), "EC PRIVATE KEY"),
    "SEC 1 with CRLF": lambda: sec1_pem().replace(b"\n", b"\r\n"),
    "double quotes": lambda: b'"' + p8_pem() + b'"',
    "single quotes": lambda: b"'" + p8_pem().rstrip() + b"'\n",
    "quotes and literal backslash-n": lambda: b'"' + p8_pem().replace(b"\n", rb"\n") + b'"\n',
    "PKCS#8 without public half": lambda: pem(p8_der(sec1_der(scalar()))),
    "compressed public half": lambda: pem(p8_der(sec1_der(scalar(), public=point(compressed=True)))),
    "PKCS#8 with attributes": lambda: pem(p8_der(sec1_der(scalar(), public=point()), more=attributes())),
}
