import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cli.reference import commands
from vault_asc.config import load
from vault_asc.outcome import Outcome
from vault_asc.rotation import TargetState, attempted
from vault_asc.state import StateDir

HEAVY = {"hvac", "jwt", "cryptography", "requests", "urllib3", "http.client"}

CONFIG = """\
version = 1
[state]
dir = "{state}"
[nexla.default]
service_key = {{ path = "asc/nexla/default" }}
[[targets]]
name = "sales"
key = "prod"
credential_id = 5001
token_file = "{state}/sales.jwt"
[[targets]]
name = "other"
key = "prod"
credential_id = 5002
"""

# Runs each command line of the first argument in this one process, and tells which modules were there after each.
_LOADED = """
import contextlib, io, json, sys
from vault_asc.cli import run
report = []
for words in json.loads(sys.argv[1]):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        code = run(words)
    report.append((words, code, out.getvalue(), [m for m in json.loads(sys.argv[2]) if m in sys.modules]))
print(json.dumps(report))
"""


def loaded_by(*lines: Sequence[str], home: Path) -> list[tuple[list[str], int, str, list[str]]]:
    """Words, exit code, output and the heavy modules that are loaded by then, for each command line."""
    done = subprocess.run(
        [sys.executable, "-c", _LOADED, json.dumps(lines), json.dumps(sorted(HEAVY))],
        cwd=home,
        env={"HOME": str(home), "PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    report: list[tuple[list[str], int, str, list[str]]] = json.loads(done.stdout)
    return report


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """A home with two targets that were pushed a moment ago."""
    state = tmp_path / "state"
    file = tmp_path / "vault-asc.toml"
    file.write_text(CONFIG.format(state=state), encoding="utf-8")
    now = time.time()
    for target in load(file, {}).targets:
        good = replace(
            attempted(target, TargetState(), None, now),
            key_id="2X9R4HXF34",
            started_at=now,
            issued_at=int(now) - 60,
            expires_at=int(now) + 1080,
            usable_life=1080,
            record_version=1,
            outcome=Outcome.LIVE,
        )
        StateDir(state).save(target.name, good, now)
    return tmp_path


def test_help_and_version_load_nothing_heavy(tmp_path: Path) -> None:
    helps = [[*path[1:], "--help"] for path, _ in commands()]
    for command in ("key", "key import", "key move", "key retire", "audit", "audit trace", "policy check", "mint"):
        assert [*command.split(), "--help"] in helps
    for words, code, out, heavy in loaded_by(["--version"], ["-h"], [], *helps, home=tmp_path):
        assert (words, code, heavy) == (words, 0, [])
        assert out


def test_what_asks_no_server_loads_nothing_heavy(fresh: Path) -> None:
    text = (fresh / "vault-asc.toml").read_text(encoding="utf-8")
    (fresh / "pure.toml").write_text(f'{text}token_file = "{fresh}/other.jwt"\n', encoding="utf-8")
    rendered = f'[[targets]]\nname = "reports"\nrole = "reports"\ntoken_file = "{fresh}/reports.jwt"\n'
    (fresh / "roles.toml").write_text(text.replace("\nkey =", "\nrole =") + rendered, encoding="utf-8")
    lines = [
        ["status"],
        ["status", "--json"],
        ["status", "--check"],
        ["config", "check"],
        ["init", "new.toml"],
        ["agent", "config"],
        ["agent", "config", "--pure", "--config", "pure.toml"],
        ["agent", "config", "--config", "roles.toml"],
        ["config", "check", "--config", "roles.toml"],
        ["push", "--all", "--dry-run", "--config", "roles.toml"],
        ["policy", "list"],
        ["policy", "show", "minter", "--key", "prod"],
        ["policy", "show", "key-admin", "--custody", "transit"],
        ["policy", "show", "agent"],
        ["push", "--all", "--dry-run"],
    ]
    for words, code, _, heavy in loaded_by(*lines, home=fresh):
        assert (words, code, heavy) == (words, 0, [])


@pytest.mark.parametrize("ticks", [[], ["--tick-dir", "ticks"]])
def test_a_push_with_nothing_due_loads_nothing_heavy(fresh: Path, ticks: list[str]) -> None:
    (fresh / "ticks").mkdir()
    (fresh / "ticks" / "prod").write_text("1\n")
    ((_, code, out, heavy),) = loaded_by(["push", "--all", "--if-due", *ticks], home=fresh)
    assert (code, heavy) == (0, [])
    assert sorted(out.splitlines()) == ["other: not due", "sales: not due"]


def test_a_wrong_command_line_loads_nothing_heavy(fresh: Path) -> None:
    lines = [
        ["mnt"],
        ["key"],
        ["mint"],
        ["mint", "prod", "--nope"],
        ["push", "nope"],
        ["push"],
        ["mint", "../x"],
        ["mint", "prod", "--role", "sales"],
    ]
    lines += [
        ["key", "move", "prod"],
        ["key", "import", "x"],
        ["key", "import", "x", "prod", "--custody", "kv", "--no-escrow"],
    ]
    lines += [["key", "rotate", "prod", "--wrapped", "x", "--dry-run"], ["audit", "trace"], ["policy", "check"]]
    for words, code, _, heavy in loaded_by(*lines, home=fresh):
        assert (words, code in {2, 7}, heavy) == (words, True, [])


def test_the_check_sees_what_is_loaded(fresh: Path) -> None:
    (fresh / ".vault-token").write_text("x")
    ((_, code, _, heavy),) = loaded_by(["key", "list", "--address", "http://127.0.0.1:1"], home=fresh)
    assert code == 5
    assert set(heavy) >= {"hvac", "requests", "urllib3", "http.client"}
