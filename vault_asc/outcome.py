"""How an attempt to keep a target fresh can end: words that schedule, state and commands share."""

from enum import StrEnum
from typing import Final, NamedTuple

PROVEN: Final = "nexla reached apple with the token"
"""Detail of an attempt after which there is nothing to tell."""


class Outcome(StrEnum):
    """How an attempt to keep a target fresh ended."""

    LIVE = "live"
    UNPROVEN = "written but unproven"
    REFUSED = "written but apple says no"
    AGREEMENT = "account agreement missing"
    NOT_WRITTEN = "not written"


class Probe(NamedTuple):
    """An outcome and, in safe text, why.

    Attributes:
        final: whether asking again soon would be answered in the same way.
    """

    outcome: Outcome
    detail: str
    final: bool = False
