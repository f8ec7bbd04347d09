"""The one error tree. Whatever a user can cause is one of these classes; anything else is a bug.

    VaultAscError                1   bug, unless a subclass says otherwise
      ConfigError                2   usage or configuration
      PrivateKeyError            3   the .p8 or its IDs are refused
      TokenRequestError          3   lifetime or scope are refused
      VaultError                 4   Vault answered with an error
        VaultUnavailableError    5   sealed, overloaded, unreachable: try again later
        PermissionDeniedError    6   the token may not do this
        NotFoundError            7   no such key, version, mount or target
      TargetError                8   a target could not be kept fresh
        NexlaError               8   Nexla answered with an error or not at all
      ConflictError              9   somebody else changed it first
      SomeTargetsFailedError    10   some targets of a push failed, others not
      BusyError                 75   another process holds the lock

Messages are lower case, without a full stop, quote the names they mention and never hold a secret. A hint is the
corrected command or the missing right. `vault_asc.cli` prints both and exits with `exit_code`.
"""

from typing import ClassVar


class VaultAscError(Exception):
    """Base of the tree: a message for the user and, where there is one, the way out."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class ConfigError(VaultAscError):
    """The command line, the environment or the configuration file is wrong. Nothing was done."""

    exit_code = 2


class PrivateKeyError(VaultAscError):
    """A private key or one of its IDs was refused before anything was written."""

    exit_code = 3


class TokenRequestError(VaultAscError):
    """A token was asked for that Apple, or the key's record, would refuse."""

    exit_code = 3


class VaultError(VaultAscError):
    """Vault answered with an error that is none of the more specific ones."""

    exit_code = 4


class VaultUnavailableError(VaultError):
    """Vault is sealed, overloaded or cannot be reached; the same call may succeed later."""

    exit_code = 5


class PermissionDeniedError(VaultError):
    """The Vault token lacks a capability; the message names path and capability."""

    exit_code = 6


class NotFoundError(VaultError):
    """A key, a version, a mount or a target does not exist (any more)."""

    exit_code = 7


class TargetError(VaultAscError):
    """A target could not be kept fresh."""

    exit_code = 8


class NexlaError(TargetError):
    """Nexla refused, failed or did not answer.

    Attributes:
        status: HTTP status of the answer, None when there was none.
        retryable: whether the same call may succeed later without anybody changing anything.
        pause: seconds for which it fails without being made again.
    """

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        status: int | None = None,
        retryable: bool = False,
        pause: float = 0.0,
    ) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.retryable = retryable
        self.pause = pause


class ConflictError(VaultAscError):
    """A check-and-set write lost against somebody else's; the message says whose and when."""

    exit_code = 9


class SomeTargetsFailedError(VaultAscError):
    """Some targets of one pass failed and others did not."""

    exit_code = 10


class BusyError(VaultAscError):
    """Another process of ours holds the lock that this command needs."""

    exit_code = 75
