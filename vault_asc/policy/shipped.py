"""Which policies are shipped, what each has to be told, and their texts as they stand in the files."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Final

from vault_asc.errors import ConfigError
from vault_asc.names import Custody

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable


@dataclass(frozen=True)
class Shipped:
    """A shipped policy.

    Attributes:
        name: name of its file, and of the role that it is for.
        summary: one line for a list of policies.
        parameters: what has to be named besides mount and prefix: `key`, `role`, or `nexla_mount` and `nexla_path`.
        optional: what may be named: `key` for a policy of all keys that can be narrowed to one, `role` likewise, and for a
            policy of one key whose role in the engine has another name.
        custody: the only one that it is for, None when there is something of it in each.
    """

    name: str
    summary: str
    parameters: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    custody: Custody | None = None

    @property
    def keyed(self) -> bool:
        """Whether it is, or can be, for one key."""
        return self.takes("key")

    @property
    def names_role(self) -> bool:
        """Whether it is for one key and names the role of that key."""
        return "key" in self.parameters and self.takes("role")

    def takes(self, what: str) -> bool:
        """Whether that has to be, or may be, named."""
        return what in (*self.parameters, *self.optional)


TEAM: Final = "team"
ROLE_ADMIN: Final = "role-admin"
TOKEN_READER: Final = "token-reader"  # noqa: S105  # the name of a policy

SHIPPED: Final[Mapping[str, Shipped]] = {
    policy.name: policy
    for policy in (
        Shipped("key-admin", "imports and stages keys, cannot read one back", optional=("key",)),
        Shipped("registrar", "promotes, rolls back, retires, disables and enables keys", optional=("key",)),
        Shipped(
            ROLE_ADMIN,
            "decides what roles of the engine give, reads no token",
            optional=("role",),
            custody=Custody.ENGINE,
        ),
        Shipped("minter", "mints tokens from one key", ("key",), ("role",)),
        Shipped(TOKEN_READER, "reads tokens of one role of the engine", ("role",), custody=Custody.ENGINE),
        Shipped("publisher", "reads one Nexla service key", ("nexla_mount", "nexla_path")),
        Shipped("auditor", "sees everything that is no secret"),
        Shipped(TEAM, "mints from every key of the caller's own team that is kept in KV"),
        Shipped("break-glass", "destroys one key for good", ("key",), ("role",)),
    )
}
"""The policies that have a file. The Agent's is composed of theirs, see `rendering.agent`."""

AGENT: Final = Shipped("agent", "mints and publishes for the targets of one configuration")

SELF_PATHS: Final = ("auth/token/lookup-self", "auth/token/renew-self", "sys/capabilities-self")
"""What every shipped policy grants, so that tokens need no default policy."""


def shipped(name: str) -> Shipped:
    """The shipped policy of that name; `ConfigError` lists those there are."""
    if name not in SHIPPED:
        raise ConfigError(
            f"there is no shipped policy {name!r}", hint=f"choose one of: {', '.join([*SHIPPED, AGENT.name])}"
        )
    return SHIPPED[name]


@cache
def text_of(policy: Shipped) -> str:
    """The text as it stands in the file, placeholders included."""
    # In a wheel the files are inside the package, in a checkout they are at the top.
    places: tuple[Traversable, ...] = (files("vault_asc") / "policies", Path(__file__).parents[2] / "policies")
    for place in places:
        found = place / f"{policy.name}.hcl"
        if found.is_file():
            return found.read_text(encoding="utf-8")
    raise ConfigError(f'the text of policy "{policy.name}" is missing', hint="install vault-asc again")
