"""What key owners do: import, stage, promote, rotate, roll back, retire, disable, enable, destroy.

Each is an order of single writes: what the record names signs at every moment, and a command that was killed after any of
them is completed by repeating it. The record is written last, but that the engine follows it (`pointing`). No command
here reads a private key back.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

from vault_asc.clock import Clock, iso
from vault_asc.errors import (
    ConflictError,
    NotFoundError,
    PermissionDeniedError,
    PrivateKeyError,
    TokenRequestError,
    VaultAscError,
)
from vault_asc.key.fingerprint import parse_fingerprint
from vault_asc.key.identity import Identity
from vault_asc.key.private_key import PrivateKey
from vault_asc.names import Custody
from vault_asc.placement import Leftover, Place, Placement, overtaken
from vault_asc.pointing import Change, Pointing
from vault_asc.record import VERSION_NAMES, Note, Record, State, StoredRecord
from vault_asc.refusals import is_of, refuse_current, refuse_other
from vault_asc.removal import Removal
from vault_asc.secret import safe_text
from vault_asc.store import Store


def _unheard(_note: Note) -> None:
    """For callers who do not tell anybody."""


@dataclass(frozen=True)
class Lifecycle:
    """The commands of key owners on one store."""

    store: Store
    clock: Clock

    @property
    def placement(self) -> Placement:
        """Where versions of keys are put."""
        return Placement(self.store)

    @property
    def pointing(self) -> Pointing:
        """How records are changed."""
        return Pointing(self.store)

    @property
    def removal(self) -> Removal:
        """How keys are removed."""
        return Removal(self.store)

    def import_key(
        self,
        name: str,
        key: PrivateKey,
        identity: Identity,
        custody: Custody = Custody.KV,
        *,
        escrow: bool = True,
        role: str | None = None,
    ) -> Change:
        """Store a new key under a name that is free. Importing the same key again changes nothing.

        Args:
            name: its name from now on.
            key: the private key.
            identity: Apple's IDs of it.
            custody: how it is to be kept.
            escrow: in custody transit, whether the private part is kept in KV too, where no minter can read it.
            role: in custody engine, the role by which its tokens are read; by default the name.
        """
        self.store.vault.require_kv2(self.store.layout.mount)
        # Before the record itself, so that one that is written in between makes the check-and-set write fail.
        facts = self.store.record_metadata(name)
        present = self.store.find(name)
        if present is not None:
            refuse_other(present, key, identity, custody, escrow=escrow, role=role)
            if custody is Custody.ENGINE:
                self.placement.engine.give_role(name, str(present.record.role))
            return self.pointing.unchanged(present)
        self.placement.refuse_planned_deletion(self.store.layout.record(name), facts)
        cas = self.placement.check(name, custody=custody, escrow=escrow, key=key, role=role)
        who = self.store.vault.whoami()
        place = self.placement.put(name, key, identity, custody=custody, cas=cas, role=role)
        record = Record(
            custody=custody,
            identity=identity,
            spki_sha256=key.spki_sha256,
            state=State.ENABLED,
            imported_at=iso(self.clock()),
            imported_by=who,
            changed_by=who,
            **place._asdict(),
        )
        with self.pointing.engine_following(name, record):
            self.store.write_record(name, record, cas=facts.current_version)
        if custody is Custody.ENGINE:  # it was written so that nobody gets tokens of a key that no record knows of
            self.placement.engine.enable(name)
        return Change(self.store.read(name), changed=True)

    def stage(self, name: str, key: PrivateKey, key_id: str, superseded: Callable[[Note], object] = _unheard) -> Note:
        """Write a new version beside the current one, and a note about it. No consumer notices.

        Repeated with the same key it finds the staged version and writes nothing. `superseded` gets the note of another
        version that was waiting and now is not.
        """
        stored = self.store.read(name)
        refuse_current(stored, key, key_id)
        return self._stage(stored, key, key_id, superseded)

    def plan(self, name: str, key: PrivateKey, key_id: str) -> StoredRecord | None:
        """Refuse all that `stage` and `rotate` would. The record that they build on, None when the key is current.

        Writes nothing.
        """
        stored = self.store.read(name)
        if (stored.record.spki_sha256, stored.record.identity.key_id) == (key.spki_sha256, key_id):
            return None
        refuse_current(stored, key, key_id)
        if not is_of(self.placement.staged(stored, self.store.note(name)[0]), key, key_id):
            self._check_stage(stored, key)
        return stored

    def _check_stage(self, stored: StoredRecord, key: PrivateKey) -> int | None:
        escrow = stored.record.private_version is not None
        return self.placement.check(stored.name, custody=stored.record.custody, escrow=escrow, stored=stored, key=key)

    def _stage(self, stored: StoredRecord, key: PrivateKey, key_id: str, superseded: Callable[[Note], object]) -> Note:
        name, record = stored.name, stored.record
        note, note_version = self.store.note(name)
        waiting = self.placement.staged(stored, note)
        if waiting and is_of(waiting, key, key_id):
            return waiting
        cas = self._check_stage(stored, key)
        who = self.store.vault.whoami()
        identity = record.identity._replace(key_id=key_id)
        place = self.placement.put(name, key, identity, custody=record.custody, cas=cas, stored=stored)
        new = Note(
            place.private_version,
            key_id,
            key.spki_sha256,
            iso(self.clock()),
            who,
            place.transit_version,
            place.engine_version,
        )
        self.store.write_note(name, new, cas=note_version)
        if record.custody is Custody.ENGINE and self.placement.of_note(stored, new) is None:
            raise overtaken(name)
        if waiting:
            superseded(waiting)
        return new

    def promote(self, name: str, fingerprint: str | None = None, key_id: str | None = None) -> Change:
        """Make the staged version current; with a fingerprint, or a key ID, only if it is that of the staged key.

        The fingerprint says nothing of the key ID, which whoever stages writes down.
        """
        stored = self.store.read(name)
        note = self.placement.staged(stored, self.store.note(name)[0])
        expected = None if fingerprint is None else parse_fingerprint(fingerprint)
        if expected is not None and stored.record.spki_sha256 == expected:
            return self.pointing.unchanged(stored)  # repeated after an interruption
        if note is None:
            raise NotFoundError(
                f'nothing is staged for key "{name}", the current key stays',
                hint=f"stage a new key first: vault-asc key stage {name} FILE",
            )
        if expected is not None and expected != note.spki_sha256:
            raise PrivateKeyError(
                # Vault's own is not shown: it would be copied, and the comparison is worth nothing then.
                f'the staged version of "{name}" has another fingerprint than that, nothing was changed',
                hint=f'ask whoever staged it at {note.staged_at}, "{note.staged_by}" by the note, before you promote it',
            )
        if key_id is not None and key_id != note.key_id:
            raise PrivateKeyError(
                f'the staged version of "{name}" is noted with another key ID than "{safe_text(key_id)}", nothing was changed',
                hint=f'ask whoever staged it at {note.staged_at}, "{note.staged_by}" by the note; staging it again mends it',
            )
        return self._promote(stored, note)

    def _promote(self, stored: StoredRecord, note: Note) -> Change:
        place = self.placement.of_note(stored, note)
        if place is None:
            raise NotFoundError(
                f'the staged version of "{stored.name}" is not where its note says, the current key stays',
                hint=f"stage it again: vault-asc key stage {stored.name} FILE",
            )
        return self.pointing.point(
            stored,
            stored.record._replace(
                identity=stored.record.identity._replace(key_id=note.key_id),
                spki_sha256=note.spki_sha256,
                imported_at=note.staged_at,
                imported_by=note.staged_by,
                **place._asdict(),
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
            return self.pointing.unchanged(stored)
        refuse_current(stored, key, key_id)
        note = self._stage(stored, key, key_id, superseded)
        try:
            return self._promote(stored, note)
        except PermissionDeniedError as error:
            told = f"{error.message}; {note.version_name} is staged, the record still names the current key"
            promote = f"a registrar can: vault-asc key promote {name} --key-id {note.key_id} --fingerprint SHA256:{note.spki_sha256}"
            raise PermissionDeniedError(told, hint=f"{error.hint}; or {promote}" if error.hint else promote) from error

    def rollback(self, name: str, to: int | None = None) -> Change:
        """Point the record to an older version in the same custody: `to`, or the one that was current before.

        The facts come from the record's own history, no private part is read. What was current becomes staged; a
        retirement of the older version is undone first.
        """
        stored = self.store.read(name)
        current = stored.record
        if to == current.version or (to is None and self.placement.engine.is_ahead(stored)):
            return self.pointing.unchanged(
                stored
            )  # a rollback that was interrupted is completed, and no further one made
        own = _kept_in(current.custody, self.store.history(name))
        older = next((r for r in own if (r.version == to if to else r.version < current.version)), None)
        if older is None:
            what = f"{VERSION_NAMES[current.custody]} {to}" if to else f"an earlier key in custody {current.custody}"
            raise NotFoundError(
                f'the history of "{name}" does not show {what}, nothing was changed',
                hint=f"see its versions: vault-asc key show {name}",
            )
        place = self.placement.of_record(stored, older)
        if place is None:
            raise NotFoundError(
                f'{older.version_name} of "{name}" is gone (pruned, deleted or destroyed), nothing was changed',
                hint=f"see what is left: vault-asc key show {name}",
            )
        wanted = current._replace(
            identity=older.identity,
            spki_sha256=older.spki_sha256,
            imported_at=older.imported_at,
            imported_by=older.imported_by,
            **_still_kept(current, place)._asdict(),
        )
        retired_below = self.placement.transit.let_sign(place)
        try:
            change = self.pointing.point(stored, wanted)
        except ConflictError:
            if retired_below and current.transit_key is not None:
                self.store.transit.retire_below(current.transit_key, retired_below)
            raise
        self.placement.transit.let_sign(place)  # again, for whoever has retired it before the record was written
        return replace(change, reopened=retired_below > 0)

    def retire(self, name: str) -> bool:
        """Let older versions than the current one sign no more. False when that is so already.

        Transit can refuse to sign, the engine forgets them: in custody kv whoever has read an older version has it.
        """
        stored = self.store.read(name)
        if stored.record.custody is Custody.ENGINE:
            return self.placement.engine.retire(name, stored.record.version)
        where, version = stored.record.transit_key, stored.record.transit_version
        if stored.record.custody is not Custody.TRANSIT or where is None or version is None:
            raise TokenRequestError(
                f'key "{name}" is in custody {stored.record.custody}, where older versions cannot be retired',
                hint=f"revoke the old key at Apple; to have Vault sign: vault-asc key move {name} --custody transit",
            )
        key = self.store.transit.find(where)
        if key is not None and key.retired_below == version:
            return False
        self.store.transit.retire_below(where, version)
        now = self.store.read(name)
        if (now.record.transit_version or version) < version:  # somebody has rolled back in between: theirs must sign
            self.store.transit.retire_below(where, now.record.transit_version or 0)
            raise ConflictError(
                f'the record of "{name}" was changed by {now.record.changed_by} at {now.written_at}; nothing was retired',
                hint=f"look first, then repeat: vault-asc key show {name}",
            )
        return True

    def set_state(self, name: str, state: State) -> Change:
        """Disable or enable minting; in the engine for all its roles, whoever reads their tokens.

        The engine stops first and begins last, so that a key whose record says disabled never signs there.
        """
        stored = self.store.read(name)
        stopped = state is State.DISABLED and self._stop(stored)
        change = Change(stored, changed=stopped)
        if stored.record.state is not state:
            wanted = stored.record._replace(state=state)
            try:
                with self.pointing.engine_following(name, wanted):
                    change = self.replace(stored, wanted)
            except VaultAscError:
                if stopped:
                    with suppress(VaultAscError):  # why the record was not written matters more
                        self._start(self.store.read(name))
                raise
        started = state is State.ENABLED and self._start(change.stored)
        return replace(change, changed=change.changed or started)

    def _stop(self, stored: StoredRecord) -> bool:
        """Let the engine give no tokens of a key any more, also where the record does not point to what lies there."""
        engine = self.placement.engine
        if stored.record.role is None:
            return engine.stop_copy(stored)
        return engine.follow(stored.name, None, State.DISABLED)

    def _start(self, stored: StoredRecord) -> bool:
        """Let the engine give tokens again, provided that the record says so."""
        ours = stored.record.role is not None and stored.record.state is State.ENABLED
        return ours and self.placement.engine.enable(stored.name)

    def destroy(self, name: str, *, leftover: bool = False, shown: Mapping[Custody, Leftover] | None = None) -> bool:
        """Remove a disabled key, or what was left of one (`removal`), for good. False when there was nothing to remove."""
        if leftover:
            return self.removal.remove_leftovers(name, shown)
        return self.removal.destroy(name)

    def leftovers(self, name: str) -> dict[Custody, Leftover]:
        """What an interrupted import or move has left, or somebody else has put there (`removal`)."""
        return self.removal.leftovers(name)

    # -- writing -------------------------------------------------------------------------------------------------

    def replace(self, stored: StoredRecord, record: Record) -> Change:
        """Make `record` the current one of the key, in the name of whoever asks."""
        return self.pointing.replace(stored, record)


def _kept_in(custody: Custody, history: Iterable[StoredRecord]) -> Iterator[Record]:
    """Those of a history that one custody still has the numbers of."""
    for old in history:
        record = old.record
        # A version that was rotated to in the engine has no private part, but those of older ones are kept.
        removed = record.removing is Custody.KV or (
            record.private_version is None and record.custody is not Custody.ENGINE
        )
        if custody is Custody.KV and removed:
            return  # KV has counted from 1 again since
        if record.custody is custody:
            yield record


def _still_kept(current: Record, place: Place) -> Place:
    """The place of an older version without the copies that a finished move has removed since."""
    kept = current.private_version is not None
    return place._replace(
        transit_key=current.transit_key, role=current.role, private_version=place.private_version if kept else None
    )
