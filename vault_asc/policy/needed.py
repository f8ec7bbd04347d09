"""Which shipped policy grants what a token lacks, and the command that writes it."""

from collections.abc import Collection, Iterable, Iterator
from typing import Final, NamedTuple

from vault_asc.errors import ConfigError
from vault_asc.names import DEFAULT_ENGINE_MOUNT, DEFAULT_TRANSIT_MOUNT, Custody
from vault_asc.policy.naming import SERVICE_KEYS, policy_name
from vault_asc.policy.rendering import DEFAULT_CUSTODIES, render
from vault_asc.policy.shipped import ROLE_ADMIN, SELF_PATHS, TOKEN_READER
from vault_asc.policy.stanzas import rules

_OF_ROLES: Final = ("token", "roles")


class Mounts(NamedTuple):
    """Where keys of a store lie: its KV mount and prefix, its Transit mount, its mount of the engine."""

    kv: str
    prefix: str
    transit: str
    engine: str

    def has(self, path: str) -> bool:
        """Whether a path is in one of them."""
        return path.startswith((f"{self.kv}/", f"{self.transit}/", f"{self.engine}/"))


def needed(
    path: str,
    capability: str,
    *,
    mount: str,
    prefix: str,
    service_keys: Collection[tuple[str, str]] = (),
    transit_mount: str = DEFAULT_TRANSIT_MOUNT,
    engine_mount: str = DEFAULT_ENGINE_MOUNT,
    custodies: Collection[str] = DEFAULT_CUSTODIES,
) -> str | None:
    """A hint: which shipped policy grants `capability` on `path`, and how to write it; None when none does.

    Args:
        path: as in a policy, such as `secret/data/asc/keys/prod`; for `list` with or without its last slash.
        capability: such as `read`.
        mount: KV mount of the store.
        prefix: prefix of the store.
        service_keys: mount and path of the Nexla service keys that are not at `<prefix>/nexla/<name>`.
        transit_mount: Transit mount of the store.
        engine_mount: mount of the engine.
        custodies: what policies get when no command says otherwise; another one is named in the hint.
    """
    if path in SELF_PATHS:
        return "use a token with any shipped policy (vault-asc policy list)"
    mounts = Mounts(mount, prefix, transit_mount, engine_mount)
    asked = f"{path.rstrip('/')}/" if capability == "list" and mounts.has(path) else path
    for chosen in ways(custodies):
        for name, values in _candidates(path, mounts, service_keys):
            try:
                text = render(
                    name,
                    mount=mount,
                    prefix=prefix,
                    **values,
                    transit_mount=transit_mount,
                    engine_mount=engine_mount,
                    custodies=chosen,
                )
            except ConfigError:  # the last word of the path is no name of a key, or the policy is for another custody
                continue
            if any(rule.grants(asked, capability) for rule in rules(text)):
                written = policy_name(name, mount=mount, prefix=prefix, **values)
                named = "".join(f" --{what} {values[what]}" for what in ("key", "role") if what in values)
                option = named or (" --nexla ACCOUNT" if values else "")
                command = f"vault-asc policy write {name}{option}{custody_option(chosen, custodies)}"
                return f'use a token with the shipped policy "{written}" ({command})'
    return None


def ways(custodies: Collection[str]) -> list[tuple[str, ...]]:
    """The custodies to render a policy with until it grants what is asked: those of the deployment, then each other."""
    return [tuple(custodies), *((custody,) for custody in Custody if custody not in custodies)]


def custody_option(chosen: Iterable[str], custodies: Collection[str]) -> str:
    """What a command needs to render a policy with the chosen custodies: nothing when they are the deployment's."""
    return "" if set(chosen) == set(custodies) else "".join(f" --custody {custody}" for custody in chosen)


def role_of(path: str, engine_mount: str) -> str | None:
    """The name of the role that a path of the engine is about, if it is about one."""
    segments = path.removeprefix(f"{engine_mount}/").split("/")
    about = path.startswith(f"{engine_mount}/") and len(segments) > 1 and segments[0] in _OF_ROLES
    return segments[1] if about else None


def _candidates(
    path: str, mounts: Mounts, service_keys: Collection[tuple[str, str]]
) -> Iterator[tuple[str, dict[str, str]]]:
    """Policies with the values that would make them fit: what is most probably missing first, then the least power."""
    role = role_of(path, mounts.engine)
    if role is not None:
        yield TOKEN_READER, {"role": role}
    key = {"key": _key(path, mounts)}
    yield "minter", key
    usual = f"{mounts.kv}/data/{mounts.prefix}/{SERVICE_KEYS}/"
    for nexla_mount, nexla_path in [
        *service_keys,
        (mounts.kv, f"{mounts.prefix}/{SERVICE_KEYS}/{path.removeprefix(usual)}"),
    ]:
        yield "publisher", {"nexla_mount": nexla_mount, "nexla_path": nexla_path}
    yield from (("auditor", {}), ("key-admin", {}), ("registrar", {}), (ROLE_ADMIN, {}), ("break-glass", key))


def _key(path: str, mounts: Mounts) -> str:
    """The name of the key that a path is about, if it is about one; of a role it is the usual one."""
    last = path.rpartition("/")[2]
    for mount in (mounts.transit, mounts.engine):
        if path.startswith(f"{mount}/"):
            segments = path.removeprefix(f"{mount}/").split("/")  # such as keys/KEY/config, sign/KEY
            whole = segments[1] if len(segments) > 1 else last
            return whole.removeprefix(f"{mounts.prefix.replace('/', '.')}.")
    return last
