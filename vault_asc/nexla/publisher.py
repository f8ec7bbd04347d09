"""From a target and a token to Nexla: discover, PUT, probe.

Sessions are shared per account and, for as long as the process lives, what was discovered is remembered: a refresh then
takes two calls, the PUT and the probe.
"""

import threading
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from vault_asc.clock import Clock, system_clock
from vault_asc.config import Target
from vault_asc.errors import NexlaError
from vault_asc.nexla.client import NexlaClient
from vault_asc.nexla.credential_body import put_body, shown_parameters
from vault_asc.nexla.discovery import Plan, Wanted, discover
from vault_asc.outcome import Outcome, Probe
from vault_asc.secret import Secret

_TRUSTED: Final = 3600.0  # seconds for which a discovery is taken as it was
_STALE: Final = 40.0  # seconds after which a token that waits for its PUT may no longer be the newest one anywhere


class _Discovered(NamedTuple):
    target: Target
    plan: Plan
    at: float


class NexlaPublisher:
    """Writes tokens into Nexla credentials; safe to share between threads.

    Args:
        connect: makes the client of an account by its name; called once for each.
        clock: Unix seconds.
    """

    def __init__(self, connect: Callable[[str], NexlaClient], clock: Clock = system_clock) -> None:
        self._connect = connect
        self._clock = clock
        self._clients: dict[str, NexlaClient] = {}
        self._locks: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()
        self._discovered: dict[str, _Discovered] = {}

    def publish(self, target: Target, token: Secret, plan: Mapping[str, Any]) -> tuple[Mapping[str, Any], Probe]:
        """Write the token and prove it; returns where it went, for the state, and what the probe says.

        `plan` is what the state remembers, for tenants that show too little for a discovery.
        """
        began = self._clock()
        client = self.client(target.nexla)
        wanted = wanted_of(target)
        # Forgotten until the end is known to be good: whatever goes wrong, the next attempt looks again.
        known = self._discovered.pop(target.name, None)
        credential: Mapping[str, Any] = {}
        if known is None or known.target != target or not 0 <= began - known.at < _TRUSTED:
            credential = client.credential(target.credential_id)
            known = _Discovered(target, discover(credential, wanted, Plan.from_state(plan)), began)
        body = put_body(known.plan, credential, wanted, token)
        self._check_age(target, began)
        client.update(target.credential_id, body)
        probe = client.probe(target.credential_id)
        if _good(probe) and not _others(credential, known.plan):
            self._discovered[target.name] = known
        return known.plan.as_state(), probe

    def client(self, account: str) -> NexlaClient:
        """The client of an account, connected when it is first needed."""
        with self._lock:
            own = self._locks.setdefault(account, threading.Lock())
        with own:  # one thread connects, and the others of this account wait for it
            if account not in self._clients:
                self._clients[account] = self._connect(account)
            return self._clients[account]

    def _check_age(self, target: Target, began: float) -> None:
        """Another host may have written a newer token while this one was held up: it is never replaced by an older one."""
        waited = self._clock() - began
        if not 0 <= waited < _STALE:
            raise NexlaError(
                f'the token for credential "{target.credential_id}" is {waited:.0f} s old before it could be written;'
                " nothing was changed",
                hint="nothing to do: the next attempt mints a new one",
                retryable=True,
            )


def wanted_of(target: Target) -> Wanted:
    """What the configuration of a target says about its credential."""
    return Wanted(
        credential_id=target.credential_id,
        mode=target.mode,
        vendor=target.vendor,
        auth_template=target.auth_template,
        token_field=target.token_field,
        token_prefix=target.token_prefix,
        extra_fields=target.extra_fields,
    )


def _good(probe: Probe) -> bool:
    return probe.outcome is Outcome.LIVE or (probe.outcome is Outcome.UNPROVEN and probe.final)


def _others(credential: Mapping[str, Any], plan: Plan) -> bool:
    """Whether Nexla shows values that a write has to carry along: people may change them there at any time."""
    return plan.mode == "template" and bool(shown_parameters(credential).keys() - {plan.token_field})
