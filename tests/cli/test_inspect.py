import base64
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import keys
from vault_asc import tokens
from vault_asc.cli import run
from vault_asc.key.identity import identity
from vault_asc.tokens import TokenRequest

if TYPE_CHECKING:
    from tests.cli.conftest import User


def minted(now: float) -> str:
    who = identity(key_id=keys.KEY_ID, issuer_id=keys.ISSUER_ID, individual=False)
    return tokens.mint(who, TokenRequest(), keys.private_key(), now).value.reveal()


def test_a_good_token_is_explained_and_not_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "token"
    file.write_text(f"Authorization: Bearer {minted(time.time())}\n", encoding="ascii")
    assert run(["inspect", str(file)]) == 0
    out, err = capsys.readouterr()
    assert keys.KEY_ID in out
    assert "17m 5" in out
    assert "breaks" not in out
    assert (err, "eyJ" in out) == ("", False)


def test_an_old_token_breaks_a_rule_and_exits_with_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "token"
    file.write_text(minted(time.time() - 7200), encoding="ascii")
    assert run(["inspect", str(file)]) == 3
    assert "breaks a rule: it expired 1h 42m ago" in capsys.readouterr().out


def test_the_words_of_a_token_cannot_move_the_cursor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parts = [{"alg": "ES256"}, {"\x1b[2Jname": "\x1b[2Jvalue"}]
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts]
    file = tmp_path / "token"
    file.write_text(".".join([*encoded, "AAAA"]), encoding="ascii")
    assert run(["inspect", str(file)]) == 3
    out = capsys.readouterr().out
    assert "\\x1b[2Jname" in out
    assert "\x1b" not in out


def test_a_closed_standard_input_holds_no_token() -> None:
    command = [sys.executable, "-m", "vault_asc", "inspect"]
    done = subprocess.run(["/bin/sh", "-c", '"$@" <&-', "sh", *command], capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert 'there is no token in "-"' in done.stderr


def test_what_is_no_token_is_an_error(user: "User", tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("eyJ.not.one", encoding="ascii")
    failed = user.fails(3, "inspect", str(file))
    assert "there is no token in" in failed.error
    user.fails(2, "inspect", str(tmp_path / "missing"))
