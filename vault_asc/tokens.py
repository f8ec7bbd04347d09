"""Tokens: what may be asked for, and `mint()`, the one function that makes them, whoever holds the key.

Pure: no I/O, the moment is an argument. PyJWT is loaded by `mint()` alone, because configuration checks and the
schedule use the rules of this module without ever minting.

Source of the rules: Apple, "Generating Tokens for API Requests", and the field reports that both `exp - iat` and
`exp - now` are checked against 20 minutes.
"""

import json
import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from vault_asc.errors import TokenRequestError
from vault_asc.secret import Secret, safe_text

if TYPE_CHECKING:
    from vault_asc.key.identity import Identity

BACKDATE: Final = 60
"""Seconds by which `iat` lies in the past, so that a fast local clock is no reason for Apple to refuse."""
BACKDATES: Final = (10, 300)
"""What an engine may be told instead: below it clocks differ, above it a token is mostly past."""
DEFAULT_LIFETIME: Final = 1140
MAX_LIFETIME: Final = 1200
MIN_USABLE_LIFE: Final = 5
"""A token that lives shorter than these seconds is dead before anybody has used it."""
MIN_LIFETIME: Final = BACKDATE + MIN_USABLE_LIFE

_SCOPE_ENTRY: Final = r"(?a)GET /v[1-9][0-9]?(?:/[A-Za-z0-9_.~\-]+)+(?:\?[!-~]+)?"
_SCOPE_MAX: Final = 100  # entries; Apple names no limit, a header has one


class Signer(Protocol):
    """Signs for one key, wherever that key is held."""

    def sign(self, message: bytes) -> bytes:
        """The ES256 signature of `message` as JOSE wants it: 64 bytes, r then s."""
        ...


@dataclass(frozen=True)
class TokenRequest:
    """What a consumer asks for. Refused with `TokenRequestError` where Apple would refuse the token.

    Attributes:
        asked_lifetime: `exp - iat` in seconds, at most 1200; None for the default: 1140, in custody engine the role's.
        scope: the calls that the token is good for, such as `GET /v1/apps`; empty means all that the key may.
        backdate: seconds by which `iat` lies in the past.
    """

    asked_lifetime: int | None = None
    scope: tuple[str, ...] = ()
    backdate: int = BACKDATE

    def __post_init__(self) -> None:
        least = self.backdate + MIN_USABLE_LIFE
        if not least <= self.lifetime <= MAX_LIFETIME:
            raise TokenRequestError(
                f"a lifetime of {self.lifetime} s is not possible",
                hint=f"ask for {least}s to {MAX_LIFETIME}s; {self.backdate} s of it lie in the past, 19m is the default",
            )
        if len(self.scope) > _SCOPE_MAX:
            raise TokenRequestError(
                f"a scope of {len(self.scope)} entries is too long", hint=f"use at most {_SCOPE_MAX} entries"
            )
        for entry in self.scope:
            _check_scope(entry)

    @property
    def lifetime(self) -> int:
        """Seconds from `iat` to `exp`."""
        return DEFAULT_LIFETIME if self.asked_lifetime is None else self.asked_lifetime

    @property
    def usable_life(self) -> int:
        """Seconds from minting to expiry."""
        return self.lifetime - self.backdate


class Token(NamedTuple):
    """A minted token. Times are Unix seconds."""

    value: Secret
    key_id: str
    issued_at: int
    expires_at: int
    scope: tuple[str, ...] = ()

    def remaining(self, now: float) -> float:
        """Seconds until it expires."""
        return self.expires_at - now


def claims(identity: "Identity", request: TokenRequest, now: float) -> dict[str, Any]:
    """Exactly Apple's claims: `iss` for a team key, `sub` for an individual one, never both; integers."""
    issued_at = int(now) - request.backdate
    who = {"iss": identity.issuer_id} if identity.issuer_id is not None else {"sub": "user"}
    what = {"scope": list(request.scope)} if request.scope else {}
    return {**who, "iat": issued_at, "exp": issued_at + request.lifetime, "aud": identity.audience, **what}


def mint(identity: "Identity", request: TokenRequest, signer: Signer, now: float) -> Token:
    """Make a token for `identity` at `now`. What `signer.sign` raises goes through unchanged."""
    body = claims(identity, request, now)
    payload = json.dumps(body, separators=(",", ":")).encode()
    value = _jws().encode(payload, signer, algorithm="ES256", headers={"kid": identity.key_id})
    return Token(Secret(value), identity.key_id, body["iat"], body["exp"], request.scope)


@cache
def _jws() -> Any:
    """PyJWT with one algorithm, ES256 by whatever signer is the key; typed as PyJWT's own kinds of key are not ours."""
    import jwt

    class DelegatedES256(jwt.algorithms.ECAlgorithm):
        """Hands the signing input to the signer; PyJWT does all the encoding, in every custody."""

        def prepare_key(self, key: Any) -> Any:
            return key

        def sign(self, msg: bytes, key: Any) -> bytes:
            signature: bytes = key.sign(msg)
            return signature

    jws = jwt.PyJWS(algorithms=[])
    jws.register_algorithm("ES256", DelegatedES256(jwt.algorithms.ECAlgorithm.SHA256))
    return jws


def _check_scope(entry: str) -> None:
    if re.fullmatch(_SCOPE_ENTRY, entry) and "/.." not in entry and "#" not in entry:
        return
    raise TokenRequestError(
        f'scope entry "{safe_text(entry)}" is not one that Apple takes',
        hint='write the method GET, a blank and a path without host, such as "GET /v1/apps?filter[platform]=IOS"',
    )
