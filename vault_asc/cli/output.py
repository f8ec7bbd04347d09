"""What is printed beside results: errors, hints and warnings on stderr, tables on stdout."""

from collections.abc import Sequence

import click

from vault_asc.errors import VaultAscError


def report(error: VaultAscError, *, debug: bool) -> int:
    """Print an error and its hint; returns the exit code."""
    if debug:
        _traceback(error)
    click.echo(f"vault-asc: error: {error.message}", err=True)
    if error.hint:
        click.echo(f"vault-asc: hint: {error.hint}", err=True)
    return error.exit_code


def report_bug(error: Exception, *, debug: bool) -> int:
    """Print what is known of an unexpected exception: its class, never its text, which may hold anything."""
    if debug:
        _traceback(error)
    click.echo(f"vault-asc: error: internal error ({type(error).__name__})", err=True)
    if not debug:
        click.echo("vault-asc: hint: run it again as `vault-asc --debug ...` and report what it prints", err=True)
    return VaultAscError.exit_code


def warn(message: str) -> None:
    """A warning: the command goes on."""
    click.echo(f"vault-asc: warning: {message}", err=True)


def table(rows: Sequence[Sequence[str]]) -> None:
    """Columns aligned by blanks, the first row being the header."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def facts(pairs: Sequence[tuple[str, str]]) -> None:
    """Name and value, one pair a line."""
    width = max(len(name) for name, _ in pairs)
    for name, value in pairs:
        click.echo(f"  {name.ljust(width)}  {value}")


def _traceback(error: BaseException) -> None:
    import traceback

    from vault_asc.secret import mask

    # The chain's messages may quote foreign text (a server's answer, a library's words): masked before it is shown.
    click.echo(mask("".join(traceback.format_exception(error))), err=True, nl=False)
