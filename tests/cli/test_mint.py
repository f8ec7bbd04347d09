import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey

from tests import keys
from tests.cli.conftest import NEW_ID, OLD_ID, User
from tests.support import Wire
from vault_asc import tokens
from vault_asc.clock import system_clock
from vault_asc.key.identity import identity
from vault_asc.key.private_key import parse_private_key
from vault_asc.secret import Secret
from vault_asc.tokens import TokenRequest


def verified(token: str, file: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims, read and verified by another library than ours."""
    read = jwt.decode(token, ECKey.import_key(file.read_bytes()), algorithms=["ES256"])
    return dict(read.header), dict(read.claims)


@pytest.fixture
def wire(user: User) -> Iterator[Wire]:
    with Wire(user.server.address) as wire:
        yield wire


def key_id_in(file: Path, key: Path) -> str:
    return str(verified(file.read_text(encoding="ascii").split()[-1], key)[0]["kid"])


def test_a_token_on_stdout_and_nothing_else(user: User) -> None:
    file = user.imports()
    now = system_clock()
    done = user.does("mint", "prod")
    assert re.fullmatch(r"eyJ[\w-]+\.[\w-]+\.[\w-]+\n", done.out)
    assert not done.err
    header, claims = verified(done.out.strip(), file)
    assert header == {"alg": "ES256", "kid": OLD_ID, "typ": "JWT"}
    assert claims.keys() == {"iss", "iat", "exp", "aud"}
    assert (claims["iss"], claims["aud"]) == (keys.ISSUER_ID, "appstoreconnect-v1")
    assert claims["exp"] - claims["iat"] == 1140
    assert abs(claims["iat"] - (now - 60)) < 5


def test_the_three_formats(user: User) -> None:
    file = user.imports()
    scope = ("--scope", "GET /v1/apps", "--scope", "GET /v1/users?limit=1")
    answer = user.does("mint", *scope, "prod", "--lifetime", "10m", "--format", "json").json
    assert answer.keys() == {"token", "key_id", "issued_at", "expires_at", "scope"}
    claims = verified(answer["token"], file)[1]
    assert (answer["issued_at"], answer["expires_at"]) == (claims["iat"], claims["exp"])
    assert claims["exp"] - claims["iat"] == 600
    assert answer["scope"] == claims["scope"] == ["GET /v1/apps", "GET /v1/users?limit=1"]
    assert answer["key_id"] == OLD_ID
    header = user.does("mint", "prod", "--format", "header").out
    assert re.fullmatch(r"Authorization: Bearer eyJ\S+\n", header)


@pytest.mark.parametrize(
    ("code", "options", "said"),
    [
        (2, ("--lifetime", "soon"), '--lifetime "soon" is not a duration'),
        (2, ("--lifetime", "1\n"), "is not a duration"),
        (3, ("--lifetime", "21m"), "a lifetime of 1260 s is not possible"),
        (3, ("--lifetime", "60s"), "a lifetime of 60 s is not possible"),
        (3, ("--scope", "POST /v1/apps"), "is not one that Apple takes"),
        (3, ("--scope", "GET /v1/../x"), "is not one that Apple takes"),
        (2, ("--format", "xml"), 'invalid value for "--format"'),
        (2, ("--min-remaining", "5m"), "--min-remaining needs a file"),
        (2, ("--out", "file", "--min-remaining", "5"), '--min-remaining "5" is not a duration'),
        (2, ("--out", "file", "--lifetime", "5m", "--min-remaining", "5m"), "hello"),
        (2, ("--out", "-"), '--out "-" is no file'),
        (2, ("--out", "/dev/stdout"), '--out "/dev/stdout" is no file'),
        (2, ("--out", "/proc/self/fd/1"), "is no file"),
        (2, ("--lifetme", "5m"), 'no such option "--lifetme"'),
    ],
)
def test_what_cannot_be_minted_is_refused_before_any_request(
    user: User, wire: Wire, code: int, options: tuple[str, ...], said: str
) -> None:
    user.configure(address=wire.address)
    done = user.fails(code, "mint", "prod", *options)
    said = "--min-remaining of 300 s is more than a new token has (240 s)" if said == "hello" else said
    assert said in done.error
    assert done.hint
    assert not wire.calls
    assert Path("/dev/stdout").is_symlink()


@pytest.mark.parametrize("form", ["raw", "json", "header"])
def test_out_writes_a_private_file_and_prints_nothing(user: User, form: str) -> None:
    file = user.imports()
    out = user.home / "token"
    out.write_text("old")
    out.chmod(0o644)
    mask = os.umask(0)
    try:
        done = user.does("mint", "prod", "--format", form, "--out", "token")
    finally:
        os.umask(mask)
    assert (done.out, done.err) == ("", "")
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    found = re.search(r"eyJ[\w.-]+", out.read_text())
    assert found
    verified(found[0], file)
    assert sorted(entry.name for entry in user.home.iterdir() if "token" in entry.name) == [".vault-token", "token"]


def test_min_remaining_keeps_a_good_file_with_one_read_of_the_record(user: User, wire: Wire) -> None:
    user.imports()
    user.configure(address=wire.address)
    words = ("mint", "prod", "--out", "token", "--min-remaining", "10m", "--format", "header")
    user.does(*words)
    first = (user.home / "token").read_bytes()
    wire.calls.clear()
    done = user.does(*words)
    assert (done.out, done.err) == ("", "")
    assert (user.home / "token").read_bytes() == first
    assert [path for _, path in wire.calls] == [f"{user.mount}/data/asc/keys/prod"]


@pytest.mark.parametrize(
    "change",
    [
        ("--scope", "GET /v1/apps"),
        ("--format", "raw"),
        ("--format", "json"),
        ("--min-remaining", "1079s"),
    ],
)
def test_min_remaining_mints_when_the_file_is_not_what_is_asked_for(user: User, change: tuple[str, str]) -> None:
    user.imports()
    words = ("mint", "prod", "--out", "token", "--lifetime", "15m", "--format", "header")
    user.does(*words)
    first = (user.home / "token").read_bytes()
    user.does("mint", "prod", "--out", "token", "--format", "header", "--min-remaining", "5m", *change)
    assert (user.home / "token").read_bytes() != first


@pytest.mark.parametrize("content", ["", "not a token", "eyJh.eyJh.eyJh", "\xff"])
def test_min_remaining_mints_over_what_is_no_token(user: User, content: str) -> None:
    file = user.imports()
    (user.home / "token").touch(mode=0o600)
    (user.home / "token").write_text(content, encoding="latin-1")
    user.does("mint", "prod", "--out", "token", "--min-remaining", "5m")
    assert key_id_in(user.home / "token", file) == OLD_ID


def held(user: User, pem: bytes, issued_at: float, lifetime: int = 1140) -> bytes:
    """A file as `mint --out` leaves it, with a token of that time."""
    made = identity(key_id=OLD_ID, issuer_id=keys.ISSUER_ID, individual=False)
    token = tokens.mint(made, TokenRequest(lifetime), parse_private_key(pem), issued_at + tokens.BACKDATE)
    out = user.home / "token"
    out.touch(mode=0o600)
    out.write_bytes(f"{token.value.reveal()}\n".encode())
    return out.read_bytes()


@pytest.mark.parametrize(
    ("age", "lifetime", "kept"),
    [
        (60, 1140, True),
        (400, 1140, True),
        (400, 1200, True),
        (-3600, 1140, False),  # iat an hour ahead
        (-30, 1100, False),  # ahead by less than a clock is wrong
        (5, 1140, False),  # expires later than a token that is minted now
    ],
)
def test_min_remaining_keeps_only_what_apple_takes(user: User, age: int, lifetime: int, kept: bool) -> None:
    file = user.imports()
    before = held(user, file.read_bytes(), system_clock() - age, lifetime)
    user.does("mint", "prod", "--out", "token", "--min-remaining", "5m")
    assert ((user.home / "token").read_bytes() == before) is kept
    assert key_id_in(user.home / "token", file) == OLD_ID


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o660])
def test_min_remaining_replaces_a_file_that_others_can_read(user: User, mode: int) -> None:
    file = user.imports()
    held(user, file.read_bytes(), system_clock() - 60)
    (user.home / "token").chmod(mode)
    user.does("mint", "prod", "--out", "token", "--min-remaining", "5m")
    assert stat.S_IMODE((user.home / "token").stat().st_mode) == 0o600


def test_min_remaining_replaces_a_fifo_and_a_link(user: User) -> None:
    file = user.imports()
    os.mkfifo(user.home / "token", 0o600)
    words = ("mint", "prod", "--out", "token", "--min-remaining", "5m")
    user.does(*words)
    assert key_id_in(user.home / "token", file) == OLD_ID
    (user.home / "token").rename(user.home / "other")
    (user.home / "token").symlink_to("other")
    user.does(*words)
    assert not (user.home / "token").is_symlink()


def test_min_remaining_follows_a_rotation_and_a_disabled_key(user: User) -> None:
    user.imports()
    words = ("mint", "prod", "--out", "token", "--min-remaining", "5m")
    user.does(*words)
    new = user.key_file(NEW_ID)
    user.does("key", "rotate", "prod", str(new), "--no-apple-check")
    user.does(*words)
    assert key_id_in(user.home / "token", new) == NEW_ID
    user.does("key", "disable", "prod")
    before = (user.home / "token").read_bytes()
    assert "was disabled by root" in user.fails(3, *words).error
    assert (user.home / "token").read_bytes() == before


def test_a_good_file_is_kept_while_vault_is_down(user: User) -> None:
    user.imports()
    words = ("mint", "prod", "--out", "token", "--min-remaining", "5m")
    user.does(*words)
    before = (user.home / "token").read_bytes()
    user.configure(address="http://127.0.0.1:1")
    kept = user.does(*words)
    assert re.search(r"cannot be reached: .*; the token in token is still good and stays$", kept.said("warning")[0])
    assert not kept.out
    assert (user.home / "token").read_bytes() == before
    assert "cannot be reached" in user.fails(5, "mint", "prod", "--out", "token").error
    (user.home / "token").write_text("gone")
    assert "cannot be reached" in user.fails(5, *words).error
    assert (user.home / "token").read_text() == "gone"


def test_a_token_that_may_not_read_the_key_any_more_is_told_so(user: User) -> None:
    user.imports()
    words = ("mint", "prod", "--out", "token", "--min-remaining", "5m")
    user.does(*words)
    user.use(Secret("s.wrongwrongwrongwrongwrong"))
    assert "the Vault token is invalid" in user.fails(6, *words).error


@pytest.mark.parametrize(
    ("out", "said", "hinted"),
    [
        ("nowhere/token", "No such file or directory", "mkdir -m 700 -p nowhere"),
        ("folder", "Is a directory", "name a file"),
        (".vault-token/token", "Not a directory", ".vault-token must be a directory"),
        ("open/token", "is writable by everybody", "chmod o-w open"),
        ("/sys/token", "cannot write", ""),
    ],
)
def test_where_a_file_cannot_be_written(user: User, out: str, said: str, hinted: str) -> None:
    user.imports()
    (user.home / "folder").mkdir()
    (user.home / "open").mkdir()
    (user.home / "open").chmod(0o777)
    done = user.fails(2, "mint", "prod", "--out", out)
    assert out.split("/", maxsplit=1)[0] in done.error
    assert said in done.error
    assert hinted in done.hint
    assert not list((user.home / "folder").iterdir())


def test_a_full_disk_leaves_the_old_file_and_no_other(user: User, environment: dict[str, str]) -> None:
    user.imports()
    (user.home / "token").write_text("old")
    limited = ["sh", "-c", 'ulimit -f 0; exec "$@"', "sh", sys.executable, "-m", "vault_asc", "mint", "prod"]
    done = subprocess.run(
        [*limited, "--out", "token"], env=environment, capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[0] == (
        'vault-asc: error: cannot write "token": File too large; what was there is untouched'
    )
    assert (user.home / "token").read_text() == "old"
    assert not list(user.home.glob(".token*"))
