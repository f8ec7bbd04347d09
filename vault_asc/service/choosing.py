"""Which target is next: the most urgent one whose service key and hosts have room for it, and when there will be one.

It decides; what an attempt takes and leaves there is noted by the loop.
"""

from typing import Final

from vault_asc.service.hosts import Hosts, Room
from vault_asc.service.roster import Account, Roster
from vault_asc.service.work import Entry

_NEVER: Final = float("inf")


class Chooser:
    """Looks through the queues of all service keys; owned by the loop.

    Args:
        roster: the queues.
        hosts: the servers.

    Attributes:
        few: attempts at the same time at a host that is not asked freely.
    """

    def __init__(self, roster: Roster, hosts: Hosts) -> None:
        self._roster = roster
        self._hosts = hosts
        self.few = 1

    def choose(self, now: float, tick: float, *, slow: bool) -> tuple[Account, Entry] | None:
        """The most urgent target whose service key and hosts have room for it.

        Args:
            now: Unix seconds.
            tick: the same moment on the clock that nobody sets.
            slow: whether it may be one that holds a worker for long.
        """
        found: tuple[Account, Entry] | None = None
        for account in self._roster.accounts.values():
            lane = account.lane
            if lane.next_at <= now:
                lane.release(now, self._hosts.recovered(account.host))
            if not lane.ready or account.pace.begins_at() > tick:
                continue
            entry = self._allowed(account, now, tick, slow=slow)
            if entry is not None and (found is None or entry < found[1]):
                found = account, entry
        return found

    def _allowed(self, account: Account, now: float, tick: float, *, slow: bool) -> Entry | None:
        room = self._hosts.room(account.host, tick)
        if room is Room.FULL:
            return None
        if room is Room.FREE:
            return account.lane.best(good_first=not self._hosts.well(account.host), slow=slow)
        # A token that is about to die may knock at a closed door; few at a time, or they would hold all workers.
        return account.lane.dying(now, slow=slow) if self._hosts.crowd(account.host) < self.few else None

    def delay(self, now: float, tick: float, look: float) -> float:
        """Seconds until something can begin without an attempt ending before; infinite when nothing can.

        Args:
            now: Unix seconds.
            tick: the same moment on the clock that nobody sets.
            look: seconds until that is asked again for what waits for an attempt to end.
        """
        accounts = self._roster.accounts.values()
        delay = min([account.lane.next_at for account in accounts], default=_NEVER) - now
        for account in accounts:
            if account.lane.ready:
                gates = (account.pace.begins_at(), self._hosts.opens_at(account.host))
                delay = min(delay, *(gate - tick if gate > tick else look for gate in gates))
        return delay
