"""The hint of a call that Vault denied: which shipped policies the command needs, and how to write them.

One hint for the whole command, not for the one path: who is led from policy to policy gives up and uses root.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vault_asc import policy

if TYPE_CHECKING:
    from vault_asc.config import Config

_MOUNTS = "sys/internal/ui/mounts/"  # open to every token that is granted something below the mount
_POLICIES = "sys/policies/acl/"


@dataclass(frozen=True)
class Need:
    """The shipped policies that let a command do its work; `key` for those of one key."""

    policies: tuple[str, ...] = ()
    key: str | None = None


def advise(config: "Config", need: Need, path: str, capability: str) -> str | None:
    """The hint for a token that lacks `capability` on `path`; None for the look at a mount that no policy is known for."""
    if path.startswith(_POLICIES):
        return "let somebody write it who administers Vault: `vault-asc policy show` prints the text"
    store = config.store
    for name, account in config.nexla.items():
        ref = account.service_key
        if path == f"{ref.mount}/data/{ref.path}" and need.policies != (policy.AGENT.name,):
            written = policy.policy_name(
                "publisher", mount=store.mount, prefix=store.prefix, nexla_mount=ref.mount, nexla_path=ref.path
            )
            return _hint([(written, f"vault-asc policy write publisher --nexla {name}")])
    if need.policies and (path.startswith(_MOUNTS) or any(_grants(config, need, path, capability))):
        return _hint([_written(config, name, need.key) for name in need.policies])
    known = policy.needed(path, capability, mount=store.mount, prefix=store.prefix)
    if known is None and not path.startswith(_MOUNTS):
        return f'no shipped policy grants that, so write one: path "{path}" {{ capabilities = ["{capability}"] }}'
    return known


def _grants(config: "Config", need: Need, path: str, capability: str) -> Iterator[bool]:
    store = config.store
    for name in need.policies:
        if name == policy.AGENT.name:
            yield True
        else:
            text = policy.render(name, mount=store.mount, prefix=store.prefix, key=_key_of(name, need.key))
            yield any(rule.grants(path, capability) for rule in policy.rules(text))


def _written(config: "Config", name: str, key: str | None) -> tuple[str, str]:
    """Name in Vault, and the command that writes it."""
    key = _key_of(name, key)
    written = policy.policy_name(name, mount=config.store.mount, prefix=config.store.prefix, key=key)
    return written, f"vault-asc policy write {name}" + (f" --key {key}" if key else "")


def _key_of(name: str, key: str | None) -> str | None:
    return key if name in policy.SHIPPED and "key" in policy.SHIPPED[name].parameters else None


def _hint(policies: list[tuple[str, str]]) -> str:
    names = " and ".join(f'"{name}"' for name, _ in policies)
    commands = " && ".join(command for _, command in policies)
    return f"use a token with the shipped {'policies' if len(policies) > 1 else 'policy'} {names} ({commands})"
