"""What is removed for good: a key with all that its record points to, or what lies under its name and no record points to.

Never the one for the other, and nothing of another store.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from vault_asc.errors import ConflictError, PermissionDeniedError, TokenRequestError
from vault_asc.names import Custody
from vault_asc.placement import Leftover, Leftovers, Placement
from vault_asc.record import State, StoredRecord
from vault_asc.store import Store
from vault_asc.vault import MissingVersionError


@dataclass(frozen=True)
class Removal:
    """Of the keys of one store."""

    store: Store

    def destroy(self, name: str) -> bool:
        """Remove a disabled key with all its versions. False when there was nothing left to remove.

        One whose record is deleted or destroyed gives no tokens either, so it need not be disabled.
        """
        stored = self._recorded(name)
        if stored is None:
            return self._remove_in_kv(name)
        if stored.record.state is not State.DISABLED:
            raise TokenRequestError(
                f'key "{name}" is enabled, nothing was destroyed',
                hint=f"make sure that nobody mints from it any more, then: vault-asc key disable {name}",
            )
        role = stored.record.role if Placement(self.store).engine.holds(stored) else None
        if role is not None:
            self._refuse_other_roles(name, role)
        self.store.remove(name, stored.record.transit_key, role)
        return True

    def remove_leftovers(self, name: str, shown: Mapping[Custody, Leftover] | None = None) -> bool:
        """Remove what lies in Transit or the engine and no record points to. False when there was nothing.

        Beside a record only that goes, and the key stays as it is; without one it goes with what lies in KV.

        Args:
            name: the key.
            shown: what somebody was shown and has agreed to; it must not have changed since.
        """
        left = self.removable(name)
        if shown is not None and left != shown:
            raise ConflictError(
                f'what lies under the name "{name}" has changed since it was shown; nothing was removed',
                hint="repeat it, and look again",
            )
        if Custody.ENGINE in left:
            self._refuse_other_roles(name, name)
            self.store.engine.delete(name, name)
        if Custody.TRANSIT in left:
            self.store.transit.delete(left[Custody.TRANSIT].name)
        removed = self._recorded(name) is None and self._remove_in_kv(name)
        return bool(left) or removed

    def leftovers(self, name: str) -> dict[Custody, Leftover]:
        """What lies in Transit or the engine and no record points to, as far as this token can see it."""
        return Leftovers(self.store).find(name, self._recorded(name))

    def removable(self, name: str) -> dict[Custody, Leftover]:
        """That of it which may be removed: nothing of another store. What gives tokens is refused."""
        return Leftovers(self.store).removable(name, self._recorded(name))

    def _recorded(self, name: str) -> StoredRecord | None:
        try:
            return self.store.find(name)
        except MissingVersionError:
            return None

    def _remove_in_kv(self, name: str) -> bool:
        layout = self.store.layout
        note = self.store.vault.kv_metadata(layout.mount, layout.note(name))
        in_kv = self.store.private_metadata(name), note, self.store.record_metadata(name)
        if not any(metadata.current_version for metadata in in_kv):
            return False
        self.store.remove(name)
        return True

    def _refuse_other_roles(self, name: str, role: str) -> None:
        """Who may not list roles hears it from the engine, after the key's own role is gone."""
        with suppress(PermissionDeniedError):
            Placement(self.store).engine.require_no_other_role(name, role)
