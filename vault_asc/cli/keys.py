"""`vault-asc key`: what key owners do."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vault_asc.cli.key_view import (
    HEADER,
    old_key_hint,
    public,
    record_facts,
    row,
    tell,
    tell_superseded,
    version_facts,
)
from vault_asc.cli.output import facts, on_one_line, table, warn
from vault_asc.cli.wiring import Connection, vault_options
from vault_asc.clock import system_clock
from vault_asc.errors import ConfigError, PermissionDeniedError, VaultError

if TYPE_CHECKING:
    from vault_asc.key.identity import Identity
    from vault_asc.key.private_key import PrivateKey
    from vault_asc.record import Note, StoredRecord
    from vault_asc.store import Store


@click.group(no_args_is_help=False)
def key() -> None:
    """Import, rotate, roll back and remove App Store Connect API keys."""


_key_id = click.option("--key-id", help="Key ID; else from a file name like AuthKey_<ID>.p8, with which it must agree.")


@key.command("import")
@click.argument("file", required=False)
@click.argument("name", required=False)
@_key_id
@click.option("--issuer-id", help="Issuer ID of a team key (App Store Connect, Users and Access, Integrations).")
@click.option("--individual", is_flag=True, help="An individual key: it has no issuer ID.")
@click.option("--enterprise", is_flag=True, help="A key of the Apple Developer Enterprise Program.")
@click.option("--from-vault", metavar="MOUNT/PATH", help="Take the .p8 from a KV secret instead of a FILE.")
@click.option("--field", help="With --from-vault: the field that holds the .p8, when there are several.")
@vault_options
def import_(
    *,
    file: str | None,
    name: str | None,
    key_id: str | None,
    issuer_id: str | None,
    individual: bool,
    enterprise: bool,
    from_vault: str | None,
    field: str | None,
    connection: Connection,
) -> None:
    """Store the key of FILE (or of standard input: -) in Vault as NAME.

    The key is checked before anything is written. Importing the same key again changes nothing.

    \b
      vault-asc key import AuthKey_2X9R4HXF34.p8 prod --issuer-id 57246542-96fe-1a63-e053-0824d011072a
      vault-asc key import --from-vault secret/old/apple prod --key-id 2X9R4HXF34 --individual
    """
    from vault_asc.key.identity import APP_STORE_CONNECT, ENTERPRISE, identity, resolve_key_id
    from vault_asc.names import check_name

    if from_vault is not None and name is None:
        file, name = None, file
    if name is None or (file is None) == (from_vault is None):
        raise ConfigError(
            "import needs one source and a name",
            hint="vault-asc key import FILE NAME, or vault-asc key import --from-vault MOUNT/PATH NAME",
        )
    if field is not None and from_vault is None:
        raise ConfigError("--field is for --from-vault", hint="leave --field away: a file holds one key")
    check_name(name)
    lifecycle = connection.lifecycle("key-admin", "registrar")
    if from_vault is not None:
        from vault_asc.legacy import read_from_kv

        found = read_from_kv(lifecycle.store.vault, from_vault, field)
        private, resolved = found.key, resolve_key_id(key_id or found.key_id, None, issuer_id)
        # What lies beside the key is a help; what was typed is an order, and is refused when it contradicts itself.
        issuer_id = issuer_id or (None if individual else found.issuer_id)
    else:
        private, resolved = _read_key(str(file), key_id, issuer_id)
    who = identity(
        key_id=resolved,
        issuer_id=issuer_id,
        individual=individual,
        audience=ENTERPRISE if enterprise else APP_STORE_CONNECT,
    )
    _warn_unusual(who)
    change = lifecycle.import_key(name, private, who)
    tell(change, f'imported "{name}"', f'"{name}" is this key already, nothing was changed')
    if from_vault is not None and change.changed:
        warn(f'"{from_vault}" still holds the private key: remove it when nobody reads it any more')


@key.command("list")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@vault_options
def list_(*, as_json: bool, connection: Connection) -> None:
    """List the keys of the configured prefix; reads records only.

    A record that cannot be read has its problem in the STATE column; the exit code is that of the first one.
    """
    config = connection.config()
    store = connection.store(config, "auditor")
    found = [(name, _read_or_problem(store, name)) for name in store.names()]
    if as_json:
        click.echo(json.dumps([public(name, stored) for name, stored in found], indent=2))
    elif not found:
        click.echo(f"no keys in {config.store.mount}/{config.store.prefix}")
    else:
        table([HEADER, *(row(name, stored) for name, stored in found)])
    for _, stored in found:
        if isinstance(stored, VaultError):
            raise stored


@key.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="The record as JSON.")
@vault_options
def show(*, name: str, as_json: bool, connection: Connection) -> None:
    """Show what is known of a key: its record, its versions, what is staged or was left half-done."""
    store = connection.store(connection.config(), "auditor")
    stored = store.read(_name(name))
    if as_json:
        click.echo(json.dumps(public(name, stored), indent=2))
        return
    click.echo(name)
    facts(record_facts(stored))
    try:
        private, (note, _) = store.private_metadata(name), store.note(name)
    except PermissionDeniedError as error:
        warn(f"versions and staged keys are not shown: {error.message}")
        return
    click.echo()
    facts(version_facts(stored, private, note, system_clock()))


@key.command()
@click.argument("name")
@vault_options
def check(*, name: str, connection: Connection) -> None:
    """Prove that tokens can be minted from a key: read both parts, compare them, sign and verify.

    Nothing leaves this machine; Apple is not asked.
    """
    from vault_asc.proof import proven_token

    store = connection.store(connection.config(), "minter", key=_name(name))
    minted = proven_token(store, name, system_clock)
    planned = store.private_metadata_or_none(name)
    if planned is not None and planned.delete_version_after not in {"", "0s"}:
        warn(f"versions of its private part are deleted after {planned.delete_version_after} (delete_version_after)")
    click.echo(
        f'"{name}" is good: private version {minted.stored.record.private_version} has the key ID'
        f" {minted.token.key_id} and the fingerprint of the record, and what it signs verifies"
    )


@key.command()
@click.argument("name")
@click.argument("file")
@_key_id
@vault_options
def stage(*, name: str, file: str, key_id: str | None, connection: Connection) -> None:
    """Put the new key of FILE beside the current one of NAME. No consumer notices.

    Prints the fingerprint that a second person passes to `key promote`.
    """
    _name(name)
    private, resolved = _read_key(file, key_id)
    superseded: list[Note] = []
    note = connection.lifecycle("key-admin").stage(name, private, resolved, superseded.append)
    click.echo(f'staged version {note.private_version} of "{name}", key ID {note.key_id}')
    tell_superseded(superseded)
    click.echo(f"  make it current:  vault-asc key promote {name} --fingerprint SHA256:{note.spki_sha256}")


@key.command()
@click.argument("name")
@click.option("--fingerprint", help="Promote only if the staged key has this fingerprint.")
@vault_options
def promote(*, name: str, fingerprint: str | None, connection: Connection) -> None:
    """Make the staged key of NAME current, for all consumers at once."""
    change = connection.lifecycle("registrar").promote(_name(name), fingerprint)
    tell(change, f'promoted "{name}"', f'"{name}" is that key already, nothing was changed')
    if fingerprint is None and change.changed:
        record = change.stored.record
        click.echo(f"  the version that {on_one_line(record.imported_by)} staged at {record.imported_at}")
    old_key_hint(change)


@key.command()
@click.argument("name")
@click.argument("file")
@_key_id
@vault_options
def rotate(*, name: str, file: str, key_id: str | None, connection: Connection) -> None:
    """Replace the key of NAME by that of FILE: stage and promote in one.

    Tokens of the old key live on until they expire; revoke it at Apple after that.
    """
    _name(name)
    private, resolved = _read_key(file, key_id)
    superseded: list[Note] = []
    change = connection.lifecycle("key-admin", "registrar").rotate(name, private, resolved, superseded.append)
    tell(change, f'rotated "{name}"', f'"{name}" is that key already, nothing was changed')
    tell_superseded(superseded)
    old_key_hint(change)


@key.command()
@click.argument("name")
@click.option("--to", type=click.IntRange(min=1), metavar="VERSION", help="Private version; else the one before.")
@vault_options
def rollback(*, name: str, to: int | None, connection: Connection) -> None:
    """Go back to an earlier key of NAME. What was current becomes staged; no private key is read."""
    change = connection.lifecycle("registrar").rollback(_name(name), to)
    tell(change, f'rolled "{name}" back', f'"{name}" is at that version already, nothing was changed')


@key.command()
@click.argument("name")
@vault_options
def disable(*, name: str, connection: Connection) -> None:
    """Refuse to mint from NAME until it is enabled again."""
    _switch(connection, name, "disabled")


@key.command()
@click.argument("name")
@vault_options
def enable(*, name: str, connection: Connection) -> None:
    """Mint from NAME again."""
    _switch(connection, name, "enabled")


def _switch(connection: Connection, name: str, state: str) -> None:
    from vault_asc.record import State

    change = connection.lifecycle("registrar").set_state(_name(name), State(state))
    tell(change, f'{state} "{name}"', f'"{name}" is {state} already')


@key.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do it without asking for the name again.")
@vault_options
def destroy(*, name: str, yes: bool, connection: Connection) -> None:
    """Remove a disabled key with all its versions from Vault, for good. Apple is not told: revoke it there."""
    _name(name)
    if not yes:
        _confirm(name)
    if connection.lifecycle("break-glass", key=name).destroy(name):
        click.echo(f'destroyed "{name}"')
    else:
        click.echo(f'there is nothing of "{name}" to destroy')


# -- reading ---------------------------------------------------------------------------------------------------------


def _name(name: str) -> str:
    from vault_asc.names import check_name

    return check_name(name)


def _read_or_problem(store: "Store", name: str) -> "StoredRecord | VaultError":
    """The record, or what is wrong with this one; what is wrong with all of them is raised."""
    from vault_asc.record import BadRecordError
    from vault_asc.vault import InvalidTokenError, MissingVersionError

    try:
        return store.read(name)
    except InvalidTokenError:
        raise
    except (BadRecordError, MissingVersionError, PermissionDeniedError) as problem:
        return problem


def _confirm(name: str) -> None:
    click.echo(f'type "{name}" to destroy it with all its versions: ', err=True, nl=False)
    typed = sys.stdin.readline() if sys.stdin else ""
    if not (typed and sys.stdin.isatty()):
        click.echo(err=True)  # no terminal has ended the line
    if typed.strip() != name:
        raise ConfigError(
            "the name was not typed, nothing was destroyed", hint="repeat it and type the name, or add --yes"
        )


def _read_key(file: str, key_id: str | None, issuer_id: str | None = None) -> "tuple[PrivateKey, str]":
    """The key of a file or of standard input, and its key ID; `issuer_id` only to tell when the two are swapped."""
    from vault_asc.key.file import read_key_file, read_limited
    from vault_asc.key.identity import resolve_key_id
    from vault_asc.key.private_key import parse_private_key

    if file == "-":
        if not sys.stdin:
            raise ConfigError("standard input is closed", hint="name the .p8 file, or pipe it: ... - < FILE")
        data, filename = read_limited(sys.stdin.buffer), None
    else:
        data, filename = read_key_file(Path(file), warn), Path(file).name
    return parse_private_key(data), resolve_key_id(key_id, filename, issuer_id)


def _warn_unusual(who: "Identity") -> None:
    from vault_asc.key.identity import usual_key_id

    if not usual_key_id(who.key_id):
        warn(f'key ID "{who.key_id}" does not look like Apple\'s (10 capital letters and digits)')
