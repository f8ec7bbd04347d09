"""A user at a prompt: a home, a configuration and a token of their own, on the shared server.

No command leaves this machine: App Store Connect is a closed port, or a simulator where a test asks for one.
"""

import functools
import io
import json
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cryptography.hazmat.primitives import serialization

from tests import keys
from tests.vaults import VaultUnderTest
from vault_asc import apple as product_apple
from vault_asc import http
from vault_asc.cli import run
from vault_asc.lab.apple import AppleSimulator
from vault_asc.secret import Secret

OLD_ID = keys.KEY_ID
NEW_ID = keys.OTHER_KEY_ID
CLOSED = "http://127.0.0.1:1"
_NAMES = {"Vault", "Transit", "VAULT_TOKEN", "BAO_TOKEN"}
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


class Settings(NamedTuple):
    """What a test has set in the configuration; None: what the user began with, or the program's default."""

    more: str = ""
    mount: str | None = None
    prefix: str | None = None
    address: str | None = None
    apple_url: str = CLOSED
    transit_mount: str | None = None
    custodies: tuple[str, ...] | None = None
    engine_mount: str | None = None

    def store(self, mount: str) -> str:
        """The table of the store."""
        values = {name: getattr(self, name) for name in ("prefix", "transit_mount", "engine_mount", "custodies")}
        given = {name: value for name, value in values.items() if value is not None}
        return "\n".join(
            f"{name} = {json.dumps(value)}" for name, value in ({"mount": self.mount or mount} | given).items()
        )


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
        self.apple: AppleSimulator | None = None
        self.settings = Settings()
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
        """Write the configuration; what `sets` has set stays."""
        self.sets(more=more, mount=mount, address=address)

    def sets(self, **changes: Any) -> None:
        """Change some settings, the others stay as they are."""
        self.settings = self.settings._replace(**changes)
        address = json.dumps(self.settings.address or self.server.address)
        ca = f"ca_file = {json.dumps(str(self.server.ca_file))}\n" if self.server.ca_file else ""
        self.config_file.write_text(
            f"""version = 1
[vault]
address = {address}
{ca}[store]
{self.settings.store(self.mount)}
[state]
dir = {json.dumps(str(self.home / "state"))}
[appstoreconnect]
api_url = {json.dumps(self.settings.apple_url)}
{self.settings.more}
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

    def knows(self, apple: AppleSimulator) -> None:
        """From now on keys are made at this App Store Connect, and tried there."""
        self.apple = apple
        self.sets(apple_url=apple.url)

    def new_pem(self, key_id: str) -> bytes:
        """A new key, made in App Store Connect if the user knows one."""
        pem = keys.new_p8_pem()
        if self.apple is not None:
            self.apple.add_key(key_id, public_pem(pem), issuer_id=keys.ISSUER_ID)
        return pem

    def key_file(self, key_id: str = OLD_ID, *, name: str | None = None) -> Path:
        """A new .p8 as App Store Connect names it."""
        file = self.home / (name or f"AuthKey_{key_id}.p8")
        file.touch(mode=0o600)
        file.write_bytes(self.new_pem(key_id))
        return file

    def imports(self, name: str = "prod", key_id: str = OLD_ID, *options: str) -> Path:
        """A key in Vault; returns its file."""
        file = self.key_file(key_id)
        self.does("key", "import", str(file), name, "--issuer-id", keys.ISSUER_ID, *options)
        return file

    def record(self, name: str = "prod") -> dict[str, Any]:
        record: dict[str, Any] = self.does("key", "show", name, "--json").json
        return record


def public_pem(pem: bytes) -> bytes:
    """The half that Apple keeps."""
    key = serialization.load_pem_private_key(pem, None)
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, form)


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
    monkeypatch.setattr(product_apple, "Api", functools.partial(product_apple.Api, wait=lambda _seconds: None))


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
def apple(user: User) -> Iterator[AppleSimulator]:
    """App Store Connect, which knows every key that the user makes from now on."""
    with AppleSimulator() as simulator:
        user.knows(simulator)
        yield simulator


@pytest.fixture
def environment(user: User) -> dict[str, str]:
    """The environment of a child process that is this user."""
    return {"PATH": os.environ["PATH"], "HOME": str(user.home), "PYTHONPATH": os.pathsep.join(sys.path)}
