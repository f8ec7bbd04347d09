"""Reads the bytes of a key file, and no more than a key file can have; what they mean is `vault_asc.key.private_key`'s business.

Never blocks on a FIFO, never reads a device. A file that others can read is read all the same, with a warning.
"""

import os
import shlex
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from vault_asc.errors import ConfigError
from vault_asc.key.pem import MAX_KEY_BYTES, check_size
from vault_asc.opening import open_to, opened
from vault_asc.secret import safe_text

_PATH_SHOWN_MAX: Final = 1000  # characters: a cut path in a command would be wrong
_KINDS: Final = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class BinaryReader(Protocol):
    """The part of a binary stream that is needed here."""

    def read(self, size: int, /) -> bytes | None:
        """At most `size` bytes, none at the end."""


def read_key_file(path: Path, warn: Callable[[str], None]) -> bytes:
    """The bytes of a key file; symbolic links are followed.

    `warn` gets one line when group or others may read the file. `ConfigError` when the path is missing, unreadable or
    not a regular file, `PrivateKeyError` when the file is larger than `MAX_KEY_BYTES`.
    """
    try:
        with opened(path) as (descriptor, facts):
            mode = facts.st_mode
            if not stat.S_ISREG(mode):
                raise _not_a_file(path, mode)
            # Unbuffered: a buffer would read ahead of the cap.
            with os.fdopen(descriptor, "rb", buffering=0, closefd=False) as stream:
                data = read_limited(stream)
    except (OSError, ValueError) as exc:  # ValueError: a NUL byte in the path
        raise _unreadable(path, exc) from exc
    _warn_if_open(path, mode, warn)
    return data


def read_limited(stream: BinaryReader) -> bytes:
    """All of a binary stream, such as standard input; `PrivateKeyError` when it is larger than `MAX_KEY_BYTES`.

    Reads at most one byte more than that.
    """
    data = b""
    while len(data) <= MAX_KEY_BYTES and (chunk := stream.read(MAX_KEY_BYTES + 1 - len(data))):
        data += chunk
    return check_size(data)


def _not_a_file(path: Path, mode: int) -> ConfigError:
    kind = _KINDS.get(stat.S_IFMT(mode), "not a regular file")
    return ConfigError(
        f"the key file {_quoted(path)} is {kind}", hint="name the .p8 file itself, or pass - and pipe the key to stdin"
    )


def _unreadable(path: Path, exc: OSError | ValueError) -> ConfigError:
    if isinstance(exc, FileNotFoundError):
        return ConfigError(f"the key file {_quoted(path)} does not exist", hint="check the path")
    if isinstance(exc, PermissionError):
        return ConfigError(
            f"the key file {_quoted(path)} may not be read by this user",
            hint="run as the owner of the file, or pass - and pipe the key to stdin",
        )
    try:
        mode = path.stat().st_mode  # a socket cannot be opened at all, so ask for its type by name
    except (OSError, ValueError):
        mode = stat.S_IFREG
    if not stat.S_ISREG(mode):
        return _not_a_file(path, mode)
    reason = (exc.strerror or "input or output error").lower() if isinstance(exc, OSError) else "NUL in its path"
    return ConfigError(f"the key file {_quoted(path)} cannot be read: {reason}", hint="check the path")


def _warn_if_open(path: Path, mode: int, warn: Callable[[str], None]) -> None:
    if others := open_to(mode):
        warn(f"the key file {_quoted(path)} {others}: chmod 600 {safe_text(shlex.quote(str(path)), _PATH_SHOWN_MAX)}")


def _quoted(path: Path) -> str:
    return f'"{safe_text(str(path), _PATH_SHOWN_MAX)}"'
