"""Keys on their way from one custody to the other: who has to be granted what, what is left behind, what nobody notices."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import permutations
from typing import TYPE_CHECKING

import pytest

from tests import keys
from tests.conftest import Root, TokenWith
from tests.effort import effort
from tests.support import (
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
from vault_asc import policy
from vault_asc.errors import (
    ConflictError,
    NotFoundError,
    PermissionDeniedError,
    PrivateKeyError,
    TokenRequestError,
    VaultError,
)
from vault_asc.key.private_key import PrivateKey
from vault_asc.lifecycle import Lifecycle
from vault_asc.moving import Moving
from vault_asc.names import Custody
from vault_asc.record import Record, State, StoredRecord
from vault_asc.store import Store

if TYPE_CHECKING:
    from vault_asc.pointing import Change

KEY = f"{PREFIX}.{NAME}"

each_way = pytest.mark.parametrize(
    ("start", "to"), [pytest.param(*way, id="from {} to {}".format(*way)) for way in permutations(Custody, 2)]
)

Write = Callable[[str, str], None]


@pytest.fixture
def keeper(request: pytest.FixtureRequest, vault: VaultUnderTest) -> Iterator[Lifecycle]:
    with lifecycle_at(vault, layout_of(request)) as made:
        yield made


@pytest.fixture
def moving(keeper: Lifecycle) -> Moving:
    return Moving(keeper)


@pytest.fixture
def write_policy(root: Root) -> Iterator[Write]:
    """`write_policy(name, text)`, gone after the test."""
    written = []

    def write(name: str, text: str) -> None:
        written.append(name)
        root("PUT", f"sys/policies/acl/{name}", {"policy": text})

    yield write
    for name in written:
        root("DELETE", f"sys/policies/acl/{name}")


def sign_path(keeper: Lifecycle) -> str:
    return f"{keeper.store.layout.transit_mount}/sign/{KEY}"


def private_path(keeper: Lifecycle) -> str:
    return f"{keeper.store.layout.mount}/data/{PREFIX}/private/{NAME}"


def token_path(keeper: Lifecycle, role: str = NAME) -> str:
    return f"{keeper.store.layout.engine_mount}/token/{role}"


def needed(keeper: Lifecycle, custody: Custody) -> tuple[str, str]:
    """Path and capability that a minter needs in a custody."""
    return {
        Custody.KV: (private_path(keeper), "read"),
        Custody.TRANSIT: (sign_path(keeper), "update"),
        Custody.ENGINE: (token_path(keeper), "read"),
    }[custody]


def grant(keeper: Lifecycle, *custodies: Custody) -> str:
    """A policy that has what a minter needs in these custodies."""
    stanza = 'path "{}" {{ capabilities = ["{}"] }}'
    return "\n".join(stanza.format(*needed(keeper, custody)) for custody in custodies)


def file_of(keeper: Lifecycle, key: PrivateKey) -> PrivateKey | None:
    """The file, where nothing else leads out."""
    return key if record(keeper).private_version is None else None


def record(keeper: Lifecycle) -> Record:
    return keeper.store.read(NAME).record


# Before: the grants.


@each_way
def test_move_needs_the_grant_of_the_new_custody_for_everybody_who_has_that_of_the_old(
    keeper: Lifecycle, moving: Moving, write_policy: Write, start: Custody, to: Custody
) -> None:
    key = new_key()
    before = keeper.import_key(NAME, key, TEAM, start).stored
    path, capability = needed(keeper, to)

    def refusal() -> str:
        with pytest.raises(TokenRequestError, match=f'in custody {to} need "{capability}" on "{path}"') as caught:
            moving.move(NAME, to, file_of(keeper, key))
        assert f"policy write minter --key {NAME} --custody {start} --custody {to}" in str(caught.value.hint)
        assert keeper.store.read(NAME) == before
        return caught.value.message

    assert "and no policy grants it; nothing was changed" in refusal()
    write_policy("first", grant(keeper, start))
    assert refusal().endswith("policies grant the one and not the other: first; nothing was changed")
    write_policy("first", grant(keeper, start, to))
    write_policy("second", grant(keeper, start))
    write_policy("third", grant(keeper, to))
    assert refusal().endswith("policies grant the one and not the other: second; nothing was changed")

    write_policy("second", grant(keeper, start, to))
    change = moving.move(NAME, to, file_of(keeper, key))

    assert (change.changed, change.before) == (True, before)
    assert (change.stored.record.custody, change.stored.record.moved_from) == (to, start)
    assert minted_with(keeper.store, key, keys.KEY_ID)
    assert not moving.move(NAME, to).changed


def test_move_can_be_made_without_a_look_at_the_policies(
    keeper: Lifecycle, token_with: TokenWith, vault: VaultUnderTest
) -> None:
    layout = keeper.store.layout
    keeper.import_key(NAME, new_key(), TEAM)
    text = f"""
    path "{layout.mount}/*" {{ capabilities = ["read", "create", "update"] }}
    path "{layout.transit_mount}/*" {{ capabilities = ["read", "update"] }}
    path "sys/internal/ui/mounts/*" {{ capabilities = ["read"] }}
    """
    with lifecycle_at(
        vault,
        layout,
        token_with(text),
        advice=lambda path, capability: f"see to {capability} of {path}",
    ) as somebody:
        with pytest.raises(
            PermissionDeniedError, match="so who may mint cannot be seen; nothing was changed"
        ) as caught:
            Moving(somebody).move(NAME, Custody.TRANSIT)
        assert caught.value.hint == "see to list of sys/policies/acl"
        assert Moving(somebody).move(NAME, Custody.TRANSIT, granted=True).changed
        for granted in (False, True):
            with pytest.raises(PermissionDeniedError, match="so who may mint cannot be seen"):
                Moving(somebody).finish(NAME, granted=granted)


# During: what a consumer sees.


@each_way
@pytest.mark.parametrize("file", [True, False], ids=["file", "no file"])
def test_minter_with_the_shipped_policy_mints_before_during_and_after(
    vault: VaultUnderTest,
    keeper: Lifecycle,
    token_with: TokenWith,
    root: Root,
    start: Custody,
    to: Custody,
    file: bool,
) -> None:
    key, layout = new_key(), keeper.store.layout
    keeper.import_key(NAME, key, TEAM, start, escrow=not file)
    store = {"mount": layout.mount, "prefix": PREFIX, "transit_mount": layout.transit_mount}
    store |= {"engine_mount": layout.engine_mount}

    def shipped(*custodies: Custody) -> str:
        return policy.render("minter", **store, key=NAME, custodies=custodies)

    token = token_with(shipped(*Custody))
    (name,) = root("POST", "auth/token/lookup", {"token": token.reveal()})["data"]["policies"]
    seen = []
    with (
        lifecycle_at(vault, layout, token) as minter,
        Wire(vault.address) as wire,
        lifecycle_at(vault, layout, address=wire.address) as owner,
    ):

        def look(method: str, _path: str) -> None:
            if method != "GET":
                assert minted_with(minter.store, key, keys.KEY_ID)
                seen.append(method)

        look("before", "")
        wire.done = look
        for old, new in ((start, to), (to, start)):
            moving = Moving(owner)
            assert moving.move(NAME, new, key if file else file_of(keeper, key)).changed
            with pytest.raises(TokenRequestError, match=f"is still granted by {name}$"):
                moving.finish(NAME)
            assert record(keeper).moved_from is old

            root("PUT", f"sys/policies/acl/{name}", {"policy": shipped(new)})
            assert moving.finish(NAME, remove_copy=file).changed
            assert record(keeper).moved_from is None
            assert not moving.finish(NAME, remove_copy=file).changed
            root("PUT", f"sys/policies/acl/{name}", {"policy": shipped(*Custody)})
    assert len(seen) >= 6


@dataclass(frozen=True)
class RacedStore(Store):
    """A store in which something happens after the first reading of the record."""

    meanwhile: list[Callable[[], object]] = field(default_factory=list)

    def read(self, name: str, version: int | None = None) -> StoredRecord:
        stored = super().read(name, version)
        if self.meanwhile:
            self.meanwhile.pop()()
        return stored


@each_way
def test_mint_between_whose_two_calls_a_whole_move_lies_is_of_the_new_custody(
    keeper: Lifecycle, moving: Moving, start: Custody, to: Custody
) -> None:
    key = new_key()
    keeper.import_key(NAME, key, TEAM, start)

    def meanwhile() -> None:
        moving.move(NAME, to, file_of(keeper, key), granted=True)
        moving.finish(NAME, remove_copy=True, granted=True)

    minted = mint(RacedStore(keeper.store.vault, keeper.store.layout, [meanwhile]))

    assert minted.stored.record.custody is to
    verified(minted.token, key)


# After: finish.

TEXTS: dict[str, str] = {
    "exact": 'path "{path}" {{ capabilities = ["{capability}"] }}',
    "json": '{{"path": {{"{path}": {{"capabilities": ["{capability}"]}}}}}}',
    "glob": 'path "{mount}/*" {{ capabilities = ["list", "{capability}"] }}',
    "everything": 'path "*" {{ capabilities = ["create", "read", "update"] }}',
    "plus": 'path "{plus}" {{ capabilities = ["{capability}"] }}',
    "template": 'path "{template}" {{ capabilities = ["{capability}"] }}',
    "old form": 'path "{path}" {{ policy = "write" }}',
    "leading slash": 'path "/{path}" {{ capabilities = ["{capability}"] }}',
    "in two stanzas": 'path "{path}" {{ capabilities = ["list"] }}\npath "{path}" {{ capabilities = ["{capability}"] }}',
    "denied wider": 'path "*" {{ capabilities = ["deny"] }}\npath "{path}" {{ capabilities = ["{capability}"] }}',
    "with parameters": 'path "{path}" {{ capabilities = ["{capability}"]\n allowed_parameters = {{ "a" = [] }} }}',
    "with comments": 'path "{path}" {{ # not "this" }}\n capabilities = [ /* "deny", */ "{capability}" ] }}',
}
HARMLESS: dict[str, str] = {
    "commented out": '# path "{path}" {{ capabilities = ["{capability}"] }}\npath "a" {{ capabilities = ["read"] }}',
    # Below the path of a key in Transit it can be signed with too.
    "denied": 'path "{path}" {{ capabilities = ["deny"] }}\npath "{path}/*" {{ capabilities = ["deny"] }}\n'
    'path "{mount}/*" {{ capabilities = ["{capability}"] }}',
    "other capability": 'path "{path}" {{ capabilities = ["list", "delete"] }}',
    "other key": 'path "{path}-2" {{ capabilities = ["{capability}"] }}',
    "above": 'path "{mount}" {{ capabilities = ["{capability}"] }}',
    "record": 'path "{mount}/data/asc/keys/prod" {{ capabilities = ["read"] }}',
}


def filled(text: str, keeper: Lifecycle, custody: Custody) -> str:
    path, capability = needed(keeper, custody)
    folder, _, last = path.rpartition("/")
    return text.format(
        path=path,
        capability=capability,
        mount=path.split("/")[0],
        plus=f"{path.split('/')[0]}/+/{last}" if custody is Custody.TRANSIT else f"{folder}/+",
        template=f"{folder}/{{{{identity.entity.name}}}}",
    )


@pytest.mark.parametrize(
    ("start", "to"),
    [
        pytest.param(start, to, id=f"from {start}")
        for start, to in zip(Custody, (Custody.TRANSIT, Custody.KV, Custody.KV), strict=True)
    ],
)
@pytest.mark.parametrize("case", effort([*TEXTS, *HARMLESS], [*TEXTS, *HARMLESS][::2]))
def test_finish_names_the_policies_that_still_grant_the_old_custody(
    keeper: Lifecycle, moving: Moving, write_policy: Write, start: Custody, to: Custody, case: str
) -> None:
    key = new_key()
    keeper.import_key(NAME, key, TEAM, start)
    moving.move(NAME, to, file_of(keeper, key), granted=True)
    for name in ("zz-first", "aa-second"):
        write_policy(name, filled((TEXTS | HARMLESS)[case], keeper, start))
    write_policy("right", grant(keeper, to))

    if case in HARMLESS:
        assert moving.finish(NAME).changed
        return
    with pytest.raises(TokenRequestError, match=f'"{NAME}" to custody {to} is not finished') as caught:
        moving.finish(NAME, remove_copy=True)

    assert caught.value.message.endswith("is still granted by aa-second, zz-first")
    assert "--trust POLICY" in str(caught.value.hint)
    assert record(keeper).moved_from is start
    mint(keeper.store)
    with pytest.raises(TokenRequestError, match=r"still granted by zz-first$"):
        moving.finish(NAME, trusted=("aa-second",))
    for name in ("zz-first", "aa-second"):
        write_policy(name, filled(HARMLESS["denied"], keeper, start))
    assert moving.finish(NAME, remove_copy=True).changed


@pytest.mark.parametrize("last", ["sha2-256", "+", "*", "sha2-5*"])
def test_finish_sees_who_may_sign_by_a_path_below_that_of_the_key(
    keeper: Lifecycle, moving: Moving, write_policy: Write, last: str
) -> None:
    keeper.import_key(NAME, new_key(), TEAM, Custody.TRANSIT)
    moving.move(NAME, Custody.KV, granted=True)
    write_policy("below", f'path "{sign_path(keeper)}/{last}" {{ capabilities = ["update"] }}')

    with pytest.raises(TokenRequestError, match=r"is still granted by below$"):
        moving.finish(NAME, granted=True)


def test_finish_keeps_the_escrow_unless_it_is_told_to_remove_it(keeper: Lifecycle, moving: Moving) -> None:
    key = new_key()
    keeper.import_key(NAME, key, TEAM)
    moving.move(NAME, Custody.TRANSIT, granted=True)
    assert (record(keeper).private_version, record(keeper).moved_from) == (1, Custody.KV)

    assert moving.finish(NAME, granted=True).changed
    assert (record(keeper).private_version, record(keeper).moved_from) == (1, None)
    assert not moving.finish(NAME, granted=True).changed
    assert keeper.store.private_metadata(NAME).versions[1].readable

    assert moving.finish(NAME, remove_copy=True, granted=True).changed
    assert (record(keeper).private_version, record(keeper).moved_from) == (None, None)
    assert keeper.store.private_metadata(NAME).current_version == 0
    assert not moving.finish(NAME, remove_copy=True, granted=True).changed
    assert minted_with(keeper.store, key, keys.KEY_ID)


def test_after_the_copy_is_removed_no_rotation_and_no_rollback_brings_it_back(
    keeper: Lifecycle, moving: Moving
) -> None:
    old, new = new_key(), new_key()
    keeper.import_key(NAME, new_key(), TEAM)
    keeper.rotate(NAME, old, key_id(1))
    moving.move(NAME, Custody.TRANSIT, granted=True)
    keeper.rotate(NAME, new_key(), key_id(2))
    assert record(keeper).private_version == 3  # the escrow
    moving.finish(NAME, remove_copy=True, granted=True)

    keeper.rotate(NAME, new, key_id(3))
    assert minted_with(keeper.store, new, key_id(3))
    keeper.rollback(NAME, 1)

    assert minted_with(keeper.store, old, key_id(1))
    assert record(keeper).private_version is None
    assert keeper.store.private_metadata(NAME).current_version == 0


def test_copy_in_transit_is_removed_with_all_its_versions(keeper: Lifecycle, moving: Moving) -> None:
    key = new_key()
    keeper.import_key(NAME, new_key(), TEAM, Custody.TRANSIT)
    keeper.rotate(NAME, key, keys.OTHER_KEY_ID)
    moving.move(NAME, Custody.KV, granted=True)
    assert record(keeper).transit_key == KEY

    assert moving.finish(NAME, remove_copy=True, granted=True).changed

    assert (record(keeper).transit_key, record(keeper).moved_from) == (None, None)
    assert keeper.store.transit.find(KEY) is None
    assert not moving.finish(NAME, remove_copy=True, granted=True).changed
    assert minted_with(keeper.store, key, keys.OTHER_KEY_ID)


def test_key_that_never_moved_has_nothing_to_finish(keeper: Lifecycle, moving: Moving) -> None:
    keeper.import_key(NAME, new_key(), TEAM)
    assert not moving.finish(NAME, granted=True).changed
    assert not moving.finish(NAME, remove_copy=True, granted=True).changed
    mint(keeper.store)


@each_way
def test_copy_stays_when_somebody_moves_back_at_the_same_time(
    vault: VaultUnderTest, keeper: Lifecycle, moving: Moving, start: Custody, to: Custody
) -> None:
    key, layout = new_key(), keeper.store.layout
    keeper.import_key(NAME, key, TEAM, start)
    moving.move(NAME, to, file_of(keeper, key), granted=True)
    moved: list[Change] = []

    def move_back(method: str, path: str) -> None:
        if method == "POST" and path.endswith(layout.record(NAME)) and not moved:
            moved.append(moving.move(NAME, start, file_of(keeper, key), granted=True))

    with (
        Wire(vault.address) as wire,
        lifecycle_at(vault, layout, address=wire.address) as late,
    ):
        wire.fate = move_back
        with pytest.raises(ConflictError, match=f'the record of "{NAME}" was changed by root'):
            Moving(late).finish(NAME, remove_copy=True, granted=True)

    assert record(keeper).custody is start
    assert minted_with(keeper.store, key, keys.KEY_ID)


# Back, and what it needs.


@pytest.mark.parametrize(
    ("start", "to"), [(start, to) for start, to in permutations(Custody, 2) if start is not Custody.KV]
)
def test_move_needs_escrow_or_the_file(keeper: Lifecycle, moving: Moving, start: Custody, to: Custody) -> None:
    key = new_key()
    before = keeper.import_key(NAME, key, TEAM, start, escrow=False).stored

    with pytest.raises(NotFoundError, match="there is no private part of the current version") as caught:
        moving.move(NAME, to, granted=True)
    assert f"vault-asc key move {NAME} --custody {to} --file FILE" in str(caught.value.hint)
    with pytest.raises(PrivateKeyError, match=f'this is not the current key of "{NAME}"') as refused:
        moving.move(NAME, to, new_key(), granted=True)
    assert f"key ID {keys.KEY_ID}" in str(refused.value.hint)
    assert keeper.store.read(NAME) == before
    assert keeper.store.private_metadata(NAME).current_version == 0
    assert not keeper.leftovers(NAME)

    assert moving.move(NAME, to, key, granted=True).changed
    assert minted_with(keeper.store, key, keys.KEY_ID)


def test_wrong_file_is_refused_on_the_way_to_transit_too(keeper: Lifecycle, moving: Moving) -> None:
    before = keeper.import_key(NAME, new_key(), TEAM).stored
    with pytest.raises(PrivateKeyError, match=f'this is not the current key of "{NAME}"'):
        moving.move(NAME, Custody.TRANSIT, new_key(), granted=True)
    assert keeper.store.read(NAME) == before
    assert keeper.store.transit.find(KEY) is None


@pytest.mark.parametrize(
    ("start", "to"), [(start, to) for start, to in permutations(Custody, 2) if start is not Custody.ENGINE]
)
@pytest.mark.parametrize("swap", ["key", "key ID", "garbage"])
def test_private_part_that_somebody_has_swapped_is_refused_before_the_record_changes(
    keeper: Lifecycle, moving: Moving, root: Root, start: Custody, to: Custody, swap: str
) -> None:
    key = new_key()
    before = keeper.import_key(NAME, key, TEAM, start).stored
    good = {"private_key": key.pem.reveal(), "key_id": keys.KEY_ID}
    bad = {
        "key": good | {"private_key": new_key().pem.reveal()},
        "key ID": good | {"key_id": keys.OTHER_KEY_ID},
        "garbage": {"private_key": "hello"},
    }[swap]
    layout = keeper.store.layout
    keeper.store.vault.kv_delete_all(layout.mount, layout.private(NAME))
    root("POST", private_path(keeper), {"data": bad})

    with pytest.raises(VaultError, match=r"does not belong to the record|is not usable"):
        moving.move(NAME, to, granted=True)

    assert keeper.store.read(NAME) == before
    if start is Custody.KV:
        assert not keeper.leftovers(NAME)
    assert moving.move(NAME, to, key, granted=True).changed  # the file is good
    assert minted_with(keeper.store, key, keys.KEY_ID)


@pytest.mark.parametrize("other", [Custody.TRANSIT, Custody.ENGINE])
def test_rotations_on_both_sides_are_carried_along(keeper: Lifecycle, moving: Moving, other: Custody) -> None:
    made = [new_key() for _ in range(5)]
    keeper.import_key(NAME, made[0], TEAM)
    for number in range(1, 5):
        keeper.rotate(NAME, made[number], key_id(number))
        to = Custody.KV if record(keeper).custody is other else other
        moving.move(NAME, to, file_of(keeper, made[number]), granted=True)
        assert minted_with(keeper.store, made[number], key_id(number))
        if to is Custody.ENGINE:
            assert in_step(keeper.store)
    assert record(keeper).custody is Custody.KV

    keeper.rollback(NAME)  # to what was current in KV before

    assert minted_with(keeper.store, made[3], key_id(3))
    assert (record(keeper).role, record(keeper).transit_key) == (
        (NAME, None) if other is Custody.ENGINE else (None, KEY)
    )
    keeper.set_state(NAME, State.DISABLED)
    keeper.destroy(NAME)
    assert not keeper.leftovers(NAME)


@pytest.mark.parametrize("other", [Custody.TRANSIT, Custody.ENGINE])
def test_no_rollback_to_a_number_that_kv_has_given_again(keeper: Lifecycle, moving: Moving, other: Custody) -> None:
    made = [new_key() for _ in range(4)]
    keeper.import_key(NAME, made[0], TEAM)
    keeper.rotate(NAME, made[1], key_id(1))
    moving.move(NAME, other, granted=True)
    moving.finish(NAME, remove_copy=True, granted=True)
    moving.move(NAME, Custody.KV, made[1], granted=True)
    keeper.stage(NAME, made[2], key_id(2))
    assert record(keeper).private_version == 1

    with pytest.raises(NotFoundError, match="does not show private version 2"):
        keeper.rollback(NAME, 2)  # was the second key, is the third now

    assert minted_with(keeper.store, made[1], key_id(1))
    keeper.promote(NAME, made[2].spki_sha256)
    keeper.rollback(NAME)
    assert minted_with(keeper.store, made[1], key_id(1))


def test_what_an_interrupted_move_has_left_in_transit_is_destroyed_too(keeper: Lifecycle) -> None:
    key = new_key()
    keeper.import_key(NAME, key, TEAM)
    keeper.placement.transit.put(NAME, key, None)
    keeper.set_state(NAME, State.DISABLED)

    assert keeper.destroy(NAME)

    assert keeper.leftovers(NAME)[Custody.TRANSIT].name == KEY  # it could be another store's
    assert keeper.destroy(NAME, leftover=True)
    assert keeper.store.transit.find(KEY) is None


@each_way
def test_disabled_key_is_moved_and_stays_disabled(
    keeper: Lifecycle, moving: Moving, start: Custody, to: Custody
) -> None:
    key = new_key()
    keeper.import_key(NAME, key, TEAM, start)
    keeper.set_state(NAME, State.DISABLED)
    moved = moving.move(NAME, to, file_of(keeper, key), granted=True).stored.record
    assert (moved.custody, moved.state) == (to, State.DISABLED)
    if Custody.ENGINE in {start, to}:
        with pytest.raises(TokenRequestError, match="is disabled"):
            read_by_role(keeper.store)
        keeper.set_state(NAME, State.ENABLED)
        verified(read_by_role(keeper.store), key)


def test_unknown_key_is_not_moved(moving: Moving) -> None:
    with pytest.raises(NotFoundError, match=f'no key "{NAME}" in'):
        moving.move(NAME, Custody.TRANSIT)
    with pytest.raises(NotFoundError, match=f'no key "{NAME}" in'):
        moving.finish(NAME, granted=True)


# The engine, and more than two places.


ENGINE, TRANSIT = Custody.ENGINE, Custody.TRANSIT


@pytest.mark.parametrize("third", [Custody.KV, ENGINE, TRANSIT])
def test_no_third_custody_while_a_move_is_not_finished(keeper: Lifecycle, moving: Moving, third: Custody) -> None:
    start, to = (custody for custody in Custody if custody is not third)
    key = new_key()
    keeper.import_key(NAME, key, TEAM, start)
    moving.move(NAME, to, granted=True)
    before = keeper.store.read(NAME)

    with pytest.raises(ConflictError, match=f"was moved from custody {start}, which is not finished") as caught:
        moving.move(NAME, third, key, granted=True)

    assert f"vault-asc key move {NAME} --finish" in str(caught.value.hint)
    assert keeper.store.read(NAME) == before
    moving.finish(NAME, granted=True)
    assert moving.move(NAME, third, key, granted=True).changed
    assert minted_with(keeper.store, key, keys.KEY_ID)


def test_escrow_goes_along_to_the_engine_until_it_is_removed(keeper: Lifecycle, moving: Moving) -> None:
    key = new_key()
    keeper.import_key(NAME, key, TEAM, TRANSIT)
    moved = moving.move(NAME, ENGINE, granted=True).stored.record
    assert (moved.moved_from, moved.private_version, moved.transit_key, moved.role) == (TRANSIT, 1, KEY, NAME)
    assert keeper.store.private_metadata(NAME).versions[1].readable

    assert moving.finish(NAME, granted=True).changed
    assert (record(keeper).private_version, record(keeper).transit_key) == (1, KEY)
    assert moving.finish(NAME, remove_copy=True, granted=True).changed

    assert (record(keeper).private_version, record(keeper).transit_key, record(keeper).moved_from) == (None, None, None)
    assert keeper.store.private_metadata(NAME).current_version == 0
    assert not keeper.leftovers(NAME)
    assert not moving.finish(NAME, remove_copy=True, granted=True).changed
    assert minted_with(keeper.store, key, keys.KEY_ID)
    with pytest.raises(NotFoundError, match="no private part of the current version"):
        moving.move(NAME, TRANSIT, granted=True)


def test_escrow_of_an_older_version_is_removed_although_the_record_has_forgotten_it(
    keeper: Lifecycle, moving: Moving
) -> None:
    keeper.import_key(NAME, new_key(), TEAM, TRANSIT)
    moving.move(NAME, ENGINE, granted=True)
    new = new_key()
    keeper.rotate(NAME, new, keys.OTHER_KEY_ID)
    assert record(keeper).private_version is None  # of this key there is none
    with pytest.raises(NotFoundError, match="no private part of the current version"):
        moving.move(NAME, TRANSIT, granted=True)

    assert moving.finish(NAME, remove_copy=True, granted=True).changed

    assert keeper.store.private_metadata(NAME).current_version == 0
    assert minted_with(keeper.store, new, keys.OTHER_KEY_ID)


@pytest.mark.parametrize("role", [None, "sales"])
def test_copy_in_the_engine_is_removed_with_its_role(keeper: Lifecycle, moving: Moving, role: str | None) -> None:
    key = new_key()
    keeper.import_key(NAME, key, TEAM, ENGINE, role=role)
    moving.move(NAME, Custody.KV, key, granted=True)
    assert record(keeper).role == (role or NAME)
    read_by_role(keeper.store, role or NAME)  # nobody has taken that away yet

    assert moving.finish(NAME, remove_copy=True, granted=True).changed

    assert (record(keeper).role, record(keeper).moved_from) == (None, None)
    assert not keeper.leftovers(NAME)
    assert keeper.store.engine.key_of_role(role or NAME) is None
    assert minted_with(keeper.store, key, keys.KEY_ID)


@pytest.mark.parametrize("capability", ["read", "create", "update"])
@pytest.mark.parametrize("role", [NAME, "sales"])
def test_finish_sees_who_may_read_tokens_by_any_role_of_the_key(
    keeper: Lifecycle, moving: Moving, write_policy: Write, capability: str, role: str
) -> None:
    key = new_key()
    keeper.import_key(NAME, key, TEAM, ENGINE)
    if role != NAME:
        keeper.store.engine.create_role(role, NAME)
    moving.move(NAME, TRANSIT, key, granted=True)
    write_policy("reader", f'path "{token_path(keeper, role)}" {{ capabilities = ["{capability}"] }}')
    write_policy("stranger", f'path "{token_path(keeper, "other")}" {{ capabilities = ["{capability}"] }}')

    with pytest.raises(TokenRequestError, match=rf'on "{token_path(keeper, role)}" is still granted by reader$'):
        moving.finish(NAME, granted=True)

    assert moving.finish(NAME, trusted=("reader",), granted=True).changed


def test_copy_that_another_role_of_the_engine_uses_is_not_removed(keeper: Lifecycle, moving: Moving) -> None:
    key = new_key()
    keeper.import_key(NAME, key, TEAM, ENGINE)
    keeper.store.engine.create_role("sales", NAME)
    moving.move(NAME, Custody.KV, key, granted=True)
    before = keeper.store.read(NAME)

    with pytest.raises(TokenRequestError, match=r"is used by other roles \(sales\); nothing was changed") as caught:
        moving.finish(NAME, remove_copy=True, granted=True)

    assert f"vault delete {keeper.store.layout.engine_mount}/roles/sales" in str(caught.value.hint)
    assert keeper.store.read(NAME) == before
    verified(read_by_role(keeper.store), key)


def test_role_of_a_move_is_the_one_that_is_named_and_stays_that(keeper: Lifecycle, moving: Moving) -> None:
    key = new_key()
    keeper.import_key(NAME, key, TEAM)
    assert moving.move(NAME, ENGINE, role="sales", granted=True).stored.record.role == "sales"
    verified(read_by_role(keeper.store, "sales"), key)
    moving.move(NAME, Custody.KV, granted=True)

    with pytest.raises(ConflictError, match='are read by role "sales" already; nothing was changed'):
        moving.move(NAME, ENGINE, role="other", granted=True)

    assert moving.move(NAME, ENGINE, granted=True).stored.record.role == "sales"
    assert keeper.store.engine.roles_of(NAME) == ["sales"]


def test_move_to_the_engine_never_takes_over_what_is_there(keeper: Lifecycle, moving: Moving) -> None:
    foreign, key = new_key(), new_key()
    keeper.store.engine.create(NAME, foreign, TEAM)
    keeper.store.engine.create("theirs", foreign, TEAM)
    keeper.store.engine.create_role("sales", "theirs")
    for name in (NAME, "second"):
        keeper.import_key(name, key, TEAM)

    with pytest.raises(ConflictError, match=f'"{NAME}" is in engine .* already with another key'):
        moving.move(NAME, ENGINE, granted=True)
    with pytest.raises(ConflictError, match=r'role "sales" of engine .* gives tokens of key "theirs"'):
        moving.move("second", ENGINE, role="sales", granted=True)

    assert keeper.store.engine.find("second") is None
    verified(read_by_role(keeper.store, "sales"), foreign)
    for name in (NAME, "second"):
        assert minted_with(keeper.store, key, keys.KEY_ID, name)
