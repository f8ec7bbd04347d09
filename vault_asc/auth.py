"""How `vault-asc run` logs in to Vault by itself: the `[vault.auth]` table, with its defaults. Light; no secret in it."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from vault_asc.errors import ConfigError
from vault_asc.names import check_path
from vault_asc.secret import safe_text
from vault_asc.toml_table import Table

SERVICE_ACCOUNT_TOKEN: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")


class AppRoleAuth(NamedTuple):
    """Login by AppRole.

    Attributes:
        mount: of the auth method, below `auth/`.
        role_id_file: read anew for each login.
        secret_id_file: likewise.
        secret_id_wrapping_path: where the secret ID was made, when the file holds a wrapping token in place of it.
    """

    mount: str = "approle"
    role_id_file: Path = Path("/etc/vault-asc/role_id")
    secret_id_file: Path = Path("/etc/vault-asc/secret_id")
    secret_id_wrapping_path: str | None = None


class JWTAuth(NamedTuple):
    """Login by a signed identity that the platform gives: kubernetes and jwt, which take the same.

    Attributes:
        mount: of the auth method, below `auth/`.
        role: at the auth method.
        jwt_file: read anew for each login.
    """

    mount: str
    role: str
    jwt_file: Path


AuthSettings = AppRoleAuth | JWTAuth

_APPROLE: Final = AppRoleAuth()


def parse_auth(table: Table) -> AuthSettings:
    """The `[vault.auth]` table."""
    method = table.required("method", str)
    if method not in _AUTH:
        known = ", ".join(f'"{name}"' for name in _AUTH)
        raise ConfigError(
            f'method "{safe_text(method)}" in {table.where} is not known',
            hint=f"write one of {known}; for any other let Vault Agent log in, and give its socket as the address",
        )
    mount = check_path(table.take("mount", str, method), "vault.auth.mount")
    settings = _AUTH[method](table, mount)
    table.done()
    return settings


def _approle(table: Table, mount: str) -> AppRoleAuth:
    wrapped = table.take("secret_id_wrapping_path", str, None)
    return AppRoleAuth(
        mount,
        table.path("role_id_file") or _APPROLE.role_id_file,
        table.path("secret_id_file") or _APPROLE.secret_id_file,
        None if wrapped is None else check_path(wrapped, "vault.auth.secret_id_wrapping_path"),
    )


def _by_jwt(table: Table, mount: str) -> JWTAuth:
    role = _role(table)
    file = table.path("jwt_file")
    if file is None:
        raise ConfigError(
            f"jwt_file is missing in {table.where}", hint="name the file that the platform keeps a signed JWT in"
        )
    return JWTAuth(mount, role, file)


def _kubernetes(table: Table, mount: str) -> JWTAuth:
    return JWTAuth(mount, _role(table), table.path("jwt_file") or SERVICE_ACCOUNT_TOKEN)


def _role(table: Table) -> str:
    return check_path(table.required("role", str), "vault.auth.role")


_AUTH: Final[Mapping[str, Callable[[Table, str], AuthSettings]]] = {
    "approle": _approle,
    "kubernetes": _kubernetes,
    "jwt": _by_jwt,
}
