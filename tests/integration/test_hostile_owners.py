"""Owners of keys who mean harm, are overtaken, or lack a right halfway: what of others, and of their own, stays safe."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import permutations

import pytest

from tests import keys
from tests.conftest import Root, TokenWith
from tests.support import (
    LOSE_REQUEST,
    NAME,
    PREFIX,
    TEAM,
    Wire,
    in_step,
    key_id,
    layout_of,
    lifecycle_at,
    mint,
    minted_with,
    new_key,
    read_by_role,
    shipped_on,
    team,
    verified,
)
from tests.vaults import VaultUnderTest
from vault_asc.errors import (
    ConflictError,
    NotFoundError,
    PermissionDeniedError,
    PrivateKeyError,
    TokenRequestError,
    VaultAscError,
    VaultError,
)
from vault_asc.key.identity import identity
from vault_asc.key.private_key import PrivateKey
from vault_asc.lifecycle import Lifecycle
from vault_asc.moving import Moving
from vault_asc.names import Custody
from vault_asc.record import BadRecordError, Note, Record, State
from vault_asc.store import Store
from vault_asc.tokens import TokenRequest
from vault_asc.vault import LostAnswerError

each_way = pytest.mark.parametrize(
    ("start", "to"), [pytest.param(*way, id="from {} to {}".format(*way)) for way in permutations(Custody, 2)]
)


@dataclass(frozen=True)
class OvertakenStore(Store):
    """A store in which somebody else changes the record just before it is written."""

    other: Callable[[], object]

    def write_record(self, name: str, record: Record, *, cas: int) -> int:
        self.other()
        return super().write_record(name, record, cas=cas)


@pytest.fixture
def keeper(request: pytest.FixtureRequest, vault: VaultUnderTest) -> Iterator[Lifecycle]:
    with lifecycle_at(vault, layout_of(request)) as made:
        yield made


AsRoles = Callable[..., Lifecycle]


@pytest.fixture
def as_roles(vault: VaultUnderTest, keeper: Lifecycle, token_with: TokenWith) -> Iterator[AsRoles]:
    with shipped_on(vault, keeper.store.layout, token_with) as made:
        yield made


def bend(root: Root, keeper: Lifecycle, name: str, **facts: object) -> None:
    """Write a record as somebody may who may write records."""
    path = f"{keeper.store.layout.mount}/data/{PREFIX}/keys/{name}"
    root("POST", path, {"data": root("GET", path)["data"]["data"] | facts})


@pytest.mark.parametrize("custody", list(Custody), ids=str)
def test_record_that_points_to_the_transit_key_of_another_name_is_good_for_nothing(
    keeper: Lifecycle, root: Root, custody: Custody
) -> None:
    victim = new_key()
    keeper.import_key("victim", victim, TEAM, Custody.TRANSIT)
    keeper.import_key(NAME, new_key(), team(key_id(7)), custody)
    keeper.set_state(NAME, State.DISABLED)
    facts = keeper.store.read("victim").record.dump()
    bent = {field: facts[field] for field in ("transit_key", "transit_version", "public_key", "spki_sha256", "key_id")}
    bend(root, keeper, NAME, **bent)

    commands: list[Callable[[], object]] = [
        lambda: mint(keeper.store),
        lambda: keeper.set_state(NAME, State.ENABLED),
        lambda: keeper.rotate(NAME, new_key(), key_id(8)),
        lambda: keeper.rollback(NAME),
        lambda: keeper.retire(NAME),
        lambda: keeper.destroy(NAME),
        lambda: Moving(keeper).move(NAME, next(c for c in Custody if c is not custody), granted=True),
        lambda: Moving(keeper).finish(NAME, remove_copy=True, granted=True),
    ]
    for command in commands:
        with pytest.raises(BadRecordError, match=r'names the key "asc\.victim" in Transit, which is not its own'):
            command()

    assert minted_with(keeper.store, victim, keys.KEY_ID, "victim")


def test_stores_of_two_kv_mounts_on_one_transit_mount_never_share_a_key(
    vault: VaultUnderTest, keeper: Lifecycle, root: Root
) -> None:
    key = new_key()
    keeper.import_key(NAME, key, TEAM, Custody.TRANSIT)
    mount = f"{keeper.store.layout.mount}-second"
    root("POST", f"sys/mounts/{mount}", {"type": "kv", "options": {"version": "2"}})
    try:
        with lifecycle_at(vault, keeper.store.layout._replace(mount=mount)) as second:
            with pytest.raises(ConflictError, match="is in Transit already with another key"):
                second.import_key(NAME, new_key(), TEAM, Custody.TRANSIT, escrow=False)
            second.import_key(NAME, new_key(), TEAM)
            with pytest.raises(ConflictError, match="is in Transit already with another key"):
                Moving(second).move(NAME, Custody.TRANSIT, granted=True)
            second.set_state(NAME, State.DISABLED)
            assert second.destroy(NAME)
            assert not second.destroy(NAME)
    finally:
        root("DELETE", f"sys/mounts/{mount}")
    assert minted_with(keeper.store, key, keys.KEY_ID)


def test_note_with_a_key_id_that_was_not_told_is_not_promoted(keeper: Lifecycle) -> None:
    new = new_key()
    keeper.import_key(NAME, new_key(), TEAM)
    note = keeper.stage(NAME, new, key_id(2))
    forged = note._replace(key_id="XXXXXXXXXX", staged_by="alice (entity 1)")
    keeper.store.write_note(NAME, forged, cas=keeper.store.note(NAME)[1])

    with pytest.raises(PrivateKeyError, match=f'noted with another key ID than "{key_id(2)}", nothing was changed'):
        keeper.promote(NAME, new.spki_sha256, key_id(2))

    keeper.store.write_note(NAME, note, cas=keeper.store.note(NAME)[1])
    assert keeper.promote(NAME, new.spki_sha256, key_id(2)).changed


def test_note_whose_key_id_is_none_stages_nothing(keeper: Lifecycle) -> None:
    keeper.import_key(NAME, new_key(), TEAM)
    note = keeper.stage(NAME, new_key(), key_id(2))
    bad = Note(note.private_version, "'\" X\n", note.spki_sha256, note.staged_at, note.staged_by)
    keeper.store.write_note(NAME, bad, cas=keeper.store.note(NAME)[1])
    assert keeper.store.note(NAME)[0] is None


# Removing what a move has left.


@each_way
def test_removal_that_is_not_allowed_changes_nothing(
    keeper: Lifecycle, as_roles: AsRoles, start: Custody, to: Custody
) -> None:
    key = new_key()
    keeper.import_key(NAME, key, TEAM, start)
    Moving(keeper).move(NAME, to, key, granted=True)
    before = keeper.store.read(NAME)

    with pytest.raises(PermissionDeniedError, match=r'lacks "delete" on .*; nothing was changed'):
        Moving(as_roles("registrar", "auditor")).finish(NAME, remove_copy=True, granted=True)

    assert keeper.store.read(NAME) == before
    Moving(keeper).move(NAME, start, key, granted=True)
    assert minted_with(keeper.store, key, keys.KEY_ID)


@each_way
def test_removal_that_was_interrupted_is_neither_forgotten_nor_built_upon(
    vault: VaultUnderTest, keeper: Lifecycle, start: Custody, to: Custody
) -> None:
    layout, key = keeper.store.layout, new_key()
    keeper.import_key(NAME, key, TEAM, start, escrow=False)
    Moving(keeper).move(NAME, to, key, granted=True)
    with Wire(vault.address) as wire, lifecycle_at(vault, layout, address=wire.address) as doomed:
        wire.fate = lambda method, path: LOSE_REQUEST if method == "DELETE" or path.endswith("/config") else None
        with pytest.raises(LostAnswerError, match="no answer"):
            Moving(doomed).finish(NAME, remove_copy=True, granted=True)

    with pytest.raises(ConflictError, match=f'what lies of "{NAME}" in custody {start} is being removed by root'):
        Moving(keeper).move(NAME, start, key, granted=True)
    if start is Custody.KV:  # the proxy has let the deletion through in no case
        keeper.store.write_private(NAME, key, keys.KEY_ID, cas=keeper.store.private_metadata(NAME).current_version)
    elif start is Custody.TRANSIT:
        keeper.placement.transit.put(NAME, key, None)
    with pytest.raises(TokenRequestError, match="was about to be removed, and is still there"):
        Moving(keeper).finish(NAME, granted=True)

    assert Moving(keeper).finish(NAME, remove_copy=True, granted=True).changed
    assert keeper.store.read(NAME).record.moved_from is None
    assert not keeper.leftovers(NAME)
    assert keeper.store.private_metadata(NAME).current_version == (1 if to is Custody.KV else 0)
    assert minted_with(keeper.store, key, keys.KEY_ID)


# Retired versions.


def test_rollback_that_loses_leaves_retired_what_was_retired(keeper: Lifecycle, root: Root) -> None:
    keeper.import_key(NAME, new_key(), TEAM, Custody.TRANSIT)
    keeper.rotate(NAME, new_key(), key_id(2))
    keeper.retire(NAME)
    transit, where = keeper.store.transit, keeper.store.layout.transit(NAME)
    store = OvertakenStore(keeper.store.vault, keeper.store.layout, lambda: bend(root, keeper, NAME, changed_by="bob"))
    slow = Lifecycle(store, keeper.clock)

    with pytest.raises(ConflictError, match="was changed by bob"):
        slow.rollback(NAME)

    found = transit.find(where)
    assert found is not None
    assert found.retired_below == 2
    assert mint(keeper.store, request=TokenRequest(600)).token.key_id == key_id(2)


def test_rollback_tells_that_retired_versions_can_sign_again(keeper: Lifecycle) -> None:
    keeper.import_key(NAME, new_key(), TEAM, Custody.TRANSIT)
    keeper.rotate(NAME, new_key(), key_id(2))
    assert not keeper.rollback(NAME).reopened
    keeper.promote(NAME)
    keeper.retire(NAME)
    assert keeper.rollback(NAME).reopened


# Keys in the engine.


@pytest.fixture
def in_engine(keeper: Lifecycle) -> list[PrivateKey]:
    """A key in the engine with a version before the current one, and one that is staged."""
    made = [new_key() for _ in range(3)]
    keeper.import_key(NAME, made[0], team(key_id(0)), Custody.ENGINE)
    keeper.rotate(NAME, made[1], key_id(1))
    keeper.stage(NAME, made[2], key_id(2))
    return made


def test_key_admin_alone_pushes_out_what_is_staged_and_nothing_that_signs(
    keeper: Lifecycle, as_roles: AsRoles, in_engine: list[PrivateKey]
) -> None:
    engine, mount = as_roles("key-admin").store.engine, keeper.store.layout.engine_mount
    for number in range(4):
        engine.stage(NAME, new_key(), team(key_id(90 + number)))

    there = keeper.store.engine.find(NAME)
    assert there is not None
    assert there.previous is not None
    assert [there.previous.spki_sha256, there.current.spki_sha256] == [key.spki_sha256 for key in in_engine[:2]]
    deeds: dict[str, Callable[[], object]] = {
        "keys/prod": lambda: engine.vault.ask("POST", f"{mount}/keys/{NAME}", "update", {"key_id": key_id(9)}),
        "keys/prod again": lambda: engine.create(NAME, new_key(), team(key_id(9))),
        "promote": lambda: engine.promote(NAME, 7),
        "rollback": lambda: engine.roll_back(NAME, 1),
        "retire": lambda: engine.retire(NAME, 2),
        "disable": lambda: engine.set_enabled(NAME, enabled=False),
        "delete": lambda: engine.vault.ask("DELETE", f"{mount}/keys/{NAME}", "delete"),
        "role": lambda: engine.create_role(NAME, NAME),
        "token": lambda: read_by_role(keeper.store.__class__(engine.vault, keeper.store.layout)),
    }
    for deed in deeds.values():
        with pytest.raises(PermissionDeniedError):
            deed()
    with pytest.raises(NotFoundError, match="nothing is staged"):
        keeper.promote(NAME, in_engine[2].spki_sha256)  # it was pushed out
    verified(read_by_role(keeper.store), in_engine[1])
    assert minted_with(keeper.store, in_engine[1], key_id(1))
    keeper.rollback(NAME)
    assert minted_with(keeper.store, in_engine[0], key_id(0))


def test_what_is_staged_under_another_issuer_than_the_key_has_is_not_promoted(
    keeper: Lifecycle, in_engine: list[PrivateKey]
) -> None:
    """The note says nothing of it, and by the role tokens are read without a record."""
    individual = identity(key_id=key_id(2), issuer_id=None, individual=True)
    keeper.store.engine.stage(NAME, in_engine[2], individual)
    note, cas = keeper.store.note(NAME)
    assert note is not None
    staged = keeper.store.engine.find(NAME)
    assert staged is not None
    assert staged.staged is not None
    keeper.store.write_note(NAME, note._replace(engine_version=staged.staged.number), cas=cas)

    with pytest.raises(NotFoundError, match="nothing is staged"):
        keeper.promote(NAME, in_engine[2].spki_sha256, key_id(2))

    verified(read_by_role(keeper.store), in_engine[1])


def test_version_of_the_record_is_not_pushed_out_by_a_promotion_that_follows_an_interrupted_one(
    keeper: Lifecycle, in_engine: list[PrivateKey]
) -> None:
    keeper.store.engine.promote(NAME, 3)  # and the record was not written
    keeper.store.engine.stage(NAME, new_key(), team(key_id(9)))  # past the command that refuses that
    mine = keeper.store.engine.find(NAME)
    assert mine is not None
    assert mine.staged is not None
    note, cas = keeper.store.note(NAME)
    assert note is not None
    forged = note._replace(engine_version=4, key_id=key_id(9), spki_sha256=mine.staged.spki_sha256)
    keeper.store.write_note(NAME, forged, cas=cas)

    with pytest.raises(ConflictError, match="engine version 3 is current in the engine, 2 by the record"):
        keeper.promote(NAME)

    assert minted_with(keeper.store, in_engine[1], key_id(1))
    assert keeper.rollback(NAME, 2).changed  # as the hint says
    assert in_step(keeper.store)
    verified(read_by_role(keeper.store), in_engine[1])


def test_role_that_was_pointed_to_another_key_gives_no_token_by_name_and_is_not_removed(
    keeper: Lifecycle, root: Root, in_engine: list[PrivateKey]
) -> None:
    victim = new_key()
    keeper.import_key("victim", victim, TEAM, Custody.ENGINE)
    root("POST", f"{keeper.store.layout.engine_mount}/roles/{NAME}", {"key": "victim"})

    with pytest.raises(VaultError, match='version 2 of key "victim" is not kept'):
        mint(keeper.store)
    keeper.set_state(NAME, State.DISABLED)
    assert keeper.destroy(NAME)

    verified(read_by_role(keeper.store), victim)  # the role, which is the other key's now
    assert minted_with(keeper.store, victim, keys.KEY_ID, "victim")


@pytest.mark.parametrize("custody", list(Custody), ids=str)
def test_record_that_names_the_role_of_another_key_harms_that_key_in_no_way(
    keeper: Lifecycle, root: Root, custody: Custody
) -> None:
    victim = new_key()
    keeper.import_key("victim", victim, TEAM, Custody.ENGINE)
    keeper.import_key(NAME, new_key(), team(key_id(7)), custody)
    facts = keeper.store.read("victim").record.dump()
    bent = {
        field: facts[field] for field in ("custody", "role", "engine_version", "public_key", "spki_sha256", "key_id")
    }
    bend(root, keeper, NAME, **bent)
    commands: list[Callable[[], object]] = [
        lambda: keeper.rotate(NAME, new_key(), key_id(8)),
        lambda: keeper.rollback(NAME),
        lambda: keeper.retire(NAME),
        lambda: keeper.set_state(NAME, State.DISABLED),
        lambda: keeper.destroy(NAME),
        lambda: Moving(keeper).finish(NAME, remove_copy=True, granted=True),
    ]
    for command in commands:
        with suppress(VaultAscError):
            command()

    verified(read_by_role(keeper.store, "victim"), victim)
    assert minted_with(keeper.store, victim, keys.KEY_ID, "victim")
    assert in_step(keeper.store, "victim")


def test_stores_of_two_prefixes_on_one_mount_of_the_engine_never_share_a_key(keeper: Lifecycle) -> None:
    key, theirs = new_key(), f'is a key of the store "{keeper.store.layout.mount}/{PREFIX}"; nothing was written'
    keeper.import_key(NAME, key, TEAM, Custody.ENGINE)
    second = Lifecycle(Store(keeper.store.vault, keeper.store.layout._replace(prefix="team-b")), keeper.clock)

    for its in (new_key(), key):  # the same key is no reason to share it either
        with pytest.raises(ConflictError, match=theirs) as caught:
            second.import_key(NAME, its, TEAM, Custody.ENGINE)
        assert "--leftover" not in str(caught.value.hint)
        assert "store.engine_mount" in str(caught.value.hint)
    with pytest.raises(ConflictError, match=f'role "{NAME}" of engine .* gives tokens of key "{NAME}"'):
        second.import_key("other", new_key(), team(key_id(2)), Custody.ENGINE, role=NAME)
    second.import_key(NAME, key, TEAM)
    with pytest.raises(ConflictError, match=theirs):
        Moving(second).move(NAME, Custody.ENGINE, granted=True)
    Moving(second).finish(NAME, remove_copy=True)
    second.set_state(NAME, State.DISABLED)
    assert second.destroy(NAME)

    for enabled in (True, False):
        keeper.set_state(NAME, State.ENABLED if enabled else State.DISABLED)
        assert second.leftovers(NAME)[Custody.ENGINE].foreign
        assert not second.destroy(NAME, leftover=True)
        assert keeper.store.engine.find(NAME) is not None
    keeper.set_state(NAME, State.ENABLED)
    assert minted_with(keeper.store, key, keys.KEY_ID)
    verified(read_by_role(keeper.store), key)


def test_record_copied_to_another_store_stops_and_removes_nothing_in_the_engine(keeper: Lifecycle, root: Root) -> None:
    key = new_key()
    stored = keeper.import_key(NAME, key, TEAM, Custody.ENGINE).stored
    copy = Lifecycle(Store(keeper.store.vault, keeper.store.layout._replace(prefix="copy")), keeper.clock)
    root("POST", f"{copy.store.layout.mount}/data/copy/keys/{NAME}", {"data": stored.record.dump()})

    with pytest.raises(ConflictError, match="is a key of the store"):
        copy.rotate(NAME, new_key(), key_id(2))
    assert not copy.retire(NAME)
    copy.set_state(NAME, State.DISABLED)
    assert copy.destroy(NAME)

    assert in_step(keeper.store)
    assert minted_with(keeper.store, key, keys.KEY_ID)
    verified(read_by_role(keeper.store), key)


def test_what_another_store_has_in_transit_is_not_removed_with_a_finished_move(
    keeper: Lifecycle, root: Root, vault: VaultUnderTest
) -> None:
    key = new_key()
    keeper.import_key(NAME, key, TEAM, Custody.TRANSIT)
    mount = f"{keeper.store.layout.mount}-second"
    root("POST", f"sys/mounts/{mount}", {"type": "kv", "options": {"version": "2"}})
    try:
        with lifecycle_at(vault, keeper.store.layout._replace(mount=mount)) as second:
            second.import_key(NAME, new_key(), TEAM)
            assert not Moving(second).finish(NAME, remove_copy=True).changed
    finally:
        root("DELETE", f"sys/mounts/{mount}")
    assert minted_with(keeper.store, key, keys.KEY_ID)
