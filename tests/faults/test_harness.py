"""The suite itself is tested: each seeded bug turns its row red, for its own reason and not for another."""

import inspect
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.faults.bugs import BUGS, Bug
from tests.faults.conftest import Teller
from tests.faults.matrix import ROOT

pytestmark = pytest.mark.waits

Row = Callable[..., None]
HALF_WRITTEN = "*.pyc.*"  # by others at the same time


@pytest.fixture
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package; what was compiled of it stays compiled."""
    place = tmp_path_factory.mktemp("copy")
    for name in ("vault_asc", "policies"):
        shutil.copytree(ROOT / name, place / name, ignore=shutil.ignore_patterns(HALF_WRITTEN))
    return place


def seed(place: Path, bug: Bug) -> None:
    for edit in bug.edits:
        file = place / "vault_asc" / edit.file
        text = file.read_text(encoding="utf-8")
        assert text.count(edit.old) == 1, f"{edit.file} has changed: look for another way to seed this bug"
        file.write_text(text.replace(edit.old, edit.new), encoding="utf-8")


def bound(request: pytest.FixtureRequest, row: Row, values: Mapping[str, Any]) -> Callable[[], None]:
    """A row with its fixtures, which are made by the package as it is."""
    missing = inspect.signature(row).parameters.keys() - values.keys() - {"told"}
    fixtures = {name: request.getfixturevalue(name) for name in missing}
    return lambda: row(told=Teller(row.__name__), **fixtures, **values)


@contextmanager
def running_from(place: Path) -> Iterator[None]:
    """Every `vault-asc` that a row starts is the one of the copy: `python -m` looks in the current directory first."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        yield


def test_a_copy_without_a_bug_is_green_and_is_what_runs(request: pytest.FixtureRequest, place: Path) -> None:
    row = bound(request, BUGS["a token leaks into an event"].row, {})
    with running_from(place):
        row()
        argv = [sys.executable, "-m", "vault_asc", "no such command"]
        (place / "vault_asc" / "__main__.py").write_text("import vault_asc; print(vault_asc.__file__)")
        shown = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == str(place / "vault_asc" / "__init__.py")


@pytest.mark.parametrize("name", BUGS)
def test_a_seeded_bug_is_caught(request: pytest.FixtureRequest, place: Path, name: str) -> None:
    bug = BUGS[name]
    row = bound(request, bug.row, bug.values)
    seed(place, bug)
    with running_from(place), pytest.raises(Exception) as caught:
        row()
    said = f"{caught.type.__name__}: {caught.value}"
    assert re.search(bug.why, said), f"caught, but for another reason: {said}"
