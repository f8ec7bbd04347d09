"""Every form of a key file that has to be refused: one for each message (`BAD`), and what shares one (`ALSO_BAD`)."""

import base64
import datetime as dt
from collections.abc import Callable
from functools import cache
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa, x25519
from cryptography.x509.oid import NameOID

from tests.keys import (
    EC_OID,
    INTEGER,
    OCTETS,
    ORDER,
    P256_OID,
    P384_OID,
    SEQUENCE,
    VERSION_0,
    VERSION_1,
    base64_of,
    ec_key,
    encoded,
    other_ec_key,
    p8_der,
    p8_pem,
    pem,
    pem_der,
    pem_text,
    point,
    scalar,
    sec1_der,
    sec1_pem,
    tlv,
)


@cache
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def public_pem() -> bytes:
    return (
        ec_key().public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )


def certificate_pem() -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    start = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(ec_key().public_key())
    builder = builder.serial_number(1).not_valid_before(start).not_valid_after(start + dt.timedelta(days=1))
    return builder.sign(ec_key(), hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def explicit_parameters() -> bytes:
    """P-256 with its parameters spelled out (RFC 3279, section 2.3.5); some libraries accept it."""
    p = 0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF
    b = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
    generator = point(ec.derive_private_key(1, ec.SECP256R1()))
    field = tlv(SEQUENCE, bytes.fromhex("06072a8648ce3d0101"), integer(p))
    curve = tlv(SEQUENCE, tlv(OCTETS, (p - 3).to_bytes(32, "big")), tlv(OCTETS, b.to_bytes(32, "big")))
    return tlv(SEQUENCE, VERSION_1, field, curve, tlv(OCTETS, generator), integer(ORDER), integer(1))


def integer(value: int) -> bytes:
    return tlv(INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def stray_padding_bits() -> bytes:
    """SEC 1 DER has 121 bytes, so that its base64 ends in two padding characters and four unused bits."""
    body = base64.b64encode(pem_der(sec1_pem())).decode()
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    last = alphabet[alphabet.index(body[-3]) | 1]
    return pem_text(body[:-3] + last + "==", "EC PRIVATE KEY")


def lines_lost() -> bytes:
    lines = p8_pem().splitlines(keepends=True)
    return b"".join([*lines[:-2], lines[-1]])


def edited(old: bytes, new: bytes) -> bytes:
    changed = p8_pem().replace(old, new)
    assert changed != p8_pem()
    return changed


def broken_base64_of_pem() -> bytes:
    return base64_of(p8_pem())[:-3]


def other_curve(curve: ec.EllipticCurve) -> bytes:
    return encoded(ec.generate_private_key(curve))


def with_body(change: Callable[[str], str]) -> bytes:
    return pem_text(change(base64.b64encode(pem_der(p8_pem())).decode()))


BAD: Final[dict[str, Callable[[], bytes]]] = {
    "P-384": lambda: other_curve(ec.SECP384R1()),
    "P-521": lambda: other_curve(ec.SECP521R1()),
    "secp256k1": lambda: other_curve(ec.SECP256K1()),
    "unknown curve": lambda: pem(p8_der(sec1_der(scalar()), parameters=bytes.fromhex("06052a03040506"))),
    "RSA": lambda: encoded(rsa_key()),
    "DSA": lambda: pem(p8_der(b"\x02\x01\x05", algorithm=bytes.fromhex("06072a8648ce380401"), parameters=b"")),
    "Ed25519": lambda: encoded(ed25519.Ed25519PrivateKey.generate()),
    "Ed448": lambda: encoded(ed448.Ed448PrivateKey.generate()),
    "X25519": lambda: encoded(x25519.X25519PrivateKey.generate()),
    "unknown algorithm": lambda: pem(p8_der(sec1_der(scalar()), algorithm=bytes.fromhex("06052a03040506"))),
    "OpenSSH": lambda: encoded(ec_key(), serialization.PrivateFormat.OpenSSH),
    "encrypted": lambda: encoded(ec_key(), passphrase=b"secret"),
    "Proc-Type": lambda: encoded(ec_key(), serialization.PrivateFormat.TraditionalOpenSSL, b"secret"),
    "public": public_pem,
    "certificate": certificate_pem,
    "EC PARAMETERS": lambda: pem(P256_OID, "EC PARAMETERS"),
    "unknown label": lambda: pem(pem_der(p8_pem()), "STRANGE THING"),
    "other form than the label": lambda: pem(pem_der(sec1_pem())),
    "SEC 1 label over PKCS#8": lambda: pem(pem_der(p8_pem()), "EC PRIVATE KEY"),
    "truncated base64": lambda: with_body(lambda body: body[:-3]),
    "truncated DER": lines_lost,
    "stray padding bits": stray_padding_bits,
    "stray characters": lambda: with_body(lambda body: body[:30] + "*" + body[31:]),
    "no BEGIN": lambda: edited(b"-----BEGIN PRIVATE KEY-----\n", b""),
    "no END": lambda: edited(b"-----END PRIVATE KEY-----\n", b""),
    "damaged lines": lambda: p8_pem().replace(b"-----", b"----"),
    "END of another block": lambda: edited(b"END PRIVATE", b"END PUBLIC"),
    "bare base64 of the DER": lambda: base64_of(pem_der(p8_pem())),
    "broken base64 of the PEM": broken_base64_of_pem,
    "binary DER": lambda: pem_der(p8_pem()),
    "no PEM at all": lambda: b"hello, world\n",
    "text before": lambda: b"ASC_KEY=" + p8_pem(),
    "two keys": lambda: p8_pem() + encoded(other_ec_key()),
    "further block": lambda: p8_pem() + public_pem(),
    "UTF-16": lambda: p8_pem().decode().encode("utf-16"),
    "NUL": lambda: edited(b"\n", b"\n\0"),
    "beyond ASCII": lambda: p8_pem().replace(b"-----", "—".encode() * 3),
    "empty": lambda: b"",
    "too large": lambda: p8_pem() + b"\n" * 65536,
    "unexpanded variable": lambda: b"${ASC_PRIVATE_KEY}",
    "scalar out of range": lambda: pem(p8_der(sec1_der(ORDER.to_bytes(32, "big"), public=point()))),
    "short scalar": lambda: pem(p8_der(sec1_der(scalar()[:31]))),
    "foreign public half": lambda: pem(p8_der(sec1_der(scalar(), public=point(other_ec_key())))),
    "trailing bytes": lambda: pem(pem_der(p8_pem()) + b"\0\0"),
    "explicit parameters": lambda: pem(p8_der(sec1_der(scalar(), public=point()), parameters=explicit_parameters())),
    "unnamed parameters": lambda: pem(p8_der(sec1_der(scalar(), public=point()), parameters=b"")),
    "damaged structure": lambda: pem(tlv(SEQUENCE, VERSION_0)),
}
"""One for each message."""


ALSO_BAD: Final[dict[str, tuple[str, Callable[[], bytes]]]] = {
    "UTF-16, big-endian without a mark": ("UTF-16", lambda: p8_pem().decode().encode("utf-16-be")),
    "UTF-16, little-endian without a mark": ("UTF-16", lambda: p8_pem().decode().encode("utf-16-le")),
    "base64 of UTF-16": ("UTF-16", lambda: base64_of(p8_pem().decode().encode("utf-16"))),
    "base64 of UTF-16 without a mark": ("UTF-16", lambda: base64_of(p8_pem().decode().encode("utf-16-le"))),
    "binary DER without public half": ("binary DER", lambda: p8_der(sec1_der(scalar()))),
    "blanks only": ("empty", lambda: b" \r\n\t"),
    "quotes only": ("empty", lambda: b'""'),
    "byte-order mark only": ("empty", lambda: b"\xef\xbb\xbf"),
    "PKCS#1": ("RSA", lambda: encoded(rsa_key(), serialization.PrivateFormat.TraditionalOpenSSL)),
    "PKCS#1 under a PKCS#8 label": (
        "RSA",
        lambda: pem(pem_der(encoded(rsa_key(), serialization.PrivateFormat.TraditionalOpenSSL))),
    ),
    "DSA in its own form": ("DSA", lambda: pem(tlv(SEQUENCE, VERSION_0, *[integer(7)] * 5), "DSA PRIVATE KEY")),
    "DSA under a PKCS#8 label": ("DSA", lambda: pem(tlv(SEQUENCE, VERSION_0, *[integer(7)] * 5))),
    "public key under a private label": ("public", lambda: pem(pem_der(public_pem()))),
    "certificate under a private label": ("certificate", lambda: pem(pem_der(certificate_pem()))),
    "encrypted under a plain label": (
        "encrypted",
        lambda: pem(pem_der(encoded(ec_key(), passphrase=b"secret"))),
    ),
    "two certificates": ("certificate", lambda: certificate_pem() * 2),
    "variable in a template": ("unexpanded variable", lambda: b"{{ asc_private_key }}"),
    "shell variable": ("unexpanded variable", lambda: b"$ASC_PRIVATE_KEY\n"),
    "nothing between the lines": ("truncated base64", lambda: pem(b"")),
    "padding in the middle": ("stray characters", lambda: with_body(lambda body: body[:30] + "=" + body[31:])),
    "URL-safe base64": ("stray characters", lambda: with_body(lambda body: body[:30] + "-_" + body[32:])),
    "superfluous padding": ("truncated base64", lambda: with_body(lambda body: body + "=")),
    "text after": ("text before", lambda: p8_pem() + b"# end\n"),
    "END before BEGIN": (
        "END of another block",
        lambda: b"-----END PRIVATE KEY-----\n-----BEGIN PRIVATE KEY-----\n",
    ),
    "two END lines": ("END of another block", lambda: p8_pem() + b"-----END PRIVATE KEY-----\n"),
    "bare base64 of SEC 1": ("bare base64 of the DER", lambda: base64_of(pem_der(sec1_pem()), 64)),
    "base64 of damaged lines": (
        "damaged lines",
        lambda: base64_of(p8_pem().replace(b"-----BEGIN", b"-----GIN", 1)[:-9]),
    ),
    "base64 of base64": ("no PEM at all", lambda: base64_of(base64_of(p8_pem()))),
    "base64 of the PEM cut off": ("no END", lambda: base64_of(p8_pem()[:-30])),
    "scalar 0": ("scalar out of range", lambda: pem(p8_der(sec1_der(bytes(32))))),
    "scalar above the order": (
        "scalar out of range",
        lambda: pem(p8_der(sec1_der((ORDER + 1).to_bytes(32, "big")))),
    ),
    "scalar of ones": ("scalar out of range", lambda: pem(p8_der(sec1_der(b"\xff" * 32)))),
    "foreign public half, compressed": (
        "foreign public half",
        lambda: pem(p8_der(sec1_der(scalar(), public=point(other_ec_key(), compressed=True)))),
    ),
    "foreign public half in SEC 1": (
        "foreign public half",
        lambda: pem(sec1_der(scalar(), curve=P256_OID, public=point(other_ec_key())), "EC PRIVATE KEY"),
    ),
    "public half that is no point": ("foreign public half", lambda: pem(p8_der(sec1_der(scalar(), public=b"\x04abc")))),
    "trailing bytes inside": ("trailing bytes", lambda: pem(p8_der(sec1_der(scalar()) + b"\0"))),
    "trailing bytes in SEC 1": (
        "trailing bytes",
        lambda: pem(sec1_der(scalar(), curve=P256_OID) + b"\0", "EC PRIVATE KEY"),
    ),
    "NULL for parameters": (
        "unnamed parameters",
        lambda: pem(p8_der(sec1_der(scalar()), parameters=b"\x05\x00")),
    ),
    "SEC 1 without curve": ("unnamed parameters", lambda: pem(sec1_der(scalar(), public=point()), "EC PRIVATE KEY")),
    "SEC 1 with explicit parameters": (
        "explicit parameters",
        lambda: pem(sec1_der(scalar(), curve=explicit_parameters()), "EC PRIVATE KEY"),
    ),
    "explicit parameters inside": (
        "explicit parameters",
        lambda: pem(p8_der(sec1_der(scalar(), curve=explicit_parameters()))),
    ),
    "two different curves": ("P-384", lambda: pem(p8_der(sec1_der(scalar(), curve=P384_OID)))),
    "SEC 1 on P-384": (
        "P-384",
        lambda: encoded(ec.generate_private_key(ec.SECP384R1()), serialization.PrivateFormat.TraditionalOpenSSL),
    ),
    "unknown PKCS#8 version": (
        "damaged structure",
        lambda: pem(tlv(SEQUENCE, b"\x02\x01\x09", tlv(SEQUENCE, EC_OID, P256_OID), tlv(OCTETS, sec1_der(scalar())))),
    ),
    "indefinite length": ("truncated DER", lambda: pem(b"\x30\x80" + pem_der(p8_pem())[3:] + b"\0\0")),
    "length in more bytes than needed": ("truncated DER", lambda: pem(b"\x30\x82\x00" + pem_der(p8_pem())[2:])),
    "no SEQUENCE": ("damaged structure", lambda: pem(tlv(OCTETS, pem_der(p8_pem())))),
    "unknown element": (
        "damaged structure",
        lambda: pem(p8_der(tlv(SEQUENCE, VERSION_1, tlv(OCTETS, scalar()), b"\xa2\0"))),
    ),
}
"""Further forms, with the name of the form in `BAD` that has the same message."""
