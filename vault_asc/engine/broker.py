"""go-plugin's broker, the plugin's side: the host tells where it listens for us, and we dial back.

An announcement and the request that needs it come on different streams, in any order.
"""

import asyncio
import ssl
from typing import Final

from grpclib.client import Channel
from grpclib.config import Configuration
from grpclib.server import Stream

from vault_asc.engine._pb.plugin_grpc import GRPCBrokerBase
from vault_asc.engine._pb.plugin_pb2 import ConnInfo
from vault_asc.engine.certificate import HOST_NAME
from vault_asc.errors import VaultUnavailableError

_PATIENCE: Final = 5.0  # seconds for announcement and request to meet, as in go-plugin


class Broker(GRPCBrokerBase):
    """The service that hears announcements, and dials what was announced."""

    def __init__(self, tls: ssl.SSLContext) -> None:
        self._tls = tls
        self._told: dict[int, asyncio.Future[ConnInfo]] = {}

    async def StartStream(self, stream: Stream[ConnInfo, ConnInfo]) -> None:  # noqa: N802 - the service's name
        """Listen to the host for as long as it keeps the stream open."""
        async for info in stream:
            waiting = self._waiting(info.service_id)
            if not waiting.done():
                waiting.set_result(info)
            asyncio.get_running_loop().call_later(_PATIENCE, self._told.pop, info.service_id, None)

    async def dial(self, service_id: int) -> Channel:
        """A channel to what the host serves under this number. `VaultUnavailableError` when it was not announced."""
        try:
            # Shielded: whoever else waits for the same number is not given up with this one.
            info = await asyncio.wait_for(asyncio.shield(self._waiting(service_id)), _PATIENCE)
        except TimeoutError as exc:
            raise VaultUnavailableError(f"the host did not say within {_PATIENCE:g} s where it listens") from exc
        finally:
            self._told.pop(service_id, None)
        # A unix path carries no server name; grpclib takes one from its configuration alone.
        config = Configuration(ssl_target_name_override=HOST_NAME)
        if info.network == "unix":
            return Channel(path=info.address, ssl=self._tls, config=config)
        host, _, port = info.address.rpartition(":")
        return Channel(host, int(port), ssl=self._tls, config=config)

    def _waiting(self, service_id: int) -> asyncio.Future[ConnInfo]:
        return self._told.setdefault(service_id, asyncio.get_running_loop().create_future())
