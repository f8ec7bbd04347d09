"""Policies of a key whose role in the engine has another name: read from the record, never granted by a guess in silence."""

from pathlib import Path
from typing import Final

import pytest

from tests.cli.conftest import OLD_ID, User
from tests.cli.test_policies import hinted_commands, written
from tests.cli.test_policies_in_engine import DENIED, in_engine
from tests.conftest import Root, TokenWith

__all__ = ["written"]  # a fixture

WRITER: Final = 'path "sys/policies/acl/*" { capabilities = ["create", "read", "update"] }'
BY_RECORD: Final = 'the role of key "prod" is "sales", as its record says'
TARGET: Final = """\
[nexla.default]
service_key = { path = "asc/nexla/default" }
api_url = "http://127.0.0.1:1"
[[targets]]
name = "sales"
key = "prod"
credential_id = 5001
"""


def text_of(root: Root, name: str) -> str:
    return str(root("GET", f"sys/policies/acl/{name.strip()}")["data"]["policy"])


@pytest.fixture
def prod(user: User, engine_mount: str, written: None) -> Path:
    """Key `prod`, whose tokens are read by role `sales`."""
    in_engine(user, engine_mount)
    return user.imports("prod", OLD_ID, "--role", "sales")


@pytest.mark.parametrize(("name", "below"), [("minter", "token"), ("break-glass", "roles")])
def test_write_grants_the_role_of_the_record(
    user: User, root: Root, engine_mount: str, prod: Path, name: str, below: str
) -> None:
    done = user.does("policy", "write", name, "--key", "prod")
    assert done.said("warning") == [BY_RECORD]
    text = text_of(root, done.out)
    assert f'path "{engine_mount}/{below}/sales"' in text
    assert f'"{engine_mount}/{below}/prod"' not in text


def test_an_option_beats_the_record(user: User, root: Root, engine_mount: str, prod: Path) -> None:
    done = user.does("policy", "write", "minter", "--key", "prod", "--role", "emea")
    assert f'path "{engine_mount}/token/emea"' in text_of(root, done.out)
    assert not done.err


def test_what_cannot_be_seen_is_assumed_and_said(
    user: User, root: Root, token_with: TokenWith, engine_mount: str, prod: Path
) -> None:
    words = ("policy", "write", "minter", "--key")
    said = 'the role of key "{0}" is taken to be "{0}": {1}; another one is named with --role'
    done = user.does(*words, "fresh")
    assert done.said("warning") == [said.format("fresh", "it has no record yet")]
    user.imports("plain", OLD_ID, "--custody", "kv")
    done = user.does(*words, "plain")
    assert done.said("warning") == [said.format("plain", "it is not in the engine yet")]
    assert not user.does(*words, "plain", "--custody", "kv", "--force").err
    user.use(token_with(WRITER))
    done = user.does(*words, "prod")
    assert done.said("warning") == [said.format("prod", "this token may not read its record")]
    assert f'path "{engine_mount}/token/prod"' in text_of(root, done.out)


def test_show_asks_nobody_and_says_what_it_assumes(user: User, engine_mount: str) -> None:
    in_engine(user, engine_mount)
    user.configure(TARGET, address="http://127.0.0.1:1")
    user.token_file.unlink()
    for words in (("minter", "--key", "prod"), ("break-glass", "--key", "prod"), ("agent",)):
        done = user.does("policy", "show", *words, "--custody", "engine")
        (warning,) = done.said("warning")
        assert warning.startswith('the role of key "prod" is taken to be "prod": no record is read for this')
        assert not user.does("policy", "show", *words, "--custody", "kv").err
    assert not user.does("policy", "show", "minter", "--key", "prod", "--role", "x", "--custody", "engine").err


def test_a_guess_is_corrected_without_force_and_other_rights_stay(
    user: User, root: Root, token_with: TokenWith, engine_mount: str, prod: Path
) -> None:
    """Whoever could not read records has written the policies; then somebody who can does it again."""
    in_engine(user, engine_mount)
    with user.config_file.open("a", encoding="utf-8") as file:
        file.write(TARGET)
    for words in (("minter", "--key", "prod"), ("agent",)):
        user.use(token_with(WRITER))
        name = user.does("policy", "write", *words).out.strip()
        assert f'"{engine_mount}/token/prod"' in text_of(root, name)
        user.use(user.server.root_token)
        root("PUT", f"sys/policies/acl/{name}", {"policy": text_of(root, name) + 'path "kv/x" { capabilities = [] }'})
        refused = user.fails(9, "policy", "write", *words)
        assert "'kv/x'" in refused.error
        assert "token/prod" not in refused.error
        assert refused.said("warning") == [BY_RECORD]
        text = text_of(root, name).replace('path "kv/x" { capabilities = [] }', "")
        root("PUT", f"sys/policies/acl/{name}", {"policy": text})
        done = user.does("policy", "write", *words)
        assert done.said("warning")[1] == (
            f"policy \"{name}\" grants '{engine_mount}/token/prod' no more: that is not the role of its key"
        )
        assert f'"{engine_mount}/token/sales"' in text_of(root, name)
        assert f'"{engine_mount}/token/prod"' not in text_of(root, name)


@pytest.mark.parametrize("words", [("mint", "prod"), ("push", "sales")])
def test_the_hint_of_a_denied_role_can_be_typed_where_a_guess_was_written(
    user: User, root: Root, token_with: TokenWith, prod: Path, words: tuple[str, ...]
) -> None:
    with user.config_file.open("a", encoding="utf-8") as file:
        file.write(TARGET.replace("service_key = {", f'service_key = {{ mount = "{user.mount}",'))
    root("POST", f"{user.mount}/data/asc/nexla/default", {"data": {"service_key": "x"}})
    policy = ("minter", "--key", "prod") if words[0] == "mint" else ("agent",)
    user.use(token_with(WRITER))
    name = user.does("policy", "write", *policy).out.strip()
    user.use(token_with(text_of(root, name)))
    denied = user(*words)
    assert denied.code == (DENIED if words[0] == "mint" else 8)
    assert "/token/sales" in denied.err
    (command,) = hinted_commands(denied.err)
    assert command == ["policy", "write", *policy, *(["--role", "sales", "--force"] if words[0] == "mint" else [])]
    user.use(user.server.root_token)
    assert user.does(*command).out.strip() == name
    user.use(token_with(text_of(root, name)))
    after = user(*words)
    assert "permission denied" not in after.err
    assert after.code == 0 or "no answer from nexla" in after.err


def test_check_compares_with_the_role_of_the_record(user: User, root: Root, token_with: TokenWith, prod: Path) -> None:
    with user.config_file.open("a", encoding="utf-8") as file:
        file.write(TARGET)
    key = ("minter", "--key", "prod")
    shown = user.does("policy", "show", *key, "--role", "sales").out
    user.use(token_with(shown))
    assert user.does("policy", "check", *key).said("warning") == [BY_RECORD]
    user.use(token_with(user.does("policy", "show", *key).out))
    lacks = user("policy", "check", *key)
    assert lacks.code == DENIED
    assert [line.split()[1:] for line in lacks.out.splitlines() if "/token/sales" in line] == [["read", "lacks", "it"]]
    user.use(user.server.root_token)
    name = user.does("policy", "write", "agent").out
    user.use(token_with(text_of(root, name)))
    user.does("policy", "check", "agent")
