"""The life of a plugin process: handshake, serving, end. go-plugin protocol 5 with AutoMTLS.

`main` is what Vault starts. Nothing but the handshake line goes to stdout; log lines go to stderr.
"""

import asyncio
import contextlib
import os
import signal
import sys
from base64 import b64encode
from typing import TYPE_CHECKING, Final

from vault_asc import __version__
from vault_asc.clock import system_clock
from vault_asc.engine.broker import Broker
from vault_asc.engine.calls import MESSAGE_MAX, CallServer
from vault_asc.engine.certificate import Tls, mutual_tls
from vault_asc.engine.environment import PROTOCOL, HostSettings, take_settings
from vault_asc.engine.hclog import MODULE, log, log_to
from vault_asc.engine.housekeeping import Controller, Health, Multiplexing, Stdio, Version
from vault_asc.engine.hygiene import end_with_host, harden
from vault_asc.engine.listening import Listening
from vault_asc.engine.multiplex import MakeBackend, Mounts
from vault_asc.engine.services import BackendService, shortcuts
from vault_asc.errors import VaultAscError

if TYPE_CHECKING:
    from grpclib._typing import IServable

_CORE_PROTOCOL: Final = 1
_REFUSED: Final = 1  # exit code
_FAREWELL: Final = 1.0  # seconds for requests under way when the host says to stop; it kills us after 2


def main(make_backend: MakeBackend) -> int:
    """Serve the host until it says to stop or is gone; the exit code.

    Args:
        make_backend: makes what each mount does, at the first of them: the host connects meanwhile.
    """
    try:
        settings = take_settings(os.environ)
        harden()
        log_to(sys.stderr)
        tls = mutual_tls(settings.certificate, system_clock())
        listening = Listening(settings.socket_dir, system_clock())
    except VaultAscError as exc:
        sys.stderr.write(f"{MODULE}: error: {exc.message}\n{MODULE}: hint: {exc.hint}\n")
        return _REFUSED
    end_with_host(sys.stdout.fileno(), listening.close)
    try:
        _shake_hands(settings, listening, tls)
        asyncio.run(_serve(settings, listening, tls, make_backend))
    finally:
        listening.close()
    return 0


def _shake_hands(settings: HostSettings, listening: Listening, tls: Tls) -> None:
    certificate = b64encode(tls.der).decode("ascii").rstrip("=")
    fields = [str(_CORE_PROTOCOL), str(PROTOCOL), "unix", str(listening.path), "grpc", certificate]
    if settings.broker_multiplexing:
        fields.append("false")
    sys.stdout.write("|".join(fields) + "\n")
    sys.stdout.flush()


async def _serve(settings: HostSettings, listening: Listening, tls: Tls, make_backend: MakeBackend) -> None:
    mounts, broker, controller = Mounts(make_backend), Broker(tls.client), Controller()
    backend = BackendService(mounts, broker, system_clock, metadata_mode=settings.metadata_mode)
    services: list[IServable] = [backend, broker, controller, Health(), Stdio(), Multiplexing(), Version(__version__)]
    server = CallServer(services, shortcuts(MESSAGE_MAX))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, controller.stopped.set)
    await server.start(sock=listening.socket, ssl=tls.server)
    log.debug("serving version %s", __version__)
    await controller.stopped.wait()
    server.close()
    mounts.close()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(server.wait_closed(), _FAREWELL)
