"""A request as it comes from Vault and what goes back, without a word about how they travel."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, NamedTuple

from vault_asc.engine.storage import Storage
from vault_asc.errors import VaultAscError


class Operation(StrEnum):
    """What Vault asks a backend to do."""

    CREATE = "create"
    UPDATE = "update"
    READ = "read"
    DELETE = "delete"
    LIST = "list"
    PATCH = "patch"
    HELP = "help"
    REVOKE = "revoke"
    RENEW = "renew"
    ROLLBACK = "rollback"


@dataclass(frozen=True, slots=True)
class Request:
    """One call.

    Attributes:
        operation: what to do.
        path: on what, below the mount and without a slash at its beginning.
        data: the body, or the query of a read as strings; it may hold a private key, so it is never shown.
        storage: that of the mount.
        mount_point: where the engine is mounted, such as `asc/`; for texts alone.
        display_name: who asks, by the token; empty when the server tells none.
    """

    operation: Operation
    path: str
    data: Mapping[str, Any] = field(repr=False)
    storage: Storage = field(repr=False)
    mount_point: str = "asc/"
    display_name: str = ""


class Lease(NamedTuple):
    """How long Vault keeps track of an answer. It is never renewable.

    Attributes:
        ttl_seconds: until it ends, above 0; whoever reads again at its end gets a fresh token in time.
        internal: what comes back with a revocation; no secret.
    """

    ttl_seconds: float
    internal: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Response:
    """An answer; `data` may hold a token, so it is never shown."""

    data: Mapping[str, Any] | None = field(default=None, repr=False)
    lease: Lease | None = None
    warnings: tuple[str, ...] = ()


class RequestError(VaultAscError):
    """A request that is answered with an error.

    Attributes:
        status: the HTTP status.
    """

    status: ClassVar[int] = 400

    @property
    def text(self) -> str:
        """Message and hint in one line, as a client of Vault shows it."""
        return f"{self.message} (hint: {self.hint})" if self.hint else self.message


class UnsupportedPathError(RequestError):
    """There is no such path."""

    status = 404


class MissingError(RequestError):
    """The path is one of ours, what it names does not exist."""

    status = 404


class UnsupportedOperationError(RequestError):
    """The path knows no such operation."""

    status = 405


class BadEntryError(RequestError):
    """What lies in storage is nothing that this version of the engine reads."""

    status = 500


class SpecialPaths(NamedTuple):
    """Paths that Vault treats in a special way.

    Attributes:
        seal_wrap: what is encrypted by the seal too, as prefixes of storage keys.
        root: what only tokens with sudo may call.
        unauthenticated: what may be called without a token.
    """

    seal_wrap: tuple[str, ...]
    root: tuple[str, ...]
    unauthenticated: tuple[str, ...]
