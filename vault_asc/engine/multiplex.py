"""The mounts that this one process serves: each with its own backend, storage and channel to the host."""

from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

from grpclib.client import Channel

from vault_asc.engine.host import HostStorage, SystemView
from vault_asc.engine.request import Request, Response, SpecialPaths

MULTIPLEX_ID: Final = "multiplex_id"
"""Metadata of a call: the number of the mount that it is for."""


class Backend(Protocol):
    """What a mount does; `vault_asc.engine.backend.Backend` is the one of the product."""

    async def handle(self, request: Request) -> Response | None:
        """Carry out a request; None: there is nothing of that name. `RequestError`, `StorageError`."""
        ...

    async def exists(self, request: Request) -> bool | None:
        """Whether a write would be an update; None where that makes no difference."""
        ...

    def invalidate(self, key: str) -> None:
        """Forget what was read under that storage key: another node has changed it."""
        ...

    def close(self) -> None:
        """The mount is gone: forget what was kept for it."""
        ...

    def special_paths(self) -> SpecialPaths:
        """Paths that the server treats in a special way."""
        ...


MakeBackend = Callable[[], Backend]


class Mount(NamedTuple):
    """One mount, between Setup and Cleanup."""

    backend: Backend
    storage: HostStorage
    view: SystemView
    channel: Channel


class Mounts:
    """All of them, by the number that the host gives each."""

    def __init__(self, make_backend: MakeBackend) -> None:
        self._make_backend = make_backend
        self._mounts: dict[str, Mount] = {}

    def add(self, number: str, channel: Channel) -> None:
        """A new mount, in place of one that the host has forgotten under the same number."""
        mount = Mount(self._make_backend(), HostStorage(channel), SystemView(channel), channel)
        self.remove(number)
        self._mounts[number] = mount

    def get(self, number: str) -> Mount | None:
        """The mount, None when the host never set it up here."""
        return self._mounts.get(number)

    def remove(self, number: str) -> None:
        """Close the mount, if there is one."""
        mount = self._mounts.pop(number, None)
        if mount is not None:
            mount.channel.close()
            mount.backend.close()

    def close(self) -> None:
        """Forget them all."""
        for number in list(self._mounts):
            self.remove(number)
