"""Response wrapping: what a wrapping token stands for, and taking it out, once. Called as the wrapping token itself.

So the caller's own token needs no policy for it. Source: Vault's API of `sys/wrapping`; measured with OpenBao 2.7.2: a
token that is used up, expired, unknown or an ordinary one is answered with 400 and the same words by both calls, a look
does not use it up, and `rewrap` keeps the creation path but not the creation time.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from vault_asc.errors import PermissionDeniedError, VaultError
from vault_asc.secret import Secret, safe_text
from vault_asc.vault.client import Vault
from vault_asc.vault.errors import LostAnswerError

WRAP: Final = "sys/wrapping/wrap"
"""The creation path of what somebody has wrapped that did not lie in Vault."""

_LOOK_UP: Final = "sys/wrapping/lookup"
_UNWRAP: Final = "sys/wrapping/unwrap"
_REFUSED: Final = "wrapping token"  # in all of Vault's words about a token that is none, or none any more


class WrappingTokenError(VaultError):
    """The wrapping token is used up, expired or unknown; Vault does not tell which."""


class Wrapping(NamedTuple):
    """What Vault says of a wrapping token without giving away what is in it.

    Attributes:
        creation_path: the API path whose answer was wrapped, as the server saw it.
        creation_time: when that was, ISO 8601; of a token that was wrapped again, when that was.
    """

    creation_path: str
    creation_time: str


@dataclass(frozen=True)
class WrappedResponse:
    """What one wrapping token stands for, on the server of a connection."""

    vault: Vault
    token: Secret

    def look(self) -> Wrapping:
        """Where it comes from; the token stays as good as it was. `WrappingTokenError` when it is good no more."""
        with _about_the_token():
            data = self.vault.as_token(self.token).ask("POST", _LOOK_UP, "update")
        with self.vault.reading(_LOOK_UP):
            return Wrapping(safe_text(str(data["creation_path"])), safe_text(str(data["creation_time"])))

    def unwrap(self) -> Mapping[str, Any]:
        """What was wrapped; the token is used up by it. `WrappingTokenError` when somebody was faster.

        `LostAnswerError` when no answer came back: then the token may be used up or not.
        """
        try:
            with _about_the_token():
                return self.vault.as_token(self.token).ask("POST", _UNWRAP, "update", writing=True)
        except LostAnswerError as exc:
            raise LostAnswerError(
                f"{exc.message}; it is not known whether the wrapping token is used up",
                hint="repeat the command; if it refuses the token, ask the sender to wrap the key again",
            ) from exc


@contextmanager
def _about_the_token() -> Iterator[None]:
    """A denial is about the wrapping token too, for it was the wrapping token that asked."""
    try:
        yield
    except VaultError as exc:
        if isinstance(exc, PermissionDeniedError) or _REFUSED in exc.message:
            raise WrappingTokenError("the wrapping token is used up, expired or unknown") from exc
        raise
