"""When a target is looked at again after an attempt, which may have left nothing behind that says so."""

from typing import Final

from vault_asc.errors import BusyError
from vault_asc.rotation import next_due, next_refresh, went_back
from vault_asc.service.attempt import Attempted
from vault_asc.service.work import Track

UNRECORDED: Final = 60.0
"""Seconds before an attempt is repeated that could not even be recorded."""

_AGAIN: Final = 1.0  # seconds before anything is looked at again, whatever the schedule says: no hot loop
_BUSY: Final = 5.0  # seconds before a target is tried again that another process holds


def next_at(track: Track, attempted: Attempted, now: float) -> float:
    """The moment, in Unix seconds; the track has the state that the attempt left."""
    result = attempted.result
    if result.error is not None and not result.recorded:
        pause = _BUSY if isinstance(result.error, BusyError) else UNRECORDED
        return max(next_due(track.target, track.state), now + pause)
    if went_back(track.state, now):  # the clock was set while this was in flight
        return now + _AGAIN
    # What was recorded for the very target that is configured now needs no look at all its settings.
    same = result.recorded and result.target is track.target
    at = next_refresh(track.target.name, track.state) if same else next_due(track.target, track.state)
    return max(at, now + _AGAIN)
