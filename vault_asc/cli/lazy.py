"""A click group whose commands are imported when they are called, so that `--help` stays as fast as click itself."""

import importlib
from collections.abc import Mapping

import click


class LazyGroup(click.Group):
    """Commands by name: (module, attribute, one line for the overview).

    The line stands here a second time so that the overview needs no import; a test compares it with the command's own.
    """

    def __init__(self, *args: object, lazy: Mapping[str, tuple[str, str, str]], **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]  # click's own arguments, handed through
        self.lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        """Names in the order in which they are told."""
        return list(self.lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  # click's signature
        """Import a command."""
        if cmd_name not in self.lazy:
            return None
        module, attribute, _ = self.lazy[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the called command; a name that is close to it becomes the hint of the error, as click's own groups do."""
        if args and args[0] not in self.lazy and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], self.lazy, 1)
            hint = f' Did you mean "{near[0]}"?' if near else ""
            raise click.UsageError(f'no such command "{args[0]}".{hint}', ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  # click's
        """The overview, from the lines given."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, _, line) in self.lazy.items()])
