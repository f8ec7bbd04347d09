"""docs/commands.md from the commands themselves; `make docs` writes it, a test compares it."""

from collections.abc import Iterator
from pathlib import Path

import click

from vault_asc.cli import root

FILE = Path(__file__).parents[2] / "docs" / "commands.md"
_HEAD = """\
# Commands

Every command with all its options, as `--help` prints it (this page is written by `make docs`).
Exit codes are in the [README](../README.md#when-something-fails).
"""


def commands(
    group: click.Group = root, path: tuple[str, ...] = ("vault-asc",)
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command with its words, groups included."""
    yield path, group
    context = click.Context(group, info_name=path[-1])
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


def help_of(path: tuple[str, ...], command: click.Command) -> str:
    """What `--help` prints, 100 columns wide."""
    parent = click.Context(click.Command(" ".join(path[:-1])), info_name=" ".join(path[:-1])) if path[1:] else None
    context = click.Context(
        command, info_name=path[-1], parent=parent, terminal_width=100, help_option_names=["-h", "--help"]
    )
    return command.get_help(context)


def page() -> str:
    """The whole page."""
    parts = [f"## {' '.join(path)}\n\n```text\n{help_of(path, command)}\n```\n" for path, command in commands()]
    return "\n".join([_HEAD, *parts])


if __name__ == "__main__":
    FILE.write_text(page(), encoding="utf-8")
