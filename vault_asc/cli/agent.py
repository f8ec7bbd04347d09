"""`vault-asc agent`: the configuration of Vault Agent."""

import os
import sys
from pathlib import Path

import click

from vault_asc.cli.wiring import Connection, config_option


@click.group(no_args_is_help=False)
def agent() -> None:
    """Let Vault Agent or OpenBao Agent keep the targets fresh."""


@agent.command("config")
@config_option
def config_(*, connection: Connection) -> None:
    """Print one complete configuration for `vault agent` and `bao agent`.

    \b
      vault-asc agent config > /etc/vault-asc/agent.hcl
      vault agent -config=/etc/vault-asc/agent.hcl
    """
    from vault_asc.agent import Exec, render
    from vault_asc.config import state_dir

    config = connection.config()
    click.echo(render(config, Exec(_command(), state_dir(config, os.environ).absolute())), nl=False)


def _command() -> list[str]:
    """How to call this program again, absolutely: its console script, else the interpreter with the module."""
    script = Path(sys.argv[0]).absolute()
    if script.name == "vault-asc" and os.access(script, os.X_OK):
        return [str(script)]
    return [sys.executable, "-m", "vault_asc"]
