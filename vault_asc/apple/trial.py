"""What the try of a key at App Store Connect can prove, and what follows from it. Pure."""

from enum import StrEnum
from typing import Final, NamedTuple

from vault_asc.errors import PrivateKeyError, TargetError, VaultAscError

_LATER: Final = "try again later"


class TrialOutcome(StrEnum):
    """What a try has proved. The first three prove that Apple authenticates the key."""

    ACCEPTED = "accepted"
    ROLE = "role"
    """Authenticated; the key's role, or the token's scope, does not allow the request."""
    AGREEMENT = "agreement"
    """Authenticated; the account lacks an agreement, which its Account Holder has to accept."""
    REFUSED = "refused"
    """Not authenticated, several times in a row."""
    UNKNOWN = "unknown"
    """Proves nothing: throttled, failed, out of reach, or not Apple's answer."""
    SKIPPED = "skipped"
    """Nothing was sent, because there is no request that every key of this kind may make."""


class Trial(NamedTuple):
    """The outcome of a try.

    Attributes:
        outcome: what it proves.
        key_id: the key ID that the token named.
        detail: the same for people, in safe text without a full stop; a whole statement that names the key.
        hint: the fix, where there is one.
    """

    outcome: TrialOutcome
    key_id: str
    detail: str
    hint: str | None = None


def refusal(trial: Trial) -> VaultAscError | None:
    """Why a key must not become current after this try; None when nothing speaks against it.

    `PrivateKeyError` for a key that Apple refuses, `TargetError` when that could not be found out.
    """
    if trial.outcome is TrialOutcome.REFUSED:
        return PrivateKeyError(f"{trial.detail}; nothing was written", hint=trial.hint)
    if trial.outcome is TrialOutcome.UNKNOWN:
        return TargetError(
            f"{trial.detail}; nothing was written",
            hint=f"{trial.hint or _LATER}, or go on without asking apple: --no-apple-check",
        )
    return None
