"""`vault-asc key move`: from one custody to another."""

from typing import TYPE_CHECKING

import click

from vault_asc.cli.key_source import read_private_key
from vault_asc.cli.key_view import tell
from vault_asc.cli.output import warn
from vault_asc.cli.wiring import Connection, vault_options
from vault_asc.errors import ConfigError
from vault_asc.names import Custody, check_name
from vault_asc.secret import safe_text

if TYPE_CHECKING:
    from vault_asc.moving import Moving


@click.command()
@click.argument("name")
@click.option("--custody", type=click.Choice([str(custody) for custody in Custody]), help="Where to.")
@click.option("--role", help="To custody engine: the role by which its tokens are read; else one of the key's name.")
@click.option("--file", metavar="FILE|-", help="Take the private key from its .p8 file, not from KV.")
@click.option(
    "--granted",
    is_flag=True,
    help="Move, or finish, without asking whether the policies in Vault grant the new custody.",
)
@click.option(
    "--finish",
    is_flag=True,
    help="Claim the new custody; refused while a policy still grants another place, or none grants the new one.",
)
@click.option("--remove-copy", is_flag=True, help="With --finish: remove what lies in other places, for good.")
@click.option(
    "--trust",
    metavar="POLICY",
    multiple=True,
    help="With --finish: a policy that may keep the grant, as an administrator's. May be repeated.",
)
@vault_options
def move(
    *,
    name: str,
    custody: str | None,
    role: str | None,
    file: str | None,
    granted: bool,
    finish: bool,
    remove_copy: bool,
    trust: tuple[str, ...],
    connection: Connection,
) -> None:
    """Move the current version of NAME to another custody. No consumer notices.

    Whoever may mint now has to be granted the new custody first. A stricter custody is claimed only by --finish, when no
    policy grants the old place any more.

    \b
      vault-asc policy write minter --key prod --custody kv --custody transit
      vault-asc key move prod --custody transit
      vault-asc policy write minter --key prod --custody transit --force
      vault-asc key move prod --finish --remove-copy
    """
    check_name(name)
    if finish == (custody is not None) or (finish and file) or ((remove_copy or trust) and not finish):
        raise ConfigError(
            "move needs either --custody, with --role, --file and --granted at most, or --finish, with --remove-copy,"
            " --trust and --granted",
            hint=f"vault-asc key move {name} --custody transit, later: vault-asc key move {name} --finish",
        )
    check_role(role, None if custody is None else Custody(custody))
    if custody is None:
        _finish(connection, name, trust, remove_copy=remove_copy, granted=granted)
        return
    from vault_asc.minters import role_option

    key = None if file is None else read_private_key(file)
    roles = ["role-admin"] if custody == Custody.ENGINE else []
    moving = _moving(connection, name, "key-admin", "registrar", *roles, *([] if key else ["minter"]), "auditor")
    staged = moving.staged(name)
    change = moving.move(name, Custody(custody), key, granted=granted, role=role)
    tell(
        change, f'moved "{name}" to custody {custody}', f'"{name}" is in custody {custody} already, nothing was changed'
    )
    if change.stored.record.moved_from is not None:
        click.echo(
            "  then take the old grant away: vault-asc policy write minter"
            f" --key {name}{role_option(change.stored, None, Custody(custody))} --custody {custody} --force"
            " (agent likewise)"
        )
        click.echo(f"  and claim the custody: vault-asc key move {name} --finish")
    if change.changed and staged is not None:
        warn(f"{staged.version_name} is not staged any more, it stays in the old custody: stage its key again")
    if change.changed and custody == Custody.KV:
        warn("in custody kv whoever may mint can copy the key")


def check_role(role: str | None, custody: Custody | None) -> None:
    """Refuse a role's name that is none, or that no custody but the engine could use."""
    if role is None:
        return
    check_name(role, "role")
    if custody is not Custody.ENGINE:
        raise ConfigError("only keys in custody engine have a role", hint="add --custody engine, or leave --role away")


def _finish(connection: Connection, name: str, trust: tuple[str, ...], *, remove_copy: bool, granted: bool) -> None:
    needed = ("registrar", "auditor", *(["break-glass"] if remove_copy else []))
    change = _moving(connection, name, *needed).finish(name, remove_copy=remove_copy, trusted=trust, granted=granted)
    custody = change.stored.record.custody
    nobody = f"no policy but {', '.join(map(safe_text, trust))}" if trust else "no policy"
    tell(
        change,
        f'finished the move of "{name}": {nobody} grants the old place any more',
        f'{nobody} grants another place than custody {custody} for "{name}", nothing was changed',
    )
    if change.changed and remove_copy:
        click.echo("  removed what lay there")
    if set(connection.config().store.custodies) != {custody}:
        click.echo(
            f'  when all keys are there: store.custodies = ["{custody}"], and vault-asc policy write for each role that is in use'
        )
    click.echo(
        "  not seen: root, whoever may write policies, other namespaces, backups, and copies that were made before"
    )


def _moving(connection: Connection, name: str, *policies: str) -> "Moving":
    from vault_asc.moving import Moving

    return Moving(connection.lifecycle(*policies, key=name, custodies=tuple(Custody)))
