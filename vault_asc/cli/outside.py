"""What belongs to `vault-asc run` being seen from outside: its option, and what the option and systemd ask for."""

import os
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from vault_asc.service.listening.outside import Outside
    from vault_asc.service.log import Log
    from vault_asc.settings import Config

listen_option = click.option(
    "--listen",
    metavar="ADDRESS",
    help="Serve health, metrics and a status page on 127.0.0.1:PORT, [::1]:PORT or unix:///PATH, in place of run.listen.",
)


def seen_from_outside(
    listen: str | None, config: "Config", log: "Log", *, once: bool
) -> "AbstractContextManager[Outside]":
    """Listener and systemd for the time of a block; a single pass has no listener. `ConfigError`."""
    from vault_asc.errors import ConfigError
    from vault_asc.listen import parse_listen
    from vault_asc.secret import safe_text
    from vault_asc.service.listening.notify import Notifier
    from vault_asc.service.listening.outside import outside

    if once and listen is not None:
        raise ConfigError(
            f'--once makes one pass and ends, so nothing would answer on "{safe_text(listen)}"; nothing was begun',
            hint="leave out --listen, or --once",
        )
    where = config.run.listen if listen is None else parse_listen(listen, "--listen")
    return outside(None if once else where, Notifier.of(os.environ), log.tell, lambda: log.lost)
