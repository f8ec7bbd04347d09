"""How much of what is only a matter of numbers is done: enough to find what is wrong, or all of it (`make full`)."""

import os
from typing import Final, TypeVar

FULL: Final = bool(os.environ.get("ASC_TESTS_FULL"))

_T = TypeVar("_T")


def effort(full: _T, usual: _T) -> _T:
    """The first with `make full`, else the second."""
    return full if FULL else usual
