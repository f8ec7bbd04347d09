"""`key move`: from one custody to another, without a consumer noticing, and what has to be done before it is finished.

The record is written last, as everywhere. A move to a stricter custody is not claimed before it is finished: until
then the record says where a copy may still lie, and that minters of the old custody can still take.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

from vault_asc.custody import private_key_of
from vault_asc.errors import ConflictError, NotFoundError, PermissionDeniedError, PrivateKeyError, TokenRequestError
from vault_asc.key.private_key import PrivateKey
from vault_asc.lifecycle import Lifecycle
from vault_asc.minters import Minters
from vault_asc.names import Custody
from vault_asc.placement import Place, beside
from vault_asc.pointing import Change
from vault_asc.record import Note, Record, State, StoredRecord
from vault_asc.refusals import refuse_other_role
from vault_asc.store import Store
from vault_asc.vault import NO_METADATA, MissingVersionError
from vault_asc.vault.capabilities import capabilities_self


@dataclass(frozen=True)
class Moving:
    """Moves of keys on one store."""

    keeper: Lifecycle

    @property
    def store(self) -> Store:
        """Where the keys lie."""
        return self.keeper.store

    @property
    def minters(self) -> Minters:
        """Who may mint."""
        return Minters(self.store)

    def move(
        self,
        name: str,
        custody: Custody,
        key: PrivateKey | None = None,
        *,
        granted: bool = False,
        role: str | None = None,
    ) -> Change:
        """Move the current version of a key. Repeated it completes, or changes nothing.

        Args:
            name: the key.
            custody: where to.
            key: its private part from a file; else the one in KV is used, which needs the right to read it.
            granted: whether somebody has seen to it that all minters have the grant of the new custody; else the
                policies in Vault are asked.
            role: to custody engine, the role by which its tokens are read; by default the key's name.
        """
        stored = self.store.read(name)
        if stored.record.custody is custody:
            return Change(stored, changed=False)
        if stored.record.moved_from not in {None, custody}:
            raise ConflictError(
                f'"{name}" was moved from custody {stored.record.moved_from}, which is not finished; nothing was changed',
                hint=f"finish that first: vault-asc key move {name} --finish",
            )
        if stored.record.removing is custody:
            raise ConflictError(
                f'what lies of "{name}" in custody {custody} is being removed by {stored.record.changed_by};'
                " nothing was changed",
                hint=f"finish that first: vault-asc key move {name} --finish --remove-copy",
            )
        refuse_other_role(stored, role)
        if key is not None:
            _require_current(stored, key)
        if not granted:
            self.minters.require_ready(stored, custody, role)
        if custody is Custody.ENGINE:
            place = self._to_engine(stored, key, role)
        else:
            place = self._to_transit(stored, key) if custody is Custody.TRANSIT else self._to_kv(stored, key)
        wanted = stored.record._replace(custody=custody, moved_from=stored.record.custody, **place._asdict())
        try:
            change = self.keeper.replace(stored, wanted)
        except ConflictError:
            self._stop_unrecorded(stored, custody)
            raise
        self.keeper.placement.transit.let_sign(place)  # for whoever has retired it before the record was written
        return change

    def _to_engine(self, stored: StoredRecord, key: PrivateKey | None, role: str | None) -> Place:
        record, engine = stored.record, self.keeper.placement.engine
        key = key or self._kept(stored, Custody.ENGINE)
        engine.check(stored.name, stored, key, role)
        put = engine.put(stored.name, key, record.identity, stored)
        engine.follow(stored.name, put.engine_version, record.state)  # before anybody can read tokens of it
        own = record.role or role or stored.name
        engine.give_role(stored.name, own)
        return put._replace(private_version=record.private_version, transit_key=record.transit_key, role=own)

    def _stop_unrecorded(self, stored: StoredRecord, custody: Custody) -> None:
        """In the engine nothing gives tokens that no record knows of: disabling the key would not end them."""
        if custody is Custody.ENGINE:
            now = self.store.find(stored.name)
            if now is None or now.record.role is None:
                self.keeper.placement.engine.follow(stored.name, None, State.DISABLED)

    def _to_transit(self, stored: StoredRecord, key: PrivateKey | None) -> Place:
        own = key or self._kept(stored, Custody.TRANSIT)
        put = self.keeper.placement.transit.put(stored.name, own, stored)
        return put._replace(private_version=stored.record.private_version, role=stored.record.role)

    def _to_kv(self, stored: StoredRecord, key: PrivateKey | None) -> Place:
        place = beside(stored.record)
        if key is None:
            self._kept(stored, Custody.KV)  # minters will use it, so it has to be the right one
            return place
        placement = self.keeper.placement
        cas = placement.check(stored.name, custody=Custody.KV, escrow=True, stored=stored)
        put = placement.put(stored.name, key, stored.record.identity, custody=Custody.KV, cas=cas)
        return place._replace(private_version=put.private_version)

    def _kept(self, stored: StoredRecord, custody: Custody) -> PrivateKey:
        """The private part in KV, where there is one."""
        try:
            return private_key_of(self.store, stored)
        except MissingVersionError as gone:
            raise NotFoundError(
                f'there is no private part of the current version of "{stored.name}" in KV, nothing was changed',
                hint=f"give the .p8 file: vault-asc key move {stored.name} --custody {custody} --file FILE",
            ) from gone

    def finish(self, name: str, *, remove_copy: bool = False, trusted: Collection[str] = ()) -> Change:
        """Claim the custody that a key was moved to, provided that no policy grants the old place any more.

        Args:
            name: the key.
            remove_copy: also remove what lies there, for good.
            trusted: policies that may go on granting it, such as that of those who administer Vault.
        """
        stored = last = self.store.read(name)
        record = stored.record
        others = _other_custodies(record)
        for old in others:
            self.minters.require_none_left(stored, old, trusted)
        for old in others:
            if remove_copy:
                last = self._remove_copy(last, old)
            elif record.removing is old and self._lies_in(name, old):
                raise TokenRequestError(
                    f'what lies of "{name}" in custody {old} was about to be removed, and is still there',
                    hint=f"vault-asc key move {name} --finish --remove-copy",
                )
        if last.record.moved_from is not None:
            last = self.keeper.replace(last, last.record._replace(moved_from=None, removing=None)).stored
        return Change(last, changed=last.record != record, before=stored)

    def _remove_copy(self, stored: StoredRecord, old: Custody) -> StoredRecord:
        """Remove what lies in the old custody; what counts is the place, not what the record says of it.

        The record lets go of it first: `move` refuses to go back as long as that is so.
        """
        if not self._lies_in(stored.name, old):
            return stored
        role = self._role_there(stored)
        if old is Custody.ENGINE:
            self._require_no_other_role(stored.name, role)
        self._require_right_to_remove(stored.name, old, role)
        without = _without(stored.record._replace(moved_from=old, removing=old), old)
        last = self.keeper.replace(stored, without).stored
        if old is Custody.KV:
            for path in self._kv_copy(stored.name):
                self.store.vault.kv_delete_all(self.store.layout.mount, path)
        elif old is Custody.TRANSIT:
            self.store.transit.delete(self.store.layout.transit(stored.name))
        else:
            self.store.engine.delete(stored.name, role)
        return last

    def _role_there(self, stored: StoredRecord) -> str:
        """The key's own role in the engine, by the history too: a removal that was interrupted has let go of it."""
        if stored.record.role is not None:
            return stored.record.role
        known = (old.record.role for old in self.store.history(stored.name) if old.record.role is not None)
        return next(known, stored.name)

    def _require_no_other_role(self, name: str, role: str) -> None:
        """Refuse before the record is written what the engine would refuse after it."""
        others = [other for other in self.store.engine.roles_of(name) if other != role]
        if others:
            raise TokenRequestError(
                f'key "{name}" in the engine is used by other roles ({", ".join(others)}); nothing was changed',
                hint=f"remove them first: vault delete {self.store.layout.engine_mount}/roles/{others[0]}",
            )

    def _kv_copy(self, name: str) -> tuple[str, str]:
        """The note, which would tell of versions that KV counts anew, and the private part, which is looked for."""
        return self.store.layout.note(name), self.store.layout.private(name)

    def _lies_in(self, name: str, custody: Custody) -> bool:
        if custody is Custody.KV:
            return self.store.private_metadata(name) != NO_METADATA
        if custody is Custody.ENGINE:
            return self.store.engine.find(name) is not None
        return self.store.transit.find(self.store.layout.transit(name)) is not None

    def _require_right_to_remove(self, name: str, custody: Custody, role: str) -> None:
        """Refuse before the record is written what Vault would refuse after it."""
        layout = self.store.layout
        if custody is Custody.KV:
            paths = [f"{layout.mount}/metadata/{path}" for path in self._kv_copy(name)]
        elif custody is Custody.ENGINE:
            paths = [f"{layout.engine_mount}/roles/{role}", f"{layout.engine_mount}/keys/{name}"]
        else:
            paths = [f"{layout.transit_mount}/keys/{layout.transit(name)}"]
        allowed = capabilities_self(self.store.vault, paths)
        for path in paths:
            if not allowed[path] & {"delete", "root"}:
                raise PermissionDeniedError(
                    f'permission denied: the token lacks "delete" on "{path}"; nothing was changed',
                    hint=self.store.vault.advice(path, "delete"),
                )

    def staged(self, name: str) -> Note | None:
        """The note on what is staged; a move leaves that version in its custody."""
        return self.keeper.placement.staged(self.store.read(name), self.store.note(name)[0])


def _require_current(stored: StoredRecord, key: PrivateKey) -> None:
    """Refuse a key that is not the current one."""
    if key.spki_sha256 != stored.record.spki_sha256:
        raise PrivateKeyError(
            f'this is not the current key of "{stored.name}" (SHA256:{stored.record.spki_sha256}), nothing was changed',
            hint=f"give the .p8 of key ID {stored.record.identity.key_id}; a new key is for: vault-asc key rotate",
        )


_POINTERS: Final = {Custody.KV: "private_version", Custody.TRANSIT: "transit_key", Custody.ENGINE: "role"}
"""The field of the record that leads to what lies in a custody, whichever the key's own is."""


def _without(record: Record, custody: Custody) -> Record:
    nothing: dict[str, Any] = {_POINTERS[custody]: None}
    return record._replace(**nothing)


def _other_custodies(record: Record) -> list[Custody]:
    """Those in which a copy may lie: by the record, in KV always, and at least the one that keys are usually moved from.

    Of a key in the engine the record knows no private part any more once it was rotated there.
    """
    known = {custody for custody, field in _POINTERS.items() if getattr(record, field) is not None}
    usual = Custody.KV if record.custody is not Custody.KV else Custody.TRANSIT
    known |= {Custody.KV, record.moved_from or usual}
    return [custody for custody in Custody if custody in known and custody is not record.custody]
