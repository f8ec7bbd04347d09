"""The shipped policies of custody transit, as somebody types it: written, and named by the hint of a denied command."""

import json
import re
from pathlib import Path

import pytest

from tests import keys
from tests.cli.conftest import NEW_ID, User
from tests.cli.test_policies import COMMANDS as COMMANDS_IN_KV
from tests.cli.test_policies import TARGETS, hinted_commands, written
from tests.conftest import NO_RIGHTS, Root, TokenWith

__all__ = ["written"]  # a fixture


def in_custody(user: User, *custodies: str, transit_mount: str = "asc-transit") -> None:
    """Configure the deployment."""
    user.configure()
    text = user.config_file.read_text(encoding="utf-8")
    store = f'[store]\ntransit_mount = "{transit_mount}"\ncustodies = {json.dumps(custodies)}\n'
    user.config_file.write_text(text.replace("[store]\n", store), encoding="utf-8")


def test_a_policy_grants_what_the_deployment_or_the_command_says(user: User) -> None:
    words = ("policy", "show", "minter", "--key", "prod")
    private, sign = f'path "{user.mount}/data/asc/private/prod"', 'path "tr/sign/asc.prod"'

    def granted(*more: str) -> tuple[bool, bool]:
        text = user.does(*words, *more).out
        return private in text, sign in text

    for custodies, expected in ((("kv",), (True, False)), (("transit",), (False, True))):
        in_custody(user, *custodies, transit_mount="tr")
        assert granted() == expected
        assert granted("--custody", "transit") == (False, True)
        assert granted("--custody", "kv") == (True, False)
        assert granted("--custody", "kv", "--custody", "transit") == (True, True)
    in_custody(user, "transit", "kv", transit_mount="tr")
    assert granted() == (True, True)
    refused = user.fails(2, *words, "--custody", "escrow")
    assert '"escrow" is not one of "kv", "transit", "engine"' in refused.error


def test_a_custody_is_added_freely_and_taken_away_by_force(user: User, root: Root, written: None) -> None:
    write = ("policy", "write", "minter", "--key", "prod")
    names = {user.does(*write, *more).out for more in ((), ("--custody", "kv", "--custody", "transit"))}
    (name,) = (line.strip() for line in names)
    refused = user.fails(9, *write, "--custody", "transit")
    assert f"'{user.mount}/data/asc/private/prod'" in refused.error
    user.does(*write, "--custody", "transit", "--force")
    text = root("GET", f"sys/policies/acl/{name}")["data"]["policy"]
    assert "private/" not in text
    assert "asc-transit/sign/asc.prod" in text


def test_an_admin_can_be_that_of_one_key(user: User) -> None:
    for name in ("key-admin", "registrar"):
        text = user.does("policy", "show", name, "--key", "prod", "--custody", "transit").out
        assert f'path "{user.mount}/data/asc/keys/prod"' in text
        assert 'path "asc-transit/keys/asc.prod"' in text
        assert not re.search(r'^path ".*\+', text, re.MULTILINE)


COMMANDS = COMMANDS_IN_KV | {"retire": ("key", "retire", "rotated")}


@pytest.fixture
def in_transit(user: User, transit_mount: str, written: None) -> Path:
    """As `stocked`, in custody transit."""
    in_custody(user, "transit", transit_mount=transit_mount)
    for name in ("prod", "staged", "rotated", "off"):
        user.imports(name)
        assert user.record(name)["custody"] == "transit"
    new = user.key_file(NEW_ID)
    user.does("key", "stage", "staged", str(new), "--no-apple-check")
    user.does("key", "rotate", "rotated", str(new), "--no-apple-check")
    user.does("key", "disable", "off")
    return new


@pytest.mark.parametrize("case", COMMANDS)
def test_the_hint_of_a_denied_command_mends_it_in_transit(
    user: User, root: Root, token_with: TokenWith, in_transit: Path, case: str
) -> None:
    words = [str(in_transit) if word == "NEW" else word for word in COMMANDS[case]]
    user.use(token_with(NO_RIGHTS))
    denied = user.fails(7 if case == "import" else 6, *words)
    assert "--custody" not in denied.hint
    user.use(user.server.root_token)
    names = [user.does(*command).out.strip() for command in hinted_commands(denied.hint)]
    texts = [root("GET", f"sys/policies/acl/{name}")["data"]["policy"] for name in names]
    user.use(token_with(*texts))
    user.does(*words)


def test_a_minter_of_a_moved_key_is_told_the_custody(
    user: User, root: Root, token_with: TokenWith, transit_mount: str, in_transit: Path
) -> None:
    in_custody(user, "kv", transit_mount=transit_mount)
    user.use(token_with(user.does("policy", "show", "minter", "--key", "prod").out))
    denied = user.fails(6, "mint", "prod")
    assert denied.error == f'permission denied: the token lacks "update" on "{transit_mount}/sign/asc.prod"'
    (command,) = hinted_commands(denied.hint)
    assert command == ["policy", "write", "minter", "--key", "prod", "--custody", "transit"]
    user.use(user.server.root_token)
    name = user.does(*command).out.strip()
    user.use(token_with(root("GET", f"sys/policies/acl/{name}")["data"]["policy"]))
    user.does("mint", "prod")


def test_who_imports_into_transit_is_told_the_custody(
    user: User, root: Root, token_with: TokenWith, transit_mount: str, written: None
) -> None:
    in_custody(user, "kv", transit_mount=transit_mount)
    user.use(token_with(*(user.does("policy", "show", name).out for name in ("key-admin", "registrar"))))
    words = ("key", "import", str(user.key_file()), "prod", "--issuer-id", keys.ISSUER_ID, "--custody", "transit")
    denied = user.fails(6, *words)
    commands = hinted_commands(denied.hint)
    both = ["--custody", "kv", "--custody", "transit"]
    assert commands == [["policy", "write", name, *both] for name in ("key-admin", "registrar")]
    user.use(user.server.root_token)
    names = [user.does(*command).out.strip() for command in commands]
    user.use(token_with(*(root("GET", f"sys/policies/acl/{name}")["data"]["policy"] for name in names)))
    user.does(*words)


def test_a_prefix_without_a_name_in_transit_still_has_hints(user: User, token_with: TokenWith) -> None:
    user.configure()
    text = user.config_file.read_text(encoding="utf-8")
    user.config_file.write_text(text.replace("[store]\n", '[store]\nprefix = "x.y"\n'), encoding="utf-8")
    user.use(token_with(NO_RIGHTS))
    denied = user.fails(6, "mint", "prod")
    assert hinted_commands(denied.hint) == [["policy", "write", "minter", "--key", "prod"]]


def test_a_move_needs_no_more_than_what_its_hints_say(
    user: User, root: Root, token_with: TokenWith, transit_mount: str, written: None
) -> None:
    def holder_of(hint: str) -> None:
        """Log in with the policies of a hint."""
        user.use(user.server.root_token)
        names = [user.does(*command).out.strip() for command in hinted_commands(hint)]
        user.use(token_with(*(root("GET", f"sys/policies/acl/{name}")["data"]["policy"] for name in names)))

    in_custody(user, "kv", "transit", transit_mount=transit_mount)
    file = user.key_file()
    user.does("key", "import", str(file), "prod", "--issuer-id", keys.ISSUER_ID, "--custody", "kv")
    user.does("policy", "write", "minter", "--key", "prod")
    for words in (("--custody", "transit"), ("--finish", "--remove-copy")):
        user.use(token_with(NO_RIGHTS))
        hint = user.fails(6, "key", "move", "prod", *words).hint
        if "--finish" in words:
            user.use(user.server.root_token)
            user.does("policy", "write", "minter", "--key", "prod", "--custody", "transit", "--force")
            for name in root("LIST", "sys/policies/acl")["data"]["keys"]:
                if name.startswith("test-"):  # the token that has moved it, which could read the private part
                    root("PUT", f"sys/policies/acl/{name}", {"policy": NO_RIGHTS})
        holder_of(hint)
        user.does("key", "move", "prod", *words)
    assert "moved_from" not in user.record()


def test_an_agent_keeps_the_custody_that_it_has(
    user: User, root: Root, token_with: TokenWith, transit_mount: str, in_transit: Path
) -> None:
    in_custody(user, "kv", transit_mount=transit_mount)
    with user.config_file.open("a", encoding="utf-8") as file:
        file.write(TARGETS.format(mount=user.mount))
    root("POST", f"{user.mount}/data/asc/nexla/emea", {"data": {"service_key": "x"}})
    user.use(token_with(user.does("policy", "show", "agent").out))
    (command,) = hinted_commands(user("push", "sales").err)
    assert command == ["policy", "write", "agent", "--custody", "kv", "--custody", "transit"]
    user.use(user.server.root_token)
    name = user.does(*command).out.strip()
    user.use(token_with(root("GET", f"sys/policies/acl/{name}")["data"]["policy"]))
    assert "no answer from nexla" in user("push", "sales").err
