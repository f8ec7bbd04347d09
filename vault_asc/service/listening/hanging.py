"""Attempts that do not end, as over a network file system that is gone: each holds a worker, and the loop only waits for it.

They are looked for beside the loop. Calls do not cause them: all those of an attempt end after 50 s.
"""

import logging
from collections.abc import Mapping
from typing import Final

from vault_asc.service.events import Event, Tell

HANGS: Final = 60.0
"""Seconds from which an attempt counts as hanging."""


class HangingAttempts:
    """Tells of each once.

    Args:
        tell: takes events.
    """

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._told: frozenset[str] = frozenset()

    def look(self, flying: Mapping[str, float]) -> None:
        """Tell of those that are new; given are all attempts under way and their seconds, by target."""
        hanging = {name: seconds for name, seconds in flying.items() if seconds > HANGS}
        for name in hanging.keys() - self._told:
            facts = {"seconds": round(hanging[name]), "hanging": len(hanging)}
            self._tell(Event("attempt hangs", logging.ERROR, name, facts))
        self._told = frozenset(hanging)
