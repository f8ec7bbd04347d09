"""From a target and a token to Nexla: discover, PUT, probe. Sessions are shared per account within a pass."""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vault_asc.nexla import NexlaClient


class NexlaPublisher:
    """Writes tokens into Nexla credentials.

    Args:
        connect: makes the client of an account by its name; called once for each.
    """

    def __init__(self, connect: "Callable[[str], NexlaClient]") -> None:
        self._connect = connect
        self._clients: dict[str, NexlaClient] = {}
