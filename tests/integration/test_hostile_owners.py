"""Owners of keys who mean harm, are overtaken, or lack a right halfway: what of others, and of their own, stays safe."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from tests import keys
from tests.conftest import Root, TokenWith
from tests.support import LOSE_REQUEST, NAME, PREFIX, TEAM, Wire, key_id, lifecycle_on, mint, minted_with, new_key, team
from tests.vaults import VaultUnderTest
from vault_asc import policy
from vault_asc.errors import ConflictError, PermissionDeniedError, PrivateKeyError, TokenRequestError
from vault_asc.lifecycle import Lifecycle
from vault_asc.moving import Moving
from vault_asc.names import Custody
from vault_asc.record import BadRecordError, Note, Record, State
from vault_asc.store import Store
from vault_asc.tokens import TokenRequest
from vault_asc.vault import LostAnswerError

OTHER = {Custody.KV: Custody.TRANSIT, Custody.TRANSIT: Custody.KV}
each_way = pytest.mark.parametrize("start", list(Custody), ids=lambda custody: f"from {custody}")


@dataclass(frozen=True)
class OvertakenStore(Store):
    """A store in which somebody else changes the record just before it is written."""

    other: Callable[[], object]

    def write_record(self, name: str, record: Record, *, cas: int) -> int:
        self.other()
        return super().write_record(name, record, cas=cas)


@pytest.fixture
def keeper(vault: VaultUnderTest, kv_mount: str, transit_mount: str) -> Iterator[Lifecycle]:
    with lifecycle_on(vault, kv_mount, transit_mount=transit_mount) as made:
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
        lambda: Moving(keeper).move(NAME, OTHER[custody], granted=True),
        lambda: Moving(keeper).finish(NAME, remove_copy=True),
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
        with lifecycle_on(vault, mount, transit_mount=keeper.store.layout.transit_mount) as second:
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
    vault: VaultUnderTest, keeper: Lifecycle, token_with: TokenWith, start: Custody
) -> None:
    layout = keeper.store.layout
    key = new_key()
    keeper.import_key(NAME, key, TEAM, start)
    Moving(keeper).move(NAME, OTHER[start], granted=True)
    before = keeper.store.read(NAME)
    custodies, mount, prefix = ("kv", "transit"), layout.mount, layout.prefix
    texts = [
        policy.render(role, mount=mount, prefix=prefix, transit_mount=layout.transit_mount, custodies=custodies)
        for role in ("registrar", "auditor")
    ]

    with (
        lifecycle_on(vault, mount, token_with(*texts), transit_mount=layout.transit_mount) as somebody,
        pytest.raises(PermissionDeniedError, match=r'lacks "delete" on .*; nothing was changed'),
    ):
        Moving(somebody).finish(NAME, remove_copy=True)

    assert keeper.store.read(NAME) == before
    Moving(keeper).move(NAME, start, granted=True)
    assert minted_with(keeper.store, key, keys.KEY_ID)


@each_way
def test_removal_that_was_interrupted_is_neither_forgotten_nor_built_upon(
    vault: VaultUnderTest, keeper: Lifecycle, start: Custody
) -> None:
    layout, key = keeper.store.layout, new_key()
    keeper.import_key(NAME, key, TEAM, start)
    Moving(keeper).move(NAME, OTHER[start], granted=True)
    with (
        Wire(vault.address) as wire,
        lifecycle_on(vault, layout.mount, address=wire.address, transit_mount=layout.transit_mount) as doomed,
    ):
        wire.fate = lambda method, path: LOSE_REQUEST if method == "DELETE" or path.endswith("/config") else None
        with pytest.raises(LostAnswerError, match="no answer"):
            Moving(doomed).finish(NAME, remove_copy=True)

    with pytest.raises(ConflictError, match=f'what lies of "{NAME}" in custody {start} is being removed by root'):
        Moving(keeper).move(NAME, start, key, granted=True)
    if start is Custody.KV:  # the proxy has let the deletion through in neither case
        keeper.store.write_private(NAME, key, keys.KEY_ID, cas=keeper.store.private_metadata(NAME).current_version)
    else:
        keeper.placement.put_transit(NAME, key, None)
    with pytest.raises(TokenRequestError, match="was about to be removed, and is still there"):
        Moving(keeper).finish(NAME)

    assert Moving(keeper).finish(NAME, remove_copy=True).changed
    assert keeper.store.read(NAME).record.moved_from is None
    assert keeper.leftover(NAME) == (layout.transit(NAME) if start is Custody.KV else None)
    assert keeper.store.private_metadata(NAME).current_version == (0 if start is Custody.KV else 1)
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
