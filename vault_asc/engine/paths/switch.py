"""`keys/<name>/disable` and `enable`: whether a key signs at all, for whatever role."""

from typing import Final

from vault_asc.engine.fields import taken
from vault_asc.engine.mount import Mount
from vault_asc.engine.path import NAME, Path, writing
from vault_asc.engine.paths.changes import existing_changed
from vault_asc.engine.request import Request, Response


async def disable(mount: Mount, request: Request, name: str) -> Response:
    """No tokens of this key; repeated, it changes nothing."""
    taken(request.data, ())
    return await existing_changed(mount, request, name, lambda entry: entry._replace(enabled=False, settled=True))


async def enable(mount: Mount, request: Request, name: str) -> Response:
    """Tokens of this key again; repeated, it changes nothing."""
    taken(request.data, ())
    return await existing_changed(mount, request, name, lambda entry: entry._replace(enabled=True, settled=True))


DISABLE: Final = Path(
    f"keys/{NAME}/disable",
    "Stops a key: no role gets a token of it.",
    "All versions stay as they are, and can be changed. Tokens that are out live on until they expire; to end them, revoke"
    " the key at Apple.",
    writing(disable),
    name_of="key",
)
ENABLE: Final = Path(
    f"keys/{NAME}/enable",
    "Lets a key that was disabled sign again.",
    "A key that was never disabled is left as it is.",
    writing(enable),
    name_of="key",
)
