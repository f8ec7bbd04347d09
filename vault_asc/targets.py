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
from vault_asc.tokens import DEFAULT_LIFETIME, TokenRequest
from vault_asc.toml_table import Table

Mode = Literal["auto", "template", "rest"]

_REQUEST: Final = TokenRequest()
_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


class Target(NamedTuple):
    """One Nexla credential to keep fresh, from which key and how."""

    name: str
    key: str
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


def parse_target(table: Table) -> Target:
    """One `[[targets]]` table."""
    name = check_name(table.required("name", str), "target")
    mode = table.take("mode", str, "auto")
    if mode not in {"auto", "template", "rest"}:
        raise ConfigError(f'mode "{mode}" of target "{name}" is unknown', hint='use "auto", "template" or "rest"')
    target = Target(
        name=name,
        key=check_name(table.required("key", str)),
        credential_id=table.required("credential_id", int),
        request=_request(table, name),
        nexla=check_name(table.take("nexla", str, "default"), "nexla account"),
        mode=mode,
        vendor=table.take("vendor", str, "appstore_api"),
        auth_template=table.take("auth_template", str, None),
        token_field=table.take("token_field", str, None),
        token_prefix=table.take("token_prefix", str, "auto"),
        extra_fields=table.json("extra_fields"),
        token_file=table.path("token_file"),
    )
    table.done()
    return target


def check_targets(targets: Sequence[Target], accounts: Collection[str]) -> None:
    """Refuse, with `ConfigError`, targets that cannot be, that share a place, or whose account is not configured."""
    _check_unique("target", [f'"{target.name}"' for target in targets])
    _check_unique("credential", [f"{target.credential_id} of {target.nexla}" for target in targets])
    _check_unique("token_file", [f'"{target.token_file}"' for target in targets if target.token_file])
    for target in targets:
        _check_target(target, accounts)


def _request(table: Table, target: str) -> TokenRequest:
    lifetime = parse_duration(table.take("lifetime", str, f"{DEFAULT_LIFETIME}s"), f'lifetime of target "{target}"')
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
