"""`info`: which engine answers here."""

from typing import Final

from vault_asc import __version__
from vault_asc.engine.mount import Mount
from vault_asc.engine.path import Path
from vault_asc.engine.request import Operation, Request, Response


async def read(mount: Mount, _request: Request, _name: str) -> Response:
    """Version and build."""
    return Response({"version": __version__, **mount.build})


PATH: Final = Path(
    "info",
    "Version and build of the engine.",
    "Of the process that answers, which after an upgrade need not be what the plugin catalog says.",
    {Operation.READ: read},
)
