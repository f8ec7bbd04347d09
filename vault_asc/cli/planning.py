"""From a configuration to the plan of `vault-asc run`: read it, ask the servers, and see whether it can be met."""

import os
from typing import TYPE_CHECKING, Final, NamedTuple

from vault_asc.errors import ConfigError, VaultAscError

if TYPE_CHECKING:
    from pathlib import Path

    from vault_asc import http
    from vault_asc.cli.wiring import Connection
    from vault_asc.config import Config
    from vault_asc.listen import Listen
    from vault_asc.nexla.allowance import Allowance
    from vault_asc.nexla.publisher import NexlaPublisher
    from vault_asc.service.events import Tell
    from vault_asc.service.plan import Plan
    from vault_asc.service.shard import Shard
    from vault_asc.service.traffic import Seen, Traffic
    from vault_asc.state import StateDir

_ASKING: Final = 5.0
"""Seconds for all questions for limits together: a dead account must not hold up the start of the others."""


class Fixed(NamedTuple):
    """What the service keeps as long as it runs, whatever a configuration says that is read later.

    Attributes:
        state: the state directory.
        listen: where it may be looked at.
        by_option: whether the latter was said by `--listen`, so that the configuration has no say in it.
    """

    state: "Path"
    listen: "Listen | None"
    by_option: bool

    @classmethod
    def of(cls, config: "Config", *, by_option: bool) -> "Fixed":
        """What a configuration says."""
        from vault_asc.config import state_dir

        return cls(state_dir(config, os.environ), config.run.listen, by_option)

    def check(self, config: "Config") -> None:
        """Refuse a configuration that says something else with `ConfigError`."""
        other = Fixed.of(config, by_option=self.by_option)
        if self.state != other.state:
            raise _changed("state.dir", self.state, other.state)
        if self.listen != other.listen and not self.by_option:
            raise _changed("run.listen", self.listen, other.listen)


class Planner(NamedTuple):
    """Makes plans, for the start and for each reload.

    Attributes:
        connection: where the configuration and Vault are.
        shard: the part of the targets that is ours.
        states: the state directory.
        traffic: shared by all attempts.
        tell: takes events.
        fixed: what no reload changes.
    """

    connection: "Connection"
    shard: "Shard"
    states: "StateDir"
    traffic: "Traffic"
    tell: "Tell"
    fixed: Fixed

    def plan(self) -> "Plan":
        """Read the configuration and connect. `ConfigError` when it cannot be, or cannot be met."""
        from vault_asc import http
        from vault_asc.cli.pushing import chosen_targets
        from vault_asc.clock import system_clock
        from vault_asc.nexla.publisher import NexlaPublisher
        from vault_asc.service.attempt import Attempter, guarded
        from vault_asc.service.capacity import check, loads
        from vault_asc.service.plan import Plan

        config = self.connection.config()
        self.fixed.check(config)
        targets = self.shard.of(chosen_targets(config, (), all_targets=True))
        accounts = sorted({target.nexla for target in targets})
        vault = http.endpoint(http.base_url(config.vault.address))
        hosts = {name: http.endpoint(config.account(name).api_url) for name in accounts}
        ports = self.connection.ports(config)
        publisher = ports.publisher
        if not isinstance(publisher, NexlaPublisher):
            raise TypeError(type(publisher).__name__)
        seen: list[Seen] = []
        granted = self._granted(config, publisher, accounts, seen)
        whole = [target for target in config.targets if target.nexla in granted]
        check(loads(whole, granted))
        # What the states know besides, such as credentials that take a call more, is told: what ran must not stop for it.
        found = loads(whole, granted, self.states.load)
        own = {name: sum(target.nexla == name for target in targets) for name in accounts}
        ports = guarded(ports, self.traffic, vault, hosts, lambda account: publisher.client(account).allowance())
        return Plan(
            targets=targets,
            attempt=Attempter(self.states, ports, self.traffic, system_clock),
            recorded=self.states.load,
            vault=vault,
            hosts=hosts,
            allowances={load.account: granted[load.account].part(own[load.account] / load.targets) for load in found},
            workers=config.run.workers,
            loads=tuple(found),
            seen=tuple(seen),
        )

    def _granted(
        self, config: "Config", publisher: "NexlaPublisher", accounts: list[str], seen: "list[Seen]"
    ) -> "dict[str, Allowance]":
        """What each account may do, for one of the replicas. What does not answer is no reason to stop.

        The calls are added to `seen`.
        """
        from concurrent.futures import ThreadPoolExecutor

        from vault_asc.http import Deadline

        by = Deadline.after(_ASKING)
        with ThreadPoolExecutor(max(1, min(len(accounts), config.run.workers))) as pool:
            told = pool.map(lambda name: self._asked(publisher, name, by, seen), accounts)
            return {
                name: _at_most(answer, config.run.rate).part(1 / config.run.replicas)
                for name, answer in zip(accounts, told, strict=True)
            }

    def _asked(
        self, publisher: "NexlaPublisher", account: str, by: "http.Deadline", seen: "list[Seen]"
    ) -> "Allowance | None":
        from vault_asc import http
        from vault_asc.service.telling import of_account

        with http.within(by), self.traffic.recorded() as calls:
            try:
                return publisher.client(account).allowance()
            except VaultAscError as error:
                self.tell(of_account(account, error))
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


def _changed(name: str, ours: object, other: object) -> ConfigError:
    def shown(value: object) -> str:
        return "none" if value is None else f'"{value}"'

    return ConfigError(
        f"{name} was changed from {shown(ours)} to {shown(other)}, which takes a restart; nothing of the configuration"
        " was taken",
        hint="restart the service (systemctl restart vault-asc-run), or change it back",
    )
