"""`vault-asc key`: what key owners do."""

import json
from functools import partial
from typing import TYPE_CHECKING

import click

from vault_asc.cli.apple_check import apple_option, ask_apple, reach_apple, tell_accepted
from vault_asc.cli.key_source import KeySource, takes_key
from vault_asc.cli.key_view import (
    HEADER,
    Known,
    engine_facts,
    old_key_hint,
    public,
    record_facts,
    row,
    tell,
    tell_plan,
    tell_superseded,
    transit_facts,
    version_facts,
)
from vault_asc.cli.moving import check_role, move
from vault_asc.cli.output import facts, on_one_line, table, warn
from vault_asc.cli.removing import destroy, left_facts
from vault_asc.cli.wiring import Connection, vault_options
from vault_asc.clock import system_clock
from vault_asc.errors import ConfigError, PermissionDeniedError, VaultError
from vault_asc.names import Custody, strictest

if TYPE_CHECKING:
    from vault_asc.lifecycle import Lifecycle
    from vault_asc.record import Note, StoredRecord
    from vault_asc.store import Store


@click.group(no_args_is_help=False)
def key() -> None:
    """Import, rotate, roll back and remove App Store Connect API keys."""


@key.command("import")
@takes_key("import")
@click.option(
    "--custody",
    type=click.Choice([str(custody) for custody in Custody]),
    help="Who holds the key: KV; Transit or the engine, which sign themselves; else the strictest of store.custodies.",
)
@click.option(
    "--no-escrow", is_flag=True, help="In custody transit: keep no private part in KV; in engine none ever is."
)
@click.option("--role", help="In custody engine: the role by which its tokens are read; else one of the key's name.")
@vault_options
def import_(
    *,
    name: str,
    source: KeySource,
    custody: str | None,
    no_escrow: bool,
    role: str | None,
    connection: Connection,
) -> None:
    """Store the key of FILE (or of standard input: -) in Vault as NAME.

    The key is checked before anything is written. Importing the same key again changes nothing.

    \b
      vault-asc key import AuthKey_2X9R4HXF34.p8 prod --issuer-id 57246542-96fe-1a63-e053-0824d011072a
      vault-asc key import --from-vault secret/old/apple prod --key-id 2X9R4HXF34 --individual
      vault-asc key import --wrapped token prod
      vault-asc key import AuthKey_2X9R4HXF34.p8 prod --individual --custody transit
    """
    chosen = Custody(custody) if custody else strictest(connection.config().store.custodies)
    if no_escrow and chosen is Custody.KV:
        raise ConfigError("without escrow nothing would be kept in custody kv", hint="leave --no-escrow away")
    check_role(role, chosen)
    escrow = chosen is Custody.TRANSIT and not no_escrow
    with source.opened(connection, name, custody=chosen, escrow=escrow, role=role) as (lifecycle, new):
        change = lifecycle.import_key(name, new.key, source.identity(new), chosen, escrow=escrow, role=role)
        tell(change, f'imported "{name}"', f'"{name}" is this key already, nothing was changed')
    if change.changed:
        source.warn_of_copy()
    if change.changed and chosen is Custody.ENGINE:
        config = connection.config()
        click.echo(
            f"  anybody with the right reads tokens: vault read {config.store.engine_mount}/token/{role or name}"
        )
    if change.changed and no_escrow and chosen is Custody.TRANSIT:
        warn("without escrow only the .p8 file leads out of this Transit mount: keep it, or be ready for a new key")


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
    from vault_asc.removal import Removal

    store = connection.store(connection.config(), "auditor")
    stored = store.read(_name(name))
    if as_json:
        click.echo(json.dumps(public(name, stored), indent=2))
        return
    click.echo(name)
    facts(record_facts(stored))
    try:
        versions = _versions(store, stored)
    except PermissionDeniedError as error:
        warn(f"versions and staged keys are not shown: {error.message}")
        return
    click.echo()
    facts([*versions, *left_facts(name, store.layout.engine_mount, Removal(store).leftovers(name).values())])


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
        f'"{name}" is good: {minted.stored.record.version_name} has the key ID'
        f" {minted.token.key_id} and the fingerprint of the record, and what it signs verifies"
    )


@key.command()
@takes_key("stage")
@apple_option
@vault_options
def stage(*, name: str, source: KeySource, no_apple_check: bool, connection: Connection) -> None:
    """Put the new key of FILE beside the current one of NAME. No consumer notices.

    Before anything is written App Store Connect is asked whether it accepts the key. Prints the fingerprint that a second
    person passes to `key promote`.
    """
    superseded: list[Note] = []
    with source.opened(connection, name, before_unwrap=partial(reach_apple, connection, skip=no_apple_check)) as (
        lifecycle,
        new,
    ):
        accepted = ask_apple(connection, lifecycle.plan(name, new.key, new.key_id), new, skip=no_apple_check)
        note = lifecycle.stage(name, new.key, new.key_id, superseded.append)
        click.echo(f'staged {note.version_name} of "{name}", key ID {note.key_id}')
        tell_accepted(accepted)
        tell_superseded(superseded)
        click.echo(
            f"  make it current:  vault-asc key promote {name} --key-id {note.key_id} --fingerprint SHA256:{note.spki_sha256}"
        )
    source.warn_of_copy()


@key.command()
@click.argument("name")
@click.option("--fingerprint", help="Promote only if the staged key has this fingerprint.")
@click.option("--key-id", help="Promote only if the staged key is noted with this key ID.")
@vault_options
def promote(*, name: str, fingerprint: str | None, key_id: str | None, connection: Connection) -> None:
    """Make the staged key of NAME current, for all consumers at once."""
    change = connection.lifecycle("registrar").promote(_name(name), fingerprint, key_id)
    tell(change, f'promoted "{name}"', f'"{name}" is that key already, nothing was changed')
    if fingerprint is None and change.changed:
        record = change.stored.record
        click.echo(f"  the version that {on_one_line(record.imported_by)} staged at {record.imported_at}")
    old_key_hint(change, system_clock())


@key.command()
@takes_key("rotate")
@apple_option
@click.option("--dry-run", is_flag=True, help="Check everything, App Store Connect included, and write nothing.")
@vault_options
def rotate(*, name: str, source: KeySource, no_apple_check: bool, dry_run: bool, connection: Connection) -> None:
    """Replace the key of NAME by that of FILE: stage and promote in one.

    Before anything is written App Store Connect is asked whether it accepts the key. Tokens of the old key live on until
    they expire; it is to be revoked at Apple after that.
    """
    if dry_run and source.wrapped:
        raise ConfigError("--dry-run would use the wrapping token up", hint="leave one of the two away")
    superseded: list[Note] = []
    with source.opened(connection, name, before_unwrap=partial(reach_apple, connection, skip=no_apple_check)) as (
        lifecycle,
        new,
    ):
        plan = lifecycle.plan(name, new.key, new.key_id)
        accepted = ask_apple(connection, plan, new, skip=no_apple_check)
        if dry_run:
            source.check_rights(connection, lifecycle, name)
            tell_plan(name, plan, new.key_id, new.key.spki_sha256)
            tell_accepted(accepted)
            return
        change = lifecycle.rotate(name, new.key, new.key_id, superseded.append)
        tell(change, f'rotated "{name}"', f'"{name}" is that key already, nothing was changed')
        tell_accepted(accepted)
        tell_superseded(superseded)
        old_key_hint(change, system_clock())
    if change.changed:
        source.warn_of_copy()


@key.command()
@click.argument("name")
@click.option(
    "--to", type=click.IntRange(min=1), metavar="VERSION", help="Version in the key's custody; else the one before."
)
@vault_options
def rollback(*, name: str, to: int | None, connection: Connection) -> None:
    """Go back to an earlier key of NAME, within its custody. What was current becomes staged; no private key is read.

    A retirement of the earlier version is undone first. In custody engine what was staged is dropped, for good.
    """
    lifecycle = connection.lifecycle("registrar")
    waiting = _staged(lifecycle, lifecycle.store.read(_name(name)))
    change = lifecycle.rollback(name, to)
    tell(change, f'rolled "{name}" back', f'"{name}" is at that version already, nothing was changed')
    if change.reopened:
        click.echo(f"  older versions, which were retired, can sign again: vault-asc key retire {name}")
    if waiting is not None and not _staged(lifecycle, change.stored) and not _is_current(change.stored, waiting):
        warn(
            f"{waiting.version_name} (key ID {waiting.key_id}), staged at {waiting.staged_at}, was dropped for good: stage its"
            " key again if it is still wanted"
        )


@key.command()
@click.argument("name")
@vault_options
def retire(*, name: str, connection: Connection) -> None:
    """Let older versions of NAME sign no more.

    For keys in custody transit, where a rollback undoes it, and engine, which forgets them for good.
    """
    if connection.lifecycle("registrar").retire(_name(name)):
        click.echo(f'retired "{name}": only its current and newer versions can sign')
    else:
        click.echo(f'older versions of "{name}" are retired already')


@key.command()
@click.argument("name")
@vault_options
def disable(*, name: str, connection: Connection) -> None:
    """Refuse to mint from NAME until it is enabled again; in custody engine for all who read its tokens."""
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


key.add_command(destroy)
key.add_command(move)


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


def _versions(store: "Store", stored: "StoredRecord") -> list[tuple[str, str]]:
    custody, (note, _) = stored.record.custody, store.note(stored.name)
    past = {old.record.version for old in store.history(stored.name) if old.record.custody is custody}
    known = Known(stored, note, past, system_clock())
    if custody is Custody.TRANSIT:
        return transit_facts(known, store.transit.find(str(stored.record.transit_key)))
    if custody is Custody.ENGINE:
        return engine_facts(known, store.engine.find(stored.name))
    return version_facts(known, store.private_metadata(stored.name))


def _staged(lifecycle: "Lifecycle", stored: "StoredRecord") -> "Note | None":
    return lifecycle.placement.staged(stored, lifecycle.store.note(stored.name)[0])


def _is_current(stored: "StoredRecord", note: "Note") -> bool:
    return note.version(stored.record.custody) == stored.record.version
