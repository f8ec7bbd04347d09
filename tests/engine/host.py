"""A host for a plugin process, without a server: starts it, speaks gRPC with it, keeps its storage in a dict."""

import asyncio
import os
import ssl
import subprocess
import sys
import tempfile
from base64 import b64decode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from grpclib.client import Channel
from grpclib.config import Configuration
from grpclib.server import Server, Stream

from vault_asc.engine._pb import backend_pb2 as pb
from vault_asc.engine._pb.backend_grpc import BackendStub, StorageBase, SystemViewBase
from vault_asc.engine._pb.plugin_grpc import GRPCBrokerStub, GRPCControllerStub
from vault_asc.engine._pb.plugin_pb2 import ConnInfo, Empty

ECHO = "tests.engine.echo"
ROOT = Path(__file__).parents[2]
PERFORMANCE_STANDBY = 0x4000
COOKIE = {"VAULT_BACKEND_PLUGIN": "6669da05-b1c8-4f49-97d9-c8e5bed98e20", "PLUGIN_PROTOCOL_VERSIONS": "4,5"}


class HostCertificate:
    """A certificate as go-plugin makes one: on P-521, signed by itself."""

    def __init__(self) -> None:
        key = ec.generate_private_key(ec.SECP521R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(seconds=30))
            .not_valid_after(now + timedelta(hours=1))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA512())
        )
        self.pem = certificate.public_bytes(serialization.Encoding.PEM).decode()
        self._key = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()

    def context(self, *, server: bool, trusted: bytes | None = None) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
        context.set_alpn_protocols(["h2"])
        with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
            file.write(self.pem + self._key)
            file.flush()
            context.load_cert_chain(file.name)
        if trusted is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(cadata=trusted)
        return context


class DictStorageService(StorageBase):
    """`pb.Storage` out of a dict; `error` is what every call says when it is set."""

    def __init__(self) -> None:
        self.entries: dict[str, bytes] = {}
        self.wrapped: set[str] = set()
        self.error = ""

    async def Get(self, stream: Stream[pb.StorageGetArgs, pb.StorageGetReply]) -> None:  # noqa: N802 - the protocol's name
        args = await stream.recv_message()
        assert args is not None
        reply = pb.StorageGetReply(err=self.error)
        if args.key in self.entries:
            reply.entry.CopyFrom(pb.StorageEntry(key=args.key, value=self.entries[args.key]))
        await stream.send_message(reply)

    async def Put(self, stream: Stream[pb.StoragePutArgs, pb.StoragePutReply]) -> None:  # noqa: N802 - the protocol's name
        args = await stream.recv_message()
        assert args is not None
        if not self.error:
            self.entries[args.entry.key] = args.entry.value
            if args.entry.seal_wrap:
                self.wrapped.add(args.entry.key)
        await stream.send_message(pb.StoragePutReply(err=self.error))

    async def Delete(self, stream: Stream[pb.StorageDeleteArgs, pb.StorageDeleteReply]) -> None:  # noqa: N802 - the protocol's name
        args = await stream.recv_message()
        assert args is not None
        self.entries.pop(args.key, None)
        await stream.send_message(pb.StorageDeleteReply(err=self.error))

    async def List(self, stream: Stream[pb.StorageListArgs, pb.StorageListReply]) -> None:  # noqa: N802 - the protocol's name
        args = await stream.recv_message()
        assert args is not None
        names = [key.removeprefix(args.prefix) for key in self.entries if key.startswith(args.prefix)]
        await stream.send_message(pb.StorageListReply(keys=sorted(names), err=self.error))


class SystemViewService(SystemViewBase):
    """`pb.SystemView` of a node that is active or a standby; `asked` counts how often it was asked which."""

    def __init__(self) -> None:
        self.standby = False
        self.asked = 0

    async def ReplicationState(self, stream: Stream[pb.Empty, pb.ReplicationStateReply]) -> None:  # noqa: N802 - the protocol's name
        await stream.recv_message()
        self.asked += 1
        await stream.send_message(pb.ReplicationStateReply(state=PERFORMANCE_STANDBY if self.standby else 0))


class Plugin:
    """A plugin process, from its start to its end.

    Attributes:
        line: the fields of its handshake line; empty when it printed none.
        socket: where it listens.
    """

    def __init__(self, module: str = ECHO, **environ: str) -> None:
        self.certificate = HostCertificate()
        settings = {"PLUGIN_CLIENT_CERT": self.certificate.pem, "PATH": os.environ["PATH"], **COOKIE, **environ}
        self.process = subprocess.Popen(
            [sys.executable, "-m", module],
            env={name: value for name, value in settings.items() if value},
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline().rstrip("\n")
        self.line = line.split("|") if line else []
        self.socket = Path(self.line[3]) if self.line else Path()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()
        if self.line:
            self.socket.unlink(missing_ok=True)
            if self.socket.parent.exists():
                self.socket.parent.rmdir()

    def log(self) -> str:
        """All that it wrote to stderr; it has to have ended."""
        assert self.process.stderr is not None
        return self.process.stderr.read()

    @property
    def der(self) -> bytes:
        return b64decode(self.line[5] + "=" * (-len(self.line[5]) % 4))

    def channel(self, context: ssl.SSLContext | None = None) -> Channel:
        ours = context or self.certificate.context(server=False, trusted=self.der)
        return Channel(path=str(self.socket), ssl=ours, config=Configuration(ssl_target_name_override="localhost"))


class Session:
    """What a host does with a running plugin."""

    def __init__(self, plugin: Plugin, directory: Path) -> None:
        self.plugin = plugin
        self.channel = plugin.channel()
        self.backend = BackendStub(self.channel)
        self.storages: dict[str, DictStorageService] = {}
        self.views: dict[str, SystemViewService] = {}
        self._directory = directory
        self._servers: list[Server] = []

    async def setup(self, mount: str = "m1", *, announce_late: bool = False) -> str:
        """Set a mount up with a storage of its own; what the plugin says is wrong."""
        number = len(self._servers) + 1
        self.storages[mount], self.views[mount] = DictStorageService(), SystemViewService()
        server, path = Server([self.storages[mount], self.views[mount]]), self._directory / f"{number}.sock"
        await server.start(path=str(path), ssl=self.plugin.certificate.context(server=True, trusted=self.plugin.der))
        self._servers.append(server)
        call = asyncio.ensure_future(
            self.backend.Setup(pb.SetupArgs(broker_id=number), metadata={"multiplex_id": mount})
        )
        if announce_late:
            await asyncio.sleep(0.05)
        async with GRPCBrokerStub(self.channel).StartStream.open() as stream:
            await stream.send_message(ConnInfo(service_id=number, network="unix", address=str(path)))
            reply = await call
            await stream.cancel()
        return reply.err

    async def ask(
        self, operation: str, path: str, data: str = "{}", mount: str = "m1", **more: Any
    ) -> pb.HandleRequestReply:
        request = pb.Request(id="0815", operation=operation, path=path, data=data, mount_point="asc/", **more)
        return await self.backend.HandleRequest(
            pb.HandleRequestArgs(request=request), metadata={"multiplex_id": mount}, timeout=10
        )

    async def shutdown(self) -> int:
        """Ask it to end; its exit code."""
        await GRPCControllerStub(self.channel).Shutdown(Empty())
        self.channel.close()
        return await asyncio.to_thread(self.plugin.process.wait, 5)

    async def close(self) -> None:
        self.channel.close()
        await asyncio.sleep(0.05)  # TLS says goodbye
        for server in self._servers:
            server.close()
            await server.wait_closed()


@asynccontextmanager
async def session(plugin: Plugin) -> AsyncIterator[Session]:
    """A host of the plugin."""
    with tempfile.TemporaryDirectory(prefix="host-") as directory:
        here = Session(plugin, Path(directory))
        try:
            yield here
        finally:
            await here.close()
