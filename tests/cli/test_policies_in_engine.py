"""The shipped policies of custody engine: what each lets its holder do with our commands, and what a denied one says."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from tests import keys
from tests.cli.conftest import NEW_ID, OLD_ID, Done, User, check_failure
from tests.cli.test_policies import COMMANDS as COMMANDS_IN_KV
from tests.cli.test_policies import TARGETS, hinted_commands, written
from tests.conftest import NO_RIGHTS, Root, TokenWith
from tests.support import TEAM, lifecycle_on
from tests.wrapping import wrap
from vault_asc import policy
from vault_asc.key.private_key import PrivateKey, parse_private_key
from vault_asc.lifecycle import Lifecycle
from vault_asc.names import Custody
from vault_asc.record import State

__all__ = ["written"]  # a fixture

DENIED: Final = 6


def in_engine(user: User, engine_mount: str, *custodies: str) -> None:
    """Configure the deployment."""
    user.configure()
    text = user.config_file.read_text(encoding="utf-8")
    store = f'[store]\nengine_mount = "{engine_mount}"\ncustodies = {json.dumps(custodies or ("engine",))}\n'
    user.config_file.write_text(text.replace("[store]\n", store), encoding="utf-8")


# -- each command by each role ---------------------------------------------------------------------------------------

# Y: exit code 0. A dot: permission denied, exit code 6. An n: nothing is said to be there, exit code 7, because Vault
# does not tell who has no right at all whether there is a mount. `owners` are key-admin and registrar in one hand,
# `importers` role-admin with them. The key is `prod`, `sales` a role of it, which the token-reader is for, and the agent too.
TABLE: Final = """
command         nobody key-admin registrar role-admin minter token-reader publisher auditor agent break-glass owners importers
import             n       .         .         n         .         n          .        .      .        .         .       Y
stage              .       Y         .         .         .         .          .        .      .        .         Y       Y
promote            .       .         Y         .         .         .          .        .      .        .         Y       Y
rotate             .       .         .         .         .         .          .        .      .        .         Y       Y
rollback           .       .         Y         .         .         .          .        .      .        .         Y       Y
retire             .       .         Y         .         .         .          .        .      .        .         Y       Y
disable            .       .         Y         .         .         .          .        .      .        .         Y       Y
enable             .       .         Y         .         .         .          .        .      .        .         Y       Y
destroy            .       .         .         .         .         .          .        .      .        Y         .       .
mint               .       .         .         .         Y         .          .        .      Y        .         .       .
mint by role       .       .         .         .         .         Y          .        .      Y        .         .       .
check              .       .         .         .         Y         .          .        .      Y        .         .       .
show               .       Y         Y         .         Y         .          .        Y      Y        Y         Y       Y
list               .       Y         Y         .         .         .          .        Y      .        .         Y       Y
move               .       .         .         .         .         .          .        .      .        .         .       Y
"""
ROLES: Final = tuple(TABLE.strip().splitlines()[0].split()[1:])
EXPECTED: Final = {
    name: tuple(cells.split()) for name, _, cells in (line.partition("  ") for line in TABLE.strip().splitlines()[1:])
}
CODES: Final = {"Y": 0, ".": DENIED, "n": 7}
COMMANDS: Final = {
    "import": ("key", "import", "OLD", "prod", "--issuer-id", keys.ISSUER_ID),
    "stage": ("key", "stage", "prod", "NEW", "--no-apple-check"),
    "promote": ("key", "promote", "prod"),
    "rotate": ("key", "rotate", "prod", "NEW", "--no-apple-check"),
    "rollback": ("key", "rollback", "prod"),
    "retire": ("key", "retire", "prod"),
    "disable": ("key", "disable", "prod"),
    "enable": ("key", "enable", "prod"),
    "destroy": ("key", "destroy", "prod", "--yes"),
    "mint": ("mint", "prod"),
    "mint by role": ("mint", "--role", "sales"),
    "check": ("key", "check", "prod"),
    "show": ("key", "show", "prod"),
    "list": ("key", "list"),
    "move": ("key", "move", "prod", "--custody", "engine", "--file", "OLD", "--granted"),
}
CHANGING: Final = {"import", "stage", "promote", "rotate", "rollback", "retire", "disable", "enable", "destroy", "move"}


class Scene:
    """A deployment in custody engine, put into the state that a command begins in."""

    def __init__(self, user: User, root: Root, keeper: Lifecycle, engine_mount: str, token_with: TokenWith) -> None:
        self.user, self.root, self.keeper, self.engine_mount = user, root, keeper, engine_mount
        self.files = {"OLD": user.key_file(OLD_ID), "NEW": user.key_file(NEW_ID)}
        self.token_with = token_with
        in_engine(user, engine_mount)

    def key(self, name: str) -> PrivateKey:
        return parse_private_key(self.files[name].read_bytes())

    def text(self, name: str) -> str:
        where = {"mount": self.user.mount, "prefix": "asc", "engine_mount": self.engine_mount}
        custodies = (Custody.ENGINE,)
        if name == policy.AGENT.name:
            return policy.agent(["prod"], (), roles=["sales"], custodies=custodies, **where)
        values = {"key": "prod", "role": "sales", "nexla_mount": self.user.mount, "nexla_path": "asc/nexla/default"}
        needs = {what: values[what] for what in policy.SHIPPED[name].parameters}
        return policy.render(name, custodies=custodies, **where, **needs)

    def texts(self, role: str) -> list[str]:
        together = {
            "nobody": [],
            "owners": ["key-admin", "registrar"],
            "importers": ["key-admin", "registrar", "role-admin"],
        }
        return [self.text(name) for name in together.get(role, [role])] or [NO_RIGHTS]

    def empty(self) -> None:
        """Nothing of the key anywhere."""
        if self.keeper.store.engine.key_of_role("sales"):
            self.root("DELETE", f"{self.engine_mount}/roles/sales")
        self.keeper.store.remove("prod", None, "prod")

    def begin(self, command: str) -> None:
        """As the command finds it."""
        self.empty()
        if command == "import":
            return
        custody = Custody.KV if command == "move" else Custody.ENGINE
        self.keeper.import_key("prod", self.key("OLD"), TEAM, custody)
        if custody is Custody.ENGINE:
            self.root("POST", f"{self.engine_mount}/roles/sales", {"key": "prod", "lifetime": 600})
        if command == "promote":
            self.keeper.stage("prod", self.key("NEW"), NEW_ID)
        if command in {"rollback", "retire"}:
            self.keeper.rotate("prod", self.key("NEW"), NEW_ID)
        if command in {"enable", "destroy"}:
            self.keeper.set_state("prod", State.DISABLED)
        if command == "destroy":
            self.root("DELETE", f"{self.engine_mount}/roles/sales")

    def does(self, command: str, role: str) -> Done:
        self.user.use(self.token_with(*self.texts(role)))
        return self.user(*(str(self.files.get(word, word)) for word in COMMANDS[command]))


@pytest.fixture
def scene(user: User, root: Root, engine_mount: str, token_with: TokenWith) -> Iterator[Scene]:
    with lifecycle_on(user.server, user.mount, engine_mount=engine_mount) as keeper:
        made = Scene(user, root, keeper, engine_mount, token_with)
        yield made
        made.empty()


def test_each_command_and_each_policy_is_in_the_table() -> None:
    assert list(COMMANDS) == list(EXPECTED)
    assert {*ROLES} == {*policy.SHIPPED, policy.AGENT.name, "nobody", "owners", "importers"} - {"team"}


@pytest.mark.parametrize("command", COMMANDS)
def test_command_by_each_role(scene: Scene, command: str) -> None:
    expected = dict(zip(ROLES, EXPECTED[command], strict=True))
    scene.begin(command)
    observed = {}
    for role in ROLES:
        done = scene.does(command, role)
        observed[role] = done.code
        if done.code:
            check_failure(done)
            assert "vault-asc policy write" in done.hint or done.code != DENIED, done.err
        if command in CHANGING and (role == "key-admin" or not done.code):  # what a key-admin stages can be promoted
            scene.begin(command)
        if (
            command == "show"
            and not done.code
            and role not in {"auditor", "key-admin", "registrar", "owners", "importers"}
        ):
            assert "are not shown: permission denied" in done.said("warning")[0]
    assert observed == {role: CODES[cell] for role, cell in expected.items()}


def test_an_import_without_a_role_admin_is_completed_by_one(scene: Scene) -> None:
    """It is refused before anything is written."""
    denied = scene.does("import", "owners")
    lacks = f'the token lacks "create" on "{scene.engine_mount}/roles/prod"'
    assert denied.error == f"permission denied: {lacks}; nothing was written"
    assert [command[2] for command in hinted_commands(denied.hint)] == ["key-admin", "registrar", "role-admin"]
    assert scene.keeper.store.find("prod") is None
    assert scene.keeper.store.engine.key_of_role("prod") is None
    assert scene.does("import", "importers").code == 0
    assert scene.does("mint", "minter").code == 0


def test_a_wrapped_import_is_refused_before_the_wrapping_token_is_used(scene: Scene) -> None:
    user, file = scene.user, scene.user.home / "wrapped"
    fields = {"p8": scene.files["OLD"].read_text(encoding="ascii"), "key_id": OLD_ID, "issuer_id": keys.ISSUER_ID}
    file.touch(mode=0o600)
    file.write_text(wrap(user.server, fields).reveal(), encoding="ascii")
    words = ("key", "import", "--wrapped", str(file), "prod")
    for role in ("key-admin", "owners"):
        user.use(scene.token_with(*scene.texts(role)))
        denied = user.fails(DENIED, *words)
        assert 'the token lacks "create" on ' in denied.error
        assert denied.error.endswith("; the wrapping token was not used")
        assert [command[2] for command in hinted_commands(denied.hint)] == ["key-admin", "registrar", "role-admin"]
    user.use(scene.token_with(*scene.texts("importers")))
    user.does(*words)


def test_a_role_that_is_there_makes_a_role_admin_needless(scene: Scene) -> None:
    scene.keeper.store.engine.create("prod", scene.key("OLD"), TEAM)
    scene.root("POST", f"{scene.engine_mount}/roles/prod", {"key": "prod"})
    assert scene.does("import", "owners").code == 0


# -- hints -----------------------------------------------------------------------------------------------------------

HINTED: Final = {name: words for name, words in COMMANDS_IN_KV.items() if name != "destroy"} | {
    "retire": ("key", "retire", "rotated"),
    "destroy": ("key", "destroy", "off", "--yes"),
    "mint by role": ("mint", "--role", "staged"),
}


@pytest.fixture
def stocked(user: User, engine_mount: str, written: None) -> Path:
    """As in custody kv: keys in every state that the commands need; returns the file of a new one."""
    in_engine(user, engine_mount)
    for name in ("prod", "staged", "rotated", "off"):
        user.imports(name)
        assert user.record(name)["custody"] == "engine"
    new = user.key_file(NEW_ID)
    user.does("key", "stage", "staged", str(new), "--no-apple-check")
    user.does("key", "rotate", "rotated", str(new), "--no-apple-check")
    user.does("key", "disable", "off")
    return new


Log = Callable[[str], list[list[str]]]


@pytest.fixture
def holder_of(user: User, root: Root, token_with: TokenWith) -> Log:
    """Log in with the policies of a hint; its commands."""

    def log_in(hint: str) -> list[list[str]]:
        user.use(user.server.root_token)
        commands = hinted_commands(hint)
        names = [user.does(*command).out.strip() for command in commands]
        assert all(f'"{name}"' in hint for name in names)
        user.use(token_with(*(root("GET", f"sys/policies/acl/{name}")["data"]["policy"] for name in names)))
        return commands

    return log_in


@pytest.mark.parametrize("case", HINTED)
def test_the_hint_of_a_denied_command_mends_it_in_the_engine(
    user: User, token_with: TokenWith, stocked: Path, holder_of: Log, case: str
) -> None:
    words = [str(stocked) if word == "NEW" else word for word in HINTED[case]]
    user.use(token_with(NO_RIGHTS))
    denied = user.fails(7 if case == "import" else DENIED, *words)
    assert "--custody" not in denied.hint
    holder_of(denied.hint)
    user.does(*words)


def test_a_key_whose_role_has_another_name_has_a_hint_with_it(
    user: User, token_with: TokenWith, engine_mount: str, holder_of: Log, written: None
) -> None:
    in_engine(user, engine_mount)
    user.imports("prod", OLD_ID, "--role", "sales")
    for words, name, lacks in (
        (("mint", "prod"), "minter", f'"read" on "{engine_mount}/token/sales"'),
        (("key", "destroy", "prod", "--yes"), "break-glass", f'"read" on "{engine_mount}/roles/sales"'),
    ):
        if name == "break-glass":
            user.use(user.server.root_token)
            user.does("key", "disable", "prod")
        user.use(token_with(user.does("policy", "show", name, "--key", "prod").out))
        denied = user.fails(DENIED, *words)
        assert denied.error == f"permission denied: the token lacks {lacks}"
        commands = holder_of(denied.hint)
        assert commands == [["policy", "write", name, "--key", "prod", "--role", "sales", "--force"]]
        user.does(*words)


@pytest.mark.parametrize("custodies", [("kv",), ("kv", "engine")])
def test_a_role_is_named_by_the_hint_whatever_the_deployment(
    user: User, token_with: TokenWith, engine_mount: str, holder_of: Log, written: None, custodies: tuple[str, ...]
) -> None:
    in_engine(user, engine_mount, "engine")
    user.imports("prod", OLD_ID, "--role", "sales")
    in_engine(user, engine_mount, *custodies)
    user.use(token_with(NO_RIGHTS))
    denied = user.fails(DENIED, "mint", "--role", "sales")
    assert denied.error == f'permission denied: the token lacks "read" on "{engine_mount}/token/sales"'
    (command,) = holder_of(denied.hint)
    option = [] if "engine" in custodies else ["--custody", "engine"]
    assert command == ["policy", "write", "token-reader", "--role", "sales", *option]
    user.does("mint", "--role", "sales")


def test_a_move_to_the_engine_needs_no_more_than_what_its_hints_say(
    user: User, root: Root, token_with: TokenWith, engine_mount: str, holder_of: Log, written: None
) -> None:
    in_engine(user, engine_mount, "kv", "engine")
    user.imports("prod", OLD_ID, "--custody", "kv")
    user.does("policy", "write", "minter", "--key", "prod")
    for words in (("--custody", "engine"), ("--finish", "--remove-copy")):
        user.use(token_with(NO_RIGHTS))
        hint = user.fails(DENIED, "key", "move", "prod", *words).hint
        if "--finish" in words:
            user.use(user.server.root_token)
            user.does("policy", "write", "minter", "--key", "prod", "--custody", "engine", "--force")
            for name in root("LIST", "sys/policies/acl")["data"]["keys"]:
                if name.startswith("test-"):  # the token that has moved it, which could read the private part
                    root("PUT", f"sys/policies/acl/{name}", {"policy": NO_RIGHTS})
        holder_of(hint)
        user.does("key", "move", "prod", *words)
    assert user.record()["custody"] == "engine"
    assert "moved_from" not in user.record()


def test_an_agent_reads_tokens_of_keys_and_roles(
    user: User, root: Root, token_with: TokenWith, stocked: Path, holder_of: Log
) -> None:
    targets = TARGETS.format(mount=user.mount)
    role = targets[targets.index("[[") :].replace('"sales"', '"by-role"').replace('key = "prod"', 'role = "staged"')
    with user.config_file.open("a", encoding="utf-8") as file:
        file.write(targets + role.replace("5001", "5002"))
    root("POST", f"{user.mount}/data/asc/nexla/emea", {"data": {"service_key": "x"}})
    user.use(token_with(NO_RIGHTS))
    for target in ("sales", "by-role"):
        (command,) = hinted_commands(user("push", target).err)
        assert command == ["policy", "write", "agent"]
    holder_of(user("push", "by-role").err)
    for target in ("sales", "by-role"):
        assert "no answer from nexla" in user("push", target).err
    user.does("policy", "check", "agent")


def test_the_agent_has_what_it_renders_alone(user: User, engine_mount: str) -> None:
    in_engine(user, engine_mount, "kv")
    targets = "".join(
        f'[[targets]]\nname = "{name}"\n{source}\ntoken_file = "/run/vault-asc/{name}.jwt"\n'
        for name, source in (("one", 'role = "sales"'), ("two", 'key = "prod"'))
    )
    with user.config_file.open("a", encoding="utf-8") as file:
        file.write(targets)
    text = user.does("policy", "show", "agent").out
    for path in (f"{engine_mount}/token/sales", f"{user.mount}/data/asc/private/prod"):
        assert f'path "{path}"' in text
    assert "token/prod" not in text


# -- show, write, check ----------------------------------------------------------------------------------------------


def test_the_policies_of_the_engine_are_shown_and_written(
    user: User, root: Root, engine_mount: str, written: None
) -> None:
    in_engine(user, engine_mount)
    reader = ("token-reader", "--role", "sales")
    assert f'path "{engine_mount}/token/sales"' in user.does("policy", "show", *reader).out
    names = [user.does("policy", "write", *words).out.strip() for words in (reader, ("role-admin",))]
    assert names[0].startswith("asc-token-reader-sales-")
    assert names[1].startswith("asc-role-admin-")
    for name, words in zip(names, (reader, ("role-admin",)), strict=True):
        assert root("GET", f"sys/policies/acl/{name}")["data"]["policy"] == user.does("policy", "show", *words).out
    minter = user.does("policy", "show", "minter", "--key", "prod", "--role", "sales").out
    assert f'path "{engine_mount}/token/sales"' in minter
    assert "token/prod" not in minter


def test_another_role_of_a_key_takes_the_one_before_away_only_by_force(
    user: User, engine_mount: str, written: None
) -> None:
    in_engine(user, engine_mount)
    words = ("policy", "write", "minter", "--key", "prod")
    name = user.does(*words, "--role", "sales").out
    refused = user.fails(9, *words)
    assert f"'{engine_mount}/token/sales'" in refused.error
    assert user.does(*words, "--force").out == name


def test_check_in_the_engine(user: User, engine_mount: str, token_with: TokenWith) -> None:
    in_engine(user, engine_mount)

    def hold(*words: str, more: str = NO_RIGHTS) -> None:
        user.use(token_with(user.does("policy", "show", *words).out, more))

    for words in (
        ("token-reader", "--role", "sales"),
        ("role-admin",),
        ("role-admin", "--role", "sales"),
        ("minter", "--key", "prod", "--role", "sales"),
        ("break-glass", "--key", "prod"),
        ("key-admin",),
        ("registrar", "--key", "prod"),
        ("auditor",),
    ):
        hold(*words)
        user.does("policy", "check", *words)
    hold(
        "token-reader", "--role", "sales", more=f'path "{engine_mount}/token/*" {{ capabilities = ["read", "update"] }}'
    )
    done = user("policy", "check", "token-reader", "--role", "sales")
    assert done.code == DENIED
    assert f"{engine_mount}/token/another-role" in done.out
    assert f"{engine_mount}/token/sales" not in done.out, "the exact path counts alone"
    assert "2 too much" in done.error
