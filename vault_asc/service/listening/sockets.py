"""The socket that is listened on: loopback, or a unix socket for our user alone. `ConfigError` when it cannot be had."""

import contextlib
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from vault_asc.errors import ConfigError
from vault_asc.listen import Listen

_BACKLOG: Final = 32
_PATIENCE: Final = 1.0  # seconds for the answer to whether somebody listens on a unix socket


@contextmanager
def listening(listen: Listen) -> Iterator[socket.socket]:
    """A socket that listens during the block; a unix socket's file is gone afterwards."""
    family = socket.AF_UNIX if listen.path else socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as opened:
        try:
            if listen.path is None:
                opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                opened.bind((listen.host, listen.port))
            else:
                _bind(opened, listen.path)
            opened.listen(_BACKLOG)
        except OSError as exc:
            reason = type(exc).__name__ if exc.errno is None else os.strerror(exc.errno).lower()
            raise ConfigError(
                f'nothing can listen on "{listen}": {reason}; nothing was begun',
                hint="name another place with run.listen, or leave it out: the service needs no listener",
            ) from exc
        ours = None if listen.path is None else _identity(listen.path)
        try:
            yield opened
        finally:
            if listen.path is not None and _identity(listen.path) == ours:
                listen.path.unlink(missing_ok=True)


def _bind(opened: socket.socket, path: Path) -> None:
    """Bind a file that only our user may open; nobody can connect between the two steps, before `listen`."""
    with contextlib.suppress(FileNotFoundError):
        _clear(path)
    opened.bind(str(path))
    path.chmod(0o600)


def _clear(path: Path) -> None:
    """Remove the socket of a process that was killed; leave alone whatever else is there."""
    if not stat.S_ISSOCK(path.lstat().st_mode):
        raise ConfigError(
            f'"{path}" is there and is no socket', hint="name another path in run.listen, or move it away"
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_PATIENCE)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
        except (TimeoutError, BlockingIOError):
            pass  # somebody listens, and is so busy that connections wait
    raise ConfigError(f'another process listens on "{path}"', hint="name another path in run.listen, or stop it")


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
