"""What is remembered on disk: one JSON file per target, when the Agent last ticked, and the Agent's tick files.

No secret is in any of them. A file that is damaged is as good as none (the target is then simply due). One of a newer
format is refused, because writing it back would lose what the newer version knows; so is one that may not be read,
because a state that somebody else keeps is not "never pushed".
"""

import contextlib
import errno
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Final, TypeGuard

from vault_asc.config import Target
from vault_asc.errors import BusyError, ConfigError, VaultAscError
from vault_asc.files import is_locked, locked, make_private_dir, sweep, unfinished, write_atomic
from vault_asc.outcome import Outcome
from vault_asc.rotation import TargetState, Tick

FORMAT: Final = 1
_TICK_MAX: Final = 32  # bytes of a tick file
_TRIES: Final = 5  # for the lock of a service
_MOMENT_MAX: Final = 1e11  # Unix seconds, in the year 5138
_FIELDS: Final = {f.name for f in fields(TargetState)}


class StateDir:
    """The state directory of one configuration. What may not be read or written is a `ConfigError`."""

    def __init__(self, path: Path) -> None:
        self.path = Path(os.path.realpath(path))  # once, so that all files of a pass are in the same directory

    def load(self, target: str) -> TargetState:
        """What is known of a target; an empty state when nothing is."""
        file = self._file(target)
        data = _read_json(file)
        written = data.get("format")
        if isinstance(written, int) and written > FORMAT:
            raise ConfigError(
                f'"{file}" has format {written}, this vault-asc writes format {FORMAT}; it is left as it is',
                hint="use the newer vault-asc that wrote it, or move the file away",
            )
        if written != FORMAT:
            return TargetState()
        try:
            known = _checked({k: v for k, v in data.items() if k in _FIELDS})
            outcome = Outcome(known["outcome"]) if known.get("outcome") else None
            return TargetState(**{**known, "outcome": outcome})
        except (TypeError, ValueError):
            return TargetState()

    def save(self, target: str, state: TargetState, now: float) -> None:
        """Replace the state of a target."""
        make_private_dir(self._file(target).parent)
        write_atomic(self._file(target), _dump({"format": FORMAT, **asdict(state)}), now=now)

    @contextlib.contextmanager
    def lock(self, target: str) -> Iterator[None]:
        """Hold a target for the time of one attempt; `BusyError` when another process does."""
        make_private_dir(self._file(target).parent)
        with locked(self._lock_file(target)):
            yield

    @contextlib.contextmanager
    def served(self) -> Iterator[None]:
        """Hold the whole directory for a service; `BusyError` when another one does. Pushes go on beside it."""
        make_private_dir(self.path)
        with contextlib.ExitStack() as stack:
            try:
                # Tried more than once: whoever looks whether a service is there holds the lock for a moment.
                stack.enter_context(locked(self._run_lock, tries=_TRIES))
            except BusyError as exc:
                raise BusyError(
                    f'another "vault-asc run" keeps the targets of "{self.path}" fresh',
                    hint="stop that one, or give this one a state directory of its own: STATE_DIRECTORY, state.dir",
                ) from exc
            yield

    def is_served(self) -> bool | None:
        """Whether a service holds the directory; None when that cannot be seen."""
        return is_locked(self._run_lock)

    def sweep(self, targets: Iterable[Target]) -> None:
        """Remove what killed writers left: of all states, and of the token files of `targets`.

        For a service at its start. Each is removed under its target's lock, for pushes may go on beside it: what one of
        them holds is left to its next write.
        """
        owners = {self._file(name): name for name in self._unfinished()}
        tokens = {target.token_file: target.name for target in targets if target.token_file}
        for directory in {file.parent for file in tokens}:
            found = {directory / name for name in unfinished(directory)}
            owners |= {file: tokens[file] for file in found & tokens.keys()}
        for file, target in owners.items():
            with contextlib.suppress(VaultAscError), self.lock(target):
                sweep(file)

    def _unfinished(self) -> Iterator[str]:
        """Targets of whose state temporary files are there; of the configuration or not."""
        names = unfinished(self.path / "targets")
        return (name.removesuffix(".json") for name in names if name.endswith(".json"))

    def begin(self, target: str, now: float) -> None:
        """Note in the lock file that an attempt begins, so that one which is killed leaves a trace."""
        with contextlib.suppress(OSError):  # a full disk: the attempt counts, not its trace
            self._lock_file(target).write_bytes(_dump({"began": now}))

    def end(self, target: str) -> None:
        """Take the note away: the attempt has ended, whatever came of it."""
        with contextlib.suppress(OSError):
            os.truncate(self._lock_file(target), 0)

    def unended(self, target: str) -> float:
        """When the attempt began that has not ended: it runs or was killed. Unix seconds; 0 when there is none."""
        value = _read_json(self._lock_file(target)).get("began")
        return float(value) if _is_moment(value) else 0

    def last_tick(self) -> float:
        """When the Agent last called, in Unix seconds; 0 when it never did."""
        value = _read_json(self.path / "last_tick.json").get("at")
        return float(value) if _is_moment(value) else 0

    def save_tick(self, now: float) -> None:
        """Remember that the Agent called."""
        make_private_dir(self.path)
        write_atomic(self.path / "last_tick.json", _dump({"at": now}), now=now)

    @property
    def _run_lock(self) -> Path:
        return self.path / "run.lock"

    def _file(self, target: str) -> Path:
        return self.path / "targets" / f"{target}.json"

    def _lock_file(self, target: str) -> Path:
        return self.path / "targets" / f"{target}.lock"


def read_tick(directory: Path, key: str) -> Tick | None:
    """The Agent's tick file of a key; None when there is none, or none that can be understood."""
    try:
        # One descriptor for both: the Agent may put a newer file there at any moment.
        with (directory / key).open("rb") as stream:
            text, written_at = stream.read(_TICK_MAX).strip(), os.fstat(stream.fileno()).st_mtime
    except OSError:
        return None
    return Tick(int(text), written_at) if text.isdigit() else None


def _read_json(file: Path) -> dict[str, Any]:
    try:
        data = json.loads(file.read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError, RecursionError):
        return {}
    except OSError as exc:
        raise ConfigError(
            f'the state file "{file}" cannot be read: {os.strerror(exc.errno or errno.EIO)}',
            hint="run this as the user that the Agent runs as, or vault-asc run does; or name another directory: state.dir",
        ) from exc
    return data if isinstance(data, dict) else {}


def _dump(data: dict[str, Any]) -> bytes:
    return json.dumps(data, indent=1).encode() + b"\n"


def _checked(known: dict[str, Any]) -> dict[str, Any]:
    """The values, provided that each has the type of its field's default; `TypeError` else."""
    empty = TargetState()
    for name, value in known.items():
        default = getattr(empty, name)
        if isinstance(default, int | float):
            fits = _is_moment(value)
        else:
            fits = isinstance(value, type(default)) or (default is None and isinstance(value, str))
        if not fits:
            raise TypeError(name)
    return known


def _is_moment(value: object) -> TypeGuard[int | float]:
    """A number that arithmetic with moments can bear: NaN would make a target never due, 10**400 overflow."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _MOMENT_MAX
