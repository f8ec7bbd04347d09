"""`token/<role>`: a token by a role, with a lease that ends in time for the next one."""

from typing import Any, Final

from vault_asc.engine.entries import Config, Role
from vault_asc.engine.fields import Field, Kind, taken
from vault_asc.engine.mount import Mount
from vault_asc.engine.path import NAME, Path
from vault_asc.engine.paths.roles import scope_of
from vault_asc.engine.request import Lease, MissingError, Operation, Request, RequestError, Response
from vault_asc.tokens import TokenRequest, mint


async def read(mount: Mount, request: Request, name: str) -> Response:
    """Mint. What is remembered is not read again, so in general this touches no storage."""
    role = await mount.role(request.storage, name)
    if role is None:
        raise MissingError(f'there is no role "{name}"', hint=f"the roles: list {request.mount_point}roles")
    config = await mount.config(request.storage)
    asked = taken(request.data, FIELDS) if request.data else {}
    number = asked.get("key_version")
    if number is None:
        signing = await mount.signing_key(request.storage, role.key)
    else:
        signing = await mount.signing_version(request.storage, role.key, number)
    if signing is None:
        raise MissingError(
            f'role "{name}" names key "{role.key}", which does not exist',
            hint=f"write the key: {request.mount_point}keys/{role.key}",
        )
    if not signing.enabled:
        raise RequestError(
            f'key "{role.key}" is disabled',
            hint=f"if that is over: vault-asc key enable {role.key}; without a record:"
            f" vault write -f {request.mount_point}keys/{role.key}/enable",
        )
    wanted = narrowed(name, role, config, asked)
    token = mint(signing.identity, wanted, signing.key, mount.clock())
    value = token.value.reveal()
    return Response(
        {
            "token": value,
            "key_id": token.key_id,
            "key_version": signing.number,
            "expires_at": token.expires_at,
            "scope": list(token.scope),
            "header": f"Authorization: Bearer {value}",
        },
        Lease(wanted.usable_life * config.lease_share, {"role": name}) if role.lease else None,
    )


def narrowed(name: str, role: Role, config: Config, asked: dict[str, Any]) -> TokenRequest:
    """What a role gives to somebody who asks for this; `RequestError` when that is more than the role gives."""
    most = min(role.max_lifetime or role.lifetime or config.lifetime, config.max_lifetime)
    lifetime = asked.get("lifetime", min(role.lifetime or config.lifetime, most))
    if lifetime > most:
        raise RequestError(
            f'a lifetime of {lifetime} s is more than role "{name}" gives', hint=f"ask for at most {most}s"
        )
    scope = _narrowed_scope(name, role, asked["scope"]) if "scope" in asked else role.scope
    return TokenRequest(lifetime, scope, config.backdate)


def _narrowed_scope(name: str, role: Role, asked: tuple[str, ...]) -> tuple[str, ...]:
    if not asked:  # it would be all that the key may
        raise RequestError("the scope is empty, which never narrows", hint="leave it out to get the role's")
    scope_of(asked)
    if role.scope and not set(asked) <= set(role.scope):
        raise RequestError(
            f'the scope holds a call that role "{name}" does not give', hint="ask for entries of the role's scope alone"
        )
    return asked


FIELDS: Final = (
    Field("lifetime", Kind.SECONDS, "From iat to exp. Less than the role's, or up to its max_lifetime."),
    Field("scope", Kind.STRINGS, "Some of the calls of the role; any, where the role names none."),
    Field(
        "key_version",
        Kind.NUMBER,
        "Sign by exactly this version of the key: the current one, or the one before it while it is kept. Anything else is"
        " a 404, so a caller who has pinned a version never gets a token of another. Default: the current one.",
    ),
)
PATH: Final = Path(
    f"token/{NAME}",
    "A token for the App Store Connect API.",
    "Answers token, key_id, key_version, expires_at (Unix seconds), scope, and header, which is a whole header line for `curl -H`. The"
    " lease lasts half of the token's usable life (lease_share in config) and is not renewable: read again when it ends."
    " Apple knows no revocation of a token: revoking the lease ends the lease alone, the token works until it expires. To"
    " end all tokens of a key, revoke the key at Apple.",
    {Operation.READ: read, Operation.UPDATE: read, Operation.CREATE: read},
    FIELDS,
    name_of="role",
)
