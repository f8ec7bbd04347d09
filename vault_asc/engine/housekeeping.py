"""The small services that every plugin serves beside its real one: health, end, output, multiplexing, version."""

import asyncio

from google.protobuf.empty_pb2 import Empty
from grpclib.health.v1.health_grpc import HealthBase
from grpclib.health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpclib.server import Stream

from vault_asc.engine._pb import multiplexing_pb2, plugin_pb2, version_pb2
from vault_asc.engine._pb.multiplexing_grpc import PluginMultiplexingBase
from vault_asc.engine._pb.plugin_grpc import GRPCControllerBase, GRPCStdioBase
from vault_asc.engine._pb.version_grpc import PluginVersionBase

_Multiplexing = Stream[multiplexing_pb2.MultiplexingSupportRequest, multiplexing_pb2.MultiplexingSupportResponse]


class Health(HealthBase):
    """Whoever can ask is served."""

    async def Check(self, stream: Stream[HealthCheckRequest, HealthCheckResponse]) -> None:  # noqa: N802 - the protocol's name
        """Say so."""
        await stream.recv_message()
        await stream.send_message(HealthCheckResponse(status=HealthCheckResponse.SERVING))

    async def Watch(self, stream: Stream[HealthCheckRequest, HealthCheckResponse]) -> None:  # noqa: N802 - the protocol's name
        """Say so once, and nothing more until the host has enough: it never changes."""
        await self.Check(stream)
        await asyncio.get_running_loop().create_future()


class Controller(GRPCControllerBase):
    """The host's way to end the process in order."""

    def __init__(self) -> None:
        self.stopped = asyncio.Event()

    async def Shutdown(self, stream: Stream[plugin_pb2.Empty, plugin_pb2.Empty]) -> None:  # noqa: N802 - the protocol's name
        """Answer, then stop."""
        await stream.recv_message()
        await stream.send_message(plugin_pb2.Empty())
        # Not before the answer is on its way.
        asyncio.get_running_loop().call_later(0.01, self.stopped.set)


class Stdio(GRPCStdioBase):
    """The host's way to hear what a plugin prints; we print nothing."""

    async def StreamStdio(self, stream: Stream[Empty, plugin_pb2.StdioData]) -> None:  # noqa: N802 - the protocol's name
        """Stay silent for as long as the host listens."""
        await stream.recv_message()
        await asyncio.get_running_loop().create_future()


class Multiplexing(PluginMultiplexingBase):
    """One process serves every mount."""

    async def MultiplexingSupport(self, stream: _Multiplexing) -> None:  # noqa: N802 - the protocol's name
        """Say so."""
        await stream.recv_message()
        await stream.send_message(multiplexing_pb2.MultiplexingSupportResponse(supported=True))


class Version(PluginVersionBase):
    """What `vault plugin list` shows."""

    def __init__(self, version: str) -> None:
        self._version = version

    async def Version(self, stream: Stream[version_pb2.Empty, version_pb2.VersionReply]) -> None:  # noqa: N802 - the protocol's name
        """The version as Go writes one: with a "v"."""
        await stream.recv_message()
        await stream.send_message(version_pb2.VersionReply(plugin_version=f"v{self._version}"))
