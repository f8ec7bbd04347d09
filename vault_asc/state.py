"""What is remembered on disk: one JSON file per target, when the Agent last ticked, and the Agent's tick files.

No secret is in any of them. A file that is damaged is as good as none (the target is then simply due); one of a newer
format is refused, because writing it back would lose what the newer version knows.
"""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final

from vault_asc.errors import ConfigError
from vault_asc.files import locked, make_private_dir, write_atomic
from vault_asc.outcome import Outcome
from vault_asc.rotation import TargetState, Tick

FORMAT: Final = 1
_FIELDS: Final = {f.name for f in fields(TargetState)}


@dataclass(frozen=True)
class StateDir:
    """The state directory of one configuration."""

    path: Path

    def load(self, target: str) -> TargetState:
        """What is known of a target; an empty state when nothing is."""
        file = self._file(target)
        data = _read_json(file)
        if data.get("format", 0) > FORMAT:
            raise ConfigError(
                f'"{file}" has format {data["format"]}, this vault-asc writes format {FORMAT}; it is left as it is',
                hint="use the newer vault-asc that wrote it, or move the file away",
            )
        try:
            known = {k: v for k, v in data.items() if k in _FIELDS}
            outcome = Outcome(known["outcome"]) if known.get("outcome") else None
            return TargetState(**{**_checked(known), "outcome": outcome})
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
        with locked(self._file(target).with_suffix(".lock")):
            yield

    def last_tick(self) -> float:
        """When the Agent last called, in Unix seconds; 0 when it never did."""
        value = _read_json(self.path / "last_tick.json").get("at", 0)
        return float(value) if isinstance(value, int | float) else 0

    def save_tick(self, now: float) -> None:
        """Remember that the Agent called."""
        make_private_dir(self.path)
        write_atomic(self.path / "last_tick.json", _dump({"at": now}), now=now)

    def _file(self, target: str) -> Path:
        return self.path / "targets" / f"{target}.json"


def read_tick(directory: Path, key: str) -> Tick | None:
    """The Agent's tick file of a key; None when there is none, or none that can be understood."""
    file = directory / key
    try:
        return Tick(int(file.read_text("ascii").strip()), file.stat().st_mtime)
    except (OSError, ValueError):
        return None


def _read_json(file: Path) -> dict[str, Any]:
    try:
        data = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}


def _dump(data: dict[str, Any]) -> bytes:
    return json.dumps(data, indent=1).encode() + b"\n"


def _checked(known: dict[str, Any]) -> dict[str, Any]:
    """The values, provided that each has the type of its field's default; `TypeError` else."""
    empty = TargetState()
    for name, value in known.items():
        default = getattr(empty, name)
        kinds = (int, float) if isinstance(default, int | float) else (type(default), str)
        if isinstance(value, bool) or not isinstance(value, kinds):
            raise TypeError(name)
    return known
