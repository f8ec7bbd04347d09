"""The name of a policy in Vault, which has one flat space of names."""

import hashlib
import re
from typing import Final

from vault_asc.policy.rendering import checked
from vault_asc.policy.shipped import AGENT, SHIPPED, shipped

SERVICE_KEYS: Final = "nexla"
"""Below the prefix, where Nexla service keys usually are."""

_PLAIN_MOUNT: Final = "secret"
_PLAIN_LAST: Final = r"[a-z0-9-]*"


def policy_name(
    name: str,
    *,
    mount: str = _PLAIN_MOUNT,
    prefix: str,
    key: str | None = None,
    role: str | None = None,
    nexla_mount: str | None = None,
    nexla_path: str | None = None,
) -> str:
    """The name under which a policy is written to Vault, such as `asc-minter-prod` or `asc-team-a-minter-prod`.

    It does not depend on custody, nor for a policy of one key on its role, so that a key moves without touching who holds
    the policy. Vault's names have no upper
    case, and a write replaces silently. So what could be read as the name of another store's policy too (other mount,
    unusual prefix or service key) ends in a digest of all values.
    """
    policy = AGENT if name == AGENT.name else shipped(name)
    given = {"key": key, "role": role, "nexla_mount": nexla_mount, "nexla_path": nexla_path}
    values = checked(policy, mount, prefix, given)
    if key is not None:
        values.pop("role", None)
    last = key or role or (nexla_path or "").rpartition("/")[2]
    plain = "-".join([*prefix.split("/"), name, *([last] if last else [])]).lower()
    usual = nexla_path is None or (nexla_mount, nexla_path) == (mount, f"{prefix}/{SERVICE_KEYS}/{last}")
    if mount == _PLAIN_MOUNT and usual and re.fullmatch(_PLAIN_LAST, last) and _is_plain_prefix(prefix):
        return plain
    digest = hashlib.sha256("\0".join([name, *values.values()]).encode()).hexdigest()
    return f"{plain}-{digest[:8]}"


def _is_plain_prefix(prefix: str) -> bool:
    """Whether `<prefix>-<role>[-<last>]` can be taken apart in one way only."""
    first, _, team = prefix.partition("/")
    followed = "|".join(policy.name for policy in SHIPPED.values() if policy.parameters or policy.optional)
    return (
        re.fullmatch(r"[a-z0-9]+", first) is not None
        and (not team or re.fullmatch(_PLAIN_LAST, team) is not None)
        and re.search(rf"(?:^|-)(?:{followed})(?:-|$)", team) is None
    )
