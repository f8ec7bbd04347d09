"""A policy's text filled in for one store."""

import re
from collections.abc import Collection, Mapping
from string import Template
from typing import Final

from vault_asc.errors import ConfigError
from vault_asc.names import DEFAULT_ENGINE_MOUNT, DEFAULT_TRANSIT_MOUNT, Custody, check_name, check_path, transit_key
from vault_asc.policy.shipped import AGENT, TEAM, TOKEN_READER, Shipped, shipped, text_of
from vault_asc.policy.stanzas import STANZA, for_custodies
from vault_asc.secret import safe_text

DEFAULT_CUSTODIES: Final = (Custody.KV,)
_ANY: Final = "+"
_NAMES: Final = {"key", "role"}
_REVOKE: Final = """\
# A service that ends gives its token back.
path "auth/token/revoke-self" {
  capabilities = ["update"]
}
"""


def render(  # noqa: PLR0913  # each stands for a placeholder, and all but the first are named
    name: str,
    *,
    mount: str,
    prefix: str,
    key: str | None = None,
    role: str | None = None,
    nexla_mount: str | None = None,
    nexla_path: str | None = None,
    transit_mount: str = DEFAULT_TRANSIT_MOUNT,
    engine_mount: str = DEFAULT_ENGINE_MOUNT,
    custodies: Collection[str] = DEFAULT_CUSTODIES,
) -> str:
    """The text of a shipped policy for one store.

    Args:
        name: one of `SHIPPED`; `ConfigError` for another.
        mount: KV mount of the store.
        prefix: prefix of the store.
        key: for a policy of one key; a policy of all keys is narrowed to it.
        role: in the engine; for a policy of one key that of the key, which else has the key's name.
        nexla_mount: KV mount of a Nexla service key.
        nexla_path: path of a Nexla service key.
        transit_mount: Transit mount of the store.
        engine_mount: mount of the engine.
        custodies: names of custodies; what each needs is granted besides that which all need.
    """
    policy = shipped(name)
    given = {"key": key, "role": role, "nexla_mount": nexla_mount, "nexla_path": nexla_path}
    values = checked(policy, mount, prefix, given)
    if policy.custody is not None and policy.custody not in custodies:
        raise ConfigError(
            f'policy "{name}" is for custody {policy.custody}, which is not one of these: {", ".join(custodies)}',
            hint=f'add --custody {policy.custody}, or "{policy.custody}" to store.custodies',
        )
    values["transit_mount"] = check_path(transit_mount, "Transit mount")
    values["engine_mount"] = check_path(engine_mount, "mount of the engine")
    values["keys"] = key or _ANY
    values["role"] = values["roles"] = role or key or _ANY
    text = for_custodies(text_of(policy), custodies)
    if Custody.TRANSIT in custodies:
        values["transit_keys"] = values["transit_key"] = transit_key(prefix, key) if key else _ANY
    return Template(text).substitute(values)


def agent(
    keys: Collection[str] | Mapping[str, str],
    service_keys: Collection[tuple[str, str]] = (),
    *,
    roles: Collection[str] = (),
    mount: str,
    prefix: str,
    transit_mount: str = DEFAULT_TRANSIT_MOUNT,
    engine_mount: str = DEFAULT_ENGINE_MOUNT,
    custodies: Collection[str] = DEFAULT_CUSTODIES,
) -> str:
    """The policy of an Agent: minter of each key, token-reader of each role, publisher of each service key.

    Every stanza is there once.

    Args:
        keys: names of the keys of its targets; a mapping says the role of each in the engine, which else has the key's name.
        roles: names of the roles of its targets.
        service_keys: mount and path of each Nexla service key that it uses.
        mount: KV mount of the store.
        prefix: prefix of the store.
        transit_mount: Transit mount of the store.
        engine_mount: mount of the engine.
        custodies: those of its keys.
    """
    if not keys and not roles:
        raise ConfigError("an Agent without a key or role needs no policy", hint="add a [[targets]] table")
    key_roles = keys if isinstance(keys, Mapping) else {}
    texts = [
        render(
            "minter",
            mount=mount,
            prefix=prefix,
            key=key,
            role=key_roles.get(key),
            transit_mount=transit_mount,
            engine_mount=engine_mount,
            custodies=custodies,
        )
        for key in sorted(set(keys))
    ]
    texts += [
        render(
            TOKEN_READER,
            mount=mount,
            prefix=prefix,
            role=role,
            engine_mount=engine_mount,
            custodies=(Custody.ENGINE,),
        )
        for role in sorted(set(roles))
    ]
    texts += [
        render("publisher", mount=mount, prefix=prefix, nexla_mount=nexla_mount, nexla_path=nexla_path)
        for nexla_mount, nexla_path in sorted(set(service_keys))
    ]
    # Backwards, so that what ends every text stays at the end when it is left once.
    stanzas = {found["path"]: found[0] for text in reversed(texts) for found in reversed([*re.finditer(STANZA, text)])}
    head = f"# {AGENT.name}: {AGENT.summary} (minter, token-reader and publisher of each).\n"
    return "\n".join([head, _REVOKE, *reversed(stanzas.values())])


def checked(policy: Shipped, mount: str, prefix: str, given: Mapping[str, str | None]) -> dict[str, str]:
    """The values of a policy, all there, none too many, none with a meaning in HCL or in a path. Else `ConfigError`."""
    values = {"mount": mount, "prefix": prefix} | {what: value for what, value in given.items() if value is not None}
    if missing := [what for what in policy.parameters if what not in values]:
        option = f"--{missing[0]} NAME" if missing[0] in _NAMES else "--nexla ACCOUNT"
        raise ConfigError(f'policy "{policy.name}" is for one {_what(missing[0])}', hint=f"name it with {option}")
    if extra := [what for what in values if what not in {"mount", "prefix"} and not policy.takes(what)]:
        raise ConfigError(f'policy "{policy.name}" is not for one {_what(extra[0])}', hint="leave that out")
    for what, value in values.items():
        check_name(value, what) if what in _NAMES else check_path(value, _what(what))
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
