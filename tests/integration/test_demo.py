"""The demo as a person runs it. It takes three quarters of a minute, so there is one test."""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.worlds import naming

pytestmark = pytest.mark.waits

TIMEOUT = 180  # seconds


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory of its own with a short name: pytest's is too long for a unix socket."""
    with tempfile.TemporaryDirectory(prefix="demo-") as name:
        yield Path(name)


def test_the_demo_ends_well_and_leaves_nothing(place: Path) -> None:
    environ = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": str(place), "TMPDIR": str(place)}
    done = subprocess.run(
        [sys.executable, "-m", "vault_asc", "demo"],
        env=environ,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert re.search(r"the flow read \d+ times: \d+ x 200\n", done.stdout)
    assert 'apple accepts tokens of key "DEMOKEY002"\n' in done.stdout, "the rotation was tried at the simulator"
    assert re.search(r"tokens: \d+ of DEMOKEY001, \d+ of DEMOKEY002\n", done.stdout)
    assert "BEGIN PRIVATE KEY" not in done.stdout
    assert not re.search(r"\beyJ|\b(hv)?[sbr]\.[A-Za-z0-9]{20,}", done.stdout), "no token is shown"
    assert list(place.iterdir()) == []
    assert naming(place) == []
