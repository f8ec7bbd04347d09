"""Looking into a token without checking its signature: what a file holds, and which of Apple's rules a token breaks."""

import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from vault_asc.clock import format_duration
from vault_asc.errors import TokenRequestError
from vault_asc.key.identity import AUDIENCES
from vault_asc.opening import opened
from vault_asc.secret import Secret
from vault_asc.tokens import MAX_LIFETIME, Token, TokenRequest

_JWT_SHAPE: Final = r"eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+"
_SIGNATURE_CHARS: Final = 86  # base64url of 64 bytes, without padding
_MODE: Final = 0o600
FILE_MAX: Final = 64 * 1024
"""Bytes of a file in which a token is looked for."""


def read_token_file(path: Path) -> str | None:
    """What `mint --out` wrote to a file; None for anything that it would not have left there.

    That is: no regular file (nor a link to one), another user's, with permissions other than 0600, or not ASCII.
    """
    try:
        with opened(path, follow=False) as (descriptor, facts):
            ours = stat.S_ISREG(facts.st_mode) and stat.S_IMODE(facts.st_mode) == _MODE and facts.st_uid == os.geteuid()
            return os.read(descriptor, FILE_MAX).decode("ascii") if ours else None
    except (OSError, ValueError):  # ValueError: not ASCII, or a NUL in the path
        return None


def token_in(text: str) -> Token | None:
    """The token in a text, in any of the formats of `mint`; None when there is none to be found. Not verified."""
    found = find_token(text)
    if found is None:
        return None
    try:
        header, claims = decode(found)
        times = int(claims["iat"]), int(claims["exp"])
        return Token(Secret(found), str(header["kid"]), *times, tuple(claims.get("scope", ())))
    except (ValueError, KeyError, TypeError, OverflowError):
        return None


def find_token(text: str) -> str | None:
    """The first thing in a text that looks like a JWT; None when there is none."""
    found = re.search(_JWT_SHAPE, text)
    return None if found is None else found.group()


def decode(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims of a JWT, unverified. `ValueError` when it is none."""
    import jwt

    try:
        whole = jwt.api_jwt.decode_complete(token, options={"verify_signature": False})
    except (jwt.InvalidTokenError, RecursionError) as exc:
        raise ValueError("not a JWT") from exc
    return whole["header"], whole["payload"]


def broken_rules(token: str, now: float) -> list[str]:
    """Each of Apple's rules that a token breaks, one line each; empty for a good one. The signature is not verified.

    `ValueError` when it is no JWT at all.
    """
    header, claims = decode(token)
    signature = token.rpartition(".")[2]
    return [
        *_broken(
            {
                'alg is not "ES256"': header.get("alg") != "ES256",
                'typ is not "JWT"': header.get("typ") != "JWT",
                "kid is missing": not isinstance(header.get("kid"), str) or not header.get("kid"),
                f"aud is not one of {', '.join(AUDIENCES)}": claims.get("aud") not in AUDIENCES,
                "the signature is not 64 bytes of r and s (it may be DER)": len(signature) != _SIGNATURE_CHARS,
            }
        ),
        *_broken_owner(claims),
        *_broken_times(claims, now),
        *_broken_scope(claims.get("scope", [])),
    ]


def _broken(rules: Mapping[str, bool]) -> list[str]:
    return [rule for rule, broken in rules.items() if broken]


def _broken_owner(claims: Mapping[str, Any]) -> list[str]:
    """A team key has `iss`, an individual key has `sub`, which is always "user"."""
    if "iss" in claims:
        return _broken({"iss and sub are both there: a team key has iss, an individual key has sub": "sub" in claims})
    return _broken({'without iss (individual key), sub has to be "user"': claims.get("sub") != "user"})


def _broken_times(claims: Mapping[str, Any], now: float) -> list[str]:
    issued_at, expires_at = claims.get("iat"), claims.get("exp")
    if type(issued_at) is not int or type(expires_at) is not int:
        return ["iat and exp are not both whole numbers of seconds"]
    return _broken(
        {
            f"it expired {format_duration(now - expires_at)} ago": expires_at <= now,
            f"iat is {format_duration(issued_at - now)} in the future": issued_at > now,
            f"it lives {format_duration(expires_at - issued_at)} from iat to exp, 20 minutes is the most": (
                expires_at - issued_at > MAX_LIFETIME
            ),
            f"exp is {format_duration(expires_at - now)} away, 20 minutes is the most": expires_at > now + MAX_LIFETIME,
        }
    )


def _broken_scope(scope: object) -> list[str]:
    if not isinstance(scope, list):
        return ["scope is not an array"]
    try:
        TokenRequest(scope=tuple(str(entry) for entry in scope))
    except TokenRequestError as error:
        return [error.message]
    return []
