"""Record and engine after an interruption, or after somebody has stopped a key by hand: what a repeated command does, and not."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Root
from tests.support import (
    LOSE_REQUEST,
    NAME,
    PREFIX,
    TEAM,
    Wire,
    in_step,
    key_id,
    lifecycle_at,
    mint,
    minted_with,
    new_key,
    read_by_role,
)
from tests.vaults import VaultUnderTest
from vault_asc.clock import system_clock
from vault_asc.custody import KeyTokenSource, role_token
from vault_asc.errors import TokenRequestError, VaultError, VaultUnavailableError
from vault_asc.key.private_key import PrivateKey
from vault_asc.lab.server import KV_MOUNT, BaoServer
from vault_asc.lifecycle import Lifecycle
from vault_asc.names import Custody
from vault_asc.record import State
from vault_asc.store import Layout, Store
from vault_asc.tokens import TokenRequest
from vault_asc.vault import LostAnswerError, MissingVersionError


def rotated(keeper: Lifecycle, times: int) -> list[PrivateKey]:
    made = [new_key() for _ in range(times + 1)]
    keeper.import_key(NAME, made[0], TEAM, Custody.ENGINE)
    for number in range(1, times + 1):
        keeper.rotate(NAME, made[number], key_id(number))
    return made


@pytest.mark.parametrize("times", [1, 2])
def test_an_interrupted_rollback_is_completed_by_repeating_it_and_goes_no_further(
    keeper: Lifecycle, wired: Lifecycle, wire: Wire, times: int
) -> None:
    made = rotated(keeper, times)
    wire.lose_once("POST", f"keys/{NAME}/rollback", LOSE_REQUEST)
    with pytest.raises(LostAnswerError):
        wired.rollback(NAME)
    assert not in_step(keeper.store)
    assert keeper.rollback(NAME).changed
    assert in_step(keeper.store)
    kid = key_id(times - 1) if times > 1 else TEAM.key_id
    assert minted_with(keeper.store, made[times - 1], kid)
    assert read_by_role(keeper.store).key_id == kid


def test_a_key_that_was_stopped_by_hand_is_started_by_enable_alone(
    keeper: Lifecycle, root: Root, layout: Layout
) -> None:
    made = rotated(keeper, 1)
    root("POST", f"{layout.engine_mount}/keys/{NAME}/disable")
    keeper.import_key(NAME, made[1], TEAM._replace(key_id=key_id(1)), Custody.ENGINE)
    keeper.rotate(NAME, made[1], key_id(1))
    keeper.rotate(NAME, new_key(), key_id(2))
    keeper.rollback(NAME)
    found = keeper.store.engine.find(NAME)
    assert found is not None
    assert not found.enabled
    with pytest.raises(TokenRequestError, match=f'key "{NAME}" is disabled$'):
        mint(keeper.store)
    assert keeper.set_state(NAME, State.ENABLED).changed
    mint(keeper.store)
    assert not keeper.set_state(NAME, State.ENABLED).changed


def test_the_engine_stops_before_the_record_says_so_and_starts_after_it(
    keeper: Lifecycle, wired: Lifecycle, wire: Wire
) -> None:
    rotated(keeper, 0)
    wired.set_state(NAME, State.DISABLED)
    wired.set_state(NAME, State.ENABLED)
    changes = [path.rpartition("/")[2] for path in wire.writes if "capabilities" not in path]
    assert changes == ["disable", NAME, NAME, "enable"]


def test_an_import_that_ends_before_the_record_leaves_nothing_that_signs(
    keeper: Lifecycle, wired: Lifecycle, wire: Wire
) -> None:
    key = new_key()
    wire.lose_once("POST", f"/data/{keeper.store.layout.record(NAME)}", LOSE_REQUEST)
    with pytest.raises(LostAnswerError):
        wired.import_key(NAME, key, TEAM, Custody.ENGINE)
    with pytest.raises(TokenRequestError, match="is disabled"):
        read_by_role(keeper.store)
    assert keeper.import_key(NAME, key, TEAM, Custody.ENGINE).changed
    assert minted_with(keeper.store, key, TEAM.key_id)
    assert in_step(keeper.store)


@pytest.mark.parametrize("ahead", [1300, -1300])
def test_a_token_that_apple_would_refuse_is_not_used(keeper: Lifecycle, ahead: int) -> None:
    rotated(keeper, 0)
    now = system_clock() + ahead
    refused = "would be refused by Apple, so it was not used"
    with pytest.raises(VaultError, match=refused) as by_name:
        KeyTokenSource(keeper.store, NAME, lambda: now).token(TokenRequest())
    with pytest.raises(VaultError, match=refused) as by_role:
        role_token(keeper.store.engine, NAME, TokenRequest(), now)
    assert "compare the clock" in str(by_name.value.hint)
    assert by_name.value.hint == by_role.value.hint


def test_a_role_that_was_removed_comes_back_by_the_hint_and_by_the_repeated_import(
    keeper: Lifecycle, root: Root, layout: Layout
) -> None:
    (key,) = rotated(keeper, 0)
    for mend in ("hint", "import"):
        root("DELETE", f"{layout.engine_mount}/roles/{NAME}")
        with pytest.raises(MissingVersionError, match=f'key "{NAME}" gives no token by its role "{NAME}"') as caught:
            mint(keeper.store)
        assert f"vault write {layout.engine_mount}/roles/{NAME} key={NAME};" in str(caught.value.hint)
        if mend == "hint":
            root("POST", f"{layout.engine_mount}/roles/{NAME}", {"key": NAME})
        else:
            keeper.import_key(NAME, key, TEAM, Custody.ENGINE)
        assert minted_with(keeper.store, key, TEAM.key_id)


@pytest.fixture
def broken(tmp_path: Path) -> Iterator[Lifecycle]:
    """A server on which the engine was in use, and whose node has lost its file since."""
    with BaoServer(storage="raft") as server:
        server.mount_engine()
        layout = Layout(KV_MOUNT, PREFIX)
        with lifecycle_at(VaultUnderTest(server.address, server.root_token), layout) as keeper:
            keeper.import_key(NAME, new_key(), TEAM, Custody.ENGINE)
            for script in server.plugin_dir.iterdir():
                script.rename(tmp_path / script.name)
            server.stop()
            server.start()
            yield keeper


def test_an_engine_that_does_not_run_is_told_as_that_and_is_no_reason_to_rotate(broken: Lifecycle) -> None:
    calls = (
        lambda: mint(broken.store),
        lambda: read_by_role(broken.store),
        lambda: broken.rotate(NAME, new_key(), key_id(2)),
        lambda: broken.set_state(NAME, State.DISABLED),
        lambda: broken.import_key("other", new_key(), TEAM, Custody.ENGINE),
    )
    for call in calls:
        with pytest.raises(VaultUnavailableError, match="does not run on this node; its keys are safe") as caught:
            call()
        assert "vault plugin reload -plugin=asc -scope=global" in str(caught.value.hint)
    assert broken.store.read(NAME).version == 1


def test_an_engine_mount_of_another_kind_is_told_as_that(keeper: Lifecycle) -> None:
    rotated(keeper, 0)
    foreign = Store(keeper.store.vault, keeper.store.layout._replace(engine_mount=keeper.store.layout.mount))
    for call in (lambda: mint(foreign), lambda: read_by_role(foreign)):
        with pytest.raises(VaultError, match=r'is on a secrets engine of type "kv", not the asc engine') as caught:
            call()
        assert "store.engine_mount" in str(caught.value.hint)
