"""What Vault takes away by itself, planned deletions and pruned versions, and that no command is surprised by it."""

from collections.abc import Iterator

import pytest

from tests import keys
from tests.conftest import Root, TokenWith
from tests.support import NAME, PREFIX, TEAM, key_id, lifecycle_on, minted_with, new_key
from tests.vaults import VaultUnderTest
from vault_asc.errors import NotFoundError, PermissionDeniedError, VaultError
from vault_asc.lifecycle import Lifecycle


@pytest.fixture
def keeper(vault: VaultUnderTest, kv_mount: str) -> Iterator[Lifecycle]:
    with lifecycle_on(vault, kv_mount) as made:
        yield made


def versions(keeper: Lifecycle) -> list[int]:
    return sorted(keeper.store.private_metadata(NAME).versions)


def tune(root: Root, kv_mount: str, secret: str | None, **settings: object) -> None:
    where = "config" if secret is None else f"metadata/{PREFIX}/{secret}/{NAME}"
    root("POST", f"{kv_mount}/{where}", settings)


@pytest.mark.parametrize("secret", [None, "private", "keys"])
def test_import_where_versions_would_be_deleted_is_refused(
    keeper: Lifecycle, root: Root, kv_mount: str, secret: str | None
) -> None:
    tune(root, kv_mount, secret, delete_version_after="1h")
    with pytest.raises(VaultError, match=r"are deleted after 1h0m0s \(delete_version_after\), so nothing") as caught:
        keeper.import_key(NAME, new_key(), TEAM)
    assert keeper.store.private_metadata(NAME).current_version == 0

    # The hint is the cure.
    if secret is None:
        assert f"vault write {kv_mount}/config delete_version_after=0s" in str(caught.value.hint)
    else:
        assert f"-delete-version-after=0s {kv_mount}/{PREFIX}/{secret}/{NAME}" in str(caught.value.hint)
    tune(root, kv_mount, secret, delete_version_after="0s")
    assert keeper.import_key(NAME, new_key(), TEAM).changed


@pytest.mark.parametrize("secret", [None, "private"])
def test_rotation_where_versions_would_be_deleted_is_refused(
    keeper: Lifecycle, root: Root, kv_mount: str, secret: str | None
) -> None:
    key = new_key()
    keeper.import_key(NAME, key, TEAM)
    tune(root, kv_mount, secret, delete_version_after="24h")
    with pytest.raises(VaultError, match="are deleted after 24h0m0s"):
        keeper.rotate(NAME, new_key(), keys.OTHER_KEY_ID)
    assert versions(keeper) == [1]
    assert minted_with(keeper.store, key, keys.KEY_ID)


def test_deletion_that_is_switched_off_for_the_mount_is_none(keeper: Lifecycle, root: Root, kv_mount: str) -> None:
    tune(root, kv_mount, None, delete_version_after="-1s")
    tune(root, kv_mount, "private", delete_version_after="1h")

    keeper.import_key(NAME, new_key(), TEAM)

    assert keeper.store.private_metadata(NAME).versions[1].readable


def test_planned_deletion_of_the_version_before_counts_as_gone(keeper: Lifecycle, root: Root, kv_mount: str) -> None:
    keeper.import_key(NAME, new_key(), TEAM)
    tune(root, kv_mount, "private", delete_version_after="1h")
    other = new_key()
    data = {"private_key": other.pem.reveal(), "key_id": keys.OTHER_KEY_ID}
    root("POST", f"{kv_mount}/data/{PREFIX}/private/{NAME}", {"data": data})

    version = keeper.store.private_metadata(NAME).versions[2]

    assert version.deletion_time.startswith("20")
    assert not version.readable
    tune(root, kv_mount, "private", delete_version_after="0s")
    assert keeper.stage(NAME, other, keys.OTHER_KEY_ID).private_version == 3


@pytest.mark.parametrize(
    ("on_secret", "on_mount", "kept"),
    [(None, None, 10), (3, None, 3), (None, 3, 3), (2, 4, 4), (4, 2, 4), (1, None, 1)],
)
def test_staging_stops_before_it_would_prune_the_current_version(
    keeper: Lifecycle, root: Root, kv_mount: str, on_secret: int | None, on_mount: int | None, kept: int
) -> None:
    if on_secret is not None:
        tune(root, kv_mount, "private", max_versions=on_secret)
    if on_mount is not None:
        tune(root, kv_mount, None, max_versions=on_mount)
    key = new_key()
    keeper.import_key(NAME, key, TEAM)
    for number in range(kept - 1):
        keeper.stage(NAME, new_key(), key_id(number))

    with pytest.raises(VaultError, match=rf"would prune version 1, which is current \(max_versions {kept}\)") as caught:
        keeper.stage(NAME, new_key(), key_id(99))

    assert versions(keeper) == list(range(1, kept + 1))
    assert minted_with(keeper.store, key, keys.KEY_ID)
    assert f"-max-versions={kept + 10} {kv_mount}/{PREFIX}/private/{NAME}" in str(caught.value.hint)
    # The hint is the cure.
    tune(root, kv_mount, "private", max_versions=kept + 10)
    keeper.stage(NAME, new_key(), key_id(99))
    assert minted_with(keeper.store, key, keys.KEY_ID)


def test_rollback_to_a_pruned_version(keeper: Lifecycle, root: Root, kv_mount: str) -> None:
    tune(root, kv_mount, "private", max_versions=2)
    keeper.import_key(NAME, new_key(), TEAM)
    second, third = new_key(), new_key()
    keeper.rotate(NAME, second, key_id(2))
    keeper.rotate(NAME, third, key_id(3))

    with pytest.raises(NotFoundError, match=r"private version 1 of .* is gone"):
        keeper.rollback(NAME, 1)
    keeper.rollback(NAME)
    assert minted_with(keeper.store, second, key_id(2))
    # Now another version would prune the current one.
    with pytest.raises(VaultError, match="would prune version 2"):
        keeper.rotate(NAME, new_key(), key_id(4))
    keeper.promote(NAME)
    keeper.rotate(NAME, new_key(), key_id(4))


def test_without_sight_of_the_mounts_settings_nothing_is_staged(
    vault: VaultUnderTest, token_with: TokenWith, kv_mount: str, keeper: Lifecycle
) -> None:
    keeper.import_key(NAME, new_key(), TEAM)
    blind = f"""
        path "{kv_mount}/data/*" {{ capabilities = ["create", "update", "read"] }}
        path "{kv_mount}/metadata/*" {{ capabilities = ["read"] }}
    """
    with (
        lifecycle_on(vault, kv_mount, token_with(blind)) as other,
        pytest.raises(PermissionDeniedError, match=f'lacks "read" on "{kv_mount}/config"'),
    ):
        other.stage(NAME, new_key(), keys.OTHER_KEY_ID)
    assert versions(keeper) == [1]
