"""Reads the lines of an audit log, one at a time: from a file or a pipe, unpacked when its name ends in .gz."""

import gzip
import os
import select
import stat
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

from vault_asc.errors import ConfigError
from vault_asc.opening import opened

_LINE_MAX: Final = 64 * 1024 * 1024  # bytes; Vault takes no larger request than 32 MiB, and the log hashes most of it
_CUT_OFF: Final = b"(the packed file ends here)"  # like a line that is cut off: no entry, but counted


def lines(path: Path) -> Iterator[bytes]:
    """The lines of a log. `ConfigError` when the file is missing, unreadable or not what its name says."""
    try:
        with opened(path) as (descriptor, facts):
            if not (stat.S_ISREG(facts.st_mode) or stat.S_ISFIFO(facts.st_mode)):
                raise ConfigError(f'the audit log "{path}" is no file', hint="name the file that the device writes")
            if stat.S_ISFIFO(facts.st_mode):
                select.select(
                    [descriptor], [], []
                )  # opened without waiting, it seems to be at its end until somebody writes
            os.set_blocking(descriptor, True)
            with os.fdopen(descriptor, "rb", closefd=False) as stream:
                yield from _unpacked(stream) if path.name.endswith(".gz") else _lines(stream)
    except (OSError, ValueError, zlib.error) as exc:  # ValueError: a NUL byte in the path
        raise _unreadable(path, exc) from exc


def _lines(stream: IO[bytes]) -> Iterator[bytes]:
    while line := stream.readline(_LINE_MAX):
        yield line


def _unpacked(stream: IO[bytes]) -> Iterator[bytes]:
    with gzip.GzipFile(fileobj=stream) as unpacked:
        try:
            while line := unpacked.readline(_LINE_MAX):
                yield line
        except EOFError:
            yield _CUT_OFF


def _unreadable(path: Path, exc: Exception) -> ConfigError:
    if isinstance(exc, gzip.BadGzipFile | zlib.error):
        return ConfigError(f'the audit log "{path}" is not packed by gzip, or damaged', hint=f"gzip -t {path}")
    reason = os.strerror(exc.errno).lower() if isinstance(exc, OSError) and exc.errno else "no such path"
    return ConfigError(
        f'the audit log "{path}" cannot be read: {reason}', hint="check the path; the log belongs to Vault's user"
    )
