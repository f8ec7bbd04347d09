"""A new plan is made beside the loop, one at a time, so that reading a configuration and asking servers hold nothing up."""

from collections.abc import Callable
from queue import Empty, SimpleQueue

from vault_asc.errors import VaultAscError
from vault_asc.push import bug
from vault_asc.service.plan import Plan


class Reloads:
    """Wishes for a new plan, and what came of them.

    Args:
        replan: makes the plan; raises our errors.
        spawn: runs a function beside the loop.
        wake: tells the loop that there is something to `take`.
    """

    def __init__(
        self, replan: Callable[[], Plan], spawn: Callable[[Callable[[], None]], object], wake: Callable[[], None]
    ) -> None:
        self._replan = replan
        self._spawn = spawn
        self._wake = wake
        self._made: SimpleQueue[Plan | VaultAscError] = SimpleQueue()
        self._wanted = False
        self._under_way = False

    def want(self) -> None:
        """Ask for a new plan. For signal handlers: it only leaves a note."""
        self._wanted = True
        self._wake()

    def take(self) -> Plan | VaultAscError | None:
        """The new plan, or why there is none; None when nothing is new. Begins to make one when it was asked for."""
        if self._wanted and not self._under_way:
            self._wanted, self._under_way = False, True
            self._spawn(self._make)
        try:
            made = self._made.get_nowait()
        except Empty:
            return None
        self._under_way = False
        return made

    def _make(self) -> None:
        try:
            self._made.put(self._replan())
        except VaultAscError as error:
            self._made.put(error)
        except BaseException as error:  # noqa: BLE001  # a bug in a reload must neither end what works nor all later reloads
            self._made.put(bug(error))
        self._wake()
