"""The verdict on one bearer token: pure, from raw text, keys and a moment to a reason.

Stricter than Apple where Apple is known to be lenient: a token that passes here passes there.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, NoReturn

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from vault_asc.lab.apple.scope import ScopeReading, allows
from vault_asc.lab.web import Request
from vault_asc.secret import safe_text

_LIFETIME_MAX: Final = 1200  # seconds; both for exp - iat and for exp - now
_SIGNATURE_BYTES: Final = 64  # raw r||s; DER would be 70 to 72
_KNOWN_CLAIMS: Final = frozenset({"iss", "sub", "iat", "exp", "aud", "scope"})


class Reason(StrEnum):
    """Why a request was answered as it was. Apple tells its caller much less."""

    ACCEPTED = "accepted"
    NO_TOKEN = "no token"  # noqa: S105 - a reason, not a password
    MALFORMED = "malformed token"
    BAD_HEADER = "bad header"
    UNKNOWN_KID = "unknown kid"
    REVOKED = "revoked key"
    BAD_SIGNATURE = "bad signature"
    BAD_CLAIMS = "bad claims"
    WRONG_ISSUER = "wrong issuer"
    WRONG_SUBJECT = "wrong subject"
    WRONG_AUDIENCE = "wrong audience"
    ISSUED_IN_FUTURE = "issued in the future"
    EXPIRED = "expired"
    LIFETIME_TOO_LONG = "lifetime too long"
    EXPIRES_TOO_LATE = "expires too late"
    OUT_OF_SCOPE = "out of scope"
    ROLE = "role does not allow it"
    AGREEMENT = "agreement missing"
    RATE_LIMIT = "rate limit"


@dataclass(frozen=True, slots=True)
class Rules:
    """What is not known about Apple, as switches; the defaults are the strict readings.

    Attributes:
        future_tolerance: seconds that `iat` may lie in the future; Apple's is unknown (30 to 60 s were claimed).
        require_iat: whether `iat` must be there; Apple probably tolerates its absence.
        expired_tolerance: seconds for which an expired token still works; some of Apple's servers grant minutes.
        further_claims: whether claims that Apple does not name are tolerated.
        scope: what is open about scopes.
        scope_status: 401 or 403 for a request outside of the scope.
        revoked_status: 401 (what clients see) or 403 (what Apple's page says) for a revoked key.
    """

    future_tolerance: float = 0.0
    require_iat: bool = True
    expired_tolerance: float = 0.0
    further_claims: bool = False
    scope: ScopeReading = field(default_factory=ScopeReading)
    scope_status: int = 401
    revoked_status: int = 401


@dataclass(frozen=True, slots=True)
class AppleKey:
    """The public half of a key, as Apple keeps it.

    Attributes:
        issuer_id: None for an individual key.
    """

    key_id: str
    public: ECKey = field(repr=False)
    issuer_id: str | None
    audience: str
    revoked: bool = False
    denied: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came out.

    Attributes:
        reason: ACCEPTED, or the first rule that was broken.
        claimed: the key ID in the header, masked and cut, if it could be read.
        key: the key that really signed it; None unless the signature is good.
    """

    reason: Reason
    claimed: str | None = None
    key: AppleKey | None = None


class _BrokenRuleError(Exception):
    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason


def judge(request: Request, keys: Mapping[str, AppleKey], now: float, rules: Rules) -> Verdict:
    """Check the token of a request against every rule; never raises for a bad token.

    Args:
        request: its `Authorization` header holds the token.
        keys: by key ID.
        now: Unix seconds.
        rules: the readings in force.
    """
    claimed: str | None = None
    key: AppleKey | None = None
    try:
        token = _bearer(request.header("Authorization"))
        header, claims, signature = _parts(token)
        key_id = _key_id(header)
        claimed = safe_text(key_id, 40)
        signer = _signer(key_id, keys)
        _check_signature(token, signature, signer)
        key = signer
        _check_identity(claims, signer, rules)
        _check_times(claims, now, rules)
        _check_scope(claims, request, rules)
    except _BrokenRuleError as broken:
        return Verdict(broken.reason, claimed, key)
    return Verdict(Reason.ACCEPTED, claimed, key)


def _refuse_unless(condition: bool, reason: Reason) -> None:  # noqa: FBT001 - reads as an assertion
    if not condition:
        raise _BrokenRuleError(reason)


def _bearer(authorization: str | None) -> str:
    _refuse_unless(authorization is not None, Reason.NO_TOKEN)
    scheme, _, token = (authorization or "").partition(" ")
    _refuse_unless(scheme.lower() == "bearer" and bool(token), Reason.NO_TOKEN)
    return token


def _parts(token: str) -> tuple[dict[str, Any], dict[str, Any], bytes]:
    segments = token.split(".")
    _refuse_unless(len(segments) == 3 and token.isascii(), Reason.MALFORMED)  # noqa: PLR2004 - RFC 7515, 7.1
    header, claims, signature = map(_decode, segments)
    return _json_object(header), _json_object(claims), signature


def _decode(segment: str) -> bytes:
    """Base64url as RFC 7515 has it: no padding, no other characters, no stray bits at the end."""
    try:
        raw = base64.b64decode(segment + "=" * (-len(segment) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as exc:
        raise _BrokenRuleError(Reason.MALFORMED) from exc
    _refuse_unless(base64.urlsafe_b64encode(raw).decode().rstrip("=") == segment, Reason.MALFORMED)
    return raw


def _json_object(raw: bytes) -> dict[str, Any]:
    try:
        value = json.loads(raw.decode(), object_pairs_hook=_no_duplicates, parse_constant=_no_constant)
    except (ValueError, RecursionError) as exc:
        raise _BrokenRuleError(Reason.MALFORMED) from exc
    _refuse_unless(isinstance(value, dict), Reason.MALFORMED)
    members: dict[str, Any] = value
    return members


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    _refuse_unless(len(members) == len(pairs), Reason.MALFORMED)
    return members


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _key_id(header: Mapping[str, Any]) -> str:
    key_id = header.get("kid")
    expected = {"alg": "ES256", "kid": key_id, "typ": "JWT"}
    _refuse_unless(isinstance(key_id, str) and dict(header) == expected, Reason.BAD_HEADER)
    return str(key_id)


def _signer(key_id: str, keys: Mapping[str, AppleKey]) -> AppleKey:
    _refuse_unless(key_id in keys, Reason.UNKNOWN_KID)
    _refuse_unless(not keys[key_id].revoked, Reason.REVOKED)
    return keys[key_id]


def _check_signature(token: str, signature: bytes, key: AppleKey) -> None:
    _refuse_unless(len(signature) == _SIGNATURE_BYTES, Reason.BAD_SIGNATURE)
    try:
        jws.deserialize_compact(token, key.public, algorithms=["ES256"])
    except (JoseError, ValueError) as exc:
        raise _BrokenRuleError(Reason.BAD_SIGNATURE) from exc


def _check_identity(claims: Mapping[str, Any], key: AppleKey, rules: Rules) -> None:
    _refuse_unless(rules.further_claims or claims.keys() <= _KNOWN_CLAIMS, Reason.BAD_CLAIMS)
    if key.issuer_id is None:
        _refuse_unless("iss" not in claims, Reason.WRONG_ISSUER)
        _refuse_unless(claims.get("sub") == "user", Reason.WRONG_SUBJECT)
    else:
        _refuse_unless(claims.get("iss") == key.issuer_id, Reason.WRONG_ISSUER)
        _refuse_unless("sub" not in claims, Reason.WRONG_SUBJECT)
    _refuse_unless(claims.get("aud") == key.audience, Reason.WRONG_AUDIENCE)


def _check_times(claims: Mapping[str, Any], now: float, rules: Rules) -> None:
    expires = _moment(claims, "exp")
    _refuse_unless(expires + rules.expired_tolerance > now, Reason.EXPIRED)
    if rules.require_iat or "iat" in claims:
        issued = _moment(claims, "iat")
        _refuse_unless(issued <= now + rules.future_tolerance, Reason.ISSUED_IN_FUTURE)
        _refuse_unless(expires - issued <= _LIFETIME_MAX, Reason.LIFETIME_TOO_LONG)
    _refuse_unless(expires <= now + _LIFETIME_MAX, Reason.EXPIRES_TOO_LATE)


def _moment(claims: Mapping[str, Any], name: str) -> int:
    value = claims.get(name)
    if type(value) is not int:  # a bool is an int to isinstance, and a float is not what Apple describes
        raise _BrokenRuleError(Reason.BAD_CLAIMS)
    return value


def _check_scope(claims: Mapping[str, Any], request: Request, rules: Rules) -> None:
    if "scope" not in claims:
        return
    scope = claims["scope"]
    well_formed = isinstance(scope, list) and all(isinstance(entry, str) for entry in scope)
    _refuse_unless(well_formed, Reason.BAD_CLAIMS)
    matched = any(allows(entry, request.method, request.path, request.query, rules.scope) for entry in scope)
    _refuse_unless(matched, Reason.OUT_OF_SCOPE)
