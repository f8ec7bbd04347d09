"""A `.p8` that already lies somewhere in Vault's KV, in whatever form a team once chose, for `--from-vault`."""

from vault_asc.errors import ConfigError
from vault_asc.key.fields import Found, find_key
from vault_asc.names import check_path
from vault_asc.vault import Vault


def read_from_kv(vault: Vault, where: str, field: str | None) -> Found:
    """Read `MOUNT/PATH`. The field is `field`, or the only one that holds a private key; never guessed between two."""
    if "/" not in check_path(where, "--from-vault"):
        raise ConfigError(f'--from-vault "{where}" is only a mount', hint="write MOUNT/PATH, such as secret/old/apple")
    return find_key(vault.read_any_kv(where), f'"{where}"', field)
