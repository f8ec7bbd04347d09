"""When a target is due, and one pass that keeps it fresh: mint, token file, PUT, probe, record.

The schedule is pure functions over a target's state; the pass works on ports that are handed in, so nothing here loads
an HTTP, Vault or crypto library, and a pass with nothing due stays cheap.

Source of the numbers: the simulation behind docs/decisions (half the usable life +-10 % bridges an outage of 7 minutes).
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Protocol

from vault_asc.clock import Clock
from vault_asc.config import Target
from vault_asc.errors import NexlaError, NotFoundError, PermissionDeniedError, VaultAscError
from vault_asc.outcome import Outcome, Probe
from vault_asc.tokens import BACKDATE

if TYPE_CHECKING:
    from vault_asc.custody import Minted
    from vault_asc.secret import Secret

REFRESH_AT: Final = 0.5
"""Share of the usable life after which a token is refreshed."""
JITTER: Final = 0.1
ALARM: Final = 300 / 1080
"""Share of the usable life that is the alarm: 300 s of the default 1080 s."""

_RETRY_BASE: Final = 5.0  # seconds; doubles with each failure
_RETRY_CAP: Final = 60.0
_RETRY_CAP_ALARM: Final = 15.0  # in a hurry
_RETRY_PERMANENT: Final = 900.0  # what only a person can mend
_RETRY_GONE: Final = 60.0  # a Vault version that is gone does not come back by itself
_PERMANENT_STATUS: Final = frozenset({400, 403, 404, 405, 409, 422})


@dataclass(frozen=True)
class TargetState:
    """What is remembered of a target between two passes. Times are Unix seconds; no secret.

    Attributes:
        started_at: begin of the last attempt that wrote a token to Nexla; 0 when there was none.
        issued_at, expires_at: claims of the token that Nexla holds, as far as is known.
        record_version: KV version of the record that it was minted by.
        tried_version: version in the tick file at the last attempt, whatever came of it.
        outcome, detail: how the last attempt ended.
        failures: attempts since the last good one.
        next_try: not before this moment, after a failure.
        plan: result of the discovery at Nexla, reused while it cannot be repeated.
    """

    key: str = ""
    key_id: str = ""
    started_at: float = 0
    issued_at: int = 0
    expires_at: int = 0
    usable_life: int = 0
    record_version: int = 0
    tried_at: float = 0
    tried_version: int = 0
    outcome: Outcome | None = None
    detail: str = ""
    failures: int = 0
    next_try: float = 0
    plan: Mapping[str, Any] = field(default_factory=dict)

    def remaining(self, now: float) -> float:
        """Seconds until the token at Nexla expires; negative when it has, or when there is none."""
        return self.expires_at - now


@dataclass(frozen=True)
class Tick:
    """A tick file: the record's version as the Agent saw it, and when it wrote that down."""

    version: int
    written_at: float


def spread(name: str) -> float:
    """A number from -1 to 1 that is fixed for a name and even over many names."""
    digest = hashlib.sha256(name.encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**63 - 1


def refresh_at(name: str, state: TargetState) -> float:
    """When the token is to be refreshed: half its usable life after minting, +-10 % by the target's name."""
    return state.started_at + state.usable_life * REFRESH_AT * (1 + JITTER * spread(name))


def alarm_below(usable_life: float) -> float:
    """Seconds of life left below which somebody should be told."""
    return usable_life * ALARM


def due(target: Target, state: TargetState, tick: Tick | None, now: float) -> str | None:
    """Why a target is due now, in words for people; None when it is not."""
    changed = tick is not None and tick.version != state.record_version and tick.written_at >= state.started_at
    # A failure noted by a clock that was ahead would hold everything up until that moment comes again.
    if now < max(state.issued_at, state.tried_at - BACKDATE):
        return "the clock went back"
    # After a failure the backoff rules; only a version that was not tried yet is worth an attempt before its end.
    if state.failures and not (changed and tick is not None and tick.version != state.tried_version):
        return f"attempt {state.failures + 1}" if now >= state.next_try else None
    reasons = {
        "never pushed": not state.started_at,
        "the key was changed": changed,
        "the target names another key": state.key != target.key,
        "half its life is over": now >= refresh_at(target.name, state),
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def next_due(target: Target, state: TargetState) -> float:
    """When the target will be due if nothing changes, for `status`; 0 means now."""
    if state.failures:
        return state.next_try
    return refresh_at(target.name, state) if state.started_at else 0


def backoff(name: str, failures: int, *, hurry: bool) -> float:
    """Seconds to wait after the `failures`-th failure in a row: doubling, capped, the upper half spread by name."""
    cap = _RETRY_CAP_ALARM if hurry else _RETRY_CAP
    step = min(cap, _RETRY_BASE * 2.0 ** min(failures - 1, 10))
    return step * (0.75 + 0.25 * spread(f"{name}#{failures}"))


def retry_after(error: VaultAscError, name: str, failures: int, *, hurry: bool) -> float:
    """Seconds until the next attempt after `error`; long for what only a person can mend."""
    if isinstance(error, NexlaError) and not error.retryable and error.status in _PERMANENT_STATUS:
        return _RETRY_PERMANENT
    wait = backoff(name, failures, hurry=hurry)
    return max(wait, _RETRY_GONE) if isinstance(error, NotFoundError | PermissionDeniedError) else wait


class Publisher(Protocol):
    """Where tokens go: Nexla."""

    def publish(self, target: Target, token: "Secret", plan: Mapping[str, Any]) -> tuple[Mapping[str, Any], Probe]:
        """Write the token and prove it. Returns the plan that was used and what the proof says."""
        ...


@dataclass(frozen=True)
class Ports:
    """What a pass needs from outside.

    Attributes:
        clock: the current moment.
        mint: a token for a target; raises our errors.
        write_token_file: writes the target's token file, if it has one.
        publisher: Nexla.
    """

    clock: Clock
    mint: "Callable[[Target], Minted]"
    write_token_file: "Callable[[Target, Secret], None]"
    publisher: Publisher


def refresh(target: Target, state: TargetState, tick: Tick | None, ports: Ports) -> TargetState:
    """One attempt for one target. Every failure of ours ends in the state, never in an exception."""
    started = ports.clock()
    tried = replace(state, tried_at=started, tried_version=tick.version if tick else 0)
    try:
        minted = ports.mint(target)
        file_error = _written_to_file(target, minted, ports)
        plan, probe = ports.publisher.publish(target, minted.token.value, state.plan)
    except VaultAscError as error:
        return _failed(target, tried, error, ports.clock())
    written = replace(
        tried,
        key=target.key,
        key_id=minted.token.key_id,
        started_at=started,
        issued_at=minted.token.issued_at,
        expires_at=minted.token.expires_at,
        usable_life=target.request.usable_life,
        record_version=minted.stored.version,
        plan=plan,
    )
    if file_error is not None:
        probe = replace(probe, detail=f"{probe.detail}; but {file_error.message}".removeprefix("; "))
    return _proved(target, written, probe, ports.clock(), again=file_error is not None)


def _written_to_file(target: Target, minted: "Minted", ports: Ports) -> VaultAscError | None:
    """A full disk is no reason to let the token at Nexla die: the error is told, the push goes on."""
    try:
        ports.write_token_file(target, minted.token.value)
    except VaultAscError as error:
        return error
    return None


def _failed(target: Target, state: TargetState, error: VaultAscError, now: float) -> TargetState:
    failures = state.failures + 1
    hurry = state.remaining(now) < alarm_below(state.usable_life or target.request.usable_life)
    return replace(
        state,
        outcome=Outcome.NOT_WRITTEN,
        detail=error.message if error.hint is None else f"{error.message} (hint: {error.hint})",
        failures=failures,
        next_try=now + retry_after(error, target.name, failures, hurry=hurry),
    )


def _proved(target: Target, state: TargetState, probe: Probe, now: float, *, again: bool) -> TargetState:
    if probe.outcome is Outcome.LIVE and not again:
        return replace(state, outcome=probe.outcome, detail=probe.detail, failures=0, next_try=0)
    failures = state.failures + 1
    # A missing agreement is mended by a person; the token is refreshed all the same, or it would die meanwhile.
    wait = (
        state.usable_life * REFRESH_AT
        if probe.outcome is Outcome.AGREEMENT
        else backoff(target.name, failures, hurry=False)
    )
    return replace(state, outcome=probe.outcome, detail=probe.detail, failures=failures, next_try=now + wait)
