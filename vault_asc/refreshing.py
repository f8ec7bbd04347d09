"""One attempt to keep one target fresh: mint, token file, PUT, probe, and the state that comes of it.

It works on ports that are handed in, and ends in a state whatever happens. When an attempt is due is in `rotation`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Protocol

from vault_asc.clock import Clock
from vault_asc.config import Target
from vault_asc.errors import NexlaError, NotFoundError, PermissionDeniedError, VaultAscError
from vault_asc.nexla.discovery import LOOKED_AT
from vault_asc.outcome import Outcome, Probe
from vault_asc.rotation import (
    REFRESH_AT,
    TargetState,
    Tick,
    alarm_below,
    attempted,
    backoff,
    refresh_at,
    retargeted,
)

if TYPE_CHECKING:
    from vault_asc.secret import Secret
    from vault_asc.tokens import Token

_RETRY_PERMANENT: Final = 900.0  # seconds, for what only a person can mend
_RETRY_GONE: Final = 60.0  # seconds; a Vault version that is gone does not come back by itself
_PERMANENT_STATUS: Final = frozenset({400, 403, 404, 422})  # not 405 and 409, which proxies and deployments cause
_WRITES_SOON: Final = 5  # writes soon after each other because none was proved; later ones come at their time
_BUT: Final = "; but "  # between what a probe says and why the token file is not written


def retry_after(error: VaultAscError, name: str, failures: int, *, left: float, alarm: float) -> float:
    """Seconds until the next attempt after `error`; long for what only a person can mend.

    What looks permanent may be a moment's fault of Nexla, so no living token is left to die for it: the next attempt
    comes when the alarm does at the latest. Only for a dead one there is nothing to lose.

    Args:
        error: what ended the attempt.
        name: of the target.
        failures: attempts since the last good one, this one included.
        left: seconds of life of the token at Nexla; not positive when it is dead.
        alarm: seconds of life below which there is a hurry.
    """
    # Before the end of a pause an attempt would only repeat the failure.
    pause = error.pause if isinstance(error, NexlaError) else 0.0
    wait = max(backoff(name, failures, hurry=left < alarm), pause)
    if isinstance(error, NexlaError) and not error.retryable and error.status in _PERMANENT_STATUS:
        return min(_RETRY_PERMANENT, max(wait, left - alarm)) if left > 0 else _RETRY_PERMANENT
    return max(wait, _RETRY_GONE) if isinstance(error, NotFoundError | PermissionDeniedError) else wait


class Publisher(Protocol):
    """Where tokens go: Nexla."""

    def publish(
        self, target: Target, token: "Secret", plan: Mapping[str, Any], began: float
    ) -> tuple[Mapping[str, Any], Probe]:
        """Write the token, unless it was asked for too long ago, and prove it.

        Returns the plan that was used and what the proof says.
        """
        ...


@dataclass(frozen=True)
class Ports:
    """What a pass needs from outside.

    Attributes:
        clock: the current moment.
        mint: a token for a target, and the KV version of the record it was minted by, 0 for one that was read by a
            role; raises our errors.
        write_token_file: writes the target's token file, if it has one.
        publisher: Nexla.
    """

    clock: Clock
    mint: "Callable[[Target], tuple[Token, int]]"
    write_token_file: "Callable[[Target, Secret], None]"
    publisher: Publisher


def refresh(target: Target, state: TargetState, tick: Tick | None, ports: Ports) -> TargetState:
    """One attempt for one target. Every failure of ours ends in the state, never in an exception."""
    started = ports.clock()
    tried = attempted(target, state, tick, started)
    try:
        token, record_version = ports.mint(target)
        file_error = _written_to_file(target, token, ports)
        if _lacks_its_file_alone(target, state, token, record_version, started):
            return _filed(target, tried, file_error, ports.clock())
        plan, probe = ports.publisher.publish(target, token.value, _trusted(target, state, tried.plan), started)
    except VaultAscError as error:
        return failed(target, tried, error, ports.clock())
    now = ports.clock()
    written = replace(
        tried,
        key_id=token.key_id,
        started_at=started,
        issued_at=token.issued_at,
        expires_at=token.expires_at,
        # A role may give less than the target's lifetime.
        usable_life=min(target.request.usable_life, int(token.remaining(started))),
        record_version=record_version,
        unfiled_at=0,
        plan=plan,
    )
    proved = _proved(target, written, probe, now)
    return proved if file_error is None else _unfiled(target, proved, file_error, now)


def _trusted(target: Target, state: TargetState, plan: Mapping[str, Any]) -> Mapping[str, Any]:
    """What is remembered of the credential; after a failure or a change it is looked at again."""
    if not state.failures and not retargeted(target, state):
        return plan
    return {name: value for name, value in plan.items() if name != LOOKED_AT}


# -- the token file --------------------------------------------------------------------------------------------------


def _lacks_its_file_alone(target: Target, state: TargetState, token: "Token", record_version: int, now: float) -> bool:
    """Whether the token at Nexla is as good as this one, so that another write there would be for nothing."""
    same_key = (token.key_id, record_version) == (state.key_id, state.record_version)
    young = now < refresh_at(target.name, state)
    return bool(state.unfiled_at) and same_key and young and not retargeted(target, state)


def _filed(target: Target, state: TargetState, error: VaultAscError | None, now: float) -> TargetState:
    """The state after an attempt to write nothing but the token file."""
    said = state.detail.partition(_BUT)[0]
    if error is not None:
        return _unfiled(target, replace(state, detail=said), error, now)
    return replace(state, detail=said, failures=0, next_try=0, unfiled_at=0)


def _unfiled(target: Target, state: TargetState, error: VaultAscError, now: float) -> TargetState:
    """The state with a token file in it that could not be written; the file is tried again soon."""
    detail = f"{state.detail}{_BUT}{error.message}"
    if state.failures and not state.unfiled_at:  # Nexla or Apple have more to say about the next attempt
        return replace(state, detail=detail)
    failures = state.failures + 1
    next_try = now + backoff(target.name, failures, hurry=False)
    return replace(state, detail=detail, failures=failures, next_try=next_try, unfiled_at=now)


def _written_to_file(target: Target, token: "Token", ports: Ports) -> VaultAscError | None:
    """A full disk is no reason to let the token at Nexla die: the error is told, the push goes on."""
    try:
        ports.write_token_file(target, token.value)
    except VaultAscError as error:
        return error
    return None


def failed(target: Target, state: TargetState, error: VaultAscError, now: float) -> TargetState:
    """The state after an attempt that ended in `error` before anything was written to Nexla."""
    failures = state.failures + 1
    alarm = alarm_below(state.usable_life or target.request.usable_life)
    return replace(
        state,
        outcome=Outcome.NOT_WRITTEN,
        detail=error.message if error.hint is None else f"{error.message} (hint: {error.hint})",
        failures=failures,
        unfiled_at=0,
        next_try=now + retry_after(error, target.name, failures, left=state.remaining(now), alarm=alarm),
    )


def _proved(target: Target, state: TargetState, probe: Probe, now: float) -> TargetState:
    # Where Nexla offers no proof there is nothing to wait for: the next token is due when it would be after a good one.
    if probe.outcome is Outcome.LIVE or (probe.outcome is Outcome.UNPROVEN and probe.final):
        return replace(state, outcome=probe.outcome, detail=probe.detail, failures=0, next_try=0)
    failures = state.failures + 1
    # What only a person can mend is no reason to write again and again, and none to let the token die meanwhile.
    wait = (
        state.usable_life * REFRESH_AT
        if probe.outcome is Outcome.AGREEMENT or failures > _WRITES_SOON
        else backoff(target.name, failures, hurry=False)
    )
    return replace(state, outcome=probe.outcome, detail=probe.detail, failures=failures, next_try=now + wait)
