"""The hint of a call that Vault denied: which shipped policies the command needs, and how to write them.

One hint for the whole command, not for the one path: who is led from policy to policy gives up and uses root.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vault_asc import policy
from vault_asc.errors import ConfigError
from vault_asc.names import Custody
from vault_asc.settings import StoreSettings

if TYPE_CHECKING:
    from vault_asc.config import Config

_MOUNTS = "sys/internal/ui/mounts/"  # open to every token that is granted something below the mount
_POLICIES = "sys/policies/acl/"
_LOOKING = {"read", "list"}
_USUAL = StoreSettings()


@dataclass(frozen=True)
class Need:
    """The shipped policies that let a command do its work.

    Attributes:
        policies: their names.
        key: for those of one key.
        custodies: in which it works, whatever the deployment's are.
        role: for those of one role of the engine.
    """

    policies: tuple[str, ...] = ()
    key: str | None = None
    custodies: tuple[Custody, ...] = ()
    role: str | None = None


def advise(config: "Config", need: Need, path: str, capability: str) -> str | None:
    """The hint for a token that lacks `capability` on `path`; None for the look at a mount that no policy is known for.

    It never fails: what was denied has to be said, whatever can be advised.
    """
    try:
        hint = _advised(config, need, path, capability)
    except ConfigError:  # no policy can be made of what was asked for
        return None
    return hint and hint + _doubt(config, path)


def _advised(config: "Config", need: Need, path: str, capability: str) -> str | None:
    if path.startswith(_POLICIES) and capability not in _LOOKING:
        return "let somebody write it who administers Vault: `vault-asc policy show` prints the text"
    store = config.store
    for name, account in config.nexla.items():
        ref = account.service_key
        if path == f"{ref.mount}/data/{ref.path}" and need.policies != (policy.AGENT.name,):
            written = policy.policy_name(
                "publisher", mount=store.mount, prefix=store.prefix, nexla_mount=ref.mount, nexla_path=ref.path
            )
            return _hint([(written, f"vault-asc policy write publisher --nexla {name}")])
    for custodies in policy.ways(tuple(dict.fromkeys((*store.custodies, *need.custodies)))):
        if _mends(config, need, (path, capability), custodies):
            role = policy.role_of(path, store.engine_mount) or need.role
            return _hint([_written(config, need, name, role, custodies) for name in need.policies])
    known = policy.needed(
        path,
        capability,
        mount=store.mount,
        prefix=store.prefix,
        transit_mount=store.transit_mount,
        engine_mount=store.engine_mount,
        custodies=store.custodies,
    )
    if known is None and not path.startswith(_MOUNTS):
        return f'no shipped policy grants that, so write one: path "{path}" {{ capabilities = ["{capability}"] }}'
    return known


def _doubt(config: "Config", path: str) -> str:
    """Which setting may be mistyped. Vault says the same of a mount that is not there as of one without a grant."""
    named = {"store.mount": config.store.mount}
    named |= {f"nexla.{name}.service_key.mount": of.service_key.mount for name, of in config.nexla.items()}
    for setting, mount in named.items():
        if mount != _USUAL.mount and path.removeprefix(_MOUNTS).startswith(f"{mount}/"):
            return f'; if there is no mount "{mount}", correct {setting}'
    return ""


def _mends(config: "Config", need: Need, denied: tuple[str, str], custodies: tuple[str, ...]) -> bool:
    """Whether the policies of the command, written for these custodies, grant what was denied, or show its mount."""
    path, capability = denied
    own = _custody_of(config, path)
    if path.startswith(_MOUNTS):
        return bool(need.policies) and (own is None or own in custodies)
    from vault_asc.cli.policies import Of, rendered

    role = policy.role_of(path, config.store.engine_mount) or need.role
    for name in need.policies:
        of = Of(_key_of(name, need), _role_of(name, need, role))
        try:
            # A policy of keys that is written anew names the roles that their records say, such as the one denied.
            _, text = rendered(config, name, of, custodies, lambda key: role or key)
        except ConfigError:  # no name in Transit can be made of the prefix, or the policy is for another custody
            return False
        if any(rule.grants(path, capability) for rule in policy.rules(text)):
            return True
    return False


def _custody_of(config: "Config", path: str) -> Custody | None:
    """The custody whose keys lie there, None for what all have in common."""
    store = config.store
    mounts = {Custody.TRANSIT: store.transit_mount, Custody.ENGINE: store.engine_mount}
    for custody, mount in mounts.items():
        if f"{path.removeprefix(_MOUNTS)}/".startswith(f"{mount}/"):
            return custody
    return Custody.KV if path.startswith(f"{store.mount}/data/{store.prefix}/private/") else None


def _written(
    config: "Config", need: Need, name: str, denied_role: str | None, custodies: tuple[str, ...]
) -> tuple[str, str]:
    """Name in Vault, and the command that writes it."""
    key, role = _key_of(name, need), _role_of(name, need, denied_role)
    written = policy.policy_name(name, mount=config.store.mount, prefix=config.store.prefix, key=key, role=role)
    usual = config.store.custodies
    # The keys of an Agent may be in several custodies, and a command of several policies may work in two, as a move does.
    both = name == policy.AGENT.name or len(need.policies) > 1
    chosen = tuple(dict.fromkeys((*usual, *custodies))) if both else custodies
    option = policy.custody_option(chosen, usual)
    named = "".join(f" --{what} {value}" for what, value in (("key", key), ("role", role)) if value)
    # Whoever was denied has the policy with the key's name for its role perhaps, and the new one takes that away.
    force = " --force" if key and role else ""
    return written, f"vault-asc policy write {name}{named}{option}{force}"


def _key_of(name: str, need: Need) -> str | None:
    """The key that a policy is for. Beside one of one key the others are of that key too, or theirs would be hidden."""
    shipped = policy.SHIPPED.get(name)
    of_one_key = any("key" in policy.SHIPPED[other].parameters for other in need.policies if other in policy.SHIPPED)
    return need.key if shipped and shipped.keyed and of_one_key else None


def _role_of(name: str, need: Need, denied: str | None) -> str | None:
    """The role that a policy is for, by the path that was denied; none where it is of the key's name, or of all.

    Beside a policy of one key a policy of all roles is of one, or its rights would be hidden.
    """
    shipped = policy.SHIPPED.get(name)
    if shipped is None or not shipped.takes("role"):
        return None
    if shipped.keyed:
        return denied if _key_of(name, need) not in {None, denied} else None
    return denied if "role" in shipped.parameters or "break-glass" in need.policies else None


def _hint(policies: list[tuple[str, str]]) -> str:
    names = " and ".join(f'"{name}"' for name, _ in policies)
    commands = " && ".join(command for _, command in policies)
    return f"use a token with the shipped {'policies' if len(policies) > 1 else 'policy'} {names} ({commands})"
