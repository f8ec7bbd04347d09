"""What a login is made with: read from files anew for each login, because whoever put them there rotates them."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from vault_asc.auth import AppRoleAuth, AuthSettings
from vault_asc.errors import ConfigError
from vault_asc.opening import opened
from vault_asc.secret import Secret
from vault_asc.vault.errors import LoginError

_MAX: Final = 16 * 1024  # bytes; a JWT of a platform has some thousand at most

Unwrap = Callable[[Secret, str], Secret]
"""Takes a secret ID out of a wrapping token that was made at the named path; raises our errors."""


class _Unwrapped(NamedTuple):
    wrapping_token: Secret
    secret_id: Secret


class IdentityFiles:
    """The files of one `[vault.auth]`.

    Args:
        auth: which they are.
        unwrap: for a secret ID that comes wrapped.
    """

    def __init__(self, auth: AuthSettings, unwrap: Unwrap) -> None:
        self._auth = auth
        self._unwrap = unwrap
        self._unwrapped: _Unwrapped | None = None

    def body(self) -> dict[str, str]:
        """What a login sends. `ConfigError` when a file cannot be used, `LoginError` when a wrapping token cannot."""
        auth = self._auth
        if isinstance(auth, AppRoleAuth):
            return {"role_id": _line(auth.role_id_file).reveal(), "secret_id": self._secret_id(auth).reveal()}
        return {"role": auth.role, "jwt": _line(auth.jwt_file).reveal()}

    def _secret_id(self, auth: AppRoleAuth) -> Secret:
        found = _line(auth.secret_id_file)
        if auth.secret_id_wrapping_path is None:
            return found
        # A wrapping token opens once, so what was in it is kept for the next login.
        if self._unwrapped is None or self._unwrapped.wrapping_token != found:
            self._unwrapped = _Unwrapped(found, self._unwrap(found, auth.secret_id_wrapping_path))
        return self._unwrapped.secret_id


def foreign_wrapping(path: str, expected: str) -> LoginError:
    """The error for a wrapping token that somebody else has made."""
    return LoginError(
        f'the secret ID was wrapped at "{path}", not at "{expected}": somebody may have put another one in its place',
        hint="find out who (audit log), and deliver a new one: vault write -wrap-ttl=5m -f PATH",
    )


def _line(file: Path) -> Secret:
    """The one line in a file: what goes into a JSON body or an HTTP header, never into a message."""
    try:
        with opened(file) as (descriptor, _):
            text = os.read(descriptor, _MAX + 1).decode("latin-1").strip()
    except (OSError, ValueError) as exc:
        reason = os.strerror(getattr(exc, "errno", 0) or 0).lower()
        raise ConfigError(
            f'"{file}" of [vault.auth] cannot be read: {reason}', hint=f"ls -l {file}; it is tried again"
        ) from exc
    if not text or len(text) > _MAX or not text.isascii() or not text.isprintable() or " " in text:
        what = "is empty" if not text else "is not one line of ASCII without blanks"
        raise ConfigError(f'"{file}" of [vault.auth] {what}', hint="write it again; it is read at each login")
    return Secret(text)
