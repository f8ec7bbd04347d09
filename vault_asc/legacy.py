"""A `.p8` that already lies somewhere in Vault's KV, in whatever form a team once chose, for `key import --from-vault`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vault_asc.errors import ConfigError, PrivateKeyError
from vault_asc.key.private_key import PrivateKey, parse_private_key
from vault_asc.names import check_path
from vault_asc.vault import Vault


@dataclass(frozen=True)
class Found:
    """The key, and the IDs that lay beside it; None where there were none."""

    key: PrivateKey
    key_id: str | None
    issuer_id: str | None


def read_from_kv(vault: Vault, where: str, field: str | None) -> Found:
    """Read `MOUNT/PATH`. The field is `field`, or the only one that holds a private key; never guessed between two."""
    if "/" not in check_path(where, "--from-vault"):
        raise ConfigError(f'--from-vault "{where}" is only a mount', hint="write MOUNT/PATH, such as secret/old/apple")
    data = vault.read_any_kv(where)
    return Found(_key(data, where, field), _text(data, "key_id"), _text(data, "issuer_id"))


def _key(data: Mapping[str, Any], where: str, field: str | None) -> PrivateKey:
    if field is not None:
        if _text(data, field) is None:
            raise ConfigError(f'"{where}" has no field "{field}"', hint=f"its fields: {', '.join(sorted(data))}")
        return parse_private_key(str(data[field]).encode())
    candidates = [name for name in data if _text(data, name) is not None and _is_key(str(data[name]))]
    if len(candidates) != 1:
        found = f"several fields with a private key ({', '.join(candidates)})" if candidates else "no field with one"
        raise ConfigError(
            f'"{where}" has {found}, nothing was imported', hint=f"name it with --field: {', '.join(sorted(data))}"
        )
    return parse_private_key(str(data[candidates[0]]).encode())


def _is_key(text: str) -> bool:
    try:
        parse_private_key(text.encode())
    except PrivateKeyError:
        return False
    return True


def _text(data: Mapping[str, Any], field: str) -> str | None:
    value = data.get(field)
    return value if isinstance(value, str) and value else None
