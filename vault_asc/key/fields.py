"""Finds the private key among the fields of a secret that somebody else has laid out, and the IDs beside it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vault_asc.errors import ConfigError, PrivateKeyError
from vault_asc.key.private_key import PrivateKey, parse_private_key
from vault_asc.secret import safe_text


@dataclass(frozen=True)
class Found:
    """The key, and the IDs that lay beside it; None where there were none."""

    key: PrivateKey
    key_id: str | None
    issuer_id: str | None


def find_key(data: Mapping[str, Any], where: str, field: str | None) -> Found:
    """The key in `field`, or in the only field that holds a private key; never guessed between two.

    `ConfigError` names the fields when it cannot be told which, `PrivateKeyError` when `field` holds no key of ours.
    `where` is what messages call the secret.
    """
    return Found(_key(data, where, field), _text(data, "key_id"), _text(data, "issuer_id"))


def _key(data: Mapping[str, Any], where: str, field: str | None) -> PrivateKey:
    if field is not None:
        if _text(data, field) is None:
            raise ConfigError(f'{where} has no field "{safe_text(field)}"', hint=f"its fields: {_names(data)}")
        return parse_private_key(str(data[field]).encode())
    candidates = [name for name in data if _text(data, name) is not None and _is_key(str(data[name]))]
    if len(candidates) != 1:
        found = f"several fields with a private key ({_names(candidates)})" if candidates else "no field with one"
        hint = f"name it with --field: {_names(data)}" if data else "it has no fields at all"
        raise ConfigError(f"{where} has {found}, nothing was imported", hint=hint)
    return parse_private_key(str(data[candidates[0]]).encode())


def _names(fields: "Mapping[str, Any] | list[str]") -> str:
    return safe_text(", ".join(sorted(fields)))


def _is_key(text: str) -> bool:
    try:
        parse_private_key(text.encode())
    except PrivateKeyError:
        return False
    return True


def _text(data: Mapping[str, Any], field: str) -> str | None:
    value = data.get(field)
    return value if isinstance(value, str) and value else None
