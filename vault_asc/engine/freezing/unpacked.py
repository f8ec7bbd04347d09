"""The directory into which an executable has unpacked itself: kept while we live, swept when its process is dead.

Who lives is told by a lock on the directory, as for sockets. The same lock keeps systemd-tmpfiles from emptying it
under a process that runs for weeks.
"""

import contextlib
import fcntl
import os
import shutil
import time
from pathlib import Path
from typing import Final

from vault_asc.clock import Clock
from vault_asc.engine.freezing.facts import FILE

_PREFIX: Final = "_MEI"  # PyInstaller's
_SETTLED: Final = 30.0
"""Seconds without a change after which a directory that nobody has locked is nobody's: unpacking takes a fifth of one."""


def hold(directory: Path) -> int:
    """Lock our own directory for as long as the process lives; the descriptor."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    fcntl.flock(handle, fcntl.LOCK_SH)
    return handle


def sweep_twice(parent: Path, clock: Clock) -> None:
    """Remove what dead processes left now, and what was too young for that a little later."""
    sweep(parent, clock())
    time.sleep(_SETTLED + 5)
    sweep(parent, clock())


def sweep(parent: Path, now: float) -> None:
    """Remove directories of executables of ours that were killed; now in Unix seconds. What cannot be, stays."""
    for directory in parent.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            if _settled(directory, now):
                _remove_unless_held(directory)


def _settled(directory: Path, now: float) -> bool:
    """Whether it is one of ours and of this user, and no process can still be unpacking into it."""
    found = directory.lstat()
    return (
        found.st_uid == os.geteuid()
        and (directory / FILE).is_file()
        and max(found.st_mtime, *(each.lstat().st_mtime for each in directory.iterdir())) < now - _SETTLED
    )


def _remove_unless_held(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(directory)
    finally:
        os.close(handle)
