"""The connection to Vault, and the message of every way in which a call can fail."""

import re
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from tests.conftest import Root, TokenWith
from tests.support import LOSE_ANSWER, LOSE_REQUEST, Answer, Wire, connected
from tests.vaults import VaultUnderTest, wait_for_kv
from vault_asc import http, policy
from vault_asc.errors import ConflictError, NotFoundError, PermissionDeniedError, VaultError, VaultUnavailableError
from vault_asc.lab.server import BaoServer
from vault_asc.secret import Secret
from vault_asc.vault import (
    NO_METADATA,
    CheckAndSetError,
    InvalidTokenError,
    LostAnswerError,
    MissingVersionError,
    Vault,
)

PATH = "asc/keys/prod"


@pytest.fixture
def client(vault: VaultUnderTest) -> Iterator[Vault]:
    with connected(vault) as made:
        yield made


@pytest.fixture
def wire(vault: VaultUnderTest) -> Iterator[Wire]:
    with Wire(vault.address) as made:
        yield made


@pytest.fixture
def wired(vault: VaultUnderTest, wire: Wire) -> Iterator[Vault]:
    with connected(vault, address=wire.address) as made:
        yield made


# KV v2.


def test_versions_are_numbered_and_each_can_be_read(client: Vault, kv_mount: str) -> None:
    assert [client.kv_write(kv_mount, PATH, {"n": n}, cas=n) for n in range(3)] == [1, 2, 3]

    assert client.kv_read(kv_mount, PATH).data == {"n": 2}
    assert client.kv_read(kv_mount, PATH).version == 3
    first = client.kv_read(kv_mount, PATH, 1)
    assert (first.data, first.version, first.deletion_time) == ({"n": 0}, 1, "")
    assert first.created_time < client.kv_read(kv_mount, PATH).created_time


@pytest.mark.parametrize(("before", "cas"), [(0, 1), (1, 0), (2, 1), (2, 3)])
def test_write_based_on_another_version_is_a_conflict(client: Vault, kv_mount: str, before: int, cas: int) -> None:
    for n in range(before):
        client.kv_write(kv_mount, PATH, {}, cas=n)

    with pytest.raises(CheckAndSetError, match=f'"{kv_mount}/data/{PATH}" was changed by somebody else') as caught:
        client.kv_write(kv_mount, PATH, {}, cas=cas)

    assert isinstance(caught.value, ConflictError)
    assert client.kv_metadata(kv_mount, PATH).current_version == before


def test_metadata_tells_deleted_from_destroyed(client: Vault, root: Root, kv_mount: str) -> None:
    assert client.kv_metadata(kv_mount, PATH) is NO_METADATA
    for n in range(3):
        client.kv_write(kv_mount, PATH, {}, cas=n)
    root("POST", f"{kv_mount}/delete/{PATH}", {"versions": [1]})
    root("POST", f"{kv_mount}/destroy/{PATH}", {"versions": [2]})

    facts = client.kv_metadata(kv_mount, PATH)

    assert (facts.current_version, facts.max_versions, facts.delete_version_after) == (3, 0, "0s")
    assert [facts.versions[n].readable for n in (1, 2, 3)] == [False, False, True]
    assert [facts.versions[n].destroyed for n in (1, 2, 3)] == [False, True, False]
    assert facts.versions[1].deletion_time.startswith("20")


@pytest.mark.parametrize(
    ("verb", "state", "message"),
    [("delete", "deleted", "was deleted at 20"), ("destroy", "destroyed", "was destroyed$")],
)
def test_missing_version_says_how_it_is_missing(
    client: Vault, root: Root, kv_mount: str, verb: str, state: str, message: str
) -> None:
    client.kv_write(kv_mount, PATH, {}, cas=0)
    root("POST", f"{kv_mount}/{verb}/{PATH}", {"versions": [1]})

    with pytest.raises(MissingVersionError, match=message) as caught:
        client.kv_read(kv_mount, PATH, 1)

    assert caught.value.state == state
    assert bool(caught.value.deleted_at) == (state == "deleted")


def test_version_that_never_was_is_missing(client: Vault, kv_mount: str) -> None:
    client.kv_write(kv_mount, PATH, {}, cas=0)
    for path, version in ((PATH, 7), ("asc/keys/nope", None)):
        with pytest.raises(MissingVersionError, match="does not exist") as caught:
            client.kv_read(kv_mount, path, version)
        assert caught.value.state == "missing"


def test_list_is_sorted_and_leaves_folders_out(client: Vault, kv_mount: str) -> None:
    assert client.kv_list(kv_mount, "asc/keys") == []
    for name in ("b", "a", "team/c"):
        client.kv_write(kv_mount, f"asc/keys/{name}", {}, cas=0)

    assert client.kv_list(kv_mount, "asc/keys") == ["a", "b"]


def test_removal_takes_all_versions_and_can_be_repeated(client: Vault, kv_mount: str) -> None:
    client.kv_write(kv_mount, PATH, {}, cas=0)
    for _ in range(2):
        client.kv_delete_all(kv_mount, PATH)
        assert client.kv_metadata(kv_mount, PATH) is NO_METADATA


def test_settings_of_the_mount(client: Vault, root: Root, kv_mount: str) -> None:
    assert client.kv_config(kv_mount) == (0, "0s")
    root("POST", f"{kv_mount}/config", {"max_versions": 4, "delete_version_after": "90m"})
    assert client.kv_config(kv_mount) == (4, "1h30m0s")


# Mounts.


@pytest.fixture
def engine(root: Root) -> Iterator[Callable[[str, dict[str, object]], str]]:
    mounted: list[str] = []

    def mount(path: str, settings: dict[str, object]) -> str:
        root("POST", f"sys/mounts/{path}", settings)
        mounted.append(path)
        return path

    yield mount
    for path in mounted:
        root("DELETE", f"sys/mounts/{path}")


Engine = Callable[[str, dict[str, object]], str]


def test_kv_version_1_is_refused_with_the_way_out(client: Vault, engine: Engine) -> None:
    engine("v1-a", {"type": "kv", "options": {"version": "1"}})

    with pytest.raises(VaultError, match='mount "v1-a" is KV version 1, nothing was written') as caught:
        client.require_kv2("v1-a")

    assert "vault kv enable-versioning v1-a" in str(caught.value.hint)


def test_other_engine_is_refused(client: Vault, engine: Engine) -> None:
    engine("transit-a", {"type": "transit"})

    with pytest.raises(VaultError, match='mount "transit-a" is a secrets engine of type "transit"'):
        client.require_kv2("transit-a")


def test_missing_mount(client: Vault) -> None:
    with pytest.raises(NotFoundError, match='no mount at "nowhere"') as caught:
        client.require_kv2("nowhere")
    assert "vault secrets list" in str(caught.value.hint)


def test_path_below_a_mount_is_no_mount(client: Vault, kv_mount: str) -> None:
    with pytest.raises(NotFoundError, match=f'"{kv_mount}/asc" is no mount but a path below') as caught:
        client.require_kv2(f"{kv_mount}/asc")
    assert f"store.mount = {kv_mount}" in str(caught.value.hint)


def test_mount_with_a_slash(client: Vault, engine: Engine, vault: VaultUnderTest) -> None:
    engine("deep/kv", {"type": "kv", "options": {"version": "2"}})
    wait_for_kv(vault, "deep/kv")

    client.require_kv2("deep/kv")
    assert client.kv_write("deep/kv", PATH, {}, cas=0) == 1


def test_every_shipped_policy_may_ask_for_the_type_of_the_mount(
    vault: VaultUnderTest, token_with: TokenWith, kv_mount: str
) -> None:
    for name in ("key-admin", "registrar", "auditor"):
        with connected(vault, token_with(policy.render(name, mount=kv_mount, prefix="asc"))) as client:
            client.require_kv2(kv_mount)


# Denied.

Operation = Callable[[Vault, str], object]
DENIED: dict[str, tuple[Operation, str, str]] = {
    "read": (lambda v, m: v.kv_read(m, PATH), "{m}/data/" + PATH, "read"),
    "create": (lambda v, m: v.kv_write(m, PATH, {}, cas=0), "{m}/data/" + PATH, "create"),
    "update": (lambda v, m: v.kv_write(m, PATH, {}, cas=1), "{m}/data/" + PATH, "update"),
    "metadata": (lambda v, m: v.kv_metadata(m, PATH), "{m}/metadata/" + PATH, "read"),
    "list": (lambda v, m: v.kv_list(m, "asc/keys"), "{m}/metadata/asc/keys/", "list"),
    "remove": (lambda v, m: v.kv_delete_all(m, PATH), "{m}/metadata/" + PATH, "delete"),
    "config": (lambda v, m: v.kv_config(m), "{m}/config", "read"),
    "policy": (lambda v, _: v.write_policy("p", ""), "sys/policies/acl/p", "update"),
}


@pytest.mark.parametrize("case", DENIED)
def test_denied_call_names_path_and_capability_and_gives_the_advice(
    vault: VaultUnderTest, token_with: TokenWith, kv_mount: str, case: str
) -> None:
    operation, where, capability = DENIED[case]
    where = where.format(m=kv_mount)
    asked: list[tuple[str, str]] = []

    def advice(path: str, needed: str) -> str:
        asked.append((path, needed))
        return "ask for the policy"

    with (
        connected(vault, token_with(), advice=advice) as client,
        pytest.raises(PermissionDeniedError) as caught,
    ):
        operation(client, kv_mount)

    assert not isinstance(caught.value, InvalidTokenError)
    assert caught.value.message == f'permission denied: the token lacks "{capability}" on "{where}"'
    assert caught.value.hint == "ask for the policy"
    assert asked == [(where, capability)]


def test_advice_of_the_shipped_policies_is_true(vault: VaultUnderTest, token_with: TokenWith, kv_mount: str) -> None:
    advice = partial(policy.needed, mount=kv_mount, prefix="asc")
    with (
        connected(vault, token_with(), advice=advice) as client,
        pytest.raises(PermissionDeniedError) as caught,
    ):
        client.kv_list(kv_mount, "asc/keys")

    name = re.search(r"vault-asc policy write ([a-z-]+)", str(caught.value.hint))
    assert name is not None
    with connected(vault, token_with(policy.render(name[1], mount=kv_mount, prefix="asc"))) as client:
        assert client.kv_list(kv_mount, "asc/keys") == []


def test_denied_call_without_advice_has_no_hint(vault: VaultUnderTest, token_with: TokenWith, kv_mount: str) -> None:
    with connected(vault, token_with()) as client, pytest.raises(PermissionDeniedError) as caught:
        client.kv_read(kv_mount, PATH)
    assert caught.value.hint is None


CALLS_WITH_ANY_TOKEN: dict[str, Operation] = {
    **{case: operation for case, (operation, _, _) in DENIED.items()},
    "mount": lambda v, m: v.require_kv2(m),
    "missing mount": lambda v, _: v.require_kv2("nowhere"),
    "other KV": lambda v, m: v.read_any_kv(f"{m}/{PATH}"),
    "whoami": lambda v, _: v.whoami(),
}


@pytest.mark.parametrize("case", CALLS_WITH_ANY_TOKEN)
def test_invalid_token_is_named_as_such_by_every_call(vault: VaultUnderTest, kv_mount: str, case: str) -> None:
    with (
        connected(vault, Secret("s.0123456789abcdefghijklmn")) as client,
        pytest.raises(InvalidTokenError, match="the Vault token is invalid, expired or revoked") as caught,
    ):
        CALLS_WITH_ANY_TOKEN[case](client, kv_mount)

    assert "vault login" in str(caught.value.hint)
    assert "0123456789" not in caught.value.message


def test_revoked_token(vault: VaultUnderTest, token_with: TokenWith, root: Root, kv_mount: str) -> None:
    token = token_with()
    root("POST", "auth/token/revoke", {"token": token.reveal()})
    with connected(vault, token) as client, pytest.raises(InvalidTokenError):
        client.kv_read(kv_mount, PATH)


@pytest.mark.parametrize(
    ("errors", "invalid"),
    [
        (b'["permission denied"]', True),
        (b'["2 errors occurred:\\n\\t* permission denied\\n\\t* invalid token\\n\\n"]', True),
        (b'["1 error occurred:\\n\\t* permission denied\\n\\n"]', False),
        (b"[]", False),
    ],
)
def test_both_servers_words_for_an_invalid_token(wire: Wire, wired: Vault, errors: bytes, invalid: bool) -> None:
    wire.fate = lambda _method, _path: Answer(403, b'{"errors": ' + errors + b"}")
    with pytest.raises(PermissionDeniedError) as caught:
        wired.kv_read("secret", PATH)
    assert isinstance(caught.value, InvalidTokenError) == invalid


def test_no_token_means_none_even_when_the_environment_has_one(
    vault: VaultUnderTest, wire: Wire, monkeypatch: pytest.MonkeyPatch, kv_mount: str
) -> None:
    monkeypatch.setenv("VAULT_TOKEN", vault.root_token.reveal())
    with http.session() as session, pytest.raises(PermissionDeniedError):
        Vault(wire.address, None, session=session).kv_read(kv_mount, PATH)
    assert [token or "" for token in wire.tokens] == [""]


# Who.


def test_whoami_of_root_and_of_a_token_that_may_not_ask(
    vault: VaultUnderTest, client: Vault, token_with: TokenWith
) -> None:
    assert client.whoami() == "root"
    with connected(vault, token_with()) as other:
        assert other.whoami() == "unknown (the token may not look itself up)"


def test_whoami_of_a_person_names_the_entity(vault: VaultUnderTest, root: Root, engine: Engine) -> None:
    root("POST", "sys/auth/people", {"type": "userpass"})
    try:
        root("POST", "auth/people/users/ada", {"password": "correct horse"})
        auth = root("POST", "auth/people/login/ada", {"password": "correct horse"})["auth"]
        with connected(vault, Secret(auth["client_token"])) as ada:
            assert ada.whoami() == f"people-ada (entity {auth['entity_id']})"
    finally:
        root("DELETE", "sys/auth/people")


# Not there.


def test_sealed_and_stopped_server() -> None:
    with BaoServer() as server, connected(VaultUnderTest(server.address, server.root_token)) as client:
        assert client.kv_write("secret", PATH, {}, cas=0) == 1

        server.seal()
        for call in (lambda: client.kv_read("secret", PATH), lambda: client.kv_write("secret", PATH, {}, cas=1)):
            with pytest.raises(VaultUnavailableError, match=f"Vault at {server.address} is sealed") as caught:
                call()
            assert caught.value.exit_code == 5
            assert "vault operator unseal; nothing was lost" in str(caught.value.hint)
        server.unseal()
        assert client.kv_read("secret", PATH).version == 1

        server.stop()
        for call in (lambda: client.kv_read("secret", PATH), lambda: client.kv_write("secret", PATH, {}, cas=1)):
            with pytest.raises(VaultUnavailableError, match=r"cannot be reached: connection refused") as caught:
                call()
            assert not isinstance(caught.value, LostAnswerError)
            assert "vault.address" in str(caught.value.hint)


@pytest.mark.parametrize("fate", [LOSE_ANSWER, LOSE_REQUEST, Answer(502, b"<html>bad gateway</html>")])
@pytest.mark.parametrize(
    ("write", "method"),
    [
        (lambda v, m: v.kv_write(m, PATH, {}, cas=0), "POST"),
        (lambda v, m: v.kv_delete_all(m, PATH), "DELETE"),
        (lambda v, _: v.write_policy("lost", 'path "x" {}'), "PUT"),
    ],
)
def test_write_without_an_answer_is_sent_once_and_reported_as_unknown(
    wire: Wire, wired: Vault, kv_mount: str, fate: Answer | str, write: Operation, method: str
) -> None:
    wire.lose_once(method, "", fate)

    with pytest.raises(LostAnswerError, match="no answer to the write to") as caught:
        write(wired, kv_mount)

    assert "repeat the command" in str(caught.value.hint)
    assert len(wire.calls) == 1


def test_read_without_an_answer_is_repeated(wire: Wire, wired: Vault, kv_mount: str) -> None:
    wired.kv_write(kv_mount, PATH, {"n": 1}, cas=0)
    wire.lose_once("GET", "", LOSE_ANSWER)

    assert wired.kv_read(kv_mount, PATH).data == {"n": 1}

    assert [method for method, _ in wire.calls] == ["POST", "GET", "GET"]


@pytest.mark.parametrize(
    ("answer", "kind", "message"),
    [
        (Answer(429, b'{"errors": ["too many"]}'), VaultUnavailableError, "cannot answer now: too many"),
        (Answer(503, b'{"errors": ["Vault is sealed"]}'), VaultUnavailableError, "is sealed"),
        (Answer(502, b"<html/>"), VaultUnavailableError, "cannot answer now"),
        (Answer(500, b'{"errors": ["rpc error: code = Unavailable"]}'), VaultUnavailableError, "cannot answer now"),
        (Answer(500, b'{"errors": ["local node not active but"]}'), VaultUnavailableError, "cannot answer now"),
        (Answer(500, b'{"errors": ["internal\\n error"]}'), VaultError, "Vault failed at .*: internal error$"),
        (Answer(400, b'{"errors": ["bad"]}'), VaultError, "Vault refused the request to .*: bad$"),
        (Answer(404, b"<html>no such page</html>"), NotFoundError, "does not exist"),
        (Answer(200, b'{"data": {"a": 1}}'), VaultError, "is no KV version 2 secret"),
        (Answer(200, b'{"hello": 1}'), VaultError, "is not what Vault sends"),
        (Answer(200, b"<html>log in first</html>"), VaultUnavailableError, "answer is not the JSON"),
    ],
)
def test_strange_answers_to_a_read(
    wire: Wire, wired: Vault, answer: Answer, kind: type[VaultError], message: str
) -> None:
    wire.fate = lambda _method, _path: answer
    with pytest.raises(kind, match=message) as caught:
        wired.kv_read("secret", PATH)
    assert "\n" not in caught.value.message
