"""What a target waits for, in words: without an attempt of its own that has failed, nothing else tells why it is late."""

from vault_asc.service.breaker import Mode
from vault_asc.service.hosts import Hosts
from vault_asc.service.plan import Plan
from vault_asc.service.roster import Roster
from vault_asc.service.work import Track


def waits_for(track: Track, plan: Plan, roster: Roster, hosts: Hosts, moment: tuple[float, float], busy: int) -> str:
    """What keeps a target from an attempt that is not under way.

    Args:
        track: the target.
        plan: the one in force.
        roster: the service keys.
        hosts: the servers.
        moment: Unix seconds, and the same on the clock that nobody sets.
        busy: attempts under way.
    """
    now, tick = moment
    account = roster.accounts[track.target.nexla]
    closed = [
        f"breaker of {name} {hosts.breakers[name].mode}"
        for name in (plan.vault, account.host)
        if hosts.breakers[name].mode is not Mode.CLOSED
    ]
    if closed:
        return "waits: " + ", ".join(closed)
    if track.state.next_try > now:
        return f"waits: next try in {track.state.next_try - now:.0f} s"
    if account.pace.begins_at() > tick:
        return f'waits: the rate of account "{track.target.nexla}" is used up'
    return f"waits: all {plan.workers} workers are busy" if busy >= plan.workers else "waits: its turn"
