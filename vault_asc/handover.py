"""A new key that its sender has response-wrapped: all that can be refused is refused before the one unwrap there is.

`ready` asks everything of the store that a command will need, without the key; `HandOver.look` compares where the token
comes from; `HandOver.take` uses it up, and what fails from then on costs the sender another wrapping (`used_up`).
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from vault_asc.errors import ConflictError, PrivateKeyError, VaultAscError
from vault_asc.key.fields import Found, find_key
from vault_asc.names import Custody
from vault_asc.placement import Placement
from vault_asc.record import StoredRecord
from vault_asc.secret import Secret
from vault_asc.store import Store
from vault_asc.vault import (
    NO_METADATA,
    WRAP,
    Advice,
    KvMetadata,
    Vault,
    WrappedResponse,
    Wrapping,
    WrappingTokenError,
)
from vault_asc.vault.capabilities import require_capabilities

_AGAIN: Final = "ask the sender to wrap the key again"


class Task(StrEnum):
    """What is to be done with the key once it is here."""

    IMPORT = "import"
    STAGE = "stage"
    ROTATE = "rotate"


@dataclass(frozen=True)
class HandOver:
    """One wrapping token and what the sender has said about it.

    Attributes:
        vault: where it can be unwrapped; as whom does not matter.
        token: the wrapping token.
        place: what messages call it, such as `the wrapping token in "FILE"`.
        creation_path: the API path whose answer the sender has wrapped.
    """

    vault: Vault
    token: Secret
    place: str
    creation_path: str = WRAP

    def look(self) -> Wrapping:
        """When and where it was wrapped. Refuses, without using it up, a token that is no good or from elsewhere."""
        with self._alive():
            found = WrappedResponse(self.vault, self.token).look()
        if found.creation_path != self.creation_path:
            raise PrivateKeyError(
                f'{self.place} was made at "{found.creation_path}", not at "{self.creation_path}"; it was not unwrapped:'
                " somebody may have unwrapped it before and wrapped something else",
                hint="ask the sender, not by the way the token came, where and when it was wrapped; only if it was there:"
                f" --creation-path {found.creation_path}",
            )
        return found

    def take(self, field: str | None) -> Found:
        """Unwrap it, and find the key as in a secret of KV. The token is used up by that, whatever it brings."""
        with self._alive():
            answer = WrappedResponse(self.vault, self.token).unwrap()
        with used_up(self.place, _AGAIN):
            return find_key(_fields(answer), "what was wrapped", field)

    @contextmanager
    def _alive(self) -> Iterator[None]:
        try:
            yield
        except WrappingTokenError as exc:
            raise PrivateKeyError(
                f"{self.place} is used up, expired or unknown, nothing was imported",
                hint="if it has not expired and you have not used it, somebody else has the key: revoke it at Apple,"
                " search the audit log for sys/wrapping/unwrap, and ask for a new key",
            ) from exc


@contextmanager
def used_up(place: str, way_out: str) -> Iterator[None]:
    """Errors from within say that the wrapping token cannot be used again, and what to do about that."""
    try:
        yield
    except VaultAscError as error:
        error.message = f"{error.message}; {place} is used up now"
        error.hint = f"{error.hint}; {way_out}" if error.hint else way_out
        raise


def lost_unless_stored(name: str) -> str:
    """The way out when a write has failed: a part of the writes may have been made."""
    return f"then {_AGAIN}, unless the new key is there (vault-asc key show {name})"


def _fields(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    """The fields of the secret: of what was wrapped as it is, or of a wrapped reading of KV version 2."""
    data = answer.get("data")
    return data if isinstance(data, dict) and isinstance(answer.get("metadata"), dict) else answer


# -- before the unwrap -----------------------------------------------------------------------------------------------


def ready(
    store: Store,
    name: str,
    task: Task,
    advice: Advice,
    *,
    custody: Custody = Custody.KV,
    escrow: bool = True,
    role: str | None = None,
    untouched: str = "the wrapping token was not used",
) -> None:
    """Refuse now what the command would refuse later: nothing is written, no key is needed.

    Custody and escrow are those of the record, except for an import. Whether the key itself fits (a key ID that is
    taken, the key that is current already) only shows when it is there.

    Args:
        store: where the key is to go.
        name: its name.
        task: what is to be done with it.
        advice: for the hint when the token lacks a right.
        custody: how an imported key is to be kept.
        escrow: whether an imported key in custody transit is to have a private part.
        role: in custody engine, by which tokens of an imported key are to be read; by default its name.
        untouched: what is safe when the token lacks a right.
    """
    store.vault.require_kv2(store.layout.mount)
    placement = Placement(store)
    stored = store.find(name) if task is Task.IMPORT else store.read(name)
    if task is not Task.IMPORT and stored is not None:
        custody, escrow, role = stored.record.custody, stored.record.private_version is not None, stored.record.role
    elif stored is not None:
        raise _taken(stored)
    else:
        placement.refuse_planned_deletion(store.layout.record(name), store.record_metadata(name))
    placement.check(name, custody=custody, escrow=escrow, stored=stored, role=role)
    writes = [*_versions(store, name, custody, escrow=escrow), *_facts(store, name, task)]
    if custody is Custody.ENGINE:
        writes += _in_engine(store, name, task, role or name)
    require_capabilities(store.vault, writes, untouched, advice)


def _taken(stored: StoredRecord) -> ConflictError:
    record = stored.record
    return ConflictError(
        f'key "{stored.name}" exists: key ID {record.identity.key_id}, imported by {record.imported_by} at'
        f" {record.imported_at}; the wrapping token was not used",
        hint=f"to replace it: vault-asc key rotate {stored.name} --wrapped FILE; whether the wrapped key is the same only"
        " shows when it is unwrapped",
    )


def _versions(store: Store, name: str, custody: Custody, *, escrow: bool) -> Iterator[tuple[str, str]]:
    """Path and capability of every write that puts a version into KV or Transit."""
    layout = store.layout
    if custody is Custody.KV or (custody is Custody.TRANSIT and escrow):
        yield _write(layout.mount, layout.private(name), store.private_metadata(name))
    if custody is Custody.TRANSIT:
        key = f"{layout.transit_mount}/keys/{layout.transit(name)}"
        yield f"{layout.transit_mount}/wrapping_key", "read"
        yield f"{key}/import" if store.transit.find(layout.transit(name)) is None else f"{key}/import_version", "update"


def _in_engine(store: Store, name: str, task: Task, role: str) -> Iterator[tuple[str, str]]:
    """The same for the engine: an import makes a role and lets the key sign, a rotation promotes."""
    mount = store.layout.engine_mount
    key = f"{mount}/keys/{name}"
    there = store.engine.find(name)
    yield (f"{key}/stage", "update") if there else (key, "create")
    if task is Task.IMPORT and store.engine.key_of_role(role) is None:
        yield f"{mount}/roles/{role}", "create"
    if task is Task.IMPORT and not (there and there.enabled):
        yield f"{key}/enable", "update"
    if there and task is Task.ROTATE:
        yield f"{key}/promote", "update"


def _facts(store: Store, name: str, task: Task) -> Iterator[tuple[str, str]]:
    """The same for note and record."""
    layout = store.layout
    if task is not Task.IMPORT:
        yield _write(layout.mount, layout.note(name), store.vault.kv_metadata(layout.mount, layout.note(name)))
    if task is not Task.STAGE:
        yield _write(layout.mount, layout.record(name), store.record_metadata(name))


def _write(mount: str, path: str, metadata: KvMetadata) -> tuple[str, str]:
    """KV asks for `create` where nothing was ever written, not even metadata."""
    return f"{mount}/data/{path}", "create" if metadata is NO_METADATA else "update"
