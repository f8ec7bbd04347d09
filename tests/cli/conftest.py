"""A user at a prompt: a home, a configuration and a token of their own, on the shared server."""

import functools
import io
import json
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests import keys
from tests.vaults import VaultUnderTest
from vault_asc import http
from vault_asc.cli import run
from vault_asc.secret import Secret

OLD_ID = keys.KEY_ID
NEW_ID = keys.OTHER_KEY_ID
_NAMES = {"Vault", "VAULT_TOKEN", "BAO_TOKEN"}
_SAID = re.compile(r"^vault-asc: (error|hint|warning): (.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Done:
    """What a command left: exit code and both outputs."""

    code: int
    out: str
    err: str

    def said(self, kind: str) -> list[str]:
        return [text for what, text in _SAID.findall(self.err) if what == kind]

    @property
    def error(self) -> str:
        return "".join(self.said("error"))

    @property
    def hint(self) -> str:
        return "".join(self.said("hint"))

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class User:
    """Runs commands in this process. `home` is also the working directory; files of a test go there."""

    def __init__(
        self,
        home: Path,
        server: VaultUnderTest,
        mount: str,
        capsys: pytest.CaptureFixture[str],
        patch: pytest.MonkeyPatch,
    ) -> None:
        self.home, self.mount, self.server = home, mount, server
        self._capsys, self._patch = capsys, patch
        self.tokens: list[str] = []
        self.token_file = home / ".vault-token"
        self.config_file = home / "vault-asc.toml"
        self.use(server.root_token)
        self.configure()

    def use(self, token: Secret) -> None:
        """Log in, as `vault login` does."""
        self.tokens.append(token.reveal())
        self.token_file.touch(mode=0o600)
        self.token_file.write_text(token.reveal(), encoding="ascii")

    def configure(self, more: str = "", *, mount: str | None = None, address: str | None = None) -> None:
        ca = f"ca_file = {json.dumps(str(self.server.ca_file))}\n" if self.server.ca_file else ""
        self.config_file.write_text(
            f"""version = 1
[vault]
address = {json.dumps(address or self.server.address)}
{ca}[store]
mount = {json.dumps(mount or self.mount)}
[state]
dir = {json.dumps(str(self.home / "state"))}
{more}
""",
            encoding="utf-8",
        )

    def __call__(self, *words: str, stdin: bytes | None = b"") -> Done:
        self._patch.setattr(sys, "stdin", None if stdin is None else io.TextIOWrapper(io.BytesIO(stdin)))
        self._capsys.readouterr()
        code = run(words)
        out, err = self._capsys.readouterr()
        return Done(code, out, err)

    def does(self, *words: str, stdin: bytes = b"") -> Done:
        """Run a command that has to succeed."""
        done = self(*words, stdin=stdin)
        assert done.code == 0, done.err
        return done

    def fails(self, code: int, *words: str, stdin: bytes | None = b"") -> Done:
        """Run a command that has to fail, in the way every failure has to look."""
        done = self(*words, stdin=stdin)
        assert done.code == code, f"{words} ended with {done.code}: {done.err}"
        check_failure(done)
        return done

    def key_file(self, key_id: str = OLD_ID, *, name: str | None = None) -> Path:
        """A new .p8 as App Store Connect names it."""
        file = self.home / (name or f"AuthKey_{key_id}.p8")
        file.touch(mode=0o600)
        file.write_bytes(keys.new_p8_pem())
        return file

    def imports(self, name: str = "prod", key_id: str = OLD_ID) -> Path:
        """A key in Vault; returns its file."""
        file = self.key_file(key_id)
        self.does("key", "import", str(file), name, "--issuer-id", keys.ISSUER_ID)
        return file

    def record(self, name: str = "prod") -> dict[str, Any]:
        record: dict[str, Any] = self.does("key", "show", name, "--json").json
        return record


def check_failure(done: Done, *, out: bool = False) -> None:
    """One error, at most one hint, each on one line and in our grammar, nothing else but warnings, no traceback."""
    assert len(done.said("error")) == 1, done.err
    assert len(done.said("hint")) <= 1, done.err
    assert "Traceback" not in done.err
    assert not done.error.endswith("."), done.error
    assert done.error[0] == done.error[0].lower() or done.error.split()[0] in _NAMES, done.error
    assert "internal error" not in done.error
    lines = [line for line in done.err.splitlines() if line and not line.startswith("type ")]
    assert len(lines) == len(_SAID.findall(done.err)), done.err
    assert out or not done.out


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home and working directory of a user who has set nothing."""
    for name in ("STATE_DIRECTORY", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries follow each other at once."""
    monkeypatch.setattr(http, "session", functools.partial(http.session, wait=lambda _seconds: None))


@pytest.fixture
def user(
    home: Path,
    vault: VaultUnderTest,
    kv_mount: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    without_pauses: None,
) -> User:
    return User(home, vault, kv_mount, capsys, monkeypatch)


@pytest.fixture
def environment(user: User) -> dict[str, str]:
    """The environment of a child process that is this user."""
    return {"PATH": os.environ["PATH"], "HOME": str(user.home), "PYTHONPATH": os.pathsep.join(sys.path)}
