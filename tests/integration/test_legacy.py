"""Keys that already lie in Vault, in whatever form a team once chose."""

import base64
from collections.abc import Callable, Iterator

import pytest

from tests import keys
from tests.conftest import Root, TokenWith
from tests.support import NAME, PREFIX, TEAM, connected, minted_with, new_key
from tests.vaults import VaultUnderTest, wait_for_kv
from vault_asc.clock import system_clock
from vault_asc.errors import (
    ConfigError,
    NotFoundError,
    PermissionDeniedError,
    PrivateKeyError,
    VaultAscError,
    VaultError,
)
from vault_asc.legacy import read_from_kv
from vault_asc.lifecycle import Lifecycle
from vault_asc.store import Layout, Store
from vault_asc.vault import MissingVersionError, Vault

PATH = "old/apple"


@pytest.fixture
def client(vault: VaultUnderTest) -> Iterator[Vault]:
    with connected(vault) as made:
        yield made


@pytest.fixture(params=["version 1", "version 2", "version 2, deep"])
def put(
    request: pytest.FixtureRequest, root: Root, vault: VaultUnderTest
) -> Iterator[Callable[[dict[str, object]], str]]:
    """Put a secret at `old/apple` of a KV mount of either version; returns MOUNT/PATH."""
    version = request.param.removeprefix("version ")[0]
    mount = "team/old-kv" if "deep" in request.param else "old-kv"
    root("POST", f"sys/mounts/{mount}", {"type": "kv", "options": {"version": version}})
    if version == "2":
        wait_for_kv(vault, mount)

    def write(data: dict[str, object]) -> str:
        if version == "1":
            root("POST", f"{mount}/{PATH}", data)
        else:
            root("POST", f"{mount}/data/{PATH}", {"data": data})
        return f"{mount}/{PATH}"

    yield write
    root("DELETE", f"sys/mounts/{mount}")


Put = Callable[[dict[str, object]], str]


def test_only_field_with_a_key_is_found_with_the_ids_beside_it(client: Vault, put: Put) -> None:
    key = new_key()
    where = put(
        {"p8": key.pem.reveal(), "key_id": keys.KEY_ID, "issuer_id": keys.ISSUER_ID, "owner": "mobile", "since": 2021}
    )

    found = read_from_kv(client, where, None)

    assert found.key.spki_sha256 == key.spki_sha256
    assert (found.key_id, found.issuer_id) == (keys.KEY_ID, keys.ISSUER_ID)
    assert key.pem.reveal().splitlines()[1] not in repr(found)


@pytest.mark.parametrize(
    "form",
    [
        lambda pem: base64.b64encode(pem.encode()).decode(),
        lambda pem: pem.replace("\n", "\\n"),
        lambda pem: pem.replace("\n", "\r\n"),
        lambda pem: pem.replace("\n", " "),
    ],
    ids=["base64", "backslash-n", "CRLF", "blanks"],
)
def test_key_in_the_forms_that_people_paste(
    client: Vault, kv_mount: str, root: Root, form: Callable[[str], str]
) -> None:
    key = new_key()
    root("POST", f"{kv_mount}/data/{PATH}", {"data": {"value": form(key.pem.reveal())}})

    found = read_from_kv(client, f"{kv_mount}/{PATH}", None)

    assert (found.key.spki_sha256, found.key_id, found.issuer_id) == (key.spki_sha256, None, None)


def test_it_is_never_guessed_between_two_keys(client: Vault, put: Put) -> None:
    old, new = new_key(), new_key()
    where = put({"old": old.pem.reveal(), "new": new.pem.reveal(), "note": "hello"})

    with pytest.raises(ConfigError, match=r"has several fields with a private key \(.*\), nothing was") as caught:
        read_from_kv(client, where, None)

    assert "--field: new, note, old" in str(caught.value.hint)
    assert read_from_kv(client, where, "new").key.spki_sha256 == new.spki_sha256


def test_no_field_holds_a_key(client: Vault, put: Put) -> None:
    where = put({"note": "hello", "count": 3})
    with pytest.raises(ConfigError, match="has no field with one, nothing was imported"):
        read_from_kv(client, where, None)
    with pytest.raises(ConfigError, match='has no field "p8"') as caught:
        read_from_kv(client, where, "p8")
    assert caught.value.hint == "its fields: count, note"
    with pytest.raises(PrivateKeyError):
        read_from_kv(client, where, "note")


def test_nothing_there(client: Vault, put: Put) -> None:
    where = put({"p8": new_key().pem.reveal()})
    with pytest.raises(NotFoundError, match=rf'{where}-too" (does not exist|in Vault)|nothing at "{where}-too"'):
        read_from_kv(client, f"{where}-too", None)


@pytest.mark.parametrize(
    ("where", "kind", "message"),
    [
        ("only-a-mount", ConfigError, "is only a mount"),
        ("nowhere/old/apple", NotFoundError, 'no mount at "nowhere/old/apple"'),
        ("sys/policies", VaultError, 'is in a secrets engine of type "system", not KV'),
        ("../secret/x", ConfigError, "is not a plain path"),
        ("secret//x", ConfigError, "is not a plain path"),
        ("/secret/x", ConfigError, "is not a plain path"),
    ],
)
def test_places_that_are_none(client: Vault, where: str, kind: type[VaultAscError], message: str) -> None:
    with pytest.raises(kind, match=message):
        read_from_kv(client, where, None)


def test_mount_whose_name_has_a_slash_is_no_secret(client: Vault, root: Root) -> None:
    root("POST", "sys/mounts/team/flat", {"type": "kv", "options": {"version": "1"}})
    try:
        with pytest.raises(VaultError, match='"team/flat" is only a mount'):
            read_from_kv(client, "team/flat", None)
    finally:
        root("DELETE", "sys/mounts/team/flat")


def test_deleted_secret_says_how_to_bring_it_back(client: Vault, kv_mount: str, root: Root) -> None:
    root("POST", f"{kv_mount}/data/{PATH}", {"data": {"p8": new_key().pem.reveal()}})
    root("DELETE", f"{kv_mount}/data/{PATH}")
    with pytest.raises(MissingVersionError, match="was deleted at") as caught:
        read_from_kv(client, f"{kv_mount}/{PATH}", None)
    assert f"vault kv undelete -mount={kv_mount} -versions=1 {PATH}" in str(caught.value.hint)


def test_grant_on_the_secret_alone_is_enough(
    vault: VaultUnderTest, token_with: TokenWith, kv_mount: str, root: Root
) -> None:
    key = new_key()
    for path in (PATH, "old/other"):
        root("POST", f"{kv_mount}/data/{path}", {"data": {"p8": key.pem.reveal()}})
    token = token_with(f'path "{kv_mount}/data/{PATH}" {{ capabilities = ["read"] }}')
    with connected(vault, token) as client:
        assert read_from_kv(client, f"{kv_mount}/{PATH}", None).key.spki_sha256 == key.spki_sha256
        with pytest.raises(PermissionDeniedError, match=f'lacks "read" on "{kv_mount}/data/old/other"'):
            read_from_kv(client, f"{kv_mount}/old/other", None)


def test_what_was_found_can_be_imported(client: Vault, put: Put, kv_mount: str) -> None:
    key = new_key()
    found = read_from_kv(client, put({"p8": key.pem.reveal()}), None)
    keeper = Lifecycle(Store(client, Layout(kv_mount, PREFIX)), system_clock)

    keeper.import_key(NAME, found.key, TEAM)

    assert minted_with(keeper.store, key, keys.KEY_ID)
