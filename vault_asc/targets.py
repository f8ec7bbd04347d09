"""A `[[targets]]` table of `vault-asc.toml`: what one target is, read strictly, and what targets must not share.

Light, as `config` is.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple

from vault_asc.clock import parse_duration
from vault_asc.errors import ConfigError, TokenRequestError
from vault_asc.names import check_name
from vault_asc.tokens import TokenRequest
from vault_asc.toml_table import Table

Mode = Literal["auto", "template", "rest"]

_REQUEST: Final = TokenRequest()
_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


class Target(NamedTuple):
    """One Nexla credential to keep fresh, from which key or by which role of the engine, and how."""

    name: str
    key: str | None
    credential_id: int
    request: TokenRequest = _REQUEST
    nexla: str = "default"
    mode: Mode = "auto"
    vendor: str = "appstore_api"
    auth_template: str | None = None
    token_field: str | None = None
    token_prefix: str = "auto"  # noqa: S105  # how the token is written, not a token
    extra_fields: Mapping[str, Any] = _NOTHING
    token_file: Path | None = None
    role: str | None = None

    @property
    def source(self) -> str:
        """Where its tokens come from, for people."""
        return _named(self.key, self.role)


class Rendered(NamedTuple):
    """A token file that the Agent alone keeps fresh; nothing is pushed."""

    name: str
    key: str | None
    role: str | None
    request: TokenRequest
    token_file: Path

    @property
    def source(self) -> str:
        """Where its tokens come from, for people."""
        return _named(self.key, self.role)


def _named(key: str | None, role: str | None) -> str:
    return f"key {key}" if role is None else f"role {role}"


def parse_target(table: Table) -> Target | Rendered:
    """One `[[targets]]` table: one that is pushed, or, without `credential_id`, one that the Agent renders."""
    name = check_name(table.required("name", str), "target")
    key, role = table.take("key", str, None), table.take("role", str, None)
    credential_id = table.take("credential_id", int, None)
    request = _request(table, name)
    token_file = table.path("token_file")
    nexla = _nexla_settings(table, name)
    table.done()
    _check_source(name, key, role)
    if credential_id is not None:
        return Target(name, key, credential_id, request, token_file=token_file, role=role, **nexla)
    if nexla:
        raise ConfigError(
            f'target "{name}" has no credential_id, and {next(iter(nexla))} is about one',
            hint="add credential_id = <number> to have it pushed to Nexla; else leave that out",
        )
    if token_file is None:
        raise ConfigError(
            f'target "{name}" has neither credential_id nor token_file, so its tokens would go nowhere',
            hint='add credential_id = <number> to have it pushed to Nexla, or token_file = "..." for the Agent to write',
        )
    return Rendered(name, key, role, request, token_file)


def check_targets(targets: Sequence[Target], rendered: Sequence[Rendered], accounts: Collection[str]) -> None:
    """Refuse, with `ConfigError`, targets that cannot be, that share a place, or whose account is not configured."""
    both: list[Target | Rendered] = [*targets, *rendered]
    _check_unique("target", [f'"{target.name}"' for target in both])
    _check_unique("credential", [f"{target.credential_id} of {target.nexla}" for target in targets])
    _check_unique("token_file", [f'"{target.token_file}"' for target in both if target.token_file])
    for target in targets:
        _check_target(target, accounts)


def _check_source(name: str, key: str | None, role: str | None) -> None:
    if (key is None) == (role is None):
        what = "neither key nor role" if key is None else "both key and role"
        raise ConfigError(
            f'target "{name}" has {what}',
            hint='write key = "..." to name a key in Vault, or role = "..." to name a role of the engine',
        )
    if key is not None:
        check_name(key)
    if role is not None:
        check_name(role, "role")


def _nexla_settings(table: Table, name: str) -> dict[str, Any]:
    """What is said of the Nexla credential, by the names of `Target`'s fields; what is not said is absent."""
    mode = table.take("mode", str, None)
    if mode not in {None, "auto", "template", "rest"}:
        raise ConfigError(f'mode "{mode}" of target "{name}" is unknown', hint='use "auto", "template" or "rest"')
    account = table.take("nexla", str, None)
    said = {
        "nexla": None if account is None else check_name(account, "nexla account"),
        "mode": mode,
        "vendor": table.take("vendor", str, None),
        "auth_template": table.take("auth_template", str, None),
        "token_field": table.take("token_field", str, None),
        "token_prefix": table.take("token_prefix", str, None),
        "extra_fields": table.json("extra_fields") or None,
    }
    return {field: value for field, value in said.items() if value is not None}


def _request(table: Table, target: str) -> TokenRequest:
    said = table.take("lifetime", str, None)
    lifetime = None if said is None else parse_duration(said, f'lifetime of target "{target}"')
    scope = table.take("scope", list, [])
    if not all(isinstance(entry, str) for entry in scope):
        raise ConfigError(f'scope of target "{target}" is no array of strings', hint='write scope = ["GET /v1/apps"]')
    try:
        return TokenRequest(lifetime, tuple(scope))
    except TokenRequestError as exc:
        raise ConfigError(f'target "{target}": {exc.message}', hint=exc.hint) from exc


def _check_unique(what: str, values: list[str]) -> None:
    """Two targets that write to one place would overwrite each other's tokens for ever."""
    for value, count in Counter(values).items():
        if count > 1:
            raise ConfigError(f"{what} {value} is there twice", hint=f"give each target a {what} of its own")


def _check_target(target: Target, accounts: Collection[str]) -> None:
    if target.credential_id < 1:
        raise ConfigError(
            f'credential_id {target.credential_id} of target "{target.name}" is not possible',
            hint="Nexla shows the number in the credential's address",
        )
    if target.nexla not in accounts:
        raise ConfigError(
            f'target "{target.name}" names the Nexla account "{target.nexla}", which is not configured',
            hint=f"add [nexla.{target.nexla}] with api_url and service_key",
        )
    if target.token_prefix not in {"auto", "", "Bearer "}:
        raise ConfigError(
            f'token_prefix {target.token_prefix!r} of target "{target.name}" is unknown',
            hint='use "auto", "" or "Bearer "',
        )
