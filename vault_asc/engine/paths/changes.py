"""What every change of a key shares: one at a time, written whole, and answered with public facts."""

from collections.abc import Callable
from typing import Any

from vault_asc.engine.entries import KEYS, KeyEntry, KeyVersion, dump_key, load_key
from vault_asc.engine.mount import Mount
from vault_asc.engine.request import MissingError, Operation, Request, RequestError, Response
from vault_asc.engine.storage import Storage
from vault_asc.key.identity import usual_key_id


async def entry_of(storage: Storage, name: str) -> KeyEntry | None:
    """The key as it is stored, None when there is none."""
    value = await storage.get(KEYS + name)
    return None if value is None else load_key(value, name)


async def changed(mount: Mount, request: Request, name: str, change: Callable[[KeyEntry | None], KeyEntry]) -> Response:
    """Read the key, have it changed and write it, unless the change leaves it as it is."""
    async with mount.lock(KEYS + name):
        before = await entry_of(request.storage, name)
        entry = change(before)
        if entry != before:
            if before is not None and request.operation is Operation.CREATE:
                # There was no such key when the server asked, so it has not checked for the right to change one.
                raise RequestError(
                    f'key "{name}" was written by somebody else just now; nothing was written',
                    hint="read it, then repeat the request if it is still wanted",
                )
            await mount.put(request.storage, KEYS + name, dump_key(entry), seal_wrap=True)
    return Response({**public(entry), "changed": entry != before}, warnings=_warnings(before, entry))


async def existing_changed(
    mount: Mount, request: Request, name: str, change: Callable[[KeyEntry], KeyEntry]
) -> Response:
    """The same for a key that has to be there."""

    def existing(entry: KeyEntry | None) -> KeyEntry:
        if entry is None:
            raise MissingError(
                f'there is no key "{name}"', hint=f"write {request.mount_point}keys/{name} first, it makes the key"
            )
        return change(entry)

    return await changed(mount, request, name, existing)


def public(entry: KeyEntry) -> dict[str, Any]:
    """The facts of the current version, and of those beside it."""
    return {
        **_facts(entry.current),
        "enabled": entry.enabled,
        "settled": entry.settled,
        "owner": entry.owner,
        "previous": None if entry.previous is None else _facts(entry.previous),
        "staged": None if entry.staged is None else _facts(entry.staged),
    }


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
        "imported_by": version.imported_by,
    }


def _warnings(before: KeyEntry | None, entry: KeyEntry) -> tuple[str, ...]:
    found = [
        f'key ID "{version.identity.key_id}" does not look like Apple\'s (10 capital letters and digits)'
        for version in (entry.current, entry.staged)
        if version is not None and not usual_key_id(version.identity.key_id)
    ]
    dropped = None if before is None else before.staged
    if dropped is not None and dropped.number not in {version.number for version in entry.versions}:
        found.append(
            f'version {dropped.number} (key ID "{dropped.identity.key_id}") was staged and is dropped for good;'
            " stage its key again if it is still wanted"
        )
    return tuple(found)
