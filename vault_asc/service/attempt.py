"""One attempt for one target, as a worker makes it: a pass of `push` over this target alone, and what it saw.

So lock, state file, deadline and the treatment of bugs are those of `push`, and the two can work side by side.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from vault_asc.clock import Clock
from vault_asc.config import Target
from vault_asc.errors import VaultAscError
from vault_asc.push import Pass, Result, bug
from vault_asc.refreshing import Ports
from vault_asc.rotation import TargetState
from vault_asc.service.skew import REFUSE
from vault_asc.service.traffic import Seen, Traffic
from vault_asc.state import StateDir

if TYPE_CHECKING:
    from vault_asc.tokens import Token

_NOTHING: Final[tuple[Seen, ...]] = ()


class Attempted(NamedTuple):
    """What came of an attempt.

    Attributes:
        result: as `push` tells it.
        state: what is recorded now, whoever did the work; None when that cannot be read.
        seen: the calls that were made.
    """

    result: Result
    state: TargetState | None
    seen: tuple[Seen, ...] = _NOTHING


def broken_off(target: Target, error: BaseException) -> Attempted:
    """An attempt that a bug has ended."""
    return Attempted(Result(target, "no attempt was possible", error=bug(error)), None)


class Attempter:
    """Makes attempts; called by many workers at the same time.

    Args:
        states: the state directory.
        ports: of the configuration, see `guarded`.
        traffic: shared by all attempts.
        clock: Unix seconds.
    """

    def __init__(self, states: StateDir, ports: Ports, traffic: Traffic, clock: Clock) -> None:
        self._states = states
        self._ports = ports
        self._traffic = traffic
        self._clock = clock

    def __call__(self, target: Target) -> Attempted:
        """One attempt. What `Pass` does not catch is caught by the crew."""
        with self._traffic.recorded() as seen:
            one = Pass(self._states, None, only_due=True, dry=False, clock=self._clock, ports=lambda: self._ports).run(
                [target]
            )[0]
        return Attempted(one, one.state or self._recorded(target), tuple(seen))

    def _recorded(self, target: Target) -> TargetState | None:
        try:
            return self._states.load(target.name)
        except VaultAscError:
            return None


def guarded(
    ports: Ports, traffic: Traffic, vault: str, hosts: Mapping[str, str], ask: Callable[[str], object]
) -> Ports:
    """The ports, with a mint that refuses while our clock is wrong.

    Args:
        ports: of the configuration.
        traffic: what the servers' clocks say.
        vault: endpoint of Vault. Every mint asks it, so its clock is always known.
        hosts: endpoint of each Nexla account.
        ask: makes a harmless call to an account: a clock that was wrong is looked at again before the next refusal.
    """

    def mint(target: Target) -> "tuple[Token, int]":
        minted = ports.mint(target)
        host = hosts[target.nexla]
        skew = traffic.skews.of(host, traffic.elapsed())
        if skew is not None and abs(skew) > REFUSE:
            ask(target.nexla)
        traffic.skews.check((vault, host), traffic.elapsed())
        return minted

    return replace(ports, mint=mint)
