"""A fuzzer on the live socket of the product's process: all that it is sent is answered, and it lives on."""

import asyncio
import json
import random
import ssl
from collections.abc import Awaitable, Callable
from contextlib import ExitStack, suppress
from typing import Any, Final

import pytest
from google.protobuf.message import DecodeError, Message
from grpclib.const import Status
from grpclib.exceptions import GRPCError

from tests.engine.host import HostCertificate, Plugin, Session
from tests.engine.noise import (
    GREETING,
    HEADERS,
    PEM,
    TIMEOUT,
    Line,
    RawCalls,
    a_request,
    connected,
    garbage,
    methods,
    minted,
    mutated,
    prefixed,
    under_noise,
)
from vault_asc.engine import frames
from vault_asc.engine._pb import backend_pb2 as pb
from vault_asc.engine._pb.plugin_grpc import GRPCBrokerStub
from vault_asc.engine._pb.plugin_pb2 import ConnInfo
from vault_asc.engine.backend import PATHS
from vault_asc.engine.calls import CALLS_MAX, MESSAGE_MAX
from vault_asc.engine.request import Operation

CODED, UNSUPPORTED_OPERATION = 3, 5
HALF_OPEN: Final = 2000
SHUTDOWN: Final = "/plugin.GRPCController/Shutdown"
SETUP: Final = "/pb.Backend/Setup"
OF_HOST: Final = ("/pb.Backend/Cleanup", SETUP)
"""What would take the mount away or put another in its place: sent on behalf of a mount that nobody has."""
STREAMING: Final = ("/plugin.GRPCStdio/StreamStdio", "/grpc.health.v1.Health/Watch", "/plugin.GRPCBroker/StartStream")
"""What has no end of its own."""

WRONG_HEADERS: Final[dict[str, dict[bytes, bytes | None]]] = {
    "unknown method": {b":path": b"/pb.Backend/Nothing"},
    "unknown service": {b":path": b"/nothing"},
    "no slash": {b":path": b"x"},
    "bytes in the path": {b":path": b"/pb.Backend/\xff\x00\n"},
    "a long path": {b":path": b"/" + b"x" * 9000},
    "GET": {b":method": b"GET"},
    "content type of a page": {b"content-type": b"text/html"},
    "content type of JSON": {b"content-type": b"application/grpc+json"},
    "no content type": {b"content-type": None},
    "no te": {b"te": None},
    "no mount": {b"multiplex_id": None},
    "another mount": {b"multiplex_id": b"m2"},
    "a mount of bytes": {b"multiplex_id": b"\xff\x00\r\n"},
    "a key for a mount": {b"multiplex_id": PEM.encode()},
    "a deadline that is none": {b"grpc-timeout": b"x"},
    "a deadline in the past": {b"grpc-timeout": b"0n"},
    "an encoding": {b"grpc-encoding": b"gzip"},
    "capital letters": {b"X-Upper": b"1"},
    "connection headers": {b"connection": b"close", b"transfer-encoding": b"chunked"},
}
WRONG_MESSAGES: Final = {
    "none": b"",
    "half a prefix": b"\x00\x00",
    "a length of everything": b"\x00\xff\xff\xff\xff" + a_request(),
    "longer than it says": prefixed(a_request()) + b"x",
    "shorter than it says": prefixed(a_request())[:-1],
    "two": prefixed(a_request()) * 2,
    "compressed": prefixed(a_request(), flag=1),
    "a flag that nobody knows": prefixed(a_request(), flag=255),
    "no protobuf": prefixed(b"\xff" * 40),
    "no UTF-8": prefixed(a_request(path="token/\x7f\x7f").replace(b"\x7f", b"\xff")),
    "empty": prefixed(b""),
}
DEEP: Final = '{"scope":' + "[" * 50_000 + "]" * 50_000 + "}"
BODIES: Final = {
    "empty": "",
    "no JSON": "{",
    "a key": PEM,
    "a key in half a document": '{"private_key": "' + PEM.replace("\n", "\\n"),
    "a list": "[]",
    "a number": "1",
    "a string": json.dumps(PEM),
    "NaN": '{"lifetime": NaN, "lease_share": NaN}',
    "Infinity": '{"lifetime": Infinity, "lease_share": -Infinity}',
    "huge numbers": '{"lifetime": 1' + "0" * 5000 + "}",
    "a huge exponent": '{"lease_share": 1e999, "lifetime": 1e999, "version": 1e999}',
    "deep": DEEP,
    "deep objects": '{"a":' * 40_000 + "1" + "}" * 40_000,
    "a lone surrogate": '{"key": "\\ud800", "scope": ["\\udfff"], "private_key": "\\ud800"}',
    "NUL": '{"key": "\\u0000", "key_id": "\\u0000", "issuer_id": "\\u0000", "scope": "\\u0000"}',
    "NUL in the document": '{"key": "a\0b"}',
    "the same field twice": '{"lifetime": 600, "lifetime": "x"}',
    "a field of a key": json.dumps({PEM: 1}),
    "null everywhere": json.dumps({field.name: None for path in PATHS for field in path.fields}),
    "objects everywhere": json.dumps({field.name: {"a": PEM} for path in PATHS for field in path.fields}),
}
NAMES: Final = (
    "prod",
    "sales",
    "",
    "..",
    "../prod",
    "\0",
    "a\0b",
    "Ä",
    "💥",
    "\u202e",
    "a b",
    "%2e",
    "x" * 5000,
    PEM,
    "a\nb",
)


def outcomes(act: Callable[[Plugin], None]) -> Callable[[Session], Awaitable[None]]:
    """Blocking noise, in a thread: the host's storage goes on serving."""

    async def run(host: Session) -> None:
        await asyncio.to_thread(act, host.plugin)

    return run


def test_noise_as_the_message_of_every_method() -> None:
    pick = random.Random(5)
    seen: dict[str, set[Status | None]] = {}

    async def ask(calls: RawCalls, method: str, message: bytes, mount: str) -> None:
        answer = await calls.ask(method, message, {"multiplex_id": mount})
        seen.setdefault(method, set()).add(answer.status if isinstance(answer, GRPCError) else None)

    async def act(host: Session) -> None:
        calls = RawCalls(host.plugin)
        for method, kind in methods(host).items():
            mount = "nobody's" if method in OF_HOST else "m1"
            noise = [mutated(pick, good(kind)) for _ in range(60)]
            if method in {SHUTDOWN, SETUP}:  # a readable one ends the process, or waits for the host
                noise = [message for message in noise if not readable(kind, message)]
            if method not in STREAMING:
                await asyncio.gather(*(ask(calls, method, message, mount) for message in noise))
                assert await minted(host), method
        await calls.close()

    logged = under_noise(act)
    refused = {Status.INTERNAL, Status.NOT_FOUND, Status.RESOURCE_EXHAUSTED, Status.INVALID_ARGUMENT, None}
    assert set().union(*seen.values()) <= refused, seen
    assert len(seen) > 10
    assert seen["/pb.Backend/HandleRequest"] >= {Status.INTERNAL, None}
    assert not [line for line in logged if line["@level"] == "error"], "no request breaks anything in us"


def good(kind: type[Message]) -> bytes:
    """A message of that kind."""
    return a_request() if kind is pb.HandleRequestArgs else b"\x0a\x03abc\x10\x05"


def readable(kind: type[Message], message: bytes) -> bool:
    with suppress(DecodeError):
        kind.FromString(message)
        return True
    return False


def test_a_mount_is_set_up_at_an_address_that_is_none() -> None:
    async def act(host: Session) -> None:
        addresses = [
            "unix /nowhere",
            "unix x" + "y" * 300,
            "unix \0",
            "tcp x",
            "tcp 127.0.0.1:0",
            "tcp 127.0.0.1:1e9",
            " ",
        ]
        for number, (network, address) in enumerate((each.split(" ", 1) for each in addresses), 100):
            metadata = {"multiplex_id": f"n{number}"}
            call = host.backend.Setup(pb.SetupArgs(broker_id=number), metadata=metadata)
            async with GRPCBrokerStub(host.channel).StartStream.open() as stream:
                await stream.send_message(ConnInfo(service_id=number, network=network, address=address))
                await call
                await stream.cancel()
            with suppress(GRPCError):  # not set up, where the address could not even be read
                reply = await host.ask("read", "token/sales", mount=f"n{number}")
                assert reply.err.err_msg

    under_noise(act)


def test_a_call_without_a_path_is_left_open_and_harms_nobody() -> None:
    """So grpclib has it; no host sends one."""

    def act(plugin: Plugin) -> None:
        with Line(plugin) as line:
            line.socket.settimeout(0.5)
            with pytest.raises(TimeoutError):
                line.call(1, prefixed(a_request()), {name: HEADERS[name] for name in HEADERS if name != b":path"})
            line.socket.settimeout(TIMEOUT)
            assert line.call(3, prefixed(a_request())) == "grpc 0"

    under_noise(outcomes(act))


def test_streams_of_noise() -> None:
    def act(plugin: Plugin) -> None:
        pick = random.Random(6)
        for path in STREAMING:
            for _ in range(15):
                with Line(plugin) as line:
                    line.open(1, {**HEADERS, b":path": path.encode()})
                    for _ in range(5):
                        noise = mutated(pick, b"\x08\x07\x12\x04unix\x1a\x02/x")[:16_000]
                        line.send(frames.frame(frames.DATA, 0, 1, prefixed(noise, flag=pick.choice([0, 0, 0, 1]))))

    under_noise(outcomes(act))


def test_wrong_headers() -> None:
    found: dict[str, str] = {}

    def act(plugin: Plugin) -> None:
        for what, changes in WRONG_HEADERS.items():
            headers = {name: value for name, value in {**HEADERS, **changes}.items() if value is not None}
            with Line(plugin) as line:
                found[what] = line.call(1, prefixed(a_request()), headers)

    under_noise(outcomes(act))
    assert found["unknown method"] == found["unknown service"] == f"grpc {Status.UNIMPLEMENTED.value}"
    for what in ("no mount", "another mount", "a mount of bytes", "a key for a mount"):
        assert found[what] == f"grpc {Status.NOT_FOUND.value}", what


def test_wrong_messages_one_after_the_other() -> None:
    found: dict[str, str] = {}

    def act(plugin: Plugin) -> None:
        with Line(plugin) as line:
            for number, (what, message) in enumerate(WRONG_MESSAGES.items()):
                found[what] = line.call(4 * number + 1, message)
                assert line.call(4 * number + 3, prefixed(a_request())) == "grpc 0", what

    under_noise(outcomes(act))
    internal = f"grpc {Status.INTERNAL.value}"
    assert found == dict.fromkeys(WRONG_MESSAGES, internal) | {"empty": "grpc 0"}


def test_too_long_messages() -> None:
    def act(plugin: Plugin) -> None:
        for length in (None, 5, 1 << 31):
            with Line(plugin) as line:
                line.open(1)
                piece = frames.frame(frames.DATA, 0, 1, b"x" * 16_384)
                line.send(frames.frame(frames.DATA, 0, 1, prefixed(b"", length=length or 10_000_000)))
                for _ in range(10_000_000 // 16_384 if length is None else 2 * MESSAGE_MAX // 16_384):
                    line.send(piece)
                assert line.outcome(1) == "grpc 0", "the answer says that it is too long"
                assert line.call(3, prefixed(a_request())) == "grpc 0"

    under_noise(outcomes(act))


def test_frames_of_noise() -> None:
    pick = random.Random(8)

    def act(plugin: Plugin) -> None:
        for number in range(150):
            with Line(plugin, greet=number % 5 > 0) as line:
                match number % 3:
                    case 0:
                        line.send(pick.randbytes(pick.choice([1, 9, 24, 500, 20_000])))
                    case 1:
                        for _ in range(pick.randrange(1, 30)):
                            line.send(garbage(pick))
                    case _:  # a good call, broken somewhere
                        block = frames.literal(HEADERS.items())
                        call = frames.frame(frames.HEADERS, frames.END_HEADERS, 1, block)
                        call += frames.frame(frames.DATA, frames.END_STREAM, 1, prefixed(a_request()))
                        line.send(mutated(pick, call))
                if number % 10 == 0:
                    assert whole(plugin)

    under_noise(outcomes(act))


@pytest.mark.parametrize(
    "flood",
    [
        frames.frame(4, 0, 0, b"\x00\x01\xff\xff\xff\xff"),  # SETTINGS
        frames.frame(frames.PING, 0, 0, b"8 bytes."),
        frames.frame(frames.RST_STREAM, 0, 1, bytes(4)),
        frames.frame(9, 0, 1, b"\x00" * 100),  # CONTINUATION
        frames.frame(frames.WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff"),
        frames.frame(frames.HEADERS, 0, 1, frames.literal(HEADERS.items())),  # that never ends
        frames.frame(frames.HEADERS, frames.END_HEADERS, 1, b"\xff" * 50),  # no HPACK
        frames.frame(frames.HEADERS, frames.END_HEADERS, 1, b"\x40\x01a\x7f\x80\xff\xff\xff\xff\xff\x0f"),
        frames.frame(2, 0, 1, b"\x00\x00\x00\x01\x00"),  # PRIORITY over itself
        frames.frame(7, 0, 0, bytes(8)),  # GOAWAY
        b"\xff\xff\xff\x00\x00\x00\x00\x00\x01" + b"x" * 1000,  # 16 MB, announced
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
    ids=[
        "settings",
        "ping",
        "reset",
        "continuation",
        "window",
        "endless",
        "hpack",
        "integer",
        "priority",
        "goaway",
        "long",
        "http1",
    ],
)
def test_floods(flood: bytes) -> None:
    def act(plugin: Plugin) -> None:
        for greet in (True, False):
            with Line(plugin, greet=greet) as line:
                for _ in range(20):
                    line.send(flood * 50)
            assert whole(plugin)

    under_noise(outcomes(act))


def whole(plugin: Plugin) -> bool:
    """Whether a new connection has a good call answered."""
    with Line(plugin) as line:
        return line.call(1, prefixed(a_request())) == "grpc 0"


def test_thousands_of_calls_that_are_never_finished() -> None:
    def act(plugin: Plugin) -> None:
        with ExitStack() as stack:
            lines = [stack.enter_context(Line(plugin)) for _ in range(4)]
            for line in lines:
                for stream in range(1, HALF_OPEN // 2, 2):
                    line.open(stream)
                assert line.outcome(2 * CALLS_MAX + 1) == "reset", "no more than so many at once"
            assert whole(plugin)
            for line in lines[:2]:
                for stream in range(1, HALF_OPEN // 2, 2):
                    line.send(frames.reset(stream, 8))
                assert line.call(HALF_OPEN + 1, prefixed(a_request())) == "grpc 0"
        assert whole(plugin)

    under_noise(outcomes(act))


def test_connections_that_say_nothing_or_are_no_tls() -> None:
    def act(plugin: Plugin) -> None:
        pick = random.Random(9)
        with ExitStack() as stack:
            for _ in range(30):
                stack.enter_context(Line(plugin, greet=False))
                stack.enter_context(connected(plugin))
                for noise in (b"\x16\x03\x01\xff\xff", GREETING, pick.randbytes(400)):
                    with connected(plugin) as plain, suppress(OSError):
                        plain.sendall(noise)
            assert whole(plugin)
        for stranger in strangers(plugin):
            for _ in range(10):
                with suppress(OSError), stranger.wrap_socket(connected(plugin), server_hostname="localhost") as tls:
                    tls.sendall(GREETING + frames.frame(frames.PING, 0, 0, bytes(8)))
                    assert not tls.recv(1), "nothing is told to strangers"
        assert whole(plugin)

    under_noise(outcomes(act))


def strangers(plugin: Plugin) -> list[ssl.SSLContext]:
    """One without certificate, one with another."""
    nobody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    nobody.set_alpn_protocols(["h2"])
    nobody.load_verify_locations(cadata=plugin.der)
    return [nobody, HostCertificate().context(server=False, trusted=plugin.der)]


# -- requests that are good protobuf ---------------------------------------------------------------------------------


async def refused_or_done(host: Session, operation: str, path: str, body: str, what: str, **more: Any) -> None:
    reply = await host.ask(operation, path, body, **more)
    error = reply.err
    if not reply.HasField("err"):
        return
    where = (what, operation, path[:40], error.err_type, error.err_code, error.err_msg[:200])
    if operation in OF_CLIENTS:
        assert error.err_type == CODED, where
        assert error.err_code in {400, 404, 405, 413}, where
    else:
        assert error.err_type in {CODED, UNSUPPORTED_OPERATION}, where
    assert error.err_msg.isprintable(), where
    assert len(error.err_msg) < 1000, where
    assert PEM.splitlines()[1] not in error.err_msg, where


OF_CLIENTS: Final = {"create", "update", "read", "delete", "list", "patch", "help"}


def test_bodies() -> None:
    async def act(host: Session) -> None:
        for path in PATHS:
            where = path.pattern.replace(":name", "fuzzed")
            for what, body in BODIES.items():
                for operation in Operation:
                    await refused_or_done(host, operation, where, body, what)
                    await exists(host, where, body)

    logged = under_noise(act)
    assert not [line for line in logged if line["@level"] == "error"]


async def exists(host: Session, path: str, body: str) -> None:
    """The other call that carries a request: it may find nothing, and never fails."""
    args = pb.HandleExistenceCheckArgs(request=pb.Request(operation="create", path=path, data=body))
    reply = await host.backend.HandleExistenceCheck(args, metadata={"multiplex_id": "m1"}, timeout=10)
    assert not reply.HasField("err"), (path, reply.err)


def test_names_and_operations() -> None:
    async def act(host: Session) -> None:
        for pattern in [path.pattern for path in PATHS] + [":name", ":name/:name", "keys/:name/:name", "roles/:name/"]:
            for name in NAMES:
                for operation in [*Operation, "", "READ", "renew-all", "\0", "x" * 5000]:
                    if operation not in {"delete", "update", "create"} or name not in {"prod", "sales"}:
                        await refused_or_done(host, operation, pattern.replace(":name", name), "{}", "name")
                await exists(host, pattern.replace(":name", name), "{}")

    logged = under_noise(act)
    assert not [line for line in logged if line["@level"] == "error"]


def test_requests_without_what_belongs_to_them() -> None:
    async def act(host: Session) -> None:
        for request in (None, pb.Request(), pb.Request(operation="read"), pb.Request(path="token/sales")):
            for mount in ("m1", "m2", " ", "x" * 4000):
                args = pb.HandleRequestArgs(request=request)
                with suppress(GRPCError):
                    reply = await host.backend.HandleRequest(args, metadata={"multiplex_id": mount}, timeout=10)
                    assert reply.err.err_type in {CODED, UNSUPPORTED_OPERATION}
        for size in (MESSAGE_MAX + 1, 3_000_000):
            reply = await host.ask("update", "keys/prod", json.dumps({"private_key": "x" * size}))
            assert (reply.err.err_type, reply.err.err_code) == (CODED, 413)

    logged = under_noise(act)
    assert not [line for line in logged if line["@level"] == "error"]
