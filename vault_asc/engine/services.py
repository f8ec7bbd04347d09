"""`pb.Backend`: what the host asks for each mount, in a form that no request can break.

An error of a request is part of the answer; nothing that a request carries is logged.
"""

from typing import Final, TypeVar

from google.protobuf.message import Message
from grpclib.const import Status
from grpclib.exceptions import GRPCError
from grpclib.server import Stream

from vault_asc.clock import Clock
from vault_asc.engine._pb import backend_pb2 as pb
from vault_asc.engine._pb.backend_grpc import BackendBase
from vault_asc.engine.broker import Broker
from vault_asc.engine.calls import Shortcuts
from vault_asc.engine.hclog import log
from vault_asc.engine.multiplex import MULTIPLEX_ID, Mount, Mounts
from vault_asc.engine.request import RequestError, UnsupportedOperationError
from vault_asc.engine.storage import StorageError
from vault_asc.engine.translation import KNOWN, error_of, reply_to, request_of, too_long
from vault_asc.errors import VaultAscError

_SECRETS_ENGINE: Final = 1
_REQUEST: Final = "/pb.Backend/HandleRequest"
_EXISTENCE: Final = "/pb.Backend/HandleExistenceCheck"
_UNSUPPORTED: Final = pb.HandleRequestReply(
    err=error_of(UnsupportedOperationError("unsupported operation"), pb.Request())
).SerializeToString()
_In = TypeVar("_In", bound=Message)
_Out = TypeVar("_Out", bound=Message)


class BackendService(BackendBase):
    """The service. In metadata mode it answers what it is, and refuses what would need a mount."""

    def __init__(self, mounts: Mounts, broker: Broker, clock: Clock, *, metadata_mode: bool) -> None:
        self._mounts = mounts
        self._broker = broker
        self._clock = clock
        self._metadata_mode = metadata_mode

    async def HandleRequest(self, stream: Stream[pb.HandleRequestArgs, pb.HandleRequestReply]) -> None:  # noqa: N802 - the protocol's name
        """Carry out a request."""
        mount = self._working(stream)
        request = _received(await stream.recv_message()).request
        try:
            answer = await mount.backend.handle(request_of(request, mount.storage))
            if answer is not None and answer.lease is not None:
                await mount.view.check_writable()
            reply = reply_to(answer, self._clock())
        except Exception as exc:  # noqa: BLE001 - whatever it is, it is this request's error and no other's
            reply = pb.HandleRequestReply(err=_told(exc, request))
        await stream.send_message(reply)

    async def HandleExistenceCheck(  # noqa: N802 - the protocol's name
        self, stream: Stream[pb.HandleExistenceCheckArgs, pb.HandleExistenceCheckReply]
    ) -> None:
        """Say whether a write would create or update, which decides the capability that it needs."""
        mount = self._working(stream)
        request = _received(await stream.recv_message()).request
        request.ClearField("data")  # nobody looks at it, and the server makes a 500 of what cannot be read
        try:
            found = await mount.backend.exists(request_of(request, mount.storage))
            reply = pb.HandleExistenceCheckReply(check_found=found is not None, exists=bool(found))
        except Exception as exc:  # noqa: BLE001 - whatever it is, it is this request's error and no other's
            reply = pb.HandleExistenceCheckReply(err=_told(exc, request))
        await stream.send_message(reply)

    async def Setup(self, stream: Stream[pb.SetupArgs, pb.SetupReply]) -> None:  # noqa: N802 - the protocol's name
        """A new mount: dial back to the host for its storage."""
        args = _received(await stream.recv_message())
        try:
            self._mounts.add(_number(stream), await self._broker.dial(args.broker_id))
        except VaultAscError as exc:
            await stream.send_message(pb.SetupReply(err=exc.message))
        except Exception as exc:  # noqa: BLE001 - the host hears that this mount failed, the others go on
            log.error("a mount could not be set up", exc_info=exc)
            await stream.send_message(pb.SetupReply(err="internal error of the asc engine, see the server's log"))
        else:
            await stream.send_message(pb.SetupReply())

    async def Initialize(self, stream: Stream[pb.InitializeArgs, pb.InitializeReply]) -> None:  # noqa: N802 - the protocol's name
        """The mount is about to be used; there is nothing to prepare."""
        self._working(stream)
        await stream.recv_message()
        await stream.send_message(pb.InitializeReply())

    async def SpecialPaths(self, stream: Stream[pb.Empty, pb.SpecialPathsReply]) -> None:  # noqa: N802 - the protocol's name
        """Name the paths that the server treats in a special way."""
        paths = self._mount(stream).backend.special_paths()
        await stream.recv_message()
        told = pb.Paths(root=paths.root, unauthenticated=paths.unauthenticated, seal_wrap_storage=paths.seal_wrap)
        await stream.send_message(pb.SpecialPathsReply(paths=told))

    async def InvalidateKey(self, stream: Stream[pb.InvalidateKeyArgs, pb.Empty]) -> None:  # noqa: N802 - the protocol's name
        """Another node has changed an entry of the storage."""
        mount = self._working(stream)
        mount.backend.invalidate(_received(await stream.recv_message()).key)
        await stream.send_message(pb.Empty())

    async def Type(self, stream: Stream[pb.Empty, pb.TypeReply]) -> None:  # noqa: N802 - the protocol's name
        """Say that this is a secrets engine."""
        await stream.recv_message()
        await stream.send_message(pb.TypeReply(type=_SECRETS_ENGINE))

    async def Cleanup(self, stream: Stream[pb.Empty, pb.Empty]) -> None:  # noqa: N802 - the protocol's name
        """The mount is gone from this process."""
        await stream.recv_message()
        self._mounts.remove(_number(stream))
        await stream.send_message(pb.Empty())

    def _working(self, stream: Stream[_In, _Out]) -> Mount:
        if self._metadata_mode:
            raise GRPCError(Status.FAILED_PRECONDITION, "the plugin was started for its metadata alone")
        return self._mount(stream)

    def _mount(self, stream: Stream[_In, _Out]) -> Mount:
        mount = self._mounts.get(_number(stream))
        if mount is None:
            raise GRPCError(Status.NOT_FOUND, "the plugin was not set up for this mount")
        return mount


def shortcuts(limit: int) -> Shortcuts:
    """What is answered without a mount.

    Args:
        limit: bytes of the longest message that is read.
    """
    error = too_long(limit)
    long = {_REQUEST: pb.HandleRequestReply(err=error), _EXISTENCE: pb.HandleExistenceCheckReply(err=error)}
    return Shortcuts(long, {_REQUEST: _unasked})


def _unasked(message: Message) -> bytes | None:
    """OpenBao asks two "resolve-path" before each request, and knows this answer for "it is what it says"."""
    assert isinstance(message, pb.HandleRequestArgs)  # noqa: S101 - for the type checker
    return None if message.request.operation in KNOWN else _UNSUPPORTED


def _number(stream: Stream[_In, _Out]) -> str:
    number = "" if stream.metadata is None else stream.metadata.get(MULTIPLEX_ID, "")
    return number if isinstance(number, str) else ""


def _received(message: _In | None) -> _In:
    if message is None:
        raise GRPCError(Status.INVALID_ARGUMENT, "a call without a message")
    return message


def _told(exc: Exception, request: pb.Request) -> pb.ProtoError:
    if not isinstance(exc, (RequestError, StorageError)):
        log.error("request %s failed", request.id, exc_info=exc)
    return error_of(exc, request)
