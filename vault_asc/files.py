"""Files that matter: whole or not at all, 0600; and locks between processes.

A reader sees the old bytes or the new ones, whatever kills the writer. Temporary files that a killed writer left are
swept by the next one two minutes later, or by who knows that nobody writes.

A symlink in the place of a file is replaced, never followed. One to its directory is followed, once: what it leads to
is opened without following another, has to be root's or ours, and not writable by everybody. Who may change the
directories above decides where the file is; nobody else can swap it or read it.
"""

import contextlib
import errno
import fcntl
import math
import os
import re
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from vault_asc.errors import BusyError, ConfigError

_STALE: Final = 120.0
"""Seconds after which a temporary file belongs to no living writer: a push ends within 50 s."""
_TEMPORARY: Final = re.compile(r"\.(.+)\.[0-9a-f]{8}\.tmp", re.ASCII | re.DOTALL)
_TAKES_NOTHING: Final = frozenset({errno.EROFS, errno.ENOSPC, errno.EDQUOT})
"""What a file system answers that has become read-only, or is full."""
_APART: Final = 0.05  # seconds between two tries for a lock
_CANNOT_SYNC: Final = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP})
"""What a file system answers, some network ones do, that has no fsync for directories."""


def write_atomic(path: Path, data: bytes, *, now: float, mode: int = 0o600) -> None:
    """Replace the content of `path`: temporary file in the same directory, fsync, rename, fsync of the directory.

    `ConfigError` names the file and what is wrong with it or its directory, and says whether the old content stands.

    Args:
        path: the file; a symlink of that name is replaced, its target is not touched.
        data: the whole new content.
        now: Unix seconds, to tell stale temporary files from those of a living writer.
        mode: permissions of the file, whatever the umask.
    """
    try:
        with _directory(path.parent) as directory:
            _sweep(directory, path.name, before=now - _STALE)
            temporary = f".{path.name}.{os.urandom(4).hex()}.tmp"
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            handle = os.open(temporary, flags, 0o600, dir_fd=directory)
            try:
                _fill(handle, data, mode)
                os.rename(temporary, path.name, src_dir_fd=directory, dst_dir_fd=directory)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(temporary, dir_fd=directory)
                raise
            _sync(directory, path)
    except OSError as exc:
        raise _refused(path, exc) from exc


def make_private_dir(path: Path) -> Path:
    """The directory, created 0700 like those above it when missing. `ConfigError` when that is not possible."""
    try:
        for part in reversed([path, *path.parents]):  # `parents=True` would give the upper ones the umask's mode
            if not part.is_dir():
                part.mkdir(mode=0o700, exist_ok=True)
    except OSError as exc:
        raise ConfigError(
            f'directory "{path}" cannot be made: {os.strerror(exc.errno or errno.EIO)}',
            hint="create it for this user, or name another: state.dir, agent.dir",
        ) from exc
    return path


def unfinished(path: Path) -> set[str]:
    """Names of the files in a directory of which temporary ones are there; none when it cannot be looked at."""
    with contextlib.suppress(OSError, ConfigError), _directory(path) as directory:
        return {found[1] for found in _temporary(directory, ".")}
    return set()


def sweep(path: Path) -> None:
    """Remove the temporary files of `path`, as far as that is possible, for who knows that nobody writes it now."""
    with contextlib.suppress(OSError, ConfigError), _directory(path.parent) as directory:
        _sweep(directory, path.name)


@contextlib.contextmanager
def locked(path: Path, *, tries: int = 1) -> Iterator[None]:
    """Hold the lock file `path` for the time of the block; `BusyError` at once when another process holds it.

    With more `tries` it is asked for that often, 50 ms apart, because `is_locked` holds a lock for a moment.

    The kernel frees the lock when its holder dies, so a file that was left behind locks nobody out. On a disk that takes
    nothing any more, read-only or full, the file of before is locked; where there is none the block runs without a lock.
    """
    try:
        with _directory(path.parent) as directory:
            handle = _lock_file(directory, path.name)
    except OSError as exc:
        raise _refused(path, exc) from exc
    if handle is None:
        yield
        return
    try:
        _lock(handle, path, tries)
        yield
    finally:
        os.close(handle)


def is_locked(path: Path) -> bool | None:
    """Whether another process holds the lock file `path`; None when that cannot be seen.

    Asked by a shared lock, so that who looks is in nobody's way but a holder's that comes at that very moment, and makes
    no file. Locks are seen from other containers too, of which /proc/locks tells nothing.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a file system without locks
        return None
    finally:
        os.close(handle)
    return False


def _lock_file(directory: int, name: str) -> int | None:
    """A descriptor of a lock file; None when there is none, and the disk takes none."""
    flags = os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(name, flags | os.O_RDWR | os.O_CREAT, 0o600, dir_fd=directory)
    except OSError as exc:
        if exc.errno not in _TAKES_NOTHING:
            raise
    with contextlib.suppress(FileNotFoundError):
        return os.open(name, flags | os.O_RDONLY, dir_fd=directory)
    return None


def _lock(handle: int, path: Path, tries: int) -> None:
    try:
        for _ in range(tries - 1):
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            time.sleep(_APART)
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        raise BusyError(
            f'another vault-asc holds the lock "{path}"', hint="wait until it is done, a push ends within 50 s"
        ) from exc
    except OSError as exc:
        raise _refused(path, exc) from exc


@contextlib.contextmanager
def _directory(path: Path) -> Iterator[int]:
    """A descriptor of a directory in which nobody else can swap our file."""
    handle = os.open(os.path.realpath(path), os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        _check_directory(path, os.fstat(handle))
        yield handle
    finally:
        os.close(handle)


def _check_directory(path: Path, found: os.stat_result) -> None:
    if found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX:
        raise ConfigError(f'directory "{path}" is writable by everybody', hint=f"chmod o-w {path}")
    if found.st_uid not in {0, os.geteuid()}:
        raise ConfigError(
            f'directory "{path}" belongs to user {found.st_uid}, who could swap the file',
            hint="use a directory of this user or of root, or run this as that user",
        )


def _sync(directory: int, path: Path) -> None:
    """Make the rename last. From here on the new content is in place, whatever is told."""
    try:
        os.fsync(directory)
    except OSError as exc:
        if exc.errno not in _CANNOT_SYNC:
            raise ConfigError(
                f'"{path}" was replaced, but may be lost if the host fails now: {os.strerror(exc.errno or errno.EIO)}',
                hint="look at the disk: dmesg",
            ) from exc


def _fill(handle: int, data: bytes, mode: int) -> None:
    with os.fdopen(handle, "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fchmod(stream.fileno(), mode)
        os.fsync(stream.fileno())


def _sweep(directory: int, name: str, *, before: float = math.inf) -> None:
    """Remove temporary files of the same file that were written before a moment."""
    for found in _temporary(directory, f".{name}."):
        if found[1] == name:
            with contextlib.suppress(OSError):
                if os.stat(found[0], dir_fd=directory, follow_symlinks=False).st_mtime < before:
                    os.unlink(found[0], dir_fd=directory)


def _temporary(directory: int, start: str) -> Iterator[re.Match[str]]:
    """Temporary files whose names start so, with the name of the file as group 1."""
    for entry in os.listdir(directory):
        # By the start first: a directory of states may hold ten thousand files.
        if entry.startswith(start) and (found := _TEMPORARY.fullmatch(entry)):
            yield found


def _refused(path: Path, exc: OSError) -> ConfigError:
    hints = {
        errno.ENOENT: f"create the directory first: mkdir -m 700 -p {path.parent}",
        errno.ENOSPC: "make room on that file system",
        errno.EROFS: "choose a path on a writable file system",
        errno.ENOTDIR: f"{path.parent} must be a directory",
        errno.ELOOP: f"{path} must not be reached through a symlink",
        errno.EISDIR: f"{path} is a directory, name a file",
    }
    code = exc.errno or errno.EIO
    return ConfigError(
        f'cannot write "{path}": {os.strerror(code)}; what was there is untouched',
        hint=hints.get(code, f"check who owns {path.parent} and its permissions"),
    )
