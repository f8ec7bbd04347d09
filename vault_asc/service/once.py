"""What a single pass over the targets says of those that it did not get to: an answer for each, so that none is missed."""

from typing import Final

from vault_asc.errors import TargetError
from vault_asc.push import Result
from vault_asc.service.work import Track

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
    return Result(track.target, "not finished", error=error)
