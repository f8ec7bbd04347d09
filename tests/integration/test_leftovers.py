"""What interrupted moves leave in Transit and the engine: it never signs unrecorded, is found, and is all that goes."""

from collections.abc import Callable, Iterator
from itertools import permutations

import pytest

from tests import keys
from tests.conftest import Root
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
    verified,
)
from tests.vaults import VaultUnderTest
from vault_asc.errors import ConflictError, NotFoundError, TokenRequestError
from vault_asc.key.private_key import PrivateKey
from vault_asc.lifecycle import Lifecycle
from vault_asc.moving import Moving
from vault_asc.names import Custody
from vault_asc.record import State
from vault_asc.store import Layout
from vault_asc.vault import LostAnswerError

ENGINE, TRANSIT, KV = Custody.ENGINE, Custody.TRANSIT, Custody.KV
each_signer = pytest.mark.parametrize("custody", [TRANSIT, ENGINE], ids=str)


@pytest.fixture
def layout(request: pytest.FixtureRequest) -> Layout:
    return layout_of(request)._replace(engine_mount=request.getfixturevalue("engine_mount"))


@pytest.fixture
def keeper(vault: VaultUnderTest, layout: Layout) -> Iterator[Lifecycle]:
    with lifecycle_at(vault, layout) as made:
        yield made


Interrupt = Callable[[Custody], None]


@pytest.fixture
def interrupt(vault: VaultUnderTest, layout: Layout) -> Interrupt:
    """A move to that custody which ends before any record is written."""

    def move(custody: Custody) -> None:
        with Wire(vault.address) as wire, lifecycle_at(vault, layout, address=wire.address) as doomed:
            wire.fate = lambda method, path: LOSE_REQUEST if method == "POST" and f"/data/{PREFIX}/" in path else None
            with pytest.raises(LostAnswerError):
                Moving(doomed).move(NAME, custody, granted=True)

    return move


def lies_in(keeper: Lifecycle, custody: Custody) -> bool:
    where = keeper.store.layout.transit(NAME)
    return (keeper.store.engine.find(NAME) if custody is ENGINE else keeper.store.transit.find(where)) is not None


def by_role(keeper: Lifecycle) -> str:
    """Whose tokens a reader of the role gets."""
    try:
        return read_by_role(keeper.store).key_id
    except (TokenRequestError, NotFoundError):
        return "nobody's"


@each_signer
def test_move_goes_on_after_an_interruption_and_a_rotation(
    keeper: Lifecycle, interrupt: Interrupt, custody: Custody
) -> None:
    new = new_key()
    keeper.import_key(NAME, new_key(), TEAM)
    interrupt(custody)
    keeper.rotate(NAME, new_key(), key_id(2))
    interrupt(custody)
    keeper.rotate(NAME, new, key_id(3))

    assert Moving(keeper).move(NAME, custody, granted=True).changed

    assert minted_with(keeper.store, new, key_id(3))
    if custody is ENGINE:
        assert in_step(keeper.store)
        verified(read_by_role(keeper.store), new)
    assert not keeper.leftovers(NAME)


@each_signer
def test_removing_what_was_left_spares_record_note_and_private_part(
    keeper: Lifecycle, interrupt: Interrupt, custody: Custody
) -> None:
    key, staged = new_key(), new_key()
    keeper.import_key(NAME, key, TEAM)
    keeper.stage(NAME, staged, key_id(2))
    interrupt(custody)
    before = keeper.store.read(NAME), keeper.store.note(NAME), keeper.store.private_metadata(NAME)
    assert keeper.leftovers(NAME)[custody].own

    assert keeper.destroy(NAME, leftover=True)  # enabled as it is

    assert not lies_in(keeper, custody)
    assert (keeper.store.read(NAME), keeper.store.note(NAME), keeper.store.private_metadata(NAME)) == before
    assert not keeper.destroy(NAME, leftover=True)
    assert minted_with(keeper.store, key, keys.KEY_ID)
    keeper.promote(NAME, staged.spki_sha256)


@each_signer
def test_what_the_record_points_to_is_no_leftover(keeper: Lifecycle, custody: Custody) -> None:
    key = new_key()
    keeper.import_key(NAME, key, TEAM, custody)
    for state in State:
        keeper.set_state(NAME, state)
        assert not keeper.destroy(NAME, leftover=True)
    keeper.set_state(NAME, State.ENABLED)
    assert minted_with(keeper.store, key, keys.KEY_ID)


@each_signer
def test_key_that_the_record_has_never_named_is_not_taken_for_a_leftover_of_ours(
    keeper: Lifecycle, custody: Custody
) -> None:
    foreign = new_key()
    keeper.import_key(NAME, new_key(), TEAM)
    put_by_hand(keeper, custody, foreign)

    with pytest.raises(ConflictError, match="already with another key"):
        Moving(keeper).move(NAME, custody, granted=True)
    assert not keeper.leftovers(NAME)[custody].own
    Moving(keeper).finish(NAME, remove_copy=True)
    keeper.set_state(NAME, State.DISABLED)

    assert lies_in(keeper, custody)
    there = keeper.store.engine.find(NAME)
    assert there is None or there.enabled  # somebody else's is not stopped either


def put_by_hand(keeper: Lifecycle, custody: Custody, key: PrivateKey) -> None:
    if custody is ENGINE:
        keeper.store.engine.create(NAME, key, TEAM)
    else:
        keeper.placement.transit.put(NAME, key, None)


def test_hint_of_a_refused_import_to_transit_names_no_removal_of_what_was_not_ours(keeper: Lifecycle) -> None:
    ours = new_key()
    keeper.placement.transit.put(NAME, new_key(), None)
    with pytest.raises(ConflictError) as caught:
        keeper.import_key(NAME, ours, TEAM, TRANSIT)
    assert "--leftover" not in str(caught.value.hint)

    keeper.store.transit.put(keeper.store.layout.transit(NAME), wrapped_for(keeper, ours), further=True)
    with pytest.raises(ConflictError) as mixed:
        keeper.import_key(NAME, ours, TEAM, TRANSIT)
    assert f"vault-asc key destroy {NAME} --leftover" in str(mixed.value.hint)


def wrapped_for(keeper: Lifecycle, key: PrivateKey) -> str:
    from vault_asc.key.wrapping import wrapped

    return wrapped(key, keeper.store.transit.wrapping_key())


@pytest.mark.parametrize(("left", "to"), list(permutations((TRANSIT, ENGINE))), ids=["in transit", "in the engine"])
def test_finish_finds_the_copy_of_an_interrupted_move_to_a_third_custody(
    keeper: Lifecycle, interrupt: Interrupt, left: Custody, to: Custody
) -> None:
    key = new_key()
    keeper.import_key(NAME, key, TEAM)
    interrupt(left)
    Moving(keeper).move(NAME, to, granted=True)

    assert Moving(keeper).finish(NAME, remove_copy=True, granted=True).changed

    assert not lies_in(keeper, left)
    assert keeper.store.private_metadata(NAME).current_version == 0
    assert minted_with(keeper.store, key, keys.KEY_ID)
    assert keeper.store.read(NAME).record.moved_from is None


def test_move_to_the_engine_that_ends_anywhere_leaves_nothing_that_signs_and_that_no_record_knows_of(
    vault: VaultUnderTest, keeper: Lifecycle, layout: Layout
) -> None:
    key = new_key()
    keeper.import_key(NAME, key, TEAM)
    seen = []
    with Wire(vault.address) as wire, lifecycle_at(vault, layout, address=wire.address) as owner:

        def look(method: str, _path: str) -> None:
            if method == "POST":
                signs = by_role(keeper) == keys.KEY_ID
                assert not signs or keeper.store.read(NAME).record.role == NAME
                assert minted_with(keeper.store, key, keys.KEY_ID)
                seen.append(signs)

        wire.done = look
        Moving(owner).move(NAME, ENGINE, granted=True)

    assert (seen[0], seen[-1], sorted(seen)) == (False, True, seen)


def test_disabling_stops_a_copy_that_signs_and_that_the_record_does_not_point_to(keeper: Lifecycle) -> None:
    key = new_key()
    keeper.import_key(NAME, key, TEAM)
    keeper.store.engine.create(NAME, key, TEAM)  # as an older release, interrupted, has left it
    keeper.store.engine.create_role(NAME, NAME)
    assert by_role(keeper) == keys.KEY_ID

    assert keeper.placement.engine.stop_copy(keeper.store.read(NAME))
    assert not keeper.placement.engine.stop_copy(keeper.store.read(NAME))

    assert by_role(keeper) == "nobody's"
    mint(keeper.store)


def test_move_that_is_overtaken_by_a_disabling_leaves_the_engine_disabled(
    vault: VaultUnderTest, keeper: Lifecycle, layout: Layout
) -> None:
    keeper.import_key(NAME, new_key(), TEAM)
    with Wire(vault.address) as wire, lifecycle_at(vault, layout, address=wire.address) as owner:

        def disable(method: str, path: str) -> None:
            if method == "POST" and path.endswith(f"/keys/{NAME}/enable"):
                wire.fate = lambda _method, _path: None
                keeper.set_state(NAME, State.DISABLED)

        wire.fate = disable
        with pytest.raises(ConflictError, match="was changed by"):
            Moving(owner).move(NAME, ENGINE, granted=True)

    assert by_role(keeper) == "nobody's"
    assert keeper.store.read(NAME).record.state is State.DISABLED


@pytest.mark.parametrize("role", [None, "sales"])
def test_finish_needs_a_policy_that_grants_the_new_place_and_tells_the_command_with_its_role(
    keeper: Lifecycle, root: Root, role: str | None
) -> None:
    keeper.import_key(NAME, new_key(), TEAM)
    moving, option = Moving(keeper), " --role sales" if role else ""
    with pytest.raises(TokenRequestError) as early:
        moving.move(NAME, ENGINE, role=role)
    assert f"policy write minter --key {NAME}{option} --custody kv --custody engine" in str(early.value.hint)
    moving.move(NAME, ENGINE, role=role, granted=True)
    before, policy = keeper.store.read(NAME), f"sys/policies/acl/only-{role}"

    with pytest.raises(TokenRequestError, match=r"no policy grants .* which minters need now; nothing") as caught:
        moving.finish(NAME, remove_copy=True)
    assert f"policy write minter --key {NAME}{option} --custody engine --force" in str(caught.value.hint)
    where = f"{keeper.store.layout.engine_mount}/token/{role or NAME}"
    private = f"{keeper.store.layout.mount}/data/{PREFIX}/private/{NAME}"
    both = "\n".join(f'path "{path}" {{ capabilities = ["read"] }}' for path in (where, private))
    root("PUT", policy, {"policy": both})
    try:
        with pytest.raises(TokenRequestError, match="no policy grants"):  # it says nothing of those who mint
            moving.finish(NAME, trusted=(f"only-{str(role).lower()}",))
        with pytest.raises(TokenRequestError, match="is still granted by") as still:
            moving.finish(NAME)
        assert f"--key {NAME}{option} --custody engine --force" in str(still.value.hint)
        assert keeper.store.read(NAME) == before
        root("PUT", policy, {"policy": f'path "{where}" {{ capabilities = ["read"] }}'})
        assert moving.finish(NAME, remove_copy=True).changed
    finally:
        root("DELETE", policy)
