"""Key owners with the shipped policies: two people are needed to bring a key into use, and neither can read one."""

from collections.abc import Callable, Iterator

import pytest

from tests import keys
from tests.conftest import Root, TokenWith
from tests.support import NAME, PREFIX, TEAM, key_id, lifecycle_on, mint, minted_with, new_key
from tests.vaults import VaultUnderTest
from vault_asc import policy
from vault_asc.errors import NotFoundError, PermissionDeniedError, TokenRequestError
from vault_asc.key.wrapping import wrapped
from vault_asc.lifecycle import Lifecycle
from vault_asc.moving import Moving
from vault_asc.names import Custody
from vault_asc.record import State
from vault_asc.vault import MissingVersionError

in_both = pytest.mark.parametrize("custody", list(Custody), ids=str)


@pytest.fixture
def keeper(vault: VaultUnderTest, kv_mount: str, transit_mount: str) -> Iterator[Lifecycle]:
    with lifecycle_on(vault, kv_mount, transit_mount=transit_mount) as made:
        yield made


@pytest.fixture
def shipped(
    vault: VaultUnderTest, token_with: TokenWith, kv_mount: str, transit_mount: str
) -> Iterator[Callable[..., Lifecycle]]:
    """The commands as somebody who has these shipped policies and no other."""
    opened = []

    def as_role(*names: str, key: str | None = None) -> Lifecycle:
        store = {"mount": kv_mount, "prefix": PREFIX, "transit_mount": transit_mount}
        texts = [policy.render(name, **store, key=key, custodies=tuple(Custody)) for name in names]
        context = lifecycle_on(vault, kv_mount, token_with(*texts), transit_mount=transit_mount)
        opened.append(context)
        return context.__enter__()

    yield as_role
    for context in opened:
        context.__exit__(None, None, None)


@in_both
def test_two_people_rotate_and_neither_can_read_a_private_key(
    custody: Custody, keeper: Lifecycle, shipped: Callable[..., Lifecycle]
) -> None:
    old, new = new_key(), new_key()
    keeper.import_key(NAME, old, TEAM, custody)
    admin, registrar = shipped("key-admin"), shipped("registrar")

    note = admin.stage(NAME, new, keys.OTHER_KEY_ID)
    with pytest.raises(PermissionDeniedError, match=f'lacks "update" on ".*/data/{PREFIX}/keys/{NAME}"'):
        admin.promote(NAME, new.spki_sha256)
    with pytest.raises(PermissionDeniedError, match=f'lacks ".*" on ".*/data/{PREFIX}/private/{NAME}"|/config'):
        registrar.stage(NAME, new_key(), key_id(9))
    assert minted_with(keeper.store, old, keys.KEY_ID)

    change = registrar.promote(NAME, f"SHA256:{new.spki_sha256}")

    assert change.stored.record.imported_by == note.staged_by
    assert minted_with(keeper.store, new, keys.OTHER_KEY_ID)
    needed = {
        Custody.KV: f'"read" on ".*/data/{PREFIX}/private/{NAME}"',
        Custody.TRANSIT: rf'"update" on ".*/sign/{PREFIX}\.{NAME}"',
    }
    for person in (admin, registrar):
        with pytest.raises(PermissionDeniedError, match=f"lacks {needed[custody]}"):
            mint(person.store)
        with pytest.raises(PermissionDeniedError, match=f'lacks "read" on ".*/data/{PREFIX}/private/{NAME}"'):
            person.store.read_private(keeper.store.read(NAME))
        with pytest.raises(PermissionDeniedError, match=f'lacks "delete" on ".*/private/{NAME}"'):
            person.store.remove(NAME)


@in_both
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


@in_both
def test_both_policies_together_import_and_rotate(custody: Custody, shipped: Callable[..., Lifecycle]) -> None:
    both, minter = shipped("key-admin", "registrar"), shipped("minter", key=NAME)
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


@in_both
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


@in_both
def test_key_admin_alone_cannot_swap_a_key(
    custody: Custody, keeper: Lifecycle, shipped: Callable[..., Lifecycle]
) -> None:
    good, evil = new_key(), new_key()
    keeper.import_key(NAME, good, TEAM, custody)
    admin = shipped("key-admin")

    admin.store.write_private(NAME, evil, keys.KEY_ID, cas=1)  # same key ID, other key, straight into the store
    with pytest.raises(PermissionDeniedError):
        admin.import_key("fresh", evil, TEAM, custody)

    assert minted_with(keeper.store, good, keys.KEY_ID)


@in_both
def test_a_rotation_that_may_only_stage_says_what_it_left(
    custody: Custody, keeper: Lifecycle, shipped: Callable[..., Lifecycle]
) -> None:
    good, new = new_key(), new_key()
    keeper.import_key(NAME, good, TEAM, custody)

    with pytest.raises(PermissionDeniedError, match="version 2 is staged, the current key stays") as caught:
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


def test_minter_of_both_custodies_mints_before_and_after_a_move(
    keeper: Lifecycle, shipped: Callable[..., Lifecycle]
) -> None:
    key = new_key()
    keeper.import_key(NAME, key, TEAM)
    minter, both = shipped("minter", key=NAME), shipped("key-admin", "registrar")

    for custody in (Custody.TRANSIT, Custody.KV):
        assert minted_with(minter.store, key, keys.KEY_ID)
        # Those who move keys are not the ones who may read one: they give the file.
        Moving(both).move(NAME, custody, key, granted=True)
        assert keeper.store.read(NAME).record.custody is custody
    assert minted_with(minter.store, key, keys.KEY_ID)
