"""Whether a service key can carry its targets at all: the arithmetic, before anything is begun. Pure.

A refresh is one write and one read at Nexla (PUT and probe), and now and then a second read, the look at the credential;
where the credential shows values of other people it is read before each write. What does not fit here would end in tokens
that are late one after the other, so it is refused at the start.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from vault_asc.config import Target
from vault_asc.errors import ConfigError, VaultAscError
from vault_asc.nexla.allowance import DAY, Allowance
from vault_asc.nexla.discovery import SHARED
from vault_asc.rotation import REFRESH_AT, TargetState, about, retargeted

LOOK_EVERY: Final = 2700.0
"""Seconds between two looks at a credential that nobody else changes, on average."""

_SHORTER: Final = 0.9  # of a target's own life; what is above may be a skew of clocks, not its role
_THOUSAND: Final = 1000
_NOTHING: Final = TargetState()


class Need(NamedTuple):
    """Calls of one kind that the schedule needs, and that are allowed; `kind` is in words."""

    kind: str
    needed: float
    allowed: float

    @property
    def used(self) -> float:
        """The share of what is allowed."""
        return self.needed / self.allowed


class Load(NamedTuple):
    """What the targets of one service key ask for, and what it allows.

    Attributes:
        account: name of the Nexla account.
        targets: how many it has, those of other shards included.
        interval: seconds between two refreshes of a target, on average.
        shared: how many of the targets need a look before each write, as far as is known.
        shortened: how many of them have a role that gives less than the target's lifetime, as far as is known.
        tightest: the limit that leaves least room.
    """

    account: str
    targets: int
    interval: float
    shared: int
    shortened: int
    tightest: Need

    @property
    def capacity(self) -> int:
        """Targets of this kind that one service key can carry."""
        return math.floor(self.targets / self.used + 1e-9)

    @property
    def used(self) -> float:
        """Share of the capacity that is used; above 1 it cannot be."""
        return self.tightest.used

    @property
    def keys_needed(self) -> int:
        """Service keys over which the targets would fit."""
        return math.ceil(self.used - 1e-9)


class _Refresh(NamedTuple):
    """One target: seconds between two refreshes, reads for each of them, and what was not in the configuration."""

    interval: float
    reads: float
    shared: bool
    shortened: bool


def loads(
    targets: Sequence[Target],
    allowances: Mapping[str, Allowance],
    recorded: Callable[[str], TargetState] = lambda _: _NOTHING,
) -> list[Load]:
    """The load of each account that has targets, by name.

    Args:
        targets: all of them, those of other shards too.
        allowances: of each account.
        recorded: what is remembered of a target by its name, for what no configuration tells; may raise our errors.
    """
    found: dict[str, list[_Refresh]] = {}
    for target in targets:
        found.setdefault(target.nexla, []).append(_refresh(target, _remembered(target, recorded)))
    return [_load(account, found[account], allowances[account]) for account in sorted(found)]


def _remembered(target: Target, recorded: Callable[[str], TargetState]) -> TargetState:
    try:
        return about(target, recorded(target.name))
    except VaultAscError:  # told by each attempt
        return _NOTHING


def _refresh(target: Target, state: TargetState) -> _Refresh:
    life = target.request.usable_life
    shared = bool(state.plan.get(SHARED))
    shortened = target.role is not None and 0 < state.usable_life < life * _SHORTER
    if (shared or shortened) and retargeted(target, state):
        return _refresh(target, _NOTHING)
    interval = (state.usable_life if shortened else life) * REFRESH_AT
    return _Refresh(interval, 2 if shared else 1 + interval / LOOK_EVERY, shared, shortened)


def _load(account: str, refreshes: Sequence[_Refresh], allowance: Allowance) -> Load:
    writes = sum(1 / each.interval for each in refreshes)
    reads = sum(each.reads / each.interval for each in refreshes)
    needs = (
        Need("writes a second", writes, allowance.writes),
        Need("reads a second", reads, allowance.reads),
        Need("writes a day", writes * DAY, allowance.daily_writes),
        Need("reads a day", reads * DAY, allowance.daily_reads),
    )
    shared, shortened = sum(each.shared for each in refreshes), sum(each.shortened for each in refreshes)
    tightest = max(needs, key=lambda need: need.used)
    return Load(account, len(refreshes), len(refreshes) / writes, shared, shortened, tightest)


def check(found: Sequence[Load]) -> None:
    """Refuse, with `ConfigError` and the arithmetic, what no service key can carry."""
    for load in found:
        if load.used > 1 + 1e-9:
            raise ConfigError(
                f'capacity of Nexla account "{load.account}": {load.targets} > {load.capacity}, so refreshing each token'
                f" at half of its life is impossible; {arithmetic(load)}",
                hint=f"shard over {load.keys_needed} service keys, each of a Nexla user of its own: [nexla.NAME] tables, and"
                " nexla = in the targets; --shard does not help, for all processes share the limit of a user",
            )


def arithmetic(load: Load) -> str:
    """How the capacity comes about, in words."""
    each = f"one refresh every {_number(load.interval)} s: a write, a probe, a look each {LOOK_EVERY / 60:.0f} min"
    if load.shared:
        each += f", but before each write for {load.shared} that show values of others"
    if load.shortened:
        each += f"; {load.shortened} have a role that gives less than their lifetime"
    need = load.tightest
    return (
        f"{load.targets} targets need {_number(need.needed)} {need.kind} ({each}),"
        f" the service key's user may make {_number(need.allowed)}"
    )


def _number(number: float) -> str:
    return f"{number:,.0f}" if number >= _THOUSAND else f"{number:.4g}"
