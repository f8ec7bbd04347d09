import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import NEW_ID, Done, User, check_failure
from tests.cli.scenes import BAD, GOOD, PASSES
from tests.cli.stage import ISSUER
from tests.conftest import NO_RIGHTS, TokenWith
from tests.fault_server import FaultServer
from tests.support import LOSE_ANSWER, Wire
from vault_asc import errors
from vault_asc.lab.apple import AppleSimulator
from vault_asc.lab.server import BaoServer
from vault_asc.store import Store


def test_every_exit_code_is_reached() -> None:
    reached = {scene.code for scene in (*GOOD.values(), *BAD.values(), *PASSES.values())}
    base = errors.VaultAscError
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, base)]
    assert {kind.exit_code for kind in kinds} - {1} <= reached


# -- bugs ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def bug(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Store) -> list[str]:
        raise RuntimeError("hvs.CAESIJlSecretSecret and eyJhbGciOiJFUzI1NiJ9.e30.c2ln")

    monkeypatch.setattr(Store, "names", broken)


def test_a_bug_shows_its_kind_and_not_its_words(user: User, bug: None) -> None:
    done = user("key", "list")
    assert done == Done(
        1,
        "",
        "vault-asc: error: internal error (RuntimeError)\n"
        "vault-asc: hint: run it again with --debug and report what it prints\n",
    )


@pytest.mark.parametrize("words", [("--debug", "key", "list"), ("key", "list", "--debug"), ("key", "--debug", "list")])
def test_debug_shows_where_and_masks_what(user: User, bug: None, words: tuple[str, ...]) -> None:
    done = user(*words)
    assert done.code == 1
    assert "Traceback (most recent call last)" in done.err
    assert "RuntimeError: [secret] and [secret]" in done.err
    assert done.err.endswith("vault-asc: error: internal error (RuntimeError)\n")


def test_debug_shows_the_chain_of_an_error(user: User) -> None:
    done = user("--debug", "mint", "nope")
    assert done.code == 7
    assert "hvac.exceptions.InvalidPath" in done.err
    assert done.error == f'no key "nope" in {user.mount}/asc'


# -- the server goes away --------------------------------------------------------------------------------------------


@pytest.fixture
def own_server() -> Iterator[BaoServer]:
    with BaoServer() as server:
        yield server


def test_sealed_and_stopped(user: User, own_server: BaoServer) -> None:
    user.configure(mount="secret", address=own_server.address)
    user.use(own_server.root_token)
    user.imports()
    new = str(user.key_file(NEW_ID))
    commands: list[tuple[str, ...]] = [
        ("mint", "prod"), ("key", "list"), ("key", "show", "prod"), ("key", "check", "prod"),
        ("key", "import", new, "x", *ISSUER), ("key", "stage", "prod", new), ("key", "rotate", "prod", new),
        ("key", "promote", "prod"), ("key", "rollback", "prod"), ("key", "disable", "prod"),
        ("key", "destroy", "prod", "--yes"), ("policy", "write", "auditor"),
        ("key", "import", "--from-vault", "secret/old/apple", "x"),
    ]  # fmt: skip
    own_server.seal()
    for words in commands:
        done = user.fails(5, *words)
        assert done.error == f"Vault at {own_server.address} is sealed"
        assert done.hint == "unseal it: vault operator unseal; nothing was lost"
    own_server.unseal()
    user.does("key", "check", "prod")
    own_server.stop()
    for words in commands:
        done = user.fails(5, *words)
        assert done.error.startswith(f"Vault at {own_server.address} cannot be reached: connection refused")


def test_a_write_without_an_answer_is_completed_by_repeating_it(user: User, apple: AppleSimulator) -> None:
    user.imports()
    new = str(user.key_file(NEW_ID))
    with Wire(user.server.address) as wire:
        user.configure(address=wire.address)
        wire.lose_once("POST", "/private/", LOSE_ANSWER)
        lost = user.fails(5, "key", "rotate", "prod", new)
        assert "no answer to the write to" in lost.error
        assert "repeat the command" in lost.hint
        assert "of unknown origin (an interrupted command" in user.does("key", "show", "prod").out
        user.does("key", "rotate", "prod", new)
    user.configure()
    assert user.record()["key_id"] == NEW_ID
    user.does("key", "check", "prod")


def test_an_expired_token(user: User, token_with: TokenWith) -> None:
    user.imports()
    policy = user.does("policy", "show", "minter", "--key", "prod").out
    user.use(token_with(policy, ttl="1s"))
    user.does("mint", "prod")
    time.sleep(1.2)
    done = user.fails(6, "mint", "prod")
    assert done.error.endswith("the Vault token is invalid, expired or revoked")


# -- where the token comes from --------------------------------------------------------------------------------------


def test_the_token_option_beats_the_environment_beats_the_file(
    user: User, monkeypatch: pytest.MonkeyPatch, token_with: TokenWith
) -> None:
    user.imports()
    good, bad = user.server.root_token.reveal(), token_with(NO_RIGHTS).reveal()
    named = user.home / "named"
    for option, vault, bao, file, works in (
        (good, bad, bad, bad, True), (bad, good, good, good, False), (None, good, bad, bad, True),
        (None, bad, good, good, False), (None, None, good, bad, True), (None, " ", good, bad, True),
        (None, None, None, good, True), (None, None, None, bad, False),
    ):  # fmt: skip
        for name, value in (("VAULT_TOKEN", vault), ("BAO_TOKEN", bao)):
            monkeypatch.delenv(name, raising=False) if value is None else monkeypatch.setenv(name, value)
        user.token_file.write_text(file)
        named.write_text(f"{option}\n")
        options = () if option is None else ("--token-file", "named")
        assert (user("mint", "prod", *options).code == 0) is works, (option, vault, bao, file)


@pytest.mark.parametrize("value", ["a\nb", "ü", "a b", "\x7f"])
def test_a_variable_that_holds_no_token_is_named(user: User, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    for name in ("BAO_TOKEN", "VAULT_TOKEN"):
        monkeypatch.setenv(name, value)
        with Wire(user.server.address) as wire:
            user.configure(address=wire.address)
            done = user.fails(2, "mint", "prod")
            assert done.error == f"{name} holds no Vault token, which is one line of ASCII without blanks"
            assert not wire.calls


def test_a_user_without_a_home_has_no_token(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    assert user.fails(2, "mint", "prod").error == "no Vault token"


# -- outputs and signals: real processes -----------------------------------------------------------------------------


def spawned(environment: dict[str, str], *words: str, **more: Any) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "vault_asc", *words], env=environment, stderr=subprocess.PIPE, text=True, **more
    )


@pytest.mark.parametrize("words", [("--help",), ("key", "list"), ("policy", "show", "auditor")])
def test_nobody_reads_the_output(user: User, environment: dict[str, str], words: tuple[str, ...]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    child = spawned(environment, *words, stdout=writer)
    os.close(writer)
    assert child.communicate(timeout=20)[1] == ""
    assert child.returncode == 141


@pytest.mark.parametrize("words", [("--help",), ("key", "list")])
def test_the_output_goes_to_a_full_disk(user: User, environment: dict[str, str], words: tuple[str, ...]) -> None:
    with Path("/dev/full").open("w") as full:
        child = spawned(environment, *words, stdout=full)
        done = Done(child.wait(20), "", child.communicate()[1])
    assert done.code == 2
    check_failure(done)
    assert done.error.startswith("the output cannot be written: no space left on device")


def test_a_full_or_closed_stderr_does_not_change_the_exit_code(user: User, environment: dict[str, str]) -> None:
    for redirect in ("2>/dev/full", "2>&-"):
        command = ["sh", "-c", f'exec "$@" {redirect}', "sh", sys.executable, "-m", "vault_asc", "mint", "nope"]
        done = subprocess.run(command, env=environment, capture_output=True, timeout=20, check=False)
        assert (done.returncode, done.stdout) == (7, b"")


@pytest.mark.parametrize("words", [("mint", "prod"), ("key", "destroy", "prod")])
def test_ctrl_c(user: User, environment: dict[str, str], words: tuple[str, ...]) -> None:
    with FaultServer() as silent:
        user.configure(address=f"{silent.url}/silent")
        child = spawned(environment, *words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert child.stderr is not None
        started = child.stderr.read(4) if words[0] == "key" else None  # the question, before any request
        while not (started or silent.requests):
            time.sleep(0.01)
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=20)
    assert child.returncode == 130
    assert not out
    assert "Traceback" not in err
    assert re.search(r"^vault-asc: error: interrupted\nvault-asc: hint: it is safe to repeat", err, re.MULTILINE)


def test_the_module_and_the_console_script_are_the_same(user: User, environment: dict[str, str]) -> None:
    script = Path(sys.executable).parent / "vault-asc"
    for command in ([sys.executable, "-m", "vault_asc"], [str(script)]):
        done = subprocess.run([*command, "key", "list"], env=environment, capture_output=True, timeout=20, check=False)
        assert (done.returncode, done.stdout.decode()) == (0, f"no keys in {user.mount}/asc\n")


@pytest.mark.parametrize("words", ["mint prod", "policy show auditor"])
def test_a_closed_standard_output_is_told(user: User, environment: dict[str, str], words: str) -> None:
    user.imports()
    done = subprocess.run(
        f"{sys.executable} -m vault_asc {words} >&-",
        shell=True,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "error: standard output is closed" in done.stderr


def test_the_commands_of_a_hint_name_the_configuration_that_was_given(user: User, tmp_path: Path) -> None:
    file = tmp_path / "an other.toml"
    file.write_text((user.home / "vault-asc.toml").read_text(encoding="utf-8"), encoding="utf-8")
    for given in (("--config", str(file)), (f"--config={file}",)):
        hint = user.fails(7, "key", "show", "nope", *given).hint
        assert f"vault-asc key list --config '{file}'" in hint
        assert f"vault-asc key import --config '{file}' FILE NAME" in hint
    assert "--config" not in user.fails(7, "key", "show", "nope").hint
