"""When a target is due: pure functions over what is remembered of it.

Light, like all that a pass with nothing due needs; the attempt itself is in `refreshing`.

Source of the numbers: simulated days in tests/test_rotation.py; half the usable life +-10 % bridges an outage of 7 minutes.
"""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

from vault_asc.config import Target
from vault_asc.outcome import Outcome
from vault_asc.tokens import BACKDATE

REFRESH_AT: Final = 0.5
"""Share of the usable life after which a token is refreshed."""
JITTER: Final = 0.1
ALARM: Final = 300 / 1080
"""Share of the usable life that is the alarm: 300 s of the default 1080 s."""

_LATER: Final = 20.0  # seconds of life that a failure in a row counts as, in the order of work
_RETRY_BASE: Final = 5.0  # seconds; doubles with each failure
_RETRY_CAP: Final = 60.0
_RETRY_CAP_ALARM: Final = 15.0  # in a hurry


@dataclass(frozen=True)
class TargetState:
    """What is remembered of a target between two passes. Times are Unix seconds; no secret.

    Attributes:
        account, credential_id: the Nexla credential that all this is about, as of the last attempt.
        settings: `settings_of` the target at the last attempt, whatever came of it; 0 when there was none.
        started_at: begin of the last attempt that wrote a token to Nexla; 0 when there was none.
        issued_at, expires_at: claims of the token that Nexla holds, as far as is known.
        record_version: KV version of the record that it was minted by.
        tried_version: version in the tick file at the last attempt, whatever came of it.
        outcome, detail: how the last attempt ended.
        failures: attempts since the last good one.
        next_try: not before this moment, after a failure.
        unfiled_at: when the token file could not be written of a token that is well at Nexla; 0 when it could.
        plan: result of the discovery at Nexla, reused while it cannot be repeated.
    """

    account: str = ""
    credential_id: int = 0
    settings: int = 0
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
    unfiled_at: float = 0
    plan: Mapping[str, Any] = field(default_factory=dict)

    def remaining(self, now: float) -> float:
        """Seconds until the token at Nexla expires; negative when it has, or when there is none."""
        return self.expires_at - now


class Tick(NamedTuple):
    """A tick file: the record's version as the Agent saw it, and when it wrote that down."""

    version: int
    written_at: float


def settings_of(target: Target) -> int:
    """A digest of all that the configuration says of a target but its name, to notice a change.

    Of what differs from its default, by field: in a release with more fields every digest is as it was.
    """
    request, defaults = target.request, target._field_defaults
    said = {name: value for name, value in vars(request).items() if value != getattr(type(request), name)}
    said |= {name: value for name, value in target._asdict().items() if value != defaults.get(name)}
    said.pop("request", None)
    del said["name"]
    return _digest(sorted((name, str(value)) for name, value in said.items()))


def retargeted(target: Target, state: TargetState) -> bool:
    """Whether the target was changed in the configuration since the last attempt."""
    if not state.tried_at or state.settings == settings_of(target):
        return False
    return state.settings != _digest(target._replace(name=""))  # recorded before digests left defaults out


def _digest(said: object) -> int:
    return zlib.crc32(repr(said).encode())


def about(target: Target, state: TargetState) -> TargetState:
    """The state, provided that it is about the credential that the target names now; else an empty one."""
    same = (state.account, state.credential_id) == (target.nexla, target.credential_id)
    return state if same else TargetState()


def attempted(target: Target, state: TargetState, tick: Tick | None, now: float) -> TargetState:
    """The state with an attempt in it that begins now."""
    return replace(
        about(target, state),
        account=target.nexla,
        credential_id=target.credential_id,
        settings=settings_of(target),
        tried_at=now,
        tried_version=tick.version if tick else 0,
    )


def spread(name: str) -> float:
    """A number from -1 to 1 that is fixed for a name and even over many names."""
    # Not hashlib, which takes longer to load than all the rest of a pass with nothing due.
    return zlib.crc32(name.encode()) / 2**31 - 1


def refresh_at(name: str, state: TargetState) -> float:
    """When the token is to be refreshed: half its usable life after minting, +-10 % by the target's name."""
    return state.started_at + state.usable_life * REFRESH_AT * (1 + JITTER * spread(name))


def alarm_below(usable_life: float) -> float:
    """Seconds of life left below which somebody should be told."""
    return usable_life * ALARM


def longest_tick(usable_life: float) -> float:
    """Seconds between two ticks with which the latest refresh still begins before the alarm."""
    # Rounded, for the shares are no exact floats: the default of 1080 s allows 186 s, not 185.99.
    return round(usable_life * (1 - ALARM - REFRESH_AT * (1 + JITTER)), 9)


def went_back(state: TargetState, now: float) -> bool:
    """Whether a state comes from a moment that our clock has yet to reach.

    A failure noted by a clock that was ahead would hold everything up until that moment comes again. One noted since has
    its backoff like any other, however far ahead the token is that stays meanwhile.
    """
    return now < state.tried_at - BACKDATE or (not state.failures and now < state.issued_at)


def due(target: Target, state: TargetState, tick: Tick | None, now: float) -> str | None:
    """Why a target is due now, in words for people; None when it is not."""
    changed = tick is not None and tick.version != state.record_version and tick.written_at >= state.started_at
    if went_back(state, now):
        return "the clock went back"
    if retargeted(target, state):
        return "the target was changed"
    # After a failure the backoff rules; only a version that was not tried yet is worth an attempt before its end.
    if state.failures and not (changed and tick is not None and tick.version != state.tried_version):
        return f"attempt {state.failures + 1}" if now >= state.next_try else None
    reasons = {
        "never pushed": not state.started_at,
        "the key was changed": changed,
        "half its life is over": now >= refresh_at(target.name, state),
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def next_due(target: Target, state: TargetState) -> float:
    """When the target will be due if nothing changes, for `status`; 0 means now."""
    return 0 if retargeted(target, state) else next_refresh(target.name, state)


def next_refresh(name: str, state: TargetState) -> float:
    """As `next_due`, for a target that was not changed since."""
    if state.failures:
        return state.next_try
    return refresh_at(name, state) if state.started_at else 0


def urgency(state: TargetState, now: float) -> tuple[bool, float]:
    """For the order of work: earliest expiry first, what keeps failing a little later for each time, the dead last.

    By expiry alone, few endpoints that swallow a pass's time starve all others; with those that fail behind the
    others, many targets do not recover from an outage in time.
    """
    return bool(state.failures) and state.remaining(now) <= 0, state.expires_at + _LATER * state.failures


def backoff(name: str, failures: int, *, hurry: bool) -> float:
    """Seconds to wait after the `failures`-th failure in a row: doubling, capped, the upper half spread by name."""
    cap = _RETRY_CAP_ALARM if hurry else _RETRY_CAP
    step = min(cap, _RETRY_BASE * 2.0 ** min(failures - 1, 10))
    return step * (0.75 + 0.25 * spread(f"{name}#{failures}"))
