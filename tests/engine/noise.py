"""Noise for a plugin's socket: bytes that no gRPC client sends, over TLS that it accepts, and a process that gets them."""

import asyncio
import json
import random
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any, Final, Self, cast

from google.protobuf.message import Message
from grpclib.client import Channel, UnaryUnaryMethod
from grpclib.config import Configuration
from grpclib.encoding.base import CodecBase
from grpclib.exceptions import GRPCError
from grpclib.health.v1.health_grpc import HealthStub
from hpack import Decoder

from tests import keys
from tests.cli.leaks import Scanner, of_private_key, of_token
from tests.engine.host import Plugin, Session, session
from tests.engine.mounted import p8, team_key, verified
from vault_asc.engine import frames
from vault_asc.engine._pb import backend_pb2 as pb
from vault_asc.engine._pb.backend_grpc import BackendStub
from vault_asc.engine._pb.multiplexing_grpc import PluginMultiplexingStub
from vault_asc.engine._pb.plugin_grpc import GRPCBrokerStub, GRPCControllerStub, GRPCStdioStub
from vault_asc.engine._pb.version_grpc import PluginVersionStub

SERVED: Final = (
    BackendStub,
    GRPCBrokerStub,
    GRPCControllerStub,
    GRPCStdioStub,
    HealthStub,
    PluginMultiplexingStub,
    PluginVersionStub,
)
PRODUCT: Final = "vault_asc.engine"
PEM: Final = p8()
"""The key of the mount, and what stands in requests where it should not."""
TIMEOUT: Final = 10.0  # seconds for an answer
GREETING: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frames.frame(4, 0, 0)
"""What an HTTP/2 connection begins with: the preface, and settings without any."""
HEADERS: Final = {
    b":method": b"POST",
    b":scheme": b"https",
    b":path": b"/pb.Backend/HandleRequest",
    b":authority": b"localhost",
    b"content-type": b"application/grpc",
    b"te": b"trailers",
    b"multiplex_id": b"m1",
}
"""Of a good call."""


def under_noise(act: Callable[[Session], Awaitable[None]]) -> list[dict[str, Any]]:
    """Run it with a process of the product that has a key and a role; what the process logged.

    Afterwards the process has to be the same, to mint, to end in order, and to have written nothing but hclog's lines
    without a secret in them.
    """
    lines: list[str] = []
    tokens: list[str] = []

    async def run() -> None:
        async with session(plugin) as host:
            tokens.append(await _prepared(host))
            await act(host)
            tokens.append(await minted(host))
            assert plugin.process.poll() is None
            assert await host.shutdown() == 0

    with Plugin(PRODUCT) as plugin:
        stderr = plugin.process.stderr
        assert stderr is not None
        # Read all the time, as a server does: a full pipe would stop the process.
        reader = threading.Thread(target=lambda: lines.extend(stderr))
        reader.start()
        try:
            asyncio.run(run())
        finally:
            plugin.process.kill()
            reader.join()
    secrets = of_private_key(PEM.encode(), "the key")
    for token in tokens:
        secrets |= of_token(token, "a token")
    assert not Scanner(secrets).find("".join(lines), "the log")
    logged = [json.loads(line) for line in lines]
    for line in logged:
        assert {"@level", "@message", "@module", "@timestamp"} <= set(line)
        assert "Traceback" not in json.dumps(line)
    return logged


async def _prepared(host: Session) -> str:
    assert await host.setup() == ""
    for path, body in (("keys/prod", team_key(PEM.encode())), ("roles/sales", {"key": "prod"})):
        assert not (await host.ask("create", path, json.dumps(body))).HasField("err")
    return await minted(host)


async def minted(host: Session) -> str:
    """A token of the mount, which verifies."""
    key, token = [await host.ask("read", path) for path in ("keys/prod", "token/sales")]
    assert not key.err.err_msg + token.err.err_msg
    answer = json.loads(token.response.data)
    verified(answer, json.loads(key.response.data)["public_key"])
    assert answer["key_id"] == keys.KEY_ID
    return str(answer["token"])


# -- messages ----------------------------------------------------------------------------------------------------------


class AnyBytes(CodecBase):
    """Sends bytes as the message that they may be or not, and takes any back."""

    __content_subtype__ = "proto"

    def encode(self, message: Any, message_type: Any) -> bytes:
        return bytes(message)

    def decode(self, data: bytes, message_type: Any) -> Any:
        return data


class RawCalls:
    """Calls of any method with any message, over a connection of their own."""

    def __init__(self, plugin: Plugin) -> None:
        context = plugin.certificate.context(server=False, trusted=plugin.der)
        config = Configuration(ssl_target_name_override="localhost")
        self._channel = Channel(path=str(plugin.socket), ssl=context, config=config, codec=AnyBytes())

    async def ask(self, method: str, message: bytes, metadata: Mapping[str, str]) -> bytes | GRPCError:
        """The answer, or the status of a call that failed. Whatever else happens is raised."""
        call: Any = UnaryUnaryMethod(self._channel, method, cast("Any", bytes), cast("Any", bytes))
        try:
            return bytes(await call(message, timeout=TIMEOUT, metadata=metadata))
        except GRPCError as error:
            return error

    async def close(self) -> None:
        self._channel.close()
        await asyncio.sleep(0.05)  # TLS says goodbye


def methods(host: Session) -> dict[str, type[Message]]:
    """All that the process serves, by path, with the message that each takes."""
    calls = [call for stub in SERVED for call in vars(stub(host.channel)).values()]
    return {call.name: call.request_type for call in calls}


def mutated(pick: random.Random, good: bytes) -> bytes:
    """Nearly that message, or anything at all."""
    data = bytearray(good)
    match pick.randrange(6):
        case 0:
            return pick.randbytes(pick.choice([1, 3, 20, 300, 70_000]))
        case 1:
            return bytes(data[: pick.randrange(len(data) + 1)])
        case 2:
            return bytes(data) + pick.randbytes(pick.randrange(1, 40))
        case 3:  # a field that says it is longer than everything
            return bytes(data) + b"\x0a" + b"\xff" * pick.randrange(1, 11) + b"\x7f"
        case 4:  # groups in groups
            return b"\x0b" * pick.choice([10, 99, 101, 50_000])
        case _:
            for _ in range(pick.randrange(1, 8)):
                if data:
                    data[pick.randrange(len(data))] = pick.randrange(256)
            return bytes(data)


def a_request(operation: str = "read", path: str = "token/sales", data: str = "{}") -> bytes:
    """A message of `HandleRequest`."""
    request = pb.Request(id="4711", operation=operation, path=path, data=data, mount_point="asc/")
    return pb.HandleRequestArgs(request=request).SerializeToString()


def prefixed(message: bytes, *, flag: int = 0, length: int | None = None) -> bytes:
    """As gRPC puts a message on the stream."""
    return bytes([flag]) + (len(message) if length is None else length).to_bytes(4, "big") + message


# -- connections -------------------------------------------------------------------------------------------------------


class Line:
    """A TLS connection with the process that takes any bytes, past all checks of a client."""

    def __init__(self, plugin: Plugin, *, greet: bool = True) -> None:
        plain = connected(plugin)
        self.socket = plugin.certificate.context(server=False, trusted=plugin.der).wrap_socket(
            plain, server_hostname="localhost"
        )
        self._decoder = Decoder()
        self._rest = b""
        if greet:
            self.send(GREETING)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Bytes as they are; a connection that was ended meanwhile takes none."""
        with suppress(OSError):
            self.socket.sendall(data)

    def open(self, stream: int, headers: Mapping[bytes, bytes] = HEADERS, *, end: bool = False) -> None:
        """The headers of a call."""
        block = frames.literal(headers.items())
        self.send(frames.frame(frames.HEADERS, frames.END_HEADERS | (frames.END_STREAM if end else 0), stream, block))

    def call(self, stream: int, message: bytes, headers: Mapping[bytes, bytes] = HEADERS) -> str:
        """A whole call with these bytes as its message, and its outcome."""
        self.open(stream, headers)
        self.send(frames.frame(frames.DATA, frames.END_STREAM, stream, message))
        return self.outcome(stream)

    def outcome(self, stream: int) -> str:
        """How a call ends: "grpc 0", "http 415", "reset", or "closed" with its connection. No end is an error."""
        while True:
            for kind, number, payload in self.frames():
                if kind == frames.HEADERS:
                    fields = dict(self._decoder.decode(payload, raw=True))
                    if number == stream and b"grpc-status" in fields:
                        return f"grpc {fields[b'grpc-status'].decode()}"
                    if number == stream and fields.get(b":status") != b"200":
                        return f"http {fields[b':status'].decode()}"
                elif kind == frames.RST_STREAM and number == stream:
                    return "reset"
            if not self.receive():
                return "closed"

    def receive(self) -> int:
        """Wait for more; how many bytes came, 0 when the connection has been closed."""
        try:
            data = self.socket.recv(65536)
        except TimeoutError:
            raise
        except OSError:
            data = b""
        self._rest += data
        return len(data)

    def frames(self) -> Iterator[tuple[int, int, bytes]]:
        """Kind, stream and payload of what has come since the last time."""
        head = frames.HEADER
        while len(self._rest) >= head.size:
            high, low, kind, _, stream = head.unpack_from(self._rest)
            end = head.size + (high << 8 | low)
            if len(self._rest) < end:
                return
            payload, self._rest = self._rest[head.size : end], self._rest[end:]
            yield kind, stream, payload


def connected(plugin: Plugin) -> socket.socket:
    """A connection without TLS."""
    plain = socket.socket(socket.AF_UNIX)
    plain.settimeout(TIMEOUT)
    plain.connect(str(plugin.socket))
    return plain


def garbage(pick: random.Random) -> bytes:
    """A frame with anything in it."""
    kind = pick.choice([*range(10), pick.randrange(256)])
    stream = pick.choice([0, 1, 2, 3, pick.randrange(1 << 31), (1 << 31) | 1])
    return frames.frame(kind, pick.randrange(256), stream, pick.randbytes(pick.choice([0, 1, 4, 5, 6, 8, 30, 9000])))
