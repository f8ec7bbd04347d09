"""Which key of the store has a key ID, now or earlier, by its records and their older versions."""

from datetime import UTC, datetime
from typing import NamedTuple

from vault_asc.names import Custody
from vault_asc.record import BadRecordError, StoredRecord
from vault_asc.store import Store
from vault_asc.vault import MissingVersionError


class KnownKey(NamedTuple):
    """A key of the store that has had a key ID.

    Attributes:
        name: of the key.
        current: whether it has that key ID now.
        custody: where it was kept according to the newest record with that key ID.
        custodies: all custodies in which the records tell of it.
        transit_versions: versions of it in Transit.
        other_private_versions: private versions that were another key ID's.
        public_key: as records of custodies transit and engine hold it.
        transit_keys: its names in Transit.
        since: when it was imported, Unix seconds; None when its records tell no time.
        engine_versions: versions of it in the engine.
    """

    name: str
    current: bool
    custody: Custody
    custodies: frozenset[Custody]
    transit_versions: frozenset[int]
    other_private_versions: frozenset[int]
    public_key: str | None
    transit_keys: frozenset[str] = frozenset()
    since: float | None = None
    engine_versions: frozenset[int] = frozenset()


def keys_with(store: Store, key_id: str) -> list[KnownKey]:
    """The keys whose records have this key ID; older versions are asked when no current one has it."""
    names = store.names()
    current = [name for name in names if _has(_read(store, name), key_id)]
    return [key for name in current or names if (key := _known(store, name, key_id)) is not None]


def _known(store: Store, name: str, key_id: str) -> KnownKey | None:
    history = list(store.history(name))
    mine = [stored.record for stored in history if _has(stored, key_id)]
    if not mine:
        return None
    kept = {record.private_version for record in mine}
    others = {stored.record.private_version for stored in history} - kept
    custodies = {custody for record in mine for custody in (record.custody, record.moved_from) if custody is not None}
    return KnownKey(
        name,
        _has(history[0], key_id),
        mine[0].custody,
        frozenset(custodies),
        frozenset(record.transit_version for record in mine if record.transit_version is not None),
        frozenset(version for version in others if version is not None),
        next((record.public_key for record in mine if record.public_key is not None), None),
        frozenset(record.transit_key for record in mine if record.transit_key is not None),
        min((moment for record in mine if (moment := _moment(record.imported_at)) is not None), default=None),
        frozenset(record.engine_version for record in mine if record.engine_version is not None),
    )


def _moment(time: str) -> float | None:
    try:
        when = datetime.fromisoformat(time)
    except ValueError:
        return None
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()


def _has(stored: StoredRecord | None, key_id: str) -> bool:
    return stored is not None and stored.record.identity.key_id == key_id


def _read(store: Store, name: str) -> StoredRecord | None:
    try:
        return store.read(name)
    except (BadRecordError, MissingVersionError):
        return None
