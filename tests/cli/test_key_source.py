"""Where a new key comes from, at the command line; above all from a wrapping token, which can be used once."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import keys
from tests.cli.conftest import NEW_ID, OLD_ID, User
from tests.cli.leaks import Scanner
from tests.conftest import Root, TokenWith
from tests.fault_server import FaultServer
from tests.integration.worlds import until
from tests.support import Wire
from tests.wrapping import unwrap, wrap, wrap_reading
from vault_asc import policy
from vault_asc.errors import VaultError
from vault_asc.lab.apple import AppleSimulator
from vault_asc.lifecycle import Lifecycle
from vault_asc.secret import Secret

ISSUER = ("--issuer-id", keys.ISSUER_ID)
TEAM_KEY = {"key_id": NEW_ID, "issuer_id": keys.ISSUER_ID}
WRAPPED_AT = r"  was wrapped at 20\S+: if the sender did so at another time, somebody else has the key\n"


@pytest.fixture
def hand_over(user: User) -> Callable[..., Secret]:
    """The sender wraps a key, and its wrapping token is in the file `token`."""

    def give(**fields: str) -> Secret:
        pem = user.new_pem(fields.get("key_id") or OLD_ID).decode()
        return given(user, wrap(user.server, {"private_key": pem, **fields}))

    return give


def given(user: User, token: Secret) -> Secret:
    file = user.home / "token"
    file.touch(mode=0o600)
    file.write_text(f"{token.reveal()}\n")
    return token


def still_good(user: User, token: Secret) -> bool:
    """Whether the token can be unwrapped; it cannot any more after this."""
    try:
        return bool(unwrap(user.server, token))
    except VaultError:
        return False


# -- one set of sources for three commands ---------------------------------------------------------------------------


def test_import_from_a_wrapping_token(user: User, hand_over: Callable[..., Secret]) -> None:
    token = hand_over(**TEAM_KEY)
    done = user.does("key", "import", "--wrapped", "token", "prod")
    assert re.fullmatch(
        rf'imported "prod"\n  key ID           {NEW_ID}\n  fingerprint      SHA256:[0-9a-f]{{64}}\n'
        rf"  private version  1\n{WRAPPED_AT}",
        done.out,
    )
    assert not done.err
    assert user.record()["issuer_id"] == keys.ISSUER_ID
    user.does("key", "check", "prod")
    assert not still_good(user, token)


def test_import_from_a_wrapping_token_on_standard_input(user: User) -> None:
    token = wrap(user.server, {"p8": keys.new_p8_pem().decode()})
    options = ("--key-id", OLD_ID, *ISSUER)
    user.does("key", "import", "prod", "--wrapped", "-", *options, stdin=f" {token.reveal()}\r\n".encode())
    assert user.record()["key_id"] == OLD_ID


def test_stage_and_rotate_take_every_source(
    user: User, apple: AppleSimulator, root: Root, hand_over: Callable[..., Secret]
) -> None:
    user.imports()
    hand_over(**TEAM_KEY)
    staged = user.does("key", "stage", "prod", "--wrapped", "token").out
    assert staged.startswith(f'staged private version 2 of "prod", key ID {NEW_ID}\n')
    assert re.search(WRAPPED_AT, staged)
    user.does("key", "promote", "prod")

    hand_over(key_id="ABCDEFGHI3")
    rotated = user.does("key", "rotate", "--wrapped", "token", "prod").out
    assert rotated.startswith('rotated "prod"\n  key ID           ABCDEFGHI3\n')
    assert re.search(WRAPPED_AT, rotated)

    secret = {"p8": user.new_pem("ABCDEFGHI4").decode(), "key_id": "ABCDEFGHI4"}
    root("POST", f"{user.mount}/data/old/apple", {"data": secret})
    where = f"{user.mount}/old/apple"
    for command, told in (("stage", "staged private version 4"), ("rotate", "rotated")):
        done = user.does("key", command, "prod", "--from-vault", where)
        assert done.out.startswith(told)
        assert f'"{where}" still holds the private key' in done.said("warning")[0]
    assert user.record()["key_id"] == "ABCDEFGHI4"
    assert not user.does("key", "rotate", "prod", "--from-vault", where).err, "nothing was changed, nothing to warn of"


def test_key_from_a_reading_of_kv_by_its_creation_path(user: User, root: Root) -> None:
    path = f"{user.mount}/data/handover/apple"
    root("POST", path, {"data": {"a": keys.new_p8_pem().decode(), "b": keys.new_p8_pem().decode(), **TEAM_KEY}})
    token = given(user, wrap_reading(user.server, path))
    words = ("key", "import", "--wrapped", "token", "prod", "--field", "b")
    refused = user.fails(3, *words)
    assert refused.error.startswith(f'the wrapping token in "token" was made at "{path}", not at "sys/wrapping/wrap"')
    assert f"--creation-path {path}" in refused.hint
    user.does(*words, "--creation-path", path)
    assert user.record()["key_id"] == NEW_ID
    assert not still_good(user, token)


# -- what is refused before anything is sent -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("import", "--wrapped", "token"), "import needs one source and a name"),
        (("import", "FILE", "prod", "--wrapped", "token"), "import needs one source and a name"),
        (("import", "prod", "--wrapped", "token", "--from-vault", "secret/x"), "import needs one source and a name"),
        (("stage", "prod"), "stage needs one source and a name"),
        (("stage", "prod", "FILE", "--wrapped", "token"), "stage needs one source and a name"),
        (("rotate", "prod", "FILE", "--from-vault", "secret/x"), "rotate needs one source and a name"),
        (("stage", "prod", "FILE", "--field", "p8"), "--field is for --from-vault and --wrapped"),
        (("import", "FILE", "prod", "--creation-path", "x/y"), "--creation-path is for --wrapped"),
        (("import", "prod", "--from-vault", "a/b", "--creation-path", "x/y"), "--creation-path is for --wrapped"),
        (("import", "prod", "--wrapped", "token", "--creation-path", "/x"), '--creation-path "/x" is not a plain path'),
        (("import", "PROD", "--wrapped", "token"), 'key name "PROD" is not allowed'),
        (("import", "prod", "--wrapped", "nowhere"), 'the token file "nowhere" cannot be read: no such file'),
        (("import", "prod", "--wrapped", "."), 'the token file "." cannot be read: is a directory'),
        (("rotate", "prod", "--wrapped", "token", "--address", "unix:///x"), "--wrapped does not go through an Agent"),
    ],
)
def test_wrong_command_lines_send_nothing(
    user: User, hand_over: Callable[..., Secret], words: tuple[str, ...], said: str
) -> None:
    file, token = str(user.key_file()), hand_over()
    with Wire(user.server.address) as wire:
        user.configure(address=wire.address)
        done = user.fails(2, "key", *(file if word == "FILE" else word for word in words))
        assert said in done.error
        assert done.hint
        assert not wire.calls
    assert still_good(user, token)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--individual", *ISSUER), "--individual and --issuer-id contradict each other"),
        (("--key-id", "a b"), "is not 2 to 64 letters and digits"),
        (("--key-id", keys.ISSUER_ID, "--issuer-id", OLD_ID), "are swapped"),
        (("--issuer-id", OLD_ID), f'the issuer ID "{OLD_ID}" is a key ID'),
        (("--issuer-id", "nonsense"), "is not 8-4-4-4-12"),
    ],
)
def test_wrong_ids_do_not_cost_the_token(
    user: User, hand_over: Callable[..., Secret], options: tuple[str, ...], said: str
) -> None:
    token = hand_over(**TEAM_KEY)
    done = user.fails(3, "key", "import", "prod", "--wrapped", "token", *options)
    assert said in done.error
    assert "used up" not in done.error + done.hint
    assert still_good(user, token)


@pytest.mark.parametrize(
    "text", [b"", b" \n", b"two words", b"-----BEGIN\nPRIVATE", b"\xff\xfe", b'{"token": "x"}\n\n{}']
)
@pytest.mark.parametrize("place", ["file", "stdin"])
def test_what_is_no_token_is_not_sent(user: User, text: bytes, place: str) -> None:
    (user.home / "token").write_bytes(text)
    with Wire(user.server.address) as wire:
        user.configure(address=wire.address)
        source = "token" if place == "file" else "-"
        done = user.fails(2, "key", "import", "prod", "--wrapped", source, stdin=text)
        assert done.error.startswith('the token file "token" ' if place == "file" else "standard input ")
        assert "is empty" in done.error if not text.strip() else "holds no Vault token" in done.error
        assert "vault write -field=wrapping_token" in done.hint
        assert "vault login" not in done.hint
        assert not wire.calls


def test_standard_input_that_is_closed(user: User) -> None:
    done = user.fails(2, "key", "rotate", "prod", "--wrapped", "-", stdin=None)
    assert done.error == "standard input is closed"
    assert "--wrapped - < FILE" in done.hint


# -- what is refused before the unwrap -------------------------------------------------------------------------------


def test_name_that_is_taken_does_not_cost_the_token(
    user: User, apple: AppleSimulator, hand_over: Callable[..., Secret]
) -> None:
    user.imports()
    token = hand_over(**TEAM_KEY)
    done = user.fails(9, "key", "import", "--wrapped", "token", "prod")
    assert f'key "prod" exists: key ID {OLD_ID}, imported by root at ' in done.error
    assert done.error.endswith("the wrapping token was not used")
    assert "vault-asc key rotate prod --wrapped FILE" in done.hint
    for command in ("stage", "rotate"):
        assert 'no key "prd"' in user.fails(7, "key", command, "prd", "--wrapped", "token").error
    user.does("key", "rotate", "prod", "--wrapped", "token")
    assert not still_good(user, token)


@pytest.mark.parametrize(
    ("has", "command", "lacks", "code"),
    [
        ((), "import", None, 7),
        (("registrar",), "import", "config", 6),
        (("key-admin",), "import", "data/asc/keys/new", 6),
        (("key-admin",), "rotate", "data/asc/keys/prod", 6),
    ],
)
def test_missing_right_does_not_cost_the_token_and_the_hint_names_all_policies(
    user: User,
    apple: AppleSimulator,
    token_with: TokenWith,
    hand_over: Callable[..., Secret],
    has: tuple[str, ...],
    command: str,
    lacks: str | None,
    code: int,
) -> None:
    user.imports()
    token = hand_over(**TEAM_KEY)
    user.use(token_with(*(policy.render(name, mount=user.mount, prefix="asc") for name in has)))
    name = "new" if command == "import" else "prod"
    done = user.fails(code, "key", command, name, "--wrapped", "token")
    if lacks:
        assert f'on "{user.mount}/{lacks}"' in done.error
    for shipped in ("key-admin", "registrar"):
        assert f"vault-asc policy write {shipped}" in done.hint
    user.use(user.server.root_token)
    user.does("key", command, name, "--wrapped", "token")
    assert not still_good(user, token)


def test_shipped_policies_are_enough(
    user: User, apple: AppleSimulator, token_with: TokenWith, hand_over: Callable[..., Secret]
) -> None:
    admin, registrar = (policy.render(name, mount=user.mount, prefix="asc") for name in ("key-admin", "registrar"))
    user.use(token_with(admin, registrar))
    hand_over(**TEAM_KEY)
    user.does("key", "import", "prod", "--wrapped", "token")
    user.use(token_with(admin))
    hand_over(key_id=OLD_ID)
    user.does("key", "stage", "prod", "--wrapped", "token")


# -- tokens that are no good, and what fails too late ----------------------------------------------------------------


@pytest.mark.parametrize("source", ["token", "-"])
def test_used_token_is_reported_as_possible_tampering(
    user: User, hand_over: Callable[..., Secret], source: str
) -> None:
    token = hand_over(**TEAM_KEY)
    unwrap(user.server, token)
    done = user.fails(3, "key", "import", "prod", "--wrapped", source, stdin=token.reveal().encode())
    place = "from standard input" if source == "-" else 'in "token"'
    assert done.error == f"the wrapping token {place} is used up, expired or unknown, nothing was imported"
    assert "revoke it at Apple" in done.hint
    assert "sys/wrapping/unwrap" in done.hint
    assert "vault login" not in done.hint
    assert user.does("key", "list").out.startswith("no keys in")


def test_token_of_a_login_is_no_wrapping_token(user: User) -> None:
    done = user.fails(3, "key", "import", "prod", "--wrapped", str(user.token_file))
    assert "is used up, expired or unknown" in done.error
    user.does("key", "list")


@pytest.mark.parametrize(
    ("fields", "options", "code", "said"),
    [
        ({"private_key": "nonsense"}, ("--field", "private_key"), 3, "BEGIN line"),
        ({"private_key": "nonsense"}, (), 2, "has no field with one"),
        ({"key_id": ""}, (), 3, "there is no key ID"),
        ({"issuer_id": ""}, (), 3, "has no issuer ID"),
        ({"key_id": "a b"}, (), 3, "is not 2 to 64"),
    ],
)
def test_what_fails_after_the_unwrap_says_that_the_token_is_used_up(
    user: User, hand_over: Callable[..., Secret], fields: dict[str, str], options: tuple[str, ...], code: int, said: str
) -> None:
    token = hand_over(**(TEAM_KEY | fields))
    done = user.fails(code, "key", "import", "prod", "--wrapped", "token", *options)
    assert said in done.error
    assert done.error.endswith('; the wrapping token in "token" is used up now')
    assert "ask the sender to wrap the key again" in done.hint
    assert not still_good(user, token)
    assert user.does("key", "list").out.startswith("no keys in")


def test_write_that_fails_says_how_to_see_what_is_there(
    user: User, apple: AppleSimulator, hand_over: Callable[..., Secret]
) -> None:
    user.imports()
    old = user.record()
    for key_id, said in ((OLD_ID, "but the key differs"), (NEW_ID, None)):
        hand_over(key_id=key_id)
        if said:
            done = user.fails(3, "key", "rotate", "prod", "--wrapped", "token")
            assert said in done.error
            assert done.error.endswith('; the wrapping token in "token" is used up now')
            assert "unless the new key is there (vault-asc key show prod)" in done.hint
            assert user.record() == old
        else:
            user.does("key", "rotate", "prod", "--wrapped", "token")


def test_interrupt_after_the_unwrap_says_so_too(
    user: User, hand_over: Callable[..., Secret], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    hand_over(**TEAM_KEY)
    monkeypatch.setattr(Lifecycle, "import_key", interrupted)
    done = user("key", "import", "prod", "--wrapped", "token")
    assert done.code == 130
    assert done.said("warning")[0].startswith('the wrapping token in "token" may be used up now; then ask the sender')


@pytest.mark.skipif(sys.platform != "linux", reason="looks at processes in /proc")
def test_no_argument_and_no_variable_of_a_process_holds_the_token(
    user: User, environment: dict[str, str], hand_over: Callable[..., Secret]
) -> None:
    token = hand_over()
    with FaultServer() as silent:
        user.configure(address=f"{silent.url}/silent")
        child = subprocess.Popen(
            [sys.executable, "-m", "vault_asc", "key", "import", "prod", "--wrapped", "token"],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        try:
            until(lambda: silent.requests, "a request")
            shown = b"\0".join((Path("/proc") / str(child.pid) / part).read_bytes() for part in ("cmdline", "environ"))
        finally:
            child.kill()
            out, err = child.communicate(timeout=20)
    assert b"--wrapped" in shown
    assert not Scanner({"wrapping token": token.reveal()}).find(shown + out + err, "process")
