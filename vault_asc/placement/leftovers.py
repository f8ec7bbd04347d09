"""What lies in Transit or the engine under the name of a key, and no record points to: whose it is, and what it is."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from vault_asc.errors import ConfigError, TokenRequestError, VaultError, VaultUnavailableError
from vault_asc.names import PLACE_NAMES, Custody
from vault_asc.placement.ownership import fingerprints_in, has_named, is_foreign, is_own
from vault_asc.record import StoredRecord
from vault_asc.store import Store

T = TypeVar("T")


class LeftVersion(NamedTuple):
    """One version of what was left. In Transit key ID, time and maker are not known.

    Attributes:
        number: in its place.
        spki_sha256: the fingerprint.
        key_id: Apple's, "" when the place does not tell.
        imported: when, and by whom, "" likewise.
    """

    number: int
    spki_sha256: str
    key_id: str = ""
    imported: str = ""


class Leftover(NamedTuple):
    """A key that no record points to.

    Attributes:
        custody: where it lies.
        name: what it is called there.
        versions: all that are kept.
        own: whether it is known to be of this store.
        foreign: whether it is known to be of another one.
        owner: what the engine says of that, "" where nothing is said.
        enabled: whether it can sign now; in Transit whatever is there can.
        roles: in the engine, those that give its tokens; None when they cannot be seen.
    """

    custody: Custody
    name: str
    versions: tuple[LeftVersion, ...]
    own: bool
    foreign: bool = False
    owner: str = ""
    enabled: bool = True
    roles: tuple[str, ...] | None = ()


@dataclass(frozen=True)
class Leftovers:
    """What was left of the keys of one store."""

    store: Store

    def find(self, name: str, stored: StoredRecord | None) -> dict[Custody, Leftover]:
        """What lies there, as far as this token can see it; `stored` is the record, None when there is none."""
        found = []
        if stored is None or stored.record.transit_key is None:
            found.append(_if_seen(lambda: self._in_transit(name, stored)))
        if stored is None or stored.record.role is None:
            found.append(_if_seen(lambda: self._in_engine(name, stored)))
        return {left.custody: left for left in found if left is not None}

    def removable(self, name: str, stored: StoredRecord | None) -> dict[Custody, Leftover]:
        """That of it which may be removed. What signs is refused: somebody may live on it."""
        found = {custody: left for custody, left in self.find(name, stored).items() if not left.foreign}
        engine = found.get(Custody.ENGINE)
        if engine is not None and engine.enabled:
            raise TokenRequestError(
                f'key "{name}" in {PLACE_NAMES[Custody.ENGINE]} gives tokens, and no record points to it; nothing was removed',
                hint="make sure that nobody reads its tokens, then:"
                f" vault write -f {self.store.layout.engine_mount}/keys/{name}/disable",
            )
        return found

    def _in_transit(self, name: str, stored: StoredRecord | None) -> Leftover | None:
        where = self.store.layout.transit(name)
        key = self.store.transit.find(where)
        if key is None:
            return None
        found = fingerprints_in(key)
        own = has_named(self.store, stored, found.values())
        return Leftover(Custody.TRANSIT, where, tuple(LeftVersion(*version) for version in found.items()), own)

    def _in_engine(self, name: str, stored: StoredRecord | None) -> Leftover | None:
        there = self.store.engine.find(name)
        if there is None:
            return None
        versions = tuple(
            LeftVersion(
                version.number,
                version.spki_sha256,
                version.identity.key_id,
                f"{version.imported_at} by {version.imported_by}",
            )
            for version in there.versions
        )
        roles = _if_seen(lambda: tuple(self.store.engine.roles_of(name)))
        own, foreign = is_own(self.store, stored, there), is_foreign(self.store, there)
        return Leftover(Custody.ENGINE, name, versions, own, foreign, there.owner, there.enabled, roles)


def _if_seen(look: Callable[[], T | None]) -> T | None:
    try:
        return look()
    except VaultUnavailableError:
        raise
    except (VaultError, ConfigError):  # no right, no such mount, or a prefix that has no name in Transit
        return None
