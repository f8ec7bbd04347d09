"""`keys/<name>`: private keys go in and never come out; every new one is a version, and the one before it is kept."""

import re
from typing import Final

from vault_asc.engine.entries import KEYS, ROLES, KeyEntry
from vault_asc.engine.fields import Field, Kind
from vault_asc.engine.mount import Mount
from vault_asc.engine.path import NAME, Path, writing
from vault_asc.engine.paths.changes import changed, entry_of, public
from vault_asc.engine.paths.given import FIELDS, Given, check_new_id, given_key
from vault_asc.engine.request import Operation, Request, RequestError, Response
from vault_asc.engine.storage import Storage
from vault_asc.names import is_path

_ROLES_SHOWN: Final = 5
_OWNER_MAX: Final = 200  # characters of mount and prefix
# How DER in base64 begins: a line of a key without a plus sign is a plain path, too.
_KEY_MATERIAL: Final = re.compile(r"M[A-Za-z0-9+/]{40}")


async def read(_mount: Mount, request: Request, name: str) -> Response | None:
    """The public facts of the key and of its other versions."""
    entry = await entry_of(request.storage, name)
    return None if entry is None else Response(public(entry))


async def names(_mount: Mount, request: Request, _name: str) -> Response | None:
    """The names of all keys."""
    found = await request.storage.list(KEYS)
    return Response({"keys": sorted(found)}) if found else None


async def write(mount: Mount, request: Request, name: str) -> Response:
    """Make the given key the current version; the same key again changes nothing."""
    given = given_key(mount, request, KEY_FIELDS)
    return await changed(mount, request, name, lambda before: _with(name, before, given))


async def delete(mount: Mount, request: Request, name: str) -> None:
    """Remove the key with all its versions, unless a role needs it."""
    async with mount.lock(KEYS + name):
        users = await _users(mount, request.storage, name)
        if users:
            more = f" and {len(users) - _ROLES_SHOWN} more" if len(users) > _ROLES_SHOWN else ""
            shown = ", ".join(f'"{user}"' for user in users[:_ROLES_SHOWN])
            raise RequestError(
                f'key "{name}" is used by {"role" if len(users) == 1 else "roles"} {shown}{more}; nothing was deleted',
                hint="delete the roles first, or point them to another key",
            )
        await mount.delete(request.storage, KEYS + name)


def _with(name: str, before: KeyEntry | None, given: Given) -> KeyEntry:
    """The entry after a write: the one before when it is that key already."""
    if before is None:
        if given.key is None:
            raise RequestError(
                f'key "{name}" needs a private key',
                hint="write private_key=@AuthKey_<key ID>.p8, the file as Apple gave it",
            )
        owner, enabled = _owner(given), given.ids.get("enabled", True)
        first = given.version(1, given.key, given.identity(None))
        return KeyEntry(first, None, None, 1, enabled=enabled, settled=enabled, owner=owner)
    _refuse_settings(name, before, given)
    current, number = before.current, before.latest + 1
    who = given.identity(current.identity)
    if given.key is not None and given.key.spki_sha256 != current.spki_sha256:
        check_new_id(name, who, current)
        new = given.version(number, given.key, who)
    elif who != current.identity:
        new = current._replace(number=number, identity=who, imported_at=given.at, imported_by=given.by)
    else:
        return before
    return before._replace(current=new, previous=current, staged=None, latest=number, rolled_back=False)


def _owner(given: Given) -> str:
    """Not repeated in messages: a key may stand in the wrong field."""
    owner: str = given.ids.get("owner", "")
    if owner and (len(owner) > _OWNER_MAX or not is_path(owner) or _KEY_MATERIAL.match(owner)):
        raise RequestError("the owner is no plain path", hint="write mount and prefix of the store, such as secret/asc")
    return owner


def _refuse_settings(name: str, before: KeyEntry, given: Given) -> None:
    """Refuse what is set when a key is made, and not by the way later."""
    if given.ids.get("owner", before.owner) != before.owner:
        raise RequestError(
            f'key "{name}" has another owner than that, nothing was written',
            hint=f"it is of the store {before.owner}" if before.owner else "it was made without an owner",
        )
    if given.ids.get("enabled", before.enabled) != before.enabled:
        raise RequestError(
            f'key "{name}" is {"enabled" if before.enabled else "disabled"}, nothing was written',
            hint="write keys/<name>/enable or keys/<name>/disable",
        )


async def _users(mount: Mount, storage: Storage, name: str) -> list[str]:
    """The roles that use a key. One that cannot be read is an error: it may be one of them."""
    users = []
    for role_name in sorted(await storage.list(ROLES)):
        role = await mount.role(storage, role_name)
        if role is not None and role.key == name:
            users.append(role_name)
    return users


KEY_FIELDS: Final = (
    *FIELDS,
    Field("owner", Kind.STRING, "Of a new key: whose it is, for people and tools: mount and prefix of its record."),
    Field(
        "enabled", Kind.BOOLEAN, "Of a new key: false, and it signs for nobody until keys/<name>/enable. Default true."
    ),
)
LIST: Final = Path("keys/", "The names of all keys.", "Names alone, sorted.", {Operation.LIST: names})
PATH: Final = Path(
    f"keys/{NAME}",
    "The private key of an App Store Connect API key; it can be written and never read.",
    "Reading gives public facts alone: of the current version, of the one before it (previous) and of the one that waits to"
    " become current (staged). Writing another key makes it current at once, as a version with a new number; it keeps the"
    " one before it for keys/<name>/rollback, and drops an older and a staged one for good. To put a key beside the current"
    " one first, write keys/<name>/stage. Fields that are left out stay as they are; the same key again changes nothing. A"
    " key that a role uses cannot be deleted. Tokens that are out live on until they expire.",
    {Operation.READ: read, **writing(write), Operation.DELETE: delete},
    KEY_FIELDS,
    name_of="key",
    exists=lambda name: KEYS + name,
)
