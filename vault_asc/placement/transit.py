"""Versions of keys in Transit: imported once, found again by their public key."""

from dataclasses import dataclass

from vault_asc.errors import ConflictError, VaultError
from vault_asc.key.private_key import PrivateKey
from vault_asc.key.wrapping import wrapped
from vault_asc.placement.ownership import fingerprints_in, has_named
from vault_asc.placement.place import Place, public_half
from vault_asc.record import Record, StoredRecord
from vault_asc.store import Store
from vault_asc.vault import LostAnswerError, TransitKey


@dataclass(frozen=True)
class InTransit:
    """The Transit mount of one store."""

    store: Store

    def check(self, name: str, stored: StoredRecord | None, key: PrivateKey | None) -> None:
        """Refuse a name that is another key's, or that of a key which is none of ours."""
        where = self.store.layout.transit(name)
        there = self._key(where)
        if key is not None and _is_new_there(stored):
            self._refuse_others(where, there, key, stored, name)

    def put(self, name: str, key: PrivateKey, stored: StoredRecord | None) -> Place:
        """Import a key into Transit, unless it is there, and compare what Transit then says with the key.

        A version counts as there only when it is newer than that of the record, and not retired: else it could not be
        told from the current one, or could not sign.
        """
        where = self.store.layout.transit(name)
        before = self._key(where)
        if _is_new_there(stored):
            self._refuse_others(where, before, key, stored, name)
        above = _counting_from(before, (stored.record.transit_version or 0) if stored else 0)
        found = _in_transit(where, before, key.spki_sha256, above=above)
        if found is not None:
            return found
        self._import(where, key, further=before is not None, above=above)
        found = _in_transit(where, self._key(where), key.spki_sha256, above=above)
        if found is None:
            raise VaultError(
                f'Transit does not report the public key of what was imported as "{where}", so nothing points to it',
                hint="look at it (vault read), and report it: Transit or something before it changes keys",
            )
        return found

    def version(self, record: Record, version: int | None, spki_sha256: str) -> Place | None:
        """Where a version of a record's key lies, None when it is not there (any more) with this fingerprint."""
        where = str(record.transit_key)
        return _in_transit(where, self._key(where), spki_sha256, version)

    def let_sign(self, place: Place) -> int:
        """Undo a retirement of this version. The version below which all were retired before, 0 when it could sign."""
        if place.transit_key is None or place.transit_version is None:
            return 0
        key = self._key(place.transit_key)
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
            if _in_transit(where, self._key(where), key.spki_sha256, above=above) is None:
                raise
        except VaultError:
            # Somebody else may have made the key since it was looked for: then this is its next version.
            now = None if further else self._key(where)
            if now is None:
                raise
            if _in_transit(where, now, key.spki_sha256, above=above) is None:
                transit.put(where, ciphertext, further=True)

    def _refuse_others(
        self, where: str, there: TransitKey | None, key: PrivateKey, stored: StoredRecord | None, name: str
    ) -> None:
        """Refuse to share a key in Transit: whoever may sign with it may sign with each of its versions.

        One that only has keys of this record's history is what an interrupted move has left.
        """
        found = set(fingerprints_in(there).values()) if there else set()
        others = found - {key.spki_sha256}
        if not others or has_named(self.store, stored, others):
            return
        hint = "another store uses this Transit mount (then set store.transit_mount), or somebody is importing it now"
        if key.spki_sha256 in found:
            hint += f", or a command was interrupted: vault-asc key destroy {name} --leftover shows it and removes it"
        raise ConflictError(
            f'"{where}" is in Transit already with another key, and this record does not point to it; nothing was imported',
            hint=hint,
        )

    def _key(self, where: str) -> TransitKey | None:
        """The key in Transit, None when there is none; refused when it is not one of ours."""
        key = self.store.transit.find(where)
        problem = key.problem() if key else None
        if problem is not None:
            raise VaultError(
                f'key "{where}" in Transit mount "{self.store.layout.transit_mount}" {problem}, so it is not used',
                hint="find out who made it, then remove it, or use another Transit mount (store.transit_mount)",
            )
        return key


def _counting_from(key: TransitKey | None, above: int) -> int:
    """The version above which one is new and can sign: `above`, unless the key was deleted and made anew since."""
    if key is None:
        return 0
    return max(above if above in key.public_keys else 0, key.retired_below - 1)


def _is_new_there(stored: StoredRecord | None) -> bool:
    """Whether no record points to a key in Transit yet."""
    return stored is None or stored.record.transit_key is None


def _in_transit(
    where: str, key: TransitKey | None, spki_sha256: str, version: int | None = None, *, above: int = 0
) -> Place | None:
    """The version of a key with this fingerprint: the newest above some number, or the one that is asked for."""
    for number, text in sorted(key.public_keys.items(), reverse=True) if key else ():
        wanted = number == version if version else number > above
        if wanted and (public := public_half(text, spki_sha256)):
            return Place(transit_key=where, transit_version=number, public_key=public.text)
    return None
