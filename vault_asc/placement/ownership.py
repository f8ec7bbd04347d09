"""Whose a key is that lies in Transit or the engine under the name of one of ours.

The engine keeps the owner of a key. Where none is told, it is by its public keys: all of them the record has named.
"""

from collections.abc import Iterable

from vault_asc.key.public_key import public_key
from vault_asc.record import StoredRecord
from vault_asc.store import Store
from vault_asc.vault import EngineKey, TransitKey


def owner_of(store: Store) -> str:
    """What a key that this store makes in the engine says of its owner."""
    return f"{store.layout.mount}/{store.layout.prefix}"


def is_foreign(store: Store, there: EngineKey) -> bool:
    """Whether a key in the engine says that it is another store's."""
    return there.owner not in {"", owner_of(store)}


def fingerprints_in(key: TransitKey) -> dict[int, str]:
    """Those of all versions in Transit, by number; "" for what is no usable public key."""
    return {number: _fingerprint(text) for number, text in sorted(key.public_keys.items())}


def has_named(store: Store, stored: StoredRecord | None, fingerprints: Iterable[str]) -> bool:
    """Whether the record has named all of these keys, now or in its history. Without a record none was."""
    unknown = set(fingerprints)
    if stored is None or not unknown:
        return False
    unknown.discard(stored.record.spki_sha256)
    return not (unknown and unknown - {old.record.spki_sha256 for old in store.history(stored.name)})


def is_own(store: Store, stored: StoredRecord | None, there: EngineKey) -> bool:
    """Whether a key in the engine is this store's: by its owner, or else by all of its versions."""
    if there.owner:
        return not is_foreign(store, there)
    return has_named(store, stored, (version.spki_sha256 for version in there.versions))


def _fingerprint(text: str) -> str:
    try:
        return public_key(text).spki_sha256
    except ValueError:
        return ""
