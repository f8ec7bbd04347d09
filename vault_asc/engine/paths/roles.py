"""`roles/<name>`: which key signs for whom, for which calls and how long."""

from typing import Any, Final

from vault_asc.engine.entries import KEYS, ROLES, Config, Role, dump_role
from vault_asc.engine.fields import Field, Kind, checked_name, shown, taken
from vault_asc.engine.mount import Mount
from vault_asc.engine.path import NAME, Path, writing
from vault_asc.engine.request import Operation, Request, RequestError, Response
from vault_asc.errors import TokenRequestError
from vault_asc.tokens import TokenRequest

_SHOWN_ENTRY: Final = 40  # characters of a scope entry that messages repeat


async def read(mount: Mount, request: Request, name: str) -> Response | None:
    """The role; a lifetime of 0 stands for the one that it has by default."""
    role = await mount.role(request.storage, name)
    if role is None:
        return None
    return Response(
        {
            **role._asdict(),
            "scope": list(role.scope),
            "lifetime": role.lifetime or 0,
            "max_lifetime": role.max_lifetime or 0,
        }
    )


async def names(_mount: Mount, request: Request, _name: str) -> Response | None:
    """The names of all roles."""
    found = await request.storage.list(ROLES)
    return Response({"keys": sorted(found)}) if found else None


async def write(mount: Mount, request: Request, name: str) -> None:
    """Make a role, or change what is given of it."""
    given = taken(request.data, FIELDS)
    place = ROLES + name
    async with mount.lock(place):
        before = await mount.role(request.storage, name)
        role = _changed(name, before, given)
        _check(role, await mount.config(request.storage))
        # Held until the role is written: nobody may delete the key in between.
        async with mount.lock(KEYS + role.key):
            if await request.storage.get(KEYS + role.key) is None:
                raise RequestError(
                    f'role "{name}" names key "{role.key}", which does not exist; nothing was written',
                    hint=f"write the key first: {request.mount_point}keys/{role.key}",
                )
            if role != before:
                await mount.put(request.storage, place, dump_role(role))


async def delete(mount: Mount, request: Request, name: str) -> None:
    """Remove a role; its tokens live on until they expire."""
    async with mount.lock(ROLES + name):
        await mount.delete(request.storage, ROLES + name)


def scope_of(given: tuple[str, ...]) -> tuple[str, ...]:
    """A scope, every entry of which Apple takes; messages repeat no more of an entry than of other values."""
    for number, entry in enumerate(given, 1):
        try:
            TokenRequest(scope=(entry,))
        except TokenRequestError as exc:
            if len(entry) <= _SHOWN_ENTRY:
                raise
            raise RequestError(
                f"scope entry {number} ({shown(entry).removeprefix('of ')}) is not one that Apple takes", hint=exc.hint
            ) from None  # the cause repeats more of it
    TokenRequest(scope=given)
    return given


def _changed(name: str, before: Role | None, given: dict[str, Any]) -> Role:
    if before is None and "key" not in given:
        raise RequestError(f'role "{name}" needs a key', hint="write key=<name of a key>")
    role = (before or Role("", ()))._replace(**given)
    checked_name(role.key, "key")
    return role._replace(
        scope=scope_of(role.scope), lifetime=role.lifetime or None, max_lifetime=role.max_lifetime or None
    )


def _check(role: Role, config: Config) -> None:
    """Refuse lifetimes that the configuration does not allow, or that contradict each other."""
    for field, lifetime in (("lifetime", role.lifetime), ("max_lifetime", role.max_lifetime)):
        if lifetime is None:
            continue
        TokenRequest(lifetime, backdate=config.backdate)
        if lifetime > config.max_lifetime:
            raise RequestError(
                f"the {field} of {lifetime} s is above this mount's maximum of {config.max_lifetime} s",
                hint="lower it, or raise max_lifetime in config",
            )
    if role.lifetime and role.max_lifetime and role.lifetime > role.max_lifetime:
        raise RequestError(
            f"the lifetime of {role.lifetime} s is above the role's maximum of {role.max_lifetime} s",
            hint="lower lifetime, or raise max_lifetime with it",
        )


FIELDS: Final = (
    Field("key", Kind.STRING, "Name of the key that signs. It must exist."),
    Field(
        "scope",
        Kind.STRINGS,
        'The calls that tokens are good for, such as "GET /v1/apps"; a list, or the field repeated. Empty: all that the key'
        " may.",
    ),
    Field("lifetime", Kind.SECONDS, "From iat to exp, when a reader asks for none. Default, and 0: that of config."),
    Field("max_lifetime", Kind.SECONDS, "What a reader may ask for. Default, and 0: lifetime, so nobody gets more."),
    Field(
        "lease",
        Kind.BOOLEAN,
        "Whether tokens are leased. Default true, which tells an Agent when to read again; false spares Vault the lease for"
        " readers in bulk.",
    ),
)
LIST: Final = Path("roles/", "The names of all roles.", "Names alone, sorted.", {Operation.LIST: names})
PATH: Final = Path(
    f"roles/{NAME}",
    "Which key signs for the readers of token/<role>, for which calls and how long.",
    "A write to a role that exists changes the fields that it names and keeps the others. A reader may ask for less than"
    " the role gives and never for more.",
    {Operation.READ: read, **writing(write), Operation.DELETE: delete},
    FIELDS,
    name_of="role",
    exists=lambda name: ROLES + name,
)
