"""One pass over targets: those that are due, earliest expiry first, one lock each, within one deadline.

What a target needs is in `rotation`; this module adds order, locks, state files and the clock's end.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from vault_asc.clock import Clock
from vault_asc.config import Target
from vault_asc.errors import BusyError, ConfigError, TargetError, VaultAscError
from vault_asc.rotation import TargetState, Tick, about, attempted, due, urgency
from vault_asc.state import StateDir, read_tick

if TYPE_CHECKING:
    from vault_asc.refreshing import Ports

DEADLINE: Final = 50.0
"""Seconds for a whole pass; the Agent kills its exec after 60."""
NOT_TRIED: Final = "not tried"
"""Reason of a result for which no time was left; the target is as it was."""
_POLL: Final = 0.1  # seconds between two looks at a lock
_LEAST: Final = 5.0  # seconds that an attempt needs to be worth beginning


class Result(NamedTuple):
    """What a pass did with one target.

    Attributes:
        target: which one.
        reason: why it was due, or why nothing was done.
        state: its state afterwards; None when nothing was done.
        error: set when the attempt could not even be made or recorded.
        recorded: whether the state file tells of it; an attempt with a state was made all the same.
    """

    target: Target
    reason: str
    state: TargetState | None = None
    error: VaultAscError | None = None
    recorded: bool = False


class Pass:
    """How a pass is to be made.

    Args:
        states: the state directory.
        ticks: the Agent's tick files; None without an Agent.
        only_due: leave targets alone that are not due.
        dry: tell what is due, do nothing.
        clock: Unix seconds.
        ports: opens the connections; called at most once, and only when something is due.
        elapsed: seconds that no change of the wall clock moves, for the end of the pass.
        patience: seconds to wait for a target that another process holds.
    """

    def __init__(
        self,
        states: StateDir,
        ticks: Path | None,
        *,
        only_due: bool,
        dry: bool,
        clock: Clock,
        ports: "Callable[[], Ports]",
        elapsed: Clock = time.monotonic,
        patience: float = 0,
    ) -> None:
        self.states = states
        self.ticks = ticks
        self.only_due = only_due
        self.dry = dry
        self.clock = clock
        self.ports = ports
        self.elapsed = elapsed
        self.patience = patience
        self._end = 0.0

    def run(self, targets: Sequence[Target]) -> list[Result]:
        """Make the pass; one result per target, in the order of work."""
        self._end = self.elapsed() + DEADLINE
        opened: list[Ports | VaultAscError] = []
        results = []
        for target in self._by_expiry(targets):
            if self._end - self.elapsed() < _LEAST:
                results.append(Result(target, NOT_TRIED, error=_too_late(), recorded=True))
            else:
                results.append(self._one(target, opened))
        return results

    def _by_expiry(self, targets: Sequence[Target]) -> list[Target]:
        now = self.clock()
        return sorted(targets, key=lambda target: _urgency(self.states, target, now))

    def _one(self, target: Target, opened: "list[Ports | VaultAscError]") -> Result:
        try:
            reason = self._reason(target, self.states.load(target.name))
            if reason is None:
                return Result(target, "not due")
            if self.dry:
                return Result(target, f"due: {reason}")
            with self._held(target):
                return self._locked(target, opened)
        except BusyError as error:
            return Result(target, "busy: another push holds it", error=error)
        except VaultAscError as error:
            return Result(target, "no attempt was possible", error=error)
        except Exception as error:  # noqa: BLE001  # one target's bug must not let the tokens of the others die
            return Result(target, "no attempt was possible", error=bug(error))

    @contextlib.contextmanager
    def _held(self, target: Target) -> Iterator[None]:
        """The lock of a target, waited for as long as patience and the pass allow."""
        give_up = min(self.elapsed() + self.patience, self._end - _LEAST)
        with contextlib.ExitStack() as stack:
            while True:
                try:
                    stack.enter_context(self.states.lock(target.name))
                    break
                except BusyError:
                    if self.elapsed() >= give_up:
                        raise
                    time.sleep(_POLL)
            yield

    def _locked(self, target: Target, opened: "list[Ports | VaultAscError]") -> Result:
        # Read again under the lock: whoever held it may just have done the work.
        state = self.states.load(target.name)
        reason = self._reason(target, state)
        if reason is None:
            return Result(target, "not due")
        if not opened:
            opened.append(self._open())
        self.states.begin(target.name, self.clock())
        after, error = self._attempt(target, state, opened[0])
        try:
            self.states.save(target.name, after, self.clock())
        except VaultAscError as unsaved:
            return Result(target, reason, after, unsaved)
        finally:
            self.states.end(target.name)
        return Result(target, reason, after, error, recorded=True)

    def _attempt(
        self, target: Target, state: TargetState, ports: "Ports | VaultAscError"
    ) -> tuple[TargetState, VaultAscError | None]:
        """One attempt, all calls of which end with the pass, however slowly the servers answer.

        The error is what kept an attempt from being made: no ports, or a bug.
        """
        from vault_asc.refreshing import failed, refresh  # a pass with nothing due does without

        tick = self._tick(target)
        tried = attempted(target, state, tick, self.clock())
        if isinstance(ports, VaultAscError):
            return failed(target, tried, ports, self.clock()), ports
        from vault_asc.http import Deadline, within

        try:
            with within(Deadline(self._end)):
                return refresh(target, state, tick, ports), None
        except Exception as error:  # noqa: BLE001  # as in `_one`, and here it can be recorded
            return failed(target, tried, found := bug(error), self.clock()), found

    def _open(self) -> "Ports | VaultAscError":
        """The ports, or why there are none: what fails for one target of a pass fails for all."""
        try:
            return self.ports()
        except VaultAscError as error:
            return error
        except Exception as error:  # noqa: BLE001  # as in `_one`
            return bug(error)

    def _reason(self, target: Target, state: TargetState) -> str | None:
        reason = due(target, state, self._tick(target), self.clock())
        return reason or (None if self.only_due else "asked for")

    def _tick(self, target: Target) -> Tick | None:
        """What the Agent saw of the record; None without an Agent, and by a role, of which there is no record to watch."""
        return read_tick(self.ticks, target.key) if self.ticks and target.key is not None else None


def bug(error: BaseException) -> VaultAscError:
    """What may be told of a bug: its class alone, because its text may hold anything, a secret too."""
    return VaultAscError(
        f"internal error ({type(error).__name__}): a bug of vault-asc, which does not touch other targets",
        hint="please report it, with the output of: vault-asc --version",
    )


def _too_late() -> TargetError:
    return TargetError(
        f"the {DEADLINE:.0f} s of this pass were over before its turn; its state is unchanged",
        hint="push again; if this goes on though nothing fails, vault-asc run does many at a time",
    )


def _urgency(states: StateDir, target: Target, now: float) -> tuple[bool, float]:
    try:
        return urgency(about(target, states.load(target.name)), now)
    except ConfigError:
        return True, 0
