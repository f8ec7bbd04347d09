"""Whether a service key can carry its targets at all: the arithmetic, before anything is begun. Pure.

A refresh is one write and one read at Nexla (PUT and probe) once the discovery is known. What does not fit here would
end in tokens that die one after the other, so it is refused at the start.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from vault_asc.config import Target
from vault_asc.errors import ConfigError
from vault_asc.nexla.allowance import DAY, Allowance
from vault_asc.rotation import REFRESH_AT

CALLS: Final = 2
"""Calls at Nexla per refresh in steady state: one write, one read."""


class Load(NamedTuple):
    """What the targets of one service key ask for, and what it allows.

    Attributes:
        account: name of the Nexla account.
        targets: how many it has, those of other shards included.
        per_second: refreshes in a second, over all of them.
        allowed: refreshes in a second that the limits of a second and of a day leave.
        daily: whether the day's limit is the tighter one.
    """

    account: str
    targets: int
    per_second: float
    allowed: float
    daily: bool

    @property
    def capacity(self) -> int:
        """Targets of this kind that one service key can carry."""
        return math.floor(self.targets * self.allowed / self.per_second + 1e-9) if self.targets else 0

    @property
    def used(self) -> float:
        """Share of the capacity that is used; above 1 it cannot be."""
        return self.per_second / self.allowed

    @property
    def keys_needed(self) -> int:
        """Service keys over which the targets would fit."""
        return math.ceil(self.used - 1e-9)


def loads(targets: Sequence[Target], allowances: Mapping[str, Allowance]) -> list[Load]:
    """The load of each account that has targets, by name."""
    return [
        _load(name, [target for target in targets if target.nexla == name], allowances[name])
        for name in sorted({target.nexla for target in targets})
    ]


def _load(account: str, targets: Sequence[Target], allowance: Allowance) -> Load:
    per_second = sum(1 / (target.request.usable_life * REFRESH_AT) for target in targets)
    now = min(allowance.writes, allowance.reads)
    day = min(allowance.daily_writes, allowance.daily_reads) / DAY
    return Load(account, len(targets), per_second, min(now, day), day < now)


def check(found: Sequence[Load]) -> None:
    """Refuse, with `ConfigError` and the arithmetic, what no service key can carry."""
    for load in found:
        if load.used > 1:
            raise ConfigError(
                f'capacity of Nexla account "{load.account}": {load.targets} > {load.capacity}; {arithmetic(load)}',
                hint=f"shard over {load.keys_needed} service keys: [nexla.NAME] tables, and nexla = in the targets",
            )


def arithmetic(load: Load) -> str:
    """How the capacity comes about, in words."""
    span, factor = ("a day", DAY) if load.daily else ("a second", 1.0)
    return (
        f"{load.targets} targets need {load.per_second * factor:.4g} refreshes {span}"
        f" ({CALLS} calls each: a write and a read), the service key's user may make {load.allowed * factor:.4g}"
    )
