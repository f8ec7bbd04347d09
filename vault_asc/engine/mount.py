"""One mount: reads its entries through what is remembered, writes them, and lets one change of a name run at a time."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, NamedTuple, TypeVar
from weakref import WeakValueDictionary

from vault_asc.clock import Clock
from vault_asc.engine.cache import Cache
from vault_asc.engine.entries import (
    CONFIG,
    KEYS,
    ROLES,
    Config,
    KeyEntry,
    KeyVersion,
    Role,
    load_config,
    load_key,
    load_role,
)
from vault_asc.engine.request import BadEntryError, MissingError
from vault_asc.engine.storage import Storage
from vault_asc.errors import PrivateKeyError
from vault_asc.key.identity import Identity
from vault_asc.key.private_key import PrivateKey, stored_private_key

ENTRIES_MAX: Final = 8192
"""Entries that one process remembers; a key takes about 3 KiB for each version in use, a role 1 KiB."""

T = TypeVar("T")


class SigningKey(NamedTuple):
    """A version of a key, ready to sign.

    Attributes:
        number: which version this is.
        enabled: whether the key signs at all.
        older: of the current version the one before it, once somebody has asked for that by its number.
    """

    number: int
    identity: Identity
    key: PrivateKey
    enabled: bool
    older: "SigningKey | None" = None


class Memory:
    """What all mounts of a process remember together, so that their number does not multiply it.

    Attributes:
        entries: values by mount and storage key.
    """

    def __init__(self, limit: int = ENTRIES_MAX) -> None:
        self.entries: Cache[tuple[int, str], object] = Cache(limit)
        self._mounts = 0

    def next_mount(self) -> int:
        """A number that no other mount has or had."""
        self._mounts += 1
        return self._mounts


class Mount:
    """Reads and writes of one mount.

    Attributes:
        clock: the time for new tokens and versions.
        build: what `info` tells.
    """

    def __init__(self, *, clock: Clock, build: Mapping[str, str], memory: Memory) -> None:
        self.clock = clock
        self.build = build
        self._memory = memory.entries
        self._number = memory.next_mount()
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def config(self, storage: Storage) -> Config:
        """The configuration, the defaults where none was written."""
        found = self._memory.get((self._number, CONFIG))
        if isinstance(found, Config):
            return found
        moment = self._memory.moment
        value = await storage.get(CONFIG)
        return self._kept(CONFIG, Config() if value is None else load_config(value), moment)

    async def role(self, storage: Storage, name: str) -> Role | None:
        """A role, None when there is none."""
        place = ROLES + name
        found = self._memory.get((self._number, place))
        if isinstance(found, Role):
            return found
        moment = self._memory.moment
        value = await storage.get(place)
        return None if value is None else self._kept(place, load_role(value, name), moment)

    async def signing_key(self, storage: Storage, name: str) -> SigningKey | None:
        """The current version of a key, None when there is no such key."""
        place = KEYS + name
        found = self._memory.get((self._number, place))
        if isinstance(found, SigningKey):
            return found
        moment = self._memory.moment
        value = await storage.get(place)
        if value is None:
            return None
        entry = load_key(value, name)
        return self._kept(place, _signing_key(entry, entry.current, name), moment)

    async def signing_version(self, storage: Storage, name: str, number: int) -> SigningKey | None:
        """A version of a key that is kept and not newer than the current one, None when there is no such key.

        `MissingError` when there is no such version. What is not remembered is read, so a caller who knows of a change
        before this process does is served by the storage.
        """
        place = KEYS + name
        found = self._memory.get((self._number, place))
        if isinstance(found, SigningKey):
            for ready in (found, found.older):
                if ready is not None and ready.number == number:
                    return ready
        moment = self._memory.moment
        value = await storage.get(place)
        if value is None:
            return None
        entry = load_key(value, name)
        wanted = _signing_key(entry, _usable(entry, name, number), name)
        if number == entry.current.number:
            return self._kept(place, wanted, moment)
        self._kept(place, _signing_key(entry, entry.current, name)._replace(older=wanted), moment)
        return wanted

    async def put(self, storage: Storage, place: str, value: bytes, *, seal_wrap: bool = False) -> None:
        """Write an entry. What was remembered of it is forgotten, whatever becomes of the write."""
        await self._changing(place, lambda: storage.put(place, value, seal_wrap=seal_wrap))

    async def delete(self, storage: Storage, place: str) -> None:
        """Remove an entry, likewise."""
        await self._changing(place, lambda: storage.delete(place))

    def lock(self, place: str) -> asyncio.Lock:
        """The lock that changes of an entry hold; who needs two takes the role's first."""
        lock = self._locks.get(place)
        if lock is None:
            lock = self._locks[place] = asyncio.Lock()
        return lock

    def forget(self, place: str) -> None:
        """Somebody else has changed this entry; with a slash at the end, or empty, everything below it."""
        if place and not place.endswith("/"):
            self._memory.drop((self._number, place))
            return
        self._memory.drop_all(lambda key: key[0] == self._number and key[1].startswith(place))

    async def _changing(self, place: str, change: Callable[[], Awaitable[None]]) -> None:
        key = self._number, place
        try:
            await change()
        except BaseException:
            self._memory.doubt(key)
            raise
        self._memory.trust(key)

    def _kept(self, place: str, value: T, moment: int) -> T:
        self._memory.keep((self._number, place), value, moment)
        return value


def _usable(entry: KeyEntry, name: str, number: int) -> KeyVersion:
    """The version of that number, unless nobody may sign by it (any more, or yet)."""
    version = next((kept for kept in entry.versions if kept.number == number), None)
    if version is None or version is entry.staged:
        what = "not kept" if version is None else "staged, not current"
        raise MissingError(
            f'version {number} of key "{name}" is {what}',
            hint=f"the current version is {entry.current.number}; leave key_version out to sign by it",
        )
    return version


def _signing_key(entry: KeyEntry, version: KeyVersion, name: str) -> SigningKey:
    """What signs, checked against the fingerprint beside it."""
    try:
        key = stored_private_key(version.pem.reveal())
    except PrivateKeyError as exc:
        raise BadEntryError(f'key "{name}" is damaged in storage: {exc.message}', hint=_BAD_KEY) from exc
    if key.spki_sha256 != version.spki_sha256:
        raise BadEntryError(f'key "{name}" is damaged in storage: its fingerprint is another', hint=_BAD_KEY)
    return SigningKey(version.number, version.identity, key, entry.enabled)


_BAD_KEY: Final = "roll it back (keys/<name>/rollback), or write the key again"
