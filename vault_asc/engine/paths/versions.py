"""`keys/<name>/stage`, `promote`, `rollback` and `retire`: which version of a key is current, and which are kept beside it.

A client that pins versions goes in this order and finds none missing: stage, promote, pin the new one, and retire when
nobody pins the old one any more; back it goes by pinning the old one, then rollback.
"""

from typing import Any, Final

from vault_asc.engine.entries import KEYS, KeyEntry, KeyVersion
from vault_asc.engine.fields import Field, Kind, shown, taken
from vault_asc.engine.mount import Mount
from vault_asc.engine.path import NAME, Path, writing
from vault_asc.engine.paths.changes import existing_changed
from vault_asc.engine.paths.given import FIELDS, Given, check_new_id, given_key
from vault_asc.engine.request import Request, RequestError, Response
from vault_asc.errors import PrivateKeyError
from vault_asc.key.fingerprint import parse_fingerprint


async def stage(mount: Mount, request: Request, name: str) -> Response:
    """Put a key beside the current one; the same again changes nothing."""
    given = given_key(mount, request, FIELDS)
    return await existing_changed(mount, request, name, lambda entry: _staged(name, entry, given))


async def promote(mount: Mount, request: Request, name: str) -> Response:
    """Make the staged version current; repeated for that version, it changes nothing."""
    wanted = taken(request.data, PROMOTE_FIELDS)
    if "fingerprint" in wanted:
        wanted["fingerprint"] = _fingerprint(wanted["fingerprint"])
    return await existing_changed(mount, request, name, lambda entry: _promoted(name, entry, wanted))


async def roll_back(mount: Mount, request: Request, name: str) -> Response:
    """Make the previous version current; repeated, it changes nothing."""
    to = taken(request.data, ROLLBACK_FIELDS).get("version")
    return await existing_changed(mount, request, name, lambda entry: _rolled_back(name, entry, to))


async def retire(mount: Mount, request: Request, name: str) -> Response:
    """Forget the version before the current one; repeated, it changes nothing."""
    believed = taken(request.data, RETIRE_FIELDS).get("version")
    return await existing_changed(mount, request, name, lambda entry: _retired(name, entry, believed))


def _staged(name: str, entry: KeyEntry, given: Given) -> KeyEntry:
    if given.key is None:
        raise RequestError(
            f'a version of key "{name}" needs a private key, nothing was staged',
            hint="write private_key=@AuthKey_<key ID>.p8, the file as Apple gave it",
        )
    if given.key.spki_sha256 == entry.current.spki_sha256:
        raise RequestError(
            f'the key given for "{name}" is the current key already, nothing was staged',
            hint="stage the new .p8 file; to correct the IDs of the current key, write keys/<name>",
        )
    waiting = entry.staged
    if waiting is None or waiting.spki_sha256 != given.key.spki_sha256:
        who = given.identity(entry.current.identity)
    elif (who := given.identity(waiting.identity)) == waiting.identity:
        return entry
    check_new_id(name, who, entry.current)
    number = entry.latest + 1
    return entry._replace(staged=given.version(number, given.key, who), latest=number, rolled_back=False)


def _promoted(name: str, entry: KeyEntry, wanted: dict[str, Any]) -> KeyEntry:
    staged = entry.staged
    if staged is not None and _fits(staged, wanted):
        return entry._replace(current=staged, previous=entry.current, staged=None, rolled_back=False)
    if wanted and _fits(entry.current, wanted):
        return entry
    if staged is None:
        raise RequestError(
            f'nothing is staged for key "{name}", the current key stays',
            hint="stage the new key first: write keys/<name>/stage",
        )
    facts = _facts(staged)
    other = " and ".join(field.replace("_id", " ID") for field in wanted if wanted[field] != facts[field])
    raise RequestError(
        f'the staged version of key "{name}" has another {other} than the one given, the current key stays',
        hint=f"staged is version {staged.number}, key ID {shown(staged.identity.key_id)}, SHA256:{staged.spki_sha256};"
        f" by {shown(staged.imported_by)} at {staged.imported_at}",
    )


def _rolled_back(name: str, entry: KeyEntry, to: int | None) -> KeyEntry:
    """To the older version, not simply to the other: clients repeat a request whose answer was lost."""
    current, previous, staged = entry.current, entry.previous, entry.staged
    if to == current.number or (to is None and entry.rolled_back):
        return entry
    if staged is not None and to == staged.number:
        raise RequestError(
            f'version {to} of key "{name}" is staged, the current key stays',
            hint=f"promote it: write keys/<name>/promote version={to}",
        )
    if previous is None:
        raise RequestError(
            f'key "{name}" has no previous version, the current key stays', hint="write the key that it should be"
        )
    if to not in {None, previous.number}:
        raise RequestError(
            f'version {to} of key "{name}" is not kept, the current key stays',
            hint=f"kept are {current.number} (current) and {previous.number}",
        )
    return entry._replace(current=previous, previous=None, staged=current, rolled_back=True)


def _retired(name: str, entry: KeyEntry, believed: int | None) -> KeyEntry:
    if believed not in {None, entry.current.number}:
        raise RequestError(
            f'version {believed} of key "{name}" is not the current one, nothing was retired',
            hint=f"current is version {entry.current.number}: somebody has changed the key since you read it",
        )
    return entry._replace(previous=None)


def _fits(version: KeyVersion, wanted: dict[str, Any]) -> bool:
    facts = _facts(version)
    return all(facts[field] == value for field, value in wanted.items())


def _facts(version: KeyVersion) -> dict[str, Any]:
    """What a promotion can name a version by."""
    return {"version": version.number, "fingerprint": version.spki_sha256, "key_id": version.identity.key_id}


def _fingerprint(given: str) -> str:
    try:
        return parse_fingerprint(given)
    except PrivateKeyError:
        raise RequestError(
            f"the fingerprint {shown(given)} is none, nothing was changed",
            hint="give the whole spki_sha256 of the staged version: 64 hexadecimal digits, with or without SHA256:",
        ) from None  # the cause repeats more of it


PROMOTE_FIELDS: Final = (
    Field("version", Kind.NUMBER, "The number that the staged version must have."),
    Field(
        "fingerprint",
        Kind.STRING,
        "The spki_sha256 that the staged version must have: 64 hexadecimal digits, with or without SHA256:.",
    ),
    Field("key_id", Kind.STRING, "The key ID that the staged version must have."),
)
ROLLBACK_FIELDS: Final = (
    Field(
        "version", Kind.NUMBER, "The version to be current afterwards. Default: the previous one, and no other can be."
    ),
)
RETIRE_FIELDS: Final = (
    Field("version", Kind.NUMBER, "The version that is current, as far as you know. Refused when another one is."),
)
STAGE: Final = Path(
    f"keys/{NAME}/stage",
    "Puts a new key beside the current one, where nothing signs by it until it is promoted.",
    "The key becomes a version with a new number. It takes the place of the one that was staged before it, which is dropped"
    " for good. The same key again changes nothing; fields that are left out are those of the current key, but a new key"
    " needs its own key_id. The key must exist.",
    writing(stage),
    FIELDS,
    name_of="key",
    exists=lambda name: KEYS + name,
)
PROMOTE: Final = Path(
    f"keys/{NAME}/promote",
    "Makes the staged version of a key the current one.",
    "What was current is kept for keys/<name>/rollback, and for token/<role> with key_version; an older one is dropped for"
    " good. With fields it is refused when the staged version is another, and changes nothing when the version that they"
    " name is current already.",
    writing(promote),
    PROMOTE_FIELDS,
    name_of="key",
)
ROLLBACK: Final = Path(
    f"keys/{NAME}/rollback",
    "Makes the previous version of a key the current one.",
    "What was current is kept with its number and counts as staged: keys/<name>/promote goes forward again. A version that"
    " was staged before is dropped for good. Repeated, it changes nothing.",
    writing(roll_back),
    ROLLBACK_FIELDS,
    name_of="key",
)
RETIRE: Final = Path(
    f"keys/{NAME}/retire",
    "Forgets the version before the current one, for good.",
    "Its private key leaves storage and memory, so nothing signs by it any more, and there is no rollback. The current"
    " version and a staged one stay. Repeated, it changes nothing. Tokens that are out live on until they expire.",
    writing(retire),
    RETIRE_FIELDS,
    name_of="key",
)
