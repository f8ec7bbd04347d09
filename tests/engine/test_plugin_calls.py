"""The frames of unary calls, against h2's own client and against noise; no socket, no process."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest
from grpclib.health.v1.health_pb2 import HealthCheckResponse
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, Event, PingAckReceived, ResponseReceived, StreamEnded, StreamReset, TrailersReceived
from h2.settings import SettingCodes
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.engine.echo import Echo
from vault_asc.engine import frames
from vault_asc.engine._pb import backend_pb2 as pb
from vault_asc.engine.broker import Broker
from vault_asc.engine.calls import CALLS_MAX, MESSAGE_MAX, CallProtocol, CallServer
from vault_asc.engine.host import SystemView
from vault_asc.engine.housekeeping import Health
from vault_asc.engine.multiplex import Mount, Mounts
from vault_asc.engine.services import BackendService, shortcuts

CHECK = "/grpc.health.v1.Health/Check"
WATCH = "/grpc.health.v1.Health/Watch"
REQUEST = "/pb.Backend/HandleRequest"
EMPTY = b"\x00\x00\x00\x00\x00"


class Pipe(asyncio.Transport):
    """The transport of the protocol under test: keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.writes = 0
        self.closed = False

    def write(self, data: Any) -> None:
        self.written += data
        self.writes += 1

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True


class Wire:
    """An h2 client and the protocol, joined by hand."""

    def __init__(self, **changes: int) -> None:
        server = CallServer(_services(), shortcuts(MESSAGE_MAX))
        self.pipe = Pipe()
        protocol = server._protocol_factory()
        assert isinstance(protocol, CallProtocol)
        self.protocol = protocol
        self.client = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        self.client.initiate_connection()
        self.client.update_settings({getattr(SettingCodes, name): value for name, value in changes.items()})
        protocol.connection_made(self.pipe)
        self.events: list[Event] = []

    def send(self, *, pieces: int = 1 << 20) -> None:
        """Hand over what the client has to send, in pieces of so many bytes."""
        data = self.client.data_to_send()
        for at in range(0, len(data), pieces):
            self.protocol.data_received(data[at : at + pieces])

    async def turn(self, *, acknowledge: bool = True, turns: int = 6) -> None:
        """Let things happen, and hear what comes back."""
        for _ in range(turns):
            await asyncio.sleep(0)
            data, self.pipe.written = bytes(self.pipe.written), bytearray()
            new = self.client.receive_data(data)
            self.events += new
            for event in new:
                if acknowledge and isinstance(event, DataReceived) and event.flow_controlled_length:
                    self.client.acknowledge_received_data(event.flow_controlled_length, event.stream_id or 0)
            self.send()

    def ask(
        self, path: str, message: bytes = EMPTY, *, end: bool = True, more: tuple[tuple[str, str], ...] = ()
    ) -> int:
        stream = self.client.get_next_available_stream_id()
        headers = [(":method", "POST"), (":scheme", "https"), (":path", path), (":authority", "x")]
        headers += [("content-type", "application/grpc"), ("te", "trailers"), ("multiplex_id", "m1"), *more]
        self.client.send_headers(stream, headers)
        while len(message) > 16_000:
            self.client.send_data(stream, message[:16_000])
            message = message[16_000:]
        self.client.send_data(stream, message, end_stream=end)
        return stream

    def answer(self, stream: int) -> tuple[bytes, str]:
        """Message and status of a call; the message is empty when there is none."""
        mine = [event for event in self.events if getattr(event, "stream_id", None) == stream]
        assert any(isinstance(event, StreamEnded) for event in mine), mine
        data = b"".join(event.data for event in mine if isinstance(event, DataReceived))
        last = [event for event in mine if isinstance(event, (TrailersReceived, ResponseReceived))][-1]
        status = dict(cast("list[tuple[str, str]]", last.headers))["grpc-status"]
        assert not data or int.from_bytes(data[1:5], "big") == len(data) - 5
        return data[5:], status


class ActiveNode(SystemView):
    async def check_writable(self) -> None:
        pass


def _services() -> list[Any]:
    mounts = Mounts(Echo)
    mounts._mounts["m1"] = Mount(Echo(), cast("Any", None), ActiveNode(cast("Any", None)), cast("Any", None))
    broker = Broker(cast("Any", None))
    return [BackendService(mounts, broker, lambda: 1.5, metadata_mode=False), Health(), broker]


def request(path: str, data: str = "{}", operation: str = "read") -> bytes:
    message = pb.HandleRequestArgs(request=pb.Request(operation=operation, path=path, data=data)).SerializeToString()
    return b"\x00" + len(message).to_bytes(4, "big") + message


def run(act: Callable[[Wire], Awaitable[None]], **changes: int) -> None:
    async def inside() -> None:
        wire = Wire(**changes)
        wire.send()
        await wire.turn()
        await act(wire)
        wire.protocol.connection_lost(None)
        await asyncio.sleep(0)

    asyncio.run(inside())


SERVING = HealthCheckResponse(status=HealthCheckResponse.SERVING).SerializeToString()


@pytest.mark.parametrize("pieces", [1, 7, 1 << 20])
def test_calls_in_pieces_of_any_size(pieces: int) -> None:
    async def act(wire: Wire) -> None:
        streams = [wire.ask(CHECK) for _ in range(3)]
        wire.send(pieces=pieces)
        await wire.turn()
        assert [wire.answer(stream) for stream in streams] == [(SERVING, "0")] * 3

    run(act)


def test_answers_of_one_turn_go_out_in_one_write() -> None:
    async def act(wire: Wire) -> None:
        for _ in range(8):
            wire.ask(REQUEST, request("token/x"))
        before = wire.pipe.writes
        wire.send()
        await wire.turn()
        assert wire.pipe.writes - before == 1

    run(act)


def test_streaming_and_unary_calls_share_a_connection() -> None:
    async def act(wire: Wire) -> None:
        for number in range(20):  # the HPACK tables of both stay the same through all of it
            more = ((f"x-{number}", "y" * number),)
            watch, check = wire.ask(WATCH, more=more), wire.ask(CHECK, more=more[: number % 2])
            wire.send()
            await wire.turn()
            assert wire.answer(check) == (SERVING, "0")
            data = [e.data for e in wire.events if isinstance(e, DataReceived) and e.stream_id == watch]
            assert b"".join(data)[5:] == SERVING
            wire.client.reset_stream(watch)

    run(act)


def test_headers_in_two_frames_and_padding() -> None:
    async def act(wire: Wire) -> None:
        long = tuple((f"x-{number}", "~" * 900) for number in range(30))
        stream = wire.ask(CHECK, more=long)
        wire.send()
        await wire.turn()
        assert wire.answer(stream) == (SERVING, "0")
        stream = wire.ask(REQUEST, b"", end=False)
        wire.client.send_data(stream, request("token/x"), pad_length=77, end_stream=True)
        wire.send()
        await wire.turn()
        assert wire.answer(stream)[1] == "0"

    run(act)


@pytest.mark.parametrize("window", [1, 1000, 65_535])
def test_long_answers_wait_for_the_window(window: int) -> None:
    async def act(wire: Wire) -> None:
        kind = "fail/large" if window > 1 else "token/x"
        streams = [wire.ask(REQUEST, request(kind)) for _ in range(3)]
        wire.send()
        await wire.turn(turns=3000 if window < 65_535 else 100)
        for stream in streams:
            message, status = wire.answer(stream)
            assert status == "0"
            assert len(pb.HandleRequestReply.FromString(message).response.data) > (300_000 if window > 1 else 400)

    run(act, INITIAL_WINDOW_SIZE=window)


def test_an_answer_that_is_given_up_midway() -> None:
    async def act(wire: Wire) -> None:
        stream = wire.ask(REQUEST, request("fail/large"))
        wire.send()
        await wire.turn(acknowledge=False)
        wire.client.reset_stream(stream)
        wire.send()
        assert wire.protocol._sending._waiting == {}
        received = sum(e.flow_controlled_length or 0 for e in wire.events if isinstance(e, DataReceived))
        wire.client.increment_flow_control_window(received)
        other = wire.ask(CHECK)
        wire.send()
        await wire.turn()
        assert wire.answer(other) == (SERVING, "0")

    run(act)


@pytest.mark.parametrize("operation", ["too long", "never ending"])
def test_too_long_messages_are_answered_while_they_come(operation: str) -> None:
    async def act(wire: Wire) -> None:
        for _ in range(30):  # more than the window of the connection in all, if nobody gave any back
            stream = wire.ask(REQUEST, b"\x00\x00\x10\x00\x00" + b"z" * (MESSAGE_MAX + 1), end=operation == "too long")
            wire.send()
            await wire.turn()
            reply = pb.HandleRequestReply.FromString(wire.answer(stream)[0])
            assert reply.err.err_code == 413
        assert wire.protocol._calls == {}

    run(act)


def test_more_calls_than_allowed_are_refused() -> None:
    async def act(wire: Wire) -> None:
        wire.client.remote_settings.update({SettingCodes.MAX_CONCURRENT_STREAMS: 1000})
        wire.client.remote_settings.acknowledge()
        streams = [wire.ask(REQUEST, request("fail/slow", '{"seconds": 0.05}')) for _ in range(CALLS_MAX + 20)]
        wire.send()
        await wire.turn()
        refused = {event.stream_id for event in wire.events if isinstance(event, StreamReset)}
        assert refused == set(streams[CALLS_MAX:])
        await asyncio.sleep(0.1)
        await wire.turn()
        assert wire.answer(streams[0])[1] == "0"
        assert wire.protocol._calls == {}

    run(act)


def test_a_ping_is_answered_with_the_next_answer_or_soon() -> None:
    async def act(wire: Wire) -> None:
        wire.client.ping(b"12345678")
        wire.send()
        await wire.turn()
        assert not any(isinstance(event, PingAckReceived) for event in wire.events)
        wire.ask(CHECK)
        wire.send()
        await wire.turn()
        assert sum(isinstance(event, PingAckReceived) for event in wire.events) == 1
        wire.client.ping(b"12345679")
        wire.send()
        await asyncio.sleep(0.05)
        await wire.turn()
        assert sum(isinstance(event, PingAckReceived) for event in wire.events) == 2

    run(act)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\x00",
        b"\x01\x00\x00\x00\x00",
        b"\x00\x00\x00\x00\x09abc",
        EMPTY + EMPTY,
        b"\x00\x00\x00\x00\x03\xff\xff\xff",
    ],
)
def test_messages_that_are_none(message: bytes) -> None:
    async def act(wire: Wire) -> None:
        stream = wire.ask(REQUEST, message)
        wire.send()
        await wire.turn()
        assert wire.answer(stream) == (b"", "13")

    run(act)


def test_unknown_methods() -> None:
    async def act(wire: Wire) -> None:
        stream = wire.ask("/pb.Backend/Nothing")
        wire.send()
        await wire.turn()
        assert wire.answer(stream) == (b"", "12")

    run(act)


@given(
    st.lists(st.tuples(st.integers(0, 10), st.integers(0, 255), st.integers(0, 9), st.binary(max_size=60)), max_size=8)
)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_noise_ends_at_most_the_connection(noise: list[tuple[int, int, int, bytes]]) -> None:
    async def act(wire: Wire) -> None:
        stream = wire.ask(CHECK)
        wire.send()
        await wire.turn()
        assert wire.answer(stream) == (SERVING, "0")
        for kind, flags, number, payload in noise:
            if wire.pipe.closed:
                return
            wire.protocol.data_received(frames.frame(kind, flags, number, payload))
            await asyncio.sleep(0)
        await asyncio.sleep(0)

    run(act)


@given(st.binary(max_size=200))
@settings(max_examples=100, deadline=None)
def test_noise_from_the_first_byte_on(noise: bytes) -> None:
    async def inside() -> None:
        wire = Wire()
        wire.protocol.data_received(noise)
        wire.protocol.data_received(noise)
        wire.protocol.connection_lost(None)

    asyncio.run(inside())


@given(st.lists(st.tuples(st.binary(min_size=1, max_size=300), st.binary(max_size=40_000)), max_size=5))
@settings(max_examples=30, deadline=None)
def test_literal_header_blocks_are_read_as_written(fields: list[tuple[bytes, bytes]]) -> None:
    from hpack import Decoder

    found = Decoder(max_header_list_size=1 << 20).decode(frames.literal(fields), raw=True)
    assert [(bytes(name), bytes(value)) for name, value in cast("Any", found)] == fields
