import json
from collections.abc import Iterator

import pytest

from tests.cli.conftest import Done, User, check_failure
from tests.conftest import Root
from vault_asc.lab import faults
from vault_asc.lab.nexla import NexlaSimulator
from vault_asc.lab.nexla.faults import NO_ACCESS_TOKEN, refused
from vault_asc.lab.nexla.fixtures import FIXTURES
from vault_asc.lab.nexla.model import Parameter
from vault_asc.lab.nexla.simulator import rest_config

SERVICE_KEY = "cli-service-key"
TEST_URL = "https://api.appstoreconnect.apple.com/v1/apps?limit=1"


@pytest.fixture
def nexla() -> Iterator[NexlaSimulator]:
    with NexlaSimulator() as simulator:
        simulator.add_service_key(SERVICE_KEY)
        yield simulator


@pytest.fixture
def operator(user: User, nexla: NexlaSimulator, root: Root) -> User:
    """A user whose configuration names the simulator, and whose Vault holds its service key."""
    root("POST", f"{user.mount}/data/asc/nexla/default", {"data": {"service_key": f"{SERVICE_KEY}\n"}})
    user.configure(account(user, nexla.url))
    return user


def account(user: User, url: str, more: str = "") -> str:
    ref = f'{{ mount = "{user.mount}", path = "asc/nexla/default" }}'
    return f"[nexla.default]\napi_url = {json.dumps(url)}\nservice_key = {ref}\n{more}"


def target(**settings: object) -> str:
    lines = [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
    return "\n".join(["[[targets]]", 'name = "sales"', 'key = "prod"', "credential_id = 5001", *lines])


GOOD = {
    "a": ['token goes to  jwt_token, as "<token>"', "appstore_api.1 (in use)", "used in api.key.auth.value"],
    "b": ['token goes to  jwt_token, as "Bearer <token>"'],
    "c": ['token goes to  jwt_token, as "<token>"', "auth template appstore_api.2\n    other_token: secured"],
    "e": ["vendor         none (generic credential)", "mode           rest", 'api.key.auth.value, as "Bearer <token>"'],
    "g": ['token goes to  appstore_api.jwt, as "<token>"'],
    "h": [
        'still missing  page_size; write into the target: extra_fields = { page_size = "..." }',
        "page_size: not secured",
    ],
}
REFUSED = {
    "d": ('candidates: "first", "second"', "token_field ="),
    "f": ('belongs to vendor "shopify_api", not to "appstore_api"; it was left alone', "vendor ="),
}


def inspect(user: User, code: int = 0) -> Done:
    """What `nexla inspect` prints; in contrast to other commands it shows what it has even when it fails."""
    done = user("nexla", "inspect", "5001")
    assert done.code == code, done.err
    assert done.out.startswith("credential 5001\n  type           rest\n")
    if code:
        check_failure(done, out=True)
    return done


def test_every_fixture_is_covered() -> None:
    assert GOOD.keys() | REFUSED.keys() == FIXTURES.keys()


@pytest.mark.parametrize("letter", GOOD)
def test_inspect_shows_where_a_token_would_go(operator: User, nexla: NexlaSimulator, letter: str) -> None:
    FIXTURES[letter](nexla, TEST_URL)
    done = inspect(operator)
    for text in GOOD[letter]:
        assert text in done.out
    assert not done.err
    assert "unset" not in done.out
    assert {entry.method for entry in nexla.journal.entries() if entry.path != "/token"} == {"GET"}


@pytest.mark.parametrize("letter", REFUSED)
def test_inspect_says_what_stands_in_the_way(operator: User, nexla: NexlaSimulator, letter: str) -> None:
    FIXTURES[letter](nexla, TEST_URL)
    done = inspect(operator, 2)
    said, hinted = REFUSED[letter]
    assert said in done.error
    assert hinted in done.hint
    assert "token goes to  undecided\n  still missing  unknown\n" in done.out


def test_settings_of_a_target_decide(operator: User, nexla: NexlaSimulator) -> None:
    FIXTURES["d"](nexla, TEST_URL)
    operator.configure(account(operator, nexla.url, target(token_field="second")))
    assert "token goes to  second" in inspect(operator).out


def test_a_target_of_another_account_does_not_decide(operator: User, nexla: NexlaSimulator) -> None:
    FIXTURES["a"](nexla, TEST_URL)
    other = account(operator, nexla.url, target(nexla="other", vendor="shopify_api"))
    operator.configure(other + "\n" + account(operator, nexla.url).replace("nexla.default", "nexla.other"))
    assert "token goes to  jwt_token" in inspect(operator).out


def test_a_rest_credential_of_something_else_is_left_alone(operator: User, nexla: NexlaSimulator) -> None:
    FIXTURES["e"](nexla, "http://127.0.0.1:1/v1/apps")
    done = inspect(operator, 2)
    assert 'is tested against "127.0.0.1"' in done.error
    assert 'mode = "rest"' in done.hint


def test_names_of_nexla_do_not_reach_the_terminal_raw(operator: User, nexla: NexlaSimulator) -> None:
    evil = "jwt\x1b[2J\nvault-asc: error: forged"
    nexla.add_template_credential(
        parameters=[Parameter(evil)], config=rest_config(f"Bearer ${{{evil}}}", TEST_URL), test_url=TEST_URL
    )
    done = operator("nexla", "inspect", "5001")
    assert "\x1b" not in done.out + done.err
    assert not [line for line in done.out.splitlines() if line.startswith("vault-asc:")]
    assert "jwt\\x1b[2J\\n" in done.out


@pytest.mark.parametrize(
    ("path", "fault", "said", "hinted"),
    [
        ("/token", refused(401), "nexla answered 401 to the login", "the service key is wrong, paused or was rotated"),
        ("/token", faults.html(), "nexla answered 502 to the login", "try again later"),
        ("/token", NO_ACCESS_TOKEN, "no access_token in it", "check api_url"),
        (
            "/data_credentials/*",
            refused(403),
            'nexla answered 403 to the question for credential "5001"',
            "collaborator",
        ),
        ("/data_credentials/*", refused(404), "nexla answered 404", "check credential_id"),
        ("/data_credentials/*", refused(429), "nexla answered 429", "throttles"),
        ("/data_credentials/*", refused(500), "nexla answered 500", "try again later"),
        ("*", faults.dropped(), "no answer from nexla to the login", "safe to try again"),
    ],
)
def test_what_nexla_answers_is_explained(
    operator: User,
    nexla: NexlaSimulator,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    fault: faults.Fault,
    said: str,
    hinted: str,
) -> None:
    FIXTURES["a"](nexla, TEST_URL)
    nexla.inject(fault, count=20, path=path)
    done = operator.fails(8, "nexla", "inspect", "5001")
    assert said in done.error
    assert hinted in done.hint
    assert SERVICE_KEY not in done.err


def test_other_accounts_and_numbers(operator: User, nexla: NexlaSimulator) -> None:
    assert operator.fails(7, "nexla", "inspect", "5001", "--nexla", "x").hint == "accounts there: default"
    assert "5002" in operator.fails(8, "nexla", "inspect", "5002").error
    for number in ("0", "-1", "five"):
        assert 'invalid value for "CREDENTIAL_ID"' in operator.fails(2, "nexla", "inspect", "--", number).error
    operator.configure(account(operator, "http://127.0.0.1:1"))
    down = operator.fails(8, "nexla", "inspect", "5001")
    assert down.error.startswith("no answer from nexla to the login: connection refused")


@pytest.mark.parametrize("data", [{}, {"service_key": " "}, {"service_key": 5}, {"key": "x"}])
def test_a_secret_without_the_service_key(operator: User, root: Root, data: dict[str, object]) -> None:
    root("POST", f"{operator.mount}/data/asc/nexla/default", {"data": data})
    done = operator.fails(2, "nexla", "inspect", "5001")
    assert done.error == f'"{operator.mount}/asc/nexla/default" has no field "service_key" with the Nexla service key'
    assert f"vault kv put -mount={operator.mount} asc/nexla/default service_key=-" in done.hint


def test_no_service_key_at_all(operator: User, root: Root) -> None:
    root("DELETE", f"{operator.mount}/metadata/asc/nexla/default")
    done = operator.fails(7, "nexla", "inspect", "5001")
    assert done.error == f'"{operator.mount}/asc/nexla/default" does not exist'


def test_a_service_key_of_two_lines_is_explained(operator: User, root: Root) -> None:
    root("POST", f"{operator.mount}/data/asc/nexla/default", {"data": {"service_key": f"{SERVICE_KEY}\nx"}})
    done = operator.fails(8, "nexla", "inspect", "5001")
    assert "the service key in Vault is the bare key" in done.hint
    assert SERVICE_KEY not in done.err
