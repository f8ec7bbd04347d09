"""How keys are printed: the row of a list, the facts of one key, what a command has changed."""

from typing import TYPE_CHECKING, Final, NamedTuple

import click

from vault_asc.cli.output import facts, on_one_line
from vault_asc.clock import iso
from vault_asc.errors import PermissionDeniedError, VaultError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from vault_asc.pointing import Change
    from vault_asc.record import Note, Record, StoredRecord
    from vault_asc.vault import EngineKey, KvMetadata, KvVersion, TransitKey

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
            where_it_lies(record),
        ]
    )


def where_it_lies(record: "Record") -> tuple[str, str]:
    """The version that signs, in the words of its custody."""
    from vault_asc.record import VERSION_NAMES

    return VERSION_NAMES[record.custody], str(record.version)


def tell_superseded(notes: "Sequence[Note]") -> None:
    """Whose staged version is not the one to be promoted any more."""
    for note in notes:
        click.echo(f"  replaces what {on_one_line(note.staged_by)} staged at {note.staged_at} (key ID {note.key_id})")


def tell_plan(name: str, plan: "StoredRecord | None", key_id: str, spki_sha256: str) -> None:
    """What a rotation would do; `plan` is the record that it would replace, None for none."""
    if plan is None:
        click.echo(f'"{name}" is that key already, nothing would be changed')
        return
    record = plan.record
    click.echo(f'would rotate "{name}", nothing was written')
    facts(
        [
            ("from key ID", record.identity.key_id),
            ("to key ID", key_id),
            ("fingerprint", f"SHA256:{spki_sha256}"),
            ("custody", str(record.custody)),
            *_elsewhere(record),
        ]
    )


def old_key_hint(change: "Change", now: float) -> None:
    """What is left to do about the key that was current before, and when; `now` in Unix seconds."""
    from vault_asc.names import Custody
    from vault_asc.record import State
    from vault_asc.tokens import MAX_LIFETIME

    if change.before is None or not change.changed:
        return
    name, new = change.stored.name, change.stored.record
    old = change.before.record.identity.key_id
    minting = _still_minting(name, new)
    if minting:
        for line in minting:
            click.echo(f"  old key {old}: {line}")
        click.echo(f"  none of its tokens can be alive {MAX_LIFETIME // 60} minutes after that")
    else:
        click.echo(f"  old key {old}: none of its tokens can be alive after {iso(now + MAX_LIFETIME)}")
    click.echo(
        f"  revoke it at Apple after that, provided that `vault-asc status` shows {new.identity.key_id} on every host"
    )
    if new.custody is Custody.TRANSIT:
        click.echo(f"  then let its version sign no more: vault-asc key retire {name}")
    if new.state is State.DISABLED:
        click.echo(f"  the key is still disabled: vault-asc key enable {name}")


def _still_minting(name: str, new: "Record") -> list[str]:
    """Who can have tokens of the key before, past the record, until when."""
    from vault_asc.names import Custody

    lines = []
    if new.custody is Custody.ENGINE:
        lines.append(f"the engine gives its tokens to whoever asks for the version, until: vault-asc key retire {name}")
    places = ((Custody.ENGINE, new.role, "the engine by role"), (Custody.TRANSIT, new.transit_key, "Transit with key"))
    lines += [
        f'whoever may still sign in {what} "{where}" can mint with what lies there, until:'
        f" vault-asc key move {name} --finish --remove-copy"
        for custody, where, what in places
        if where is not None and custody is not new.custody
    ]
    return lines


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
        str(record.version),
        f"{record.imported_at} by {record.imported_by}",
    )


def record_facts(stored: "StoredRecord") -> list[tuple[str, str]]:
    """Everything that a record says."""
    record, identity = stored.record, stored.record.identity
    unfinished = f"; moved from {record.moved_from}, not finished: vault-asc key move {stored.name} --finish"
    return [
        ("state", str(record.state)),
        ("custody", f"{record.custody}{unfinished if record.moved_from else ''}"),
        ("key ID", identity.key_id),
        ("issuer ID", identity.issuer_id or "none (individual key)"),
        ("audience", identity.audience),
        ("fingerprint", f"SHA256:{record.spki_sha256}"),
        where_it_lies(record),
        *_elsewhere(record),
        ("imported", f"{record.imported_at} by {record.imported_by}"),
        ("record version", f"{stored.version}, written {stored.written_at} by {record.changed_by}"),
    ]


def _elsewhere(record: "Record") -> list[tuple[str, str]]:
    from vault_asc.names import Custody

    if record.custody is Custody.TRANSIT:
        escrow = f"private version {record.private_version}" if record.private_version else "none"
        here = [("key in Transit", str(record.transit_key)), ("escrow in KV", escrow)]
    elif record.custody is Custody.ENGINE:
        here = [("role", str(record.role))]
    else:
        here = []
    others = [("key in Transit", record.transit_key), ("role", record.role)]
    return [*here, *((what, f"{where}, not used") for what, where in others if where and what not in dict(here))]


class Known(NamedTuple):
    """What the lines about versions are made of.

    Attributes:
        stored: the current record.
        note: the note on what is staged.
        past: numbers of the versions that were current at some time, in the key's custody.
        now: Unix seconds.
    """

    stored: "StoredRecord"
    note: "Note | None"
    past: "Collection[int]"
    now: float


def transit_facts(known: Known, key: "TransitKey | None") -> list[tuple[str, str]]:
    """One line per Transit version: what it is, and for what waits, how to go on."""
    below = key.retired_below if key else 0
    lines = {number: _in_transit(known, number, below) for number in (key.public_keys if key else ())}
    lines.setdefault(known.stored.record.version, "current, but gone: nothing can be minted")
    return [(f"Transit version {number}", text) for number, text in sorted(lines.items())]


def _in_transit(known: Known, number: int, below: int) -> str:
    name, current, retired = known.stored.name, known.stored.record.version, number < below
    if number == current:
        return f"current, but retired: vault-asc key retire {name} lets it sign" if retired else "current"
    if number < current:
        return "retired" if retired else f"kept, and can still sign: vault-asc key retire {name} ends that"
    staged = known.note if known.note and known.note.transit_version == number else None
    return _newer(known, number, staged)


def engine_facts(known: Known, key: "EngineKey | None") -> list[tuple[str, str]]:
    """One line per engine version, likewise, and one when the engine itself says something else than the record."""
    lines = {version.number: _in_engine(known, version.number) for version in (key.versions if key else ())}
    lines.setdefault(known.stored.record.version, "current, but gone: nothing can be minted")
    told = [(f"engine version {number}", text) for number, text in sorted(lines.items())]
    if key and key.current.number != known.stored.record.version:
        told.append(("in the engine", f"version {key.current.number} is current: repeat what was interrupted"))
    if key and key.enabled is not (str(known.stored.record.state) == "enabled"):
        told.append(("in the engine", f"the key is {'enabled' if key.enabled else 'disabled'}: repeat the command"))
    return told


def _in_engine(known: Known, number: int) -> str:
    name, current = known.stored.name, known.stored.record.version
    if number == current:
        return "current"
    if number < current:
        return f"kept, and can still sign: vault-asc key retire {name} ends that"
    return _newer(known, number, known.note if known.note and known.note.engine_version == number else None)


def version_facts(known: Known, private: "KvMetadata") -> list[tuple[str, str]]:
    """One line per private version: what it is, and for what waits, how to go on."""
    lines = {
        number: f"{version.created_time}  {_described(known, number, version)}"
        for number, version in private.versions.items()
    }
    lines.setdefault(
        known.stored.record.version, "current, but gone (pruned, or removed with all versions): nothing can be minted"
    )
    return [(f"version {number}", text) for number, text in sorted(lines.items())]


def _described(known: Known, number: int, version: "KvVersion") -> str:
    current = known.stored.record.version
    planned = not version.destroyed and version.deletion_time > iso(known.now)
    gone = "destroyed" if version.destroyed else f"{'to be ' if planned else ''}deleted {version.deletion_time}"
    if number == current and not version.readable:
        return f"current, but {gone}" if planned else f"current, but gone ({gone}): nothing can be minted"
    if number == current:
        return "current"
    if not version.readable:
        return gone
    if number < current:
        return "kept"
    return _newer(known, number, known.note if known.note and known.note.private_version == number else None)


def _newer(known: Known, number: int, staged: "Note | None") -> str:
    """A version above the current one; `staged` when the note tells of this one."""
    name = known.stored.name
    if staged is not None:
        return (
            f"staged {staged.staged_at} by {staged.staged_by}: key ID {staged.key_id}, SHA256:{staged.spki_sha256};"
            f" make it current: vault-asc key promote {name}"
        )
    if number in known.past:
        return f"was current before: vault-asc key rollback {name} --to {number}"
    return "of unknown origin (an interrupted command, or somebody else); not used by anything"


def _problem(error: VaultError) -> str:
    """A word for the STATE column: `deleted`, `destroyed`, `missing`, `denied` or `unreadable`."""
    if isinstance(error, PermissionDeniedError):
        return "denied"
    return str(getattr(error, "state", "unreadable"))
