"""`vault-asc key destroy`, and how it is told what lies somewhere and no record points to."""

import sys
from typing import TYPE_CHECKING

import click

from vault_asc.cli.output import facts, warn
from vault_asc.cli.wiring import Connection, vault_options
from vault_asc.errors import ConfigError
from vault_asc.names import PLACE_NAMES, Custody, check_name
from vault_asc.secret import safe_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vault_asc.placement import Leftover


@click.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do it without asking for the name again.")
@click.option(
    "--leftover",
    is_flag=True,
    help="Remove what lies under that name in Transit or the engine and no record points to, as after an interruption. It is"
    " shown first. A key that has a record stays.",
)
@vault_options
def destroy(*, name: str, yes: bool, leftover: bool, connection: Connection) -> None:
    """Remove a disabled key with all its versions from Vault, for good. Apple is not told: revoke it there.

    With --leftover it is the other way round: the key stays, and what no record points to goes. In the engine it has to be
    disabled before, and a key that another store has made there is never removed.
    """
    check_name(name)
    if leftover:
        _destroy_leftovers(connection, name, yes=yes)
        return
    if not yes:
        _confirm(name, f'type "{name}" to destroy it with all its versions: ')
    lifecycle = connection.lifecycle("break-glass", key=name)
    if lifecycle.destroy(name):
        click.echo(f'destroyed "{name}"')
    else:
        click.echo(f'there is nothing of "{name}" to destroy')
    for left in lifecycle.leftovers(name).values():
        warn(
            f"{left_over(left)} was left{'' if left.foreign else f': vault-asc key destroy {name} --leftover shows it'}"
        )


def _destroy_leftovers(connection: Connection, name: str, *, yes: bool) -> None:
    lifecycle = connection.lifecycle("break-glass", key=name)
    left = lifecycle.removal.removable(name)
    for one in left.values():
        click.echo(left_over(one))
        facts(leftover_facts(one))
    if not yes:
        _confirm(name, f'type "{name}" to remove this, which no record points to, with all its versions: ')
    if lifecycle.destroy(name, leftover=True, shown=left):
        click.echo(f'destroyed what no record of "{name}" points to')
    else:
        click.echo(f'nothing of "{name}" is left that no record points to')
    for one in lifecycle.leftovers(name).values():
        warn(f"{left_over(one)} was left")


def _confirm(name: str, question: str) -> None:
    click.echo(question, err=True, nl=False)
    typed = sys.stdin.readline() if sys.stdin else ""
    if not (typed and sys.stdin.isatty()):
        click.echo(err=True)  # no terminal has ended the line
    if typed.strip() != name:
        raise ConfigError(
            "the name was not typed, nothing was destroyed", hint="repeat it and type the name, or add --yes"
        )


# -- telling ---------------------------------------------------------------------------------------------------------


def left_over(left: "Leftover") -> str:
    """What lies somewhere without a record, in half a sentence."""
    whose = f'of the store "{safe_text(left.owner)}"' if left.foreign else "which no record points to"
    return f'key "{left.name}" in {PLACE_NAMES[left.custody]}, {whose},'


def leftover_facts(left: "Leftover") -> list[tuple[str, str]]:
    """What somebody has to know before it is removed: of whose making each version is, and who would miss it."""
    versions = [
        (
            f"version {version.number}",
            "; ".join(
                part
                for part in (
                    f"key ID {version.key_id}" if version.key_id else "",
                    f"SHA256:{version.spki_sha256}",
                    f"imported {version.imported}" if version.imported else "",
                )
                if part
            ),
        )
        for version in left.versions
    ]
    if left.custody is not Custody.ENGINE:
        return versions
    roles = "not seen: this token may not list them" if left.roles is None else ", ".join(left.roles) or "none"
    return [*versions, ("made for", left.owner or "nobody, by hand"), ("read by roles", roles)]


def left_facts(name: str, engine_mount: str, found: "Iterable[Leftover]") -> list[tuple[str, str]]:
    """One line for each place where something lies that the record does not point to, and how it is removed."""
    lines = []
    for left in found:
        which = ", ".join(f"SHA256:{version.spki_sha256}" for version in left.versions)
        signs = left.custody is Custody.ENGINE and left.enabled
        stop = f"vault write -f {engine_mount}/keys/{name}/disable, then " if signs else ""
        how = "it is not this one's" if left.foreign else f"{stop}vault-asc key destroy {name} --leftover"
        state = " (enabled)" if signs else ""
        lines.append((f"also in {PLACE_NAMES[left.custody]}", f"{left_over(left)} with {which}{state}: {how}"))
    return lines
