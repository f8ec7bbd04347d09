"""A place to try `vault-asc run` in without any account: a real OpenBao, simulators, many targets, and outages to order.

Where `vault_asc.lab.demo` shows, here people type themselves; `serve` leaves Vault to them, too.
"""

import json
import os
import shlex
import sys
from collections.abc import Callable, Iterable
from enum import Enum
from pathlib import Path
from typing import Final, NamedTuple

from vault_asc.clock import format_duration, system_clock
from vault_asc.errors import ConfigError
from vault_asc.files import write_atomic
from vault_asc.lab.faults import answered
from vault_asc.lab.serve import CREDENTIAL_ID, ISSUER_ID, KEY_ID
from vault_asc.lab.world import World

LISTEN: Final = "127.0.0.1:9411"
PID_FILE: Final = "pid"
"""Holds the process ID, for `kill`. Written last: when it is there, everything is."""
_TOKEN_PERIOD: Final = 1200  # seconds, as docs/service.md advises
_FOR_EVER: Final = 10**9  # requests
_BEATS_THE_FILE: Final = ("VAULT_ADDR", "BAO_ADDR", "VAULT_NAMESPACE", "BAO_NAMESPACE", "VAULT_CACERT", "BAO_CACERT")

Echo = Callable[[str], None]


class Order(Enum):
    """What whoever tries things out may ask for while everything runs."""

    NEXLA = "Nexla fails, or is well again"
    VAULT = "Vault is sealed, or unsealed"
    END = "all ends"


class Size(NamedTuple):
    """How large the configuration becomes.

    Attributes:
        targets: how many.
        accounts: how many Nexla accounts they are dealt out to.
        usable_life: seconds that their tokens live.
    """

    targets: int
    accounts: int = 1
    usable_life: int = 1080


def try_out(directory: Path, size: Size, orders: Iterable[Order], echo: Echo) -> None:
    """Set everything up, print what to type next, and follow orders until `Order.END`.

    Args:
        directory: a new or empty one for configuration, state and tokens; `ConfigError` otherwise. Removed at the end.
        size: of the configuration.
        orders: what is asked for.
        echo: takes one line, or several.
    """
    names = [f"t{number:0{len(str(size.targets))}}" for number in range(1, size.targets + 1)]
    targets = {name: CREDENTIAL_ID + number for number, name in enumerate(names)}
    where = _fresh(directory)
    with World(
        usable_life=size.usable_life,
        token_period=_TOKEN_PERIOD,
        targets=targets,
        accounts=size.accounts,
        directory=where,
    ) as world:
        _give_a_key(world)
        _let_it_log_in(world)
        write_atomic(where / PID_FILE, str(os.getpid()).encode(), now=system_clock())
        echo(_next(world, names[0]))
        _follow(world, orders, echo)


def _fresh(directory: Path) -> Path:
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        if any(directory.iterdir()):
            raise ConfigError(
                f'"{directory}" is not empty, and whatever lies there would be removed at the end',
                hint="name a directory that does not exist yet, or remove this one first",
            )
    except OSError as exc:
        raise ConfigError(
            f'cannot use "{directory}" as a directory: {exc.strerror}', hint="name a new one in a directory of yours"
        ) from exc
    return directory.resolve()


def _give_a_key(world: World) -> None:
    file = world.new_key(KEY_ID)
    world.must("key", "import", str(file), "prod", "--issuer-id", ISSUER_ID)
    file.unlink()


def _let_it_log_in(world: World) -> None:
    with world.config_file.open("a", encoding="utf-8") as config:
        config.write(
            f'[vault.auth]\nmethod = "approle"\nrole_id_file = {json.dumps(str(world.dir / "role_id"))}\n'
            f"secret_id_file = {json.dumps(str(world.dir / 'secret_id'))}\n"
        )


def _next(world: World, target: str) -> str:
    """What to type in another terminal, in whatever directory that is."""
    program = shlex.quote(str(Path(sys.executable).with_name("vault-asc")))
    config = f"--config {shlex.quote(str(world.config_file))}"
    said = [name for name in _BEATS_THE_FILE if os.environ.get(name)]
    first = f"  unset {' '.join(said)}    # or another Vault is asked\n" if said else ""
    return f"""\
Targets: {len(world.targets)}, Nexla accounts: {len(world.accounts)}, life of a token: {format_duration(world.usable_life)}. \
Ctrl-C ends it, and removes {world.dir}; end `run` before.
In another terminal:
{first}  {program} run {config} --listen {LISTEN}
in a third one, or in a browser:
  http://{LISTEN}/                           the status page
  curl http://{LISTEN}/healthz               /readyz, /metrics, /status.json
  {program} status {config} --watch
  {program} push {target} {config} --token-file {shlex.quote(str(world.dir / "token"))}
to break things:
  kill -USR1 {os.getpid()}    Nexla answers 503; once more: it is well again
  kill -USR2 {os.getpid()}    Vault is sealed; once more: it is unsealed"""


def _follow(world: World, orders: Iterable[Order], echo: Echo) -> None:
    failing = sealed = False
    for order in iter(iter(orders).__next__, Order.END):
        if order is Order.NEXLA:
            failing = not failing
            world.nexla.inject(answered(503), count=_FOR_EVER) if failing else world.nexla.heal()
            echo("Nexla answers 503 from now on" if failing else "Nexla is well again")
        else:
            sealed = not sealed
            world.server.seal() if sealed else world.server.unseal()
            echo("Vault is sealed" if sealed else "Vault is unsealed")
