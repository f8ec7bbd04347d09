"""How a key lies in Vault: a public record, a private part and, while a new version waits, a public note about it.

Three KV v2 secrets per key, below one mount and prefix (and in custody transit or engine a key in a mount of that):

    keys/<name>      the record: public facts, and the only pointer to what is current
    private/<name>   private_key and key_id, nothing else; versions newer than the record's are staged
    staged/<name>    the note: key ID and fingerprint of the staged version, for whoever promotes it without being
                     allowed to read it

Reading and single check-and-set writes are here; the order of writes that makes up a command is in `lifecycle`.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

from vault_asc.errors import ConflictError, PermissionDeniedError, VaultUnavailableError
from vault_asc.key.private_key import PrivateKey
from vault_asc.names import DEFAULT_ENGINE_MOUNT, DEFAULT_TRANSIT_MOUNT, transit_key
from vault_asc.record import BadRecordError, Note, Record, StoredRecord
from vault_asc.vault import (
    CheckAndSetError,
    Engine,
    KvMetadata,
    KvSecret,
    LostAnswerError,
    MissingVersionError,
    Transit,
    Vault,
)


class Layout(NamedTuple):
    """Where keys lie: KV v2 mount and prefix, and the mounts of Transit and of the engine for keys in those custodies."""

    mount: str
    prefix: str
    transit_mount: str = DEFAULT_TRANSIT_MOUNT
    engine_mount: str = DEFAULT_ENGINE_MOUNT

    def record(self, name: str) -> str:
        """Path of a record below the mount."""
        return f"{self.prefix}/keys/{name}"

    def private(self, name: str) -> str:
        """Path of a private part below the mount."""
        return f"{self.prefix}/private/{name}"

    def note(self, name: str) -> str:
        """Path of the note on a staged version below the mount."""
        return f"{self.prefix}/staged/{name}"

    def transit(self, name: str) -> str:
        """Name of a key in Transit."""
        return transit_key(self.prefix, name)


@dataclass(frozen=True)
class Store:
    """The keys of one prefix."""

    vault: Vault
    layout: Layout

    # -- records -------------------------------------------------------------------------------------------------

    def names(self) -> list[str]:
        """Names of all keys."""
        found = self.vault.kv_list(self.layout.mount, f"{self.layout.prefix}/keys")
        if not found:
            self.vault.require_kv2(self.layout.mount)  # where there is no KV v2 mount, "no keys" would mislead
        return found

    def read(self, name: str, version: int | None = None) -> StoredRecord:
        """The record of a key, the current version by default. `NotFoundError` says how it is missing."""
        path = self.layout.record(name)
        try:
            found = self.vault.kv_read(self.layout.mount, path, version)
        except MissingVersionError as exc:
            raise self._no_record(name, exc) from exc
        record = Record.load(found.data, f"{self.layout.mount}/{path}")
        if record.transit_key is not None and record.transit_key != self.layout.transit(name):
            # It could only lead to another key, which whoever writes this record need not own.
            raise BadRecordError(
                f'the record of "{name}" names the key "{record.transit_key}" in Transit, which is not its own',
                hint="find out who wrote it (vault kv metadata get, the audit log), then: vault kv rollback",
            )
        return StoredRecord(name, record, found.version, found.created_time)

    def find(self, name: str) -> StoredRecord | None:
        """The record, or None when there never was one or it was removed for good.

        A deleted record is neither: it can come back, so it is an error that says how.
        """
        try:
            return self.read(name)
        except MissingVersionError as exc:
            if exc.state == "deleted":
                raise
            return None

    def history(self, name: str) -> Iterator[StoredRecord]:
        """The versions of a record, the newest first, as far as they are still there and ours."""
        for version, facts in sorted(self.record_metadata(name).versions.items(), reverse=True):
            if facts.readable:
                with suppress(BadRecordError, MissingVersionError):  # not ours, or pruned since
                    yield self.read(name, version)

    def record_metadata(self, name: str) -> KvMetadata:
        """Versions of the record."""
        return self.vault.kv_metadata(self.layout.mount, self.layout.record(name))

    def write_record(self, name: str, record: Record, *, cas: int) -> int:
        """Make `record` current, provided that version `cas` still is. Returns the new KV version.

        After a lost answer the record is read: if it is ours, the write has happened. `ConflictError` says who was
        faster and when.
        """
        data = record.dump()
        try:
            return self.vault.kv_write(self.layout.mount, self.layout.record(name), data, cas=cas)
        except LostAnswerError as lost:
            now = self._after_lost_answer(name, lost)
            if now is not None and now.record == record:
                return now.version
            raise
        except CheckAndSetError as exc:
            raise self._conflict(name, exc) from exc

    # -- private parts -------------------------------------------------------------------------------------------

    @property
    def transit(self) -> Transit:
        """The Transit mount of this store."""
        return Transit(self.vault, self.layout.transit_mount)

    @property
    def engine(self) -> Engine:
        """The mount of the engine of this store; a key has its own name there."""
        return Engine(self.vault, self.layout.engine_mount)

    def read_private(self, stored: StoredRecord) -> KvSecret:
        """Exactly the private version that the record points to; in custody transit that is the escrow."""
        if stored.record.private_version is None:
            raise MissingVersionError(f'key "{stored.name}" has no private part in KV (no escrow)', state="missing")
        return self.vault.kv_read(self.layout.mount, self.layout.private(stored.name), stored.record.private_version)

    def private_metadata(self, name: str) -> KvMetadata:
        """Versions of the private part, without any value."""
        return self.vault.kv_metadata(self.layout.mount, self.layout.private(name))

    def private_metadata_or_none(self, name: str) -> KvMetadata | None:
        """The same, None when the token may not see it, as a minter may not."""
        try:
            return self.private_metadata(name)
        except PermissionDeniedError:
            return None

    def write_private(self, name: str, key: PrivateKey, key_id: str, *, cas: int) -> int:
        """Write a further private version. Nothing uses it before a record points to it."""
        data = {"private_key": key.pem.reveal(), "key_id": key_id}
        try:
            return self.vault.kv_write(self.layout.mount, self.layout.private(name), data, cas=cas)
        except CheckAndSetError as exc:
            raise self._staging_conflict(name) from exc

    # -- notes ---------------------------------------------------------------------------------------------------

    def note(self, name: str) -> tuple[Note | None, int]:
        """The note on the staged version, and its KV version for the next write (0: never written)."""
        try:
            found = self.vault.kv_read(self.layout.mount, self.layout.note(name))
        except MissingVersionError:
            return None, self.vault.kv_metadata(self.layout.mount, self.layout.note(name)).current_version
        return Note.load(found.data), found.version

    def write_note(self, name: str, note: Note, *, cas: int) -> None:
        """Leave the note. It is written after the private version that it tells of."""
        try:
            self.vault.kv_write(self.layout.mount, self.layout.note(name), note.dump(), cas=cas)
        except CheckAndSetError as exc:
            raise self._staging_conflict(name) from exc

    # -- removal -------------------------------------------------------------------------------------------------

    def remove(self, name: str, transit_key: str | None = None, role: str | None = None) -> None:
        """Remove a key for good, the record last, so that an interruption can be resumed.

        Args:
            name: the key.
            transit_key: its name in Transit, None when it has none there.
            role: by which its tokens are read from the engine, None when it is not there.
        """
        if role is not None:
            self.engine.delete(name, role)
        if transit_key is not None:
            self.transit.delete(transit_key)
        for path in (self.layout.private(name), self.layout.note(name), self.layout.record(name)):
            self.vault.kv_delete_all(self.layout.mount, path)

    # -- messages ------------------------------------------------------------------------------------------------

    def _no_record(self, name: str, exc: MissingVersionError) -> MissingVersionError:
        if exc.state != "missing":
            return MissingVersionError(
                f'the record of key "{name}" was {exc.state}; {exc.message}',
                hint=exc.hint or f"import the key again: vault-asc key import FILE {name}",
                state=exc.state,
                deleted_at=exc.deleted_at,
            )
        self.vault.require_kv2(self.layout.mount)  # a missing or a KV v1 mount deserves its own message
        where = f"{self.layout.mount}/{self.layout.prefix}"
        return MissingVersionError(
            f'no key "{name}" in {where}',
            hint="see what there is: vault-asc key list; add one: vault-asc key import FILE NAME",
            state="missing",
        )

    def _after_lost_answer(self, name: str, lost: LostAnswerError) -> StoredRecord | None:
        try:
            return self.find(name)
        except VaultUnavailableError:
            raise lost from lost.__cause__  # Vault is gone altogether: that a write may have happened matters more

    def _staging_conflict(self, name: str) -> ConflictError:
        """Who and when: from the note when it tells of the newest private version, else from the metadata alone."""
        private, (note, _) = self.private_metadata(name), self.note(name)
        newest = private.versions.get(private.current_version)
        if note is not None and note.private_version is None:
            return ConflictError(
                f'a version of "{name}" was staged by {note.staged_by} at {note.staged_at}; the current key is untouched',
                hint=f"look first, then repeat: vault-asc key show {name}",
            )
        if note is not None and note.private_version == private.current_version:
            what = f"was staged by {note.staged_by} at {note.staged_at}"
        else:
            when = newest.created_time if newest else "an unknown time"
            what = f"was written at {when} by somebody who has not left a note yet"
        return ConflictError(
            f'private version {private.current_version} of "{name}" {what}; the current key is untouched',
            hint=f"look first, then repeat: vault-asc key show {name}",
        )

    def _conflict(self, name: str, exc: CheckAndSetError) -> ConflictError:
        now = self.find(name)
        if now is None:
            return ConflictError(f'the record of "{name}" was removed in the meantime; {exc.message}')
        return ConflictError(
            f'the record of "{name}" was changed by {now.record.changed_by} at {now.written_at}; your change was not made',
            hint=f"look first, then repeat: vault-asc key show {name}",
        )
