"""From a target and a token to Nexla: discover, PUT, probe.

Sessions are shared per account. What was discovered stands in the state of the target and is trusted for a while, over a
restart too: a refresh then takes two calls, the PUT and the probe.
"""

import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, NamedTuple

from vault_asc.clock import Clock, system_clock
from vault_asc.config import Target
from vault_asc.errors import NexlaError
from vault_asc.http import EndedCall, watching
from vault_asc.http.watching import watch
from vault_asc.nexla.client import NexlaClient
from vault_asc.nexla.credential_body import put_body, shown_parameters
from vault_asc.nexla.discovery import LOOKED_AT, SHARED, Plan, Wanted, discover
from vault_asc.outcome import Outcome, Probe
from vault_asc.secret import Secret

_TRUSTED: Final = 3600.0  # seconds for which a discovery is taken as it was, at most; half of that at least
_GOLDEN: Final = 0.6180339887  # its multiples lie evenly between 0 and 1, also those of numbers in a row
_STALE: Final = 40.0  # seconds after which a token that waits for its PUT may no longer be the newest one anywhere


class _Discovered(NamedTuple):
    """Where the token goes, what the credential shows (nothing when it was not looked at), and when it was."""

    plan: Plan
    credential: Mapping[str, Any]
    at: float


class NexlaPublisher:
    """Writes tokens into Nexla credentials; safe to share between threads.

    Args:
        connect: makes the client of an account by its name; called once for each.
        clock: Unix seconds; it has to go on while the machine is suspended.
        trusting: whether a discovery from before is used again.
    """

    def __init__(
        self, connect: Callable[[str], NexlaClient], clock: Clock = system_clock, *, trusting: bool = True
    ) -> None:
        self._connect = connect
        self._clock = clock
        self._trusting = trusting
        self._clients: dict[str, NexlaClient] = {}
        self._lock = threading.Lock()

    def publish(
        self, target: Target, token: Secret, plan: Mapping[str, Any], began: float
    ) -> tuple[Mapping[str, Any], Probe]:
        """Write the token and prove it; returns where it went, for the state, and what the probe says.

        Args:
            target: where the token goes.
            token: it.
            plan: what the state remembers: to be trusted, or for tenants that show too little for a discovery.
            began: when the token was asked for, in Unix seconds. It is not written when that is too long ago.
        """
        client = self.client(target.nexla)
        wanted = wanted_of(target)
        known = self._remembered(target, plan) or self._looked(client, wanted, plan)
        body = put_body(known.plan, known.credential, wanted, token)
        check = partial(self._check_age, target, began)
        with watching(_WhileNew(lambda: self._is_new(began))):
            client.update(target.credential_id, body, check)
        probe = client.probe(target.credential_id)
        return _for_state(known, probe), probe

    def client(self, account: str) -> NexlaClient:
        """The client of an account, made when it is first needed."""
        with self._lock:
            if account not in self._clients:
                self._clients[account] = self._connect(account)
            return self._clients[account]

    def _remembered(self, target: Target, plan: Mapping[str, Any]) -> _Discovered | None:
        known, at = Plan.from_state(plan), plan.get(LOOKED_AT)
        if not self._trusting or known is None or not isinstance(at, int | float):
            return None
        return _Discovered(known, {}, at) if 0 <= self._clock() - at < trusted_for(target) else None

    def _looked(self, client: NexlaClient, wanted: Wanted, plan: Mapping[str, Any]) -> _Discovered:
        at = self._clock()
        credential = client.credential(wanted.credential_id)
        return _Discovered(discover(credential, wanted, Plan.from_state(plan)), credential, at)

    def _is_new(self, began: float) -> bool:
        return 0 <= self._clock() - began < _STALE

    def _check_age(self, target: Target, began: float) -> None:
        """Another host may have written a newer token while this one was held up: it is never replaced by an older one."""
        if not self._is_new(began):
            raise NexlaError(
                f'the token for credential "{target.credential_id}" is {self._clock() - began:.0f} s old before it could'
                " be written; nothing was changed",
                hint="nothing to do: the next attempt mints a new one",
                retryable=True,
            )


class _WhileNew:
    """Lets no PUT be sent again inside its call once its token is too old; all else is for who watches already."""

    def __init__(self, is_new: Callable[[], bool]) -> None:
        self._is_new = is_new
        self._outer = watch()

    def may_repeat(self, endpoint: str) -> bool:
        """Whether a failed try may be repeated."""
        return self._is_new() and (self._outer is None or self._outer.may_repeat(endpoint))

    def ended(self, call: EndedCall) -> None:
        """Take note of a call."""
        if self._outer is not None:
            self._outer.ended(call)


def trusted_for(target: Target) -> float:
    """Seconds for which a discovery is trusted: spread, or all that began together would look again together."""
    return _TRUSTED * (1 - target.credential_id * _GOLDEN % 1 / 2)


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


def _for_state(known: _Discovered, probe: Probe) -> dict[str, Any]:
    """What is remembered. Trusted is only what ended well, and what nobody may have changed at Nexla since."""
    state = known.plan.as_state()
    if _others(known.credential, known.plan):
        return state | {SHARED: True}
    return state | {LOOKED_AT: known.at} if _good(probe) else state


def _good(probe: Probe) -> bool:
    return probe.outcome is Outcome.LIVE or (probe.outcome is Outcome.UNPROVEN and probe.final)


def _others(credential: Mapping[str, Any], plan: Plan) -> bool:
    """Whether Nexla shows values that a write has to carry along: people may change them there at any time."""
    return plan.mode == "template" and bool(shown_parameters(credential).keys() - {plan.token_field})
