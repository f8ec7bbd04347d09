"""What is printed beside results: errors, hints and warnings on stderr, tables on stdout."""

import contextlib
import os
import re
import shlex
import sys
from collections.abc import Sequence
from itertools import pairwise
from typing import Final, TextIO

import click

from vault_asc.errors import ConfigError, VaultAscError

_CONFIGURED: Final = (
    r"\bvault-asc (?:(?:key|policy|agent|nexla|audit) [a-z]+|config check|mint|push|run|status)\b"  # commands
)


def with_config(hint: str | None, words: Sequence[str]) -> str | None:
    """A hint whose commands name the configuration that this one was given, so that they can be typed as they are."""
    given = [value for name, value in pairwise(words) if name == "--config"]
    given += [word.partition("=")[2] for word in words if word.startswith("--config=")]
    if hint is None or not given or "--config" in hint:
        return hint
    return re.sub(_CONFIGURED, lambda found: f"{found[0]} --config {shlex.quote(given[-1])}", hint)


def report(error: VaultAscError, *, debug: bool) -> int:
    """Print an error and its hint; returns the exit code."""
    if debug:
        _traceback(error)
    _say("error", error.message)
    if error.hint:
        _say("hint", error.hint)
    return error.exit_code


def report_bug(error: Exception, *, debug: bool) -> int:
    """Print what is known of an unexpected exception: its class, never its text, which may hold anything."""
    if debug:
        _traceback(error)
    _say("error", f"internal error ({type(error).__name__})")
    if not debug:
        _say("hint", "run it again with --debug and report what it prints")
    return VaultAscError.exit_code


def report_interrupt() -> int:
    """Print what Ctrl-C leaves behind; returns the exit code that shells know it by."""
    _say("error", "interrupted")
    _say("hint", "it is safe to repeat the command: it looks first and completes what is missing")
    return 130


def warn(message: str) -> None:
    """A warning: the command goes on."""
    _say("warning", message)


def product(text: str) -> None:
    """Print what the command is called for. `ConfigError` when standard output is closed: it would be lost silently."""
    if sys.stdout is None:
        raise ConfigError(
            "standard output is closed, so nothing can be printed", hint="leave out the >&-, or use a file"
        )
    click.echo(text, nl=not text.endswith("\n"))


def table(rows: Sequence[Sequence[str]]) -> None:
    """Columns aligned by blanks, the first row being the header."""
    for line in aligned(rows):
        click.echo(line)


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table."""
    shown = [[on_one_line(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in shown) for i in range(len(shown[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in shown]


def facts(pairs: Sequence[tuple[str, str]]) -> None:
    """Name and value, one pair a line."""
    shown = [(on_one_line(name), on_one_line(value)) for name, value in pairs]  # in a token both are somebody's words
    width = max(len(name) for name, _ in shown)
    for name, value in shown:
        click.echo(f"  {name.ljust(width)}  {value}")


def on_one_line(text: str) -> str:
    """Text with its control characters escaped: what others wrote must not move the cursor or fake a line of ours."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def _say(what: str, text: str) -> None:
    _complain(f"vault-asc: {what}: {on_one_line(text)}\n")


def _complain(text: str) -> None:
    try:
        click.echo(text, err=True, nl=False)
    except OSError:  # a full or closed stderr must not change the exit code
        silence(sys.stderr)


def silence(stream: TextIO) -> None:
    """Give up an output that cannot be written to: what is left in its buffer would fail again while Python ends."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _traceback(error: BaseException) -> None:
    import traceback

    from vault_asc.secret import mask

    # The chain's messages may quote foreign text (a server's answer, a library's words): masked before it is shown.
    _complain(mask("".join(traceback.format_exception(error))))
