"""The storage of one mount as the backend sees it: a few calls that each happen whole or not at all.

There is no check-and-set and no transaction: whatever belongs together lies in one entry.
"""

from typing import Protocol

from vault_asc.errors import VaultAscError


class StorageError(VaultAscError):
    """The server refused or lost a call to its storage.

    The backend lets it through unchanged: its text tells the server to send a write from a standby on to the active node.
    """


class Storage(Protocol):
    """What lies in a mount, by key. Every call may raise `StorageError`; whether a write was done is not known then."""

    async def get(self, key: str) -> bytes | None:
        """The value, None when there is none."""
        ...

    async def put(self, key: str, value: bytes, *, seal_wrap: bool = False) -> None:
        """Write a value, in place of the one that is there. `seal_wrap` asks for the seal's encryption around it."""
        ...

    async def delete(self, key: str) -> None:
        """Remove a value; no error when there is none."""
        ...

    async def list(self, prefix: str) -> list[str]:
        """The names directly below a prefix that ends in `/`; what has something below it ends in `/` too."""
        ...
