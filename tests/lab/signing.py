"""Tokens made by hand with the cryptography package alone, so that every rule can be broken one at a time."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

KEY_ID = "2X9R4HXF34"
ISSUER = "57246542-96fe-1a63-e053-0824d011072a"
NOW = 1_780_000_000
ABSENT = object()


@dataclass
class Clock:
    now: float = NOW

    def __call__(self) -> float:
        return self.now


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


@dataclass
class HandSigner:
    key_id: str = KEY_ID
    private: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    @property
    def public_pem(self) -> bytes:
        return self.private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def signature(self, message: str, *, der: bool = False) -> bytes:
        encoded = self.private.sign(message.encode(), ec.ECDSA(hashes.SHA256()))
        r, s = decode_dss_signature(encoded)
        return encoded if der else r.to_bytes(32, "big") + s.to_bytes(32, "big")

    def sign_raw(self, header: bytes, claims: bytes, *, der: bool = False) -> str:
        message = f"{b64(header)}.{b64(claims)}"
        return f"{message}.{b64(self.signature(message, der=der))}"

    def sign(self, claims: Mapping[str, Any], header: Mapping[str, Any] | None = None, *, der: bool = False) -> str:
        head = {"alg": "ES256", "kid": self.key_id, "typ": "JWT"} | dict(header or {})
        return self.sign_raw(_json(head), _json(claims), der=der)

    def team(self, now: float = NOW, **changes: Any) -> str:
        return self.sign(
            {"iss": ISSUER, "iat": int(now) - 60, "exp": int(now) + 1080, "aud": "appstoreconnect-v1"} | changes
        )

    def individual(self, now: float = NOW, **changes: Any) -> str:
        return self.sign(
            {"sub": "user", "iat": int(now) - 60, "exp": int(now) + 1080, "aud": "appstoreconnect-v1"} | changes
        )


def _json(members: Mapping[str, Any]) -> bytes:
    return json.dumps({name: value for name, value in members.items() if value is not ABSENT}).encode()
