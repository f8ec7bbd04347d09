"""What every custody promises to whoever mints by name, and how each says that it cannot."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import pytest

from tests import keys
from tests.conftest import Root
from tests.support import NAME, PREFIX, TEAM, key_id, lifecycle_on, mint, new_key, team, verified
from tests.vaults import VaultUnderTest
from vault_asc.custody import KeyTokenSource, TokenSource
from vault_asc.errors import TokenRequestError, VaultAscError, VaultError
from vault_asc.key.identity import ENTERPRISE, Identity, identity
from vault_asc.key.private_key import PrivateKey
from vault_asc.lifecycle import Lifecycle
from vault_asc.names import Custody
from vault_asc.record import State, StoredRecord
from vault_asc.store import Store
from vault_asc.tokens import TokenRequest
from vault_asc.vault import KvSecret, MissingVersionError

NOW: Final = 1_780_000_000.9


def _place_in_kv(keeper: Lifecycle, key: PrivateKey, who: Identity) -> None:
    keeper.import_key(NAME, key, who)


PLACE: Final[Mapping[Custody, Callable[[Lifecycle, PrivateKey, Identity], None]]] = {Custody.KV: _place_in_kv}
"""How a key comes into each custody; a custody without an entry fails this suite."""


@pytest.fixture(params=list(Custody), ids=str)
def custody(request: pytest.FixtureRequest) -> Custody:
    assert isinstance(request.param, Custody)
    return request.param


@pytest.fixture
def keeper(vault: VaultUnderTest, kv_mount: str) -> Iterator[Lifecycle]:
    with lifecycle_on(vault, kv_mount) as made:
        yield made


@dataclass(frozen=True)
class RacedStore(Store):
    """A store in which something happens between the reading of the record and that of the private part."""

    meanwhile: list[Callable[[], object]] = field(default_factory=list)
    record_reads: list[int] = field(default_factory=list)

    def read(self, name: str, version: int | None = None) -> StoredRecord:
        stored = super().read(name, version)
        self.record_reads.append(stored.version)
        return stored

    def read_private(self, stored: StoredRecord) -> KvSecret:
        if self.meanwhile:
            self.meanwhile.pop(0)()
        return super().read_private(stored)


def source(store: Store) -> TokenSource:
    return KeyTokenSource(store, NAME, lambda: NOW)


INDIVIDUAL = identity(key_id=keys.KEY_ID, issuer_id=None, individual=True)
OF_ENTERPRISE = identity(key_id=keys.KEY_ID, issuer_id=keys.ISSUER_ID, individual=False, audience=ENTERPRISE)


@pytest.mark.parametrize(
    ("who", "whose"),
    [
        (TEAM, {"iss": keys.ISSUER_ID, "aud": "appstoreconnect-v1"}),
        (INDIVIDUAL, {"sub": "user", "aud": "appstoreconnect-v1"}),
        (OF_ENTERPRISE, {"iss": keys.ISSUER_ID, "aud": "apple-developer-enterprise-v1"}),
    ],
    ids=["team", "individual", "enterprise"],
)
def test_token_has_exactly_the_claims_and_the_keys_signature(
    custody: Custody, keeper: Lifecycle, who: Identity, whose: dict[str, str]
) -> None:
    key = new_key()
    PLACE[custody](keeper, key, who)

    minted = source(keeper.store).token(TokenRequest(lifetime=600, scope=("GET /v1/apps",)))

    header, claims = verified(minted.token, key)
    assert header == {"alg": "ES256", "kid": who.key_id, "typ": "JWT"}
    issued = int(NOW) - 60
    assert claims == whose | {"iat": issued, "exp": issued + 600, "scope": ["GET /v1/apps"]}
    assert minted.stored.record.identity == who
    assert minted.stored.record.custody is custody
    assert minted.stored.record.spki_sha256 == key.spki_sha256


def test_kid_follows_the_record(custody: Custody, keeper: Lifecycle) -> None:
    first, second = new_key(), new_key()
    PLACE[custody](keeper, first, TEAM)
    keeper.rotate(NAME, second, keys.OTHER_KEY_ID)

    header, _ = verified(source(keeper.store).token(TokenRequest()).token, second)

    assert header["kid"] == keys.OTHER_KEY_ID == keeper.store.read(NAME).record.identity.key_id


def test_disabled_key_mints_nothing_and_says_who_disabled_it(custody: Custody, keeper: Lifecycle) -> None:
    PLACE[custody](keeper, new_key(), TEAM)
    keeper.set_state(NAME, State.DISABLED)

    with pytest.raises(TokenRequestError, match=f'key "{NAME}" was disabled by root at 20') as caught:
        mint(keeper.store)

    assert f"vault-asc key enable {NAME}" in str(caught.value.hint)
    keeper.set_state(NAME, State.ENABLED)
    mint(keeper.store)


def test_missing_key(custody: Custody, keeper: Lifecycle) -> None:
    PLACE[custody](keeper, new_key(), TEAM)

    with pytest.raises(MissingVersionError, match='no key "nope" in') as caught:
        mint(keeper.store, "nope")

    assert caught.value.exit_code == 7
    assert "vault-asc key list" in str(caught.value.hint)


# What can be wrong with a private part in KV.


@dataclass(frozen=True)
class PrivatePart:
    """The private part of `prod` in the hands of somebody who may write it."""

    root: Root
    mount: str

    def replace(self, data: Mapping[str, Any]) -> None:
        """Version 1 again, with other contents: what only a removal for good makes possible."""
        self.root("DELETE", f"{self.mount}/metadata/{PREFIX}/private/{NAME}")
        self.write(data)

    def write(self, data: Mapping[str, Any]) -> None:
        self.root("POST", f"{self.mount}/data/{PREFIX}/private/{NAME}", {"data": data})

    def act(self, verb: str) -> None:
        self.root("POST", f"{self.mount}/{verb}/{PREFIX}/private/{NAME}", {"versions": [1]})

    def prune(self) -> None:
        self.root("POST", f"{self.mount}/metadata/{PREFIX}/private/{NAME}", {"max_versions": 2})
        for _ in range(2):
            self.write({})

    def remove(self) -> None:
        self.root("DELETE", f"{self.mount}/metadata/{PREFIX}/private/{NAME}")


def _facts(key: PrivateKey, kid: str = keys.KEY_ID) -> dict[str, str]:
    return {"private_key": key.pem.reveal(), "key_id": kid}


Damage = Callable[[PrivatePart, PrivateKey], None]
WRONG: Final[dict[str, tuple[Damage, str]]] = {
    "swapped": (
        lambda part, _key: part.replace(_facts(new_key())),
        "does not belong to the record: fingerprint or key ID differ, so no token was minted",
    ),
    "key ID": (
        lambda part, key: part.replace(_facts(key, keys.OTHER_KEY_ID)),
        "does not belong to the record: fingerprint or key ID differ, so no token was minted",
    ),
    "no key ID": (
        lambda part, key: part.replace({"private_key": key.pem.reveal()}),
        "does not belong to the record: fingerprint or key ID differ, so no token was minted",
    ),
    "garbage": (
        lambda part, _key: part.replace({"private_key": "hello", "key_id": keys.KEY_ID}),
        "private version 1 of key .* is not usable: ",
    ),
    "no text": (
        lambda part, _key: part.replace({"private_key": {"a": 1}, "key_id": keys.KEY_ID}),
        "private version 1 of key .* is not usable: ",
    ),
    "no private key": (lambda part, _key: part.replace({"key_id": keys.KEY_ID}), "holds no private_key"),
    "deleted": (lambda part, _key: part.act("delete"), r'private version 1 of key "prod" was deleted at 20\d\d-'),
    "destroyed": (lambda part, _key: part.act("destroy"), 'private version 1 of key "prod" was destroyed$'),
    "pruned": (
        lambda part, _key: part.prune(),
        r'private version 1 of key "prod" is missing \(never written, or pruned by max_versions\)$',
    ),
    "removed": (
        lambda part, _key: part.remove(),
        r'private version 1 of key "prod" is missing \(never written, or pruned by max_versions\)$',
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_damaged_private_part_is_refused_by_a_message_of_its_own(
    keeper: Lifecycle, root: Root, kv_mount: str, case: str
) -> None:
    damage, message = WRONG[case]
    key = new_key()
    keeper.import_key(NAME, key, TEAM)
    damage(PrivatePart(root, kv_mount), key)

    with pytest.raises(VaultError, match=message) as caught:
        mint(keeper.store)

    assert caught.value.hint
    assert [other for other, (_, regex) in WRONG.items() if re.search(regex, caught.value.message)] == [
        other for other, (_, regex) in WRONG.items() if regex == message
    ]
    assert_says_nothing_of(key, caught.value)


def assert_says_nothing_of(key: PrivateKey, error: VaultAscError) -> None:
    told: list[str] = []
    cause: BaseException | None = error
    while cause is not None:
        told += [str(cause), repr(cause), str(getattr(cause, "hint", ""))]
        cause = cause.__cause__ or cause.__context__
    for line in key.pem.reveal().splitlines()[1:-1]:
        assert not any(line in text for text in told)


def test_deleted_private_part_comes_back_as_the_hint_says(keeper: Lifecycle, root: Root, kv_mount: str) -> None:
    keeper.import_key(NAME, new_key(), TEAM)
    part = PrivatePart(root, kv_mount)
    part.act("delete")

    with pytest.raises(MissingVersionError) as caught:
        mint(keeper.store)

    undelete = f"vault kv undelete -mount={kv_mount} -versions=1 {PREFIX}/private/{NAME}"
    assert caught.value.hint == f"bring it back with: {undelete}"
    part.act("undelete")
    mint(keeper.store)


def test_destroyed_private_part_is_left_by_the_rollback_that_the_hint_names(
    keeper: Lifecycle, root: Root, kv_mount: str
) -> None:
    old = new_key()
    keeper.import_key(NAME, old, TEAM)
    keeper.rotate(NAME, new_key(), keys.OTHER_KEY_ID)
    root("POST", f"{kv_mount}/destroy/{PREFIX}/private/{NAME}", {"versions": [2]})

    with pytest.raises(MissingVersionError, match=r"private version 2 .* was destroyed") as caught:
        mint(keeper.store)

    assert f"vault-asc key rollback {NAME}" in str(caught.value.hint)
    keeper.rollback(NAME)
    verified(mint(keeper.store).token, old)


# Races between the two reads of a mint.


def test_rotation_and_destruction_between_the_reads_costs_one_more_read_and_no_error(
    keeper: Lifecycle, root: Root, kv_mount: str
) -> None:
    new = new_key()
    keeper.import_key(NAME, new_key(), TEAM)
    part = PrivatePart(root, kv_mount)

    def meanwhile() -> None:
        keeper.rotate(NAME, new, keys.OTHER_KEY_ID)
        part.act("destroy")

    raced = RacedStore(keeper.store.vault, keeper.store.layout, [meanwhile])

    token = mint(raced).token

    assert raced.record_reads == [1, 2]
    header, _ = verified(token, new)
    assert header["kid"] == keys.OTHER_KEY_ID


def test_rotation_between_the_reads_still_mints_with_the_key_of_the_record_that_was_read(keeper: Lifecycle) -> None:
    old = new_key()
    keeper.import_key(NAME, old, TEAM)
    raced = RacedStore(
        keeper.store.vault, keeper.store.layout, [lambda: keeper.rotate(NAME, new_key(), keys.OTHER_KEY_ID)]
    )

    header, _ = verified(mint(raced).token, old)

    assert header["kid"] == keys.KEY_ID
    assert raced.record_reads == [1]


def test_key_that_is_disabled_between_the_reads_is_not_minted_from(
    keeper: Lifecycle, root: Root, kv_mount: str
) -> None:
    keeper.import_key(NAME, new_key(), TEAM)
    part = PrivatePart(root, kv_mount)

    def meanwhile() -> None:
        keeper.set_state(NAME, State.DISABLED)
        part.act("destroy")

    with pytest.raises(TokenRequestError, match="was disabled by"):
        mint(RacedStore(keeper.store.vault, keeper.store.layout, [meanwhile]))


def test_second_loss_in_a_row_is_reported_for_the_key_and_not_tried_for_ever(
    keeper: Lifecycle, root: Root, kv_mount: str
) -> None:
    keeper.import_key(NAME, new_key(), TEAM)

    def lose(number: int) -> None:
        keeper.rotate(NAME, new_key(), key_id(number))
        root("POST", f"{kv_mount}/destroy/{PREFIX}/private/{NAME}", {"versions": [number, number + 1]})

    raced = RacedStore(keeper.store.vault, keeper.store.layout, [lambda: lose(1), lambda: lose(2)])

    with pytest.raises(MissingVersionError, match=f'private version 2 of key "{NAME}" was destroyed') as caught:
        mint(raced)

    assert raced.record_reads == [1, 2]
    assert caught.value.hint


def test_same_key_under_two_names_keeps_two_identities(keeper: Lifecycle) -> None:
    key = new_key()
    keeper.import_key("one", key, team(key_id(1)))
    keeper.import_key("two", key, team(key_id(2)))

    assert [mint(keeper.store, name).token.key_id for name in ("one", "two")] == [key_id(1), key_id(2)]
