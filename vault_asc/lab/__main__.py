"""`python -m vault_asc.lab DIRECTORY`: the simulators alone, or all that `vault-asc run` needs, until told to end."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Final

import click

from vault_asc.errors import VaultAscError
from vault_asc.lab.serve import serve
from vault_asc.lab.tryout import Order, Size, try_out
from vault_asc.tokens import BACKDATE, MAX_LIFETIME

_MOST_TARGETS: Final = 500  # the simulator lists a template for each, and answers grow with them
_MOST_ACCOUNTS: Final = 20
_SHORTEST: Final = 20  # seconds; below, an attempt takes a good part of a life
_ORDERS: Final = {
    signal.SIGUSR1: Order.NEXLA,
    signal.SIGUSR2: Order.VAULT,
    signal.SIGINT: Order.END,
    signal.SIGTERM: Order.END,
}


@click.command()
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--targets",
    type=click.IntRange(1, _MOST_TARGETS),
    help="Run OpenBao, too, and put a configuration with so many targets into DIRECTORY, which must be new or empty.",
)
@click.option(
    "--accounts",
    type=click.IntRange(1, _MOST_ACCOUNTS),
    default=1,
    show_default=True,
    help="With --targets: deal them out to so many Nexla accounts.",
)
@click.option(
    "--usable-life",
    type=click.IntRange(_SHORTEST, MAX_LIFETIME - BACKDATE),
    default=1080,
    show_default=True,
    help="With --targets: seconds that tokens live.",
)
def main(directory: Path, targets: int | None, accounts: int, usable_life: int) -> None:
    """Run the simulators of Nexla and Apple; the key, the service key and the address go into DIRECTORY.

    With --targets the signal USR1 lets Nexla answer 503, and USR2 seals Vault; the same signal once more mends it.
    """
    try:
        if targets is None:
            serve(directory, _stop(), click.echo)
        else:
            try_out(directory, Size(targets, accounts, usable_life), _orders(), click.echo)
    except VaultAscError as error:
        click.echo(f"error: {error.message}\nhint: {error.hint}", err=True)
        sys.exit(error.exit_code)


def _stop() -> threading.Event:
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: stop.set())
    return stop


def _orders() -> Iterator[Order]:
    """What signals ask for, from now on. By a pipe: a signal that comes just before a wait on a lock would be missed."""
    got, wakeup = os.pipe()
    os.set_blocking(wakeup, False)
    signal.set_wakeup_fd(wakeup)
    for number in _ORDERS:
        signal.signal(number, lambda _number, _frame: None)
    return (_ORDERS[signal.Signals(os.read(got, 1)[0])] for _ in count())


if __name__ == "__main__":
    main()
