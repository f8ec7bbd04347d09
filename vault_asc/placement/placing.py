"""Every place of a key, custody by custody."""

from dataclasses import dataclass
from typing import Final

from vault_asc.errors import VaultError
from vault_asc.key.identity import Identity
from vault_asc.key.private_key import PrivateKey
from vault_asc.names import Custody
from vault_asc.placement.engine import InEngine
from vault_asc.placement.place import Place, beside
from vault_asc.placement.transit import InTransit
from vault_asc.record import Note, Record, StoredRecord
from vault_asc.store import Store
from vault_asc.vault import DEFAULT_MAX_VERSIONS, KvMetadata

_NO_DELETION: Final = {"", "0s", "0"}


@dataclass(frozen=True)
class Placement:
    """The places of one store."""

    store: Store

    @property
    def transit(self) -> InTransit:
        """Those in Transit."""
        return InTransit(self.store)

    @property
    def engine(self) -> InEngine:
        """Those in the engine."""
        return InEngine(self.store)

    # -- putting -------------------------------------------------------------------------------------------------

    def put(
        self,
        name: str,
        key: PrivateKey,
        identity: Identity,
        *,
        custody: Custody,
        cas: int | None,
        stored: StoredRecord | None = None,
        role: str | None = None,
    ) -> Place:
        """Write a further version to where the custody keeps it. It is staged: no record points to it yet.

        Args:
            name: the key's name.
            key: what to keep.
            identity: its IDs; the key ID lies beside it in KV, all of them in the engine.
            custody: where to.
            cas: what `check` has returned; None for no private part.
            stored: the record that is to be replaced, None for a new key.
            role: in the engine, for a new key; else the key's name.
        """
        private = None if cas is None else self.store.write_private(name, key, identity.key_id, cas=cas)
        if custody is Custody.KV:
            return Place(private)
        if custody is Custody.ENGINE:
            place = self.engine.put(name, key, identity, stored)
            if place.role is not None:
                return place
            self.engine.give_role(name, role or name)
            return place._replace(role=role or name)
        return self.transit.put(name, key, stored)._replace(private_version=private)

    # -- looking -------------------------------------------------------------------------------------------------

    def staged(self, stored: StoredRecord, note: Note | None) -> Note | None:
        """The note, provided that it tells of a version that is newer than the current one and there.

        When the key in Transit was deleted and made anew, its numbers began anew, and any version is newer than none.
        """
        version = note.version(stored.record.custody) if note else None
        if note is None or version is None:
            return None
        newer = version > stored.record.version or (
            stored.record.custody is not Custody.KV and self.of_record(stored, stored.record) is None
        )
        return note if newer and self.of_note(stored, note) else None

    def of_note(self, stored: StoredRecord, note: Note) -> Place | None:
        """Where the version of a note lies, None when it is not there (any more).

        A key that has no escrow keeps none, whatever the note says.
        """
        others = beside(stored.record)
        if stored.record.custody is Custody.ENGINE:
            who = stored.record.identity._replace(key_id=note.key_id)
            return self.engine.version(stored, note.engine_version, note.spki_sha256, who)
        kept = stored.record.private_version is not None
        private = note.private_version if kept else None
        if kept and not self._readable(stored.name, private):
            return None
        if stored.record.custody is Custody.KV:
            return others._replace(private_version=private)
        found = self.transit.version(stored.record, note.transit_version, note.spki_sha256)
        return found and found._replace(private_version=private, role=others.role)

    def of_record(self, stored: StoredRecord, record: Record) -> Place | None:
        """Where the version of a record of this key lies, an earlier one perhaps, None when it is gone."""
        if record.custody is Custody.ENGINE:
            return self.engine.version(stored, record.engine_version, record.spki_sha256, record.identity)
        if record.custody is Custody.KV:
            return beside(record) if self._readable(stored.name, record.private_version) else None
        found = self.transit.version(record, record.transit_version, record.spki_sha256)
        return found and found._replace(private_version=record.private_version, role=record.role)

    def _readable(self, name: str, version: int | None) -> bool:
        facts = self.store.private_metadata(name).versions.get(version or 0)
        return facts is not None and facts.readable

    # -- checks before a write -----------------------------------------------------------------------------------

    def check(
        self,
        name: str,
        *,
        custody: Custody,
        escrow: bool,
        stored: StoredRecord | None = None,
        key: PrivateKey | None = None,
        role: str | None = None,
    ) -> int | None:
        """Refuse what would be lost or not work; the private version to build on, None when none is to be written.

        Args:
            name: the key's name.
            custody: where a version is to go.
            escrow: in custody transit, whether a private part goes to KV too; in custody engine none ever does.
            stored: the record whose current version must not be pruned, None for a new key.
            key: what is to be put there, None as long as it is still wrapped.
            role: in the engine, for a new key; else the key's name.
        """
        if custody is Custody.ENGINE:
            self.engine.check(name, stored, key, role)
            if stored is None:
                self._refuse_left_copy(name)
            return None
        if custody is Custody.TRANSIT:
            self.transit.check(name, stored, key)
            if not escrow:
                if stored is None:
                    self._refuse_left_copy(name)
                return None
        private = self.store.private_metadata(name)
        self.refuse_planned_deletion(self.store.layout.private(name), private)
        if stored is not None:
            self._refuse_pruning(stored, private)
        return private.current_version

    def refuse_planned_deletion(self, path: str, metadata: KvMetadata) -> None:
        """Refuse to write where versions are deleted after a time."""
        where, mount = f"{self.store.layout.mount}/{path}", self.store.layout.mount
        on_secret, on_mount = metadata.delete_version_after, self.store.vault.kv_config(mount)[1]
        if on_mount.startswith("-"):
            return  # switched off for the whole mount, whatever a secret says
        if on_secret not in _NO_DELETION:
            after, fix = on_secret, f"vault kv metadata put -delete-version-after=0s {where}"
        elif on_mount not in _NO_DELETION:
            after, fix = on_mount, f"vault write {mount}/config delete_version_after=0s"
        else:
            return
        raise VaultError(
            f'versions of "{where}" are deleted after {after} (delete_version_after), so nothing was written',
            hint=f"{fix}, or use a mount without it",
        )

    def _refuse_left_copy(self, name: str) -> None:
        """Refuse to call a key one without escrow when a private part of that name lies there all the same."""
        if any(facts.readable for facts in self.store.private_metadata(name).versions.values()):
            where = f"{self.store.layout.mount}/{self.store.layout.private(name)}"
            raise VaultError(
                f'"{where}" holds a private part, of an interrupted import perhaps, so "{name}" would not be without'
                " escrow; nothing was written",
                hint=f"remove it (vault kv metadata delete {where}), or import with escrow",
            )

    def _refuse_pruning(self, stored: StoredRecord, private: KvMetadata) -> None:
        number = stored.record.private_version
        current = private.versions.get(number or 0)
        if number is None or current is None or current.destroyed:
            return  # lost already, and a new version is the way out
        # Vault keeps the larger number of secret and mount, its default when neither is set.
        on_mount = self.store.vault.kv_config(self.store.layout.mount)[0]
        kept = max(private.max_versions, on_mount) or DEFAULT_MAX_VERSIONS
        if number > private.current_version + 1 - kept:
            return
        where = f"{self.store.layout.mount}/{self.store.layout.private(stored.name)}"
        raise VaultError(
            f'a further version of "{where}" would prune version {number}, which is current'
            f" (max_versions {kept}); nothing was written",
            hint=f"promote what is staged, or keep more: vault kv metadata put -max-versions={kept + 10} {where}",
        )
