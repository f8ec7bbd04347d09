"""A response-wrapped key on the real server: unwrapped once, and only when nothing that could be refused is left."""

import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from tests import keys
from tests.conftest import Root, TokenWith
from tests.support import (
    LOSE_ANSWER,
    LOSE_REQUEST,
    NAME,
    PREFIX,
    TEAM,
    Answer,
    Wire,
    connected,
    key_id,
    lifecycle_on,
    new_key,
    team,
)
from tests.vaults import VaultUnderTest, wait_for_kv
from tests.wrapping import rewrap, unwrap, wrap, wrap_reading
from vault_asc import http, policy
from vault_asc.errors import (
    ConfigError,
    ConflictError,
    NotFoundError,
    PermissionDeniedError,
    PrivateKeyError,
    VaultAscError,
    VaultError,
)
from vault_asc.handover import HandOver, Task, ready, used_up
from vault_asc.lifecycle import Lifecycle
from vault_asc.names import Custody
from vault_asc.secret import Secret
from vault_asc.store import Layout, Store
from vault_asc.vault import LostAnswerError, MissingVersionError, Vault, WrappingTokenError

PLACE = 'the wrapping token in "token"'
UNUSABLE = f"{PLACE} is used up, expired or unknown, nothing was imported"


def no_advice(_path: str, _capability: str) -> str | None:
    return None


@pytest.fixture
def client(vault: VaultUnderTest) -> Iterator[Vault]:
    with connected(vault) as made:
        yield made


@pytest.fixture
def keeper(vault: VaultUnderTest, kv_mount: str) -> Iterator[Lifecycle]:
    with lifecycle_on(vault, kv_mount) as made:
        yield made


def still_good(vault: VaultUnderTest, token: Secret) -> bool:
    """Whether the token can be unwrapped; it cannot any more after this."""
    try:
        return bool(unwrap(vault, token))
    except VaultError:
        return False


# -- what comes out --------------------------------------------------------------------------------------------------


def test_key_from_the_wrap_endpoint_with_the_ids_beside_it(vault: VaultUnderTest, client: Vault) -> None:
    key = new_key()
    token = wrap(vault, {"p8": key.pem.reveal(), "key_id": keys.KEY_ID, "issuer_id": keys.ISSUER_ID, "for": "prod"})
    hand_over = HandOver(client, token, PLACE)

    wrapping = hand_over.look()
    found = hand_over.take(None)

    assert wrapping.creation_path == "sys/wrapping/wrap"
    assert wrapping.creation_time.startswith("20")
    assert found.key.spki_sha256 == key.spki_sha256
    assert (found.key_id, found.issuer_id) == (keys.KEY_ID, keys.ISSUER_ID)
    assert not still_good(vault, token)
    assert token.reveal() not in repr(hand_over)
    assert key.pem.reveal().splitlines()[1] not in repr(found)


@pytest.mark.parametrize("version", ["1", "2"])
def test_key_from_a_reading_of_kv(vault: VaultUnderTest, client: Vault, root: Root, version: str) -> None:
    mount = f"handover-{version}"
    root("POST", f"sys/mounts/{mount}", {"type": "kv", "options": {"version": version}})
    try:
        path, key = f"{mount}/data/apple" if version == "2" else f"{mount}/apple", new_key()
        if version == "2":
            wait_for_kv(vault, mount)
        fields = {"data": key.pem.reveal(), "old": new_key().pem.reveal(), "key_id": keys.KEY_ID}
        root("POST", path, {"data": fields} if version == "2" else fields)
        hand_over = HandOver(client, wrap_reading(vault, path), PLACE, path)

        assert hand_over.look().creation_path == path
        found = hand_over.take("data")

        assert (found.key.spki_sha256, found.key_id) == (key.spki_sha256, keys.KEY_ID)
    finally:
        root("DELETE", f"sys/mounts/{mount}")


@pytest.mark.parametrize("policies", ["none at all", "key-admin", "is invalid"])
def test_whoever_calls_needs_no_policy_to_unwrap(
    vault: VaultUnderTest, kv_mount: str, token_with: TokenWith, policies: str
) -> None:
    shipped = policy.render("key-admin", mount=kv_mount, prefix=PREFIX)
    caller = token_with(*([shipped] if policies == "key-admin" else []))
    with connected(vault, Secret("s.gone") if policies == "is invalid" else caller) as client:
        hand_over = HandOver(client, wrap(vault, {"p8": keys.p8_pem().decode()}), PLACE)
        hand_over.look()
        assert hand_over.take(None).key.spki_sha256


def test_in_a_namespace(vault: VaultUnderTest, root: Root) -> None:
    name = f"team-{secrets.token_hex(3)}"
    try:
        root("POST", f"sys/namespaces/{name}", {})
    except VaultError:
        pytest.skip("the server has no namespaces")
    try:
        root("POST", f"{name}/sys/mounts/kv", {"type": "kv", "options": {"version": "2"}})
        wait_for_kv(vault, f"{name}/kv")
        with http.session(ca_file=vault.ca_file) as session:
            client = Vault(vault.address, vault.root_token, session=session, namespace=name)
            store, key = Store(client, Layout("kv", PREFIX)), new_key()
            hand_over = HandOver(client, wrap(vault, {"p8": key.pem.reveal()}, namespace=f"{name}/"), PLACE)
            ready(store, NAME, Task.IMPORT, no_advice)
            assert hand_over.look().creation_path == "sys/wrapping/wrap", "without the namespace"
            Lifecycle(store, lambda: 1.0).import_key(NAME, hand_over.take(None).key, TEAM)
            assert store.read(NAME).record.spki_sha256 == key.spki_sha256
    finally:
        root("DELETE", f"{name}/sys/mounts/kv")
        root("DELETE", f"sys/namespaces/{name}")


# -- tokens that are no good -----------------------------------------------------------------------------------------


def used(vault: VaultUnderTest, _root: Root) -> Secret:
    token = wrap(vault, {"p8": keys.p8_pem().decode()})
    unwrap(vault, token)
    return token


def revoked(vault: VaultUnderTest, root: Root) -> Secret:
    token = wrap(vault, {"p8": keys.p8_pem().decode()})
    root("POST", "auth/token/revoke", {"token": token.reveal()})
    return token


def expired(vault: VaultUnderTest, _root: Root) -> Secret:
    token = wrap(vault, {"p8": keys.p8_pem().decode()}, ttl="1s")
    time.sleep(1.2)
    return token


def wrapped_again(vault: VaultUnderTest, _root: Root) -> Secret:
    token = wrap(vault, {"p8": keys.p8_pem().decode()})
    rewrap(vault, token)
    return token


def unknown(_vault: VaultUnderTest, _root: Root) -> Secret:
    return Secret("s.wrongwrongwrongwrongwrong")


def no_wrapping_token(vault: VaultUnderTest, _root: Root) -> Secret:
    return vault.root_token


@pytest.mark.parametrize("made", [used, revoked, expired, wrapped_again, unknown, no_wrapping_token])
def test_token_that_is_no_good_is_a_reason_for_alarm(
    vault: VaultUnderTest, client: Vault, root: Root, made: Callable[[VaultUnderTest, Root], Secret]
) -> None:
    hand_over = HandOver(client, made(vault, root), PLACE)
    for deed in (hand_over.look, lambda: hand_over.take(None)):
        with pytest.raises(PrivateKeyError) as caught:
            deed()
        assert caught.value.message == UNUSABLE
        for part in ("revoke it at Apple", "search the audit log for sys/wrapping/unwrap", "ask for a new key"):
            assert part in str(caught.value.hint)
        assert "vault login" not in str(caught.value.hint)


def test_somebody_is_faster_between_the_look_and_the_unwrap(vault: VaultUnderTest, client: Vault) -> None:
    token = wrap(vault, {"p8": keys.p8_pem().decode()})
    hand_over = HandOver(client, token, PLACE)
    hand_over.look()
    unwrap(vault, token)
    with pytest.raises(PrivateKeyError) as caught:
        hand_over.take(None)
    assert caught.value.message == UNUSABLE


def test_denial_is_about_the_wrapping_token_not_about_the_login(vault: VaultUnderTest) -> None:
    with Wire(vault.address) as wire, connected(vault, address=wire.address) as client:
        wire.fate = lambda _method, _path: Answer(403, b'{"errors": ["permission denied"]}')
        with pytest.raises(PrivateKeyError) as caught:
            HandOver(client, Secret("s.x"), PLACE).look()
        assert isinstance(caught.value.__cause__, WrappingTokenError)
        assert caught.value.message == UNUSABLE
        assert wire.tokens == ["s.x"]


# -- made elsewhere --------------------------------------------------------------------------------------------------


def test_token_from_elsewhere_is_not_unwrapped(vault: VaultUnderTest, client: Vault, kv_mount: str, root: Root) -> None:
    root("POST", f"{kv_mount}/data/apple", {"data": {"p8": keys.p8_pem().decode()}})
    where = f"{kv_mount}/data/apple"
    for token, expected, made in (
        (wrap_reading(vault, where), "sys/wrapping/wrap", where),
        (wrap(vault, {"p8": keys.p8_pem().decode()}), where, "sys/wrapping/wrap"),
        (wrap_reading(vault, f"{kv_mount}/metadata/apple"), where, f"{kv_mount}/metadata/apple"),
    ):
        with pytest.raises(PrivateKeyError) as caught:
            HandOver(client, token, PLACE, expected).look()
        assert caught.value.message.startswith(
            f'{PLACE} was made at "{made}", not at "{expected}"; it was not unwrapped'
        )
        assert f"--creation-path {made}" in str(caught.value.hint)
        assert still_good(vault, token)


def test_what_is_wrapped_again_keeps_its_path_and_gets_another_time(
    vault: VaultUnderTest, client: Vault, kv_mount: str, root: Root
) -> None:
    """So the path does not betray who has wrapped again what passed through their hands; the time does."""
    root("POST", f"{kv_mount}/data/apple", {"data": {"p8": keys.p8_pem().decode()}})
    first = wrap_reading(vault, f"{kv_mount}/data/apple")
    hand_over = HandOver(client, first, PLACE, f"{kv_mount}/data/apple")
    before = hand_over.look()
    after = replace(hand_over, token=rewrap(vault, first)).look()
    assert after.creation_path == before.creation_path
    assert after.creation_time > before.creation_time


# -- used up -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "field", "kind", "said"),
    [
        ({"note": "x"}, None, ConfigError, "what was wrapped has no field with one, nothing was imported"),
        ({"p8": "x"}, "p8", PrivateKeyError, "BEGIN line"),
        ({"p8": "x"}, "key", ConfigError, 'what was wrapped has no field "key"'),
        ({}, None, ConfigError, "what was wrapped has no field with one"),
    ],
)
def test_what_is_wrong_with_the_content_costs_the_token(
    vault: VaultUnderTest,
    client: Vault,
    fields: dict[str, str],
    field: str | None,
    kind: type[VaultAscError],
    said: str,
) -> None:
    token = wrap(vault, fields)
    with pytest.raises(kind) as caught:
        HandOver(client, token, PLACE).take(field)
    assert said in caught.value.message
    assert caught.value.message.endswith(f"; {PLACE} is used up now")
    assert str(caught.value.hint).endswith("ask the sender to wrap the key again")
    assert not still_good(vault, token)


def test_error_after_the_unwrap_keeps_its_kind_and_says_both_ways_out() -> None:
    with pytest.raises(MissingVersionError) as caught, used_up(PLACE, "wrap it again"):
        raise MissingVersionError("it is gone", hint="look", state="deleted")
    assert caught.value.message == f"it is gone; {PLACE} is used up now"
    assert (caught.value.hint, caught.value.state) == ("look; wrap it again", "deleted")
    with pytest.raises(NotFoundError) as bare, used_up(PLACE, "wrap it again"):
        raise NotFoundError("it is gone")
    assert bare.value.hint == "wrap it again"


@pytest.mark.parametrize("lost", [LOSE_ANSWER, LOSE_REQUEST])
def test_lost_answer_leaves_it_open_and_says_how_to_find_out(vault: VaultUnderTest, lost: str) -> None:
    token = wrap(vault, {"p8": keys.p8_pem().decode()})
    with Wire(vault.address) as wire, connected(vault, address=wire.address) as client:
        wire.lose_once("POST", "sys/wrapping/unwrap", lost)
        with pytest.raises(LostAnswerError, match="it is not known whether the wrapping token is used up") as caught:
            HandOver(client, token, PLACE).take(None)
        assert "repeat the command; if it refuses the token" in str(caught.value.hint)
        assert wire.writes == ["sys/wrapping/unwrap"], "never sent twice"
    assert still_good(vault, token) == (lost is LOSE_REQUEST)


# -- before the unwrap -----------------------------------------------------------------------------------------------


def test_nothing_is_in_the_way(keeper: Lifecycle) -> None:
    ready(keeper.store, NAME, Task.IMPORT, no_advice)
    keeper.import_key(NAME, new_key(), TEAM)
    ready(keeper.store, NAME, Task.STAGE, no_advice)
    ready(keeper.store, NAME, Task.ROTATE, no_advice)


def test_name_that_is_taken_or_missing(keeper: Lifecycle, root: Root, kv_mount: str) -> None:
    keeper.import_key(NAME, new_key(), TEAM)
    with pytest.raises(ConflictError) as caught:
        ready(keeper.store, NAME, Task.IMPORT, no_advice)
    assert f'key "{NAME}" exists: key ID {keys.KEY_ID}, imported by root at ' in caught.value.message
    assert caught.value.message.endswith("the wrapping token was not used")
    assert f"vault-asc key rotate {NAME} --wrapped FILE" in str(caught.value.hint)
    for task in (Task.STAGE, Task.ROTATE):
        with pytest.raises(NotFoundError, match='no key "nope"'):
            ready(keeper.store, "nope", task, no_advice)
    root("DELETE", f"{kv_mount}/data/{PREFIX}/keys/{NAME}")
    for task in Task:
        with pytest.raises(MissingVersionError, match="was deleted"):
            ready(keeper.store, NAME, task, no_advice)


def test_mount_that_is_none_or_of_another_kind(client: Vault) -> None:
    with pytest.raises(NotFoundError, match='no mount at "nowhere"'):
        ready(Store(client, Layout("nowhere", PREFIX)), NAME, Task.IMPORT, no_advice)
    with pytest.raises(VaultError, match='engine of type "system"'):
        ready(Store(client, Layout("sys", PREFIX)), NAME, Task.IMPORT, no_advice)


def test_versions_that_would_not_last(keeper: Lifecycle, root: Root, kv_mount: str) -> None:
    root("POST", f"{kv_mount}/config", {"delete_version_after": "1h"})
    with pytest.raises(VaultError, match="delete_version_after"):
        ready(keeper.store, NAME, Task.IMPORT, no_advice)
    root("POST", f"{kv_mount}/config", {"delete_version_after": "0s"})
    root("POST", f"{kv_mount}/metadata/{PREFIX}/private/{NAME}", {"max_versions": 1})
    keeper.import_key(NAME, new_key(), TEAM)
    for task in (Task.STAGE, Task.ROTATE):
        with pytest.raises(VaultError, match="would prune version 1, which is current"):
            ready(keeper.store, NAME, task, no_advice)


@pytest.mark.parametrize(
    ("policies", "task", "lacks"),
    [
        (["key-admin", "registrar"], Task.IMPORT, None),
        (["key-admin"], Task.IMPORT, ("create", "keys/new")),
        (["registrar"], Task.IMPORT, ("read", "config")),
        (["key-admin"], Task.STAGE, None),
        (["key-admin"], Task.ROTATE, ("update", f"keys/{NAME}")),
        (["key-admin", "registrar"], Task.ROTATE, None),
        (["registrar", "reads the mount's settings"], Task.STAGE, ("update", f"private/{NAME}")),
    ],
)
def test_rights_are_asked_for_before_the_unwrap(
    vault: VaultUnderTest,
    kv_mount: str,
    keeper: Lifecycle,
    token_with: TokenWith,
    policies: list[str],
    task: Task,
    lacks: tuple[str, str] | None,
) -> None:
    keeper.import_key(NAME, new_key(), TEAM)
    name = "new" if task is Task.IMPORT else NAME
    reads = f'path "{kv_mount}/config" {{ capabilities = ["read"] }}'
    texts = [
        policy.render(shipped, mount=kv_mount, prefix=PREFIX) if shipped in policy.SHIPPED else reads
        for shipped in policies
    ]
    with lifecycle_on(vault, kv_mount, token_with(*texts)) as allowed:
        if lacks is None:
            ready(allowed.store, name, task, no_advice)
            new = new_key()  # and what it says is true
            if task is Task.IMPORT:
                allowed.import_key(name, new, team(key_id(2)))
            else:
                (allowed.stage if task is Task.STAGE else allowed.rotate)(name, new, key_id(2))
            return
        with pytest.raises(PermissionDeniedError) as caught:
            ready(allowed.store, name, task, lambda path, capability: f"grant {capability} on {path}")
        assert f'lacks "{lacks[0]}" on' in caught.value.message
        assert lacks[1] in caught.value.message
        assert lacks[0] == "read" or str(caught.value.hint).startswith(f"grant {lacks[0]} on {kv_mount}/data/{PREFIX}/")


def test_rights_in_transit(vault: VaultUnderTest, kv_mount: str, root: Root, token_with: TokenWith) -> None:
    mount = f"transit-{secrets.token_hex(3)}"
    root("POST", f"sys/mounts/{mount}", {"type": "transit"})
    base = f"""
        path "{kv_mount}/*" {{ capabilities = ["create", "read", "update"] }}
        path "{mount}/keys/*" {{ capabilities = ["read"] }}
        path "sys/capabilities-self" {{ capabilities = ["update"] }}
        path "{mount}/wrapping_key" {{ capabilities = ["read"] }}
    """
    may = f'path "{mount}/keys/{PREFIX}.{NAME}/import" {{ capabilities = ["update"] }}'
    try:
        for text, allowed in ((base, False), (base + may, True)):
            with connected(vault, token_with(text)) as client:
                store = Store(client, Layout(kv_mount, PREFIX, mount))
                if allowed:
                    ready(store, NAME, Task.IMPORT, no_advice, custody=Custody.TRANSIT)
                else:
                    with pytest.raises(
                        PermissionDeniedError, match=f'lacks "update" on "{mount}/keys/asc.prod/import"'
                    ):
                        ready(store, NAME, Task.IMPORT, no_advice, custody=Custody.TRANSIT, escrow=False)
    finally:
        root("DELETE", f"sys/mounts/{mount}")


IN_ENGINE = {
    Task.IMPORT: ["keys/new create", "roles/new create", "keys/new/enable update"],
    Task.STAGE: [f"keys/{NAME}/stage update"],
    Task.ROTATE: [f"keys/{NAME}/stage update", f"keys/{NAME}/promote update"],
}


@pytest.mark.parametrize("task", Task)
def test_rights_in_the_engine(
    vault: VaultUnderTest, kv_mount: str, engine_mount: str, root: Root, token_with: TokenWith, task: Task
) -> None:
    """Each write that the command makes there, one missing after the other, and then all."""
    with lifecycle_on(vault, kv_mount, engine_mount=engine_mount) as keeper:
        keeper.import_key(NAME, new_key(), TEAM, Custody.ENGINE)
    name = "new" if task is Task.IMPORT else NAME
    base = f"""
        path "{kv_mount}/data/{PREFIX}/keys/+" {{ capabilities = ["create", "read", "update"] }}
        path "{kv_mount}/data/{PREFIX}/staged/+" {{ capabilities = ["create", "read", "update"] }}
        path "{kv_mount}/metadata/*" {{ capabilities = ["read"] }}
        path "{kv_mount}/config" {{ capabilities = ["read"] }}
        path "{engine_mount}/keys/+" {{ capabilities = ["read"] }}
        path "{engine_mount}/roles/+" {{ capabilities = ["read"] }}
    """
    self_paths = "".join(f'path "{path}" {{ capabilities = ["read", "update"] }}\n' for path in policy.SELF_PATHS)
    needs = [need.split() for need in IN_ENGINE[task]]
    may = [f'path "{engine_mount}/{path}" {{ capabilities = ["read", "{word}"] }}' for path, word in needs]
    for number, (path, word) in enumerate(needs):
        others = [text for at, text in enumerate(may) if at != number]
        with (
            lifecycle_on(vault, kv_mount, token_with(base, self_paths, *others), engine_mount=engine_mount) as one,
            pytest.raises(
                PermissionDeniedError, match=f'lacks "{word}" on "{engine_mount}/{path}"; the wrapping token'
            ),
        ):
            ready(one.store, name, task, no_advice, custody=Custody.ENGINE)
    with lifecycle_on(vault, kv_mount, token_with(base, self_paths, *may), engine_mount=engine_mount) as able:
        ready(able.store, name, task, no_advice, custody=Custody.ENGINE, escrow=False)
        new = new_key()  # and what it says is true
        if task is Task.IMPORT:
            able.import_key(name, new, team(key_id(2)), Custody.ENGINE)
        else:
            (able.stage if task is Task.STAGE else able.rotate)(name, new, key_id(2))


@pytest.mark.parametrize("task", [Task.STAGE, Task.ROTATE])
def test_no_role_is_made_for_a_key_that_is_there(
    vault: VaultUnderTest, kv_mount: str, engine_mount: str, root: Root, token_with: TokenWith, task: Task
) -> None:
    shipped = [
        policy.render(name, mount=kv_mount, prefix=PREFIX, engine_mount=engine_mount, custodies=(Custody.ENGINE,))
        for name in ("key-admin", "registrar")
    ]
    with lifecycle_on(vault, kv_mount, engine_mount=engine_mount) as keeper:
        keeper.import_key(NAME, new_key(), TEAM, Custody.ENGINE)
    root("DELETE", f"{engine_mount}/roles/{NAME}")
    with lifecycle_on(vault, kv_mount, token_with(*shipped), engine_mount=engine_mount) as owner:
        ready(owner.store, NAME, task, no_advice)
        (owner.stage if task is Task.STAGE else owner.rotate)(NAME, new_key(), key_id(2))


def test_a_role_of_another_name_and_one_of_another_key(
    vault: VaultUnderTest, kv_mount: str, engine_mount: str, root: Root, token_with: TokenWith
) -> None:
    shipped = [
        policy.render(name, mount=kv_mount, prefix=PREFIX, engine_mount=engine_mount, custodies=(Custody.ENGINE,))
        for name in ("key-admin", "registrar")
    ]
    with lifecycle_on(vault, kv_mount, engine_mount=engine_mount) as keeper:
        keeper.import_key("other", new_key(), TEAM, Custody.ENGINE)
        with pytest.raises(ConflictError, match=r'role "other" of engine .* gives tokens of key "other"'):
            ready(keeper.store, NAME, Task.IMPORT, no_advice, custody=Custody.ENGINE, role="other")
        with lifecycle_on(vault, kv_mount, token_with(*shipped), engine_mount=engine_mount) as owner:
            with pytest.raises(PermissionDeniedError, match=f'lacks "create" on "{engine_mount}/roles/sales"'):
                ready(owner.store, NAME, Task.IMPORT, no_advice, custody=Custody.ENGINE, role="sales")
            keeper.store.engine.create(NAME, new_key(), TEAM)
            keeper.store.engine.create_role("sales", NAME)
            ready(owner.store, NAME, Task.IMPORT, no_advice, custody=Custody.ENGINE, role="sales")


def test_nothing_is_written_and_no_secret_read(vault: VaultUnderTest, kv_mount: str, keeper: Lifecycle) -> None:
    keeper.import_key(NAME, new_key(), TEAM)
    with Wire(vault.address) as wire, lifecycle_on(vault, kv_mount, address=wire.address) as watched:
        ready(watched.store, "new", Task.IMPORT, no_advice)
        ready(watched.store, NAME, Task.ROTATE, no_advice)
        assert set(wire.writes) == {"sys/capabilities-self"}
        assert not [path for _, path in wire.calls if "/data/asc/private/" in path]
