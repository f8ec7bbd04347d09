"""`vault-asc agent`: the configuration of Vault Agent."""

import os
import sys
from pathlib import Path

import click

from vault_asc.cli.output import product
from vault_asc.cli.wiring import Connection, config_option
from vault_asc.errors import ConfigError


@click.group(no_args_is_help=False)
def agent() -> None:
    """Let Vault Agent or OpenBao Agent keep the targets fresh."""


@agent.command("config")
@click.option("--user", help="Who runs the Agent, when it is not you: the socket will belong to that user.")
@click.option(
    "--pure",
    is_flag=True,
    help="For a host with nothing but the Agent: writes token files, by roles of the engine or of keys in custody transit,"
    " and does not push.",
)
@config_option
def config_(*, user: str | None, pure: bool, connection: Connection) -> None:
    """Print one complete configuration for `vault agent` and `bao agent`.

    \b
      vault-asc agent config > /etc/vault-asc/agent.hcl
      vault agent -config=/etc/vault-asc/agent.hcl
    """
    from vault_asc.agent import Exec, render, render_pure
    from vault_asc.config import state_dir

    config = connection.config()
    if user is not None and (pure or not config.targets):
        raise ConfigError(
            f"with {'--pure' if pure else 'nothing to push'} there is no socket that could belong to a user",
            hint="leave --user out: the token files belong to whoever runs the Agent",
        )
    if pure:
        product(render_pure(config))
        return
    uid, gid = _ids(user)
    product(render(config, Exec(_command(), state_dir(config, os.environ).absolute(), uid, gid)))


def _ids(user: str | None) -> tuple[int, int]:
    """Numbers of a user and of his group; your own without a name."""
    if user is None:
        return os.geteuid(), os.getegid()
    import pwd

    try:
        found = pwd.getpwnam(user)
    except KeyError as exc:
        raise ConfigError(f'there is no user "{user}" on this machine', hint="name who runs the Agent") from exc
    return found.pw_uid, found.pw_gid


def _command() -> list[str]:
    """How to call this program again, absolutely: its console script, else the interpreter with the module."""
    script = Path(sys.argv[0]).absolute()
    if script.name == "vault-asc" and os.access(script, os.X_OK):
        return [str(script)]
    return [sys.executable, "-m", "vault_asc"]
