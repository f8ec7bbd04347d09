"""Where the versions of a key are put, custody by custody, and whether a version that a note or record names is there.

Used by the commands of key owners (`lifecycle`, `moving`); nothing here makes a version current. Writing is safe to
repeat: Transit is searched for the public key before anything is imported, and KV keeps a further version at worst.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

from vault_asc.errors import ConflictError, VaultError
from vault_asc.key.private_key import PrivateKey
from vault_asc.key.public_key import PublicKey, public_key
from vault_asc.key.wrapping import wrapped
from vault_asc.names import Custody
from vault_asc.record import Note, Record, StoredRecord
from vault_asc.store import Store
from vault_asc.vault import DEFAULT_MAX_VERSIONS, KvMetadata, LostAnswerError, TransitKey

_NO_DELETION: Final = {"", "0s", "0"}


class Place(NamedTuple):
    """Where one version of a key lies; the fields of the record that say so."""

    private_version: int | None = None
    transit_key: str | None = None
    transit_version: int | None = None
    public_key: str | None = None


@dataclass(frozen=True)
class Placement:
    """The places of one store."""

    store: Store

    # -- putting -------------------------------------------------------------------------------------------------

    def put(
        self,
        name: str,
        key: PrivateKey,
        key_id: str,
        *,
        custody: Custody,
        cas: int | None,
        stored: StoredRecord | None = None,
    ) -> Place:
        """Write a further version to where the custody keeps it. It is staged: no record points to it yet.

        Args:
            name: the key's name.
            key: what to keep.
            key_id: its key ID, which lies beside it in KV.
            custody: where to.
            cas: what `check` has returned; None for no private part.
            stored: the record that is to be replaced, None for a new key.
        """
        private = None if cas is None else self.store.write_private(name, key, key_id, cas=cas)
        if custody is Custody.KV:
            return Place(private)
        return self.put_transit(name, key, stored)._replace(private_version=private)

    def put_transit(self, name: str, key: PrivateKey, stored: StoredRecord | None) -> Place:
        """Import a key into Transit, unless it is there, and compare what Transit then says with the key.

        A version counts as there only when it is newer than that of the record, and not retired: else it could not be
        told from the current one, or could not sign.
        """
        where = self.store.layout.transit(name)
        before = self._transit_key(where)
        if _is_new_there(stored):
            _refuse_others(name, where, before, key)
        above = _counting_from(before, (stored.record.transit_version or 0) if stored else 0)
        found = _in_transit(where, before, key.spki_sha256, above=above)
        if found is not None:
            return found
        self._import(where, key, further=before is not None, above=above)
        found = _in_transit(where, self._transit_key(where), key.spki_sha256, above=above)
        if found is None:
            raise VaultError(
                f'Transit does not report the public key of what was imported as "{where}", so nothing points to it',
                hint="look at it (vault read), and report it: Transit or something before it changes keys",
            )
        return found

    def let_sign(self, place: Place) -> int:
        """Undo a retirement of this version. The version below which all were retired before, 0 when it could sign."""
        if place.transit_key is None or place.transit_version is None:
            return 0
        key = self._transit_key(place.transit_key)
        if key is None or key.retired_below <= place.transit_version:
            return 0
        self.store.transit.retire_below(place.transit_key, place.transit_version)
        return key.retired_below

    def _import(self, where: str, key: PrivateKey, *, further: bool, above: int) -> None:
        transit = self.store.transit
        ciphertext = wrapped(key, transit.wrapping_key())
        try:
            transit.put(where, ciphertext, further=further)
        except LostAnswerError:
            # Importing twice would make two versions of one key, so what became of the first try is looked up.
            if _in_transit(where, self._transit_key(where), key.spki_sha256, above=above) is None:
                raise
        except VaultError:
            # Somebody else may have made the key since it was looked for: then this is its next version.
            now = None if further else self._transit_key(where)
            if now is None:
                raise
            if _in_transit(where, now, key.spki_sha256, above=above) is None:
                transit.put(where, ciphertext, further=True)

    def _transit_key(self, where: str) -> TransitKey | None:
        """The key in Transit, None when there is none; refused when it is not one of ours."""
        key = self.store.transit.find(where)
        problem = key.problem() if key else None
        if problem is not None:
            raise VaultError(
                f'key "{where}" in Transit mount "{self.store.layout.transit_mount}" {problem}, so it is not used',
                hint="find out who made it, then remove it, or use another Transit mount (store.transit_mount)",
            )
        return key

    # -- looking -------------------------------------------------------------------------------------------------

    def staged(self, stored: StoredRecord, note: Note | None) -> Note | None:
        """The note, provided that it tells of a version that is newer than the current one and there.

        When the key in Transit was deleted and made anew, its numbers began anew, and any version is newer than none.
        """
        version = note.version(stored.record.custody) if note else None
        if note is None or version is None:
            return None
        newer = version > stored.record.version or (
            stored.record.custody is Custody.TRANSIT and self.of_record(stored.name, stored.record) is None
        )
        return note if newer and self.of_note(stored, note) else None

    def of_note(self, stored: StoredRecord, note: Note) -> Place | None:
        """Where the version of a note lies, None when it is not there (any more).

        A key that has no escrow keeps none, whatever the note says.
        """
        kept = stored.record.private_version is not None
        private = note.private_version if kept else None
        if kept and not self._readable(stored.name, private):
            return None
        if stored.record.custody is Custody.KV:
            return Place(private, stored.record.transit_key)
        found = self._version(stored.record, note.transit_version, note.spki_sha256)
        return found and found._replace(private_version=private)

    def of_record(self, name: str, record: Record) -> Place | None:
        """Where the version of an earlier record lies, None when it is gone."""
        if record.custody is Custody.KV:
            there = self._readable(name, record.private_version)
            return Place(record.private_version, record.transit_key) if there else None
        found = self._version(record, record.transit_version, record.spki_sha256)
        return found and found._replace(private_version=record.private_version)

    def _readable(self, name: str, version: int | None) -> bool:
        facts = self.store.private_metadata(name).versions.get(version or 0)
        return facts is not None and facts.readable

    def _version(self, record: Record, version: int | None, spki_sha256: str) -> Place | None:
        where = str(record.transit_key)
        return _in_transit(where, self._transit_key(where), spki_sha256, version)

    # -- checks before a write -----------------------------------------------------------------------------------

    def check(
        self,
        name: str,
        *,
        custody: Custody,
        escrow: bool,
        stored: StoredRecord | None = None,
        key: PrivateKey | None = None,
    ) -> int | None:
        """Refuse what would be lost or not work; the private version to build on, None when none is to be written.

        Args:
            name: the key's name.
            custody: where a version is to go.
            escrow: in custody transit, whether a private part goes to KV too.
            stored: the record whose current version must not be pruned, None for a new key.
            key: what is to be put there, None as long as it is still wrapped.
        """
        if custody is Custody.TRANSIT:
            where = self.store.layout.transit(name)
            there = self._transit_key(where)
            if key is not None and _is_new_there(stored):
                _refuse_others(name, where, there, key)
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


def _counting_from(key: TransitKey | None, above: int) -> int:
    """The version above which one is new and can sign: `above`, unless the key was deleted and made anew since."""
    if key is None:
        return 0
    return max(above if above in key.public_keys else 0, key.retired_below - 1)


def _is_new_there(stored: StoredRecord | None) -> bool:
    """Whether no record points to a key in Transit yet."""
    return stored is None or stored.record.transit_key is None


def _refuse_others(name: str, where: str, there: TransitKey | None, key: PrivateKey) -> None:
    """Refuse to share a key in Transit: whoever may sign with it may sign with each of its versions."""
    if there is not None and not all(_is(text, key.spki_sha256) for text in there.public_keys.values()):
        raise ConflictError(
            f'"{where}" is in Transit already with another key, and this record does not point to it; nothing was imported',
            hint="another store uses this Transit mount (then set store.transit_mount), somebody is importing it now, or a"
            f" command was interrupted: vault-asc key destroy {name} --leftover removes it",
        )


def _is(text: str, spki_sha256: str) -> bool:
    public = _public_key(text)
    return public is not None and public.spki_sha256 == spki_sha256


def _in_transit(
    where: str, key: TransitKey | None, spki_sha256: str, version: int | None = None, *, above: int = 0
) -> Place | None:
    """The version of a key with this fingerprint: the newest above some number, or the one that is asked for."""
    for number, text in sorted(key.public_keys.items(), reverse=True) if key else ():
        wanted = number == version if version else number > above
        if wanted and (public := _public_key(text)) and public.spki_sha256 == spki_sha256:
            return Place(None, where, number, public.text)
    return None


def _public_key(text: str) -> PublicKey | None:
    try:
        return public_key(text)
    except ValueError:
        return None
