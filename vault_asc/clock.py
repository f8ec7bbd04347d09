"""Time: the clock that is injected everywhere, and durations as people write them.

Inside the program a moment is Unix seconds, like the claims of a token; people see UTC in ISO 8601.
"""

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from vault_asc.errors import ConfigError
from vault_asc.secret import safe_text

Clock = Callable[[], float]
"""Gives the current moment in Unix seconds."""

system_clock: Final[Clock] = time.time

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION: Final = r"(?:[0-9]{1,9}[smhd])+"


def parse_duration(text: str, what: str = "duration") -> int:
    """Seconds in a duration such as `90s`, `19m` or `1h30m`; `ConfigError` names `what` when it is none."""
    if not re.fullmatch(_DURATION, text):
        raise ConfigError(
            f'{what} "{safe_text(text)}" is not a duration', hint="write a number and a unit: 90s, 19m, 1h30m"
        )
    return sum(int(number) * _UNITS[unit] for number, unit in re.findall(r"([0-9]+)([smhd])", text))


def format_duration(seconds: float) -> str:
    """A duration for people: `45s`, `8m 20s`, `3h 5m`; negative values keep their sign."""
    whole = int(seconds)
    sign = "-" if whole < 0 else ""
    minutes, secs = divmod(abs(whole), 60)
    hours, mins = divmod(minutes, 60)
    days, hrs = divmod(hours, 24)
    if days:
        return f"{sign}{days}d {hrs}h"
    if hours:
        return f"{sign}{hours}h {mins}m"
    return f"{sign}{minutes}m {secs}s" if minutes else f"{sign}{secs}s"


def iso(moment: float) -> str:
    """A moment in UTC to the second: `2026-03-01T12:00:00Z`."""
    return datetime.fromtimestamp(int(moment), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
