"""`policy check` as somebody types it."""

from collections.abc import Callable

import pytest

from tests.cli.conftest import Done, User, check_failure
from tests.cli.test_policies import TARGETS
from tests.cli.test_policies_in_transit import in_custody
from tests.conftest import NO_RIGHTS, TokenWith
from vault_asc.rights import NOT_SEEN

Hold = Callable[..., str]


@pytest.fixture
def hold(user: User, token_with: TokenWith) -> Hold:
    """Log in with exactly what `policy show` prints for these words, and with further stanzas."""

    def with_policies(*commands: str, more: str = NO_RIGHTS) -> str:
        texts = [user.does("policy", "show", *command.split()).out for command in commands]
        user.use(token_with(*texts, more))
        return "".join(texts)

    return with_policies


def differs(user: User, *words: str) -> Done:
    done = user("policy", "check", *words)
    check_failure(done, out=True)
    assert done.code == 6
    return done


def rows(done: Done) -> list[tuple[str, ...]]:
    """Path, capability and verdict of each difference."""
    lines = [line for line in done.out.splitlines() if not line.startswith("not seen: ")]
    assert lines[0].split(maxsplit=2) == ["PATH", "CAPABILITY", "THE TOKEN"]
    return [tuple(line.split(maxsplit=2)) for line in lines[1:]]


@pytest.mark.parametrize("custody", ["kv", "transit"])
def test_what_a_shipped_policy_makes_is_equal(user: User, hold: Hold, custody: str) -> None:
    in_custody(user, custody)
    hold("minter --key prod")
    done = user.does("policy", "check", "minter", "--key", "prod")
    first, *limits = done.out.splitlines()
    assert first.startswith('on 80 paths the token may do what "asc-minter-prod-')
    assert first.endswith('" grants, and no more')
    assert limits == [f"not seen: {limit}" for limit in NOT_SEEN]
    hold("key-admin", "registrar")
    assert " and " in user.does("policy", "check", "key-admin", "registrar").out.splitlines()[0]
    user.does("policy", "check", "registrar", "key-admin", "--custody", custody)
    hold("key-admin --key prod")
    user.does("policy", "check", "key-admin", "--key", "prod")


def test_what_a_token_lacks_and_has_too_much(user: User, hold: Hold) -> None:
    in_custody(user, "transit")
    hold("minter --key prod --custody kv", more='path "asc-transit/keys/*" { capabilities = ["update"] }')
    done = differs(user, "minter", "--key", "prod")
    found = rows(done)
    assert found[0] == ("asc-transit/sign/asc.prod", "update", "lacks it")
    assert (f"{user.mount}/data/asc/private/prod", "read", "has it too much") in found
    assert ("asc-transit/keys/asc.prod/config", "update", "has it too much") in found
    assert done.error.endswith(f": 1 missing, {len(found) - 1} too much")
    assert "not even the default one" in done.hint
    assert done.out.endswith("".join(f"not seen: {limit}\n" for limit in NOT_SEEN))


def test_json_says_the_same(user: User, hold: Hold) -> None:
    hold("minter --key prod")
    done = user.does("policy", "check", "minter", "--key", "prod", "--json")
    assert (done.json["lacks"], done.json["too_much"]) == ([], [])
    assert (done.json["roles"], done.json["custodies"]) == (["minter"], ["kv"])
    assert len(done.json["paths"]) == 80
    assert done.json["not_seen"] == [*NOT_SEEN]
    both = differs(user, "minter", "--key", "prod", "--json", "--custody", "kv", "--custody", "transit").json
    assert both["lacks"] == [{"path": "asc-transit/sign/asc.prod", "capability": "update"}]
    assert both["too_much"] == []


def test_root_has_everything_too_much(user: User) -> None:
    found = rows(differs(user, "auditor"))
    assert len(found) == 80
    assert {row[1:] for row in found} == {("root", "has it too much")}


def test_agent_publisher_and_team(user: User, hold: Hold, token_with: TokenWith) -> None:
    user.configure(TARGETS.format(mount=user.mount))
    hold("agent")
    user.does("policy", "check", "agent")
    assert f"{user.mount}/data/asc/nexla/emea" in differs(user, "minter", "--key", "prod").out
    hold("publisher --nexla emea")
    user.does("policy", "check", "publisher", "--nexla", "emea")
    text = hold("team").replace("{{identity.entity.metadata.team}}", "team-a")
    assert "store.prefix" in user.fails(2, "policy", "check", "team").hint
    config = user.config_file.read_text(encoding="utf-8").replace("[store]\n", '[store]\nprefix = "asc/team-a"\n')
    user.config_file.write_text(config, encoding="utf-8")
    user.use(token_with(text))
    user.does("policy", "check", "team", "--key", "prod")


@pytest.mark.parametrize(
    ("code", "words", "said", "hinted"),
    [
        (2, (), 'missing argument "NAME..."', "--help"),
        (2, ("mintr",), "there is no shipped policy 'mintr'", "minter"),
        (2, ("minter",), 'policy "minter" is for one key', "--key NAME"),
        (2, ("auditor", "--key", "../x"), 'key name "../x" is not allowed', "lower-case"),
        (2, ("agent", "--key", "prod"), "comes from the targets", "leave --key, --role and --nexla away"),
        (2, ("publisher",), "is for one mount of a Nexla service key", "--nexla ACCOUNT"),
        (2, ("minter", "--key", "prod", "--custody", "x"), '"x" is not one of "kv", "transit"', "--help"),
    ],
)
def test_wrong_words(user: User, code: int, words: tuple[str, ...], said: str, hinted: str) -> None:
    user.configure(TARGETS.format(mount=user.mount))
    done = user.fails(code, "policy", "check", *words)
    assert said in done.error
    assert hinted in done.hint


def test_who_may_not_ask_is_told_what_every_policy_has(user: User, token_with: TokenWith) -> None:
    user.use(token_with(NO_RIGHTS))
    denied = user.fails(6, "policy", "check", "auditor")
    assert denied.error == 'permission denied: the token lacks "update" on "sys/capabilities-self"'
    assert denied.hint == "use a token with any shipped policy (vault-asc policy list)"
