"""What a token may do on given paths, as Vault itself says. It says nothing of limits on parameters."""

from collections.abc import Collection
from typing import Final

from vault_asc.vault.client import Vault

_WHERE: Final = "sys/capabilities-self"
_NONE: Final = {"deny"}


def capabilities_self(vault: Vault, paths: Collection[str]) -> dict[str, frozenset[str]]:
    """The capabilities of the caller's token on each path; none for a denied one, `root` alone for a root token."""
    data = vault.ask("POST", _WHERE, "update", {"paths": [*paths]})
    with vault.reading(_WHERE):
        return {path: frozenset(str(word) for word in data[path]) - _NONE for path in paths}
