import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import keys
from tests.cli.conftest import NEW_ID, User
from tests.conftest import NO_RIGHTS, Root, TokenWith
from vault_asc.policy import AGENT, SHIPPED

TARGETS = """\
[nexla.emea]
service_key = {{ mount = "{mount}", path = "asc/nexla/emea" }}
api_url = "http://127.0.0.1:1"
[[targets]]
name = "sales"
key = "prod"
credential_id = 5001
nexla = "emea"
"""


@pytest.fixture
def written(root: Root) -> Iterator[None]:
    """Removes what a test writes: policies are the server's, not the mount's."""
    names = root("LIST", "sys/policies/acl")["data"]["keys"]
    yield
    for name in set(root("LIST", "sys/policies/acl")["data"]["keys"]) - set(names):
        root("DELETE", f"sys/policies/acl/{name}")


def test_list_names_every_policy(user: User) -> None:
    lines = user.does("policy", "list").out.splitlines()
    assert lines[0].split() == ["POLICY", "NEEDS", "WHO", "HOLDS", "IT"]
    assert [line.split()[0] for line in lines[1:]] == [*SHIPPED, AGENT.name]
    assert re.search(r"^minter +--key NAME \[--role ROLE\] +mints tokens from one key$", "\n".join(lines), re.MULTILINE)
    assert re.search(r"^registrar +\[--key NAME\] +promotes, ", "\n".join(lines), re.MULTILINE)


def test_show_fills_a_policy_in(user: User) -> None:
    text = user.does("policy", "show", "minter", "--key", "prod").out
    assert f'path "{user.mount}/data/asc/private/prod"' in text
    assert "${" not in text
    user.configure(TARGETS.format(mount=user.mount))
    agent = user.does("policy", "show", "agent").out
    assert f'path "{user.mount}/data/asc/nexla/emea"' in agent
    publisher = user.does("policy", "show", "publisher", "--nexla", "emea").out
    assert f'path "{user.mount}/data/asc/nexla/emea"' in publisher


def test_write_prints_the_name_and_can_be_repeated(user: User, root: Root, written: None) -> None:
    for _ in range(2):
        name = user.does("policy", "write", "minter", "--key", "prod").out.strip()
        assert re.fullmatch(r"asc-minter-prod-[0-9a-f]{8}", name)
        text = root("GET", f"sys/policies/acl/{name}")["data"]["policy"]
        assert text == user.does("policy", "show", "minter", "--key", "prod").out


def test_write_does_not_take_the_rights_of_another_host_away(user: User, root: Root, written: None) -> None:
    targets = TARGETS.format(mount=user.mount)
    user.configure(targets)
    name = user.does("policy", "write", "agent").out.strip()
    before = root("GET", f"sys/policies/acl/{name}")["data"]["policy"]
    user.configure(targets.replace('key = "prod"', 'key = "beta"'))
    refused = user.fails(9, "policy", "write", "agent")
    for part in ("keys", "private"):
        assert f"'{user.mount}/data/asc/{part}/prod'" in refused.error
    assert "nothing was written" in refused.error
    assert "--as NAME" in refused.hint
    assert "--force" in refused.hint
    assert root("GET", f"sys/policies/acl/{name}")["data"]["policy"] == before
    other = user.does("policy", "write", "agent", "--as", "asc-agent-b").out.strip()
    assert other == "asc-agent-b"
    assert "private/beta" in root("GET", f"sys/policies/acl/{other}")["data"]["policy"]
    assert root("GET", f"sys/policies/acl/{name}")["data"]["policy"] == before
    user.does("policy", "write", "agent", "--force")
    assert "private/prod" not in root("GET", f"sys/policies/acl/{name}")["data"]["policy"]
    user.configure(
        targets
        + targets[targets.index("[[") :].replace("sales", "b").replace("5001", "5002").replace('"prod"', '"beta"')
    )
    user.does("policy", "write", "agent")  # one that only adds


def test_write_under_a_name_that_is_none(user: User) -> None:
    assert 'policy name "../x" is not allowed' in user.fails(2, "policy", "write", "auditor", "--as", "../x").error


def test_write_blindly_is_warned_of(user: User, root: Root, token_with: TokenWith, written: None) -> None:
    blind = 'path "sys/policies/acl/*" { capabilities = ["create", "update"] }'
    user.use(token_with(blind))
    done = user.does("policy", "write", "auditor", "--as", "asc-blind")
    assert "without knowing what it replaced" in done.said("warning")[0]
    assert root("GET", "sys/policies/acl/asc-blind")["data"]["policy"]
    assert not user.does("policy", "write", "auditor", "--as", "asc-blind", "--force").err


@pytest.mark.parametrize(
    ("code", "words", "said", "hinted"),
    [
        (2, ("mintr",), "there is no shipped policy 'mintr'", "minter"),
        (2, ("agnt",), "there is no shipped policy 'agnt'", "agent"),
        (2, ("a\nb",), "there is no shipped policy 'a\\nb'", "choose one of"),
        (2, ("minter",), 'policy "minter" is for one key', "--key NAME"),
        (2, ("minter", "--key", "../x"), 'key name "../x" is not allowed', "lower-case"),
        (2, ("minter", "--key", "a\nb"), 'key name "a\\nb" is not allowed', "lower-case"),
        (2, ("auditor", "--key", "prod"), 'policy "auditor" is not for one key', "leave that out"),
        (2, ("minter", "--key", "prod", "--role", "../x"), 'role name "../x" is not allowed', "lower-case"),
        (2, ("registrar", "--role", "sales"), 'policy "registrar" is not for one role', "leave that out"),
        (2, ("minter", "--role", "sales"), 'policy "minter" is for one key', "--key NAME"),
        (2, ("token-reader", "--custody", "engine"), 'policy "token-reader" is for one role', "--role NAME"),
        (2, ("token-reader", "--role", "sales"), 'policy "token-reader" is for custody engine', "--custody engine"),
        (2, ("role-admin",), 'policy "role-admin" is for custody engine', "store.custodies"),
        (2, ("publisher",), "is for one mount of a Nexla service key", "--nexla ACCOUNT"),
        (7, ("publisher", "--nexla", "x\ny"), 'no Nexla account "x\\ny"', "accounts there: emea"),
        (2, ("agent", "--key", "prod"), "comes from the targets", "leave --key, --role and --nexla away"),
        (2, (), 'missing argument "NAME"', "--help"),
    ],
)
def test_wrong_words(user: User, code: int, words: tuple[str, ...], said: str, hinted: str) -> None:
    user.configure(TARGETS.format(mount=user.mount))
    for command in ("show", "write"):
        done = user.fails(code, "policy", command, *words)
        assert said in done.error
        assert hinted in done.hint


def test_the_agent_needs_targets(user: User) -> None:
    assert user.fails(2, "policy", "show", "agent").hint == "add a [[targets]] table"


def hinted_commands(hint: str) -> list[list[str]]:
    """The commands in a hint, word by word."""
    found = re.search(r"\((vault-asc policy write [^)]*)\)", hint)
    assert found, hint
    return [command.split()[1:] for command in found[1].split(" && ")]


COMMANDS = {
    "mint": ("mint", "prod"),
    "check": ("key", "check", "prod"),
    "list": ("key", "list"),
    "show": ("key", "show", "prod"),
    "import": ("key", "import", "NEW", "fresh", "--issuer-id", keys.ISSUER_ID),
    "stage": ("key", "stage", "prod", "NEW", "--no-apple-check"),
    "rotate": ("key", "rotate", "prod", "NEW", "--no-apple-check"),
    "dry run": ("key", "rotate", "prod", "NEW", "--dry-run", "--no-apple-check"),
    "promote": ("key", "promote", "staged"),
    "rollback": ("key", "rollback", "rotated"),
    "disable": ("key", "disable", "prod"),
    "enable": ("key", "enable", "off"),
    "destroy": ("key", "destroy", "off", "--yes"),
}


@pytest.fixture
def stocked(user: User, written: None) -> Path:
    """Keys in every state that the commands need; returns the file of a new one."""
    for name in ("prod", "staged", "rotated", "off"):
        user.imports(name)
    new = user.key_file(NEW_ID)
    user.does("key", "stage", "staged", str(new), "--no-apple-check")
    user.does("key", "rotate", "rotated", str(new), "--no-apple-check")
    user.does("key", "disable", "off")
    return new


@pytest.mark.parametrize("case", COMMANDS)
def test_the_hint_of_a_denied_command_mends_it(
    user: User, root: Root, token_with: TokenWith, stocked: Path, case: str
) -> None:
    words = [str(stocked) if word == "NEW" else word for word in COMMANDS[case]]
    user.use(token_with(NO_RIGHTS))
    denied = user.fails(7 if case == "import" else 6, *words)
    assert user.mount in denied.error
    if case != "import":
        assert re.match(
            rf'permission denied: the token lacks "[a-z]+" on "{user.mount}/(meta)?data/asc/keys/', denied.error
        )
    user.use(user.server.root_token)
    names = [user.does(*command).out.strip() for command in hinted_commands(denied.hint)]
    assert all(f'"{name}"' in denied.hint for name in names)
    texts = [root("GET", f"sys/policies/acl/{name}")["data"]["policy"] for name in names]
    user.use(token_with(*texts))
    user.does(*words)


@pytest.mark.parametrize(("has", "lacks"), [("key-admin", "registrar"), ("registrar", "key-admin")])
def test_half_of_what_an_import_needs_names_both(
    user: User, token_with: TokenWith, stocked: Path, has: str, lacks: str
) -> None:
    user.use(token_with(user.does("policy", "show", has).out))
    words = ("key", "import", str(stocked), "fresh", "--issuer-id", keys.ISSUER_ID)
    denied = user.fails(6, *words)
    assert [command[2] for command in hinted_commands(denied.hint)] == ["key-admin", "registrar"]
    user.use(user.server.root_token)
    assert user.fails(7, "mint", "fresh").error.startswith('no key "fresh"')
    user.use(token_with(*(user.does("policy", "show", name).out for name in (has, lacks))))
    user.does(*words)


def test_the_service_key_of_nexla_has_a_policy_of_its_own(
    user: User, root: Root, token_with: TokenWith, written: None
) -> None:
    user.configure(TARGETS.format(mount=user.mount))
    root("POST", f"{user.mount}/data/asc/nexla/emea", {"data": {"service_key": "x"}})
    user.use(token_with(NO_RIGHTS))
    denied = user.fails(6, "nexla", "inspect", "5001", "--nexla", "emea")
    assert denied.error == f'permission denied: the token lacks "read" on "{user.mount}/data/asc/nexla/emea"'
    (command,) = hinted_commands(denied.hint)
    assert command == ["policy", "write", "publisher", "--nexla", "emea"]
    user.use(user.server.root_token)
    name = user.does(*command).out.strip()
    user.use(token_with(root("GET", f"sys/policies/acl/{name}")["data"]["policy"]))
    assert "no answer from nexla" in user.fails(8, "nexla", "inspect", "5001", "--nexla", "emea").error


def test_a_push_names_the_policy_of_the_agent(user: User, root: Root, token_with: TokenWith, written: None) -> None:
    user.configure(TARGETS.format(mount=user.mount))
    user.imports()
    root("POST", f"{user.mount}/data/asc/nexla/emea", {"data": {"service_key": "x"}})
    user.use(token_with(NO_RIGHTS))
    denied = user("push", "sales")
    assert (denied.code, denied.out) == (8, "")
    (command,) = hinted_commands(denied.err)
    assert command == ["policy", "write", "agent"]
    user.use(user.server.root_token)
    name = user.does(*command).out.strip()
    user.use(token_with(root("GET", f"sys/policies/acl/{name}")["data"]["policy"]))
    assert "no answer from nexla" in user("push", "sales").err


def test_a_key_elsewhere_in_vault_has_no_shipped_policy(user: User, root: Root, token_with: TokenWith) -> None:
    root("POST", f"{user.mount}/data/old/apple", {"data": {"p8": "x"}})
    texts = [user.does("policy", "show", name).out for name in ("key-admin", "registrar")]
    user.use(token_with(*texts))
    words = ("key", "import", "--from-vault", f"{user.mount}/old/apple", "prod", "--individual", "--key-id", NEW_ID)
    denied = user.fails(6, *words)
    stanza = re.search(r'path "[^"]+" \{ .* \}', denied.hint)
    assert stanza
    user.use(token_with(*texts, stanza[0]))
    assert "no field with one" in user.fails(2, *words).error


def test_who_may_not_write_policies_is_told_whom_to_ask(user: User, token_with: TokenWith) -> None:
    user.use(token_with(NO_RIGHTS))
    denied = user.fails(6, "policy", "write", "auditor")
    assert re.match(r'permission denied: the token lacks "update" on "sys/policies/acl/asc-auditor', denied.error)
    assert "`vault-asc policy show` prints the text" in denied.hint
