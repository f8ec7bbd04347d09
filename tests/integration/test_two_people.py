"""Key owners with the shipped policies: two people are needed to bring a key into use, and neither can read one."""

from collections.abc import Callable, Iterator

import pytest

from tests import keys
from tests.conftest import Root, TokenWith
from tests.support import (
    NAME,
    PREFIX,
    TEAM,
    in_step,
    key_id,
    layout_of,
    lifecycle_at,
    mint,
    minted_with,
    new_key,
    read_by_role,
    shipped_on,
    verified,
)
from tests.vaults import VaultUnderTest
from vault_asc.errors import NotFoundError, PermissionDeniedError, TokenRequestError
from vault_asc.key.wrapping import wrapped
from vault_asc.lifecycle import Lifecycle
from vault_asc.moving import Moving
from vault_asc.names import Custody
from vault_asc.record import State
from vault_asc.store import Layout
from vault_asc.vault import MissingVersionError

in_each = pytest.mark.parametrize("custody", list(Custody), ids=str)


ROLE_ADMIN = {Custody.KV: (), Custody.TRANSIT: (), Custody.ENGINE: ("role-admin",)}
"""Who is needed besides to import: in the engine a role is made, by which tokens are read."""


@pytest.fixture
def layout(request: pytest.FixtureRequest) -> Layout:
    return layout_of(request)


@pytest.fixture
def keeper(vault: VaultUnderTest, layout: Layout) -> Iterator[Lifecycle]:
    with lifecycle_at(vault, layout) as made:
        yield made


@pytest.fixture
def shipped(vault: VaultUnderTest, token_with: TokenWith, layout: Layout) -> Iterator[Callable[..., Lifecycle]]:
    with shipped_on(vault, layout, token_with) as made:
        yield made


@in_each
def test_two_people_rotate_and_neither_can_read_a_private_key(
    custody: Custody, keeper: Lifecycle, shipped: Callable[..., Lifecycle]
) -> None:
    old, new = new_key(), new_key()
    keeper.import_key(NAME, old, TEAM, custody)
    admin, registrar = shipped("key-admin"), shipped("registrar")

    note = admin.stage(NAME, new, keys.OTHER_KEY_ID)
    with pytest.raises(PermissionDeniedError, match=f'lacks "update" on ".*/keys/{NAME}(/promote)?"'):
        admin.promote(NAME, new.spki_sha256)
    stages = f'lacks ".*" on ".*/data/{PREFIX}/private/{NAME}"|/config|lacks "update" on ".*/keys/{NAME}/stage"'
    with pytest.raises(PermissionDeniedError, match=stages):
        registrar.stage(NAME, new_key(), key_id(9))
    assert minted_with(keeper.store, old, keys.KEY_ID)

    change = registrar.promote(NAME, f"SHA256:{new.spki_sha256}")

    assert change.stored.record.imported_by == note.staged_by
    assert minted_with(keeper.store, new, keys.OTHER_KEY_ID)
    needed = {
        Custody.KV: f'"read" on ".*/data/{PREFIX}/private/{NAME}"',
        Custody.TRANSIT: rf'"update" on ".*/sign/{PREFIX}\.{NAME}"',
        Custody.ENGINE: f'"read" on ".*/token/{NAME}"',
    }
    stored = keeper.store.read(NAME)
    for person in (admin, registrar):
        with pytest.raises(PermissionDeniedError, match=f"lacks {needed[custody]}"):
            mint(person.store)
        with pytest.raises(PermissionDeniedError, match=f'lacks "read" on ".*/data/{PREFIX}/private/{NAME}"'):
            person.store.read_private(stored._replace(record=stored.record._replace(private_version=1)))
        with pytest.raises(PermissionDeniedError, match=f'lacks "delete" on ".*/private/{NAME}"'):
            person.store.remove(NAME)


@in_each
def test_registrar_alone_rolls_back_disables_and_enables(
    custody: Custody, keeper: Lifecycle, shipped: Callable[..., Lifecycle]
) -> None:
    old, new = new_key(), new_key()
    keeper.import_key(NAME, old, TEAM, custody)
    keeper.rotate(NAME, new, keys.OTHER_KEY_ID)
    registrar = shipped("registrar")

    registrar.rollback(NAME)
    registrar.set_state(NAME, State.DISABLED)
    registrar.set_state(NAME, State.ENABLED)
    assert minted_with(keeper.store, old, keys.KEY_ID)

    registrar.promote(NAME)
    assert minted_with(keeper.store, new, keys.OTHER_KEY_ID)


@in_each
def test_the_policies_together_import_and_rotate(custody: Custody, shipped: Callable[..., Lifecycle]) -> None:
    both, minter = shipped("key-admin", "registrar", *ROLE_ADMIN[custody]), shipped("minter", key=NAME)
    key, new = new_key(), new_key()
    both.import_key(NAME, key, TEAM, custody)
    assert minted_with(minter.store, key, keys.KEY_ID)
    both.rotate(NAME, new, keys.OTHER_KEY_ID)
    assert minted_with(minter.store, new, keys.OTHER_KEY_ID)


def test_key_admin_can_stop_a_key_and_more_versions_make_that_harder(
    keeper: Lifecycle, shipped: Callable[..., Lifecycle], root: Root, kv_mount: str
) -> None:
    for name in (NAME, "guarded"):
        keeper.import_key(name, new_key(), TEAM)
    admin = shipped("key-admin")
    root("POST", f"{kv_mount}/metadata/{PREFIX}/private/guarded", {"max_versions": 100})
    for name in (NAME, "guarded"):
        for number in range(11):
            admin.store.write_private(name, new_key(), key_id(number), cas=number + 1)

    with pytest.raises(MissingVersionError, match="pruned by max_versions") as caught:
        mint(keeper.store)
    assert caught.value.hint == f"rotate to a new key (vault-asc key rotate {NAME} FILE)"
    mint(keeper.store, "guarded")
    keeper.rotate(NAME, new_key(), keys.OTHER_KEY_ID)
    mint(keeper.store)


def test_registrar_can_cut_the_history(keeper: Lifecycle, shipped: Callable[..., Lifecycle]) -> None:
    keeper.import_key(NAME, new_key(), TEAM)
    keeper.rotate(NAME, new_key(), keys.OTHER_KEY_ID)
    registrar = shipped("registrar")
    for state in [State.DISABLED, State.ENABLED] * 5:
        registrar.set_state(NAME, state)

    with pytest.raises(NotFoundError, match="does not show an earlier key"):
        keeper.rollback(NAME)


@in_each
def test_break_glass_destroys_a_disabled_key(
    custody: Custody, keeper: Lifecycle, shipped: Callable[..., Lifecycle]
) -> None:
    keeper.import_key(NAME, new_key(), TEAM, custody)
    keeper.import_key("other", new_key(), TEAM, custody)
    last = shipped("break-glass", key=NAME)
    with pytest.raises(TokenRequestError, match="is enabled, nothing was destroyed"):
        last.destroy(NAME)
    for name in (NAME, "other"):
        keeper.set_state(name, State.DISABLED)

    assert last.destroy(NAME)
    assert not last.destroy(NAME)
    with pytest.raises(PermissionDeniedError):
        last.destroy("other")


@in_each
def test_key_admin_alone_cannot_swap_a_key(
    custody: Custody, keeper: Lifecycle, shipped: Callable[..., Lifecycle]
) -> None:
    good, evil = new_key(), new_key()
    keeper.import_key(NAME, good, TEAM, custody)
    admin = shipped("key-admin")

    # Same key ID, other key, straight into the store; the engine refuses the same ID of itself.
    if custody is Custody.ENGINE:
        admin.store.engine.stage(NAME, evil, TEAM._replace(key_id=keys.OTHER_KEY_ID))
    else:
        admin.store.write_private(NAME, evil, keys.KEY_ID, cas=keeper.store.private_metadata(NAME).current_version)
    with pytest.raises(PermissionDeniedError):
        admin.import_key("fresh", evil, TEAM, custody)

    assert minted_with(keeper.store, good, keys.KEY_ID)


@in_each
def test_a_rotation_that_may_only_stage_says_what_it_left(
    custody: Custody, keeper: Lifecycle, shipped: Callable[..., Lifecycle]
) -> None:
    good, new = new_key(), new_key()
    keeper.import_key(NAME, good, TEAM, custody)

    with pytest.raises(
        PermissionDeniedError, match="version 2 is staged, the record still names the current key"
    ) as caught:
        shipped("key-admin").rotate(NAME, new, keys.OTHER_KEY_ID)

    told = f"key promote {NAME} --key-id {keys.OTHER_KEY_ID} --fingerprint SHA256:{new.spki_sha256}"
    assert told in str(caught.value.hint)
    assert minted_with(keeper.store, good, keys.KEY_ID)
    assert shipped("registrar").promote(NAME, new.spki_sha256).changed


# What is different in custody transit.


def test_registrar_alone_retires_and_takes_it_back(keeper: Lifecycle, shipped: Callable[..., Lifecycle]) -> None:
    old = new_key()
    keeper.import_key(NAME, old, TEAM, Custody.TRANSIT)
    keeper.rotate(NAME, new_key(), keys.OTHER_KEY_ID)
    registrar = shipped("registrar")

    with pytest.raises(PermissionDeniedError, match=rf'lacks "update" on ".*/keys/{PREFIX}\.{NAME}/config"'):
        shipped("key-admin").retire(NAME)
    assert registrar.retire(NAME)
    assert not registrar.retire(NAME)

    registrar.rollback(NAME)
    assert minted_with(keeper.store, old, keys.KEY_ID)


def test_key_admin_alone_cannot_swap_a_key_in_transit(keeper: Lifecycle, shipped: Callable[..., Lifecycle]) -> None:
    good, evil = new_key(), new_key()
    keeper.import_key(NAME, good, TEAM, Custody.TRANSIT)
    transit = shipped("key-admin").store.transit

    transit.put(f"{PREFIX}.{NAME}", wrapped(evil, transit.wrapping_key()), further=True)

    assert minted_with(keeper.store, good, keys.KEY_ID)
    for deed in (
        lambda: transit.retire_below(f"{PREFIX}.{NAME}", 2),
        lambda: transit.delete(f"{PREFIX}.{NAME}"),
        lambda: transit.vault.ask("POST", f"{transit.mount}/keys/{PREFIX}.{NAME}/rotate", "update"),
        lambda: transit.vault.ask("GET", f"{transit.mount}/export/signing-key/{PREFIX}.{NAME}", "read"),
    ):
        with pytest.raises(PermissionDeniedError):
            deed()


def test_minter_of_all_custodies_mints_before_and_after_each_move(
    keeper: Lifecycle, shipped: Callable[..., Lifecycle]
) -> None:
    key = new_key()
    keeper.import_key(NAME, key, TEAM)
    minter, both = shipped("minter", key=NAME), shipped("key-admin", "registrar", "role-admin", "auditor")
    everybody = keeper.store.vault.policies()

    for custody in (Custody.TRANSIT, Custody.KV, Custody.ENGINE, Custody.TRANSIT, Custody.ENGINE, Custody.KV):
        assert minted_with(minter.store, key, keys.KEY_ID)
        # Those who move keys are not the ones who may read one: they give the file.
        if keeper.store.read(NAME).record.moved_from not in {None, custody}:
            Moving(both).finish(NAME, trusted=everybody, granted=True)
        Moving(both).move(NAME, custody, key, granted=True)
        assert keeper.store.read(NAME).record.custody is custody
    assert minted_with(minter.store, key, keys.KEY_ID)


# What is different in custody engine.


def test_in_the_engine_a_registrar_decides_for_those_who_read_by_role_too(
    keeper: Lifecycle, shipped: Callable[..., Lifecycle]
) -> None:
    old, new = new_key(), new_key()
    keeper.import_key(NAME, old, TEAM, Custody.ENGINE)
    admin, registrar = shipped("key-admin"), shipped("registrar")
    admin.stage(NAME, new, keys.OTHER_KEY_ID)
    verified(read_by_role(keeper.store), old)

    registrar.promote(NAME, new.spki_sha256)
    verified(read_by_role(keeper.store), new)
    registrar.rollback(NAME)
    verified(read_by_role(keeper.store), old)
    registrar.promote(NAME)
    registrar.set_state(NAME, State.DISABLED)
    with pytest.raises(TokenRequestError, match="is disabled"):
        read_by_role(keeper.store)
    registrar.set_state(NAME, State.ENABLED)
    assert registrar.retire(NAME)

    verified(read_by_role(keeper.store), new)
    assert in_step(keeper.store)
    with pytest.raises(NotFoundError, match="is gone"):
        registrar.rollback(NAME)


def test_import_into_the_engine_without_a_role_admin_writes_nothing(
    keeper: Lifecycle, shipped: Callable[..., Lifecycle]
) -> None:
    both = shipped("key-admin", "registrar")

    with pytest.raises(PermissionDeniedError, match=f'lacks "create" on ".*/roles/{NAME}"; nothing was written'):
        both.import_key(NAME, new_key(), TEAM, Custody.ENGINE)

    assert keeper.store.engine.find(NAME) is None
    assert keeper.store.find(NAME) is None


def test_token_reader_reads_tokens_of_its_role_and_knows_nothing_else(
    keeper: Lifecycle, shipped: Callable[..., Lifecycle]
) -> None:
    key = new_key()
    keeper.import_key(NAME, key, TEAM, Custody.ENGINE)
    keeper.import_key("other", new_key(), TEAM, Custody.ENGINE)
    reader = shipped("token-reader", role=NAME).store

    verified(read_by_role(reader), key)
    deeds: tuple[Callable[[], object], ...] = (
        lambda: read_by_role(reader, "other"),
        lambda: reader.engine.find(NAME),
        lambda: reader.engine.key_of_role(NAME),
        lambda: mint(reader),
    )
    for deed in deeds:
        with pytest.raises(PermissionDeniedError):
            deed()
