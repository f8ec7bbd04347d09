"""The demo as a person runs it. It takes three quarters of a minute, so there is one test."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.integration.worlds import naming

TIMEOUT = 180  # seconds


def test_the_demo_ends_well_and_leaves_nothing(tmp_path: Path) -> None:
    environ = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
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
    assert re.search(r"tokens: \d+ of DEMOKEY001, \d+ of DEMOKEY002\n", done.stdout)
    assert "BEGIN PRIVATE KEY" not in done.stdout
    assert not re.search(r"\beyJ|\b(hv)?[sbr]\.[A-Za-z0-9]{20,}", done.stdout), "no token is shown"
    assert list(tmp_path.iterdir()) == []
    assert naming(tmp_path) == []
