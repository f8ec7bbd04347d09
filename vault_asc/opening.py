"""Opens what a user has named and what may be anything: a FIFO does not block, a terminal does not become ours."""

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

# O_NONBLOCK: opening a FIFO without a writer would wait for ever. O_NOCTTY: a terminal must not become ours.
_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


@contextlib.contextmanager
def opened(path: Path, *, follow: bool = True) -> Iterator[tuple[int, os.stat_result]]:
    """A descriptor for reading, and what it leads to: asked of the descriptor, so that nobody can swap it in between.

    `OSError` as `os.open` raises it (for a symbolic link too, unless `follow`), `ValueError` for a NUL in the path.
    """
    descriptor = os.open(path, _FLAGS if follow else _FLAGS | os.O_NOFOLLOW)
    try:
        yield descriptor, os.fstat(descriptor)
    finally:
        os.close(descriptor)


def open_to(mode: int, *, group: bool = True) -> str:
    """Who else may read a regular file of that mode, in words for a warning; "" when nobody may.

    Without `group` only others are named: a file of root's is given to a service by its group.
    """
    bits = {"group": stat.S_IRGRP if group else 0, "others": stat.S_IROTH}
    readers = [name for name, bit in bits.items() if mode & bit]
    if not readers or not stat.S_ISREG(mode):
        return ""
    return f"can be read by {' and '.join(readers)} (mode {stat.S_IMODE(mode):04o})"
