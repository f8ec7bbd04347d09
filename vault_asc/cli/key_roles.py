"""Which role of the engine goes with a key, for the policies that name it: what the record says, or the key's name.

A name that is only assumed may be that of another key's role one day, so whoever gets a policy by it is told.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vault_asc.cli.output import warn
from vault_asc.errors import NotFoundError, PermissionDeniedError, VaultError, VaultUnavailableError

if TYPE_CHECKING:
    from vault_asc.store import Store

RoleOf = Callable[[str], str]
"""From the name of a key to that of its role."""


def assumed(key: str) -> str:
    """The key's name, without asking anybody, and said."""
    return _taken(key, "no record is read for this, `policy write` does")


@dataclass(frozen=True)
class RecordedRoles:
    """Roles as records name them; each record is read once, the first time that it is asked for.

    Attributes:
        store: where the records are, connected to when it is needed.
        known: what records have said, by key.
    """

    store: "Callable[[], Store]"
    known: dict[str, str] = field(default_factory=dict)

    def __call__(self, key: str) -> str:
        """The role of a key; its name, and a warning, when that cannot be seen."""
        if key not in self.known:
            found = self._read(key)
            if found is None:
                return key
            self.known[key] = found
            if found != key:
                warn(f'the role of key "{key}" is "{found}", as its record says')
        return self.known[key]

    def mistaken(self, engine_mount: str) -> set[str]:
        """Paths that a policy has because the key's name was taken for its role, where the record says another."""
        wrong = [key for key, role in self.known.items() if role != key]
        return {f"{engine_mount}/{kind}/{key}" for key in wrong for kind in ("token", "roles")}

    def _read(self, key: str) -> str | None:
        from vault_asc.vault import InvalidTokenError

        try:
            record = self.store().read(key).record
        except (InvalidTokenError, VaultUnavailableError):
            raise
        except VaultError as exc:
            _taken(key, _why(exc))
            return None
        if record.role is None:
            _taken(key, "it is not in the engine yet")
        return record.role


def _why(exc: VaultError) -> str:
    if isinstance(exc, PermissionDeniedError):
        return "this token may not read its record"
    return "it has no record yet" if isinstance(exc, NotFoundError) else exc.message


def _taken(key: str, why: str) -> str:
    warn(f'the role of key "{key}" is taken to be "{key}": {why}; another one is named with --role')
    return key
