"""`vault-asc run`: all targets kept fresh by one process, for ever."""

import os
from functools import partial
from typing import TYPE_CHECKING

import click

from vault_asc.cli.outside import listen_option, seen_from_outside
from vault_asc.cli.wiring import Connection, vault_options
from vault_asc.errors import VaultAscError

if TYPE_CHECKING:
    from collections.abc import Callable

    from vault_asc import http
    from vault_asc.config import Config
    from vault_asc.nexla.allowance import Allowance
    from vault_asc.nexla.publisher import NexlaPublisher
    from vault_asc.service.events import Event, Tell
    from vault_asc.service.loop import Service
    from vault_asc.service.plan import Plan
    from vault_asc.service.shard import Shard
    from vault_asc.service.traffic import Seen, Traffic
    from vault_asc.state import StateDir

_KILLED = 143  # what a shell reports for a program that SIGTERM ended
_ASKING = 5.0  # seconds for all questions for limits together: a dead account must not hold up the start of the others


@click.command()
@click.option("--once", is_flag=True, help="Try what is due now, once, and exit as push does.")
@click.option(
    "--shard",
    default="0/1",
    show_default=True,
    help="Only a part of the targets: 0/4 to 3/4, or auto/4 for the ordinal of the pod in Kubernetes.",
)
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="How events are written to standard error, one on each line.",
)
@listen_option
@vault_options
def run(*, once: bool, shard: str, log_format: str, listen: str | None, connection: Connection) -> int:
    """Keep all targets fresh, for ever.

    \b
    SIGTERM  finish what is in flight, 10 s at most, and exit
    SIGHUP   read the configuration again; a bad one is told and not taken
    """
    from vault_asc.clock import system_clock
    from vault_asc.config import state_dir
    from vault_asc.service.clocks import SteadyClock
    from vault_asc.service.crew import Threads
    from vault_asc.service.loop import Service
    from vault_asc.service.shard import Shard
    from vault_asc.service.traffic import Traffic
    from vault_asc.state import StateDir

    part = Shard.parse(shard, os.environ)
    states = StateDir(state_dir(connection.config(), os.environ))
    tell = _telling(log_format)
    clock = SteadyClock()
    # What mints goes by the wall clock, whatever was done to it just now.
    traffic = Traffic(system_clock, clock.elapsed)
    with (
        states.served(),
        connection.logging_in() as connected,
        seen_from_outside(listen, connection.config(), tell, once=once) as seen,
    ):
        replan = partial(_plan, connected, part, states, traffic, tell)
        plan = replan()
        service = Service(plan, Threads(0), clock, traffic, tell=seen.tell, replan=seen.reloads(replan), spawn=_beside)
        seen.watch(service)
        return _served(service, part, once=once)


def _served(service: "Service", shard: "Shard", *, once: bool) -> int:
    """Run it, with the signals in place; the exit code."""
    import logging
    import signal

    from vault_asc.cli.pushing import exit_code
    from vault_asc.service.events import Event

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: service.stop())
    signal.signal(signal.SIGHUP, lambda *_: service.reload())
    facts = {"targets": len(service.roster.tracks), "shard": str(shard), "workers": service.plan.workers}
    service.tell(Event("started", logging.INFO, None, facts))
    if once:
        return exit_code(service.run_once())
    finished = service.run()
    level = logging.INFO if finished else logging.ERROR
    service.tell(Event("stopped", level, None, {"in_flight": len(service.flights)}))
    return 0 if finished else _KILLED


# -- what the configuration means ---------------------------------------------------------------------------------


def _plan(connection: Connection, shard: "Shard", states: "StateDir", traffic: "Traffic", tell: "Tell") -> "Plan":
    """Read the configuration and connect. `ConfigError` when it cannot be, or cannot be met."""
    from vault_asc import http
    from vault_asc.cli.pushing import chosen_targets
    from vault_asc.clock import system_clock
    from vault_asc.nexla.publisher import NexlaPublisher
    from vault_asc.service.attempt import Attempter, guarded
    from vault_asc.service.capacity import check, loads
    from vault_asc.service.plan import Plan

    config = connection.config()
    targets = shard.of(chosen_targets(config, (), all_targets=True))
    accounts = sorted({target.nexla for target in targets})
    vault = http.endpoint(http.base_url(config.vault.address))
    hosts = {name: http.endpoint(config.account(name).api_url) for name in accounts}
    ports = connection.ports(config)
    publisher = ports.publisher
    if not isinstance(publisher, NexlaPublisher):
        raise TypeError(type(publisher).__name__)
    seen: list[Seen] = []
    granted = _granted(config, publisher, accounts, traffic, tell, seen)
    whole = [target for target in config.targets if target.nexla in granted]
    found = loads(whole, granted)
    check(found)
    own = {name: sum(target.nexla == name for target in targets) for name in accounts}
    ports = guarded(ports, traffic, vault, hosts, lambda account: publisher.client(account).allowance())
    return Plan(
        targets=targets,
        attempt=Attempter(states, ports, traffic, system_clock),
        recorded=states.load,
        vault=vault,
        hosts=hosts,
        allowances={load.account: granted[load.account].part(own[load.account] / load.targets) for load in found},
        workers=config.run.workers,
        loads=tuple(found),
        seen=tuple(seen),
    )


def _granted(
    config: "Config",
    publisher: "NexlaPublisher",
    accounts: list[str],
    traffic: "Traffic",
    tell: "Tell",
    seen: "list[Seen]",
) -> "dict[str, Allowance]":
    """What each account may do, for one of the replicas. Nexla is asked; what does not answer is no reason to stop.

    The calls are added to `seen`.
    """
    from concurrent.futures import ThreadPoolExecutor

    from vault_asc.http import Deadline

    by = Deadline.after(_ASKING)
    with ThreadPoolExecutor(max(1, min(len(accounts), config.run.workers))) as pool:
        told = pool.map(lambda name: _asked(publisher, name, traffic, by, tell, seen), accounts)
        return {
            name: _at_most(answer, config.run.rate).part(1 / config.run.replicas)
            for name, answer in zip(accounts, told, strict=True)
        }


def _asked(
    publisher: "NexlaPublisher",
    account: str,
    traffic: "Traffic",
    by: "http.Deadline",
    tell: "Tell",
    seen: "list[Seen]",
) -> "Allowance | None":
    import logging

    from vault_asc import http
    from vault_asc.service.events import Event

    with http.within(by), traffic.recorded() as calls:
        try:
            return publisher.client(account).allowance()
        except VaultAscError as error:
            facts = {"account": account, "detail": error.message}
            tell(Event("limits unknown", logging.WARNING, None, facts))
            return None
        finally:
            seen += calls


def _at_most(told: "Allowance | None", rate: int | None) -> "Allowance":
    """The smaller one of what Nexla tells and what is configured; where both say nothing, Nexla's usual limits."""
    from vault_asc.nexla.allowance import DEFAULT

    if rate is None:
        return told or DEFAULT
    if told is None:
        return DEFAULT._replace(writes=float(rate), reads=rate * DEFAULT.reads / DEFAULT.writes)
    return told.at_most(rate)


# -- around it ----------------------------------------------------------------------------------------------------


def _telling(log_format: str) -> "Tell":
    """Events go through `logging`, to standard error; a closed one must not stop the service."""
    import logging
    import sys

    from vault_asc.clock import system_clock
    from vault_asc.service.events import as_json, as_text

    logging.raiseExceptions = False
    logger = logging.getLogger("vault_asc.run")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.handlers = [logging.StreamHandler(sys.stderr)]
    line = as_json if log_format == "json" else as_text

    def tell(event: "Event") -> None:
        logger.log(event.level, "%s", line(event, system_clock()))

    return tell


def _beside(work: "Callable[[], None]") -> None:
    """Run something beside the loop; it does not keep the process from ending."""
    import threading

    threading.Thread(target=work, name="reload", daemon=True).start()
