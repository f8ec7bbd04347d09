"""What a token leaves in the log: in Transit's calls what was signed and the signature, in the engine's the whole token.

Pure. The text that was signed is part of the token, so there is one form of it. A signature has more: Transit gives it
as JOSE or as DER, from (r, s) anybody makes (r, n - s), which is as valid, and its last character can be another one
that stands for the same bytes. Whoever leaks a token can choose.
"""

from base64 import b64encode
from dataclasses import dataclass, field
from typing import Final

from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from vault_asc.key.public_key import public_key
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
        return [f"vault:v{key_version}:{text}" for forms in self._twins() for text in forms]

    def tokens(self) -> list[str]:
        """What the engine may have answered; empty without a signature."""
        return [f"{self.message.decode()}.{jose}" for jose, _ in self._twins()]

    def made_by(self, public_pem: str) -> bool:
        """Whether the signature fits a public key; False for what is no key of ours."""
        try:
            return public_key(public_pem).verifies(self.signature, self.message)
        except ValueError:
            return False

    def _twins(self) -> list[tuple[str, str]]:
        if not self.signature:
            return []
        r, s = (int.from_bytes(half, "big") for half in (self.signature[:_HALF], self.signature[_HALF:]))
        return [_forms(r, twin) for twin in (s, _ORDER - s) if twin > 0]


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
