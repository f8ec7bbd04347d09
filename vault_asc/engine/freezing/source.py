"""Which commit the source of this installation is, as far as that is known."""

import importlib.metadata
import json
import subprocess
from pathlib import Path
from typing import Final

UNKNOWN: Final = "unknown"
_PARTS: Final = ("vault_asc", "pyproject.toml")
_GIT: Final = ("git", "--no-optional-locks", "-c", "core.fsmonitor=false")
_TIMEOUT: Final = 30.0  # seconds


def commit_of(root: Path) -> str:
    """The commit of a checkout, with "-dirty" when files differ from it; else that which pip installed from.

    Args:
        root: the directory with the package in it.
    """
    if not (root / ".git").exists():
        return _installed_commit()
    commit = _git(root, "rev-parse", "HEAD")
    if not commit:
        return UNKNOWN
    return commit if _git(root, "status", "--porcelain", "--", *_PARTS) == "" else f"{commit}-dirty"


def _git(root: Path, *words: str) -> str | None:
    """What git says, None when it cannot."""
    argv = [*_GIT, "-C", str(root), *words]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=_TIMEOUT, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _installed_commit() -> str:
    try:
        told = importlib.metadata.distribution("vault-asc").read_text("direct_url.json")
    except importlib.metadata.PackageNotFoundError:
        return UNKNOWN
    commit = json.loads(told or "{}").get("vcs_info", {}).get("commit_id")
    return commit if isinstance(commit, str) else UNKNOWN
