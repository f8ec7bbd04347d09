"""What a configuration means for the service, ready to be carried out: made at the start, and again by a reload."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from vault_asc.config import Target
from vault_asc.nexla.allowance import Allowance
from vault_asc.rotation import TargetState
from vault_asc.service.attempt import Attempted
from vault_asc.service.capacity import Load
from vault_asc.service.traffic import Seen


class Plan(NamedTuple):
    """Targets of this process and what is needed to keep them fresh.

    Attributes:
        targets: of this shard.
        attempt: makes one attempt, in a worker.
        recorded: reads the state of a target by its name; raises our errors.
        vault: endpoint of Vault.
        hosts: endpoint of each Nexla account.
        allowances: what this process may do at each account.
        workers: attempts at the same time.
        loads: what the targets ask of the accounts, for people.
        seen: calls that were made for it: servers that have answered just now need not prove themselves first.
    """

    targets: tuple[Target, ...]
    attempt: Callable[[Target], Attempted]
    recorded: Callable[[str], TargetState]
    vault: str
    hosts: Mapping[str, str]
    allowances: Mapping[str, Allowance]
    workers: int
    loads: tuple[Load, ...] = ()
    seen: tuple[Seen, ...] = ()
