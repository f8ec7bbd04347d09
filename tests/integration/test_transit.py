"""Keys in Transit, on a real server: what is sent there, what is refused, what is retired, and what lost answers cost."""

import base64
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests import keys
from tests.conftest import Root
from tests.support import (
    LOSE_ANSWER,
    LOSE_REQUEST,
    NAME,
    PREFIX,
    TEAM,
    Answer,
    Fate,
    Wire,
    key_id,
    lifecycle_on,
    mint,
    minted_with,
    new_key,
    team,
)
from tests.vaults import VaultUnderTest
from vault_asc.errors import ConfigError, ConflictError, NotFoundError, TokenRequestError, VaultError
from vault_asc.key.private_key import PrivateKey
from vault_asc.key.public_key import public_key
from vault_asc.key.wrapping import wrapped
from vault_asc.lifecycle import Lifecycle
from vault_asc.moving import Moving
from vault_asc.names import Custody
from vault_asc.record import Record, State
from vault_asc.store import Store
from vault_asc.vault import LostAnswerError, MissingVersionError, TransitKey

KEY = f"{PREFIX}.{NAME}"

with_and_without_escrow = pytest.mark.parametrize("escrow", [True, False], ids=["escrow", "no escrow"])


@pytest.fixture
def keeper(vault: VaultUnderTest, kv_mount: str, transit_mount: str) -> Iterator[Lifecycle]:
    with lifecycle_on(vault, kv_mount, transit_mount=transit_mount) as made:
        yield made


@pytest.fixture
def wire(vault: VaultUnderTest) -> Iterator[Wire]:
    with Wire(vault.address) as made:
        yield made


@pytest.fixture
def wired(vault: VaultUnderTest, kv_mount: str, transit_mount: str, wire: Wire) -> Iterator[Lifecycle]:
    with lifecycle_on(vault, kv_mount, address=wire.address, transit_mount=transit_mount) as made:
        yield made


def imported(keeper: Lifecycle, key: PrivateKey, kid: str = keys.KEY_ID, *, escrow: bool = True) -> Record:
    return keeper.import_key(NAME, key, team(kid), Custody.TRANSIT, escrow=escrow).stored.record


def in_transit(keeper: Lifecycle) -> TransitKey:
    found = keeper.store.transit.find(KEY)
    assert found is not None
    return found


def versions(keeper: Lifecycle) -> list[str]:
    """The fingerprints of the versions in Transit, the first one first."""
    return [public_key(text).spki_sha256 for _, text in sorted(in_transit(keeper).public_keys.items())]


# What is sent and kept.


@with_and_without_escrow
def test_key_in_transit_cannot_be_had_back_and_the_record_says_all_that_a_mint_needs(
    keeper: Lifecycle, root: Root, transit_mount: str, kv_mount: str, escrow: bool
) -> None:
    key = new_key()

    record = imported(keeper, key, escrow=escrow)

    facts = root("GET", f"{transit_mount}/keys/{KEY}")["data"]
    safe = {"exportable": False, "allow_plaintext_backup": False, "imported_key_allow_rotation": False}
    assert facts.items() >= (safe | {"type": "ecdsa-p256", "imported_key": True, "deletion_allowed": False}).items()
    for way in (f"export/signing-key/{KEY}", f"backup/{KEY}", f"byok-export/{KEY}/{KEY}"):
        with pytest.raises(VaultError):
            root("GET", f"{transit_mount}/{way}")
    assert (record.custody, record.transit_key, record.transit_version) == (Custody.TRANSIT, KEY, 1)
    assert record.public_key == public_key(key.public_key_pem()).text
    assert (record.private_version, record.moved_from) == (1 if escrow else None, None)
    if escrow:
        private = root("GET", f"{kv_mount}/data/{PREFIX}/private/{NAME}")["data"]["data"]
        assert private == {"private_key": key.pem.reveal(), "key_id": keys.KEY_ID}
    else:
        with pytest.raises(NotFoundError):
            root("GET", f"{kv_mount}/data/{PREFIX}/private/{NAME}")


@with_and_without_escrow
def test_private_key_leaves_this_process_wrapped_or_as_escrow_only(wire: Wire, wired: Lifecycle, escrow: bool) -> None:
    first, second = new_key(), new_key()
    imported(wired, first, escrow=escrow)
    wired.rotate(NAME, second, keys.OTHER_KEY_ID)
    mint(wired.store)

    escrows = [body for (_, path), body in zip(wire.calls, wire.bodies, strict=True) if "/private/" in path and body]
    others = [body for (_, path), body in zip(wire.calls, wire.bodies, strict=True) if "/private/" not in path]
    assert len(escrows) == (2 if escrow else 0)
    for key in (first, second):
        pem_line = key.pem.reveal().splitlines()[1].encode()
        scalar = key._ec.private_numbers().private_value.to_bytes(32, "big")
        for body in others:
            assert pem_line not in body
            assert key.der() not in unwrapped(body)
            assert scalar not in unwrapped(body)


def unwrapped(body: bytes) -> bytes:
    """The body with what it has in base64."""
    text = json.loads(body or b"{}").get("ciphertext", "")
    return body + base64.b64decode(text)


def test_same_import_again_changes_nothing_and_another_custody_is_a_conflict(keeper: Lifecycle) -> None:
    key = new_key()
    imported(keeper, key)
    assert not keeper.import_key(NAME, key, TEAM, Custody.TRANSIT).changed
    assert len(versions(keeper)) == 1
    with pytest.raises(ConflictError, match=f'this key is "{NAME}" already, in custody transit') as caught:
        keeper.import_key(NAME, key, TEAM, Custody.KV)
    assert f"vault-asc key move {NAME} --custody kv" in str(caught.value.hint)
    with pytest.raises(ConflictError, match=f'key "{NAME}" exists'):
        keeper.import_key(NAME, new_key(), team(keys.OTHER_KEY_ID), Custody.TRANSIT)
    assert len(versions(keeper)) == 1


def test_no_key_is_said_to_be_without_escrow_while_there_is_one(keeper: Lifecycle) -> None:
    key = new_key()
    keeper.store.write_private(NAME, key, keys.KEY_ID, cas=0)  # left by an interrupted import
    with pytest.raises(VaultError, match="would not be without escrow; nothing was written") as left:
        imported(keeper, key, escrow=False)
    assert f"vault kv metadata delete {keeper.store.layout.mount}/{PREFIX}/private/{NAME}" in str(left.value.hint)
    assert keeper.store.transit.find(KEY) is None

    imported(keeper, key)
    with pytest.raises(ConflictError, match="already, with escrow in KV; nothing was changed") as there:
        imported(keeper, key, escrow=False)
    assert f"vault-asc key move {NAME} --finish --remove-copy" in str(there.value.hint)
    Moving(keeper).finish(NAME, remove_copy=True, granted=True)
    assert not keeper.import_key(NAME, key, TEAM, Custody.TRANSIT, escrow=False).changed
    assert minted_with(keeper.store, key, keys.KEY_ID)


def test_keys_of_two_prefixes_do_not_meet(vault: VaultUnderTest, keeper: Lifecycle) -> None:
    layout = keeper.store.layout
    other = Lifecycle(Store(keeper.store.vault, layout._replace(prefix="asc/team-a")), keeper.clock)
    first, second = new_key(), new_key()
    imported(keeper, first)
    assert imported(other, second, keys.OTHER_KEY_ID).transit_key == f"asc.team-a.{NAME}"
    assert minted_with(keeper.store, first, keys.KEY_ID)
    assert minted_with(other.store, second, keys.OTHER_KEY_ID)

    dotted = Lifecycle(Store(keeper.store.vault, layout._replace(prefix="asc.team-a")), keeper.clock)
    with pytest.raises(ConfigError, match="has a dot"):
        imported(dotted, new_key())
    dotted.import_key(NAME, first, TEAM)
    dotted.set_state(NAME, State.DISABLED)
    assert dotted.destroy(NAME)
    assert not dotted.destroy(NAME)
    assert minted_with(other.store, second, keys.OTHER_KEY_ID)


# What is refused.


NOT_OURS: dict[str, tuple[dict[str, object], str, str]] = {
    "exportable": ({"type": "ecdsa-p256", "exportable": True}, "", "can be exported or backed up in plain text"),
    "backup": ({"type": "ecdsa-p256", "allow_plaintext_backup": True}, "", "can be exported or backed up"),
    "exportable and imported": ({"type": "ecdsa-p256", "exportable": True}, "/import", "can be exported or backed up"),
    "generated": ({"type": "ecdsa-p256"}, "", "was generated by Transit, not imported"),
    "rotated by Transit": ({"type": "ecdsa-p256", "allow_rotation": True}, "/import", "was generated by Transit"),
    "other curve": ({"type": "ecdsa-p384"}, "", "is of type ecdsa-p384, not ecdsa-p256"),
    "other algorithm": ({"type": "ed25519"}, "", "is of type ed25519, not ecdsa-p256"),
    "encryption": ({"type": "aes256-gcm96"}, "", "is of type aes256-gcm96, not ecdsa-p256"),
    "hmac": ({"type": "hmac", "key_size": 32}, "", "is of type hmac, not ecdsa-p256"),
}


@pytest.mark.parametrize("case", NOT_OURS)
def test_key_of_that_name_that_is_none_of_ours_is_refused_before_anything_is_written(
    wire: Wire, wired: Lifecycle, root: Root, transit_mount: str, case: str
) -> None:
    body, how, message = NOT_OURS[case]
    key = new_key()
    if how:
        body = body | {"ciphertext": wrapped(key, wired.store.transit.wrapping_key()), "hash_function": "SHA256"}
    root("POST", f"{transit_mount}/keys/{KEY}{how}", body)
    if case == "rotated by Transit":
        root("POST", f"{transit_mount}/keys/{KEY}/rotate")
    wired.import_key("other", key, TEAM)
    wire.calls.clear()

    for escrow in (True, False):
        with pytest.raises(VaultError, match=rf'key "{KEY}" in Transit mount ".*" {message}.*, so it is not used'):
            imported(wired, key, escrow=escrow)
    assert wire.writes == []
    assert wired.store.find(NAME) is None


def test_key_that_became_exportable_is_not_staged_rotated_or_moved_to(
    keeper: Lifecycle, root: Root, transit_mount: str
) -> None:
    key = new_key()
    imported(keeper, key)
    root("POST", f"{transit_mount}/keys/{KEY}/config", {"exportable": True})

    for command in (
        lambda: keeper.stage(NAME, new_key(), keys.OTHER_KEY_ID),
        lambda: keeper.rotate(NAME, new_key(), keys.OTHER_KEY_ID),
    ):
        with pytest.raises(VaultError, match="can be exported or backed up in plain text, so it is not used"):
            command()
    Moving(keeper).move(NAME, Custody.KV, granted=True)
    with pytest.raises(VaultError, match="can be exported or backed up in plain text, so it is not used"):
        Moving(keeper).move(NAME, Custody.TRANSIT, granted=True)
    assert minted_with(keeper.store, key, keys.KEY_ID)
    assert len(versions(keeper)) == 1


@pytest.mark.parametrize("kind", ["kv", "missing", "below"])
def test_mount_that_is_no_transit_is_told_before_anything_is_written(
    vault: VaultUnderTest, kv_mount: str, transit_mount: str, wire: Wire, kind: str
) -> None:
    mount, message, hint = {
        "kv": (kv_mount, 'is on a secrets engine of type "kv", not Transit', "store.transit_mount"),
        "missing": ("nowhere", 'there is no mount at "nowhere"', "vault secrets enable -path=nowhere transit"),
        "below": (f"{transit_mount}/x", "is no mount but a path below", f'store.transit_mount = "{transit_mount}"'),
    }[kind]
    with lifecycle_on(vault, kv_mount, address=wire.address, transit_mount=mount) as keeper:
        keeper.import_key("other", new_key(), TEAM)
        wire.calls.clear()
        for command in (
            lambda: imported(keeper, new_key()),
            lambda: imported(keeper, new_key(), escrow=False),
            lambda: Moving(keeper).move("other", Custody.TRANSIT, granted=True),
        ):
            with pytest.raises(VaultError, match=f"{message}.*; nothing was written") as caught:
                command()
            assert hint in str(caught.value.hint)
        assert wire.writes == []


# What an interruption, or a removal, has left.


def test_import_goes_on_where_the_same_one_was_interrupted(keeper: Lifecycle) -> None:
    key = new_key()
    keeper.placement.transit.put(NAME, key, None)

    assert imported(keeper, key).transit_version == 1

    assert versions(keeper) == [key.spki_sha256]
    assert minted_with(keeper.store, key, keys.KEY_ID)


def test_key_in_transit_is_never_shared_with_what_somebody_else_has_put_there(keeper: Lifecycle) -> None:
    foreign, key = new_key(), new_key()
    keeper.placement.transit.put(NAME, foreign, None)
    keeper.import_key("other", new_key(), TEAM)

    with pytest.raises(ConflictError, match=r"is in Transit already with another key.*nothing was imported"):
        imported(keeper, key)

    assert not keeper.destroy("other-name")
    assert not keeper.destroy(NAME)  # refused before the escrow was written
    assert versions(keeper) == [foreign.spki_sha256]
    assert keeper.destroy(NAME, leftover=True)
    assert imported(keeper, key).transit_version == 1


def test_version_that_is_retired_is_imported_anew_and_not_brought_back(keeper: Lifecycle, root: Root) -> None:
    key = new_key()
    imported(keeper, key)
    keeper.stage(NAME, new_key(), keys.OTHER_KEY_ID)
    moving = Moving(keeper)
    moving.move(NAME, Custody.KV, granted=True)
    keeper.store.transit.retire_below(KEY, 2)

    assert moving.move(NAME, Custody.TRANSIT, granted=True).stored.record.transit_version == 3

    assert in_transit(keeper).retired_below == 2
    assert minted_with(keeper.store, key, keys.KEY_ID)


@with_and_without_escrow
def test_key_that_was_deleted_in_transit_is_replaced_by_two_people(keeper: Lifecycle, escrow: bool) -> None:
    new = new_key()
    imported(keeper, new_key(), escrow=escrow)
    keeper.rotate(NAME, new_key(), key_id(2))
    keeper.rotate(NAME, new_key(), key_id(3))
    keeper.store.transit.delete(KEY)
    with pytest.raises(MissingVersionError, match=r"Transit version 3 .* is missing"):
        mint(keeper.store)

    note = keeper.stage(NAME, new, key_id(4))  # Transit begins to count anew
    assert keeper.stage(NAME, new, key_id(4)) == note
    assert keeper.promote(NAME, new.spki_sha256).changed

    assert versions(keeper) == [new.spki_sha256]
    assert minted_with(keeper.store, new, key_id(4))


def test_key_that_was_deleted_in_transit_comes_back_from_escrow(keeper: Lifecycle) -> None:
    key = new_key()
    imported(keeper, key)
    keeper.store.transit.delete(KEY)

    for custody in (Custody.KV, Custody.TRANSIT):
        Moving(keeper).move(NAME, custody, granted=True)
        assert minted_with(keeper.store, key, keys.KEY_ID)


def test_rotation_back_to_an_older_key_is_a_new_version(keeper: Lifecycle) -> None:
    old = new_key()
    imported(keeper, old)
    keeper.rotate(NAME, new_key(), keys.OTHER_KEY_ID)
    assert keeper.rotate(NAME, old, keys.KEY_ID).stored.record.transit_version == 3
    assert minted_with(keeper.store, old, keys.KEY_ID)


# Retiring.


def test_retired_versions_sign_no_more_and_a_rollback_brings_them_back(keeper: Lifecycle) -> None:
    made = [new_key() for _ in range(3)]
    imported(keeper, made[0], key_id(0))
    for number in (1, 2):
        keeper.rotate(NAME, made[number], key_id(number))

    assert keeper.retire(NAME)
    assert not keeper.retire(NAME)

    for version in (1, 2):
        with pytest.raises(MissingVersionError, match=f"version {version} .* is retired") as caught:
            keeper.store.transit.sign(KEY, version, b"message")
        assert caught.value.state == "retired"
    assert minted_with(keeper.store, made[2], key_id(2))

    keeper.rollback(NAME)
    assert minted_with(keeper.store, made[1], key_id(1))
    with pytest.raises(MissingVersionError, match=r"version 1 .* is retired"):
        keeper.store.transit.sign(KEY, 1, b"message")  # only as far back as it has to be

    keeper.promote(NAME, made[2].spki_sha256)
    assert keeper.retire(NAME)
    keeper.rollback(NAME, 1)
    assert minted_with(keeper.store, made[0], key_id(0))


def test_what_is_staged_survives_a_retirement(keeper: Lifecycle) -> None:
    imported(keeper, new_key())
    new = new_key()
    keeper.stage(NAME, new, keys.OTHER_KEY_ID)
    assert keeper.retire(NAME)
    keeper.promote(NAME, new.spki_sha256)
    assert minted_with(keeper.store, new, keys.OTHER_KEY_ID)


def test_retirement_of_the_current_version_is_taken_back_as_the_hint_says(
    keeper: Lifecycle, root: Root, transit_mount: str
) -> None:
    key = new_key()
    imported(keeper, key)
    keeper.stage(NAME, new_key(), keys.OTHER_KEY_ID)
    root("POST", f"{transit_mount}/keys/{KEY}/config", {"min_encryption_version": 2})

    with pytest.raises(MissingVersionError, match=r"Transit version 1 .* is retired") as caught:
        mint(keeper.store)
    assert f"vault-asc key retire {NAME}" in str(caught.value.hint)

    assert keeper.retire(NAME)
    assert minted_with(keeper.store, key, keys.KEY_ID)


def test_in_kv_nothing_can_be_retired(keeper: Lifecycle) -> None:
    keeper.import_key(NAME, new_key(), TEAM)
    with pytest.raises(TokenRequestError, match="is in custody kv, where older versions cannot be retired") as caught:
        keeper.retire(NAME)
    assert f"vault-asc key move {NAME} --custody transit" in str(caught.value.hint)


# Lost answers.


def lose(wire: Wire, fate: Fate, path: str) -> None:
    wire.lose_once("POST", path, fate)


@with_and_without_escrow
@pytest.mark.parametrize("fate", [LOSE_ANSWER, LOSE_REQUEST])
def test_import_whose_answer_is_lost_is_recognised_or_repeated(
    wire: Wire, wired: Lifecycle, fate: str, escrow: bool
) -> None:
    key = new_key()
    lose(wire, fate, f"/keys/{KEY}/import")

    if fate is LOSE_REQUEST:
        with pytest.raises(LostAnswerError, match=f"/keys/{KEY}/import"):
            imported(wired, key, escrow=escrow)
        assert wired.store.find(NAME) is None
    imported(wired, key, escrow=escrow)

    assert versions(wired) == [key.spki_sha256]
    assert minted_with(wired.store, key, keys.KEY_ID)


@with_and_without_escrow
@pytest.mark.parametrize("fate", [LOSE_ANSWER, LOSE_REQUEST])
@pytest.mark.parametrize("command", ["stage", "rotate"])
def test_further_version_whose_answer_is_lost_is_recognised_or_repeated(
    wire: Wire, wired: Lifecycle, fate: str, escrow: bool, command: str
) -> None:
    old, new = new_key(), new_key()
    imported(wired, old, escrow=escrow)
    lose(wire, fate, f"/keys/{KEY}/import_version")
    run: Callable[[], object] = lambda: getattr(wired, command)(NAME, new, keys.OTHER_KEY_ID)  # noqa: E731 - used twice

    if fate is LOSE_REQUEST:
        with pytest.raises(LostAnswerError, match=f"/keys/{KEY}/import_version"):
            run()
        assert minted_with(wired.store, old, keys.KEY_ID)
    run()

    assert versions(wired) == [old.spki_sha256, new.spki_sha256]
    if command == "stage":
        wired.promote(NAME, new.spki_sha256)
    assert minted_with(wired.store, new, keys.OTHER_KEY_ID)


@pytest.mark.parametrize("fate", [LOSE_ANSWER, LOSE_REQUEST])
@pytest.mark.parametrize("command", ["retire", "rollback"])
def test_setting_whose_answer_is_lost_leaves_a_key_that_signs_and_the_repetition_completes(
    wire: Wire, wired: Lifecycle, fate: str, command: str
) -> None:
    old, new = new_key(), new_key()
    imported(wired, old)
    wired.rotate(NAME, new, keys.OTHER_KEY_ID)
    if command == "rollback":
        wired.retire(NAME)
    lose(wire, fate, f"/keys/{KEY}/config")

    with pytest.raises(LostAnswerError, match=f"/keys/{KEY}/config"):
        getattr(wired, command)(NAME)
    assert minted_with(wired.store, new, keys.OTHER_KEY_ID)

    getattr(wired, command)(NAME)
    if command == "rollback":
        assert minted_with(wired.store, old, keys.KEY_ID)
    else:
        assert in_transit(wired).retired_below == 2
        assert minted_with(wired.store, new, keys.OTHER_KEY_ID)


@pytest.mark.parametrize("fate", [LOSE_ANSWER, LOSE_REQUEST])
@pytest.mark.parametrize(("method", "lost"), [("POST", "/config"), ("DELETE", f"/keys/{KEY}")])
def test_destruction_whose_answer_is_lost_is_repeated(
    wire: Wire, wired: Lifecycle, fate: str, method: str, lost: str
) -> None:
    imported(wired, new_key())
    wired.set_state(NAME, State.DISABLED)
    wire.lose_once(method, lost, fate)

    with pytest.raises(LostAnswerError, match=f"/keys/{KEY}"):
        wired.destroy(NAME)
    assert wired.store.find(NAME) is not None
    wired.destroy(NAME)

    assert wired.store.find(NAME) is None
    assert wired.store.transit.find(KEY) is None


@pytest.mark.parametrize("fate", [LOSE_ANSWER, LOSE_REQUEST])
@pytest.mark.parametrize("lost", ["import", "record"])
@pytest.mark.parametrize("file", [True, False], ids=["file", "no file"])
def test_move_whose_answer_is_lost_is_recognised_or_repeated(
    wire: Wire, wired: Lifecycle, fate: str, lost: str, file: bool
) -> None:
    key = new_key()
    wired.import_key(NAME, key, TEAM)
    lose(wire, fate, f"/keys/{KEY}/import" if lost == "import" else f"data/{PREFIX}/keys/{NAME}")

    def move() -> bool:
        return Moving(wired).move(NAME, Custody.TRANSIT, key if file else None, granted=True).changed

    if fate is LOSE_REQUEST:
        with pytest.raises(LostAnswerError):
            move()
        assert wired.store.read(NAME).record.custody is Custody.KV
        assert minted_with(wired.store, key, keys.KEY_ID)
    assert move()
    assert not move()

    assert versions(wired) == [key.spki_sha256]
    assert minted_with(wired.store, key, keys.KEY_ID)


# Answers that are not what was asked for.


def reported(key: PrivateKey) -> Answer:
    """Transit's facts of a key, with the public half of this one."""
    facts: dict[str, Any] = {
        "type": "ecdsa-p256",
        "imported_key": True,
        "keys": {"1": {"public_key": key.public_key_pem()}},
    }
    no = dict.fromkeys(("exportable", "allow_plaintext_backup", "deletion_allowed"), False)
    return Answer(200, json.dumps({"data": facts | no | {"min_encryption_version": 0}}).encode())


def test_nothing_points_to_a_key_that_is_reported_as_another(wire: Wire, wired: Lifecycle) -> None:
    answer = reported(new_key())

    def fate(method: str, path: str) -> Fate:
        done = any(written.endswith("/import") for written in wire.writes)
        return answer if done and method == "GET" and path.endswith(f"/keys/{KEY}") else None

    wire.fate = fate

    with pytest.raises(VaultError, match=f'does not report the public key of what was imported as "{KEY}"') as caught:
        imported(wired, new_key(), escrow=False)

    assert caught.value.hint
    assert wired.store.find(NAME) is None


@pytest.mark.parametrize(
    ("signature", "message"),
    [
        ("vault:v1:" + "A" * 86, "what it signs does not verify"),
        ("vault:v1:", "what it signs does not verify"),
        ("vault:v1:!!!", "what it signs does not verify"),
        ("vault:v1:\u00e4", "what it signs does not verify"),
        ("vault:v1:MEUCIQD", "what it signs does not verify"),
        ("vault:v1", "is not what Vault sends"),
        ("", "is not what Vault sends"),
        (None, "is not what Vault sends"),
        (7, "is not what Vault sends"),
    ],
)
def test_answer_that_is_no_signature_gives_no_token(
    wire: Wire, wired: Lifecycle, signature: object, message: str
) -> None:
    imported(wired, new_key())
    answer = Answer(200, json.dumps({"data": {"signature": signature}}).encode())
    wire.fate = lambda _method, path: answer if "/sign/" in path else None

    with pytest.raises(VaultError, match=message) as caught:
        mint(wired.store)

    assert caught.value.hint


def test_signature_of_another_message_gives_no_token(wire: Wire, wired: Lifecycle, root: Root) -> None:
    imported(wired, new_key())
    replayed = wired.store.transit.sign(KEY, 1, b"another message")
    answer = Answer(200, json.dumps({"data": {"signature": f"vault:v1:{replayed}"}}).encode())
    wire.fate = lambda _method, path: answer if "/sign/" in path else None

    with pytest.raises(VaultError, match="what it signs does not verify with the record's public key"):
        mint(wired.store)


@pytest.mark.parametrize("fate", [LOSE_ANSWER, LOSE_REQUEST, Answer(503, b'{"errors": []}')])
def test_signature_whose_answer_is_lost_is_asked_for_again_like_any_reading(
    wire: Wire, wired: Lifecycle, fate: Fate
) -> None:
    key = new_key()
    imported(wired, key)
    wire.calls.clear()
    lose(wire, fate, "/sign/")

    assert minted_with(wired.store, key, keys.KEY_ID)

    assert [path.partition("/")[2].partition("/")[0] for _, path in wire.calls] == ["data", "sign", "sign"]


def test_mint_asks_for_the_record_and_one_signature_of_its_version_and_nothing_else(
    wire: Wire, wired: Lifecycle, kv_mount: str, transit_mount: str
) -> None:
    imported(wired, new_key())
    wired.stage(NAME, new_key(), keys.OTHER_KEY_ID)
    wire.calls.clear()
    wire.bodies.clear()

    mint(wired.store)

    assert wire.calls == [("GET", f"{kv_mount}/data/{PREFIX}/keys/{NAME}"), ("POST", f"{transit_mount}/sign/{KEY}")]
    body = json.loads(wire.bodies[1])
    assert body.pop("input")
    assert body == {"hash_algorithm": "sha2-256", "marshaling_algorithm": "jws", "key_version": 1}
