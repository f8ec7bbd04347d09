"""A path of the engine as a value: what it is called, what may be done there, and what its help says."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final, NamedTuple

from vault_asc.engine.fields import Field
from vault_asc.engine.mount import Mount
from vault_asc.engine.request import Operation, Request, Response

NAME: Final = ":name"
"""What stands for the name in a pattern."""

Action = Callable[[Mount, Request, str], Awaitable[Response | None]]
"""Carries out one operation; the name is that in the path, empty where the path has none."""


class Path(NamedTuple):
    """One path, or all that differ only in a name.

    Attributes:
        pattern: its segments joined by slashes, one of them may be `NAME`.
        synopsis: one line of help.
        description: the rest of it.
        operations: what may be done; there is no other way in.
        fields: what a body may hold.
        name_of: what kind of thing the name is, for messages.
        exists: where the server has to know whether a write creates, the storage key of a name; elsewhere a write
            updates, and needs that capability alone.
    """

    pattern: str
    synopsis: str
    description: str
    operations: Mapping[Operation, Action]
    fields: tuple[Field, ...] = ()
    name_of: str = ""
    exists: Callable[[str], str] | None = None

    @property
    def shown(self) -> str:
        """The pattern as people write it."""
        return self.pattern.replace(NAME, "<name>")

    @property
    def writable(self) -> bool:
        """Whether something may be written there."""
        return Operation.UPDATE in self.operations


def writing(action: Action) -> dict[Operation, Action]:
    """The same for both kinds of a write; the server has checked which capability it takes."""
    return {Operation.CREATE: action, Operation.UPDATE: action}
