"""What key owners do: import, stage, promote, rotate, roll back, disable, enable, destroy.

Each is an order of single writes, and the record is always written last: killed after any of them, the old key is
still current, and the repeated command completes. No command here reads a private key back.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from vault_asc.clock import Clock, iso
from vault_asc.errors import (
    ConflictError,
    NotFoundError,
    PermissionDeniedError,
    PrivateKeyError,
    TokenRequestError,
    VaultError,
)
from vault_asc.key.identity import Identity
from vault_asc.key.private_key import PrivateKey
from vault_asc.names import Custody
from vault_asc.secret import safe_text
from vault_asc.store import BadRecordError, Note, Record, State, Store, StoredRecord
from vault_asc.vault import DEFAULT_MAX_VERSIONS, KvMetadata, MissingVersionError

_NO_DELETION: Final = {"", "0s", "0"}


def _unheard(_note: Note) -> None:
    """For callers who do not tell anybody."""


@dataclass(frozen=True)
class Change:
    """What a command did: the record now, and whether anything had to be written."""

    stored: StoredRecord
    changed: bool


@dataclass(frozen=True)
class Lifecycle:
    """The commands of key owners on one store."""

    store: Store
    clock: Clock

    def import_key(self, name: str, key: PrivateKey, identity: Identity) -> Change:
        """Store a new key under a name that is free. Importing the same key again changes nothing."""
        self.store.vault.require_kv2(self.store.layout.mount)
        # Before the record itself, so that one that is written in between makes the check-and-set write fail.
        facts = self.store.record_metadata(name)
        present = self.store.find(name)
        if present is not None:
            return _already(present, key, identity)
        private = self.store.private_metadata(name)
        self._refuse_planned_deletion(self.store.layout.record(name), facts)
        self._refuse_planned_deletion(self.store.layout.private(name), private)
        who = self.store.vault.whoami()
        version = self.store.write_private(name, key, identity.key_id, cas=private.current_version)
        record = Record(
            Custody.KV, identity, key.spki_sha256, State.ENABLED, version, iso(self.clock()), who, changed_by=who
        )
        self.store.write_record(name, record, cas=facts.current_version)
        return Change(self.store.read(name), changed=True)

    def stage(self, name: str, key: PrivateKey, key_id: str, superseded: Callable[[Note], object] = _unheard) -> Note:
        """Write a new private version beside the current one, and a note about it. No consumer notices.

        Repeated with the same key it finds the staged version and writes nothing. `superseded` gets the note of another
        version that was waiting and now is not.
        """
        return self._stage(self.store.read(name), key, key_id, superseded)

    def _stage(self, stored: StoredRecord, key: PrivateKey, key_id: str, superseded: Callable[[Note], object]) -> Note:
        name = stored.name
        if stored.record.spki_sha256 == key.spki_sha256:
            if stored.record.identity.key_id != key_id:
                raise _other_ids(stored)
            raise PrivateKeyError(
                f'this is the current key of "{name}" already, nothing was staged', hint="stage the new .p8 file"
            )
        if stored.record.identity.key_id == key_id:
            raise PrivateKeyError(
                f'key ID "{key_id}" is that of the current key of "{name}", but the key differs',
                hint="a new key has a new key ID: name it with --key-id",
            )
        note, note_version = self.store.note(name)
        private = self.store.private_metadata(name)
        waiting = note if note and _waiting(note, stored, private) else None
        if waiting and (waiting.key_id, waiting.spki_sha256) == (key_id, key.spki_sha256):
            return waiting
        self._refuse_planned_deletion(self.store.layout.private(name), private)
        self._refuse_pruning(stored, private)
        who = self.store.vault.whoami()
        version = self.store.write_private(name, key, key_id, cas=private.current_version)
        note = Note(version, key_id, key.spki_sha256, iso(self.clock()), who)
        self.store.write_note(name, note, cas=note_version)
        if waiting:
            superseded(waiting)
        return note

    def promote(self, name: str, fingerprint: str | None = None) -> Change:
        """Make the staged version current; with a fingerprint, only if it is that of the staged key."""
        stored = self.store.read(name)
        note, _ = self.store.note(name)
        expected = None if fingerprint is None else _fingerprint(fingerprint)
        if expected is not None and stored.record.spki_sha256 == expected:
            return Change(stored, changed=False)  # repeated after an interruption
        if note is None or not _waiting(note, stored, self.store.private_metadata(name)):
            raise NotFoundError(
                f'nothing is staged for key "{name}", the current key stays',
                hint=f"stage a new key first: vault-asc key stage {name} FILE",
            )
        if expected is not None and expected != note.spki_sha256:
            raise PrivateKeyError(
                # Vault's own is not shown: it would be copied, and the comparison is worth nothing then.
                f'the staged version of "{name}" has another fingerprint than that, nothing was changed',
                hint=f"ask {note.staged_by}, who staged it at {note.staged_at}, before you promote it",
            )
        return self._promote(stored, note)

    def _promote(self, stored: StoredRecord, note: Note) -> Change:
        return self._write(
            stored,
            stored.record._replace(
                identity=stored.record.identity._replace(key_id=note.key_id),
                spki_sha256=note.spki_sha256,
                private_version=note.private_version,
                imported_at=note.staged_at,
                imported_by=note.staged_by,
            ),
        )

    def rotate(
        self, name: str, key: PrivateKey, key_id: str, superseded: Callable[[Note], object] = _unheard
    ) -> Change:
        """Stage and promote. Repeated with the same key it completes, or changes nothing.

        Both build on one reading of the record: a key that somebody else makes current in between is never replaced.
        """
        stored = self.store.read(name)
        if stored.record.spki_sha256 == key.spki_sha256 and stored.record.identity.key_id == key_id:
            return Change(stored, changed=False)
        note = self._stage(stored, key, key_id, superseded)
        try:
            return self._promote(stored, note)
        except PermissionDeniedError as error:
            told = f"{error.message}; version {note.private_version} is staged, the current key stays"
            promote = f"a registrar can: vault-asc key promote {name} --fingerprint SHA256:{note.spki_sha256}"
            raise PermissionDeniedError(told, hint=f"{error.hint}; or {promote}" if error.hint else promote) from error

    def rollback(self, name: str, to: int | None = None) -> Change:
        """Point the record to an older private version: `to`, or the one that was current before.

        The facts come from the record's own history, the private part is not read. What was current becomes staged.
        """
        stored = self.store.read(name)
        if to == stored.record.private_version:
            return Change(stored, changed=False)
        older = self._history(stored, lambda r: r.private_version == to if to else _differs(r, stored.record))
        if older is None:
            what = f"private version {to}" if to else "an earlier key"
            raise NotFoundError(
                f'the history of "{name}" does not show {what}, nothing was changed',
                hint=f"see its versions: vault-asc key show {name}",
            )
        target = self.store.private_metadata(name).versions.get(older.private_version)
        if target is None or not target.readable:
            raise NotFoundError(
                f'private version {older.private_version} of "{name}" is gone (pruned, deleted or destroyed),'
                " nothing was changed",
                hint=f"see what is left: vault-asc key show {name}",
            )
        return self._write(
            stored,
            stored.record._replace(
                identity=older.identity,
                spki_sha256=older.spki_sha256,
                private_version=older.private_version,
                imported_at=older.imported_at,
                imported_by=older.imported_by,
            ),
        )

    def set_state(self, name: str, state: State) -> Change:
        """Disable or enable minting."""
        stored = self.store.read(name)
        if stored.record.state is state:
            return Change(stored, changed=False)
        return self._write(stored, stored.record._replace(state=state))

    def destroy(self, name: str) -> bool:
        """Remove a disabled key with all its versions, for good. False when there was nothing left to remove.

        One whose record is deleted or destroyed gives no tokens either, so it need not be disabled.
        """
        try:
            stored = self.store.find(name)
        except MissingVersionError:
            stored = None
        if stored is None:
            left = self.store.private_metadata(name), self.store.record_metadata(name)
            if not any(metadata.current_version for metadata in left):
                return False
        elif stored.record.state is not State.DISABLED:
            raise TokenRequestError(
                f'key "{name}" is enabled, nothing was destroyed',
                hint=f"make sure that nobody mints from it any more, then: vault-asc key disable {name}",
            )
        self.store.remove(name)
        return True

    # -- checks before a write -----------------------------------------------------------------------------------

    def _refuse_planned_deletion(self, path: str, metadata: KvMetadata) -> None:
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

    def _refuse_pruning(self, stored: StoredRecord, private: KvMetadata) -> None:
        current = private.versions.get(stored.record.private_version)
        if current is None or current.destroyed:
            return  # lost already, and a new version is the way out
        # Vault keeps the larger number of secret and mount, its default when neither is set.
        on_mount = self.store.vault.kv_config(self.store.layout.mount)[0]
        kept = max(private.max_versions, on_mount) or DEFAULT_MAX_VERSIONS
        if stored.record.private_version > private.current_version + 1 - kept:
            return
        where = f"{self.store.layout.mount}/{self.store.layout.private(stored.name)}"
        raise VaultError(
            f'a further version of "{where}" would prune version {stored.record.private_version}, which is current'
            f" (max_versions {kept}); nothing was written",
            hint=f"promote what is staged, or keep more: vault kv metadata put -max-versions={kept + 10} {where}",
        )

    # -- writing and looking back --------------------------------------------------------------------------------

    def _write(self, stored: StoredRecord, record: Record) -> Change:
        """Make `record` the current one of the key, in the name of whoever asks."""
        signed = record._replace(changed_by=self.store.vault.whoami())
        self.store.write_record(stored.name, signed, cas=stored.version)
        return Change(self.store.read(stored.name), changed=True)

    def _history(self, stored: StoredRecord, wanted: Callable[[Record], bool]) -> Record | None:
        """The newest earlier version of the record for which `wanted` holds."""
        for version, facts in sorted(self.store.record_metadata(stored.name).versions.items(), reverse=True):
            if version < stored.version and facts.readable:
                try:
                    record = self.store.read(stored.name, version).record
                except (BadRecordError, MissingVersionError):
                    continue  # not ours, or pruned since: what lies before it may still be good
                if wanted(record):
                    return record
        return None


def _fingerprint(text: str) -> str:
    """A fingerprint as people write it (`SHA256:`, colons, capitals) in the form of the record."""
    digits = text.strip().lower().removeprefix("sha256:").replace(":", "")
    if re.fullmatch(r"[0-9a-f]{64}", digits) is None:
        raise PrivateKeyError(
            f'"{safe_text(text, 80)}" is no fingerprint, nothing was changed',
            hint="give the whole one that `key stage` printed: SHA256: and 64 hexadecimal digits",
        )
    return digits


def _waiting(note: Note, stored: StoredRecord, private: KvMetadata) -> bool:
    """Whether the note tells of a version that is newer than the record's and still there."""
    version = private.versions.get(note.private_version)
    return note.private_version > stored.record.private_version and version is not None and version.readable


def _differs(record: Record, current: Record) -> bool:
    return record.private_version < current.private_version


def _other_ids(stored: StoredRecord) -> ConflictError:
    """For a key that is there with other IDs than those given: one of both is wrong, and nobody guesses which."""
    identity = stored.record.identity
    issuer = f"issuer ID {identity.issuer_id}" if identity.issuer_id else "as an individual key"
    return ConflictError(
        f'this key is recorded as "{stored.name}" with key ID {identity.key_id}, {issuer}, for {identity.audience};'
        " nothing was changed",
        hint="if the record is wrong, import the key under another name with the right IDs and point the targets to it",
    )


def _already(present: StoredRecord, key: PrivateKey, identity: Identity) -> Change:
    if present.record.spki_sha256 == key.spki_sha256 and present.record.identity == identity:
        return Change(present, changed=False)
    if present.record.spki_sha256 == key.spki_sha256:
        raise _other_ids(present)
    raise ConflictError(
        f'key "{present.name}" exists: key ID {present.record.identity.key_id}, imported by'
        f" {present.record.imported_by} at {present.record.imported_at}; nothing was changed",
        hint=f"to replace it: vault-asc key rotate {present.name} FILE; or choose another name",
    )
