"""A policy's text filled in for one store."""

import re
from collections.abc import Collection, Mapping
from string import Template
from typing import Final

from vault_asc.errors import ConfigError
from vault_asc.names import Custody, check_name, check_path, transit_key
from vault_asc.policy.shipped import AGENT, TEAM, Shipped, shipped, text_of
from vault_asc.policy.stanzas import STANZA, for_custodies
from vault_asc.secret import safe_text

DEFAULT_TRANSIT_MOUNT: Final = "asc-transit"
DEFAULT_CUSTODIES: Final = (Custody.KV,)
_ANY_KEY: Final = "+"
_REVOKE: Final = """\
# A service that ends gives its token back.
path "auth/token/revoke-self" {
  capabilities = ["update"]
}
"""


def render(
    name: str,
    *,
    mount: str,
    prefix: str,
    key: str | None = None,
    nexla_mount: str | None = None,
    nexla_path: str | None = None,
    transit_mount: str = DEFAULT_TRANSIT_MOUNT,
    custodies: Collection[str] = DEFAULT_CUSTODIES,
) -> str:
    """The text of a shipped policy for one store.

    Args:
        name: one of `SHIPPED`; `ConfigError` for another.
        mount: KV mount of the store.
        prefix: prefix of the store.
        key: for a policy of one key; a policy of all keys is narrowed to it.
        nexla_mount: KV mount of a Nexla service key.
        nexla_path: path of a Nexla service key.
        transit_mount: Transit mount of the store.
        custodies: names of custodies; what each needs is granted besides that which all need.
    """
    policy = shipped(name)
    values = checked(policy, mount, prefix, {"key": key, "nexla_mount": nexla_mount, "nexla_path": nexla_path})
    values["transit_mount"] = check_path(transit_mount, "Transit mount")
    values["keys"] = key or _ANY_KEY
    text = for_custodies(text_of(policy), custodies)
    if Custody.TRANSIT in custodies:
        values["transit_keys"] = values["transit_key"] = transit_key(prefix, key) if key else _ANY_KEY
    return Template(text).substitute(values)


def agent(
    keys: Collection[str],
    service_keys: Collection[tuple[str, str]] = (),
    *,
    mount: str,
    prefix: str,
    transit_mount: str = DEFAULT_TRANSIT_MOUNT,
    custodies: Collection[str] = DEFAULT_CUSTODIES,
) -> str:
    """The policy of an Agent: minter of each key and publisher of each service key, every stanza once.

    Args:
        keys: names of the keys of its targets.
        service_keys: mount and path of each Nexla service key that it uses.
        mount: KV mount of the store.
        prefix: prefix of the store.
        transit_mount: Transit mount of the store.
        custodies: those of its keys.
    """
    if not keys:
        raise ConfigError("an Agent without a key needs no policy", hint="add a [[targets]] table")
    texts = [
        render("minter", mount=mount, prefix=prefix, key=key, transit_mount=transit_mount, custodies=custodies)
        for key in sorted(set(keys))
    ]
    texts += [
        render("publisher", mount=mount, prefix=prefix, nexla_mount=nexla_mount, nexla_path=nexla_path)
        for nexla_mount, nexla_path in sorted(set(service_keys))
    ]
    # Backwards, so that what ends every text stays at the end when it is left once.
    stanzas = {found["path"]: found[0] for text in reversed(texts) for found in reversed([*re.finditer(STANZA, text)])}
    head = f"# {AGENT.name}: {AGENT.summary} (minter and publisher of each).\n"
    return "\n".join([head, _REVOKE, *reversed(stanzas.values())])


def checked(policy: Shipped, mount: str, prefix: str, given: Mapping[str, str | None]) -> dict[str, str]:
    """The values of a policy, all there, none too many, none with a meaning in HCL or in a path. Else `ConfigError`."""
    values = {"mount": mount, "prefix": prefix} | {what: value for what, value in given.items() if value is not None}
    if missing := [what for what in policy.parameters if what not in values]:
        option = "--key NAME" if missing[0] == "key" else "--nexla ACCOUNT"
        raise ConfigError(f'policy "{policy.name}" is for one {_what(missing[0])}', hint=f"name it with {option}")
    if extra := [what for what in values if what not in {"mount", "prefix", *policy.parameters, *policy.optional}]:
        raise ConfigError(f'policy "{policy.name}" is not for one {_what(extra[0])}', hint="leave that out")
    for what, value in values.items():
        check_name(value) if what == "key" else check_path(value, _what(what))
    above, _, _ = prefix.rpartition("/")
    if policy.name == TEAM and above:
        raise ConfigError(
            f'policy "{TEAM}" is for the prefix of all teams, which has one segment, not for "{safe_text(prefix)}"',
            hint=f'set store.prefix to the part before the team: "{safe_text(above)}"',
        )
    return values


def _what(parameter: str) -> str:
    return {"nexla_mount": "mount of a Nexla service key", "nexla_path": "path of a Nexla service key"}.get(
        parameter, parameter
    )
