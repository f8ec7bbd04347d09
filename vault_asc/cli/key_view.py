"""How keys are printed: the row of a list, the facts of one key, what a command has changed."""

from typing import TYPE_CHECKING, Final

import click

from vault_asc.cli.output import facts, on_one_line
from vault_asc.clock import iso
from vault_asc.errors import PermissionDeniedError, VaultError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vault_asc.lifecycle import Change
    from vault_asc.record import Note, StoredRecord
    from vault_asc.vault import KvMetadata, KvVersion

HEADER: Final = ("NAME", "STATE", "CUSTODY", "KEY ID", "TYPE", "VERSION", "IMPORTED")
"""Columns of a list of keys."""


def tell(change: "Change", done: str, not_done: str) -> None:
    """What a command did, and the key that is current now."""
    record = change.stored.record
    click.echo(done if change.changed else not_done)
    facts(
        [
            ("key ID", record.identity.key_id),
            ("fingerprint", f"SHA256:{record.spki_sha256}"),
            ("private version", str(record.private_version)),
        ]
    )


def tell_superseded(notes: "Sequence[Note]") -> None:
    """Whose staged version is not the one to be promoted any more."""
    for note in notes:
        click.echo(f"  replaces what {on_one_line(note.staged_by)} staged at {note.staged_at} (key ID {note.key_id})")


def old_key_hint(change: "Change") -> None:
    """When the key that was current before may be revoked at Apple."""
    from vault_asc.tokens import MAX_LIFETIME

    if change.changed:
        click.echo(
            f"  tokens of the old key may live for {MAX_LIFETIME // 60} minutes from now; then revoke it at Apple"
        )


def public(name: str, stored: "StoredRecord | VaultError") -> dict[str, object]:
    """A record for JSON, or what is wrong with it."""
    if isinstance(stored, VaultError):
        return {"name": name, "state": _problem(stored), "problem": stored.message}
    return {
        "name": name,
        **stored.record.dump(),
        "record_version": stored.version,
        "written_at": stored.written_at,
    }


def row(name: str, stored: "StoredRecord | VaultError") -> tuple[str, ...]:
    """The cells of a key below `HEADER`."""
    if isinstance(stored, VaultError):
        return (name, _problem(stored), *["-"] * (len(HEADER) - 2))
    record = stored.record
    return (
        name,
        str(record.state),
        str(record.custody),
        record.identity.key_id,
        str(record.identity.key_type),
        str(record.private_version),
        f"{record.imported_at} by {record.imported_by}",
    )


def record_facts(stored: "StoredRecord") -> list[tuple[str, str]]:
    """Everything that a record says."""
    record, identity = stored.record, stored.record.identity
    return [
        ("state", str(record.state)),
        ("custody", str(record.custody)),
        ("key ID", identity.key_id),
        ("issuer ID", identity.issuer_id or "none (individual key)"),
        ("audience", identity.audience),
        ("fingerprint", f"SHA256:{record.spki_sha256}"),
        ("private version", str(record.private_version)),
        ("imported", f"{record.imported_at} by {record.imported_by}"),
        ("record version", f"{stored.version}, written {stored.written_at} by {record.changed_by}"),
    ]


def version_facts(
    stored: "StoredRecord", private: "KvMetadata", note: "Note | None", now: float
) -> list[tuple[str, str]]:
    """One line per private version: what it is, and for what waits, how to go on; `now` in Unix seconds."""
    current = stored.record.private_version or 0
    lines = {
        number: f"{version.created_time}  {_described(stored, number, version, note, iso(now))}"
        for number, version in private.versions.items()
    }
    if current:
        lines.setdefault(current, "current, but gone (pruned, or removed with all versions): nothing can be minted")
    return [(f"version {number}", text) for number, text in sorted(lines.items())]


def _described(stored: "StoredRecord", number: int, version: "KvVersion", note: "Note | None", now: str) -> str:
    current = stored.record.private_version or 0
    planned = not version.destroyed and version.deletion_time > now
    gone = "destroyed" if version.destroyed else f"{'to be ' if planned else ''}deleted {version.deletion_time}"
    if number == current and not version.readable:
        return f"current, but {gone}" if planned else f"current, but gone ({gone}): nothing can be minted"
    if number == current:
        return "current"
    if not version.readable:
        return gone
    if number < current:
        return "kept"
    if note is None or note.private_version != number:
        return "of unknown origin (an interrupted command, or somebody else); not used by anything"
    return (
        f"staged {note.staged_at} by {note.staged_by}: key ID {note.key_id}, SHA256:{note.spki_sha256};"
        f" make it current: vault-asc key promote {stored.name}"
    )


def _problem(error: VaultError) -> str:
    """A word for the STATE column: `deleted`, `destroyed`, `missing`, `denied` or `unreadable`."""
    if isinstance(error, PermissionDeniedError):
        return "denied"
    return str(getattr(error, "state", "unreadable"))
