import base64
import logging
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests import keys
from tests.cli.conftest import Done, User
from tests.cli.leaks import Leak, Scanner, of_private_key, of_token
from tests.cli.scenes import BAD, PASSES, SCENES, check
from tests.cli.stage import ISSUER, SERVICE_KEY, Scene, Stage
from tests.conftest import Root, TokenWith
from tests.effort import effort
from tests.fault_server import FaultServer
from tests.integration.worlds import below, import_key, look_at, pushed_after, token_of, until
from vault_asc import secret, tokens
from vault_asc.apple import client as apple_client
from vault_asc.errors import VaultError
from vault_asc.lab.world import SERVICE_KEY as WORLDS_SERVICE_KEY
from vault_asc.lab.world import World
from vault_asc.secret import Secret
from vault_asc.store import Store
from vault_asc.vault import Engine

PACKAGE = Path(secret.__file__).parent
# `reveal()` is the only way out of a Secret: whoever adds a module here has thought about where it goes.
REVEALING = {
    "audit/marks.py",
    "apple/client.py",
    "cli/minting.py",
    "cli/wiring.py",
    "custody.py",
    "engine/entries.py",
    "engine/mount.py",
    "engine/paths/minting.py",
    "nexla/client.py",
    "nexla/credential_body.py",
    "nexla/errors.py",
    "proof.py",
    "store.py",
    "vault/adapter.py",
    "vault/client.py",
    "vault/engine.py",
    "vault/identity_files.py",
}
TRACED = [*BAD, *(name for name in PASSES if "Apple" not in name)]
needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes in /proc")


class Planted:
    """Every secret that a scene has seen, as it comes up."""

    def __init__(self) -> None:
        self.pems: list[bytes] = []
        self.jwts: list[str] = []
        self.others: dict[str, str | bytes] = {"Nexla's service key": SERVICE_KEY}

    def scanner(self, *, but_tokens: bool = False) -> Scanner:
        found = dict(self.others)
        for number, pem in enumerate({*self.pems, keys.p8_pem()}):
            found |= of_private_key(pem, f"key {number}")
        if not but_tokens:
            for number, jwt in enumerate(self.jwts):
                found |= of_token(jwt, f"token {number}")
        return Scanner(found)


class Logged(logging.Handler):
    """All records, with what is attached to them."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.text += f"{self.format(record)} {record.__dict__!r}\n"


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> Planted:
    """Remembers the keys and tokens that are made from now on."""
    planted = Planted()
    new_pem, mint = keys.new_p8_pem, tokens.mint

    def new() -> bytes:
        planted.pems.append(new_pem())
        return planted.pems[-1]

    def minted(*args: Any) -> tokens.Token:
        token = mint(*args)
        planted.jwts.append(token.value.reveal())
        return token

    monkeypatch.setattr(keys, "new_p8_pem", new)
    for module in (tokens, apple_client):  # who has taken the function from its module keeps it
        monkeypatch.setattr(module, "mint", minted)
    read = Engine.token

    def token(*args: Any) -> Secret:
        value = read(*args)
        planted.jwts.append(value.reveal())
        return value

    monkeypatch.setattr(Engine, "token", token)
    return planted


@pytest.fixture
def logged() -> Iterator[Logged]:
    handler, root = Logged(), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield handler
    root.setLevel(level)
    root.removeHandler(handler)


_written: list[str] | None = None


def _note_writes(event: str, arguments: tuple[object, ...]) -> None:
    if _written is None or event != "open":
        return
    path, _, flags = arguments
    if isinstance(path, str) and isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR):
        _written.append(path)


sys.addaudithook(_note_writes)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every path that this process opens for writing."""
    monkeypatch.setattr(sys.modules[__name__], "_written", [])
    assert _written is not None
    return _written


@pytest.fixture
def stage(
    user: User,
    root: Root,
    token_with: TokenWith,
    transit_mount: str,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> Stage:
    (user.home / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(user.home / "tmp"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return Stage(user, root, token_with, transit_mount, request.getfixturevalue)


def leaks_of(scene: Scene, stage: Stage, planted: Planted, logged: Logged, *options: str) -> tuple[Done, list[Leak]]:
    """Play a scene; every secret that got somewhere it does not belong."""
    done = scene.play(stage, *options)
    home = stage.user.home
    for number, token in enumerate({*stage.user.tokens, stage.user.token_file.read_text().strip()}):
        if len(token) >= 8:
            planted.others[f"Vault token {number}"] = token
    if "nexla" in stage.__dict__:
        for number, session in enumerate(stage.nexla._state.sessions):
            planted.others[f"session {number}"] = session
    everything = planted.scanner()
    printing = scene.words[:1] == ("mint",) and scene.code == 0
    kept = {stage.user.token_file, home / "token", *home.glob("*.p8"), *home.glob("*.jwt")}
    return done, [
        *planted.scanner(but_tokens=printing).find(done.out, "stdout"),
        *everything.find(done.err, "stderr"),
        *everything.find(logged.text, "log"),
        *everything.find("\n".join(f"{name}={value}" for name, value in os.environ.items()), "environment"),
        *everything.find_in_files(home, but=kept),
    ]


@pytest.mark.parametrize("name", SCENES)
def test_every_command_says_what_it_should_and_no_secret(
    stage: Stage, planted: Planted, logged: Logged, written: list[str], name: str
) -> None:
    done, leaks = leaks_of(SCENES[name], stage, planted, logged)
    assert not leaks
    check(name, stage, done)
    own = (str(stage.user.home), str(stage.user.server.plugin_dir))  # where the engine is put on first use
    elsewhere = [path for path in written if path.startswith("/") and not path.startswith(own)]
    assert not [path for path in elsewhere if path != os.devnull and "__pycache__" not in path]


@pytest.mark.parametrize("name", effort(TRACED, TRACED[::3]))
def test_no_traceback_shows_a_secret_even_unmasked(
    stage: Stage, planted: Planted, logged: Logged, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Masking is the second line of defence: what it would mask must not be there to begin with."""
    scene = BAD.get(name) or PASSES[name]
    monkeypatch.setattr(secret, "mask", lambda text: text)
    done, leaks = leaks_of(scene, stage, planted, logged, "--debug")
    assert not leaks
    assert done.code == scene.code
    # A wrong command line has no traceback worth showing, nor has what is told per target.
    assert ("Traceback (most recent call last)" in done.err) == (
        name in BAD and scene.code != 75 and not done.hint.endswith("--help")
    )


# -- processes -------------------------------------------------------------------------------------------------------


@needs_proc
@pytest.mark.parametrize(
    "words",
    [("mint", "prod"), ("key", "import", "NEW", "x", *ISSUER), ("key", "check", "prod"), ("nexla", "inspect", "5001")],
)
def test_no_argument_and_no_variable_of_a_process_holds_a_secret(
    stage: Stage, planted: Planted, environment: dict[str, str], words: tuple[str, ...]
) -> None:
    user = stage.user
    stage.pushed()
    with stage.stack, FaultServer() as silent:
        if words[0] == "nexla":
            user.configure(stage.targets.replace(stage.nexla.url, f"{silent.url}/silent"))
        else:
            user.configure(stage.targets, address=f"{silent.url}/silent")
        line = [str(user.key_file("NEWKEY0001")) if word == "NEW" else word for word in words]
        child = subprocess.Popen(
            [sys.executable, "-m", "vault_asc", *line], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        try:
            until(lambda: silent.requests, "a request")
            shown = b"\0".join((Path("/proc") / str(child.pid) / part).read_bytes() for part in ("cmdline", "environ"))
            assert below(child.pid) == []
        finally:
            child.kill()
            out, err = child.communicate(timeout=20)
    assert SERVICE_KEY.encode() in b"".join(str(r.headers).encode() for r in silent.requests) or words[0] != "nexla"
    scanner = Scanner({**planted.others, "Vault token": user.server.root_token.reveal()})
    everything = [*scanner.find(shown, "process"), *planted.scanner().find(shown, "process")]
    assert not [*everything, *scanner.find(out + err, "output")]
    assert b"vault_asc" in shown


@needs_proc
def test_the_agent_and_what_it_starts_and_leaves(tmp_path: Path) -> None:
    with World(usable_life=300, tick=1) as world:
        lines = import_key(world)
        seen: list[str] = []
        with world.agent() as agent:

            def look() -> bool:
                for process in [look_at(agent.pid), *below(agent.pid)]:
                    if process is not None:
                        seen.extend([*process.argv, *(f"{k}={v}" for k, v in process.environ.items())])
                return bool(world.nexla.journal.count("GET", "/data_credentials/*/probe"))

            until(look, "a push")
            pushed_after(world, 0)
            log = "\n".join(agent.log_lines())
            jwt = (world.dir / "sales.jwt").read_text()
            sentinels: dict[str, str | bytes] = {
                "service key": WORLDS_SERVICE_KEY,
                "secret_id": (world.dir / "secret_id").read_text(),
                "root token": world.server.root_token.reveal(),
                "session": next(iter(world.nexla._state.sessions)),
                **of_token(jwt.strip(), "token"),
                **{f"key, line {number}": line for number, line in enumerate(lines)},
            }
            assert token_of(agent)["ttl"], "the Agent has a token of its own, which looks like this:"
            its_token = re.compile(r"\b(?:hv)?[sbr]\.[A-Za-z0-9_-]{20,}")
            assert its_token.fullmatch(world.server.root_token.reveal())
        assert any("push" in word for word in seen), "no helper was seen"
        status = world.must("status", "--json") + world.must("status")
        scanner = Scanner(sentinels)
        kept = {world.dir / name for name in ("secret_id", "token", "sales.jwt")}
        assert not [
            *scanner.find("\n".join(seen), "processes"),
            *scanner.find(log, "the Agent's log"),
            *scanner.find("\n".join(world.server.log_lines()), "the server's log"),
            *scanner.find(status, "status"),
            *scanner.find_in_files(world.dir, but=kept),
        ]
        assert not its_token.search("\n".join([*seen, log, status]))


# -- the scan itself -------------------------------------------------------------------------------------------------


PLANTS: dict[str, Callable[[bytes], bytes]] = {
    "raw": lambda s: s,
    "base64": lambda s: base64.b64encode(b"Basic " + s),
    "base64 shifted": lambda s: base64.b64encode(b"xBasic " + s + b"yz"),
    "base64 shifted twice": lambda s: base64.b64encode(b"xyBasic " + s),
    "base64url": lambda s: base64.urlsafe_b64encode(b"?" + s),
    "hex": lambda s: s.hex().encode(),
    "HEX": lambda s: s.hex().upper().encode(),
    "URL": lambda s: quote(s.decode(), safe="").encode(),
    "JSON": lambda s: b'{"x": "' + s.replace(b'"', b'\\"').replace(b"\n", b"\\n") + b'"}',
}


@pytest.mark.parametrize("form", PLANTS)
def test_the_scanner_finds_every_form(form: str) -> None:
    value = b'sentinel+of/a "secret"\nof two lines\xc3\xa9'
    scanner = Scanner({"it": value})
    found = scanner.find(b"before " + PLANTS[form](value) + b" after", "here")
    assert found
    assert {leak.secret for leak in found} == {"it"}
    assert not scanner.find(b"before " + PLANTS[form](value[1:-2]) + b" after", "here")


def test_the_scanner_finds_a_key_by_any_part_of_it(tmp_path: Path) -> None:
    pem = keys.p8_pem()
    scanner = Scanner(of_private_key(pem, "key"))
    for number, line in enumerate(pem.splitlines()[1:-1], 1):
        assert scanner.find(b"x" + line + b"x", "")[0].secret == f"key, line {number}"
    sec1 = keys.sec1_pem().replace(b"\n", b"")
    assert scanner.find(sec1, ""), "the same number in another encoding"
    assert scanner.find(keys.scalar().hex(), "")
    assert not scanner.find(keys.new_p8_pem(), "")
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "file").write_bytes(sec1)
    assert scanner.find_in_files(tmp_path)
    assert not scanner.find_in_files(tmp_path, but=[tmp_path / "below" / "file"])


@pytest.mark.parametrize("where", ["error", "hint", "stdout", "log", "file", "traceback", "environment"])
def test_a_leak_would_be_noticed(
    stage: Stage, planted: Planted, logged: Logged, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def leaky(store: Store) -> list[str]:
        token = stage.user.server.root_token.reveal()
        if where == "stdout":
            sys.stdout.write(base64.b64encode(token.encode()).decode())
        if where == "log":
            logging.getLogger("vault_asc.leaky").debug("header %s", {"X-Vault-Token": token})
        if where == "file":
            (stage.user.home / "tmp" / "trace").write_text(token)
        if where == "environment":
            monkeypatch.setenv("LEAKY", token)
        if where == "traceback":
            raise VaultError("harmless") from ValueError(token[::-1])
        raise VaultError(token[::-1] if where == "error" else "x", hint=token[::-1] if where == "hint" else None)

    monkeypatch.setattr(Store, "names", leaky)
    scene = Scene(4, ("key", "list"), Stage.key)
    _, leaks = leaks_of(scene, stage, planted, logged, *(["--debug"] if where == "traceback" else []))
    assert {leak.secret.rpartition(" ")[0] for leak in leaks} == {"Vault token"}


# -- the way out -----------------------------------------------------------------------------------------------------


def modules() -> list[Path]:
    return [file for file in PACKAGE.rglob("*.py") if "lab" not in file.relative_to(PACKAGE).parts]


def test_secrets_are_revealed_in_few_modules() -> None:
    found = {str(f.relative_to(PACKAGE)) for f in modules() if ".reveal(" in f.read_text(encoding="utf-8")}
    assert found == REVEALING


def test_nobody_goes_around_reveal() -> None:
    found = {f.name for f in modules() if re.search(r"\._value\b|__slots__\[|_Secret", f.read_text(encoding="utf-8"))}
    assert found == {"secret.py"}
    assert SERVICE_KEY not in repr(Secret(SERVICE_KEY))
