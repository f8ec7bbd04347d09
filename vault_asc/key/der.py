"""What is inside the DER of a private key, so that each thing that is wrong with it has a name.

The `cryptography` package stays the judge of the key (see `vault_asc.key.private_key`): it says *no*, this says *why*, and catches
what some of its versions let pass (explicit parameters, a foreign public half). Sources: RFC 5208, RFC 5915, RFC 5480.
"""

from dataclasses import dataclass, field
from typing import Final, NamedTuple

from vault_asc.errors import PrivateKeyError
from vault_asc.key.pem import PKCS8, SEC1
from vault_asc.key.wrong_keys import ORIGINAL, refusal

_INTEGER, _BITS, _OCTETS, _OID, _SEQUENCE = 0x02, 0x03, 0x04, 0x06, 0x30
_CONTEXT_0, _CONTEXT_1 = 0xA0, 0xA1
_LONG_FORM: Final = 0x80
_LENGTH_BYTES_MAX: Final = 3  # far above `MAX_KEY_BYTES`
_SCALAR_BYTES: Final = 32

_EC: Final = "2a8648ce3d0201"
_P256: Final = "2a8648ce3d030107"
_ALGORITHMS: Final = {
    "2a864886f70d01010a": "an RSA-PSS",
    "2a864886f70d010301": "a Diffie-Hellman",
    "2b656e": "an X25519",
    "2b656f": "an X448",
    "2b6570": "an Ed25519",
    "2b6571": "an Ed448",
}
_CURVES: Final = {
    "2a8648ce3d030101": "P-192 (secp192r1)",
    "2b81040021": "P-224 (secp224r1)",
    "2b81040022": "P-384 (secp384r1)",
    "2b81040023": "P-521 (secp521r1)",
    "2b8104000a": "secp256k1",
    "2b2403030208010107": "brainpoolP256r1",
    "2b240303020801010b": "brainpoolP384r1",
    "2b240303020801010d": "brainpoolP512r1",
}
_REFUSED_KEYS: Final = {"2a864886f70d010101": "RSA", "2a8648ce380401": "DSA"}


@dataclass(frozen=True)
class EcKey:
    """The parts of a P-256 key as they stand in the file, not yet compared with each other.

    Attributes:
        scalar: the private number, 32 bytes.
        point: the public half as SEC 1 encodes it, None when the file has none.
    """

    scalar: bytes = field(repr=False)
    point: bytes | None


class _Element(NamedTuple):
    tag: int
    content: bytes


class _DerError(ValueError):
    """The bytes are not DER; carries none of them."""


def read_ec_key(label: str, der: bytes) -> EcKey:
    """The P-256 key in a PEM block with this label, `PrivateKeyError` naming what else it is or what is wrong."""
    try:
        outer, rest = _split(der)
    except _DerError as exc:
        raise PrivateKeyError("the private key is cut off inside its base64", hint=ORIGINAL) from exc
    if rest:
        raise _trailing()
    try:
        return _from_elements(label, _sequence(outer))
    except _DerError as exc:
        raise PrivateKeyError(
            "the private key is damaged: its structure is not PKCS#8 or SEC 1", hint=ORIGINAL
        ) from exc


def _from_elements(label: str, parts: list[_Element]) -> EcKey:
    form = _form(tuple(part.tag for part in parts))
    if form != label:
        raise PrivateKeyError(
            f'the label of the PEM block says "{label}", its content is "{form}"',
            hint=f'write "{form}" into its first and last line',
        )
    if form == SEC1:
        return _sec1(parts, curve_named=False)
    algorithm = _elements(parts[1].content)
    _check_algorithm(algorithm)
    inner, rest = _split(parts[2].content)
    if rest:
        raise _trailing()
    if parts[0].content != b"\0":
        raise _DerError
    _check_curve(algorithm[1:])
    return _sec1(_sequence(inner), curve_named=True)


def _form(tags: tuple[int, ...]) -> str:
    """`PKCS8` or `SEC1` by the types of the outermost elements; refuses the other things that are known."""
    if tags[:3] == (_INTEGER, _SEQUENCE, _OCTETS):
        return PKCS8
    if tags[:2] == (_INTEGER, _OCTETS):
        return SEC1
    others = {
        (_SEQUENCE, _BITS): "public",
        (_SEQUENCE, _OCTETS): "encrypted",
        (_SEQUENCE, _SEQUENCE, _BITS): "certificate",
        (_INTEGER,) * 9: "RSA",
        (_INTEGER,) * 6: "DSA",
    }
    if tags in others:
        raise refusal(others[tags])
    raise _DerError


def _check_algorithm(algorithm: list[_Element]) -> None:
    """Refuses every PKCS#8 key that is not an elliptic-curve key, naming the ones that are known."""
    if not algorithm or algorithm[0].tag != _OID:
        raise _DerError
    oid = algorithm[0].content.hex()
    if oid in _REFUSED_KEYS:
        raise refusal(_REFUSED_KEYS[oid])
    if oid != _EC:
        name = _ALGORITHMS.get(oid, "not an elliptic-curve")
        raise PrivateKeyError(f"the private key is {name} key, not EC P-256", hint=f"ES256 needs P-256; {ORIGINAL}")


def _check_curve(parameters: list[_Element]) -> None:
    """Refuses everything but P-256 by its name: another curve, spelled-out or missing parameters."""
    if len(parameters) == 1 and parameters[0].tag == _OID:
        oid = parameters[0].content.hex()
        if oid == _P256:
            return
        name = _CURVES.get(oid, "an unknown curve")
        raise PrivateKeyError(f"the private key is on {name}, not P-256", hint=f"Apple's keys are P-256; {ORIGINAL}")
    if len(parameters) == 1 and parameters[0].tag == _SEQUENCE:
        raise PrivateKeyError(
            "the private key spells out its curve parameters instead of naming P-256",
            hint="name the curve: openssl pkey -in FILE -ec_param_enc named_curve -out KEY.p8",
        )
    raise PrivateKeyError("the private key does not name its curve", hint=ORIGINAL)


def _sec1(parts: list[_Element], *, curve_named: bool) -> EcKey:
    """The scalar and public half of an ECPrivateKey, which has to name its curve unless PKCS#8 did so around it."""
    tags = [part.tag for part in parts]
    if tags[:2] != [_INTEGER, _OCTETS] or parts[0].content != b"\x01":
        raise _DerError
    if tags[2:] not in ([], [_CONTEXT_0], [_CONTEXT_1], [_CONTEXT_0, _CONTEXT_1]):
        raise _DerError
    tagged = {part.tag: _elements(part.content) for part in parts[2:]}
    if not curve_named or _CONTEXT_0 in tagged:
        _check_curve(tagged.get(_CONTEXT_0, []))
    scalar = parts[1].content
    if len(scalar) != _SCALAR_BYTES:
        raise PrivateKeyError(
            f"the private number of the key has {len(scalar)} bytes instead of {_SCALAR_BYTES}", hint=ORIGINAL
        )
    return EcKey(scalar, _point(tagged[_CONTEXT_1]) if _CONTEXT_1 in tagged else None)


def _point(parts: list[_Element]) -> bytes:
    if len(parts) != 1 or parts[0].tag != _BITS or not parts[0].content.startswith(b"\0"):
        raise _DerError
    return parts[0].content[1:]


def _trailing() -> PrivateKeyError:
    return PrivateKeyError("there are further bytes after the end of the private key", hint=ORIGINAL)


def _sequence(element: _Element) -> list[_Element]:
    if element.tag != _SEQUENCE:
        raise _DerError
    return _elements(element.content)


def _elements(der: bytes) -> list[_Element]:
    """All elements of a constructed value, in their order."""
    found = []
    while der:
        element, der = _split(der)
        found.append(element)
    return found


def _split(der: bytes) -> tuple[_Element, bytes]:
    """The first element and what follows it. Lengths are definite and minimal, as DER wants them."""
    if len(der) < 2:  # noqa: PLR2004  # a tag and a length
        raise _DerError
    length, start = der[1], 2
    if length >= _LONG_FORM:
        start += length - _LONG_FORM
        size = der[2:start]
        if not 0 < len(size) <= _LENGTH_BYTES_MAX or len(size) != start - 2 or size[0] == 0:
            raise _DerError
        length = int.from_bytes(size, "big")
        if length < _LONG_FORM:
            raise _DerError
    if len(der) < start + length:
        raise _DerError
    return _Element(der[0], der[start : start + length]), der[start + length :]
