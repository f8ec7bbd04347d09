"""`vault-asc run`: all targets kept fresh by one process, for ever."""

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vault_asc.cli.output import silence
from vault_asc.cli.outside import listen_option, seen_from_outside
from vault_asc.cli.signals import Signals
from vault_asc.cli.wiring import Connection, vault_options

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator

    from vault_asc.service.events import Tell
    from vault_asc.service.log import Log
    from vault_asc.service.loop import Service
    from vault_asc.service.shard import Shard

_KILLED = 143  # what a shell reports for a program that SIGTERM ended


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
    signals = Signals()
    signals.install()
    from vault_asc.cli.planning import Fixed, Planner
    from vault_asc.clock import system_clock
    from vault_asc.service.clocks import SteadyClock
    from vault_asc.service.crew import Threads
    from vault_asc.service.loop import Service
    from vault_asc.service.shard import Shard
    from vault_asc.service.traffic import Traffic
    from vault_asc.state import StateDir

    part = Shard.parse(shard, os.environ)
    config = connection.config()
    fixed = Fixed.of(config, by_option=listen is not None)
    states = StateDir(fixed.state)
    clock = SteadyClock()
    # What mints goes by the wall clock, whatever was done to it just now.
    traffic = Traffic(system_clock, clock.elapsed)
    with (
        _logging(log_format) as log,
        states.served(),
        connection.logging_in() as connected,
        seen_from_outside(listen, config, log, once=once) as seen,
    ):
        _logins_told(connected, seen.tell)
        replan = Planner(connected, part, states, traffic, log.tell, fixed).plan
        plan = replan()
        _beside(lambda: states.sweep(plan.targets))  # a directory that hangs must not hold up the start
        service = Service(plan, Threads(0), clock, traffic, tell=seen.tell, replan=seen.reloads(replan), spawn=_beside)
        seen.watch(service)
        signals.serve(service)
        return _served(service, part, once=once)


def _served(service: "Service", shard: "Shard", *, once: bool) -> int:
    """Run it; the exit code."""
    import logging

    from vault_asc.service.events import Event
    from vault_asc.service.telling import of_stop

    facts = {"targets": len(service.roster.tracks), "shard": str(shard), "workers": service.plan.workers}
    service.tell(Event("started", logging.INFO, None, facts))
    if once:
        return _passed(service)
    finished = service.run()
    service.tell(of_stop(service.flights))
    return 0 if finished else _KILLED


def _passed(service: "Service") -> int:
    """Make a single pass; the exit code."""
    from vault_asc.cli.pushing import exit_code
    from vault_asc.service.once import StoppedError, done
    from vault_asc.service.telling import of_stop

    results = service.run_once()
    stopped = sum(isinstance(result.error, StoppedError) for result in results)
    if stopped:
        service.tell(of_stop(service.flights, not_tried=stopped - len(service.flights)))
    service.tell(done(results, len(service.roster.tracks)))
    return _KILLED if stopped else exit_code(results)


# -- around it ----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _logging(log_format: str) -> "Iterator[Log]":
    """Events go to standard error; one that is closed, or that nobody reads, must not stop the service."""
    from vault_asc.service.events import as_json, as_text
    from vault_asc.service.log import Log

    with Path(os.devnull).open("wb") as nowhere:
        # Where it was closed from the start its number may be that of a connection by now.
        file = nowhere.fileno() if sys.stderr is None else sys.stderr.fileno()
        log = Log(file, as_json if log_format == "json" else as_text)
        try:
            with _deaths_told(log.tell):
                yield log
        finally:
            if not log.close() and sys.stderr is not None:
                silence(sys.stderr)  # nobody reads it: what is still said at the end would wait for ever


@contextlib.contextmanager
def _deaths_told(tell: "Tell") -> "Iterator[None]":
    """Tell of a thread that a bug ends by the class of the bug alone: its text may hold anything, a secret too."""
    import logging
    import threading

    from vault_asc.service.events import Event

    def died(what: "threading.ExceptHookArgs") -> None:
        name = what.thread.name if what.thread is not None else "unknown"
        facts = {"thread": name, "detail": f"internal error ({what.exc_type.__name__})"}
        tell(Event("thread died", logging.ERROR, None, facts))

    before, threading.excepthook = threading.excepthook, died
    try:
        yield
    finally:
        threading.excepthook = before


def _logins_told(connected: Connection, tell: "Tell") -> None:
    from vault_asc.service.telling import of_login

    if connected.logins is not None:
        connected.logins.told = lambda news: tell(of_login(news))


def _beside(work: "Callable[[], None]") -> None:
    """Run something beside the loop; it does not keep the process from ending."""
    import threading

    threading.Thread(target=work, name="beside the loop", daemon=True).start()
