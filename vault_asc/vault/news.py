"""What becomes of a login, for whoever is to be told: neither a token nor what it was made with is in it."""

from collections.abc import Callable
from typing import NamedTuple

from vault_asc.errors import VaultAscError


class LoggedIn(NamedTuple):
    """A login has brought a token.

    Attributes:
        mount: of the auth method, below `auth/`.
        ttl: seconds; 0 for ever.
    """

    mount: str
    ttl: int


class Renewed(NamedTuple):
    """The token was renewed.

    Attributes:
        mount: of the auth method, below `auth/`.
        ttl: seconds from now.
    """

    mount: str
    ttl: int


class LoginFailed(NamedTuple):
    """A login or a renewal has failed; the token from before may be good still.

    Attributes:
        mount: of the auth method, below `auth/`.
        error: why.
        wait: seconds until it may be tried again.
    """

    mount: str
    error: VaultAscError
    wait: float


LoginNews = LoggedIn | Renewed | LoginFailed
Told = Callable[[LoginNews], object]


def nobody(_: LoginNews) -> None:
    """Where nobody is to be told."""
