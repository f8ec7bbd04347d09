"""Keys in the engine, on a real server: what is sent there, what is taken over or refused, what is kept, what is left."""

from collections.abc import Callable

import pytest

from tests import keys
from tests.conftest import Root
from tests.support import (
    LOSE_ANSWER,
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
    team,
    verified,
)
from tests.vaults import VaultUnderTest
from vault_asc.errors import ConflictError, NotFoundError, TokenRequestError, VaultError
from vault_asc.key.identity import Identity, identity
from vault_asc.key.private_key import PrivateKey
from vault_asc.lifecycle import Lifecycle
from vault_asc.names import Custody
from vault_asc.pointing import Change
from vault_asc.record import State
from vault_asc.store import Layout
from vault_asc.tokens import TokenRequest
from vault_asc.vault import LostAnswerError, MissingVersionError


def imported(
    keeper: Lifecycle, key: PrivateKey, kid: str = keys.KEY_ID, *, name: str = NAME, role: str | None = None
) -> Change:
    return keeper.import_key(name, key, team(kid), Custody.ENGINE, role=role)


@pytest.fixture
def rotated(keeper: Lifecycle) -> list[PrivateKey]:
    """A key that was rotated twice; its versions 2 and 3 are kept."""
    made = [new_key() for _ in range(3)]
    imported(keeper, made[0], key_id(1))
    for number in (2, 3):
        keeper.rotate(NAME, made[number - 1], key_id(number))
    return made


def everybody_gets(keeper: Lifecycle, key: PrivateKey, kid: str) -> bool:
    """Whether name and role give tokens of this key."""
    token = read_by_role(keeper.store)
    verified(token, key)
    return token.key_id == kid and minted_with(keeper.store, key, kid) and in_step(keeper.store)


# Import: what is sent, what is taken over, what is refused.


def test_private_key_is_sent_to_the_engine_once_and_to_nothing_else(wire: Wire, wired: Lifecycle) -> None:
    key = new_key()
    record = imported(wired, key).stored.record

    line = key.pem.reveal().splitlines()[1].encode()
    got = [path for (_, path), body in zip(wire.calls, wire.bodies, strict=True) if line in body]
    assert got == [f"{wired.store.layout.engine_mount}/keys/{NAME}"]
    assert (record.custody, record.role, record.engine_version) == (Custody.ENGINE, NAME, 1)
    assert (record.private_version, record.transit_key, record.moved_from) == (None, None, None)
    assert wired.store.private_metadata(NAME).current_version == 0


def test_the_role_is_the_one_that_is_named(keeper: Lifecycle) -> None:
    key = new_key()
    assert imported(keeper, key, role="sales").stored.record.role == "sales"
    verified(read_by_role(keeper.store, "sales"), key)
    assert minted_with(keeper.store, key, keys.KEY_ID)
    assert keeper.store.engine.roles_of(NAME) == ["sales"]

    assert not imported(keeper, key, role="sales").changed
    assert not imported(keeper, key).changed
    with pytest.raises(ConflictError, match='are read by role "sales" already; nothing was changed'):
        imported(keeper, key, role="other")
    assert keeper.store.engine.roles_of(NAME) == ["sales"]


def test_role_of_the_key_that_is_there_already_stays_as_narrow_as_it_is(
    keeper: Lifecycle, root: Root, layout: Layout
) -> None:
    key = new_key()
    keeper.store.engine.create(NAME, key, TEAM)
    root("POST", f"{layout.engine_mount}/roles/{NAME}", {"key": NAME, "scope": ["GET /v1/apps"], "lifetime": 300})

    assert imported(keeper, key).changed  # as after an interruption

    _, claims = verified(mint(keeper.store).token, key)
    assert (claims["scope"], claims["exp"] - claims["iat"]) == (["GET /v1/apps"], 300)


def test_role_of_another_key_is_refused_before_anything_is_written(keeper: Lifecycle) -> None:
    theirs = new_key()
    imported(keeper, theirs, name="theirs", role="sales")

    with pytest.raises(ConflictError, match=r'role "sales" of engine ".*" gives tokens of key "theirs"') as caught:
        imported(keeper, new_key(), role="sales")

    assert "--role" in str(caught.value.hint)
    assert keeper.store.engine.find(NAME) is None
    verified(read_by_role(keeper.store, "sales"), theirs)


def _another(keeper: Lifecycle, _key: PrivateKey) -> None:
    keeper.store.engine.create(NAME, new_key(), TEAM)


def _another_staged(keeper: Lifecycle, key: PrivateKey) -> None:
    keeper.store.engine.create(NAME, key, TEAM)
    keeper.store.engine.stage(NAME, new_key(), team(key_id(2)))


def _another_before(keeper: Lifecycle, key: PrivateKey) -> None:
    keeper.store.engine.create(NAME, new_key(), team(key_id(2)))
    keeper.store.engine.stage(NAME, key, TEAM)
    keeper.store.engine.promote(NAME, 2)


NOT_OURS: dict[str, Callable[[Lifecycle, PrivateKey], None]] = {
    "another key": _another,
    "another is staged": _another_staged,
    "another was current": _another_before,
}


@pytest.mark.parametrize("case", NOT_OURS)
def test_key_of_that_name_that_is_not_only_ours_is_not_taken_over(keeper: Lifecycle, case: str) -> None:
    key = new_key()
    NOT_OURS[case](keeper, key)
    before = keeper.store.engine.find(NAME)

    with pytest.raises(
        ConflictError, match=r"is in engine .* already with another key.* nothing was written"
    ) as caught:
        imported(keeper, key)

    assert f"vault-asc key destroy {NAME} --leftover" in str(caught.value.hint)
    assert keeper.store.engine.find(NAME) == before
    assert keeper.store.find(NAME) is None
    assert not keeper.destroy(NAME)
    with pytest.raises(
        TokenRequestError, match="gives tokens, and no record points to it; nothing was removed"
    ) as live:
        keeper.destroy(NAME, leftover=True)
    assert f"vault write -f {keeper.store.layout.engine_mount}/keys/{NAME}/disable" in str(live.value.hint)
    assert keeper.store.engine.find(NAME) == before
    keeper.store.engine.set_enabled(NAME, enabled=False)
    assert keeper.destroy(NAME, leftover=True)
    assert imported(keeper, key).changed


@pytest.mark.parametrize(
    "who", [team(keys.OTHER_KEY_ID), identity(key_id=keys.KEY_ID, issuer_id=None, individual=True)]
)
def test_our_key_that_is_there_with_other_ids_is_refused(keeper: Lifecycle, who: Identity) -> None:
    key = new_key()
    keeper.store.engine.create(NAME, key, who)

    with pytest.raises(VaultError, match="is the current key already, nothing was staged") as caught:
        imported(keeper, key)

    assert "to correct the IDs" in str(caught.value.hint)
    assert keeper.store.find(NAME) is None


def test_our_key_that_is_there_and_disabled_signs_once_it_is_imported(keeper: Lifecycle) -> None:
    key = new_key()
    keeper.store.engine.create(NAME, key, TEAM)
    keeper.store.engine.set_enabled(NAME, enabled=False)
    imported(keeper, key)
    assert everybody_gets(keeper, key, keys.KEY_ID)


def test_what_lies_in_kv_under_that_name_is_told_before_anything_is_written(keeper: Lifecycle) -> None:
    keeper.store.write_private(NAME, new_key(), keys.KEY_ID, cas=0)
    with pytest.raises(VaultError, match=f"/private/{NAME}.* holds a private part.*nothing was written"):
        imported(keeper, new_key())
    assert keeper.store.engine.find(NAME) is None


@pytest.mark.parametrize("kind", ["kv", "missing", "below"])
def test_mount_that_is_no_engine_is_told_before_anything_is_written(
    vault: VaultUnderTest, layout: Layout, wire: Wire, kind: str
) -> None:
    mount, message, hint = {
        "kv": (layout.mount, 'is on a secrets engine of type "kv", not', "store.engine_mount"),
        "missing": ("nowhere", 'there is no mount at "nowhere"', "vault secrets enable -path=nowhere"),
        "below": (
            f"{layout.engine_mount}/x",
            "is no mount but a path below",
            f'engine_mount = "{layout.engine_mount}"',
        ),
    }[kind]
    with lifecycle_at(vault, layout._replace(engine_mount=mount), address=wire.address) as keeper:
        with pytest.raises(VaultError, match=f"{message}.*; nothing was written") as caught:
            imported(keeper, new_key())
        assert hint in str(caught.value.hint)
    assert wire.writes == []


# Older versions.


def test_only_the_version_before_is_kept_and_older_ones_are_told_as_gone(
    keeper: Lifecycle, rotated: list[PrivateKey]
) -> None:
    before = keeper.store.read(NAME)
    with pytest.raises(NotFoundError, match=r"engine version 1 of .* is gone .*, nothing was changed") as caught:
        keeper.rollback(NAME, 1)
    assert f"vault-asc key show {NAME}" in str(caught.value.hint)
    assert keeper.store.read(NAME) == before

    keeper.rollback(NAME)
    assert everybody_gets(keeper, rotated[1], key_id(2))
    with pytest.raises(NotFoundError, match=r"engine version 1 .* is gone"):
        keeper.rollback(NAME)
    assert everybody_gets(keeper, rotated[1], key_id(2))
    keeper.rollback(NAME, 3)  # forward, by number
    assert everybody_gets(keeper, rotated[2], key_id(3))


def test_retirement_forgets_for_good_and_rollback_says_so(keeper: Lifecycle, rotated: list[PrivateKey]) -> None:
    assert keeper.retire(NAME)
    assert not keeper.retire(NAME)

    with pytest.raises(MissingVersionError, match='version 2 of key "prod" is not kept'):
        keeper.store.engine.token(NAME, TokenRequest(), 2)
    with pytest.raises(NotFoundError, match=r"engine version 2 of .* is gone .*, nothing was changed"):
        keeper.rollback(NAME)
    assert everybody_gets(keeper, rotated[2], key_id(3))

    keeper.rotate(NAME, rotated[1], key_id(2))  # an older key comes back as a new version
    assert keeper.store.read(NAME).record.engine_version == 4
    assert everybody_gets(keeper, rotated[1], key_id(2))


def test_what_is_staged_survives_a_retirement_and_not_a_rollback(keeper: Lifecycle, rotated: list[PrivateKey]) -> None:
    new = new_key()
    keeper.stage(NAME, new, key_id(4))
    assert keeper.retire(NAME)
    keeper.promote(NAME, new.spki_sha256)
    assert everybody_gets(keeper, new, key_id(4))

    keeper.stage(NAME, new_key(), key_id(5))
    keeper.rollback(NAME)
    assert everybody_gets(keeper, rotated[2], key_id(3))
    with pytest.raises(NotFoundError, match="nothing is staged"):
        keeper.promote(NAME)


def test_staged_version_that_was_pushed_out_is_staged_anew(keeper: Lifecycle) -> None:
    new = new_key()
    imported(keeper, new_key())
    keeper.stage(NAME, new, key_id(2))
    keeper.store.engine.stage(NAME, new_key(), team(key_id(3)))

    with pytest.raises(NotFoundError, match="nothing is staged"):
        keeper.promote(NAME)
    assert keeper.stage(NAME, new, key_id(2)).engine_version == 4
    keeper.promote(NAME, new.spki_sha256)
    assert everybody_gets(keeper, new, key_id(2))


def test_key_that_was_deleted_there_is_replaced_by_two_people(keeper: Lifecycle, rotated: list[PrivateKey]) -> None:
    keeper.store.engine.delete(NAME, NAME)
    keeper.store.engine.create(NAME, new_key(), team(key_id(7)))  # and somebody else's came there
    new = new_key()
    with pytest.raises(MissingVersionError, match='gives no token by its role "prod"'):
        mint(keeper.store)

    note = keeper.stage(NAME, new, key_id(4))
    assert keeper.stage(NAME, new, key_id(4)) == note
    assert keeper.promote(NAME, new.spki_sha256).changed

    assert everybody_gets(keeper, new, key_id(4))
    with pytest.raises(NotFoundError, match="is gone"):
        keeper.rollback(NAME)  # to nothing of the key before


def test_staging_does_not_bring_back_a_role_that_was_taken_away(keeper: Lifecycle, root: Root, layout: Layout) -> None:
    imported(keeper, new_key())
    root("DELETE", f"{layout.engine_mount}/roles/{NAME}")
    keeper.rotate(NAME, new_key(), keys.OTHER_KEY_ID)
    assert keeper.store.engine.key_of_role(NAME) is None


# Disable, enable, destroy.


def test_disabling_stops_readers_of_every_role_and_enabling_lets_them_go_on(keeper: Lifecycle) -> None:
    key = new_key()
    imported(keeper, key)
    keeper.store.engine.create_role("sales", NAME)

    for _ in range(2):  # it can be repeated
        keeper.set_state(NAME, State.DISABLED)
        for role in (NAME, "sales"):
            with pytest.raises(TokenRequestError, match="is disabled"):
                read_by_role(keeper.store, role)
    with pytest.raises(TokenRequestError, match="was disabled by"):
        mint(keeper.store)
    keeper.rotate(NAME, key := new_key(), keys.OTHER_KEY_ID)
    with pytest.raises(TokenRequestError, match="is disabled"):
        read_by_role(keeper.store)

    keeper.set_state(NAME, State.ENABLED)
    verified(read_by_role(keeper.store, "sales"), key)
    assert everybody_gets(keeper, key, keys.OTHER_KEY_ID)


@pytest.mark.parametrize("state", list(State))
def test_state_that_only_the_engine_has_lost_is_mended_by_the_same_command(keeper: Lifecycle, state: State) -> None:
    imported(keeper, new_key())
    keeper.set_state(NAME, state)
    keeper.store.engine.set_enabled(NAME, enabled=state is State.DISABLED)

    assert keeper.set_state(NAME, state).changed
    assert in_step(keeper.store)
    assert not keeper.set_state(NAME, state).changed


def test_destruction_that_another_role_prevents_removes_nothing_and_is_repeated(
    keeper: Lifecycle, root: Root, layout: Layout
) -> None:
    imported(keeper, new_key())
    keeper.store.engine.create_role("sales", NAME)
    keeper.set_state(NAME, State.DISABLED)

    with pytest.raises(TokenRequestError, match=r"is used by other roles \(sales\); nothing was changed") as caught:
        keeper.destroy(NAME)
    assert f"vault delete {layout.engine_mount}/roles/sales" in str(caught.value.hint)
    assert keeper.store.read(NAME).record.state is State.DISABLED
    assert keeper.store.engine.roles_of(NAME) == [NAME, "sales"]

    root("DELETE", f"{layout.engine_mount}/roles/sales")
    assert keeper.destroy(NAME)
    assert not keeper.destroy(NAME, leftover=True)


def test_what_an_interrupted_import_has_left_is_told_and_removed_when_that_is_said(keeper: Lifecycle) -> None:
    key = new_key()
    imported(keeper, key)
    keeper.store.vault.kv_delete_all(keeper.store.layout.mount, keeper.store.layout.record(NAME))

    left = keeper.leftovers(NAME)[Custody.ENGINE]
    (version,) = left.versions
    assert (version.spki_sha256, version.key_id, left.roles) == (key.spki_sha256, keys.KEY_ID, (NAME,))
    assert (left.owner, left.own, left.enabled) == (f"{keeper.store.layout.mount}/{PREFIX}", True, True)
    assert not keeper.destroy(NAME)
    verified(read_by_role(keeper.store), key)  # somebody may live on it
    keeper.store.engine.set_enabled(NAME, enabled=False)
    with pytest.raises(ConflictError, match="has changed since it was shown; nothing was removed"):
        keeper.destroy(NAME, leftover=True, shown={Custody.ENGINE: left})
    assert keeper.destroy(NAME, leftover=True, shown=keeper.leftovers(NAME))

    assert not keeper.leftovers(NAME)
    assert keeper.store.engine.key_of_role(NAME) is None


def test_new_key_says_whose_it_is_and_signs_for_nobody_before_there_is_a_record(wire: Wire, wired: Lifecycle) -> None:
    seen: list[str] = []

    def look(method: str, path: str) -> None:
        if method == "POST" and ("/roles/" in path or path.endswith(f"/keys/{NAME}")) and "/data/" not in path:
            there = wired.store.engine.find(NAME)
            assert there is not None
            assert (there.enabled, there.owner) == (False, f"{wired.store.layout.mount}/{PREFIX}")
            seen.append(path)

    wire.done = look
    key = new_key()
    imported(wired, key)

    assert len(seen) == 2
    assert everybody_gets(wired, key, keys.KEY_ID)


# Lost answers.


LOST: dict[str, tuple[str, Callable[[Lifecycle, PrivateKey], object]]] = {
    "stage": (f"/keys/{NAME}/stage", lambda keeper, new: keeper.rotate(NAME, new, key_id(9))),
    "promote": (f"/keys/{NAME}/promote", lambda keeper, new: keeper.rotate(NAME, new, key_id(9))),
    "record": (f"data/{PREFIX}/keys/{NAME}", lambda keeper, new: keeper.rotate(NAME, new, key_id(9))),
    "rollback": (f"/keys/{NAME}/rollback", lambda keeper, _new: keeper.rollback(NAME, 2)),
    "retire": (f"/keys/{NAME}/retire", lambda keeper, _new: keeper.retire(NAME)),
    "disable": (f"/keys/{NAME}/disable", lambda keeper, _new: keeper.set_state(NAME, State.DISABLED)),
}


@pytest.mark.parametrize("fate", [LOSE_ANSWER, LOSE_REQUEST])
@pytest.mark.parametrize("case", LOST)
def test_command_whose_answer_is_lost_is_recognised_or_repeated(
    wire: Wire, wired: Lifecycle, rotated: list[PrivateKey], case: str, fate: str
) -> None:
    path, run = LOST[case]
    new = new_key()
    wire.lose_once("POST", path, fate)

    try:
        run(wired, new)
    except LostAnswerError:
        if case != "disable":  # whoever mints, mints
            mint(wired.store)
            read_by_role(wired.store)
        run(wired, new)
    else:
        assert (case, fate) in {("stage", LOSE_ANSWER), ("record", LOSE_ANSWER)}

    assert in_step(wired.store)
    if case == "disable":
        wired.set_state(NAME, State.ENABLED)
    key, kid = {"rollback": (rotated[1], key_id(2)), "retire": (rotated[2], key_id(3))}.get(case, (new, key_id(9)))
    if case == "disable":
        key, kid = rotated[2], key_id(3)
    assert everybody_gets(wired, key, kid)


@pytest.mark.parametrize("fate", [LOSE_ANSWER, LOSE_REQUEST])
@pytest.mark.parametrize("path", [f"/keys/{NAME}", f"/roles/{NAME}", f"data/{PREFIX}/keys/{NAME}"])
def test_import_whose_answer_is_lost_is_recognised_or_repeated(
    wire: Wire, wired: Lifecycle, path: str, fate: str
) -> None:
    key = new_key()
    lost = [fate]
    wire.fate = lambda method, asked: lost.pop() if lost and method == "POST" and asked.endswith(path) else None

    try:
        imported(wired, key)
    except LostAnswerError:
        imported(wired, key)

    assert not lost
    assert everybody_gets(wired, key, keys.KEY_ID)
    there = wired.store.engine.find(NAME)
    assert there is not None
    assert len(list(there.versions)) == 1
