"""The socket that the host dials: in a directory of our own, open to our user alone, gone at the end.

A process that is killed leaves its directory behind, and the next one sweeps it. Who lives is told by a lock on the
directory, not by a process ID, which means nothing to another container. A directory gets its name when it is locked, so
that one without a lock is nobody's, however young.
"""

import contextlib
import fcntl
import os
import socket
import tempfile
from pathlib import Path
from typing import Final

from vault_asc.errors import ConfigError

_PREFIX: Final = "vault-asc-plugin-"
_UNNAMED: Final = "vault-asc-starting-"
_NAME: Final = "plugin.sock"
_SETTLED: Final = 10.0  # seconds after which a directory without a name and a lock is nobody's
_BACKLOG: Final = 16


class Listening:
    """A bound unix socket.

    Attributes:
        path: where the host finds it; None when there is none.
        socket: the listening socket.
    """

    def __init__(self, parent: str | None, now: float) -> None:
        """Make the directory below `parent` (default: the system's temporary directory) and bind. `ConfigError`.

        What dead processes left there is removed; now is in Unix seconds.
        """
        self.path: Path | None = None
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            directory = Path(tempfile.mkdtemp(prefix=_UNNAMED, dir=parent))
            self.path = directory / _NAME
            self._lock = _locked(directory)
            directory = directory.rename(directory.with_name(directory.name.replace(_UNNAMED, _PREFIX)))
            self.path = directory / _NAME
            _sweep(directory.parent, now)
            self.socket.bind(str(self.path))
            self.path.chmod(0o600)
            self.socket.listen(_BACKLOG)
        except OSError as exc:
            self.close()
            raise ConfigError(
                f'no socket can be made below "{parent or tempfile.gettempdir()}": {exc.strerror or exc}',
                hint="set TMPDIR of the server to a short path (socket paths end at about 100 characters) it may write",
            ) from exc

    def close(self) -> None:
        """Remove socket and directory; also from another thread, and more than once."""
        self.socket.close()
        if self.path is not None:
            with contextlib.suppress(OSError):
                self.path.unlink(missing_ok=True)
                self.path.parent.rmdir()


def _locked(directory: Path) -> int | None:
    """A descriptor that holds the lock for as long as it is open, None when another process does."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        return None
    return handle


def _sweep(parent: Path, now: float) -> None:
    for directory in (*parent.glob(f"{_PREFIX}*"), *parent.glob(f"{_UNNAMED}*")):
        with contextlib.suppress(OSError):
            found = directory.lstat()
            young = found.st_mtime > now - _SETTLED
            if found.st_uid != os.geteuid() or (young and directory.name.startswith(_UNNAMED)):
                continue
            handle = _locked(directory)
            if handle is not None:
                (directory / _NAME).unlink(missing_ok=True)
                directory.rmdir()
                os.close(handle)
