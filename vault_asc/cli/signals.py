"""What signals ask of `vault-asc run`, from its first moment on: a wish is kept until there is a service to be told.

So one that comes while the service starts neither kills it, with its Vault token and its socket left behind, nor is lost.
"""

import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vault_asc.service.loop import Service


class Signals:
    """Takes SIGTERM and SIGINT for a stop, SIGHUP for a reload."""

    def __init__(self) -> None:
        self._service: Service | None = None
        self._stop = self._reload = False

    def install(self) -> None:
        """Take the signals from now on."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stopped())
        signal.signal(signal.SIGHUP, lambda *_: self._reloaded())

    def serve(self, service: "Service") -> None:
        """The service is there: it is told what was asked for before, and all that comes."""
        self._service = service
        if self._stop:
            service.stop()
        if self._reload:
            service.reload()

    def _stopped(self) -> None:
        self._stop = True
        if self._service is not None:
            self._service.stop()

    def _reloaded(self) -> None:
        self._reload = True
        if self._service is not None:
            self._service.reload()
