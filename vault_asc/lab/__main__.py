"""`python -m vault_asc.lab DIRECTORY`: the simulators alone, until they are interrupted or told to end."""

import signal
import sys
import threading
from pathlib import Path

import click

from vault_asc.errors import VaultAscError
from vault_asc.lab.serve import serve


@click.command()
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
def main(directory: Path) -> None:
    """Run the simulators of Nexla and Apple; the key, the service key and the address go into DIRECTORY."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: stop.set())
    try:
        serve(directory, stop, click.echo)
    except VaultAscError as error:
        click.echo(f"error: {error.message}\nhint: {error.hint}", err=True)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
