"""What a single pass over the targets says of those that it did not get to, and at its end: so that none is missed."""

import logging
from collections import Counter
from collections.abc import Collection
from typing import Final

from vault_asc.errors import TargetError
from vault_asc.push import Result
from vault_asc.service.events import Event
from vault_asc.service.work import Track

_NOT_FINISHED: Final = "not finished"
_COUNTED: Final = ("refreshed", "failed", "not_finished", "not_tried")
_AGAIN: Final = "run it again: what was done stays done"


class StoppedError(TargetError):
    """The pass was told to stop before it was done with a target."""


def unreachable(track: Track, host: str) -> Result:
    """A target whose server is given up."""
    error = TargetError(f'"{host}" or Vault does not answer', hint="the events before this tell why")
    return Result(track.target, "not tried", error=error)


def not_begun(track: Track) -> Result:
    """A target whose turn had not come when the pass was told to stop."""
    error = StoppedError("the pass was told to stop before its turn; nothing was changed", hint=_AGAIN)
    return Result(track.target, "not tried", error=error)


def not_ended(track: Track) -> Result:
    """A target whose attempt took longer than is waited for at the end."""
    error = StoppedError(
        "the pass was told to stop during its attempt, which may have been carried out; the next one repeats it",
        hint=_AGAIN,
    )
    return Result(track.target, _NOT_FINISHED, error=error)


def done(results: Collection[Result], targets: int) -> Event:
    """The end of a pass over so many targets: what became of all of them, in numbers."""
    counted = Counter(_became(result) for result in results)
    bad = counted["failed"] + counted["not_finished"] + counted["not_tried"]
    facts = {name: counted[name] for name in _COUNTED} | {"not_due": targets - len(results) + counted["not_due"]}
    return Event("done", logging.ERROR if bad else logging.INFO, None, facts)


def _became(result: Result) -> str:
    if result.state is not None:
        return "failed" if result.error is not None or result.state.failures else "refreshed"
    if result.error is None:
        return "not_due"
    return "not_finished" if result.reason == _NOT_FINISHED else "not_tried"
