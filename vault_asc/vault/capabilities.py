"""What a token may do on given paths, as Vault itself says. It says nothing of limits on parameters."""

from collections.abc import Collection, Iterable
from typing import Final

from vault_asc.errors import PermissionDeniedError
from vault_asc.vault.client import Vault
from vault_asc.vault.errors import Advice

_WHERE: Final = "sys/capabilities-self"
_NONE: Final = {"deny"}


def capabilities_self(vault: Vault, paths: Collection[str]) -> dict[str, frozenset[str]]:
    """The capabilities of the caller's token on each path; none for a denied one, `root` alone for a root token."""
    data = vault.ask("POST", _WHERE, "update", {"paths": [*paths]})
    with vault.reading(_WHERE):
        return {path: frozenset(str(word) for word in data[path]) - _NONE for path in paths}


def require_capabilities(
    vault: Vault, wanted: Iterable[tuple[str, str]], untouched: str, advice: Advice | None = None
) -> None:
    """Refuse before the first of some calls what Vault would refuse in the middle of them.

    Args:
        vault: as the caller's token.
        wanted: path and capability of each call.
        untouched: what is safe, as the end of the message.
        advice: names the policy for the hint; else as for every call of this connection.
    """
    calls = list(wanted)
    allowed = capabilities_self(vault, [path for path, _ in calls])
    for path, capability in calls:
        if not allowed[path] & {capability, "root"}:
            raise PermissionDeniedError(
                f'permission denied: the token lacks "{capability}" on "{path}"; {untouched}',
                hint=(advice or vault.advice)(path, capability),
            )
