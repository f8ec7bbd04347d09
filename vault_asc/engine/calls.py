"""Unary calls served beside grpclib, at less cost; all else on the connection stays grpclib's and h2's.

OpenBao 2.7 calls three times for every request of a client, and h2 spends more on the frames of one call than the engine
on its answer. So `CallProtocol` reads the frames first. It takes those of unary calls in their plain form, which is what
Go sends: HEADERS in one frame, DATA, RST_STREAM, and the PINGs and window updates between them. Whatever is not in that
form, handshake, settings and streaming calls included, is passed on to h2 untouched. Both share one HPACK decoder, the
send window of the connection, and the numbers of streams.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from google.protobuf.message import DecodeError, Message
from grpclib.const import Cardinality, Handler, Status
from grpclib.exceptions import GRPCError
from grpclib.protocol import H2Protocol
from grpclib.server import Server
from hpack.exceptions import HPACKError

from vault_asc.engine import frames
from vault_asc.engine.hclog import log
from vault_asc.engine.multiplex import MULTIPLEX_ID
from vault_asc.engine.sending import Sending

if TYPE_CHECKING:
    from grpclib._typing import IServable

MESSAGE_MAX: Final = 256 * 1024
"""Bytes of a message that is read; a longer one is refused while it comes in."""

CALLS_MAX: Final = 100
"""Calls under way on one connection; h2 tells the host the same number."""

_OF_CALLS: Final = frozenset({frames.DATA, frames.RST_STREAM, frames.WINDOW_UPDATE})
_KNOWN_MAX: Final = 256  # header blocks; a host has one for each method and mount
_MOUNT: Final = MULTIPLEX_ID.encode()
_PREFIX: Final = 5  # bytes before a message: a flag and its length
_BROKEN: Final = "internal error of the asc engine"
_ACK_AT: Final = 1024 * 1024  # bytes received before the peer hears that it may send as many again


class Asked(NamedTuple):
    """What the headers of a call say."""

    path: str
    method: Handler
    metadata: Mapping[str, str]


class Shortcuts(NamedTuple):
    """Answers to calls for which no method runs, by the path of the call.

    Attributes:
        too_long: when the message is too long; a call of another method fails.
        at_once: makes the answer, as bytes, from a message that needs no work; None: the method runs.
    """

    too_long: Mapping[str, Message]
    at_once: Mapping[str, Callable[[Message], bytes | None]]


class Call:
    """One unary call: what grpclib's `Stream` is to a method, as far as methods of unary calls use it.

    Attributes:
        metadata: headers of the call.
    """

    __slots__ = ("_message", "_received", "asked", "metadata", "reply", "size", "stream", "task")

    def __init__(self, stream: int, asked: Asked) -> None:
        self.stream = stream
        self.asked = asked
        self.metadata = asked.metadata
        self.size = 0
        self.reply = b""
        self.task: asyncio.Task[None] | None = None
        self._received: list[bytes] = []
        self._message: Message | None = None

    def add(self, data: bytes) -> None:
        """Take a part of the message."""
        self.size += len(data)
        self._received.append(data)

    def message(self) -> Message:
        """The message. `GRPCError` when there is none, or not exactly one."""
        if self._message is None:
            data = self._received[0] if len(self._received) == 1 else b"".join(self._received)
            if len(data) < _PREFIX or data[0] or int.from_bytes(data[1:_PREFIX], "big") != len(data) - _PREFIX:
                raise GRPCError(Status.INTERNAL, "not one uncompressed message")
            try:
                self._message = self.asked.method.request_type.FromString(data[_PREFIX:])
            except DecodeError as exc:
                raise GRPCError(Status.INTERNAL, "the message cannot be read") from exc
        return self._message

    async def recv_message(self) -> Message:
        """The same, as a method asks for it."""
        return self.message()

    async def send_message(self, message: Message) -> None:
        """Set the answer."""
        self.reply = message.SerializeToString()


class CallServer(Server):
    """grpclib's server, with `CallProtocol` on its connections.

    Args:
        services: what is served.
        shortcuts: what is answered without them.
    """

    def __init__(self, services: "Collection[IServable]", shortcuts: Shortcuts) -> None:
        super().__init__(services)
        self._shortcuts = shortcuts

    def _protocol_factory(self) -> H2Protocol:
        return CallProtocol(super()._protocol_factory(), self._mapping, self._shortcuts)


class CallProtocol(H2Protocol):
    """One connection."""

    def __init__(self, plain: H2Protocol, methods: Mapping[str, Handler], shortcuts: Shortcuts) -> None:
        super().__init__(plain.handler, plain.config, plain.h2_config)
        self._too_long = {method: message.SerializeToString() for method, message in shortcuts.too_long.items()}
        self._at_once = shortcuts.at_once
        self._methods = {
            path: method for path, method in methods.items() if method.cardinality is Cardinality.UNARY_UNARY
        }
        self._loop = asyncio.get_running_loop()
        self._calls: dict[int, Call] = {}
        self._theirs: set[int] = set()
        self._known: dict[bytes, Asked] = {}
        self._rest = b""
        self._greeting = frames.PREFACE
        self._unacknowledged = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet, and prepare to send."""
        super().connection_made(transport)
        self._h2 = self.connection._connection  # noqa: SLF001 - there is no public way to a connection's h2 state
        self._sending = Sending(self._h2, cast("asyncio.Transport", transport), self._loop)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Nobody waits for the answers any more."""
        super().connection_lost(exc)
        for call in self._calls.values():
            if call.task is not None:
                call.task.cancel()
        self._calls.clear()
        self._sending.close()

    def data_received(self, data: bytes) -> None:
        """Go through the frames that are complete, and keep the rest."""
        if self._rest:
            data = self._rest + data
        at, end = 0, len(data)
        if self._greeting:
            at = min(self._greeting, end)
            self._greeting -= at
            super().data_received(data[:at])
        head = frames.HEADER
        while end - at >= head.size and not self.connection.is_closing():
            high, low, kind, flags, stream = head.unpack_from(data, at)
            start, at = at, at + head.size + (high << 8 | low)
            if at - start - head.size > self._h2.max_inbound_frame_size:
                super().data_received(data[start:])  # h2 ends the connection
                return
            if at > end:
                at = start
                break
            self._frame(kind, flags, stream, data[start:at])
        self._rest = data[at:]

    def _frame(self, kind: int, flags: int, stream: int, raw: bytes) -> None:
        if kind == frames.HEADERS:
            if flags & ~frames.END_STREAM == frames.END_HEADERS and stream > self._h2.highest_inbound_stream_id:
                self._begin(stream, flags, raw)
                return
            self._known.clear()
            self._theirs.add(stream)
        elif kind == frames.PING and not flags and len(raw) == frames.HEADER.size + 8:
            self._sending.add_soon(frames.frame(frames.PING, frames.ACK, 0, raw[frames.HEADER.size :]))
            return
        elif stream not in self._theirs and kind in _OF_CALLS:
            if stream:
                self._ours(kind, flags, stream, raw[frames.HEADER.size :])
                return
            if kind == frames.WINDOW_UPDATE and self._sending.widen_connection(raw[frames.HEADER.size :]):
                return
        super().data_received(raw)
        self._sending.go_on()  # it may have been about windows

    def _ours(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        call = self._calls.get(stream)  # None: it was answered or given up
        if kind == frames.DATA:
            self._acknowledge(len(payload))
            if call is not None:
                self._receive(call, flags, payload)
        elif kind == frames.RST_STREAM:
            self._sending.forget(stream)
            if call is not None:
                del self._calls[stream]
                if call.task is not None:
                    call.task.cancel()
        else:
            self._sending.widen(stream, int.from_bytes(payload, "big") & 0x7FFFFFFF)

    def _begin(self, stream: int, flags: int, raw: bytes) -> None:
        block = raw[frames.HEADER.size :]
        asked = self._known.get(block) or self._decode(stream, flags, block)
        if asked is None:
            return
        self._h2.highest_inbound_stream_id = stream
        if len(self._calls) < CALLS_MAX:
            self._calls[stream] = Call(stream, asked)
        else:
            self._sending.add(frames.reset(stream, frames.REFUSED_STREAM))

    def _decode(self, stream: int, flags: int, block: bytes) -> Asked | None:
        """What a header block asks; None when it is for h2, which has it then."""
        try:
            headers = self._h2.decoder.decode(block, raw=True)
        except HPACKError:
            log.warning("a header block from the host cannot be read")
            self.processor.close("Protocol error")
            return None
        fields: dict[bytes, bytes] = dict(headers)
        path = fields.get(b":path", b"").decode("latin-1")
        method = self._methods.get(path)
        if method is None or flags & frames.END_STREAM or stream % 2 == 0:
            # Decoded once already, so h2 gets it in a form that changes nothing.
            plain = frames.literal((bytes(name), bytes(value)) for name, value in headers)
            self._known.clear()
            self._theirs.add(stream)
            super().data_received(frames.frame(frames.HEADERS, flags, stream, plain))
            return None
        asked = Asked(path, method, {MULTIPLEX_ID: fields.get(_MOUNT, b"").decode("latin-1")})
        self._remember(block, asked)
        return asked

    def _remember(self, block: bytes, asked: Asked) -> None:
        """A block of nothing but indexes, as a busy host sends, means the same until another kind of block comes."""
        if min(block) < frames.INDEXED or len(self._known) >= _KNOWN_MAX:
            self._known.clear()
        else:
            self._known[block] = asked

    def _receive(self, call: Call, flags: int, payload: bytes) -> None:
        if flags & frames.PADDED:
            payload = payload[1 : len(payload) - payload[0]] if payload else b""
        call.add(payload)
        if call.size > MESSAGE_MAX + _PREFIX:
            del self._calls[call.stream]
            self._refuse(call)
        elif flags & frames.END_STREAM and call.task is None:
            self._complete(call)

    def _complete(self, call: Call) -> None:
        at_once = self._at_once.get(call.asked.path)
        try:
            answer = None if at_once is None else at_once(call.message())
        except GRPCError:
            answer = None  # told by the method, as for all others
        if answer is None:
            call.task = self._loop.create_task(self._answer(call))
        else:
            del self._calls[call.stream]
            self._sending.answer(call.stream, answer)

    def _refuse(self, call: Call) -> None:
        answer = self._too_long.get(call.asked.path)
        if answer is None:
            told = f"the message is longer than {MESSAGE_MAX} bytes"
            self._sending.add(frames.failing(call.stream, Status.RESOURCE_EXHAUSTED.value, told))
        else:
            self._sending.answer(call.stream, answer)

    def _acknowledge(self, size: int) -> None:
        # What h2 receives it acknowledges itself; the peer adds both up.
        self._unacknowledged += size
        if self._unacknowledged >= _ACK_AT:
            self._sending.add(frames.window_update(self._unacknowledged))
            self._unacknowledged = 0

    async def _answer(self, call: Call) -> None:
        try:
            # A method asks of a grpclib stream no more than `Call` has.
            await call.asked.method.func(cast("Any", call))
        except GRPCError as exc:
            self._sending.add(frames.failing(call.stream, exc.status.value, exc.message or ""))
        except Exception as exc:  # noqa: BLE001 - whatever it is, it is this call's error and no other's
            log.error("a call failed", exc_info=exc)
            self._sending.add(frames.failing(call.stream, Status.INTERNAL.value, _BROKEN))
        else:
            self._sending.answer(call.stream, call.reply)
        finally:
            self._calls.pop(call.stream, None)
