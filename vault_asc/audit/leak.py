"""Reads a leaked token, whose end may be missing or damaged: header and payload are enough to look for it. Pure."""

from typing import Final

from vault_asc.inspection import find_token, token_in
from vault_asc.secret import Secret
from vault_asc.tokens import Token

_LATEST: Final = 9_999_999_999  # Unix seconds that a date can be made of
_ANY_SIGNATURE: Final = "AA"  # what is left of the real one may be no base64url that PyJWT takes


def leaked_token(text: str) -> Token | None:
    """The first token of App Store Connect in a text; None when there is none with a key ID, `iat` and `exp`."""
    found = find_token(text)
    if found is None:
        return None
    token = token_in(f"{found.rpartition('.')[0]}.{_ANY_SIGNATURE}")
    if token is None or not all(0 <= moment <= _LATEST for moment in (token.issued_at, token.expires_at)):
        return None
    return token._replace(value=Secret(found))
