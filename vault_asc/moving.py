"""`key move`: from one custody to another, without a consumer noticing, and what has to be done before it is finished.

What counts changes with the last write of the record. A move to a stricter custody is not claimed before it is finished:
until then the record says where a copy may still lie, and that minters of the old custody can still take.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any, Final

from vault_asc.custody import private_key_of
from vault_asc.errors import ConflictError, NotFoundError, PrivateKeyError, TokenRequestError
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
from vault_asc.vault.capabilities import require_capabilities


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
            return replace(self._to_engine(stored, key, role), before=stored)
        place = self._to_transit(stored, key) if custody is Custody.TRANSIT else self._to_kv(stored, key)
        change = self.keeper.replace(stored, _moved(stored.record, custody, place))
        self.keeper.placement.transit.let_sign(place)  # for whoever has retired it before the record was written
        return change

    def _to_engine(self, stored: StoredRecord, key: PrivateKey | None, role: str | None) -> Change:
        """The record first tells of the copy, then the copy may sign, then it is the one that counts.

        So nothing signs there that no record knows of, and nobody is ever without a token.
        """
        record, engine = stored.record, self.keeper.placement.engine
        key = key or self._kept(stored, Custody.ENGINE)
        engine.check(stored.name, stored, key, role)
        put = engine.put(stored.name, key, record.identity, stored)
        engine.follow(stored.name, put.engine_version, record.state)
        own = record.role or role or stored.name
        engine.give_role(stored.name, own)
        place = put._replace(private_version=record.private_version, transit_key=record.transit_key, role=own)
        if record.role is None:
            stored = self.keeper.replace(stored, record._replace(role=own)).stored
        if record.state is State.ENABLED:
            engine.enable(stored.name)
        try:
            return self.keeper.replace(stored, _moved(stored.record, Custody.ENGINE, place))
        except ConflictError:
            self._stop_again(stored)
            raise

    def _stop_again(self, stored: StoredRecord) -> None:
        """When somebody was faster: in the engine nothing gives tokens that no record knows of, or that one forbids."""
        engine, now = self.keeper.placement.engine, self.store.find(stored.name)
        if now is not None and now.record.role is not None:
            engine.let_follow(stored.name)
        else:
            engine.stop_copy(stored)

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

    def finish(
        self, name: str, *, remove_copy: bool = False, trusted: Collection[str] = (), granted: bool = False
    ) -> Change:
        """Claim the custody that a key was moved to, provided that no policy grants any other place any more.

        Args:
            name: the key.
            remove_copy: also remove what lies there, for good; what an interrupted move has left there, too.
            trusted: policies that may go on granting it, such as that of those who administer Vault.
            granted: whether somebody has seen to it that minters have the grant of the new custody; else a policy has to
                give it, and not only one of those trusted.
        """
        stored = last = self.store.read(name)
        record = stored.record
        others = self._other_custodies(stored)
        for old in others:
            self.minters.require_none_left(stored, old, trusted)
        if record.moved_from is not None and not granted:
            self.minters.require_some(stored, trusted)
        for old in others:
            if remove_copy:
                last = self._remove_copy(last, old)
            elif record.removing is old and self._lies_in(stored, old):
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
        if not self._lies_in(stored, old):
            return stored
        role = self._role_there(stored)
        if old is Custody.ENGINE:
            self.keeper.placement.engine.require_no_other_role(stored.name, role)
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

    def _kv_copy(self, name: str) -> tuple[str, str]:
        """The note, which would tell of versions that KV counts anew, and the private part, which is looked for."""
        return self.store.layout.note(name), self.store.layout.private(name)

    def _lies_in(self, stored: StoredRecord, custody: Custody) -> bool:
        """Whether something of this key is there; what another store may have put there is none of it."""
        if custody is Custody.KV:
            return self.store.private_metadata(stored.name) != NO_METADATA
        left = self.keeper.leftovers(stored.name).get(custody)
        if left is not None:
            return left.own or (stored.record.removing is custody and not left.foreign)
        if custody is Custody.ENGINE:
            return self.keeper.placement.engine.holds(stored) and self.store.engine.find(stored.name) is not None
        return stored.record.transit_key is not None and self.store.transit.find(stored.record.transit_key) is not None

    def _other_custodies(self, stored: StoredRecord) -> list[Custody]:
        """Those in which a copy may lie: by the record, in KV always, and the one that keys are usually moved from.

        Of a key in the engine the record knows no private part any more once it was rotated there, and of what an
        interrupted move has left it never did: that is looked for.
        """
        record = stored.record
        known = {custody for custody, field in _POINTERS.items() if getattr(record, field) is not None}
        known |= {custody for custody, left in self.keeper.leftovers(stored.name).items() if left.own}
        usual = Custody.KV if record.custody is not Custody.KV else Custody.TRANSIT
        known |= {Custody.KV, record.moved_from or usual}
        return [custody for custody in Custody if custody in known and custody is not record.custody]

    def _require_right_to_remove(self, name: str, custody: Custody, role: str) -> None:
        """Refuse before the record is written what Vault would refuse after it."""
        layout = self.store.layout
        if custody is Custody.KV:
            paths = [f"{layout.mount}/metadata/{path}" for path in self._kv_copy(name)]
        elif custody is Custody.ENGINE:
            paths = [f"{layout.engine_mount}/roles/{role}", f"{layout.engine_mount}/keys/{name}"]
        else:
            paths = [f"{layout.transit_mount}/keys/{layout.transit(name)}"]
        require_capabilities(self.store.vault, [(path, "delete") for path in paths], "nothing was changed")

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


def _moved(record: Record, custody: Custody, place: Place) -> Record:
    return record._replace(custody=custody, moved_from=record.custody, **place._asdict())


_POINTERS: Final = {Custody.KV: "private_version", Custody.TRANSIT: "transit_key", Custody.ENGINE: "role"}
"""The field of the record that leads to what lies in a custody, whichever the key's own is."""


def _without(record: Record, custody: Custody) -> Record:
    nothing: dict[str, Any] = {_POINTERS[custody]: None}
    return record._replace(**nothing)
