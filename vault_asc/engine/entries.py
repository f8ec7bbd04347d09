"""What lies in a mount's storage: keys, roles and the configuration as values, and as JSON with a format number. Pure.

A key with all its versions is one entry, and so is a role: a crash leaves the old entry or the new one.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, TypeVar

from vault_asc.engine.request import BadEntryError
from vault_asc.key.identity import Identity, KeyType
from vault_asc.secret import Secret
from vault_asc.tokens import BACKDATE, DEFAULT_LIFETIME, MAX_LIFETIME

FORMAT: Final = 1
CONFIG: Final = "config"
KEYS: Final = "key/"
ROLES: Final = "role/"

T = TypeVar("T")


class KeyVersion(NamedTuple):
    """One private key with the IDs that belong to it.

    Attributes:
        number: 1 for the first, never used twice while the key exists.
        pem: the private key as PKCS#8 PEM.
        spki_sha256: its fingerprint.
        public_key: the public half as PEM.
        imported_at: ISO 8601 in UTC.
        imported_by: who wrote it, by the display name of the token.
    """

    number: int
    pem: Secret
    identity: Identity
    spki_sha256: str
    public_key: str
    imported_at: str
    imported_by: str


class KeyEntry(NamedTuple):
    """A key with the versions that are kept of it, at most three.

    Attributes:
        current: the one that signs.
        previous: the one that a rollback goes to; its number is below the current one's.
        staged: the one that a promotion makes current; its number is above the current one's.
        latest: the highest number given out.
        rolled_back: whether the staged version was current until a rollback, which is then done already.
        enabled: whether it signs at all.
        settled: whether somebody has decided on that since it was made; False while its maker has not come to enable it.
        owner: mount and prefix of the store that its record lies in, "" for a key without one.
    """

    current: KeyVersion
    previous: KeyVersion | None
    staged: KeyVersion | None
    latest: int
    rolled_back: bool = False
    enabled: bool = True
    settled: bool = True
    owner: str = ""

    @property
    def versions(self) -> tuple[KeyVersion, ...]:
        """All that are kept, the oldest first."""
        return tuple(version for version in (self.previous, self.current, self.staged) if version is not None)


class Role(NamedTuple):
    """What its readers get.

    Attributes:
        key: name of the key that signs.
        scope: the calls that its tokens are good for; empty means all that the key may.
        lifetime: seconds from `iat` to `exp`, None for the configuration's.
        max_lifetime: what a reader may ask for, None for `lifetime`.
        lease: whether tokens are leased.
    """

    key: str
    scope: tuple[str, ...] = ()
    lifetime: int | None = None
    max_lifetime: int | None = None
    lease: bool = True


class Config(NamedTuple):
    """What holds for all roles of a mount.

    Attributes:
        lifetime: seconds from `iat` to `exp` for roles that name none.
        max_lifetime: a limit for all roles.
        backdate: seconds by which `iat` lies in the past.
        lease_share: the part of the usable life that a lease lasts.
    """

    lifetime: int = DEFAULT_LIFETIME
    max_lifetime: int = MAX_LIFETIME
    backdate: int = BACKDATE
    lease_share: float = 0.5


def dump_key(entry: KeyEntry) -> bytes:
    """The only place where a private key is written; the entry is seal-wrapped."""
    versions = {name: None if version is None else _version(version) for name, version in _by_name(entry)}
    return _dumped(
        {
            **versions,
            "latest": entry.latest,
            "rolled_back": entry.rolled_back,
            "enabled": entry.enabled,
            "settled": entry.settled,
            "owner": entry.owner,
        },
    )


def load_key(value: bytes, name: str) -> KeyEntry:
    """From storage; `BadEntryError` when it is no entry of ours."""

    def read(entry: Mapping[str, Any]) -> KeyEntry:
        previous, staged = entry["previous"], entry["staged"]
        found = KeyEntry(
            _loaded_version(entry["current"]),
            None if previous is None else _loaded_version(previous),
            None if staged is None else _loaded_version(staged),
            _typed(entry, "latest", int),
            _typed(entry, "rolled_back", bool),
            _typed(entry, "enabled", bool),
            _typed(entry, "settled", bool),
            _typed(entry, "owner", str),
        )
        _check_numbers(found)
        return found

    return _loaded(value, f'key "{name}"', read)


def dump_role(role: Role) -> bytes:
    """As it is written to storage."""
    return _dumped(role._asdict())


def load_role(value: bytes, name: str) -> Role:
    """From storage; `BadEntryError` when it is no entry of ours."""

    def read(entry: Mapping[str, Any]) -> Role:
        scope = _typed(entry, "scope", list)
        if not all(isinstance(item, str) for item in scope):
            raise TypeError("scope")
        return Role(
            _typed(entry, "key", str),
            tuple(scope),
            None if entry["lifetime"] is None else _typed(entry, "lifetime", int),
            None if entry["max_lifetime"] is None else _typed(entry, "max_lifetime", int),
            _typed(entry, "lease", bool),
        )

    return _loaded(value, f'role "{name}"', read)


def dump_config(config: Config) -> bytes:
    """As it is written to storage."""
    return _dumped(config._asdict())


def load_config(value: bytes) -> Config:
    """From storage; `BadEntryError` when it is no entry of ours."""

    def read(entry: Mapping[str, Any]) -> Config:
        numbers = {name: _typed(entry, name, int) for name in ("lifetime", "max_lifetime", "backdate")}
        return Config(**numbers, lease_share=float(_typed(entry, "lease_share", (int, float))))

    return _loaded(value, "the configuration", read)


def _by_name(entry: KeyEntry) -> tuple[tuple[str, KeyVersion | None], ...]:
    return ("current", entry.current), ("previous", entry.previous), ("staged", entry.staged)


def _check_numbers(entry: KeyEntry) -> None:
    """Refuse versions that are not in the order that everything else relies on."""
    numbers = [0, *(version.number for version in entry.versions)]
    if numbers != sorted(set(numbers)) or numbers[-1] > entry.latest:
        raise ValueError("the numbers of its versions")


def _version(version: KeyVersion) -> dict[str, Any]:
    identity = version.identity
    return {
        "version": version.number,
        "private_key": version.pem.reveal(),
        "key_id": identity.key_id,
        "issuer_id": identity.issuer_id,
        "key_type": str(identity.key_type),
        "audience": identity.audience,
        "spki_sha256": version.spki_sha256,
        "public_key": version.public_key,
        "imported_at": version.imported_at,
        "imported_by": version.imported_by,
    }


def _loaded_version(entry: Mapping[str, Any]) -> KeyVersion:
    issuer = None if entry["issuer_id"] is None else _typed(entry, "issuer_id", str)
    key_type = KeyType(_typed(entry, "key_type", str))
    return KeyVersion(
        _typed(entry, "version", int),
        Secret(_typed(entry, "private_key", str)),
        Identity(_typed(entry, "key_id", str), issuer, key_type, _typed(entry, "audience", str)),
        _typed(entry, "spki_sha256", str),
        _typed(entry, "public_key", str),
        _typed(entry, "imported_at", str),
        _typed(entry, "imported_by", str),
    )


def _dumped(entry: Mapping[str, Any]) -> bytes:
    return json.dumps({"format": FORMAT, **entry}, separators=(",", ":")).encode()


def _loaded(value: bytes, what: str, read: Callable[[Mapping[str, Any]], T]) -> T:
    entry = _json(value)
    if not isinstance(entry, dict) or "format" not in entry:
        raise BadEntryError(f"{what} is damaged in storage: it is no entry of this engine", hint=_REPAIR)
    number = entry["format"]
    if number != FORMAT or isinstance(number, bool):
        newer = isinstance(number, int) and number > FORMAT
        raise BadEntryError(
            f"{what} was written {'by a newer version of the engine' if newer else 'in an unknown format'}",
            hint="upgrade the plugin on this node to the version that the other nodes run" if newer else _REPAIR,
        )
    try:
        return read(entry)
    except (KeyError, TypeError, ValueError) as exc:  # they name a field, never a value but a key type
        raise BadEntryError(f"{what} is damaged in storage: {type(exc).__name__} {exc}", hint=_REPAIR) from exc


def _json(value: bytes) -> object:
    """The document, None for none. The errors of `json` are not kept: they carry the whole text, and so the key."""
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return None


def _typed(entry: Mapping[str, Any], name: str, kind: type | tuple[type, ...]) -> Any:
    value = entry[name]
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise TypeError(name)
    return value


_REPAIR: Final = "restore the mount's storage from a snapshot, or delete the entry and write it again"
