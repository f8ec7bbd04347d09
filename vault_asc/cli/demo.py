"""`vault-asc demo`: everything on this machine."""

import signal

import click

from vault_asc.errors import ConfigError


@click.command()
def demo() -> None:
    """Watch it all work on this machine, for a minute.

    Starts OpenBao, its Agent and simulators of Nexla and Apple on free ports of 127.0.0.1, with lives shortened to
    seconds, rotates the key once, and leaves nothing behind. Needs the extra "lab".
    """
    from vault_asc.lab import HOW_TO_INSTALL

    try:
        from vault_asc.lab.demo import run_demo
    except ImportError as exc:
        raise ConfigError(f'the demo needs the package "{exc.name}"', hint=HOW_TO_INSTALL) from exc
    # Ended from outside it cleans up as after Ctrl-C: the server, the Agent, and the directory with their secrets.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    run_demo(click.echo)
