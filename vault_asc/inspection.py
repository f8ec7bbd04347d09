"""Looking into a token without checking its signature: what a file holds, and which of Apple's rules a token breaks."""

import re
from pathlib import Path
from typing import Any, Final

from vault_asc.secret import Secret
from vault_asc.tokens import Token

_JWT_SHAPE: Final = r"eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+"
_FILE_MAX: Final = 64 * 1024  # bytes


def read_token_file(path: Path) -> Token | None:
    """The token in a file that `mint --out` wrote, in any of its formats; None when there is none to be found."""
    try:
        with path.open("rb") as stream:
            text = stream.read(_FILE_MAX).decode("ascii")
    except (OSError, UnicodeDecodeError):
        return None
    found = re.search(_JWT_SHAPE, text)
    if found is None:
        return None
    try:
        header, claims = decode(found.group())
        times = int(claims["iat"]), int(claims["exp"])
        return Token(Secret(found.group()), str(header["kid"]), *times, tuple(claims.get("scope", ())))
    except (ValueError, KeyError, TypeError, OverflowError):
        return None


def decode(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims of a JWT, unverified. `ValueError` when it is none."""
    import jwt

    try:
        whole = jwt.api_jwt.decode_complete(token, options={"verify_signature": False})
    except (jwt.InvalidTokenError, RecursionError) as exc:
        raise ValueError("not a JWT") from exc
    return whole["header"], whole["payload"]
