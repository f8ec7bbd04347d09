"""All that looks at the service, brought together: for the command that runs it."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

from vault_asc.errors import ConfigError
from vault_asc.listen import Listen
from vault_asc.service.events import Event, Tell
from vault_asc.service.listening.hanging import HangingAttempts
from vault_asc.service.listening.heartbeat import POLL, Heartbeat
from vault_asc.service.listening.notify import Notifier
from vault_asc.service.listening.observer import Observer, reloads
from vault_asc.service.listening.sockets import listening
from vault_asc.service.loop import Service
from vault_asc.service.plan import Plan


def _none() -> int:
    return 0


class Outside:
    """What the service is given to be seen by.

    Args:
        tell: where events go.
        notifier: systemd, or nobody.
        lines_lost: how many events could not be written down.

    Attributes:
        observer: what is seen.
    """

    def __init__(self, tell: Tell, notifier: Notifier, lines_lost: Callable[[], int] = _none) -> None:
        self.observer = Observer(tell, lines_lost)
        self._notifier = notifier

    def tell(self, event: Event) -> None:
        """Take events of the service."""
        self.observer.tell(event)
        if event.name in {"started", "reloaded", "reload refused"}:
            self._notifier.ready()

    def reloads(self, replan: Callable[[], Plan]) -> Callable[[], Plan]:
        """The way to a new plan, announced to systemd."""
        return reloads(replan, self._notifier.reloading)

    def watch(self, service: Service) -> None:
        """The service is there: look at it from now on."""
        self.observer.watch(service)


@contextmanager
def outside(
    listen: Listen | None, notifier: Notifier, tell: Tell, lines_lost: Callable[[], int] = _none
) -> Iterator[Outside]:
    """Listen and beat during the block; `ConfigError` when there can be no listener."""
    seen = Outside(tell, notifier, lines_lost)
    with ExitStack() as stack:
        if listen is not None:
            stack.enter_context(_served(listen, seen.observer, tell))
        heartbeat = Heartbeat(notifier, seen.observer, time.monotonic)
        stack.enter_context(_beating(heartbeat, HangingAttempts(tell), seen.observer))
        yield seen


@contextmanager
def _served(listen: Listen, observer: Observer, tell: Tell) -> Iterator[None]:
    try:
        from vault_asc.service.listening.answers import Answers
    except ModuleNotFoundError as exc:
        raise ConfigError(
            f'nothing can listen on "{listen}": {exc.name} is not installed; nothing was begun',
            hint="in a checkout: pip install --require-hashes -r requirements/run.txt; or leave out run.listen",
        ) from exc
    from vault_asc.service.listening.server import Server

    def failed(name: str) -> None:
        tell(Event("listener failed", logging.ERROR, None, {"detail": f"internal error ({name})"}))

    with listening(listen) as opened:
        bound = listen if listen.path else listen._replace(port=opened.getsockname()[1])
        tell(Event("listening", logging.INFO, None, {"address": str(bound)}))
        server = Server(opened, Answers(observer).to, failed)
        server.begin()
        try:
            yield
        finally:
            server.shutdown()


@contextmanager
def _beating(heartbeat: Heartbeat, hanging: HangingAttempts, observer: Observer) -> Iterator[None]:
    over = threading.Event()

    def beat() -> None:
        while not over.wait(POLL):
            with suppress(Exception):  # a bug in what is told must not end the signs of life of a service that is well
                heartbeat.beat()
                hanging.look(observer.flying())

    threading.Thread(target=beat, name="heartbeat", daemon=True).start()
    try:
        yield
    finally:
        heartbeat.end()
        over.set()
