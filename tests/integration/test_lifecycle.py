"""The commands of key owners, on a real server: what each changes, what it refuses, and who is needed for it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from tests import keys
from tests.conftest import Root
from tests.support import (
    NAME,
    PREFIX,
    TEAM,
    Wire,
    key_id,
    layout_of,
    lifecycle_at,
    mint,
    minted_with,
    new_key,
    read_by_role,
    team,
    verified,
)
from tests.vaults import VaultUnderTest
from vault_asc.clock import iso
from vault_asc.errors import (
    ConflictError,
    NotFoundError,
    PrivateKeyError,
    TokenRequestError,
    VaultError,
)
from vault_asc.key.identity import ENTERPRISE, Identity, identity
from vault_asc.key.private_key import PrivateKey
from vault_asc.lifecycle import Lifecycle
from vault_asc.names import Custody
from vault_asc.pointing import Change
from vault_asc.record import VERSION_NAMES, State
from vault_asc.store import Layout

NOW = 1_780_000_000.0


@dataclass(frozen=True)
class Keeper(Lifecycle):
    """Imports into one custody."""

    custody: Custody = Custody.KV

    def import_key(
        self,
        name: str,
        key: PrivateKey,
        identity: Identity,
        custody: Custody | None = None,
        *,
        escrow: bool = True,
        role: str | None = None,
    ) -> Change:
        return super().import_key(name, key, identity, custody or self.custody, escrow=escrow, role=role)


@pytest.fixture(params=list(Custody), ids=str)
def custody(request: pytest.FixtureRequest) -> Custody:
    return Custody(request.param)


only_kv = pytest.mark.parametrize("custody", [Custody.KV], indirect=True)
only_transit = pytest.mark.parametrize("custody", [Custody.TRANSIT], indirect=True)
only_engine = pytest.mark.parametrize("custody", [Custody.ENGINE], indirect=True)
all_but_engine = pytest.mark.parametrize("custody", [Custody.KV, Custody.TRANSIT], indirect=True)
"""What goes further back than to the version before: the engine keeps no other."""


@pytest.fixture
def layout(request: pytest.FixtureRequest) -> Layout:
    return layout_of(request)


@pytest.fixture
def keeper(vault: VaultUnderTest, layout: Layout, custody: Custody) -> Iterator[Keeper]:
    with lifecycle_at(vault, layout, clock=lambda: NOW) as made:
        yield Keeper(made.store, made.clock, custody)


def versions(keeper: Keeper) -> list[int]:
    """Their numbers, as far as they are kept."""
    if keeper.custody is not Custody.ENGINE:
        return sorted(keeper.store.private_metadata(NAME).versions)
    there = keeper.store.engine.find(NAME)
    return sorted(version.number for version in there.versions) if there else []


@pytest.fixture
def generations(keeper: Lifecycle) -> list[PrivateKey]:
    """A key that was imported and rotated twice: three keys, the last is current."""
    made = [new_key() for _ in range(3)]
    keeper.import_key(NAME, made[0], team(key_id(1)))
    for number in (2, 3):
        keeper.rotate(NAME, made[number - 1], key_id(number))
    return made


def is_current(keeper: Lifecycle, generations: list[PrivateKey], number: int) -> bool:
    record, key, kid = keeper.store.read(NAME).record, generations[number - 1], key_id(number)
    if record.custody is Custody.ENGINE:
        token = read_by_role(keeper.store)
        if token.key_id != kid:
            return False
        verified(token, key)
    return record.version == number and minted_with(keeper.store, key, kid)


# Import.


def test_import_writes_the_record_and_the_key_mints(keeper: Lifecycle) -> None:
    key = new_key()

    change = keeper.import_key(NAME, key, TEAM)

    assert change.changed
    record = change.stored.record
    assert (record.identity, record.spki_sha256, record.version) == (TEAM, key.spki_sha256, 1)
    assert (record.imported_at, record.imported_by, record.changed_by) == (iso(NOW), "root", "root")
    assert minted_with(keeper.store, key, keys.KEY_ID)


def test_same_import_again_changes_nothing(keeper: Keeper) -> None:
    key = new_key()
    first = keeper.import_key(NAME, key, TEAM)
    again = keeper.import_key(NAME, key, TEAM)
    assert (again.changed, again.stored) == (False, first.stored)
    assert versions(keeper) == [1]


@pytest.mark.parametrize(
    "who",
    [
        team(keys.OTHER_KEY_ID),
        identity(key_id=keys.KEY_ID, issuer_id=None, individual=True),
        identity(key_id=keys.KEY_ID, issuer_id=keys.ISSUER_ID, individual=False, audience=ENTERPRISE),
    ],
    ids=["key ID", "individual", "audience"],
)
def test_the_same_key_with_other_ids_is_a_conflict_that_says_what_is_recorded(keeper: Keeper, who: Identity) -> None:
    key = new_key()
    before = keeper.import_key(NAME, key, TEAM).stored

    with pytest.raises(ConflictError) as caught:
        keeper.import_key(NAME, key, who)

    assert caught.value.message == (
        f'this key is recorded as "{NAME}" with key ID {keys.KEY_ID}, issuer ID {keys.ISSUER_ID}, for {TEAM.audience};'
        " nothing was changed"
    )
    assert "under another name with the right IDs" in str(caught.value.hint)
    assert keeper.store.read(NAME) == before
    assert versions(keeper) == [1]


def test_other_key_under_a_taken_name_is_a_conflict_that_says_whose_it_is(keeper: Keeper) -> None:
    keeper.import_key(NAME, new_key(), TEAM)

    with pytest.raises(ConflictError) as caught:
        keeper.import_key(NAME, new_key(), TEAM)

    assert caught.value.message == (
        f'key "{NAME}" exists: key ID {keys.KEY_ID}, imported by root at {iso(NOW)}; nothing was changed'
    )
    assert f"vault-asc key rotate {NAME} FILE" in str(caught.value.hint)
    assert versions(keeper) == [1]


def test_import_after_destruction_begins_anew(keeper: Lifecycle) -> None:
    keeper.import_key(NAME, new_key(), TEAM)
    keeper.set_state(NAME, State.DISABLED)
    keeper.destroy(NAME)

    key = new_key()
    change = keeper.import_key(NAME, key, team(keys.OTHER_KEY_ID))

    assert (change.stored.version, change.stored.record.version) == (1, 1)
    assert minted_with(keeper.store, key, keys.OTHER_KEY_ID)


# Stage and promote.


def test_staged_key_is_seen_in_the_note_and_by_nobody_who_mints(keeper: Keeper) -> None:
    old, new = new_key(), new_key()
    before = keeper.import_key(NAME, old, TEAM).stored

    note = keeper.stage(NAME, new, keys.OTHER_KEY_ID)

    assert (note.version(keeper.custody), note.key_id, note.spki_sha256) == (2, keys.OTHER_KEY_ID, new.spki_sha256)
    assert (note.staged_at, note.staged_by) == (iso(NOW), "root")
    assert keeper.store.note(NAME)[0] == note
    assert keeper.store.read(NAME) == before
    assert versions(keeper) == [1, 2]
    assert minted_with(keeper.store, old, keys.KEY_ID)
    if keeper.custody is Custody.ENGINE:
        verified(read_by_role(keeper.store), old)


def test_staging_the_same_key_again_writes_nothing(keeper: Keeper) -> None:
    keeper.import_key(NAME, new_key(), TEAM)
    new = new_key()
    assert keeper.stage(NAME, new, keys.OTHER_KEY_ID) == keeper.stage(NAME, new, keys.OTHER_KEY_ID)
    assert versions(keeper) == [1, 2]


def test_staging_another_key_replaces_what_was_staged(keeper: Keeper) -> None:
    keeper.import_key(NAME, new_key(), TEAM)
    keeper.stage(NAME, new_key(), key_id(2))
    new = new_key()
    assert keeper.stage(NAME, new, key_id(3)).version(keeper.custody) == 3

    keeper.promote(NAME)

    assert minted_with(keeper.store, new, key_id(3))


@all_but_engine
@pytest.mark.parametrize("deed", ["delete", "destroy"])
def test_staged_version_that_is_gone_is_staged_anew(keeper: Lifecycle, root: Root, kv_mount: str, deed: str) -> None:
    keeper.import_key(NAME, new_key(), TEAM)
    new = new_key()
    keeper.stage(NAME, new, keys.OTHER_KEY_ID)
    root("POST", f"{kv_mount}/{deed}/{PREFIX}/private/{NAME}", {"versions": [2]})

    with pytest.raises(NotFoundError, match="nothing is staged"):
        keeper.promote(NAME)
    assert keeper.stage(NAME, new, keys.OTHER_KEY_ID).private_version == 3


def test_current_key_is_not_staged(keeper: Keeper) -> None:
    key = new_key()
    keeper.import_key(NAME, key, TEAM)
    with pytest.raises(PrivateKeyError, match=r"this is the current key of .* already, nothing was staged"):
        keeper.stage(NAME, key, keys.KEY_ID)
    with pytest.raises(ConflictError, match=f"recorded as .* with key ID {keys.KEY_ID}"):
        keeper.stage(NAME, key, keys.OTHER_KEY_ID)
    with pytest.raises(PrivateKeyError, match=f'key ID "{keys.KEY_ID}" is that of the current key'):
        keeper.stage(NAME, new_key(), keys.KEY_ID)
    assert versions(keeper) == [1]


Form = Callable[[str], str]


@pytest.mark.parametrize(
    "form",
    [
        lambda f: f,
        lambda f: f"SHA256:{f}",
        lambda f: f" sha256:{f.upper()}\n",
        lambda f: "SHA256:" + ":".join(f[i : i + 2] for i in range(0, len(f), 2)).upper(),
    ],
    ids=["plain", "prefix", "upper case", "colons"],
)
def test_promotion_with_the_right_fingerprint_in_any_form(keeper: Lifecycle, form: Form) -> None:
    keeper.import_key(NAME, new_key(), TEAM)
    new = new_key()
    keeper.stage(NAME, new, keys.OTHER_KEY_ID)

    change = keeper.promote(NAME, form(new.spki_sha256))

    assert change.changed
    assert minted_with(keeper.store, new, keys.OTHER_KEY_ID)
    assert not keeper.promote(NAME, form(new.spki_sha256)).changed


def test_promotion_with_another_fingerprint_is_refused_and_names_who_staged(keeper: Lifecycle) -> None:
    old, new = new_key(), new_key()
    before = keeper.import_key(NAME, old, TEAM).stored
    keeper.stage(NAME, new, keys.OTHER_KEY_ID)

    with pytest.raises(PrivateKeyError, match="another fingerprint than that") as caught:
        keeper.promote(NAME, "ab" * 32)

    assert new.spki_sha256 not in f"{caught.value.message} {caught.value.hint}"  # it would be copied

    assert f'ask whoever staged it at {iso(NOW)}, "root" by the note' in str(caught.value.hint)
    assert keeper.store.read(NAME) == before


@pytest.mark.parametrize("wrong", ["", "SHA256:", "hello", "SHA256:00", "g" * 64])
def test_what_is_no_fingerprint_is_refused_as_such(keeper: Lifecycle, wrong: str) -> None:
    keeper.import_key(NAME, new_key(), TEAM)
    keeper.stage(NAME, new_key(), keys.OTHER_KEY_ID)
    with pytest.raises(PrivateKeyError, match="is no fingerprint, nothing was changed"):
        keeper.promote(NAME, wrong)


def test_a_rotation_to_the_same_key_with_another_id_is_refused(keeper: Keeper) -> None:
    key = new_key()
    before = keeper.import_key(NAME, key, TEAM).stored
    with pytest.raises(ConflictError, match="nothing was changed"):
        keeper.rotate(NAME, key, keys.OTHER_KEY_ID)
    assert keeper.store.read(NAME) == before
    assert versions(keeper) == [1]


def test_nothing_to_promote(keeper: Lifecycle) -> None:
    keeper.import_key(NAME, new_key(), TEAM)
    with pytest.raises(NotFoundError, match=f'nothing is staged for key "{NAME}", the current key stays') as caught:
        keeper.promote(NAME)
    assert f"vault-asc key stage {NAME} FILE" in str(caught.value.hint)

    keeper.stage(NAME, new_key(), keys.OTHER_KEY_ID)
    keeper.promote(NAME)
    with pytest.raises(NotFoundError, match="nothing is staged"):
        keeper.promote(NAME)


def test_version_without_a_note_is_not_promoted(keeper: Keeper) -> None:
    keeper.import_key(NAME, new_key(), TEAM)
    if keeper.custody is Custody.ENGINE:  # left by an interrupted command
        keeper.store.engine.stage(NAME, new_key(), team(keys.OTHER_KEY_ID))
    else:
        keeper.store.write_private(NAME, new_key(), keys.OTHER_KEY_ID, cas=1)
    with pytest.raises(NotFoundError, match="nothing is staged"):
        keeper.promote(NAME)


@only_kv
def test_forged_note_gives_no_token(keeper: Lifecycle, root: Root, kv_mount: str) -> None:
    old, new = new_key(), new_key()
    keeper.import_key(NAME, old, TEAM)
    note = keeper.stage(NAME, new_key(), keys.OTHER_KEY_ID)
    forged = note._asdict() | {"spki_sha256": new.spki_sha256}
    root("POST", f"{kv_mount}/data/{PREFIX}/staged/{NAME}", {"data": forged})
    keeper.promote(NAME, new.spki_sha256)

    with pytest.raises(VaultError, match="does not belong to the record"):
        mint(keeper.store)

    keeper.rollback(NAME)
    assert minted_with(keeper.store, old, keys.KEY_ID)


@pytest.mark.parametrize("custody", [Custody.TRANSIT, Custody.ENGINE], indirect=True)
def test_forged_note_is_not_promoted_where_the_public_key_is_known(
    keeper: Keeper, root: Root, kv_mount: str, custody: Custody
) -> None:
    old, new = new_key(), new_key()
    keeper.import_key(NAME, old, TEAM)
    note = keeper.stage(NAME, new_key(), keys.OTHER_KEY_ID)
    number = f"{custody}_version"
    # Of a forged key ID Transit knows nothing.
    changes: list[dict[str, object]] = [{"spki_sha256": new.spki_sha256}, {number: 3}, {number: 1}]
    if custody is Custody.ENGINE:
        changes.append({"key_id": key_id(7)})
    for change in changes:
        root("POST", f"{kv_mount}/data/{PREFIX}/staged/{NAME}", {"data": {**note._asdict(), **change}})
        with pytest.raises(NotFoundError, match="nothing is staged"):
            keeper.promote(NAME)
    assert minted_with(keeper.store, old, keys.KEY_ID)


# Rotate.


def test_rotation_keeps_who_the_key_is_and_says_who_brought_the_new_one(keeper: Lifecycle) -> None:
    before = keeper.import_key(NAME, new_key(), TEAM).stored.record
    new = new_key()

    after = keeper.rotate(NAME, new, keys.OTHER_KEY_ID).stored.record

    assert (after.identity.issuer_id, after.identity.audience) == (before.identity.issuer_id, before.identity.audience)
    assert (after.identity.key_id, after.version) == (keys.OTHER_KEY_ID, 2)
    assert minted_with(keeper.store, new, keys.OTHER_KEY_ID)


def test_same_rotation_again_changes_nothing(keeper: Keeper) -> None:
    keeper.import_key(NAME, new_key(), TEAM)
    new = new_key()
    assert keeper.rotate(NAME, new, keys.OTHER_KEY_ID).changed
    assert not keeper.rotate(NAME, new, keys.OTHER_KEY_ID).changed
    assert versions(keeper) == [1, 2]


def test_rotation_completes_what_was_staged(keeper: Lifecycle) -> None:
    keeper.import_key(NAME, new_key(), TEAM)
    new = new_key()
    keeper.stage(NAME, new, keys.OTHER_KEY_ID)
    assert keeper.rotate(NAME, new, keys.OTHER_KEY_ID).stored.record.version == 2


def test_disabled_key_stays_disabled_when_it_is_rotated(keeper: Lifecycle) -> None:
    keeper.import_key(NAME, new_key(), TEAM)
    keeper.set_state(NAME, State.DISABLED)
    assert keeper.rotate(NAME, new_key(), keys.OTHER_KEY_ID).stored.record.state is State.DISABLED


def test_twelve_rotations_with_the_ten_versions_that_vault_keeps_and_the_two_of_the_engine(keeper: Keeper) -> None:
    keeper.import_key(NAME, new_key(), TEAM)
    for number in range(12):
        new = new_key()
        keeper.rotate(NAME, new, key_id(number))
        assert minted_with(keeper.store, new, key_id(number))
    assert versions(keeper) == ([12, 13] if keeper.custody is Custody.ENGINE else list(range(4, 14)))


def test_key_that_does_not_exist(keeper: Keeper) -> None:
    for command in (
        lambda: keeper.stage(NAME, new_key(), keys.KEY_ID),
        lambda: keeper.promote(NAME),
        lambda: keeper.rotate(NAME, new_key(), keys.KEY_ID),
        lambda: keeper.rollback(NAME),
        lambda: keeper.set_state(NAME, State.DISABLED),
    ):
        with pytest.raises(NotFoundError, match=f'no key "{NAME}" in'):
            command()
    assert versions(keeper) == []


# Rollback.


def test_rollback_goes_one_back_and_promotion_forward_again(keeper: Lifecycle, generations: list[PrivateKey]) -> None:
    change = keeper.rollback(NAME)
    assert change.changed
    assert is_current(keeper, generations, 2)

    keeper.promote(NAME, generations[2].spki_sha256)
    assert is_current(keeper, generations, 3)


@all_but_engine
def test_rollback_to_a_version_and_further_back(
    custody: Custody, keeper: Lifecycle, generations: list[PrivateKey]
) -> None:
    keeper.rollback(NAME, 1)
    assert is_current(keeper, generations, 1)
    with pytest.raises(NotFoundError, match=f"does not show an earlier key in custody {custody}, nothing was changed"):
        keeper.rollback(NAME)

    assert not keeper.rollback(NAME, 1).changed
    keeper.rollback(NAME, 3)  # forward, by number
    assert is_current(keeper, generations, 3)
    keeper.rollback(NAME)  # to what was current before, not to the next lower number
    assert is_current(keeper, generations, 1)


def test_rollback_after_a_rollback_and_a_rotation_skips_what_was_withdrawn(
    keeper: Keeper, generations: list[PrivateKey]
) -> None:
    keeper.rollback(NAME)
    generations.append(new_key())
    keeper.rotate(NAME, generations[3], key_id(4))
    assert is_current(keeper, generations, 4)
    assert versions(keeper) == ([2, 4] if keeper.custody is Custody.ENGINE else [1, 2, 3, 4])

    keeper.rollback(NAME)

    assert is_current(keeper, generations, 2)


def test_rollback_skips_what_is_no_record(
    keeper: Keeper, root: Root, kv_mount: str, generations: list[PrivateKey]
) -> None:
    path = f"{kv_mount}/data/{PREFIX}/keys/{NAME}"
    good = root("GET", path)["data"]["data"]
    for bad in ({"format": 99}, {"hello": "world"}, {**good, "key_id": "two"}, {**good, "state": "asleep"}):
        root("POST", path, {"data": bad})
    root("POST", path, {"data": good})

    keeper.rollback(NAME)
    assert is_current(keeper, generations, 2)
    if keeper.custody is not Custody.ENGINE:
        keeper.rollback(NAME, 1)
        assert is_current(keeper, generations, 1)


def test_rollback_keeps_the_state_and_restores_who_imported(keeper: Lifecycle, generations: list[PrivateKey]) -> None:
    keeper.set_state(NAME, State.DISABLED)
    record = keeper.rollback(NAME).stored.record
    assert (record.state, record.version) == (State.DISABLED, 2)
    keeper.set_state(NAME, State.ENABLED)
    assert is_current(keeper, generations, 2)


@pytest.mark.parametrize("to", [4, 99])
def test_rollback_to_a_version_that_never_was_current(
    custody: Custody, keeper: Lifecycle, generations: list[PrivateKey], to: int
) -> None:
    keeper.stage(NAME, new_key(), key_id(4))
    what = f"{VERSION_NAMES[custody]} {to}"
    with pytest.raises(NotFoundError, match=f"does not show {what}, nothing was changed") as caught:
        keeper.rollback(NAME, to)
    assert f"vault-asc key show {NAME}" in str(caught.value.hint)
    assert is_current(keeper, generations, 3)


@only_kv
@pytest.mark.parametrize("deed", ["delete", "destroy"])
def test_rollback_to_a_version_that_is_gone(
    keeper: Lifecycle, root: Root, kv_mount: str, generations: list[PrivateKey], deed: str
) -> None:
    root("POST", f"{kv_mount}/{deed}/{PREFIX}/private/{NAME}", {"versions": [2]})
    with pytest.raises(NotFoundError, match=r"private version 2 of .* is gone .*, nothing was changed"):
        keeper.rollback(NAME)
    keeper.rollback(NAME, 1)
    assert is_current(keeper, generations, 1)


@only_transit
@pytest.mark.parametrize("deed", ["delete", "destroy"])
def test_rollback_in_transit_needs_no_escrow(
    keeper: Lifecycle, root: Root, kv_mount: str, generations: list[PrivateKey], deed: str
) -> None:
    root("POST", f"{kv_mount}/{deed}/{PREFIX}/private/{NAME}", {"versions": [2]})
    keeper.rollback(NAME)
    assert is_current(keeper, generations, 2)


@only_transit
def test_rollback_in_transit_to_a_version_that_is_gone(
    keeper: Lifecycle, root: Root, transit_mount: str, generations: list[PrivateKey]
) -> None:
    for setting in ("min_decryption_version", "min_encryption_version"):
        root("POST", f"{transit_mount}/keys/{PREFIX}.{NAME}/config", {setting: 3})
    root("POST", f"{transit_mount}/keys/{PREFIX}.{NAME}/trim", {"min_available_version": 3})
    with pytest.raises(NotFoundError, match=r"Transit version 2 of .* is gone .*, nothing was changed"):
        keeper.rollback(NAME)
    assert is_current(keeper, generations, 3)


def test_rollback_reads_no_private_part(
    vault: VaultUnderTest, layout: Layout, custody: Custody, generations: list[PrivateKey]
) -> None:
    with Wire(vault.address) as wire, lifecycle_at(vault, layout, address=wire.address) as keeper:
        keeper.rollback(NAME)
        keeper.rotate(NAME, new_key(), key_id(4))
        keeper.set_state(NAME, State.DISABLED)
        keeper.destroy(NAME)
    private = f"{layout.mount}/data/{PREFIX}/private/{NAME}"
    assert ("GET", private) not in wire.calls
    assert (private in wire.writes) == (custody is not Custody.ENGINE)


# Disable, enable, destroy.


def test_disable_and_enable_twice(keeper: Lifecycle) -> None:
    key = new_key()
    keeper.import_key(NAME, key, TEAM)
    for state in (State.DISABLED, State.ENABLED):
        assert keeper.set_state(NAME, state).changed
        again = keeper.set_state(NAME, state)
        assert (again.changed, again.stored.record.state) == (False, state)
    assert minted_with(keeper.store, key, keys.KEY_ID)


def test_enabled_key_is_not_destroyed(keeper: Lifecycle) -> None:
    key = new_key()
    keeper.import_key(NAME, key, TEAM)
    with pytest.raises(TokenRequestError, match=f'key "{NAME}" is enabled, nothing was destroyed') as caught:
        keeper.destroy(NAME)
    assert f"vault-asc key disable {NAME}" in str(caught.value.hint)
    assert minted_with(keeper.store, key, keys.KEY_ID)


def test_destruction_leaves_nothing_and_can_be_repeated(keeper: Keeper, root: Root, kv_mount: str) -> None:
    keeper.import_key(NAME, new_key(), TEAM)
    keeper.import_key("other", new_key(), TEAM)
    keeper.stage(NAME, new_key(), keys.OTHER_KEY_ID)
    keeper.set_state(NAME, State.DISABLED)

    assert keeper.destroy(NAME)
    assert not keeper.destroy(NAME)

    assert keeper.store.transit.find(f"{PREFIX}.{NAME}") is None
    in_kv = ["keys"]
    if keeper.custody is Custody.ENGINE:
        engine = keeper.store.layout.engine_mount
        assert [root("LIST", f"{engine}/{kind}")["data"]["keys"] for kind in ("keys", "roles")] == [["other"]] * 2
    else:
        in_kv.append("private")
    for kind in in_kv:
        assert root("LIST", f"{kv_mount}/metadata/{PREFIX}/{kind}")["data"]["keys"] == ["other"]
    with pytest.raises(NotFoundError):
        root("LIST", f"{kv_mount}/metadata/{PREFIX}/staged")
