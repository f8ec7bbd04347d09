"""`keys/<name>`: private keys go in and never come out; every new one is a version, and the one before it is kept."""

from typing import Any, Final

from vault_asc.clock import iso
from vault_asc.engine.entries import KEYS, ROLES, KeyEntry, KeyVersion, dump_key, load_key
from vault_asc.engine.fields import Field, Kind, taken
from vault_asc.engine.mount import Mount
from vault_asc.engine.path import NAME, Path, writing
from vault_asc.engine.request import MissingError, Operation, Request, RequestError, Response
from vault_asc.engine.storage import Storage
from vault_asc.key.identity import (
    APP_STORE_CONNECT,
    AUDIENCES,
    ENTERPRISE,
    Identity,
    KeyType,
    identity,
    usual_key_id,
)
from vault_asc.key.private_key import PrivateKey, parse_private_key

_ROLES_SHOWN: Final = 5
_KEY_ID_MAX: Final = 40  # characters; Apple's have 10, a line of a key has 64


async def read(_mount: Mount, request: Request, name: str) -> Response | None:
    """The public facts of the key and of its previous version."""
    entry = await _entry(request.storage, name)
    return None if entry is None else Response(_public(entry))


async def names(_mount: Mount, request: Request, _name: str) -> Response | None:
    """The names of all keys."""
    found = await request.storage.list(KEYS)
    return Response({"keys": sorted(found)}) if found else None


async def write(mount: Mount, request: Request, name: str) -> Response:
    """Make the given key the current version; the same key again changes nothing."""
    given = taken(request.data, FIELDS)
    pem = given.get("private_key")
    # A lone surrogate, which JSON can hold, is refused by the parser like every other character that is not ASCII.
    key = None if pem is None else parse_private_key(pem.encode("utf-8", "surrogatepass"))
    async with mount.lock(KEYS + name):
        before = await _entry(request.storage, name)
        entry = _with(name, before, key, given, mount.clock())
        if entry != before:
            await mount.put(request.storage, KEYS + name, dump_key(entry), seal_wrap=True)
    return _told(entry, changed=entry != before)


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


async def roll_back(mount: Mount, request: Request, name: str) -> Response:
    """Make the previous version current; repeated, it changes nothing."""
    to = taken(request.data, ROLLBACK_FIELDS).get("version")
    async with mount.lock(KEYS + name):
        before = await _entry(request.storage, name)
        if before is None:
            raise MissingError(f'there is no key "{name}"', hint=f"the keys: list {request.mount_point}keys")
        entry = _rolled_back(name, before, to)
        if entry != before:
            await mount.put(request.storage, KEYS + name, dump_key(entry), seal_wrap=True)
    return _told(entry, changed=entry != before)


def _rolled_back(name: str, entry: KeyEntry, to: int | None) -> KeyEntry:
    """The older one of the two by default, not simply the other: clients repeat a request whose answer was lost."""
    current, previous = entry.current, entry.previous
    if to == current.number:
        return entry
    if previous is None:
        raise RequestError(
            f'key "{name}" has no previous version, the current key stays', hint="write the key that it should be"
        )
    if to not in {None, previous.number}:
        raise RequestError(
            f'version {to} of key "{name}" is not kept, the current key stays',
            hint=f"kept are {current.number} (current) and {previous.number}",
        )
    if to is None and current.number < previous.number:
        return entry
    return KeyEntry(previous, current, entry.latest)


def _with(name: str, before: KeyEntry | None, key: PrivateKey | None, given: dict[str, Any], now: float) -> KeyEntry:
    """The entry after a write: the one before when it is that key already."""
    if before is None:
        if key is None:
            raise RequestError(
                f'key "{name}" needs a private key',
                hint="write private_key=@AuthKey_<key ID>.p8, the file as Apple gave it",
            )
        return KeyEntry(_version(1, key, _identity(given, None), now), None, 1)
    current, number = before.current, before.latest + 1
    who = _identity(given, current.identity)
    if key is None or key.spki_sha256 == current.spki_sha256:
        if who == current.identity:
            return before
        return KeyEntry(current._replace(number=number, identity=who, imported_at=iso(now)), current, number)
    if who.key_id == current.identity.key_id:
        raise RequestError(
            f'key ID "{who.key_id}" is that of the current key of "{name}", but the key differs; nothing was written',
            hint="a new key has a new key ID: name it with key_id",
        )
    return KeyEntry(_version(number, key, who, now), current, number)


def _identity(given: dict[str, Any], current: Identity | None) -> Identity:
    """Who the key is: what is given, and for the rest what the version before it was."""
    issuer = given.get("issuer_id")
    inherited = current is not None and current.key_type is KeyType.INDIVIDUAL and not issuer
    individual = given.get("individual", inherited)
    if not issuer and not individual and current is not None:
        issuer = current.issuer_id
    return identity(
        key_id=_short(given.get("key_id") or ("" if current is None else current.key_id)),
        issuer_id=issuer,
        individual=individual,
        audience=_audience(given, APP_STORE_CONNECT if current is None else current.audience),
    )


def _short(key_id: str) -> str:
    """The ID itself, unless it may be a line of a key: IDs are read back and stand in every token."""
    if len(key_id) > _KEY_ID_MAX:
        raise RequestError(f"the key ID of {len(key_id)} characters is too long", hint="it is like 2X9R4HXF34")
    return key_id


def _audience(given: dict[str, Any], otherwise: str) -> str:
    if "enterprise" not in given:
        return str(given.get("audience") or otherwise)
    audience = ENTERPRISE if given["enterprise"] else APP_STORE_CONNECT
    if given.get("audience", audience) != audience:
        raise RequestError("audience and enterprise contradict each other", hint="leave one of the two out")
    return audience


def _version(number: int, key: PrivateKey, who: Identity, now: float) -> KeyVersion:
    return KeyVersion(number, key.pem, who, key.spki_sha256, key.public_key_pem(), iso(now))


async def _entry(storage: Storage, name: str) -> KeyEntry | None:
    value = await storage.get(KEYS + name)
    return None if value is None else load_key(value, name)


async def _users(mount: Mount, storage: Storage, name: str) -> list[str]:
    """The roles that use a key. One that cannot be read is an error: it may be one of them."""
    users = []
    for role_name in sorted(await storage.list(ROLES)):
        role = await mount.role(storage, role_name)
        if role is not None and role.key == name:
            users.append(role_name)
    return users


def _told(entry: KeyEntry, *, changed: bool) -> Response:
    key_id = entry.current.identity.key_id
    unusual = f'key ID "{key_id}" does not look like Apple\'s (10 capital letters and digits)'
    return Response({**_public(entry), "changed": changed}, warnings=() if usual_key_id(key_id) else (unusual,))


def _public(entry: KeyEntry) -> dict[str, Any]:
    return {**_facts(entry.current), "previous": None if entry.previous is None else _facts(entry.previous)}


def _facts(version: KeyVersion) -> dict[str, Any]:
    who = version.identity
    return {
        "version": version.number,
        "key_id": who.key_id,
        **({} if who.issuer_id is None else {"issuer_id": who.issuer_id}),
        "key_type": str(who.key_type),
        "audience": who.audience,
        "spki_sha256": version.spki_sha256,
        "public_key": version.public_key,
        "imported_at": version.imported_at,
    }


FIELDS: Final = (
    Field(
        "private_key",
        Kind.STRING,
        "The .p8 file as Apple gave it (private_key=@AuthKey_<key ID>.p8), or that in base64. Nothing ever reads it back.",
        secret=True,
    ),
    Field("key_id", Kind.STRING, "Apple's ID of the key, in the name of its file. A new key has a new one."),
    Field("issuer_id", Kind.STRING, "Issuer ID of a team key (App Store Connect, Users and Access, Integrations)."),
    Field("individual", Kind.BOOLEAN, "The key of one user, which has no issuer ID. Default false."),
    Field("audience", Kind.STRING, f"{' or '.join(AUDIENCES)}. Default {APP_STORE_CONNECT}."),
    Field("enterprise", Kind.BOOLEAN, f"The same as audience={ENTERPRISE}."),
)
ROLLBACK_FIELDS: Final = (
    Field(
        "version",
        Kind.NUMBER,
        "The version to be current afterwards, one of the two that are kept. Default: the older one.",
    ),
)
LIST: Final = Path("keys/", "The names of all keys.", "Names alone, sorted.", {Operation.LIST: names})
PATH: Final = Path(
    f"keys/{NAME}",
    "The private key of an App Store Connect API key; it can be written and never read.",
    "Reading gives public facts alone. Writing another key makes it version n+1 and keeps the one before it for"
    " keys/<name>/rollback; an older one is gone. Fields that are left out stay as they are; the same key again changes"
    " nothing. A key that a role uses cannot be deleted. Tokens that are out live on until they expire.",
    {Operation.READ: read, **writing(write), Operation.DELETE: delete},
    FIELDS,
    name_of="key",
    exists=lambda name: KEYS + name,
)
ROLLBACK: Final = Path(
    f"keys/{NAME}/rollback",
    "Makes the previous version of a key the current one.",
    "Both versions are kept, with their numbers. Repeated, it changes nothing; to go forward again, name the newer version.",
    writing(roll_back),
    ROLLBACK_FIELDS,
    name_of="key",
)
