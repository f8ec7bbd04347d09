"""What commands of key owners refuse by the record alone: a key that is there already, or is there as another one. Pure."""

from vault_asc.errors import ConflictError, PrivateKeyError
from vault_asc.key.identity import Identity
from vault_asc.key.private_key import PrivateKey
from vault_asc.names import Custody
from vault_asc.record import Note, StoredRecord


def is_of(note: Note | None, key: PrivateKey, key_id: str) -> bool:
    """Whether a note tells of this key."""
    return note is not None and (note.key_id, note.spki_sha256) == (key_id, key.spki_sha256)


def refuse_current(stored: StoredRecord, key: PrivateKey, key_id: str) -> None:
    """Refuse to stage the current key, or another one under its key ID."""
    if stored.record.spki_sha256 == key.spki_sha256:
        if stored.record.identity.key_id != key_id:
            raise _other_ids(stored)
        raise PrivateKeyError(
            f'this is the current key of "{stored.name}" already, nothing was staged', hint="stage the new .p8 file"
        )
    if stored.record.identity.key_id == key_id:
        raise PrivateKeyError(
            f'key ID "{key_id}" is that of the current key of "{stored.name}", but the key differs',
            hint="a new key has a new key ID: name it with --key-id",
        )


def _other_ids(stored: StoredRecord) -> ConflictError:
    """For a key that is there with other IDs than those given: one of both is wrong, and nobody guesses which."""
    identity = stored.record.identity
    issuer = f"issuer ID {identity.issuer_id}" if identity.issuer_id else "as an individual key"
    return ConflictError(
        f'this key is recorded as "{stored.name}" with key ID {identity.key_id}, {issuer}, for {identity.audience};'
        " nothing was changed",
        hint="if the record is wrong, import the key under another name with the right IDs and point the targets to it",
    )


def refuse_other(
    present: StoredRecord, key: PrivateKey, identity: Identity, custody: Custody, *, escrow: bool, role: str | None
) -> None:
    """Refuse what is not the key that is there, kept as it is there."""
    name, record = present.name, present.record
    if record.spki_sha256 != key.spki_sha256:
        raise ConflictError(
            f'key "{name}" exists: key ID {record.identity.key_id}, imported by'
            f" {record.imported_by} at {record.imported_at}; nothing was changed",
            hint=f"to replace it: vault-asc key rotate {name} FILE; or choose another name",
        )
    if record.identity != identity:
        raise _other_ids(present)
    if record.custody is not custody:
        raise ConflictError(
            f'this key is "{name}" already, in custody {record.custody}; nothing was changed',
            hint=f"to change that: vault-asc key move {name} --custody {custody}",
        )
    if custody is Custody.TRANSIT and not escrow and record.private_version is not None:
        raise ConflictError(
            f'this key is "{name}" already, with escrow in KV; nothing was changed',
            hint=f"to remove the escrow: vault-asc key move {name} --finish --remove-copy",
        )
    refuse_other_role(present, role)


def refuse_other_role(stored: StoredRecord, role: str | None) -> None:
    """Refuse a role for a key that has one in the engine."""
    known = stored.record.role
    if role is not None and known not in {None, role}:
        raise ConflictError(
            f'tokens of "{stored.name}" are read by role "{known}" already; nothing was changed',
            hint=f"leave --role away; a further role: vault write ENGINE/roles/{role} key={stored.name}",
        )
