"""`vault-asc engine`: the secrets engine as one executable, from its build to the mount."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vault_asc.cli.output import facts, table, warn
from vault_asc.cli.wiring import Connection, vault_options
from vault_asc.errors import ConfigError

if TYPE_CHECKING:
    from vault_asc.engine.freezing.facts import Executable
    from vault_asc.engine.installing import Standing

_USUAL = "vault-plugin-secrets-asc"
_plugin_dir = click.Path(path_type=Path, file_okay=False, exists=True)
_file = click.Path(path_type=Path, dir_okay=False)
_mount = click.option("--mount", help="Path of the engine in Vault. Else store.engine_mount of the configuration.")


@click.group(no_args_is_help=False)
def engine() -> None:
    """Build, install and compare the secrets engine as one executable."""


@engine.command()
@click.option("--out", type=_file, default=_USUAL, show_default=True, help="The file to write.")
def build(*, out: Path) -> None:
    """Build one executable with interpreter, libraries and engine, and print its checksum.

    A Vault node needs no Python for it. The same source, libraries and tools give the same checksum. It runs on hosts
    with the C library of this one, of this version or newer.

    \b
      pip install ".[engine,build]"      # in a checkout
      vault-asc engine build
    """
    from vault_asc.clock import system_clock
    from vault_asc.engine.freezing.building import build as built_to

    click.echo("building, this takes about half a minute", err=True)
    built = built_to(out, system_clock())
    click.echo(f"built {out}")
    _tell(built)
    click.echo(f"  next: vault-asc engine install {out} --plugin-dir DIR")


@engine.command()
@click.argument("file", type=_file)
@click.option("--plugin-dir", required=True, type=_plugin_dir, help="The server's plugin_directory.")
@click.option("--register", is_flag=True, help="Also write the catalog's entry, and mount or reload the engine.")
@click.option("--yes", is_flag=True, help="Do it without asking.")
@_mount
@vault_options
def install(
    *, file: Path, plugin_dir: Path, register: bool, yes: bool, mount: str | None, connection: Connection
) -> None:
    """Copy the executable FILE into a plugin directory, and print how to register and mount it.

    Every node of a cluster needs the copy before the registration. A copy never replaces another build, so going back
    is registering the old one. --register needs a token that may write the plugin catalog and mounts.

    \b
      vault-asc engine install vault-plugin-secrets-asc --plugin-dir /etc/vault/plugins
      vault-asc engine install vault-plugin-secrets-asc --plugin-dir /etc/vault/plugins --register
    """
    from vault_asc.clock import system_clock
    from vault_asc.engine import installing
    from vault_asc.engine.freezing.facts import look_at

    built = look_at(file)
    where = _path_of(connection, mount)
    vault = connection.vault(connection.config()) if register else None
    if not yes:
        _confirm(plugin_dir / installing.name_of(built), vault.address if vault is not None else None)
    installed = installing.copy(built, plugin_dir, system_clock())
    click.echo(f"installed {installed}")
    _tell(built)
    for concern in installing.concerns(built, installed):
        warn(concern)
    if vault is None:
        _tell_commands(built, where)
        return
    name = installing.mounted_by(vault, where)
    installing.register(vault, built, name)
    click.echo(f"  registered as {name} {built.version}")
    click.echo(f"  {installing.bring_up(vault, built, where)}")


@engine.command()
@click.option("--plugin-dir", type=_plugin_dir, help="The server's plugin_directory, if it can be seen from here.")
@click.option("--file", type=_file, help="An executable that was built.")
@_mount
@vault_options
def status(*, plugin_dir: Path | None, file: Path | None, mount: str | None, connection: Connection) -> None:
    """Compare what is built, installed, registered in the catalog, and running.

    Says what differs and what to do. It needs a token that may read the plugin catalog, sys/mounts and the engine's info.
    """
    from vault_asc.engine import installing
    from vault_asc.engine.freezing.facts import look_at

    built = look_at(file) if file is not None else None
    vault = connection.vault(connection.config())
    where = _path_of(connection, mount)
    found = installing.standing(vault, where, plugin_dir, built)
    _tell_standing(found)
    for unseen in found.unseen:
        warn(unseen)
    advice = installing.differences(found, where, plugin_dir)
    for each in advice:
        click.echo(f"  {each}")
    if not advice:
        click.echo("  nothing differs" + (" in what can be seen" if found.unseen else ""))


def _path_of(connection: Connection, mount: str | None) -> str:
    """Where the engine is, or is to be, mounted."""
    from vault_asc.names import check_path

    return connection.config().store.engine_mount if mount is None else check_path(mount, "mount of the engine")


def _tell(built: "Executable") -> None:
    facts([("size", f"{built.size} bytes"), ("sha256", built.sha256), *built.facts.items()])


def _tell_commands(built: "Executable", mount: str) -> None:
    from vault_asc.engine import installing

    click.echo("  register and mount it, once every node has the file:")
    for line in installing.commands(built, mount):
        click.echo(f"    {line}")
    click.echo("  where it is mounted already, instead of the second line:")
    for line in installing.upgrade_commands(built, mount):
        click.echo(f"    {line}")
    click.echo(f"  it needs {built.facts.get('libc', 'the C library of where it was built')} on the node")


def _tell_standing(found: "Standing") -> None:
    built, registered, installed, running = found.built, found.registered, found.installed, found.running
    rows = [("", "VERSION", "SHA-256", "COMMIT")]
    for name, one in (("built", built), ("installed", installed)):
        if one is not None:
            rows.append((name, one.version, one.sha256[:16], one.facts.get("commit", "-")))
    rows.append(
        ("registered", registered.version, registered.sha256[:16], "-") if registered else ("registered", "-", "-", "-")
    )
    commit = running.facts.get("commit", "-") if running else "-"
    rows.append(
        ("running", running.version, running.sha256[:16] or "-", commit) if running else ("running", "-", "-", "-")
    )
    table(rows)


def _confirm(target: Path, address: str | None) -> None:
    more = f", and register and mount it at {address}" if address else ""
    click.echo(f'type "yes" to write {target}{more}: ', err=True, nl=False)
    typed = sys.stdin.readline() if sys.stdin else ""
    if not (typed and sys.stdin.isatty()):
        click.echo(err=True)  # no terminal has ended the line
    if typed.strip() != "yes":
        raise ConfigError("nothing was written: it was not confirmed", hint='repeat it and type "yes", or add --yes')
