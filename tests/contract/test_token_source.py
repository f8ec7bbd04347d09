"""What every custody promises to whoever mints by name, and how each says that it cannot."""

import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import pytest

from tests import keys
from tests.conftest import Root
from tests.support import NAME, PREFIX, TEAM, key_id, lifecycle_on, mint, new_key, team, verified
from tests.vaults import VaultUnderTest
from vault_asc.clock import system_clock
from vault_asc.custody import KeyTokenSource, TokenSource
from vault_asc.errors import TokenRequestError, VaultAscError, VaultError
from vault_asc.key.identity import ENTERPRISE, Identity, identity
from vault_asc.key.private_key import PrivateKey
from vault_asc.key.public_key import public_key
from vault_asc.key.wrapping import wrapped
from vault_asc.lifecycle import Lifecycle
from vault_asc.names import Custody
from vault_asc.record import State, StoredRecord
from vault_asc.store import Store
from vault_asc.tokens import TokenRequest
from vault_asc.vault import MissingVersionError


@dataclass(frozen=True)
class Kept:
    """A way to keep a key: how it comes there, and how it is lost."""

    custody: Custody
    escrow: bool = True

    def place(self, keeper: Lifecycle, key: PrivateKey, who: Identity, name: str = NAME) -> None:
        keeper.import_key(name, key, who, self.custody, escrow=self.escrow)

    def lose(self, keeper: Lifecycle) -> None:
        """Whatever could sign is gone, the record stays."""
        layout = keeper.store.layout
        if self.custody is Custody.KV:
            keeper.store.vault.kv_delete_all(layout.mount, layout.private(NAME))
        elif self.custody is Custody.TRANSIT:
            keeper.store.transit.delete(layout.transit(NAME))
        else:
            role = keeper.store.read(NAME).record.role
            keeper.store.engine.delete(NAME, str(role))


KEPT: Final[Mapping[str, Kept]] = {
    "kv": Kept(Custody.KV),
    "transit": Kept(Custody.TRANSIT),
    "transit without escrow": Kept(Custody.TRANSIT, escrow=False),
    "engine": Kept(Custody.ENGINE),
}


def test_this_suite_runs_for_every_custody() -> None:
    assert {kept.custody for kept in KEPT.values()} == set(Custody)


@pytest.fixture(params=KEPT)
def kept(request: pytest.FixtureRequest) -> Kept:
    return KEPT[request.param]


@pytest.fixture
def keeper(vault: VaultUnderTest, kv_mount: str, transit_mount: str, engine_mount: str) -> Iterator[Lifecycle]:
    with lifecycle_on(vault, kv_mount, transit_mount=transit_mount, engine_mount=engine_mount) as made:
        yield made


@dataclass(frozen=True)
class RacedStore(Store):
    """A store in which something happens between the reading of the record and the signature."""

    meanwhile: list[Callable[[], object]] = field(default_factory=list)
    record_reads: list[int] = field(default_factory=list)

    def read(self, name: str, version: int | None = None) -> StoredRecord:
        stored = super().read(name, version)
        self.record_reads.append(stored.version)
        if self.meanwhile:
            self.meanwhile.pop(0)()
        return stored


def source(store: Store, now: float | None = None) -> TokenSource:
    """At that moment, which is one of today, because the engine has a clock of its own."""
    return KeyTokenSource(store, NAME, system_clock if now is None else lambda: now)


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
    kept: Kept, keeper: Lifecycle, who: Identity, whose: dict[str, str]
) -> None:
    key = new_key()
    kept.place(keeper, key, who)

    now = int(time.time()) + 0.9
    minted = source(keeper.store, now).token(TokenRequest(600, scope=("GET /v1/apps",)))

    header, claims = verified(minted.token, key)
    assert header == {"alg": "ES256", "kid": who.key_id, "typ": "JWT"}
    if kept.custody is Custody.ENGINE:
        assert abs(claims["iat"] + 60 - time.time()) < 30  # its own clock, not ours
        issued = claims["iat"]
    else:
        issued = int(now) - 60
    assert claims == whose | {"iat": issued, "exp": issued + 600, "scope": ["GET /v1/apps"]}
    assert minted.stored.record.identity == who
    assert minted.stored.record.custody is kept.custody
    assert minted.stored.record.spki_sha256 == key.spki_sha256


def test_kid_follows_the_record(kept: Kept, keeper: Lifecycle) -> None:
    first, second = new_key(), new_key()
    kept.place(keeper, first, TEAM)
    keeper.rotate(NAME, second, keys.OTHER_KEY_ID)

    header, _ = verified(source(keeper.store).token(TokenRequest()).token, second)

    assert header["kid"] == keys.OTHER_KEY_ID == keeper.store.read(NAME).record.identity.key_id


def test_a_version_that_is_only_staged_signs_nothing(kept: Kept, keeper: Lifecycle) -> None:
    first, second = new_key(), new_key()
    kept.place(keeper, first, TEAM)
    note = keeper.stage(NAME, second, keys.OTHER_KEY_ID)
    assert note.version(kept.custody) == 2  # the newest, and in Transit what signs when no version is said

    header, _ = verified(source(keeper.store).token(TokenRequest()).token, first)

    assert header["kid"] == keys.KEY_ID


def test_disabled_key_mints_nothing_and_says_who_disabled_it(kept: Kept, keeper: Lifecycle) -> None:
    kept.place(keeper, new_key(), TEAM)
    keeper.set_state(NAME, State.DISABLED)

    with pytest.raises(TokenRequestError, match=f'key "{NAME}" was disabled by root at 20') as caught:
        mint(keeper.store)

    assert f"vault-asc key enable {NAME}" in str(caught.value.hint)
    keeper.set_state(NAME, State.ENABLED)
    mint(keeper.store)


def test_missing_key(kept: Kept, keeper: Lifecycle) -> None:
    kept.place(keeper, new_key(), TEAM)

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


# What can be wrong with a key in Transit, or with what the record says of it.


@dataclass(frozen=True)
class InTransit:
    """The key `asc.prod` in the hands of somebody who may do everything."""

    keeper: Lifecycle
    root: Root
    kv: str
    transit: str

    @property
    def path(self) -> str:
        return f"{self.transit}/keys/{PREFIX}.{NAME}"

    def delete(self) -> None:
        self.keeper.store.transit.delete(f"{PREFIX}.{NAME}")

    def put(self, key: PrivateKey, *, further: bool = False) -> None:
        transit = self.keeper.store.transit
        transit.put(f"{PREFIX}.{NAME}", wrapped(key, transit.wrapping_key()), further=further)

    def configure(self, setting: str, value: object) -> None:
        self.root("POST", f"{self.path}/config", {setting: value})

    def replace(self, body: dict[str, object], how: str = "") -> None:
        self.delete()
        self.root("POST", self.path + how, body)

    def rewrite_record(self, **change: object) -> None:
        path = f"{self.kv}/data/{PREFIX}/keys/{NAME}"
        self.root("POST", path, {"data": self.root("GET", path)["data"]["data"] | change})


def _swap(there: InTransit, _key: PrivateKey) -> None:
    there.delete()
    there.put(new_key())


def _move_pointer(there: InTransit, _key: PrivateKey) -> None:
    there.put(new_key(), further=True)
    there.rewrite_record(transit_version=2)


def _retire(there: InTransit, setting: str) -> None:
    there.put(new_key(), further=True)
    there.configure(setting, 2)


def _spki(key: PrivateKey) -> str:
    return public_key(key.public_key_pem()).text


NOT_ITS_SIGNATURE: Final = "what it signs does not verify with the record's public key, so no token was minted"
NOT_ITS_FINGERPRINT: Final = "the record's public key has not the record's fingerprint, so no token was minted"
WRONG_IN_TRANSIT: Final[dict[str, tuple[Callable[[InTransit, PrivateKey], None], str]]] = {
    "deleted": (
        lambda there, _key: there.delete(),
        r'Transit version 1 of key "prod" is missing \(deleted with its key, or never imported\)$',
    ),
    "retired": (lambda there, _key: _retire(there, "min_encryption_version"), "Transit version 1 .* is retired$"),
    "archived": (
        lambda there, _key: _retire(there, "min_decryption_version"),
        r'Transit version 1 of key "prod" is missing \(deleted with its key, or never imported\)$',
    ),
    "never imported": (
        lambda there, _key: there.rewrite_record(transit_version=7),
        r'Transit version 7 of key "prod" is missing \(deleted with its key, or never imported\)$',
    ),
    "swapped": (_swap, NOT_ITS_SIGNATURE),
    "other version": (_move_pointer, NOT_ITS_SIGNATURE),
    "generated": (lambda there, _key: there.replace({"type": "ecdsa-p256"}), NOT_ITS_SIGNATURE),
    "other curve": (lambda there, _key: there.replace({"type": "ecdsa-p384"}), NOT_ITS_SIGNATURE),
    "other algorithm": (lambda there, _key: there.replace({"type": "ed25519"}), NOT_ITS_SIGNATURE),
    "encryption key": (
        lambda there, _key: there.replace({"type": "aes256-gcm96"}),
        "key type aes256-gcm96 does not support signing",
    ),
    "public half only": (
        lambda there, key: there.replace({"type": "ecdsa-p256", "public_key": key.public_key_pem()}, "/import"),
        "does not contain a private part",
    ),
    "public key of another": (
        lambda there, _key: there.rewrite_record(public_key=_spki(new_key())),
        NOT_ITS_FINGERPRINT,
    ),
    "public key of no kind": (lambda there, _key: there.rewrite_record(public_key="aGVsbG8="), NOT_ITS_FINGERPRINT),
    "fingerprint of another": (
        lambda there, _key: there.rewrite_record(spki_sha256=new_key().spki_sha256),
        NOT_ITS_FINGERPRINT,
    ),
    "name of a path": (
        lambda there, _key: there.rewrite_record(transit_key="asc.prod/sha2-512"),
        "is no record of vault-asc: ValueError transit_key",
    ),
    "version 0": (
        lambda there, _key: there.rewrite_record(transit_version=0),
        "is no record of vault-asc: ValueError transit_version is 0",
    ),
}


@pytest.mark.parametrize("case", WRONG_IN_TRANSIT)
@pytest.mark.parametrize("escrow", [True, False], ids=["escrow", "no escrow"])
def test_damaged_key_in_transit_is_refused_by_a_message_of_its_own(
    keeper: Lifecycle, root: Root, kv_mount: str, transit_mount: str, case: str, escrow: bool
) -> None:
    damage, message = WRONG_IN_TRANSIT[case]
    key = new_key()
    keeper.import_key(NAME, key, TEAM, Custody.TRANSIT, escrow=escrow)
    damage(InTransit(keeper, root, kv_mount, transit_mount), key)

    with pytest.raises(VaultError, match=message) as caught:
        mint(keeper.store)

    assert caught.value.hint
    assert [other for other, (_, regex) in WRONG_IN_TRANSIT.items() if re.search(regex, caught.value.message)] == [
        other for other, (_, regex) in WRONG_IN_TRANSIT.items() if regex == message
    ]
    assert_says_nothing_of(key, caught.value)


def test_transit_mount_that_is_not_there(keeper: Lifecycle) -> None:
    keeper.import_key(NAME, new_key(), TEAM, Custody.TRANSIT)
    elsewhere = Store(keeper.store.vault, keeper.store.layout._replace(transit_mount="nowhere"))

    with pytest.raises(VaultError, match='there is no mount at "nowhere"') as caught:
        mint(elsewhere)

    assert "vault secrets enable -path=nowhere transit" in str(caught.value.hint)


# What can be wrong with a key in the engine, with its role, or with what the record says of them.


@dataclass(frozen=True)
class InEngine:
    """The key `prod` and its role in the hands of somebody who may do everything."""

    keeper: Lifecycle
    root: Root
    kv: str
    engine: str

    def write(self, path: str, **data: object) -> None:
        self.root("POST", f"{self.engine}/{path}", data)

    def delete(self, *paths: str) -> None:
        for path in paths:
            self.root("DELETE", f"{self.engine}/{path}")

    def replace(self, kid: str, key: PrivateKey, who: Identity = TEAM) -> None:
        """The same name, from the start, for another key."""
        self.delete(f"roles/{NAME}", f"keys/{NAME}")
        self.keeper.store.engine.create(NAME, key, who._replace(key_id=kid))
        self.write(f"roles/{NAME}", key=NAME)

    def rewrite_record(self, **change: object) -> None:
        path = f"{self.kv}/data/{PREFIX}/keys/{NAME}"
        self.root("POST", path, {"data": self.root("GET", path)["data"]["data"] | change})


def _push_out(there: InEngine, _key: PrivateKey) -> None:
    for number in (1, 2):
        there.keeper.store.engine.stage(NAME, new_key(), TEAM._replace(key_id=key_id(number)))
        there.write(f"keys/{NAME}/promote")


def _repoint_role(there: InEngine, _key: PrivateKey) -> None:
    there.keeper.store.engine.create("other", new_key(), TEAM)
    there.write(f"roles/{NAME}", key="other")


NOT_ITS_KEY: Final = "the token is not signed by the record's key, so no token was minted"
WRONG_IN_ENGINE: Final[dict[str, tuple[Callable[[InEngine, PrivateKey], None], str]]] = {
    "no role": (
        lambda there, _key: there.delete(f"roles/{NAME}"),
        'key "prod" gives no token by its role "prod": there is no role "prod"$',
    ),
    "no key": (
        lambda there, _key: there.keeper.store.engine.delete(NAME, NAME),
        'key "prod" gives no token by its role "prod": there is no role "prod"$',
    ),
    "pushed out by newer ones": (
        _push_out,
        'engine version 1 of key "prod" is missing: version 1 of key "prod" is not kept',
    ),
    "version of the future": (
        lambda there, _key: there.rewrite_record(engine_version=7),
        'engine version 7 of key "prod" is missing: version 7 of key "prod" is not kept',
    ),
    "swapped": (lambda there, _key: there.replace(keys.KEY_ID, new_key()), NOT_ITS_KEY),
    "swapped with another ID": (lambda there, key: there.replace(keys.OTHER_KEY_ID, key), NOT_ITS_KEY),
    "role of another key": (_repoint_role, NOT_ITS_KEY),
    "other issuer": (
        lambda there, key: there.replace(keys.KEY_ID, key, INDIVIDUAL),
        "the token is of another issuer or audience, so no token was minted",
    ),
    "other audience": (
        lambda there, key: there.replace(keys.KEY_ID, key, OF_ENTERPRISE),
        "the token is of another issuer or audience, so no token was minted",
    ),
    "disabled there": (
        lambda there, _key: there.write(f"keys/{NAME}/disable"),
        'role "prod" gave no token: key "prod" is disabled$',
    ),
    "public key of another": (
        lambda there, _key: there.rewrite_record(public_key=_spki(new_key())),
        NOT_ITS_FINGERPRINT,
    ),
    "fingerprint of another": (
        lambda there, _key: there.rewrite_record(spki_sha256=new_key().spki_sha256),
        NOT_ITS_FINGERPRINT,
    ),
    "role of a path": (
        lambda there, _key: there.rewrite_record(role="../keys/prod"),
        "is no record of vault-asc: ValueError role",
    ),
    "version 0": (
        lambda there, _key: there.rewrite_record(engine_version=0),
        "is no record of vault-asc: ValueError engine_version is 0",
    ),
}


@pytest.mark.parametrize("case", WRONG_IN_ENGINE)
def test_damaged_key_in_the_engine_is_refused_by_a_message_of_its_own(
    keeper: Lifecycle, root: Root, kv_mount: str, engine_mount: str, case: str
) -> None:
    damage, message = WRONG_IN_ENGINE[case]
    key = new_key()
    keeper.import_key(NAME, key, TEAM, Custody.ENGINE)
    damage(InEngine(keeper, root, kv_mount, engine_mount), key)

    with pytest.raises(VaultAscError, match=message) as caught:
        mint(keeper.store)

    assert caught.value.hint
    assert_says_nothing_of(key, caught.value)


def test_engine_mount_that_is_not_there(keeper: Lifecycle) -> None:
    keeper.import_key(NAME, new_key(), TEAM, Custody.ENGINE)
    elsewhere = Store(keeper.store.vault, keeper.store.layout._replace(engine_mount="nowhere"))

    with pytest.raises(VaultError, match='there is no mount at "nowhere"') as caught:
        mint(elsewhere)

    assert "vault secrets enable -path=nowhere asc" in str(caught.value.hint)


def test_role_narrows_what_its_key_gives_and_a_request_narrows_further(
    keeper: Lifecycle, root: Root, engine_mount: str
) -> None:
    key = new_key()
    keeper.import_key(NAME, key, TEAM, Custody.ENGINE)
    calls = ["GET /v1/apps", "GET /v1/users"]
    root("POST", f"{engine_mount}/roles/{NAME}", {"scope": calls, "lifetime": 600})

    def claims(request: TokenRequest) -> tuple[int, list[str]]:
        _, said = verified(mint(keeper.store, request=request).token, key)
        return said["exp"] - said["iat"], said["scope"]

    assert claims(TokenRequest()) == (600, calls)
    assert claims(TokenRequest(300, ("GET /v1/users",))) == (300, ["GET /v1/users"])
    for wider, why in (
        (TokenRequest(601), "601 s is more than"),
        (TokenRequest(scope=("GET /v1/builds",)), "the scope"),
    ):
        with pytest.raises(TokenRequestError, match=f'role "{NAME}" gave no token: .*{why}') as caught:
            mint(keeper.store, request=wider)
        assert caught.value.hint


# Races between the reading of the record and the signature.


def test_rotation_and_loss_in_between_costs_one_more_read_and_no_error(kept: Kept, keeper: Lifecycle) -> None:
    new = new_key()
    kept.place(keeper, new_key(), TEAM)

    def meanwhile() -> None:
        keeper.rotate(NAME, new, keys.OTHER_KEY_ID)
        if kept.custody is not Custody.KV:
            keeper.retire(NAME)
        else:
            layout = keeper.store.layout
            keeper.store.vault.ask(
                "POST", f"{layout.mount}/destroy/{layout.private(NAME)}", "update", {"versions": [1]}
            )

    raced = RacedStore(keeper.store.vault, keeper.store.layout, [meanwhile])

    token = mint(raced).token

    assert raced.record_reads == [1, 2]
    header, _ = verified(token, new)
    assert header["kid"] == keys.OTHER_KEY_ID


def test_rotation_in_between_still_mints_with_the_key_of_the_record_that_was_read(
    kept: Kept, keeper: Lifecycle
) -> None:
    old = new_key()
    kept.place(keeper, old, TEAM)
    raced = RacedStore(
        keeper.store.vault, keeper.store.layout, [lambda: keeper.rotate(NAME, new_key(), keys.OTHER_KEY_ID)]
    )

    header, _ = verified(mint(raced).token, old)

    assert header["kid"] == keys.KEY_ID
    assert raced.record_reads == [1]


def test_key_that_is_disabled_and_lost_in_between_is_not_minted_from(kept: Kept, keeper: Lifecycle) -> None:
    kept.place(keeper, new_key(), TEAM)

    def meanwhile() -> None:
        keeper.set_state(NAME, State.DISABLED)
        kept.lose(keeper)

    with pytest.raises(TokenRequestError, match="was disabled by"):
        mint(RacedStore(keeper.store.vault, keeper.store.layout, [meanwhile]))


def test_second_loss_in_a_row_is_reported_for_the_key_and_not_tried_for_ever(kept: Kept, keeper: Lifecycle) -> None:
    kept.place(keeper, new_key(), TEAM)

    def lose(number: int) -> None:
        keeper.rotate(NAME, new_key(), key_id(number))
        kept.lose(keeper)

    raced = RacedStore(keeper.store.vault, keeper.store.layout, [lambda: lose(1), lambda: lose(2)])

    with pytest.raises(
        MissingVersionError, match=f'version 2 of key "{NAME}" is missing|key "{NAME}" gives no token'
    ) as caught:
        mint(raced)

    assert raced.record_reads == [1, 2]
    assert caught.value.hint


def test_lost_key_is_back_after_the_rotation_that_the_hint_names(kept: Kept, keeper: Lifecycle) -> None:
    new = new_key()
    kept.place(keeper, new_key(), TEAM)
    kept.lose(keeper)
    with pytest.raises(MissingVersionError, match=r"is missing|gives no token") as caught:
        mint(keeper.store)
    assert f"vault-asc key rotate {NAME} FILE" in str(caught.value.hint)

    keeper.rotate(NAME, new, keys.OTHER_KEY_ID)

    verified(mint(keeper.store).token, new)


def test_same_key_under_two_names_keeps_two_identities(kept: Kept, keeper: Lifecycle) -> None:
    key = new_key()
    kept.place(keeper, key, team(key_id(1)), "one")
    kept.place(keeper, key, team(key_id(2)), "two")

    assert [mint(keeper.store, name).token.key_id for name in ("one", "two")] == [key_id(1), key_id(2)]
