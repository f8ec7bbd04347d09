"""What the host does for one mount: its storage and a few facts, asked over the channel that the broker dialled."""

from collections.abc import Awaitable
from typing import Final, Protocol, TypeVar

from grpclib.client import Channel
from grpclib.exceptions import GRPCError, StreamTerminatedError

from vault_asc.engine._pb import backend_pb2 as pb
from vault_asc.engine._pb.backend_grpc import StorageStub, SystemViewStub
from vault_asc.engine.storage import StorageError

_PATIENCE: Final = 30.0  # seconds for one storage call; the host gives a whole request 90
_STANDBY: Final = 1 << 14  # the bit of a replication state: this node answers reads, another one writes
_READ_ONLY: Final = "cannot write to readonly storage"  # the text by which the server knows what to send on


class _Answer(Protocol):
    err: str


_Reply = TypeVar("_Reply", bound=_Answer)


class HostStorage:
    """`vault_asc.engine.storage.Storage` over gRPC: everything of one mount, encrypted by the host."""

    def __init__(self, channel: Channel) -> None:
        self._host = StorageStub(channel)

    async def get(self, key: str) -> bytes | None:
        """The value, None when there is none."""
        reply = await _checked(self._host.Get(pb.StorageGetArgs(key=key), timeout=_PATIENCE))
        return reply.entry.value if reply.HasField("entry") else None

    async def put(self, key: str, value: bytes, *, seal_wrap: bool = False) -> None:
        """Write the value."""
        entry = pb.StorageEntry(key=key, value=value, seal_wrap=seal_wrap)
        await _checked(self._host.Put(pb.StoragePutArgs(entry=entry), timeout=_PATIENCE))

    async def delete(self, key: str) -> None:
        """Remove the value, if there is one."""
        await _checked(self._host.Delete(pb.StorageDeleteArgs(key=key), timeout=_PATIENCE))

    async def list(self, prefix: str) -> list[str]:
        """Names directly below the prefix; folders end with "/"."""
        reply = await _checked(self._host.List(pb.StorageListArgs(prefix=prefix), timeout=_PATIENCE))
        return list(reply.keys)


class SystemView:
    """Facts about the mount and the cluster that only the host knows."""

    def __init__(self, channel: Channel) -> None:
        self._host = SystemViewStub(channel)
        self._active = False

    async def check_writable(self) -> None:
        """Let an answer with a lease pass on the active node alone; `StorageError` sends the request on to it.

        A standby of OpenBao answers reads itself, cannot record a lease, and does not send on what a plugin answered.
        The active node is asked once: a mount is set up anew when its node becomes another. A standby is asked each time.
        """
        if not self._active:
            reply = await _reached(self._host.ReplicationState(pb.Empty(), timeout=_PATIENCE))
            self._active = not reply.state & _STANDBY
        if not self._active:
            raise StorageError(_READ_ONLY)


_Any = TypeVar("_Any")


async def _reached(call: Awaitable[_Any]) -> _Any:
    try:
        return await call
    except (TimeoutError, GRPCError, StreamTerminatedError, OSError) as exc:
        raise StorageError("the server did not answer a call to its storage in time") from exc


async def _checked(call: Awaitable[_Reply]) -> _Reply:
    reply = await _reached(call)
    if reply.err:
        raise StorageError(reply.err)
    return reply
