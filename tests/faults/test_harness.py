"""The suite itself is tested: each seeded bug turns its row red, for its own reason and not for another."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.bugs import BUGS, Bug
from tests.faults.matrix import ROOT

_TIMEOUT = 150  # seconds for the rows of one bug


def copy(directory: Path) -> Path:
    """The package, its policies and its tests; what is run in there imports nothing from here."""
    for name in ("vault_asc", "policies", "tests"):
        shutil.copytree(ROOT / name, directory / name, ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
    shutil.copy(ROOT / "pyproject.toml", directory)
    return directory


def seed(place: Path, bug: Bug) -> None:
    for edit in bug.edits:
        file = place / "vault_asc" / edit.file
        text = file.read_text(encoding="utf-8")
        assert text.count(edit.old) == 1, f"{edit.file} has changed: look for another way to seed this bug"
        file.write_text(text.replace(edit.old, edit.new), encoding="utf-8")


def rows(place: Path, file: str, expression: str) -> "subprocess.CompletedProcess[str]":
    """Run some tests of the copy there, as if it were the project."""
    argv = [
        sys.executable,
        "-m",
        "pytest",
        file,
        "-k",
        expression,
        "-q",
        "-x",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
    ]
    environ = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    environ |= {"PYTHONPATH": str(place), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        argv,
        cwd=place,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=_TIMEOUT,
        stdin=subprocess.DEVNULL,
    )


def test_a_copy_without_a_bug_is_green_and_is_what_runs(tmp_path: Path) -> None:
    place = copy(tmp_path / "copy")
    done = rows(place, "tests/faults/test_nexla.py", "f19")
    assert done.returncode == 0, done.stdout
    script = "import vault_asc; print(vault_asc.__file__)"
    shown = subprocess.run([sys.executable, "-c", script], cwd=place, capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == str(place / "vault_asc" / "__init__.py")


@pytest.mark.parametrize("name", BUGS)
def test_a_seeded_bug_is_caught(tmp_path: Path, name: str) -> None:
    bug = BUGS[name]
    place = copy(tmp_path / "copy")
    seed(place, bug)
    done = rows(place, *bug.tests)
    assert done.returncode == 1, f"not caught:\n{done.stdout[-3000:]}{done.stderr[-1000:]}"
    assert re.search(r"(?m)^FAILED ", done.stdout), f"caught, but not by a row:\n{done.stdout[-3000:]}"
    assert re.search(bug.why, done.stdout), f"caught, but for another reason:\n{done.stdout[-3000:]}"
