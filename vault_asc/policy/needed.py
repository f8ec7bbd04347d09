"""Which shipped policy grants what a token lacks, and the command that writes it."""

from collections.abc import Collection, Iterable, Iterator

from vault_asc.errors import ConfigError
from vault_asc.names import Custody
from vault_asc.policy.naming import SERVICE_KEYS, policy_name
from vault_asc.policy.rendering import DEFAULT_CUSTODIES, DEFAULT_TRANSIT_MOUNT, render
from vault_asc.policy.shipped import SELF_PATHS
from vault_asc.policy.stanzas import rules


def needed(
    path: str,
    capability: str,
    *,
    mount: str,
    prefix: str,
    service_keys: Collection[tuple[str, str]] = (),
    transit_mount: str = DEFAULT_TRANSIT_MOUNT,
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
        custodies: what policies get when no command says otherwise; another one is named in the hint.
    """
    if path in SELF_PATHS:
        return "use a token with any shipped policy (vault-asc policy list)"
    in_mount = path.startswith((f"{mount}/", f"{transit_mount}/"))
    asked = f"{path.rstrip('/')}/" if capability == "list" and in_mount else path
    for chosen in ways(custodies):
        for name, values in _candidates(path, mount, prefix, service_keys, transit_mount):
            try:
                text = render(name, mount=mount, prefix=prefix, **values, transit_mount=transit_mount, custodies=chosen)
            except ConfigError:  # the last word of the path is no name of a key
                continue
            if any(rule.grants(asked, capability) for rule in rules(text)):
                written = policy_name(name, mount=mount, prefix=prefix, **values)
                option = f" --key {values['key']}" if "key" in values else " --nexla ACCOUNT" if values else ""
                command = f"vault-asc policy write {name}{option}{custody_option(chosen, custodies)}"
                return f'use a token with the shipped policy "{written}" ({command})'
    return None


def ways(custodies: Collection[str]) -> list[tuple[str, ...]]:
    """The custodies to render a policy with until it grants what is asked: those of the deployment, then each other."""
    return [tuple(custodies), *((custody,) for custody in Custody if custody not in custodies)]


def custody_option(chosen: Iterable[str], custodies: Collection[str]) -> str:
    """What a command needs to render a policy with the chosen custodies: nothing when they are the deployment's."""
    return "" if set(chosen) == set(custodies) else "".join(f" --custody {custody}" for custody in chosen)


def _candidates(
    path: str, mount: str, prefix: str, service_keys: Collection[tuple[str, str]], transit_mount: str
) -> Iterator[tuple[str, dict[str, str]]]:
    """Policies with the values that would make them fit: what is most probably missing first, then the least power."""
    key = {"key": _key(path, prefix, transit_mount)}
    yield "minter", key
    usual = f"{mount}/data/{prefix}/{SERVICE_KEYS}/"
    for nexla_mount, nexla_path in [*service_keys, (mount, f"{prefix}/{SERVICE_KEYS}/{path.removeprefix(usual)}")]:
        yield "publisher", {"nexla_mount": nexla_mount, "nexla_path": nexla_path}
    yield from (("auditor", {}), ("key-admin", {}), ("registrar", {}), ("break-glass", key))


def _key(path: str, prefix: str, transit_mount: str) -> str:
    """The name of the key that a path is about, if it is about one."""
    last = path.rpartition("/")[2]
    if not path.startswith(f"{transit_mount}/"):
        return last
    segments = path.removeprefix(f"{transit_mount}/").split("/")  # such as keys/KEY/config, sign/KEY
    whole = segments[1] if len(segments) > 1 else last
    return whole.removeprefix(f"{prefix.replace('/', '.')}.")
