"""Who is kept fresh: the targets of a plan and their service keys, carried over from one plan to the next."""

import logging
from collections.abc import Container

from vault_asc.config import Target
from vault_asc.errors import VaultAscError
from vault_asc.rotation import TargetState, due, next_due
from vault_asc.service.events import Event, Tell
from vault_asc.service.pace import Pace
from vault_asc.service.plan import Plan
from vault_asc.service.work import Lane, Track


class Account:
    """A service key: its queue, its rate, its host."""

    def __init__(self, host: str, pace: Pace) -> None:
        self.lane = Lane()
        self.pace = pace
        self.host = host


class Roster:
    """All targets and service keys of the plan in force; owned by the loop, its dictionaries are replaced whole.

    Args:
        tell: takes events.

    Attributes:
        tracks: the targets, by name.
        accounts: the service keys, by name.
    """

    def __init__(self, tell: Tell) -> None:
        self.tracks: dict[str, Track] = {}
        self.accounts: dict[str, Account] = {}
        self._tell = tell

    def adopt(self, plan: Plan) -> list[Track]:
        """Take a plan in; returns the targets that are new. What is known of the others is kept."""
        self.accounts = {name: self._account(plan, name) for name in plan.allowances}
        known = self.tracks
        self.tracks = {target.name: self._track(plan, target) for target in plan.targets}
        for name in known.keys() - self.tracks.keys():
            known[name].dropped = True
        return [track for name, track in self.tracks.items() if name not in known]

    def queue(self, now: float, *, busy: Container[Track], only_due: bool) -> None:
        """Queue everything anew by the rules of the schedule.

        Args:
            now: Unix seconds.
            busy: targets that a worker has.
            only_due: leave out what is not due at this moment.
        """
        for account in self.accounts.values():
            account.lane = Lane()
        for track in self.tracks.values():
            is_due = due(track.target, track.state, None, now) is not None
            if track not in busy and (is_due or not only_due):
                at = now if is_due else next_due(track.target, track.state)
                self.accounts[track.target.nexla].lane.wait(track, at)

    def anybody_well(self, endpoint: str) -> bool:
        """Whether any target that uses a server did not fail last time. Vault is used by all, and is no account's host."""
        there = {name for name, account in self.accounts.items() if account.host == endpoint}
        tracks = self.tracks.values()
        return any(not track.state.failures for track in tracks if not there or track.target.nexla in there)

    def _account(self, plan: Plan, name: str) -> Account:
        account = self.accounts.get(name) or Account("", Pace(plan.allowances[name]))
        account.host, account.pace.allowance = plan.hosts[name], plan.allowances[name]
        return account

    def _track(self, plan: Plan, target: Target) -> Track:
        known = self.tracks.get(target.name)
        if known is None:
            return Track(target, self._recorded(plan, target))
        known.target, known.warm = target, False
        known.now_in(known.state)
        return known

    def _recorded(self, plan: Plan, target: Target) -> TargetState:
        try:
            return plan.recorded(target.name)
        except VaultAscError as error:  # told by each attempt too; the others are not concerned
            facts = {"detail": error.message, "hint": error.hint}
            self._tell(Event("not tried", logging.ERROR, target.name, facts))
            return TargetState()
