"""What an auditor asks of a server: the hash under which a value stands in an audit log, and the name of an entity."""

import re
from dataclasses import dataclass
from typing import Final

from vault_asc.errors import ConfigError, NotFoundError, PermissionDeniedError, VaultError
from vault_asc.vault.client import Vault
from vault_asc.vault.errors import InvalidTokenError

_NO_DEVICE: Final = "unknown audit"
_ENTITY_ID: Final = r"(?a)[0-9a-fA-F-]{36}"


@dataclass(frozen=True)
class Auditing:
    """Calls that show no secret.

    Attributes:
        vault: connection to the namespace of the keys.
        root: connection to the root namespace, which alone has audit devices; the same where there are no namespaces.
    """

    vault: Vault
    root: Vault

    def hashed(self, device: str, value: str) -> str:
        """The value as the audit device writes it. Vault writes this call to the log too, hashed likewise.

        `ConfigError` when there is no such device.
        """
        where = f"sys/audit-hash/{device}"
        try:
            answer = self.root.ask("POST", where, "update", {"input": value})
        except VaultError as exc:
            if _NO_DEVICE not in exc.message:
                raise
            raise ConfigError(
                f'Vault has no audit device "{device}"',
                hint="name the one that writes this log with --device; vault audit list shows them",
            ) from exc
        with self.root.reading(where):
            return str(answer["hash"])

    def entity_name(self, entity_id: str) -> str | None:
        """The name of an entity; None when it is gone, when the token may not see it, or when this is no entity's ID."""
        if not re.fullmatch(_ENTITY_ID, entity_id):
            return None
        return self._name(self.vault, entity_id) or self._name(self.root, entity_id)

    @staticmethod
    def _name(vault: Vault, entity_id: str) -> str | None:
        where = f"identity/entity/id/{entity_id}"
        try:
            answer = vault.ask("GET", where, "read")
        except InvalidTokenError:
            raise
        except (NotFoundError, PermissionDeniedError):
            return None
        with vault.reading(where):
            return str(answer["name"])
