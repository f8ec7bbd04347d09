"""What a token leaves in Transit's calls: the input that was signed, and the signature in each form it may have had.

Pure. The text that was signed is part of the token, so there is one form of it. A signature has more: Transit gives it
as JOSE or as DER, and from (r, s) anybody makes (r, n - s), which is as valid. Whoever leaks a token can choose.
"""

from base64 import b64encode
from dataclasses import dataclass, field
from typing import Final

from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from vault_asc.tokens import Token

_HALF: Final = 32  # bytes of r, and of s
_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # n of P-256


@dataclass(frozen=True)
class Marks:
    """Of one token. A token can be put together from them, so they are not shown.

    Attributes:
        message: header and payload, as they were signed.
        content: base64 of the message, the input of a signing call.
        signature: r and s; empty when the token's third part is no ES256 signature, as when it was cut off.
    """

    message: bytes = field(repr=False)
    content: str = field(repr=False)
    signature: bytes = field(repr=False)

    def signatures(self, key_version: int) -> list[str]:
        """What Transit may have answered when that version of the key signed; empty without a signature."""
        if not self.signature:
            return []
        r, s = (int.from_bytes(half, "big") for half in (self.signature[:_HALF], self.signature[_HALF:]))
        return [f"vault:v{key_version}:{text}" for twin in (s, _ORDER - s) if twin > 0 for text in _forms(r, twin)]


def marks(token: Token) -> Marks:
    """The marks of a token."""
    import jwt

    message, _, third = token.value.reveal().rpartition(".")
    try:
        signature = jwt.utils.base64url_decode(third)
    except ValueError:
        signature = b""
    whole = signature if len(signature) == 2 * _HALF else b""
    return Marks(message.encode(), b64encode(message.encode()).decode(), whole)


def _forms(r: int, s: int) -> tuple[str, str]:
    import jwt

    joined = r.to_bytes(_HALF, "big") + s.to_bytes(_HALF, "big")
    return jwt.utils.base64url_encode(joined).decode(), b64encode(encode_dss_signature(r, s)).decode()
